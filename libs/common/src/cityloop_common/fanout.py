"""The capped stream that tells every API replica what changed; losing it costs time, never a fact."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from cityloop_common import telemetry
from cityloop_common.cache import Cache, CacheUnavailable, Position, StreamEntry, position_of
from cityloop_common.clock import Clock
from cityloop_common.endings import to_its_end
from cityloop_common.errors import Unavailable
from cityloop_common.signals import Signals

POLL_S = 2.0
RETRY_S = 0.5
MOST_TRIES = 20
BLOCK_S = 2.0
FLUSH_WITHIN_S = 2.0
HEARD_WITHIN_S = 5.0
MAX_ENTRIES = 10_000
MAX_QUEUED = 5_000
_BATCH = 200
_ORIGIN = "origin"
_log = telemetry.get_logger(__name__)
ENTRIES = telemetry.counter("fanout_entries_total", "Changes by what became of them", ("service", "outcome"))
CONNECTED = telemetry.gauge("fanout_connected", "1 while this process follows the stream, 0 while it polls the database")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that readers hold in memory has a new version. `body` is what they need of it, serialised.

    What is `passing` (progress, say) is worth nothing when it comes late: it is never offered again.
    """

    kind: str  # "place", "availability", ...: chosen by the service
    key: str
    version: int
    body: bytes
    passing: bool = False


@dataclass(frozen=True, slots=True)
class FanoutEntry:
    """A change at its place in the stream; `id` is what SSE clients get as Last-Event-ID."""

    id: str
    change: Change


class FanoutReader(Protocol):
    """What a replica keeps in memory. A version gap is the reader's to see: it reads that row again."""

    async def apply(self, entries: Sequence[FanoutEntry]) -> None:
        """Entries in the order of the stream; some may already be known from a reset. None of them: true up to now."""
        ...

    async def reset(self) -> None:
        """Entries were lost, or this is the start: read everything from the database."""
        ...

    async def poll(self) -> None:
        """Called every 2 s while the stream is out of reach: read what changed from the database."""
        ...


class Fanout:
    """One service's stream of changes."""

    def __init__(self, cache: Cache, service: str, *, clock: Clock, max_entries: int = MAX_ENTRIES) -> None:
        self._cache = cache
        self._service = service
        self._clock = clock
        self._max_entries = max_entries
        self._stream = f"{service}:changes"
        self._queued: deque[Change] = deque(maxlen=MAX_QUEUED)
        self._refused = 0  # how often the batch in front was
        self._signals = Signals()
        self._heard: Position | None = None  # as far as the reader here has taken the stream; None: it has not begun, or polls
        self._polls = False
        self._hears = asyncio.Event()

    async def publish(self, changes: Sequence[Change]) -> None:
        """Appends now. Raises CacheUnavailable; the facts are in the database either way."""
        await self._cache.append(self._stream, [_fields(change) for change in changes], maxlen=self._max_entries)
        ENTRIES.add(self._service, "published", by=len(changes))

    def offer(self, *changes: Change) -> None:
        """For `tx.after_commit`: queues without waiting; `run_publisher` sends. Past the limit the oldest are dropped."""
        dropped = max(0, len(self._queued) + len(changes) - MAX_QUEUED)
        if dropped:
            ENTRIES.add(self._service, "dropped", by=dropped)
        self._queued.extend(changes)
        self._signals.notify("queued")

    async def run_publisher(self) -> None:
        """Background loop of every process that offers. What Redis refuses waits in the queue: its readers may well have Redis.

        An entry whose answer got lost is there twice then; readers go by its version. After MOST_TRIES, some 10 s, it is dropped.
        """
        while True:
            if not self._queued:
                await self._signals.wait("queued", POLL_S)
            elif not await to_its_end(self._publish_next(), within_s=FLUSH_WITHIN_S):
                await self._clock.sleep(RETRY_S)

    async def flush(self) -> None:
        """At the end of a process, after the loops that offer: sends what is still queued, so that no reader has to find it itself."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_WITHIN_S):
                while self._queued and await self._publish_next():
                    continue

    async def _publish_next(self) -> bool:
        batch = [self._queued.popleft() for _ in range(min(_BATCH, len(self._queued)))]
        try:
            await self.publish(batch)
        except CacheUnavailable:
            self._refused += 1
            self._put_back(batch)
            return False
        self._refused = 0
        return True

    def _put_back(self, batch: Sequence[Change]) -> None:
        """Before what was offered since, unless it was tried often enough; past the limit the oldest are dropped."""
        gives_up = self._refused >= MOST_TRIES
        waiting = [change for change in (*(() if gives_up else batch), *self._queued) if not change.passing]
        ENTRIES.add(self._service, "dropped", by=len(batch) + len(self._queued) - min(len(waiting), MAX_QUEUED))
        self._queued = deque(waiting, maxlen=MAX_QUEUED)
        if gives_up:
            self._refused = 0

    async def since(self, position: str) -> Sequence[FanoutEntry] | None:
        """What came after a position (a client's Last-Event-ID); None when that cannot be told any more."""
        try:
            found: list[FanoutEntry] = []
            after = position
            while page := await self._cache.read(self._stream, after=after):
                found += _changes(page)
                after = page[-1].id
        except CacheUnavailable:
            return None
        return None if page is None else found

    async def comes_to(self, position: str) -> bool:
        """Waits until the reader of this process has heard a position: where a client was before may be ahead of it.

        False when it does not come as far in time, or reads the database because the stream is away.
        """
        wanted = position_of(position)
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARD_WITHIN_S):
                while not self._polls and (self._heard is None or self._heard < wanted):
                    await self._hears.wait()
        return self._heard is not None and self._heard >= wanted

    def _hear(self, position: Position | None, *, polls: bool = False) -> None:
        self._heard, self._polls = position, polls
        self._hears.set()
        self._hears = asyncio.Event()

    async def follow(self, reader: FanoutReader) -> None:
        """Background loop of an API replica: keeps the reader true, by the stream or, while it is away, by the database."""
        try:
            while True:
                try:
                    await self._follow_once(reader)
                except CacheUnavailable:
                    await self._poll_until_back(reader)
                except Unavailable as error:  # the database: what the reader holds grows old until it is back
                    _log.warning("fanout-reader-waits", service=self._service, reason=error.slug)
                    await self._clock.sleep(POLL_S)
        finally:
            self._hear(None)
            CONNECTED.set(self._service, to=0)

    async def _follow_once(self, reader: FanoutReader) -> None:
        position = await self._position()  # before the reset: what changes meanwhile comes again
        await reader.reset()
        self._hear(position_of(position))
        CONNECTED.set(self._service, to=1)
        while True:
            page = await self._cache.follow(self._stream, after=position, block_s=BLOCK_S)
            if page is None:
                _log.info("fanout-position-lost", service=self._service)
                return
            await reader.apply(_changes(page))
            if page:
                position = page[-1].id
                self._hear(position_of(position))

    async def _position(self) -> str:
        """The newest entry. An empty stream gets a first one: a position is only sure while its entry is there."""
        tail = await self._cache.tail(self._stream)
        if tail is None:
            tail = (await self._cache.append(self._stream, [{_ORIGIN: b""}], maxlen=self._max_entries))[-1]
        return tail

    async def _poll_until_back(self, reader: FanoutReader) -> None:
        self._hear(None, polls=True)
        CONNECTED.set(self._service, to=0)
        _log.warning("fanout-polls-database", service=self._service)
        while True:
            await reader.poll()
            await self._clock.sleep(POLL_S)
            try:
                await self._cache.ping()
            except CacheUnavailable:
                continue
            _log.info("fanout-follows-again", service=self._service)
            return


def _fields(change: Change) -> dict[str, bytes]:
    return {"kind": change.kind.encode(), "key": change.key.encode(), "version": str(change.version).encode(), "body": change.body}


def _changes(entries: Sequence[StreamEntry]) -> list[FanoutEntry]:
    return [
        FanoutEntry(entry.id, Change(f["kind"].decode(), f["key"].decode(), int(f["version"]), f["body"]))
        for entry in entries
        if _ORIGIN not in (f := entry.fields)
    ]
