"""Laws of grouped writes: shared units, answers after the commit, no item harmed by another, no caller left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from cityloop_common.clock import SystemClock
from cityloop_common.db import Database, WriteTx, open_db
from cityloop_common.errors import Invalid, Unavailable
from cityloop_common.grouped import WITHIN_S, GroupedWrite, QueueFull
from tests.support import wait_until


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    """A database with one table of numbers that are never negative."""
    opened = open_db(url, clock=SystemClock())
    async with opened.write() as tx:
        await tx.run(text("CREATE TABLE number (n INTEGER PRIMARY KEY CHECK (n >= 0))"))
    yield opened
    await opened.close()


class Store:
    """Stores numbers; remembers the groups, and can be held at the door."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.door = asyncio.Event()
        self.door.set()

    async def apply(self, tx: WriteTx, items: Sequence[int]) -> Sequence[str | Exception]:
        self.groups.append(list(items))
        await self.door.wait()
        good = [{"n": item} for item in items if item != 13]
        if good:
            await tx.run(text("INSERT INTO number (n) VALUES (:n)"), good)
        return [Invalid("unlucky") if item == 13 else f"stored {item}" for item in items]


@asynccontextmanager
async def running(grouped: GroupedWrite[int, str]) -> AsyncIterator[asyncio.Task[None]]:
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(grouped.run())
        yield loop
        loop.cancel()


async def numbers(db: Database) -> list[int]:
    async with db.read() as tx:
        return [row.n for row in await tx.all(text("SELECT n FROM number ORDER BY n"))]


async def all_answers(grouped: GroupedWrite[int, str], items: Sequence[int]) -> list[str | BaseException]:
    return await asyncio.gather(*(grouped.submit(item) for item in items), return_exceptions=True)


async def test_what_arrives_during_a_unit_shares_the_next_one(db: Database) -> None:
    """100 items at once need a few units, not 100, and all are stored."""
    store = Store()
    grouped = GroupedWrite(db, store.apply, max_items=64)
    async with running(grouped):
        answers = await all_answers(grouped, range(100, 200))
    assert answers == [f"stored {item}" for item in range(100, 200)]
    assert len(store.groups) <= 3
    assert await numbers(db) == list(range(100, 200))


async def test_no_answer_comes_before_the_commit(db: Database) -> None:
    """Whoever has an answer finds the row from another connection."""
    grouped = GroupedWrite(db, Store().apply)
    async with running(grouped):
        for item in range(5):
            await grouped.submit(item)
            assert item in await numbers(db)


async def test_an_outcome_that_is_an_error_concerns_its_item_alone(db: Database) -> None:
    """The others of the group are stored in the same unit."""
    store = Store()
    grouped = GroupedWrite(db, store.apply)
    async with running(grouped):
        answers = await all_answers(grouped, [12, 13, 14])
    assert [type(answer) for answer in answers] == [str, Invalid, str]
    assert await numbers(db) == [12, 14]


async def test_a_unit_that_fails_is_tried_item_by_item(db: Database) -> None:
    """One row that the database refuses harms no other."""
    store = Store()
    grouped = GroupedWrite(db, store.apply)
    async with running(grouped):
        answers = await all_answers(grouped, [1, -1, 2])
    assert [isinstance(answer, str) for answer in answers] == [True, False, True]
    assert await numbers(db) == [1, 2]


async def test_a_database_that_is_gone_refuses_the_whole_group_at_once(db: Database) -> None:
    """Nobody waits for as many time-outs as there are items."""
    attempts = 0

    async def gone(_: WriteTx, items: Sequence[int]) -> Sequence[str | Exception]:
        nonlocal attempts
        attempts += 1
        raise Unavailable("the database does not answer")

    grouped: GroupedWrite[int, str] = GroupedWrite(db, gone)
    async with running(grouped):
        answers = await all_answers(grouped, range(10))
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert attempts == 1


async def test_a_caller_who_left_while_waiting_costs_nothing(db: Database) -> None:
    """Its item is dropped before its group begins; the others are stored."""
    store = Store()
    store.door.clear()
    grouped = GroupedWrite(db, store.apply)
    async with running(grouped), asyncio.TaskGroup() as group:
        first = group.create_task(grouped.submit(1))
        await wait_until(lambda: store.groups == [[1]])
        left = group.create_task(grouped.submit(2))
        stays = group.create_task(grouped.submit(3))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        store.door.set()
        assert [await first, await stays] == ["stored 1", "stored 3"]
    assert await numbers(db) == [1, 3]


async def test_a_caller_who_leaves_midway_breaks_no_group(db: Database) -> None:
    """Its item is stored with the others; nobody waits for the answer."""
    store = Store()
    store.door.clear()
    grouped = GroupedWrite(db, store.apply)
    async with running(grouped), asyncio.TaskGroup() as group:
        left = group.create_task(grouped.submit(1))
        await wait_until(lambda: store.groups == [[1]])
        left.cancel()
        store.door.set()
        assert await grouped.submit(2) == "stored 2"
    assert await numbers(db) == [1, 2]


async def test_more_than_fits_is_refused_not_kept(db: Database) -> None:
    """A full queue answers at once."""
    store = Store()
    store.door.clear()
    grouped = GroupedWrite(db, store.apply, max_items=1, max_waiting=2)
    async with running(grouped), asyncio.TaskGroup() as group:
        first = group.create_task(grouped.submit(1))
        await wait_until(lambda: store.groups == [[1]])
        waiting = [group.create_task(grouped.submit(item)) for item in (2, 3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await grouped.submit(4)
        store.door.set()
        assert await asyncio.gather(first, *waiting) == ["stored 1", "stored 2", "stored 3"]


@pytest.mark.parametrize("items", [[1, 2], [-1, 2, 3]])
async def test_stopping_leaves_nobody_waiting(db: Database, items: list[int], make_door: Callable[[Store], Awaitable[None]]) -> None:
    """Cancelled in the middle of a unit, also of a single retry: in flight, queued and late callers are refused."""
    store = Store()
    store.door.clear()
    grouped = GroupedWrite(db, store.apply, max_items=2)
    loop = asyncio.ensure_future(grouped.run())
    callers = [asyncio.ensure_future(grouped.submit(item)) for item in items]
    await make_door(store)
    loop.cancel()
    async with asyncio.timeout(WITHIN_S / 2):
        answers = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    with pytest.raises(Unavailable):
        await grouped.submit(9)
    with pytest.raises(asyncio.CancelledError):
        await loop
    assert await numbers(db) == []


@pytest.fixture
def make_door() -> Callable[[Store], Awaitable[None]]:
    """Waits until the loop stands in a unit; a group with -1 is let through once so that it stands in its first retry."""

    async def stands(store: Store) -> None:
        await wait_until(lambda: len(store.groups) == 1)
        if -1 in store.groups[0]:
            store.door.set()
            store.door = asyncio.Event()
            await wait_until(lambda: len(store.groups) == 2)

    return stands
