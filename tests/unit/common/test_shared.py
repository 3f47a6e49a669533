"""Shared answers: one making for all who ask, never an answer that is known to be out of date, and rest between makings."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from cityloop_common.clock import ManualClock
from cityloop_common.shared import Shared
from tests.support import wait_until


class Maker:
    """Makes numbers, each when it is let; `version` is what they are of."""

    def __init__(self, clock: ManualClock, *, takes_s: float = 0.0) -> None:
        self.clock = clock
        self.takes_s = takes_s
        self.version = 1
        self.made = 0
        self.fails: Exception | None = None

    async def make(self) -> int:
        self.made += 1
        number = self.made
        await self.clock.sleep(self.takes_s)
        if self.fails is not None:
            raise self.fails
        return number

    def of(self) -> object:
        return self.version


@pytest.fixture
def clock() -> ManualClock:
    """Time that stands still."""
    return ManualClock(datetime(2026, 11, 26, tzinfo=UTC))


async def test_all_who_ask_share_one_answer(clock: ManualClock) -> None:
    """At the same time, and within the second after it."""
    shared, maker = Shared[int](clock), Maker(clock)
    assert await asyncio.gather(*(shared.get(maker.make) for _ in range(50))) == [1] * 50
    clock.advance(0.9)
    assert await shared.get(maker.make) == 1
    clock.advance(0.2)
    assert await shared.get(maker.make) == 2


async def test_an_answer_is_never_of_an_older_version(clock: ManualClock) -> None:
    """Not even when its making had begun before the version changed."""
    shared, maker = Shared[int](clock), Maker(clock)
    assert await shared.get(maker.make, maker.of) == 1
    maker.version = 2
    assert await shared.get(maker.make, maker.of) == 2
    maker.takes_s = 0.05
    maker.version = 3
    async with asyncio.TaskGroup() as tasks:
        early = tasks.create_task(shared.get(maker.make, maker.of))
        await wait_until(lambda: maker.made == 3)
        maker.version = 4
        late = [tasks.create_task(shared.get(maker.make, maker.of)) for _ in range(5)]
        while not all(task.done() for task in late):
            clock.advance(0.05)
            await asyncio.sleep(0)
    assert (early.result(), [task.result() for task in late]) == (3, [4] * 5)


async def test_makings_rest_between_each_other(clock: ManualClock) -> None:
    """Whatever changes, making takes a sixth of the time at most; a dear one rests no longer than ten seconds."""
    shared, maker = Shared[int](clock), Maker(clock, takes_s=0.1)
    ended: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        for takes_s in (0.1, 0.1, 1.0, 4.0, 0.1):
            maker.takes_s, maker.version = takes_s, maker.version + 1
            task = tasks.create_task(shared.get(maker.make, maker.of))
            while not task.done():
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if not task.done():
                    clock.advance(0.05)
            ended.append(clock.monotonic())
    assert [later - sooner for sooner, later in pairwise(ended)] == [pytest.approx(gap, abs=0.35) for gap in (0.6, 1.5, 9.0, 10.1)]


async def test_who_waited_for_a_failure_is_told_it_and_the_next_tries_again(clock: ManualClock) -> None:
    """Nobody makes it once more for each who waited."""
    shared, maker = Shared[int](clock), Maker(clock)
    maker.fails = KeyError("away")
    answers = await asyncio.gather(*(shared.get(maker.make) for _ in range(5)), return_exceptions=True)
    assert ([type(each) for each in answers], maker.made) == ([KeyError] * 5, 1)
    maker.fails = None
    assert await shared.get(maker.make) == 2


async def test_one_who_leaves_takes_nobody_with_them(clock: ManualClock) -> None:
    """The next who waits makes it."""
    shared, maker = Shared[int](clock), Maker(clock, takes_s=1.0)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(shared.get(maker.make))
        await wait_until(lambda: maker.made == 1)
        second = tasks.create_task(shared.get(maker.make))
        await asyncio.sleep(0)
        first.cancel()
        await wait_until(lambda: maker.made == 2)
        clock.advance(1.0)
    assert second.result() == 2
