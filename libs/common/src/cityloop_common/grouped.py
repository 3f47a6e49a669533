"""Requests that arrive together share one transaction, and each is answered after its commit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from cityloop_common.db import Database, WriteTx
from cityloop_common.errors import Contention, DeadlinePassed, Unavailable
from cityloop_common.signals import Signals

I = TypeVar("I")  # noqa: E741 - item
A = TypeVar("A")
IDLE_S = 5.0
WITHIN_S = 20.0


class QueueFull(Unavailable):
    """More is waiting than can be stored soon."""

    slug, title = "overloaded", "Too many writes are waiting"


class NotInTime(Unavailable):
    """The item waited too long; whether it will be stored is not known, so a repetition must be harmless."""

    slug, title = "not-in-time", "The write did not get its turn in time"


class GroupedWrite(Generic[I, A]):
    """While one group is being stored the next one gathers, so no request waits for a timer.

    `apply` stores a group in the open unit and answers one outcome per item; an outcome that is an exception concerns that
    item alone. When the unit itself fails, each item is tried in a unit of its own, so one bad item harms no other; when
    the database does not answer, the whole group is refused at once. An item whose caller has gone is not stored if its
    group has not begun.
    """

    def __init__(
        self,
        db: Database,
        apply: Callable[[WriteTx, Sequence[I]], Awaitable[Sequence[A | Exception]]],
        *,
        max_items: int = 64,
        max_waiting: int = 5_000,
    ) -> None:
        self._db = db
        self._apply = apply
        self._max_items = max_items
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[I, asyncio.Future[A]]] = deque()
        self._signals = Signals()
        self._stopped = False

    async def submit(self, item: I) -> A:
        """The item's outcome once it is stored. Raises what `apply` answered for it, what the unit raised, QueueFull, NotInTime."""
        if self._stopped:
            raise Unavailable("the process is stopping")
        if len(self._waiting) >= self._max_waiting:
            raise QueueFull
        outcome: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if len(self._waiting) == 1:
            self._signals.notify("items")
        try:
            async with asyncio.timeout(WITHIN_S):
                return await outcome
        except TimeoutError as error:
            raise NotInTime from error

    async def run(self) -> None:
        """The loop that stores; one a process, under its supervisor. What waits when it ends is refused."""
        self._stopped = False
        try:
            while True:
                if not self._waiting:
                    await self._signals.wait("items", IDLE_S)
                    continue
                await self._store_next()
        finally:
            self._stopped = True
            _refuse(self._waiting, Unavailable("the process is stopping"))

    async def _store_next(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(self._max_items, len(self._waiting)))]
        group = [each for each in taken if not each[1].done()]
        try:
            if group and not await self._stored(group):
                for each in group:
                    await self._stored([each])
        finally:  # cancelled midway: whoever has no answer yet gets one
            _refuse(group, Unavailable("the process is stopping"))

    async def _stored(self, group: Sequence[tuple[I, asyncio.Future[A]]]) -> bool:
        """Stores and answers a group; False when its items must be tried one by one."""
        try:
            async with self._db.write() as tx:
                outcomes = await self._apply(tx, [item for item, _ in group])
        except Exception as error:  # noqa: BLE001 - whatever the unit raises is the answer of whoever waits
            nobody_can = isinstance(error, Unavailable | DeadlinePassed) and not isinstance(error, Contention)
            if len(group) > 1 and not nobody_can:
                return False
            _refuse(group, error)
            return True
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        return True


def _refuse(group: Sequence[tuple[I, asyncio.Future[A]]] | deque[tuple[I, asyncio.Future[A]]], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
