"""The cache port: Redis, or fakeredis in process. Everything in it can be lost and rebuilt."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from cityloop_common.clock import Clock
from cityloop_common.errors import Unavailable


class CacheUnavailable(Unavailable):
    """Redis does not answer in time; whoever asked goes on without it."""

    slug, title = "cache-unavailable", "The cache does not answer"


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry of a capped stream; `id` is `<milliseconds>-<number>` and grows."""

    id: str
    fields: Mapping[str, bytes]


Position = tuple[int, int]
NOWHERE: Position = (0, 0)


def position_of(entry_id: str) -> Position:
    """The place of an entry in its stream, to be compared, its millisecond first; NOWHERE for what is no entry id."""
    milliseconds, _, number = entry_id.partition("-")
    if not (milliseconds.isascii() and milliseconds.isdecimal() and number.isascii() and number.isdecimal() and len(entry_id) <= 40):
        return NOWHERE
    return int(milliseconds), int(number)


class Cache(Protocol):
    """A cache that may forget anything at any time. Every call has a deadline and raises CacheUnavailable."""

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None: ...

    async def delete(self, *keys: str) -> None: ...

    async def count(self, key: str, *, window_s: int) -> int:
        """Adds one to the counter of this key's present window and says how many there are in it.

        Windows start at multiples of `window_s` since the epoch, by the injected clock.
        """
        ...

    async def append(self, stream: str, entries: Sequence[Mapping[str, bytes]], *, maxlen: int) -> Sequence[str]:
        """Adds entries to a capped stream in one round trip; their ids, in order."""
        ...

    async def read(self, stream: str, *, after: str, limit: int = 500) -> Sequence[StreamEntry] | None:
        """Entries after a position, now; None when the position is no longer in the stream (trimmed, flushed)."""
        ...

    async def follow(self, stream: str, *, after: str, block_s: float) -> Sequence[StreamEntry] | None:
        """As `read`, but waits up to `block_s` for the first entry; an empty answer means nothing came."""
        ...

    async def tail(self, stream: str) -> str | None:
        """The id of the newest entry; None when there is none."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


_Fields = dict[bytes | bytearray | memoryview | str | int | float, bytes | bytearray | memoryview | str | int | float]
_DEADLINE_S = 0.5
_SHUN_S = 1.0
_CONNECTIONS = 64
_FOLLOWERS = 16
_BATCH = 500
_IN_PROCESS = 65_536  # a connection is an object here


def open_cache(url: str, *, clock: Clock, deadline_s: float = _DEADLINE_S) -> Cache:
    """`memory:` in this process, or `redis://`, `rediss://`, `unix://`. Connects at the first call."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return _MemoryCache(clock)
    if scheme not in {"redis", "rediss", "unix"}:
        raise ValueError(f"no cache for the scheme {scheme!r}: use memory: or redis://host:port")
    return _RedisCache(
        clock, calls=_client(url, _CONNECTIONS, deadline_s), waits=_client(url, _FOLLOWERS, deadline_s), deadline_s=deadline_s
    )


def _client(url: str, connections: int, deadline_s: float) -> Redis:
    # the default pool refuses bursts (300 concurrent calls: 200 MaxConnectionsError): this one lets them wait
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=deadline_s,
        socket_connect_timeout=deadline_s,
        socket_timeout=None,  # each call has its own deadline
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)


@contextmanager
def _cancel_kept() -> Iterator[None]:
    """Cancelled is cancelled: on Python 3.11 wait_for, which fakeredis uses, loses a cancel when its answer is there already."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


class _RedisCache:
    """The port over a Redis client. After a failure the others are refused for a second, so that nobody queues up."""

    def __init__(self, clock: Clock, *, calls: Redis, waits: Redis, deadline_s: float) -> None:
        self._clock = clock
        self._calls = calls
        self._waits = waits
        self._deadline_s = deadline_s
        self._shun_until = float("-inf")

    @asynccontextmanager
    async def _guard(self, deadline_s: float) -> AsyncIterator[None]:
        if self._clock.monotonic() < self._shun_until:
            raise CacheUnavailable
        with _cancel_kept():
            try:
                async with asyncio.timeout(deadline_s):
                    yield
            except ResponseError as error:  # it answers, only not this
                raise CacheUnavailable(type(error).__name__) from error
            except (RedisError, OSError, TimeoutError) as error:
                self._shun_until = self._clock.monotonic() + _SHUN_S
                raise CacheUnavailable(type(error).__name__) from error

    async def get(self, key: str) -> bytes | None:
        async with self._guard(self._deadline_s):
            return cast("bytes | None", await self._calls.get(key))

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        async with self._guard(self._deadline_s):
            await self._calls.set(key, value, px=max(1, int(ttl_s * 1000)))

    async def delete(self, *keys: str) -> None:
        if keys:
            async with self._guard(self._deadline_s):
                await self._calls.delete(*keys)

    async def count(self, key: str, *, window_s: int) -> int:
        counter = self._window(key, window_s)
        async with self._guard(self._deadline_s), self._calls.pipeline(transaction=False) as pipe:
            _ = pipe.incr(counter)
            _ = pipe.expire(counter, window_s * 2)
            return int((await pipe.execute())[0])

    def _window(self, key: str, window_s: int) -> str:
        return f"{key}:{int(self._clock.now().timestamp()) // window_s}"

    async def append(self, stream: str, entries: Sequence[Mapping[str, bytes]], *, maxlen: int) -> Sequence[str]:
        if not entries:
            return []
        async with self._guard(self._deadline_s), self._calls.pipeline(transaction=False) as pipe:
            for fields in entries:
                _ = pipe.xadd(stream, dict(fields.items()), id=self._entry_id(), maxlen=maxlen, approximate=True)
            return [entry_id.decode() for entry_id in await pipe.execute()]

    def _entry_id(self) -> str:
        return "*"  # the server's own

    async def read(self, stream: str, *, after: str, limit: int = _BATCH) -> Sequence[StreamEntry] | None:
        async with self._guard(self._deadline_s), self._calls.pipeline(transaction=True) as pipe:
            _ = pipe.xrange(stream, after, after, count=1)
            _ = pipe.xrange(stream, f"({after}", "+", count=limit)
            here, found = await pipe.execute()
        # entries are only trimmed from the old end: while ours is there, nothing after it is lost
        return _entries(found) if here else None

    async def follow(self, stream: str, *, after: str, block_s: float) -> Sequence[StreamEntry] | None:
        async with self._guard(block_s + self._deadline_s):
            await self._waits.xread({stream: after}, count=1, block=max(1, int(block_s * 1000)))
        return await self.read(stream, after=after)

    async def tail(self, stream: str) -> str | None:
        async with self._guard(self._deadline_s):
            newest = cast("Sequence[tuple[bytes, object]]", await self._calls.xrevrange(stream, count=1))
        return newest[0][0].decode() if newest else None

    async def ping(self) -> None:
        self._shun_until = float("-inf")
        async with self._guard(self._deadline_s):
            await self._calls.ping()

    async def close(self) -> None:
        for client in (self._calls, self._waits):
            try:
                async with asyncio.timeout(self._deadline_s):
                    await client.aclose()
            except (RedisError, OSError, TimeoutError):
                continue  # it is going away anyway


class _MemoryCache(_RedisCache):
    """fakeredis in this process. It expires by the machine's time and names entries by it: both come from the clock here."""

    def __init__(self, clock: Clock) -> None:
        import fakeredis

        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), max_connections=_IN_PROCESS)
        super().__init__(clock, calls=client, waits=client, deadline_s=5.0)
        self._ends: dict[str, float] = {}
        self._due: list[tuple[float, str]] = []
        self._last_id = (0, 0)
        self._appended = asyncio.Event()

    async def get(self, key: str) -> bytes | None:
        await self._expire()
        return await super().get(key)

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        await self._expire()
        async with self._guard(self._deadline_s):
            await self._calls.set(key, value)
        self._ends_in(key, ttl_s)

    async def delete(self, *keys: str) -> None:
        for key in keys:
            self._ends.pop(key, None)
        await super().delete(*keys)

    async def count(self, key: str, *, window_s: int) -> int:
        await self._expire()
        counter = self._window(key, window_s)
        self._ends_in(counter, window_s * 2)
        async with self._guard(self._deadline_s):
            return int(await self._calls.incr(counter))

    async def append(self, stream: str, entries: Sequence[Mapping[str, bytes]], *, maxlen: int) -> Sequence[str]:
        ids = await super().append(stream, entries, maxlen=maxlen)
        self._appended.set()
        self._appended = asyncio.Event()
        return ids

    async def follow(self, stream: str, *, after: str, block_s: float) -> Sequence[StreamEntry] | None:
        appended = self._appended
        found = await self.read(stream, after=after)
        if found is None or found:
            return found
        try:
            async with asyncio.timeout(block_s):
                await appended.wait()
        except TimeoutError:
            return []
        return await self.read(stream, after=after)

    def _entry_id(self) -> str:
        now_ms = int(self._clock.now().timestamp() * 1000)
        last_ms, number = self._last_id
        self._last_id = (now_ms, 0) if now_ms > last_ms else (last_ms, number + 1)
        return f"{self._last_id[0]}-{self._last_id[1]}"

    def _ends_in(self, key: str, ttl_s: float) -> None:
        ends_at = self._clock.monotonic() + ttl_s
        if key not in self._ends or self._ends[key] != ends_at:
            self._ends[key] = ends_at
            heapq.heappush(self._due, (ends_at, key))

    async def _expire(self) -> None:
        now = self._clock.monotonic()
        gone: list[str] = []
        while self._due and self._due[0][0] <= now:
            ends_at, key = heapq.heappop(self._due)
            if self._ends.get(key) == ends_at:
                del self._ends[key]
                gone.append(key)
        if gone:
            async with self._guard(self._deadline_s):
                await self._calls.delete(*gone)


def _entries(found: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> list[StreamEntry]:
    return [StreamEntry(entry_id.decode(), {name.decode(): value for name, value in fields.items()}) for entry_id, fields in found]
