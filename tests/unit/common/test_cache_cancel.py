"""A cancel is never lost in the cache: what is told to stop stops."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from cityloop_common.cache import open_cache
from cityloop_common.clock import SystemClock
from cityloop_common.fanout import Change, Fanout, FanoutEntry
from tests.support import PATIENCE_S


class Deaf:
    """A reader that needs nothing."""

    async def apply(self, entries: Sequence[FanoutEntry]) -> None:
        return

    async def reset(self) -> None:
        return

    async def poll(self) -> None:
        return


async def test_a_cancel_at_any_step_ends_the_loops() -> None:
    """200 cancels, each at another step of follower and publisher (one in ten was lost before)."""
    dice = random.Random(1)
    for _ in range(200):
        fan = Fanout(open_cache("memory:", clock=SystemClock()), "x", clock=SystemClock())
        tasks = [asyncio.ensure_future(fan.follow(Deaf())), asyncio.ensure_future(fan.run_publisher())]
        for step in range(dice.randint(1, 60)):
            if dice.random() < 0.2:
                fan.offer(Change("a", str(step), 1, b"{}"))
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        _, alive = await asyncio.wait(tasks, timeout=PATIENCE_S)
        assert not alive
        assert all(task.cancelled() for task in tasks)
