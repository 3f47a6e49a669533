"""An event loop with virtual time: no selector, no threads, no sockets, and nothing ordered by a memory address."""

from __future__ import annotations

import asyncio
import heapq
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from typing import Any, NoReturn, Protocol, TypeVar

T = TypeVar("T")


class Stuck(RuntimeError):
    """Nothing is ready and no timer is set: the run would wait for ever."""


class Forbidden(RuntimeError):
    """The code under test reached for a thread or a socket past the ports."""


class SimFuture(asyncio.Future[Any]):
    """A future whose hash is its creation number, so that sets of futures iterate alike in every process."""

    def __init__(self, *, loop: SimLoop) -> None:
        self.number = loop.next_number()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class SimTask(asyncio.Task[Any]):
    """A task whose hash is its creation number; the loop keeps it alive until it ends."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: SimLoop, context: Context | None = None) -> None:
        self.number = loop.next_number()
        super().__init__(coro, loop=loop, context=context)
        loop.alive[self] = None
        self.add_done_callback(loop.ended)

    def __hash__(self) -> int:
        return self.number


class Buries(Protocol):
    """Says whether the node that a handle belongs to is dead."""

    def __call__(self, context: Context) -> bool: ...


def _new_task(loop: AbstractEventLoop, coro: Any, *, context: Context | None = None, **_: object) -> SimTask:
    assert isinstance(loop, SimLoop)
    return SimTask(coro, loop=loop, context=context)


class SimLoop(asyncio.BaseEventLoop):
    """asyncio's own loop with a FIFO ready queue; when nothing is ready, `now` jumps to the next timer.

    Handles of dead nodes are dropped: no cancel, no `finally`, as after kill -9.
    """

    _ready: Any

    def __init__(self, buried: Buries) -> None:
        super().__init__()
        self.set_debug(False)
        self.now = 0.0
        self.turns = 0
        self.alive: dict[SimTask, None] = {}
        self.failed: list[SimTask] = []
        self.grave: list[object] = []
        self._buried = buried
        self._numbers = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []  # tuples: compared without a Python call each
        self.set_task_factory(_new_task)

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def ended(self, task: SimTask) -> None:
        self.alive.pop(task, None)
        if not task.cancelled() and task._exception is not None:  # .exception() would mark it as seen
            self.failed.append(task)

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        return SimFuture(loop=self)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Timers of one instant run in the order in which they were set."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, self.next_number(), timer))
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    async def pause(self, seconds: float) -> None:
        """`asyncio.sleep` for what happens 30,000 times in a run: nothing to give back."""
        future = self.create_future()
        timer = self.call_later(seconds, _wake, future)
        try:
            await future
        finally:
            timer.cancel()

    def set_timers(self) -> list[asyncio.TimerHandle]:
        """What was set and has not run."""
        return [timer for _, _, timer in self._timers]

    def _run_once(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not self._ready and not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise Stuck("nothing is ready and no timer is set")
            self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            self._ready.append(heapq.heappop(timers)[2])
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if handle._cancelled:
                continue
            if self._buried(handle._context):
                self.grave.append(handle)
                continue
            self.turns += 1
            handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers leave the heap when they reach its head."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        self._asyncgens.discard(agen)  # type: ignore[attr-defined]
        if not self.is_closed():
            self.call_soon(self.create_task, agen.aclose())

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Runs the function here and now."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_soon_threadsafe(self, *_: object, **__: object) -> NoReturn:
        raise Forbidden("call_soon_threadsafe: a thread is at work")

    async def create_connection(self, *_: object, **__: object) -> NoReturn:
        raise Forbidden("create_connection: a socket past the ports")

    async def create_server(self, *_: object, **__: object) -> NoReturn:
        raise Forbidden("create_server: a socket past the ports")

    async def create_datagram_endpoint(self, *_: object, **__: object) -> NoReturn:
        raise Forbidden("create_datagram_endpoint: a socket past the ports")

    async def getaddrinfo(self, *_: object, **__: object) -> NoReturn:
        raise Forbidden("getaddrinfo: a name looked up past the ports")


def _wake(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.set_result(None)


class OrderedSet(dict[Any, None]):
    """A set that iterates in the order of insertion; what anyio's cancel scopes use of `set`."""

    def add(self, item: object) -> None:
        self[item] = None

    def discard(self, item: object) -> None:
        self.pop(item, None)

    def remove(self, item: object) -> None:
        del self[item]

    def __iter__(self) -> Iterator[Any]:
        yield from list(self.keys())
