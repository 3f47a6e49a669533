"""Row h: how slow answers are, and how late a stream tells of a count, while every API and worker is restarted behind HAProxy."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Measured
from benchmarks.servers import servers
from tests.e2e.conftest import replicas
from tests.e2e.processes import City
from tests.integration.balancer import Balancer, balanced, program, restart, restart_replica
from tests.integration.measured import Figures, Span, figures
from tests.integration.rush import Rush, rushing

SERVICES = ("parking", "charging", "waste")
REST_S = 20.0
CLIENTS = 13
WANTED_S = 15.0


async def measure(rounds: int) -> list[Measured]:
    """Rest and a restart of all twelve processes, in turns; a request that fails is no measurement."""
    if program() is None:
        sys.exit("row h needs haproxy: apt-get install haproxy")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        given = {"CITYLOOP_DRAIN_FOR_S": "2", "CITYLOOP_TRUSTED_PROXIES": '["127.0.0.1/32"]'}
        async with replicas(folder, servers(), SERVICES, **given) as city, balanced(city, folder) as balancer:
            async with rushing(city, balancer.port) as rush:
                spans = [await _round(city, balancer) for _ in range(rounds)]
            if rush.failed or any((await balancer.faults()).values()):
                raise RuntimeError(f"requests failed: {rush.failed[:3]}")
    return _rows(rush, spans)


async def _round(city: City, balancer: Balancer) -> tuple[Span, Span, Span]:
    """A rest, then the APIs one after the other, then the workers."""
    marks = [time.monotonic()]
    await asyncio.sleep(REST_S)
    marks.append(time.monotonic())
    for service in SERVICES:
        for number in range(2):
            await restart_replica(balancer, city, service, number)
    marks.append(time.monotonic())
    for service in SERVICES:
        for worker in city.workers_of[service]:
            await restart(worker)
    marks.append(time.monotonic())
    rest, apis, workers = map(Span, marks, marks[1:])
    return rest, apis, workers


def _rows(rush: Rush, spans: list[tuple[Span, Span, Span]]) -> list[Measured]:
    seen: list[tuple[Figures, ...]] = [tuple(figures(rush, span) for span in each) for each in spans]
    rests, apis, workers = zip(*seen, strict=True)
    answers = sum(each.answers for each in (*apis, *workers))
    seconds = sum(each.end - each.begin for each in (span for _, *restarting in spans for span in restarting))
    conditions = (
        f"HAProxy, two APIs and two workers a service on PostgreSQL, Kafka and Redis; {CLIENTS} clients one request after the other,"
        f" {len(rush.listeners)} streams; {12 * len(spans)} restarts"
    )
    slowest = max(each.slowest_ms for each in (*apis, *workers))
    note = f"lower is better; {answers:,} answers in {seconds:.0f} s of restarts, 0 failed; the slowest took {slowest:,.0f} ms"
    told = [each.latest_told_s for each in workers]
    verdict = "reached" if max(told) <= WANTED_S else "**missed**"
    late = f"lower is better; wanted in every round: at most {WANTED_S:g} s: {verdict} (worst {max(told):.1f} s)"
    ours, theirs = [each.p99_ms for each in apis], [each.p99_ms for each in rests]
    at_rest = [each.latest_told_s for each in rests]
    slow, lag = "p99 of answers while APIs restart, against p99 at rest", "latest count on a stream while workers restart, against at rest"
    return [
        Measured("h1", slow, conditions, ours, theirs, "ms", None, None, note),
        Measured("h2", lag, "the same", told, at_rest, "s", None, None, late),
    ]
