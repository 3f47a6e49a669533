"""The job that searches a plan: told of, cancelled, taken again, given up with a reason; the pool outlives its processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import update

from cityloop_common.jobs import LEASE_S, run_jobs
from cityloop_common.pool import PoolFull, SpawnedPool, WorkDied, WorkKilled, WorkRaised
from cityloop_common.tables import job
from cityloop_waste.jobs import JOBS
from cityloop_waste.planning import jobs as planning_jobs
from cityloop_waste.planning import use_cases
from cityloop_waste.planning.plans import CityPlan, PlanState, Publish
from cityloop_waste.planning.use_cases import Wish
from cityloop_waste.streams import Stream
from tests.contract.waste_support import TEN, PlayedPool, Town, one_round, town
from tests.support import PATIENCE_S, wait_until

Progress = Callable[[Any], None]
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause of a second where a test waits for it."""
    monkeypatch.setattr("cityloop_common.jobs.AGAIN_AFTER_S", (0.0,))
    monkeypatch.setattr("cityloop_common.jobs.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("cityloop_common.jobs.POLL_S", 0.02)
    monkeypatch.setattr(planning_jobs, "TELL_EVERY_S", 0.02)
    monkeypatch.setattr(planning_jobs, "POOL_BUSY_S", 0.02)


@asynccontextmanager
async def city(url: str, folder: Path, answer: Any = one_round) -> AsyncIterator[tuple[Town, PlayedPool]]:
    """A furnished town whose solver answers like this."""
    pool = PlayedPool(answer)
    async with town(url, folder, pool=pool) as opened:
        await opened.furnish()
        opened.clock.go_on()
        yield opened, pool


async def test_a_plan_is_searched_and_kept(url: str, tmp_path: Path) -> None:
    """From asked for to ready, with its figures, the job's result beside it."""
    async with city(url, tmp_path) as (opened, pool):
        asked = await opened.ask()
        async with opened.working():
            ready = await opened.until(asked.id, PlanState.READY)
            await wait_until(lambda: _ended(opened, asked, "done"))
            done = await opened.job(asked)
        assert (done.state, done.result, done.attempts) == ("done", {"plan_id": asked.id, "state": "ready"}, 1)
        assert ready.figures is not None
        assert (ready.figures.trucks, ready.figures.stops, ready.figures.unserved) == (1, 3, 0)
        assert pool.asked[0]["problem"] == asked.problem
        assert "roads" not in pool.asked[0]


async def test_two_releases_of_workers_beside_each_other(url: str, tmp_path: Path) -> None:
    """Today's plans wait for today's workers; what the release before asked for is searched by them too."""
    kinds = {kind.name: kind for kind in JOBS}
    assert set(kinds) == {"plan", "plan-day"}
    async with city(url, tmp_path) as (opened, _):
        new, old = await opened.ask(), await opened.ask(Stream.OTHER)
        async with opened.db.write() as tx:
            await tx.run(update(job).where(job.c.id == old.job_id).values(kind="plan"))
        before = asyncio.get_running_loop().create_task(run_jobs(opened.ctx, [kinds["plan"]], "w0"))
        await opened.until(old.id, PlanState.READY)
        await wait_until(lambda: _ended(opened, old, "done"))
        before.cancel()
        await asyncio.gather(before, return_exceptions=True)
        assert (await opened.job(new)).state == "waiting"
        again = await opened.ask(Stream.OTHER)
        async with opened.db.write() as tx:
            await tx.run(update(job).where(job.c.id == again.job_id).values(kind="plan"))
        today = asyncio.get_running_loop().create_task(run_jobs(opened.ctx, JOBS, "w1"))
        for each in (new, again):
            await opened.until(each.id, PlanState.READY)
        today.cancel()
        await asyncio.gather(today, return_exceptions=True)


async def test_a_plan_may_publish_itself(url: str, tmp_path: Path) -> None:
    """As soon as its routes are kept."""
    async with city(url, tmp_path) as (opened, _):
        asked = await opened.ask(publish=Publish.WHEN_READY)
        async with opened.working():
            assert (await opened.until(asked.id, PlanState.PUBLISHED)).publication == 1
        assert [event.type for event in await opened.told()] == ["waste.plan.published.v1"]


async def test_progress_goes_to_the_job_and_to_the_stream(url: str, tmp_path: Path) -> None:
    """Seconds done of seconds, when it will be done, what the best plan costs, and the bound where one is known."""
    go = asyncio.Event()

    async def slow(payload: Mapping[str, Any], on_progress: Progress) -> Mapping[str, Any]:
        answer = await one_round(payload, on_progress)
        on_progress({"elapsed_s": 0.2, "solutions": 2, "vehicles": 1, "unserved": 0, "distance_m": 1000, "bound_m": 900})
        await go.wait()
        return answer

    async with city(url, tmp_path, slow) as (opened, _):
        publisher = asyncio.get_running_loop().create_task(opened.ctx.fanout.run_publisher())
        tail = await opened.ctx.fanout._position()
        asked = await opened.ask()
        async with opened.working():

            async def told() -> bool:
                now = await opened.job(asked)
                return (now.note, now.total) == ("1.0 km, 1 trucks, 0 unserved", 5)

            await wait_until(told)
            assert await opened.state(asked.id) is PlanState.SOLVING
            go.set()
            await opened.until(asked.id, PlanState.READY)

            async def streamed() -> bool:
                entries = await opened.ctx.fanout.since(tail) or []
                return {(entry.change.kind, orjson.loads(entry.change.body).get("state")) for entry in entries} == {
                    ("plan", "waiting"),
                    ("plan", "solving"),
                    ("plan", "ready"),
                    ("plan-progress", None),
                }

            await wait_until(streamed)
            entries = await opened.ctx.fanout.since(tail) or []
            bodies = [orjson.loads(entry.change.body) for entry in entries if entry.change.kind == "plan-progress"]
            cost = {"distance_m": 1000, "vehicles": 1, "unserved": 0}
            assert any(each["cost"] == cost and each["bound"] == 900 for each in bodies)
            assert all(each["eta"].endswith("Z") and each["seconds"] == 5 for each in bodies)
        publisher.cancel()
        await asyncio.gather(publisher, return_exceptions=True)


async def test_story_17_a_dead_workers_search_is_taken_again_as_the_same_plan(tmp_path: Path) -> None:
    """Nobody beats its heart: another worker searches it, and what the first one finds later counts nothing."""
    held, go = asyncio.Event(), asyncio.Event()
    answers: list[int] = []

    async def first_hangs(payload: Mapping[str, Any], on_progress: Progress) -> Mapping[str, Any]:
        answers.append(len(answers))
        if len(answers) == 1:
            held.set()
            await go.wait()
        return await one_round(payload, on_progress)

    async with city(f"sqlite:///{tmp_path / 'w.db'}", tmp_path, first_hangs) as (opened, pool):
        asked = await opened.ask(publish=Publish.WHEN_READY)
        async with opened.working("dead"):
            await asyncio.wait_for(held.wait(), PATIENCE_S)
            async with opened.working("alive"):

                async def again() -> bool:
                    opened.clock.move(seconds=LEASE_S + 1)
                    return len(answers) > 1

                await wait_until(again, every=0.05)  # not so often that a unit grows too old meanwhile
                await opened.until(asked.id, PlanState.PUBLISHED)
                go.set()
                await wait_until(lambda: pool.stopped == 1 or len(pool.asked) == 2)
        assert len(await opened.told("waste.plan")) == 1
        assert (await opened.job(asked)).attempts >= 2


async def test_story_17_a_solver_that_dies_is_tried_again(url: str, tmp_path: Path) -> None:
    """Twice dead, the third time it answers."""
    deaths: list[int] = []

    async def dies_twice(payload: Mapping[str, Any], on_progress: Progress) -> Mapping[str, Any]:
        deaths.append(1)
        if len(deaths) < 3:
            raise WorkDied("exit status -9")
        return await one_round(payload, on_progress)

    async with city(url, tmp_path, dies_twice) as (opened, _):
        asked = await opened.ask()
        async with opened.working():
            await opened.until(asked.id, PlanState.READY)
            await wait_until(lambda: _ended(opened, asked, "done"))
        assert (await opened.job(asked)).attempts == 3


async def test_story_17_a_solver_that_always_dies_fails_the_plan_with_the_reason(url: str, tmp_path: Path) -> None:
    """The plan before it stays live."""

    async def dies(payload: Mapping[str, Any], on_progress: Progress) -> Mapping[str, Any]:
        raise WorkDied("exit status -9")

    async with city(url, tmp_path, dies) as (opened, _):
        live = await opened.publish((await opened.ready()).id)
        asked = await opened.ask(publish=Publish.WHEN_READY)
        async with opened.working():
            failed = await opened.until(asked.id, PlanState.FAILED)
            await wait_until(lambda: _ended(opened, asked, "failed"))
        assert failed.reason is not None
        assert "exit status -9" in failed.reason
        assert (await opened.job(asked)).state == "failed"
        assert await opened.state(live.id) is PlanState.PUBLISHED


async def _ended(opened: Town, plan: CityPlan, state: str) -> bool:
    return (await opened.job(plan)).state == state


@pytest.mark.parametrize(
    "raised, reason",
    [
        (WorkRaised("PlanRefused: truck T01: over capacity"), "over capacity"),
        (WorkRaised("NoPlanFound: The search ended before its first plan"), "NoPlanFound"),
        (WorkKilled("still running after 35 s"), "still running"),
        (None, "verifier"),
    ],
)
async def test_what_the_solver_says_is_the_plans_reason(tmp_path: Path, raised: Exception | None, reason: str) -> None:
    """At once: it would say the same again. What is not verified is not kept."""

    async def says(payload: Mapping[str, Any], on_progress: Progress) -> Mapping[str, Any]:
        if raised is not None:
            raise raised
        return {**await one_round(payload, on_progress), "verified": False}

    async with city(f"sqlite:///{tmp_path / 'w.db'}", tmp_path, says) as (opened, pool):
        asked = await opened.ask()
        async with opened.working():
            failed = await opened.until(asked.id, PlanState.FAILED)
        assert failed.reason is not None
        assert reason in failed.reason
        assert (len(pool.asked), failed.result) == (1, None)


async def test_a_full_pool_is_waited_for(tmp_path: Path) -> None:
    """That is no attempt of the job."""
    refused: list[int] = []

    async def full_at_first(payload: Mapping[str, Any], on_progress: Progress) -> Mapping[str, Any]:
        refused.append(1)
        if len(refused) < 6:
            raise PoolFull(retry_after_s=10)
        return await one_round(payload, on_progress)

    async with city(f"sqlite:///{tmp_path / 'w.db'}", tmp_path, full_at_first) as (opened, _):
        asked = await opened.ask()
        async with opened.working():
            await opened.until(asked.id, PlanState.READY)
            await wait_until(lambda: _ended(opened, asked, "done"))
        assert (await opened.job(asked)).attempts == 1


async def test_cancelling_stops_the_solver(url: str, tmp_path: Path) -> None:
    """Its process goes with it, and the plan stays cancelled."""
    held = asyncio.Event()

    async def endless(payload: Mapping[str, Any], on_progress: Progress) -> Mapping[str, Any]:
        held.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with city(url, tmp_path, endless) as (opened, pool):
        asked = await opened.ask()
        async with opened.working():
            await asyncio.wait_for(held.wait(), PATIENCE_S)
            assert (await opened.cancel(asked.id)).state is PlanState.CANCELLED
            await wait_until(lambda: pool.stopped == 1)
            await wait_until(lambda: _ended(opened, asked, "cancelled"))
        assert await opened.state(asked.id) is PlanState.CANCELLED


async def test_a_plan_whose_job_ended_without_a_word_is_settled(url: str, tmp_path: Path) -> None:
    """Every worker died, or the database was away: the sweep says what the job says."""
    async with city(url, tmp_path) as (opened, _):
        asked, waiting = await opened.ask(), await opened.ask()
        async with opened.db.write() as tx:
            gone = {"state": "failed", "error": "every worker that ran it died"}
            await tx.run(update(job).where(job.c.id == asked.job_id).values(gone))
        assert await use_cases.settle(opened.ctx) == 1
        assert await use_cases.settle(opened.ctx) == 0
        found = (await use_cases.find(opened.ctx, asked.id)).plan
        assert (found.state, found.reason) == (PlanState.FAILED, "every worker that ran it died")
        assert await opened.state(waiting.id) is PlanState.WAITING


async def test_story_17_the_real_pool_solves_and_outlives_a_killed_solver(tmp_path: Path) -> None:
    """The process that searches is killed; the job is taken again, the plan is found, verified, on estimated roads."""
    pool = SpawnedPool(workers=1)
    async with town(f"sqlite:///{tmp_path / 'w.db'}", tmp_path, pool=pool) as opened:
        await opened.furnish()
        opened.clock.go_on()
        asked = await use_cases.ask_for_day(opened.ctx, Stream.KITCHEN, Wish(TEN.date()), seconds=2)
        async with opened.working():
            await wait_until(lambda: bool(pool._running))
            os.kill(next(iter(pool._running)), signal.SIGKILL)
            ready = await opened.until(asked.id, PlanState.READY, within_s=60)
            await wait_until(lambda: _ended(opened, asked, "done"))
        assert ready.result is not None
        assert (ready.result["verified"], ready.result["travel"], ready.result["unserved"]) == (True, "estimate", [])
        assert ready.figures is not None
        assert (ready.figures.stops, ready.figures.trucks) == (3, 1)
        assert (await opened.job(asked)).attempts == 2
    await pool.close()
