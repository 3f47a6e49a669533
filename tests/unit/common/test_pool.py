"""The pool: a process a task, a bounded queue, deadlines, and nothing that stays behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from cityloop_common.pool import PoolFull, SpawnedPool, WorkDied, WorkKilled, WorkRaised
from tests.support import REPOSITORY, wait_until

WORK = "tests.unit.common.pool_work"


@pytest.fixture
async def pool(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SpawnedPool]:
    """One process at a time, one task behind it."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    made = SpawnedPool(workers=1, most_waiting=1)
    yield made
    await made.close()


async def test_a_task_answers_and_tells_how_far_it_is(pool: SpawnedPool) -> None:
    """What a library prints does not disturb the answer."""
    told: list[Any] = []
    assert await pool.run(f"{WORK}:double", {"n": 21}, kill_after_s=20, on_progress=told.append) == {"twice": 42}
    assert told == [{"half": True}]


@pytest.mark.parametrize(
    "function, error, said",
    [
        ("refuse", WorkRaised, "ValueError: not like this"),
        ("die", WorkDied, "exit status -9"),
        ("leave", WorkDied, "exit status 3: last words"),
        ("hang", WorkKilled, "still running after 0.5 s"),
        ("absent", WorkRaised, "AttributeError"),
    ],
)
async def test_a_task_that_fails_is_one_clear_error_and_the_pool_lives_on(
    pool: SpawnedPool, function: str, error: type[Exception], said: str
) -> None:
    """Raised, killed by somebody, left, or still there at its deadline."""
    with pytest.raises(error, match=said):
        await pool.run(f"{WORK}:{function}", {}, kill_after_s=0.5 if function == "hang" else 20)
    assert await pool.run(f"{WORK}:double", {"n": 1}, kill_after_s=20) == {"twice": 2}


async def test_a_process_killed_from_outside_is_told(pool: SpawnedPool) -> None:
    """As the kernel does when memory ends."""
    told: list[Any] = []
    async with asyncio.TaskGroup() as group:
        running = group.create_task(_outcome(pool, "wait_for_stop", told.append))
        pid = (await wait_until(lambda: told))[0]["pid"]
        os.kill(pid, signal.SIGKILL)
    assert isinstance(running.result(), WorkDied)


async def test_stop_asks_for_the_best_so_far(pool: SpawnedPool) -> None:
    """The function decides what it gives."""
    stop, told = asyncio.Event(), list[Any]()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(pool.run(f"{WORK}:wait_for_stop", {}, kill_after_s=20, on_progress=told.append, stop=stop))
        await wait_until(lambda: told)
        stop.set()
    assert running.result() == "stopped"


async def test_whoever_is_cancelled_takes_the_process_along(pool: SpawnedPool) -> None:
    """Nothing of it runs on, and the next task gets its turn."""
    told: list[Any] = []
    running = asyncio.get_running_loop().create_task(pool.run(f"{WORK}:wait_for_stop", {}, kill_after_s=20, on_progress=told.append))
    pid = (await wait_until(lambda: told))[0]["pid"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not _alive(pid)
    assert await pool.run(f"{WORK}:double", {"n": 1}, kill_after_s=20) == {"twice": 2}


async def test_a_full_queue_refuses_at_once(pool: SpawnedPool) -> None:
    """One runs, one waits, the third is told to come again; then both end."""
    stop, told = asyncio.Event(), list[Any]()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(pool.run(f"{WORK}:wait_for_stop", {}, kill_after_s=20, on_progress=told.append, stop=stop))
        await wait_until(lambda: told)
        second = group.create_task(pool.run(f"{WORK}:double", {"n": 2}, kill_after_s=20))
        await asyncio.sleep(0)
        with pytest.raises(PoolFull):
            await pool.run(f"{WORK}:double", {"n": 3}, kill_after_s=20)
        stop.set()
    assert (first.result(), second.result()) == ("stopped", {"twice": 4})


async def _outcome(pool: SpawnedPool, function: str, on_progress: Callable[[Any], None]) -> object:
    try:
        return await pool.run(f"{WORK}:{function}", {}, kill_after_s=20, on_progress=on_progress)
    except WorkDied as died:
        return died


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_what_a_library_prints_is_never_an_error(pool: SpawnedPool) -> None:
    """Not even a line of 200,000 characters."""
    assert await pool.run(f"{WORK}:babble", {}, kill_after_s=20) == "said"
