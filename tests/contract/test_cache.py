"""What every cache promises: one body for fakeredis in process and for Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from cityloop_common.cache import Cache, CacheUnavailable, open_cache
from cityloop_common.clock import ManualClock, SystemClock
from tests.support import PATIENCE_S, wait_until

START = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
STREAM = "tiny:changes"


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack)])
def cache_url(request: pytest.FixtureRequest) -> str:
    """Each adapter's address."""
    return "memory:" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


@pytest.fixture
async def cache(cache_url: str) -> AsyncIterator[Cache]:
    """An empty cache."""
    opened = open_cache(cache_url, clock=SystemClock(), deadline_s=PATIENCE_S)
    yield opened
    await opened.close()


async def test_a_value_is_kept_and_deleted(cache: Cache) -> None:
    """What was set is read, what was deleted is not."""
    assert await cache.get("a") is None
    await cache.set("a", b"\x00\xff", ttl_s=60)
    assert await cache.get("a") == b"\x00\xff"
    await cache.delete("a", "b")
    await cache.delete()
    assert await cache.get("a") is None


async def test_a_value_ends(cache: Cache) -> None:
    """After its time to live it is gone."""
    await cache.set("a", b"1", ttl_s=0.05)

    async def gone() -> bool:
        return await cache.get("a") is None

    await wait_until(gone)


async def test_setting_again_begins_a_new_life(cache: Cache) -> None:
    """The second time to live counts."""
    await cache.set("a", b"1", ttl_s=0.05)
    await cache.set("a", b"2", ttl_s=60)
    await cache.set("b", b"1", ttl_s=0.1)

    async def later() -> bool:
        return await cache.get("b") is None

    await wait_until(later)
    assert await cache.get("a") == b"2"


async def test_counters_count_every_call_once(cache: Cache) -> None:
    """A hundred at once are a hundred, and another key is another counter."""
    counts = await asyncio.gather(*(cache.count("k", window_s=86400) for _ in range(100)))
    assert sorted(counts) == list(range(1, 101))
    assert await cache.count("other", window_s=86400) == 1


async def test_a_burst_waits_for_a_connection(cache: Cache) -> None:
    """Three hundred concurrent calls are all answered."""
    await asyncio.gather(*(cache.set(f"k{number}", b"1", ttl_s=60) for number in range(300)))
    assert all(await asyncio.gather(*(cache.get(f"k{number}") for number in range(300))))


async def test_a_stream_is_read_in_its_order(cache: Cache) -> None:
    """Every entry after a position, once, ids growing."""
    ids = await cache.append(STREAM, [{"n": str(number).encode()} for number in range(10)], maxlen=1000)
    assert [tuple(map(int, entry.split("-"))) for entry in ids] == sorted({tuple(map(int, entry.split("-"))) for entry in ids})
    first = await cache.read(STREAM, after=ids[0], limit=4)
    assert first is not None
    assert [entry.fields["n"] for entry in first] == [b"1", b"2", b"3", b"4"]
    rest = await cache.read(STREAM, after=first[-1].id)
    assert rest is not None
    assert [entry.id for entry in rest] == list(ids[5:])
    assert await cache.tail(STREAM) == ids[-1]
    assert await cache.read(STREAM, after=ids[-1]) == []


async def test_a_trimmed_position_is_lost(cache: Cache) -> None:
    """A reader never believes that it has seen everything when it has not."""
    (start,) = await cache.append(STREAM, [{"n": b"0"}], maxlen=100)
    for _ in range(5):
        await cache.append(STREAM, [{"n": b"1"}] * 200, maxlen=100)
    assert await cache.read(STREAM, after=start) is None
    assert await cache.follow(STREAM, after=start, block_s=0.05) is None


async def test_a_deleted_stream_is_lost(cache: Cache) -> None:
    """After a flush there is no position, with new entries or without."""
    (start,) = await cache.append(STREAM, [{"n": b"0"}], maxlen=100)
    await cache.delete(STREAM)
    assert await cache.tail(STREAM) is None
    assert await cache.follow(STREAM, after=start, block_s=0.05) is None
    await cache.append(STREAM, [{"n": b"1"}], maxlen=100)
    assert await cache.read(STREAM, after=start) is None


async def test_a_follower_is_woken(cache: Cache) -> None:
    """It waits for the next entry, and comes back empty-handed when none comes."""
    (start,) = await cache.append(STREAM, [{"n": b"0"}], maxlen=100)
    assert await cache.follow(STREAM, after=start, block_s=0.05) == []
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(cache.follow(STREAM, after=start, block_s=30)) for _ in range(3)]
        await cache.append(STREAM, [{"n": b"1"}], maxlen=100)
    assert [[entry.fields["n"] for entry in task.result() or ()] for task in waiting] == [[b"1"]] * 3


@pytest.mark.parametrize("position", ["rubbish", "", "1-1-1", "9" * 30])
async def test_a_position_that_is_none_does_no_harm(cache: Cache, position: str) -> None:
    """Whatever a client sends as its position, the next caller is served."""
    await cache.append(STREAM, [{"n": b"0"}], maxlen=100)
    with pytest.raises(CacheUnavailable):
        await cache.read(STREAM, after=position)
    assert await cache.tail(STREAM) is not None


async def test_it_answers(cache: Cache) -> None:
    """For `doctor` and the way back."""
    await cache.ping()


async def test_a_lost_redis_is_unavailable_at_once() -> None:
    """Nothing hangs and nothing else is raised; for a second nobody even tries."""
    clock = ManualClock(START)
    lost = open_cache("redis://127.0.0.1:1", clock=clock, deadline_s=1)
    with pytest.raises(CacheUnavailable, match="Connection"):
        await lost.get("a")
    with pytest.raises(CacheUnavailable, match="does not answer"):
        await lost.count("a", window_s=60)
    clock.advance(1)
    with pytest.raises(CacheUnavailable, match="Connection"):
        await lost.tail(STREAM)
    with pytest.raises(CacheUnavailable):
        await lost.ping()
    await lost.close()


async def test_a_silent_redis_is_unavailable_by_the_deadline() -> None:
    """A server that accepts and never answers costs one deadline."""
    silence = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    silent = open_cache(f"redis://127.0.0.1:{port}", clock=ManualClock(START), deadline_s=0.05)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(CacheUnavailable):
            await silent.get("a")
    silence.set()
    await silent.close()
    server.close()
    await server.wait_closed()


async def test_memory_goes_by_the_injected_clock() -> None:
    """Lives, windows and ids depend on nothing but the clock: a run can be repeated."""
    clock = ManualClock(START)
    cache = open_cache("memory:", clock=clock)
    await cache.set("a", b"1", ttl_s=10)
    assert [await cache.count("k", window_s=60) for _ in range(2)] == [1, 2]
    assert list(await cache.append(STREAM, [{"n": b"0"}] * 2, maxlen=9)) == ["1795492800000-0", "1795492800000-1"]
    clock.advance(9.9)
    assert await cache.get("a") == b"1"
    clock.advance(50.1)
    assert await cache.get("a") is None
    assert await cache.count("k", window_s=60) == 1


@pytest.mark.parametrize("url", ["", "http://x", "memcached://x"])
def test_an_unknown_scheme_is_refused(url: str) -> None:
    """And the answer names the ones that work."""
    with pytest.raises(ValueError, match="memory:"):
        open_cache(url, clock=SystemClock())
