"""The stream of plans: what one replica writes another passes on, once, by the cache or by the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from cityloop_common.cache import Cache, open_cache
from cityloop_common.clock import SystemClock
from cityloop_common.fanout import Change, FanoutEntry
from cityloop_common.sse import Message
from cityloop_waste.planning import publishing, use_cases
from cityloop_waste.planning.replica import CHANGED, COMPARE_EVERY_S, PROGRESS, PlanStream
from tests.contract.waste_support import Town, town
from tests.support import wait_until


class Heard(PlanStream):
    """A replica whose clients write down what they hear."""

    def __init__(self, of: Town) -> None:
        super().__init__(of.ctx)
        self.messages: list[Message] = []
        self.resets: list[str] = []
        self.hub.publish = self.messages.append  # type: ignore[method-assign, assignment]
        self.hub.reset = self.resets.append  # type: ignore[method-assign, assignment]

    def states(self, plan_id: str) -> list[str]:
        """The states of a plan as they were heard of."""
        return [orjson.loads(each.data)["state"] for each in self.messages if (each.event, each.key) == (CHANGED, plan_id)]


@asynccontextmanager
async def replicas(url: str, folder: Path, cache: Cache) -> AsyncIterator[tuple[Town, Town]]:
    """Two replicas over one database and one cache."""
    async with town(url, folder) as one, town(url, folder) as other:
        await one.furnish()
        yield replace(one, ctx=replace(one.ctx, cache=cache)), replace(other, ctx=replace(other.ctx, cache=cache))


async def test_what_one_replica_writes_the_other_passes_on(url: str, tmp_path: Path) -> None:
    """Every state of a plan in its order, without a word of who asked."""
    cache = open_cache("memory:", clock=SystemClock())
    async with replicas(url, tmp_path, cache) as (writer, listener):
        heard = Heard(listener)
        loops = [asyncio.get_running_loop().create_task(each) for each in (writer.ctx.fanout.run_publisher(), heard.follow())]
        await wait_until(lambda: heard._newest is not None)
        asked = await writer.ready()
        await writer.publish(asked.id)
        await wait_until(lambda: heard.states(asked.id)[-1:] == ["published"])
        assert heard.states(asked.id) == ["waiting", "solving", "ready", "published"]
        body = orjson.loads(heard.messages[-1].data)
        assert body == {
            "plan_id": asked.id, "stream": "kitchen", "on": "2026-11-26", "state": "published", "version": 1, "trucks": 1, "stops": 3,
            "unserved": 0,
        }  # fmt: skip
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    await cache.close()


async def test_while_the_cache_is_away_the_database_is_read(tmp_path: Path) -> None:
    """Each change is told once, also when its entry comes later after all."""
    async with town(f"sqlite:///{tmp_path / 'w.db'}", tmp_path) as opened:
        await opened.furnish()
        heard = Heard(opened)
        await heard.reset()
        asked = await opened.ready()
        await heard.poll()
        await heard.poll()
        assert heard.states(asked.id) == ["ready"]
        published = await opened.publish(asked.id)
        await heard.poll()
        assert heard.states(asked.id) == ["ready", "published"]
        late = FanoutEntry("1-0", Change(publishing.CHANGE, asked.id, published.version, orjson.dumps(publishing.shown_body(published))))
        await heard.apply([late])
        assert heard.states(asked.id) == ["ready", "published"]
        await heard.reset()
        assert heard.resets == ["trimmed"]


async def test_a_lost_entry_is_found_by_comparing(tmp_path: Path) -> None:
    """The publisher died between its commit and the stream: within half a minute the database says it."""
    async with town(f"sqlite:///{tmp_path / 'w.db'}", tmp_path) as opened:
        await opened.furnish()
        heard = Heard(opened)
        await heard.reset()
        asked = await opened.ready()
        await heard.apply([])
        assert heard.messages == []
        heard._compared_at_s -= COMPARE_EVERY_S
        await heard.apply([])
        await heard.apply([])
        assert heard.states(asked.id) == ["ready"]


async def test_progress_is_passed_on_as_it_comes(tmp_path: Path) -> None:
    """It has no version to be compared: an entry of another kind is nobody's."""
    async with town(f"sqlite:///{tmp_path / 'w.db'}", tmp_path) as opened:
        heard = Heard(opened)
        entries = [FanoutEntry(f"{n}-0", Change(use_cases.PROGRESS, "p", 1, b'{"done_s":1}')) for n in (1, 2)]
        await heard.apply([*entries, FanoutEntry("3-0", Change("something", "p", 1, b"{}"))])
        assert [(each.id, each.event, each.data) for each in heard.messages] == [
            ("1-0", PROGRESS, '{"done_s":1}'),
            ("2-0", PROGRESS, '{"done_s":1}'),
        ]


async def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plans that changed longest ago are forgotten first."""
    monkeypatch.setattr("cityloop_waste.planning.replica.REMEMBERED", 2)
    async with town(f"sqlite:///{tmp_path / 'w.db'}", tmp_path) as opened:
        heard = Heard(opened)
        entries = [FanoutEntry(f"{n}-0", Change(publishing.CHANGE, f"p{n % 3}", n + 1, b"{}")) for n in range(9)]
        await heard.apply(entries)
        assert len(heard.messages) == 9
        assert len(heard._known) == 2
