"""Readers hear of every change, or are told that they may have missed one; without Redis they read the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from cityloop_common import fanout
from cityloop_common.cache import Cache, CacheUnavailable, StreamEntry, open_cache
from cityloop_common.clock import ManualClock
from cityloop_common.errors import Unavailable
from cityloop_common.fanout import Change, Fanout, FanoutEntry
from tests.support import wait_until

START = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)


class Breakable:
    """A cache that can be away."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.away = False
        self.refused = 0

    def __getattr__(self, name: str) -> object:
        if self.away:
            raise CacheUnavailable
        return getattr(self._cache, name)

    async def append(self, stream: str, entries: Sequence[Mapping[str, bytes]], *, maxlen: int) -> Sequence[str]:
        self.refused += self.away
        self._check()
        return await self._cache.append(stream, entries, maxlen=maxlen)

    async def follow(self, stream: str, *, after: str, block_s: float) -> Sequence[StreamEntry] | None:
        self._check()
        found = await self._cache.follow(stream, after=after, block_s=0.02)
        self._check()
        return found

    def _check(self) -> None:
        if self.away:
            raise CacheUnavailable


class Database:
    """The truth, by key."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.away = False

    def read(self) -> dict[str, int]:
        if self.away:
            raise Unavailable
        return dict(self.versions)


class Index:
    """A reader that remembers how it heard."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.seen: dict[str, int] = {}
        self.ids: list[str] = []
        self.resets = self.polls = 0

    async def apply(self, entries: Sequence[FanoutEntry]) -> None:
        for entry in entries:
            self.ids.append(entry.id)
            self.seen[entry.change.key] = entry.change.version

    async def reset(self) -> None:
        self.seen = self.database.read()
        self.resets += 1

    async def poll(self) -> None:
        self.seen = self.database.read()
        self.polls += 1


class World:
    """A database, a stream and a replica that follows."""

    def __init__(self, *, max_entries: int = 1000) -> None:
        self.clock = ManualClock(START)
        self.cache = Breakable(open_cache("memory:", clock=self.clock))
        self.fan = Fanout(self.cache, "tiny", clock=self.clock, max_entries=max_entries)  # type: ignore[arg-type]
        self.database = Database()
        self.index = Index(self.database)

    async def change(self, key: str) -> None:
        self.database.versions[key] = self.database.versions.get(key, 0) + 1
        await self.fan.publish([Change("place", key, self.database.versions[key], b"{}")])

    async def knows_all(self) -> None:
        await wait_until(lambda: self.index.resets + self.index.polls > 0 and self.index.seen == self.database.versions)


@asynccontextmanager
async def following(world: World) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.fan.follow(world.index))
        await wait_until(lambda: world.index.resets + world.index.polls > 0 or world.database.away)
        yield
        task.cancel()


async def test_a_reader_hears_changes_in_order() -> None:
    """What is published is applied, ids growing."""
    world = World()
    world.database.versions["old"] = 3
    async with following(world):
        for number in range(20):
            await world.change(f"p{number % 3}")
        await world.knows_all()
    assert len(world.index.ids) == 20
    assert world.index.ids == sorted(world.index.ids, key=lambda entry: [int(part) for part in entry.split("-")])
    assert world.index.resets == 1


async def test_nothing_falls_between_reset_and_stream() -> None:
    """A change during the first reading is applied after it."""
    world = World()
    reset = world.index.reset

    async def slow_reset() -> None:
        await reset()
        await world.change("meanwhile")

    world.index.reset = slow_reset  # type: ignore[method-assign]
    async with following(world):
        await world.knows_all()
        assert world.index.seen == {"meanwhile": 1}


async def test_a_trimmed_position_is_a_reset() -> None:
    """A reader that fell behind reads everything again."""
    world = World(max_entries=10)
    async with following(world):
        await world.change("a")
        await world.knows_all()
        world.database.versions["never-published"] = 1
        await world.fan.publish([Change("place", "b", 1, b"")] * 200)
        world.database.versions["b"] = 1
        await world.knows_all()
        assert world.index.resets == 2


async def test_without_redis_the_database_is_polled() -> None:
    """Every 2 s, and the stream is followed again when Redis is back."""
    world = World()
    async with following(world):
        world.cache.away = True
        await wait_until(lambda: world.index.polls == 1)
        world.database.versions["a"] = 1
        world.clock.advance(fanout.POLL_S)
        await wait_until(lambda: world.index.polls == 2)
        assert world.index.seen == {"a": 1}
        assert fanout.CONNECTED.value("tiny") == 0
        world.cache.away = False
        world.clock.advance(fanout.POLL_S)
        await wait_until(lambda: world.index.resets == 2)
        await world.change("a")
        await world.knows_all()


async def test_a_lost_database_is_waited_for() -> None:
    """A follower outlives its database."""
    world = World()
    world.database.away = True
    async with following(world):
        await wait_until(lambda: len(world.clock._sleepers) == 1)
        world.database.away = False
        world.clock.advance(fanout.POLL_S)
        await wait_until(lambda: world.index.resets == 1)


async def test_offers_are_sent_after_the_commit() -> None:
    """The commit does not wait for Redis; order is kept."""
    world = World()
    async with following(world), asyncio.TaskGroup() as tasks:
        publisher = tasks.create_task(world.fan.run_publisher())
        for version in range(1, 500):
            world.database.versions["a"] = version
            world.fan.offer(Change("place", "a", version, b""))
        await world.knows_all()
        publisher.cancel()
    assert len(world.index.ids) == 499


def tries_again(world: World) -> int:
    """The pause of a publisher that was refused is over; answers how often it was."""
    world.clock.advance(fanout.RETRY_S)
    return world.cache.refused


async def test_an_offer_that_redis_refuses_comes_later() -> None:
    """Before what was offered since; a reader that had Redis all the time hears of it then, and not at its next look at the database."""
    world = World()
    before = fanout.ENTRIES.value("tiny", "dropped")
    begin = await world.fan._position()
    async with asyncio.TaskGroup() as tasks:
        world.cache.away = True
        publisher = tasks.create_task(world.fan.run_publisher())
        world.fan.offer(*(Change("place", "a", version, b"") for version in range(1, fanout._BATCH + 2)))
        await wait_until(lambda: tries_again(world) >= 2)
        world.fan.offer(Change("place", "a", fanout._BATCH + 2, b""))
        world.cache.away = False

        async def versions() -> bool:
            tries_again(world)
            found = await world.fan.since(begin) or ()
            return [each.change.version for each in found] == list(range(1, fanout._BATCH + 3))

        await wait_until(versions)
        publisher.cancel()
    assert fanout.ENTRIES.value("tiny", "dropped") == before


async def test_what_is_passing_is_not_offered_again() -> None:
    """Progress of a minute ago is worth nothing: also what came behind what was refused."""
    world = World()
    begin = await world.fan._position()
    async with asyncio.TaskGroup() as tasks:
        world.cache.away = True
        publisher = tasks.create_task(world.fan.run_publisher())
        world.fan.offer(Change("progress", "a", 1, b"", passing=True), Change("place", "a", 2, b""))
        await wait_until(lambda: tries_again(world) >= 2)
        world.fan.offer(Change("progress", "a", 3, b"", passing=True))
        refused = world.cache.refused
        await wait_until(lambda: tries_again(world) >= refused + 2)
        world.cache.away = False

        async def told() -> bool:
            tries_again(world)
            return bool(await world.fan.since(begin))

        await wait_until(told)
        assert [each.change.version for each in await world.fan.since(begin) or ()] == [2]
        publisher.cancel()


async def test_what_is_refused_too_often_is_dropped() -> None:
    """An answer that never comes in time would fill the stream with the same entries."""
    world = World()
    before = fanout.ENTRIES.value("tiny", "dropped")
    async with asyncio.TaskGroup() as tasks:
        world.cache.away = True
        publisher = tasks.create_task(world.fan.run_publisher())
        world.fan.offer(Change("place", "a", 1, b""))
        await wait_until(lambda: tries_again(world) >= fanout.MOST_TRIES and not world.fan._queued)
        assert (world.cache.refused, fanout.ENTRIES.value("tiny", "dropped")) == (fanout.MOST_TRIES, before + 1)
        publisher.cancel()


async def test_while_redis_is_away_the_oldest_are_dropped() -> None:
    """Memory has an end; what comes after is told."""
    world = World()
    world.cache.away = True
    before = fanout.ENTRIES.value("tiny", "dropped")
    async with asyncio.TaskGroup() as tasks:
        publisher = tasks.create_task(world.fan.run_publisher())
        for version in range(fanout.MAX_QUEUED + 7):
            world.fan.offer(Change("place", "a", version, b""))
            if version % 100 == 0:
                await asyncio.sleep(0)
        refused = world.cache.refused
        await wait_until(lambda: tries_again(world) >= refused + 3)
        assert fanout.ENTRIES.value("tiny", "dropped") == before + 7
        assert [each.version for each in world.fan._queued] == list(range(7, fanout.MAX_QUEUED + 7))
        publisher.cancel()


async def test_a_full_queue_drops_the_oldest() -> None:
    """Memory has an end; what is dropped shows as a version gap."""
    world = World()
    before = fanout.ENTRIES.value("tiny", "dropped")
    for version in range(fanout.MAX_QUEUED + 7):
        world.fan.offer(Change("place", "a", version, b""))
    assert fanout.ENTRIES.value("tiny", "dropped") == before + 7


async def test_since_tells_what_came_after_or_that_it_cannot() -> None:
    """What a stream client needs to go on."""
    world = World()
    await world.change("a")
    start = await world.cache._cache.tail("tiny:changes")
    assert start is not None
    for number in range(3):
        await world.change(f"p{number}")
    found = await world.fan.since(start)
    assert found is not None
    assert [entry.change.key for entry in found] == ["p0", "p1", "p2"]
    assert await world.fan.since("1-1") is None
    assert await world.fan.since("rubbish") is None


async def test_who_comes_from_a_replica_that_is_ahead_waits_until_this_one_is_as_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a client would be told states that are older than those it has; for ever it does not wait."""
    world = World()
    await world.change("a")
    first = await world.cache._cache.tail("tiny:changes")
    assert first is not None
    begun = asyncio.get_running_loop().create_task(world.fan.comes_to(first))
    held, apply = asyncio.Event(), world.index.apply

    async def slow_apply(entries: Sequence[FanoutEntry]) -> None:
        await held.wait()
        await apply(entries)

    world.index.apply = slow_apply  # type: ignore[method-assign]
    async with following(world):
        assert await begun, "before the reader had begun"
        await world.change("a")
        position = await world.cache._cache.tail("tiny:changes")
        assert position is not None
        asked = asyncio.get_running_loop().create_task(world.fan.comes_to(position))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not asked.done()
        with monkeypatch.context() as patch:
            patch.setattr(fanout, "HEARD_WITHIN_S", 0.01)
            assert not await world.fan.comes_to(position)
        held.set()
        assert await asked
        assert world.index.seen["a"] == 2
        world.cache.away = True
        await wait_until(lambda: world.index.polls > 0)
        assert not await world.fan.comes_to(position), "it reads the database"


@pytest.mark.parametrize("body", [b"", b"\x00\xff", "忙".encode()])
async def test_a_change_arrives_as_it_was(body: bytes) -> None:
    """Any bytes, any key."""
    world = World()
    change = Change("place", "停车场/1", 7, body)
    async with following(world):
        applied: list[FanoutEntry] = []

        async def keep(entries: Sequence[FanoutEntry]) -> None:
            applied.extend(entries)

        world.index.apply = keep  # type: ignore[method-assign]
        await world.fan.publish([change])
        await wait_until(lambda: applied)
    assert applied[0].change == change
