"""Long work as rows: leased, told of, cancelled, and taken again when its worker dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from cityloop_common.context import Ctx
from cityloop_common.errors import Invalid, Unavailable
from cityloop_common.jobs import (
    AGAIN_AFTER_S,
    LEASE_S,
    JobKind,
    JobRun,
    JobView,
    enqueue_in,
    prune,
    request_cancel,
    run_here,
    run_jobs,
    view,
)
from cityloop_common.tables import job
from tests.contract.kit_support import ShiftedClock, close_ctx, opened_ctx
from tests.support import PATIENCE_S, wait_until


@asynccontextmanager
async def working(ctx: Ctx[Any], kind: JobKind, worker: str = "w1") -> AsyncIterator[asyncio.Task[None]]:
    """A worker that takes jobs of one kind."""
    task = asyncio.get_running_loop().create_task(run_jobs(ctx, [kind], worker))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(ctx: Ctx[Any], dedup_key: str | None = None) -> str:
    """Enqueues one."""
    async with ctx.db.write() as tx:
        return await enqueue_in(tx, ctx, "sum", {"up_to": 4}, dedup_key=dedup_key)


async def now(ctx: Ctx[Any], job_id: str) -> JobView:
    """The job as it is."""
    async with ctx.db.read() as tx:
        return await view(tx, ctx, job_id)


async def until(ctx: Ctx[Any], job_id: str, state: str) -> JobView:
    """Waits for a state."""

    async def there() -> JobView | None:
        found = await now(ctx, job_id)
        return found if found.state == state else None

    found = await wait_until(there, what=f"job {state}")
    assert found is not None
    return found


async def add_up(run: JobRun) -> object:
    """Adds numbers, telling its progress."""
    total = 0
    for n in range(1, run.payload["up_to"] + 1):
        total += n
        await run.progress(n, run.payload["up_to"], "adding")
    return {"sum": total}


async def test_a_job_runs_and_tells(kit_ctx: Ctx[Any]) -> None:
    """Waiting, running, done with its result and its last progress."""
    job_id = await ask(kit_ctx)
    assert (await now(kit_ctx, job_id)).state == "waiting"
    async with working(kit_ctx, JobKind("sum", add_up)):
        done = await until(kit_ctx, job_id, "done")
    assert (done.result, done.done, done.total, done.note, done.error) == ({"sum": 10}, 4, 4, "adding", None)


async def test_an_open_job_of_the_same_key_is_answered(kit_ctx: Ctx[Any]) -> None:
    """Asked ten times at once it is one job; after it ended a new one."""
    asked = await asyncio.gather(*(ask(kit_ctx, "same") for _ in range(10)))
    assert len(set(asked)) == 1
    async with working(kit_ctx, JobKind("sum", add_up)):
        await until(kit_ctx, asked[0], "done")
    assert await ask(kit_ctx, "same") != asked[0]


async def test_what_is_cancelled_stops(kit_ctx: Ctx[Any]) -> None:
    """One that waits at once, one that runs at its next word."""
    waiting = await ask(kit_ctx)
    async with kit_ctx.db.write() as tx:
        await request_cancel(tx, waiting)
    assert (await now(kit_ctx, waiting)).state == "cancelled"
    started = asyncio.Event()

    async def endless(run: JobRun) -> object:
        started.set()
        while True:
            await run.progress(0)
            await asyncio.sleep(0.02)

    running = await ask(kit_ctx)
    async with working(kit_ctx, JobKind("sum", endless)):
        await asyncio.wait_for(started.wait(), PATIENCE_S)
        async with kit_ctx.db.write() as tx:
            await request_cancel(tx, running)
        await until(kit_ctx, running, "cancelled")


async def test_a_dead_workers_job_is_taken_again(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody beats its heart: after the lease another worker runs it, and the first one's late answer counts nothing."""
    monkeypatch.setattr("cityloop_common.jobs.HEARTBEAT_S", 3600)
    clock = ShiftedClock()
    ctx = await opened_ctx(url if url.startswith("sqlite") else f"sqlite:///{tmp_path / 'j.db'}", tmp_path / "j", clock=clock)
    started, go = asyncio.Event(), asyncio.Event()
    late: list[object] = []

    async def hang(run: JobRun) -> object:
        started.set()
        await go.wait()
        try:
            await run.progress(4, 4)
        except Exception as error:
            late.append(error)
            raise
        return "late"

    job_id = await ask(ctx)
    async with working(ctx, JobKind("sum", hang), "dead"):
        await asyncio.wait_for(started.wait(), PATIENCE_S)
        clock.by += timedelta(seconds=LEASE_S + 1)
        async with working(ctx, JobKind("sum", add_up), "alive"):
            done = await until(ctx, job_id, "done")
            go.set()
            await wait_until(lambda: bool(late))
    assert done.attempts == 2
    assert (await now(ctx, job_id)).result == {"sum": 10}
    await close_ctx(ctx)


async def test_an_outage_is_tried_again_but_not_for_ever(kit_ctx: Ctx[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attempts, then failed with the reason; what the caller got wrong fails at once."""
    monkeypatch.setattr("cityloop_common.jobs.AGAIN_AFTER_S", (0.05,))

    async def away(_: JobRun) -> object:
        raise Unavailable("the solver is away")

    async def refuse(_: JobRun) -> object:
        raise Invalid("no such stream")

    job_id = await ask(kit_ctx)
    async with working(kit_ctx, JobKind("sum", away)):
        failed = await until(kit_ctx, job_id, "failed")
    assert failed.attempts == 3
    assert failed.error is not None
    assert "away" in failed.error
    job_id = await ask(kit_ctx)
    async with working(kit_ctx, JobKind("sum", refuse)):
        assert (await until(kit_ctx, job_id, "failed")).attempts == 1


async def test_a_job_that_kills_its_workers_is_given_up(kit_ctx: Ctx[Any]) -> None:
    """Nobody lives to tell of a failure: after its attempts the next worker does not run it."""
    job_id = await ask(kit_ctx)
    async with kit_ctx.db.write() as tx:
        died = {"state": "running", "worker": "dead", "attempts": 3, "lease_until": tx.recorded_at - timedelta(seconds=1)}
        await tx.run(update(job).where(job.c.id == job_id).values(died))
    async with working(kit_ctx, JobKind("sum", add_up)):
        failed = await until(kit_ctx, job_id, "failed")
    assert failed.result is None
    assert failed.finished_at is not None


async def test_an_outage_is_given_time_to_end(kit_ctx: Ctx[Any]) -> None:
    """The second attempt comes after a pause, so that three of them outlive a restart of what was away."""
    tried: list[float] = []

    async def away_once(_: JobRun) -> object:
        tried.append(kit_ctx.clock.monotonic())
        if len(tried) == 1:
            raise Unavailable("the solver is away")
        return "back"

    job_id = await ask(kit_ctx)
    async with working(kit_ctx, JobKind("sum", away_once)):
        assert (await until(kit_ctx, job_id, "done")).result == "back"
    assert tried[1] - tried[0] >= AGAIN_AFTER_S[0]


async def test_an_eta_is_told_while_it_runs(kit_ctx: Ctx[Any]) -> None:
    """Half done: about as long again."""
    half, go = asyncio.Event(), asyncio.Event()

    async def slow(run: JobRun) -> object:
        await run.progress(2, 4)
        half.set()
        await go.wait()
        return None

    job_id = await ask(kit_ctx)
    async with working(kit_ctx, JobKind("sum", slow)):
        await asyncio.wait_for(half.wait(), PATIENCE_S)
        eta = (await now(kit_ctx, job_id)).eta
        assert eta is not None
        assert eta >= kit_ctx.clock.now() - timedelta(seconds=1)
        go.set()
        await until(kit_ctx, job_id, "done")


async def test_work_of_the_command_line_is_a_row_too(kit_ctx: Ctx[Any]) -> None:
    """Others can see it, and it tells its progress here."""
    told: list[int] = []
    done = await run_here(kit_ctx, JobKind("sum", add_up), {"up_to": 3}, worker="me", on_progress=lambda n, _total, _note: told.append(n))
    assert (done.state, done.result, told) == ("done", {"sum": 6}, [1, 2, 3])
    async with kit_ctx.db.read() as tx:
        assert await tx.scalar(select(job.c.state).where(job.c.id == done.id)) == "done"


async def test_only_jobs_that_ended_long_ago_are_forgotten(kit_ctx: Ctx[Any]) -> None:
    """What runs or waits stays however old it is."""
    ended, fresh, waiting = [await ask(kit_ctx) for _ in range(3)]
    long_ago = kit_ctx.clock.now() - timedelta(days=31)
    async with kit_ctx.db.write() as tx:
        await tx.run(update(job).values(created_at=long_ago))
        await tx.run(update(job).where(job.c.id == ended).values(state="done", finished_at=long_ago))
        await tx.run(update(job).where(job.c.id == fresh).values(state="failed", finished_at=kit_ctx.clock.now()))
        assert await prune(tx) == 1
    async with kit_ctx.db.read() as tx:
        assert {row.id for row in await tx.all(select(job.c.id))} == {fresh, waiting}
