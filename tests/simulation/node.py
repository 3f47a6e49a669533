"""A node is one incarnation of a process: it dies at an effect, at once, and never runs again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from cityloop_common.eventlog.port import EventLog
from tests.simulation.asgi import App

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
NODE: ContextVar[Node] = ContextVar("node")


def buried(context: Context) -> bool:
    """Whether a handle's context belongs to a dead node."""
    node = context.get(NODE)
    return node is not None and node.dead


class Node:
    """One incarnation of a named process: its effects, its latency, its death."""

    def __init__(self, world: World, name: str, incarnation: int, *, skew_s: float) -> None:
        self.world = world
        self.name = name
        self.label = f"{name}#{incarnation}"
        self.dead = False
        self.effects = 0
        self.slow = 1.0
        self.clock = SimClock(world, skew_s)
        self.app: App | None = None
        self.log: EventLog | None = None
        self._armed = 0
        self._armed_at_commit = 0
        self._last_words: list[Callable[[], None]] = []
        self._rng = random.Random(f"{world.seed}/latency/{self.label}")

    def arm(self, effects: int) -> None:
        """Dies at its n-th next effect; 0 disarms."""
        self._armed = effects

    def arm_at_commit(self, places: int) -> None:
        """Dies at its n-th next place beside a COMMIT, two before it and two after it; 0 disarms."""
        self._armed_at_commit = places

    def kill(self) -> None:
        """Power off: open transactions roll back as the files say, peers notice, nothing of it runs on."""
        if self.dead:
            return
        self.dead = True
        self.world.note(self.label, "dies")
        for word in self._last_words:
            word()
        self._last_words.clear()
        self.world.died(self)

    def on_death(self, word: Callable[[], None]) -> None:
        """What the outside world does about it: not code of the node itself."""
        self._last_words.append(word)

    def no_longer(self, word: Callable[[], None]) -> None:
        if word in self._last_words:
            self._last_words.remove(word)

    async def point(self, *, beside_commit: bool = False) -> None:
        """A place before or after an effect: the armed kill, then latency. Beside a COMMIT it may die behind the latency, too."""
        self.effects += 1
        if self._armed:
            self._armed -= 1
            if not self._armed:
                self.kill()
        await self._pass_commit(beside_commit)
        await self.world.loop.pause(self._rng.uniform(0.0002, 0.004) * self.slow)
        if beside_commit:
            await self._pass_commit(beside_commit)

    async def _pass_commit(self, beside_commit: bool) -> None:
        if beside_commit and self._armed_at_commit:
            self._armed_at_commit -= 1
            if not self._armed_at_commit:
                self.kill()
        if self.dead:
            await self.world.loop.create_future()

    def patience(self) -> float:
        """How long it waits before it tries a locked file again."""
        return self._rng.uniform(0.001, 0.01)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Starts a task of this node; its exception is an error of the run."""
        context = copy_context()
        context.run(NODE.set, self)
        _kept_by_loop = self.world.loop.create_task(self._guarded(work, name), name=f"{self.label}/{name}", context=context)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs work as this node's and waits for it."""
        context = copy_context()
        context.run(NODE.set, self)
        task: asyncio.Task[T] = self.world.loop.create_task(work, name=self.label, context=context)
        return await task

    async def _guarded(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await work
        except Exception as error:
            self.world.error(f"{self.label}/{name}: {error!r}")
            raise


class SimClock:
    """Virtual time as one node's clock shows it."""

    def __init__(self, world: World, skew_s: float) -> None:
        self._world = world
        self._skew = timedelta(seconds=skew_s)

    def now(self) -> datetime:
        return self._world.now() + self._skew

    def monotonic(self) -> float:
        return self._world.loop.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
