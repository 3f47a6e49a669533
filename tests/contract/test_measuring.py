"""What alerts watch is measured truly, the same on every database, and is there from the start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.domain import EvseUid
from cityloop_charging.status import store, use_cases
from cityloop_charging.status.domain import Freshness, KnownEvse, Report, Status
from cityloop_common import metrics, telemetry
from cityloop_common.context import Ctx
from cityloop_common.db import open_db
from cityloop_common.dberrors import ClockOff
from cityloop_common.jobs import enqueue_in
from cityloop_common.sweeps import measuring_jobs
from cityloop_common.tables import job
from tests.contract.charging_support import OPERATOR, City, city, make_tables, station
from tests.contract.kit_support import ShiftedClock


async def _measured(ctx: Ctx[Any], kind: str) -> tuple[float, float, float]:
    """Waiting, running, and how long the oldest that may run has waited."""
    await measuring_jobs([kind]).run(ctx)
    counts = [metrics.jobs_open.value(ctx.service, kind, state) for state in ("waiting", "running")]
    return counts[0], counts[1], metrics.jobs_oldest_due.value(ctx.service, kind)


async def test_jobs_that_wait_are_told_with_their_age(kit_ctx: Ctx[Any]) -> None:
    """One that waits ages; one that runs does not, until its worker is dead; one in its pause is not due; none is none."""
    assert await _measured(kit_ctx, "sum") == (0, 0, 0)
    async with kit_ctx.db.write() as tx:
        ids = [await enqueue_in(tx, kit_ctx, "sum", {}) for _ in range(3)]
        long_ago = tx.recorded_at - timedelta(seconds=90)
        await tx.run(update(job).where(job.c.id.in_(ids)).values(created_at=long_ago))
        alive = {"state": "running", "lease_until": tx.recorded_at + timedelta(seconds=60)}
        await tx.run(update(job).where(job.c.id == ids[0]).values(alive))
    waiting, running, oldest_s = await _measured(kit_ctx, "sum")
    assert (waiting, running) == (2, 1)
    assert 90 <= oldest_s < 120
    async with kit_ctx.db.write() as tx:
        pause = {"lease_until": tx.recorded_at + timedelta(seconds=60)}
        await tx.run(update(job).where(job.c.id.in_(ids[1:])).values(pause))
    assert await _measured(kit_ctx, "sum") == (2, 1, 0)
    async with kit_ctx.db.write() as tx:
        await tx.run(update(job).where(job.c.id == ids[0]).values(lease_until=tx.recorded_at - timedelta(seconds=30)))
    waiting, running, oldest_s = await _measured(kit_ctx, "sum")
    assert (waiting, running) == (2, 1)
    assert 30 <= oldest_s < 60
    async with kit_ctx.db.write() as tx:
        await tx.run(update(job).values(state="done"))
    assert await _measured(kit_ctx, "sum") == (0, 0, 0)


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """A city with one station of three EVSEs; nothing was told yet but the station."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        async with opened.db.write() as tx:
            await registry.put_in(tx, opened.ctx, [station(evses=3)], source="test")
        yield opened


async def test_silence_of_chargers_is_told(town: City) -> None:
    """An EVSE that was never heard of is told apart; heard of it is live, after half an hour late, after a day unknown."""
    one, two = (EvseUid(f"{OPERATOR}*S001*S0010{number}") for number in (1, 2))

    async def ages() -> list[int]:
        await use_cases.measure(town.ctx)
        return [int(use_cases.EVSES.value("charging", age)) for age in (*Freshness, "unheard")]

    assert await ages() == [0, 0, 0, 3]
    assert use_cases.LAST_HEARD.value("charging") == 0
    async with town.db.write() as tx:
        for uid in (one, two):
            known = KnownEvse(uid, f"{OPERATOR}*S001", OPERATOR, None)
            await use_cases.record_in(tx, town.ctx, [Report(known, Status.AVAILABLE, tx.recorded_at, "test")])
        heard_at = tx.recorded_at
    assert await ages() == [2, 0, 0, 1]
    assert use_cases.LAST_HEARD.value("charging") == pytest.approx(heard_at.timestamp(), abs=0.001)
    town.later(minutes=31)
    assert await ages() == [0, 2, 0, 1]
    town.later(hours=24)
    assert await ages() == [0, 0, 2, 1]
    async with town.db.read() as reading:
        assert (await store.heard_of(reading, heard_at))[1] == heard_at


@pytest.mark.stack
async def test_a_clocks_difference_is_told_even_when_it_is_refused(fresh_postgres_url: str) -> None:
    """The alert needs the figure most when nothing can be written."""
    clock = ShiftedClock()
    db = open_db(fresh_postgres_url, clock=clock)
    assert db.skew_s != db.skew_s, "not a number before the first look"
    clock.by = timedelta(seconds=7)
    with pytest.raises(ClockOff):
        async with db.write():
            pass
    assert 7 <= round(db.skew_s) < 12  # and what the answer took on its way
    clock.by = timedelta()
    await db.ping()  # readiness, in a replica that nobody writes to
    assert db.skew_s < 5
    await db.close()


def test_what_counts_faults_is_there_before_the_first_fault() -> None:
    """A counter that begins at 1 has not increased, says Prometheus: the first dead letter would alert nobody."""
    metrics.begin_at_zero("a-service", consumed=[("reader", "a.topic")], sweeps=["a-sweep"], jobs=["a-job"])
    told = {
        sample.name: sample.value
        for family in text_string_to_metric_families(telemetry.exposition().decode())
        for sample in family.samples
        if sample.labels.get("service") == "a-service"
    }
    watched = ("consumer_dead_letters", "consumer_retries", "consumer_events", "sweep_failures", "jobs_finished", "relay_failures")
    assert {name: told.get(f"{name}_total") for name in watched} == dict.fromkeys(watched, 0.0)
