"""What has to be replaced in libraries for the length of a run, each with its reason."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, NoReturn
from unittest import mock

import anyio.to_thread
from anyio._backends import _asyncio as anyio_asyncio
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from tests.simulation.loop import Forbidden, OrderedSet, SimLoop

FOR_UPDATE = "/* for update */"


async def _inline(func: Callable[..., Any], *args: Any, **_: Any) -> Any:
    return func(*args)


def _no_thread(self: threading.Thread) -> NoReturn:
    raise Forbidden(f"thread {self.name} started past the ports")


def _ordered_scopes(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self._child_scopes = OrderedSet()
        self._tasks = OrderedSet()

    return init


def _for_update(*_: object, **__: object) -> str:
    return f" {FOR_UPDATE}"


@contextmanager
def patched(loop: SimLoop, start: datetime, seed: str) -> Iterator[None]:
    """One run's replacements; all undone at its end.

    - threads: forbidden; anyio's thread helper runs inline.
    - anyio's cancel scopes iterate sets by address: ordered sets.
    - `time.time` and `time.monotonic` give virtual time (fakeredis expires keys by it).
    - the module-level random generator is seeded, for libraries that draw jitter from it.
    - SQLite compiles FOR UPDATE away: leave a comment that the read-committed mode sees.
    - dialects of all nodes are alike: what one node has compiled, the others use, too.
    - no garbage collection: collecting a dead task would run its `finally` blocks.
    """
    epoch, state, collecting = start.timestamp(), random.getstate(), gc.isenabled()
    scope = anyio_asyncio.CancelScope
    replacements: list[tuple[object, str, object]] = [
        (threading.Thread, "start", _no_thread),
        (anyio.to_thread, "run_sync", _inline),
        (scope, "__init__", _ordered_scopes(scope.__init__)),
        (time, "time", lambda: epoch + loop.now),
        (time, "monotonic", lambda: loop.now),
        (SQLiteCompiler, "for_update_clause", _for_update),
        (SQLiteDialect_aiosqlite, "__hash__", lambda _: 0),
        (SQLiteDialect_aiosqlite, "__eq__", lambda _, other: isinstance(other, SQLiteDialect_aiosqlite)),
    ]
    with ExitStack() as stack:
        for target, name, value in replacements:
            stack.enter_context(mock.patch.object(target, name, value))
        random.seed(seed)
        gc.disable()
        try:
            yield
        finally:
            random.setstate(state)
            if collecting:
                gc.enable()
