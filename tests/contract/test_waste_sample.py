"""The invented sample over a real database: made once, kept alive once a day and stream, never counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from cityloop_common import invented
from cityloop_common.districts import read
from cityloop_waste import sample
from cityloop_waste.ledger.tables import generation_estimate, load
from cityloop_waste.planning import night, store, use_cases
from cityloop_waste.planning.plans import PlanState
from cityloop_waste.planning.tables import plan
from cityloop_waste.points.tables import collection_point
from cityloop_waste.roads import use_cases as roads
from tests.contract.waste_support import TODAY, PlayedPool, Town, one_round, town
from tests.support import wait_until


@asynccontextmanager
async def alive(city: Town) -> AsyncIterator[None]:
    """The sample lives, and a worker with it."""
    task = asyncio.get_running_loop().create_task(sample.keep_alive(city.ctx))
    async with city.working():
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def published(city: Town) -> int:
    """Live plans of today."""
    return sum(each.state is PlanState.PUBLISHED for each in await use_cases.page(city.ctx, store.Wanted(on=TODAY), most=99))


async def test_the_sample_is_made_once_and_lives_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeded twice it is the same; a plan a stream and day, also after a restart; the day's loads come as time goes by."""
    monkeypatch.setattr(sample, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(sample, "LOOK_AT_PLAN_EVERY_S", 0.02)
    monkeypatch.setattr(sample, "DAYS_BACK", 12)
    monkeypatch.setattr("cityloop_common.jobs.POLL_S", 0.02)
    districts = read(orjson.dumps(invented.districts()))
    pool = PlayedPool(one_round)
    async with town(f"sqlite:///{tmp_path / 'w.db'}", tmp_path, pool=pool, districts=districts) as city:
        await sample.seed(city.ctx)
        tables = (collection_point, load, generation_estimate)
        made = [await city.count(table) for table in tables]
        await sample.seed(city.ctx)
        assert [await city.count(table) for table in tables] == made
        due = sum(each.weighed_at <= city.clock.now() for each in sample.tickets(TODAY, ["d01"]))
        assert made == [300, 12 * 16 + due + 1, 12 * 12], "a correction among the loads"
        city.clock.go_on()
        async with alive(city):
            await wait_until(lambda: _is(city, 4))
        async with alive(city):
            await asyncio.sleep(0.3)
        assert (await city.count(plan), len(pool.asked)) == (4, 4)
        assert pool.asked[0]["roads"]["features"]
        assert {each["problem"]["options"]["seconds"] for each in pool.asked} == {city.ctx.settings.sample_plan_seconds}
        assert await roads.present_version(city.ctx)
        city.clock.move(hours=9)  # seven in the evening
        async with alive(city):
            await wait_until(lambda: _counts(city, 12 * 16 + 16 + 1))
        assert len({event.id for event in await city.told("waste.load")}) == 12 * 16 + 16 + 1


async def _is(city: Town, plans: int) -> bool:
    return await published(city) == plans


async def _counts(city: Town, loads: int) -> bool:
    return await city.count(load) == loads


async def test_a_sample_that_somebody_took_apart_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its registry it waits; the process goes on."""
    monkeypatch.setattr(sample, "LOOK_EVERY_S", 0.02)
    async with town(f"sqlite:///{tmp_path / 'w.db'}", tmp_path) as city:
        task = asyncio.get_running_loop().create_task(sample.keep_alive(city.ctx))
        await asyncio.sleep(0.2)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await city.count(plan), await city.count(load)) == (0, 0)


async def test_what_the_night_job_asked_for_is_published_by_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The night job was first, and leaves its plans to a dispatcher: nobody would be there, and the page without routes."""
    monkeypatch.setattr(sample, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(sample, "LOOK_AT_PLAN_EVERY_S", 0.02)
    monkeypatch.setattr(sample, "DAYS_BACK", 0)
    monkeypatch.setattr("cityloop_common.jobs.POLL_S", 0.02)
    async with town(f"sqlite:///{tmp_path / 'w.db'}", tmp_path, pool=PlayedPool(one_round), night_until="23:00") as city:
        await sample.seed(city.ctx)
        assert await night.ask(city.ctx) == 4
        by_hand = await city.ask()
        city.clock.go_on()
        async with alive(city):
            await wait_until(lambda: _is(city, 3))
        assert (await city.count(plan), await city.state(by_hand.id)) == (5, PlanState.READY), (
            "a dispatcher's own plan stays the dispatcher's"
        )
