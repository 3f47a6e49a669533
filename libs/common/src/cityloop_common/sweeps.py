"""Sweeps, not sleeping tasks: small repeated units that are safe to run twice and on every replica."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from cityloop_common import idempotency, inbox, jobs, metrics, outbox
from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.errors import DeadlinePassed, Unavailable

BATCH = 500
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A name, a rhythm, and one unit of work that answers how many rows it moved (a full batch runs again at once)."""

    name: str
    every_s: float
    run: Callable[[Ctx[Any]], Awaitable[int]]


async def run_sweep(ctx: Ctx[Any], sweep: Sweep) -> None:
    """Repeats until cancelled; a database that is away is asked again at the next turn."""
    while True:
        try:
            started = ctx.clock.monotonic()
            moved = await sweep.run(ctx)
            metrics.sweep_seconds.observe(ctx.service, sweep.name, value=ctx.clock.monotonic() - started)
            metrics.sweep_rows.add(ctx.service, sweep.name, by=moved)
            if moved >= BATCH:
                continue
        except (Unavailable, DeadlinePassed) as error:
            metrics.sweep_failures.add(ctx.service, sweep.name)
            log.warning("sweep_waits", sweep=sweep.name, reason=str(error))
        await ctx.clock.sleep(sweep.every_s)


def _pruning(prune: Callable[[WriteTx], Awaitable[int]]) -> Callable[[Ctx[Any]], Awaitable[int]]:
    async def run(ctx: Ctx[Any]) -> int:
        async with ctx.db.write() as tx:
            return await prune(tx)

    return run


async def _prune_log(ctx: Ctx[Any]) -> int:
    await ctx.log.prune()
    return 0


async def _measure(ctx: Ctx[Any]) -> int:
    async with ctx.db.read() as tx:
        rows, oldest = await outbox.backlog(tx)
        now = ctx.clock.now()
    metrics.outbox_unpublished.set(ctx.service, to=rows)
    metrics.outbox_oldest.set(ctx.service, to=0 if oldest is None else (now - oldest).total_seconds())
    return 0


async def _measure_lag(ctx: Ctx[Any]) -> int:
    for topic in await ctx.log.describe():
        for group, lag in topic.lag_records.items():
            if group.startswith(ctx.service):
                metrics.consumer_lag.set(ctx.service, group, topic.name, to=lag)
    return 0


def measuring_jobs(kinds: Sequence[str]) -> Sweep:
    """Tells how many jobs wait and run, and how long the oldest has waited."""

    async def measure(ctx: Ctx[Any]) -> int:
        now = ctx.clock.now()
        async with ctx.db.read() as tx:
            found = await jobs.open_jobs(tx, now)
        for kind in kinds:
            each = found.get(kind, jobs.OpenJobs())
            waited_s = 0.0 if each.due_since is None else max(0.0, (now - each.due_since).total_seconds())
            metrics.jobs_open.set(ctx.service, kind, "waiting", to=each.waiting)
            metrics.jobs_open.set(ctx.service, kind, "running", to=each.running)
            metrics.jobs_oldest_due.set(ctx.service, kind, to=waited_s)
        return 0

    return Sweep("jobs-open", 15, measure)


KIT_SWEEPS: Sequence[Sweep] = (
    Sweep("outbox-prune", 600, _pruning(outbox.prune)),
    Sweep("inbox-prune", 3600, _pruning(inbox.prune)),
    Sweep("idempotency-prune", 3600, _pruning(idempotency.prune)),
    Sweep("jobs-prune", 3600, _pruning(jobs.prune)),
    Sweep("log-prune", 600, _prune_log),
    Sweep("outbox-backlog", 10, _measure),
    Sweep("consumer-lag", 15, _measure_lag),
)
