"""The world of one run: the loop, the seed's streams, the trace, the nodes and what went wrong."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO, TypeVar

from tests.simulation.loop import SimLoop, Stuck
from tests.simulation.node import Node, buried
from tests.simulation.patches import patched

T = TypeVar("T")

START = datetime(2026, 6, 1, 0, 0, tzinfo=UTC)
LONGEST_S = 4000.0
MOST_SKEW_S = 1.0
# Dead tasks must never be collected (their `finally` would run): this list outlives the interpreter's own clean-up.
_graves: list[object] = []
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_graves))


class Mode(StrEnum):
    """How strict the database is: SQLite as it is, or about as lax as PostgreSQL's default."""

    SQLITE = "sqlite"
    READ_COMMITTED = "read-committed"


class Broken(AssertionError):
    """An invariant that does not hold."""


class World:
    """Everything of one run that is not code under test."""

    def __init__(self, seed: int, mode: Mode, *, start: datetime = START, trace: TextIO | None = None) -> None:
        self.seed = seed
        self.start = start
        self.mode = mode
        self.loop = SimLoop(buried)
        self.outside = Context()  # handles that belong to no node
        self.nodes: dict[str, Node] = {}
        self.errors: list[str] = []
        self.deaths = 0
        self.effects = 0
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="cityloop-sim-", dir=memory if memory.is_dir() else None))
        self._hash = hashlib.sha256()
        self._trace = trace
        self._incarnations: dict[str, int] = {}
        self._watch: list[Callable[[Node], None]] = []
        self.loop.set_exception_handler(self._unhandled)
        self.loop.call_at(LONGEST_S, self.error, f"goes on for {LONGEST_S} s", context=self.outside)

    def stream(self, purpose: str) -> random.Random:
        """The seed's stream of random numbers for one purpose."""
        return random.Random(f"{self.seed}/{purpose}")

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.loop.now)

    def note(self, who: str, text: str) -> None:
        """One line of the trace; two runs of a seed agree on every byte of it."""
        line = f"{self.loop.now:.6f} {who} {text}\n"
        self.effects += 1
        self._hash.update(line.encode())
        if self._trace is not None:
            self._trace.write(line)

    def trace_hash(self) -> str:
        return self._hash.hexdigest()[:16]

    def node(self, name: str, *, skew_s: float | None = None) -> Node:
        """A new incarnation of a named process, on a machine whose clock is a little off, or as far as is said."""
        number = self._incarnations[name] = self._incarnations.get(name, 0) + 1
        off_s = self.stream(f"skew/{name}").uniform(-MOST_SKEW_S, MOST_SKEW_S) if skew_s is None else skew_s
        node = self.nodes[name] = Node(self, name, number, skew_s=off_s)
        _graves.append(node)
        self.note(node.label, "starts")
        return node

    def on_death(self, watch: Callable[[Node], None]) -> None:
        """Registers who restarts the dead."""
        self._watch.append(watch)

    def died(self, node: Node) -> None:
        self.deaths += len(self._watch) > 0
        for watch in self._watch:
            watch(node)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs the whole of a scenario; the exceptions of tasks nobody looked at are errors of the run."""
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        with patched(self.loop, self.start, str(self.seed)):
            try:
                return self.loop.run_until_complete(work)
            except Stuck as stuck:
                raise Broken(f"stuck at {self.loop.now:.3f} s") from stuck
            except RuntimeError as stopped:
                if self.errors:
                    raise Broken(f"error at {self.loop.now:.3f} s: {self.errors[0]}") from stopped
                raise
            finally:
                self._bury()

    def _bury(self) -> None:
        for task in self.loop.failed:
            if task._log_traceback:
                task._log_traceback = False
                self.errors.append(f"{task.get_name()}: {task._exception!r}")
        self._watch.clear()
        for node in self.nodes.values():
            node.kill()
        for task in self.loop.alive:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        _graves.extend([self.loop.alive, self.loop.grave, list(self.loop._ready), self.loop.set_timers()])
        with suppress(RuntimeError):
            self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def error(self, text: str) -> None:
        """Something that must never happen in a run: ends it."""
        self.errors.append(text)
        self.loop.stop()

    def _unhandled(self, loop: object, context: dict[str, Any]) -> None:
        self.error(f"{context.get('message')}: {context.get('exception')!r}")
