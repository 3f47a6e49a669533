"""Jobs whose workers leave, share a name, or race: once at a time, and no attempt is spent on a deployment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cityloop_common.context import Ctx
from cityloop_common.jobs import LEASE_S, JobKind, JobLost, JobRun, JobView, enqueue_in, run_here, run_jobs, view
from tests.contract.kit_support import ShiftedClock, close_ctx, opened_ctx
from tests.support import PATIENCE_S, wait_until


@asynccontextmanager
async def working(ctx: Ctx[Any], kind: JobKind, worker: str) -> AsyncIterator[asyncio.Task[None]]:
    """A worker that takes jobs of one kind; leaving cancels it, as SIGTERM does."""
    task = asyncio.get_running_loop().create_task(run_jobs(ctx, [kind], worker))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(ctx: Ctx[Any]) -> str:
    """Enqueues one."""
    async with ctx.db.write() as tx:
        return await enqueue_in(tx, ctx, "sum", {})


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


async def test_a_worker_that_stops_gives_its_job_back(kit_ctx: Ctx[Any]) -> None:
    """At once, without a spent attempt and from the start: five deployments do not make it fail."""
    started = asyncio.Event()

    async def hang(run: JobRun) -> object:
        await run.progress(3, 4)
        started.set()
        await asyncio.Event().wait()
        return None

    async def quick(run: JobRun) -> object:
        return "done"

    job_id = await ask(kit_ctx)
    for number in range(5):
        async with working(kit_ctx, JobKind("sum", hang), f"w{number}"):
            await asyncio.wait_for(started.wait(), PATIENCE_S)
            started.clear()
        found = await now(kit_ctx, job_id)
        assert (found.state, found.attempts) == ("waiting", 0)
    async with working(kit_ctx, JobKind("sum", quick), "last"):
        done = await until(kit_ctx, job_id, "done")
    assert (done.attempts, done.result) == (1, "done")


async def test_a_job_that_raises_while_it_is_stopped_does_not_keep_the_worker(kit_ctx: Ctx[Any]) -> None:
    """Its error does not take the place of the cancellation."""
    started = asyncio.Event()

    async def rude(run: JobRun) -> object:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("while stopping")

    async def quick(run: JobRun) -> object:
        async with asyncio.TaskGroup() as group:
            group.create_task(rude(run))
        return None

    await ask(kit_ctx)
    async with working(kit_ctx, JobKind("sum", quick), "w") as task:
        await asyncio.wait_for(started.wait(), PATIENCE_S)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        assert done
        assert task.cancelled()


async def test_work_of_the_command_line_that_is_broken_off_is_cancelled(kit_ctx: Ctx[Any]) -> None:
    """Nobody else goes on with it."""
    started = asyncio.Event()
    ids: list[str] = []

    async def hang(run: JobRun) -> object:
        ids.append(run.id)
        started.set()
        await asyncio.Event().wait()
        return None

    here = run_here(kit_ctx, JobKind("sum", hang), {}, worker="me", on_progress=lambda *_: None)
    task = asyncio.get_running_loop().create_task(here)
    await asyncio.wait_for(started.wait(), PATIENCE_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await now(kit_ctx, ids[0])).state == "cancelled"


async def test_two_workers_of_one_name_do_not_take_each_other_for_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stalled worker whose successor has its name: its late words count nothing."""
    monkeypatch.setattr("cityloop_common.jobs.HEARTBEAT_S", 3600)
    clock = ShiftedClock()
    ctx = await opened_ctx(f"sqlite:///{tmp_path / 'j.db'}", tmp_path / "j", clock=clock)
    started, go = asyncio.Event(), asyncio.Event()
    runs: list[str] = []

    late: list[Exception] = []

    async def work(run: JobRun) -> object:
        if not runs:
            runs.append("first")
            started.set()
            await go.wait()
            try:
                await run.progress(1, 1)
            except JobLost as error:
                late.append(error)
            return "late"
        runs.append("second")
        await asyncio.Event().wait()
        return None

    job_id = await ask(ctx)
    async with working(ctx, JobKind("sum", work), "same"):
        await asyncio.wait_for(started.wait(), PATIENCE_S)
        clock.by += timedelta(seconds=LEASE_S + 1)
        async with working(ctx, JobKind("sum", work), "same"):
            await wait_until(lambda: len(runs) == 2)
            go.set()
            await wait_until(lambda: bool(late))
            found = await now(ctx, job_id)
            assert (found.state, found.attempts, found.done, found.result) == ("running", 2, 0, None)
    await close_ctx(ctx)


async def test_racing_workers_run_each_job_once(kit_ctx: Ctx[Any]) -> None:
    """Eight workers, forty jobs."""
    ran: list[str] = []

    async def work(run: JobRun) -> object:
        ran.append(run.id)
        return None

    asked = [await ask(kit_ctx) for _ in range(40)]
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(run_jobs(kit_ctx, [JobKind("sum", work)], f"w{n}")) for n in range(8)]
        for job_id in asked:
            await until(kit_ctx, job_id, "done")
        for worker in workers:
            worker.cancel()
    assert sorted(ran) == sorted(asked)
