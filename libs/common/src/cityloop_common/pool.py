"""Long arithmetic in processes of its own: one fresh process a task, a bounded queue, a kill deadline, progress and a way to stop.

A solver that holds the interpreter's lock would stop the event loop for as long as it runs, and a thread does not help
(ortools 9.15). So a task is the name of a function and plain data; what comes back is plain data.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from cityloop_common import telemetry
from cityloop_common.errors import CityLoopError, Unavailable

MOST_BYTES = 256_000_000
ENDS_WITHIN_S = 5.0
_STDERR_KEPT = 40  # lines
_LENGTH = 4
RUNNING = telemetry.gauge("pool_running_processes", "Processes of the pool at work", ())
WAITING = telemetry.gauge("pool_waiting_tasks", "Tasks that wait for a process of the pool", ())
ENDED = telemetry.counter("pool_tasks_total", "Tasks of the pool by how they ended", ("work", "outcome"))


class PoolFull(Unavailable):
    """More tasks wait than the pool takes."""

    slug, title = "pool-full", "Too many calculations are waiting"


class WorkFailed(CityLoopError):
    """A task that did not come to its end; the pool itself lives on::

    WorkFailed
    ├── WorkRaised   the function raised; the text is its own
    ├── WorkDied     the process ended by itself or by somebody's signal
    └── WorkKilled   it was still running at its kill deadline
    """

    slug, title = "work-failed", "The calculation failed"


class WorkRaised(WorkFailed):
    slug, title = "work-raised", "The calculation failed"


class WorkDied(WorkFailed):
    slug, title = "work-died", "The calculation's process ended"


class WorkKilled(WorkFailed):
    slug, title = "work-killed", "The calculation did not end in time"


class Pool(Protocol):
    """Where long arithmetic runs."""

    async def run(
        self,
        work: str,
        payload: Mapping[str, object],
        *,
        kill_after_s: float,
        on_progress: Callable[[Any], None] | None = None,
        stop: asyncio.Event | None = None,
    ) -> Any:
        """What `package.module:function` answers for `payload`; both are JSON.

        The function is called as `function(payload, progress)`; `progress(value)` hands a value to `on_progress` and answers
        whether `stop` was set: then it should return the best it has. Time spent waiting does not count for `kill_after_s`.
        Raises PoolFull, WorkRaised, WorkDied, WorkKilled. A caller that is cancelled takes the process with it.
        """
        ...

    async def close(self) -> None:
        """Ends what still runs."""
        ...


class SpawnedPool:
    """At most `workers` processes at a time and `most_waiting` tasks behind them."""

    def __init__(self, *, workers: int = 2, most_waiting: int = 16) -> None:
        self._most_waiting = most_waiting
        self._turns = asyncio.Semaphore(workers)
        self._waiting = 0
        self._running: dict[int, asyncio.subprocess.Process] = {}

    async def run(
        self,
        work: str,
        payload: Mapping[str, object],
        *,
        kill_after_s: float,
        on_progress: Callable[[Any], None] | None = None,
        stop: asyncio.Event | None = None,
    ) -> Any:
        """See Pool."""
        async with self._turn():
            outcome = "cancelled"
            try:
                result = await self._run(_Task(work, payload, kill_after_s, on_progress, stop))
                outcome = "done"
            except WorkFailed as failed:
                outcome = failed.slug
                raise
            finally:
                ENDED.add(work, outcome)
        return result

    async def close(self) -> None:
        """See Pool."""
        for process in list(self._running.values()):
            await _end(process)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._turns.locked() and self._waiting >= self._most_waiting:
            raise PoolFull(retry_after_s=10)
        self._waiting += 1
        WAITING.set(to=self._waiting)
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
            WAITING.set(to=self._waiting)
        try:
            yield
        finally:
            self._turns.release()

    async def _run(self, task: _Task) -> Any:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "cityloop_common.pool_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._running[process.pid] = process
        RUNNING.set(to=len(self._running))
        try:
            async with asyncio.timeout(task.kill_after_s):
                return await _talk(process, task)
        except TimeoutError:
            raise WorkKilled(f"{task.work} was still running after {task.kill_after_s:g} s") from None
        finally:
            await _end(process)
            del self._running[process.pid]
            RUNNING.set(to=len(self._running))


@dataclass(frozen=True, slots=True)
class _Task:
    work: str
    payload: Mapping[str, object]
    kill_after_s: float
    on_progress: Callable[[Any], None] | None
    stop: asyncio.Event | None


async def _talk(process: asyncio.subprocess.Process, task: _Task) -> Any:
    """Hands the task over and reads what comes, beside two small loops: its complaints, and the wish to stop."""
    assert process.stdin is not None
    assert process.stdout is not None
    complaints: deque[str] = deque(maxlen=_STDERR_KEPT)
    frame = orjson.dumps({"work": task.work, "payload": task.payload}, option=orjson.OPT_SERIALIZE_NUMPY)
    async with _beside(_listen(process, complaints), _pass_on(process, task.stop)):
        with contextlib.suppress(ConnectionError):  # it has died already: the answer says so
            process.stdin.write(len(frame).to_bytes(_LENGTH, "big") + frame)
            await process.stdin.drain()
        while True:
            answer = await _read_frame(process.stdout)
            if answer is None:
                await process.wait()
                await asyncio.sleep(0)
                raise WorkDied(f"exit status {process.returncode}{_last(complaints)}")
            if "result" in answer:
                return answer["result"]
            if "raised" in answer:
                raise WorkRaised(str(answer["raised"]))
            if task.on_progress is not None:
                task.on_progress(answer["progress"])


@contextlib.asynccontextmanager
async def _beside(*loops: Awaitable[None]) -> AsyncIterator[None]:
    raised: Exception | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_awaited(loop)) for loop in loops]
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below, without the group around it
            raised = error
        for task in tasks:
            task.cancel()
    if raised is not None:
        raise raised


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def _listen(process: asyncio.subprocess.Process, complaints: deque[str]) -> None:
    assert process.stderr is not None
    while part := await process.stderr.read(4096):  # not by line: one of 64 KiB would be an error of ours
        complaints.extend(line[:500] for line in part.decode(errors="replace").splitlines() if line.strip())


async def _pass_on(process: asyncio.subprocess.Process, stop: asyncio.Event | None) -> None:
    if stop is None:
        return
    await stop.wait()
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(b"s")
        await process.stdin.drain()


async def _read_frame(stream: asyncio.StreamReader) -> dict[str, Any] | None:
    try:
        length = int.from_bytes(await stream.readexactly(_LENGTH), "big")
        if length > MOST_BYTES:
            raise WorkDied(f"it answered {length} bytes")
        frame: dict[str, Any] = orjson.loads(await stream.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return frame


def _last(complaints: deque[str]) -> str:
    return f": {complaints[-1]}" if complaints else ""


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills what still runs and waits for its end, so that nothing of it stays behind."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENDS_WITHIN_S):
            await process.wait()
    if process.stdin is not None:
        process.stdin.close()
