"""The cache in memory behind the kit's port: shared by all nodes, and as forgetful as Redis may be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from cityloop_common.cache import CacheUnavailable, StreamEntry
from tests.simulation.node import Node
from tests.simulation.world import World

BATCH = 500


class CacheServer:
    """The one Redis of the world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.down = False
        self.values: dict[str, tuple[float, bytes]] = {}
        self.counters: dict[str, int] = {}
        self.streams: dict[str, list[StreamEntry]] = {}
        self.appended: dict[asyncio.Event, None] = {}
        self._last_id = (0, 0)

    def flush(self) -> None:
        self.values.clear()
        self.counters.clear()
        self.streams.clear()

    def next_id(self) -> str:
        now_ms, (last_ms, number) = int(self.world.now().timestamp() * 1000), self._last_id
        self._last_id = (now_ms, 0) if now_ms > last_ms else (last_ms, number + 1)
        return "-".join(map(str, self._last_id))


class SimCache:
    """The cache as one node sees it."""

    def __init__(self, server: CacheServer, node: Node) -> None:
        self._server = server
        self._node = node

    async def get(self, key: str) -> bytes | None:
        await self._reach()
        ends_at, value = self._server.values.get(key, (0.0, b""))
        return value if ends_at > self._server.world.loop.now else None

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        await self._reach()
        self._server.values[key] = (self._server.world.loop.now + ttl_s, value)

    async def delete(self, *keys: str) -> None:
        await self._reach()
        for key in keys:
            self._server.values.pop(key, None)

    async def count(self, key: str, *, window_s: int) -> int:
        await self._reach()
        counter = f"{key}:{int(self._server.world.now().timestamp()) // window_s}"
        self._server.counters[counter] = self._server.counters.get(counter, 0) + 1
        return self._server.counters[counter]

    async def append(self, stream: str, entries: Sequence[Mapping[str, bytes]], *, maxlen: int) -> Sequence[str]:
        await self._reach()
        kept = self._server.streams.setdefault(stream, [])
        made = [StreamEntry(self._server.next_id(), dict(fields)) for fields in entries]
        kept.extend(made)
        del kept[:-maxlen]
        for waiting in self._server.appended:
            waiting.set()
        return [entry.id for entry in made]

    async def read(self, stream: str, *, after: str, limit: int = BATCH) -> Sequence[StreamEntry] | None:
        await self._reach()
        return self._after(stream, after, limit)

    def _after(self, stream: str, after: str, limit: int) -> Sequence[StreamEntry] | None:
        ids = [entry.id for entry in self._server.streams.get(stream, [])]
        if after not in ids:
            return None
        here = ids.index(after) + 1
        return self._server.streams[stream][here : here + limit]

    async def follow(self, stream: str, *, after: str, block_s: float) -> Sequence[StreamEntry] | None:
        await self._reach()
        found = self._after(stream, after, BATCH)
        if found is None or found:
            return found
        appended = asyncio.Event()
        self._server.appended[appended] = None
        try:
            async with asyncio.timeout(block_s):
                await appended.wait()
        except TimeoutError:
            pass
        finally:
            self._server.appended.pop(appended)
        await self._reach()
        return self._after(stream, after, BATCH)

    async def tail(self, stream: str) -> str | None:
        await self._reach()
        entries = self._server.streams.get(stream)
        return entries[-1].id if entries else None

    async def ping(self) -> None:
        await self._reach()

    async def close(self) -> None:
        """Nothing is open."""

    async def _reach(self) -> None:
        await self._node.point()
        if self._server.down:
            raise CacheUnavailable("down")
