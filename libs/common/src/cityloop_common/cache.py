"""The cache port: Redis, or fakeredis in process. Everything in it can be lost and rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cityloop_common.errors import Unavailable


class CacheUnavailable(Unavailable):
    """Redis does not answer in time; whoever asked goes on without it."""

    slug, title = "cache-unavailable", "The cache does not answer"


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry of a capped stream; `id` is `<milliseconds>-<number>` and grows."""

    id: str
    fields: Mapping[str, bytes]


class Cache(Protocol):
    """A cache that may forget anything at any time. Every call has a deadline and raises CacheUnavailable."""

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None: ...

    async def delete(self, *keys: str) -> None: ...

    async def count(self, key: str, *, window_s: int) -> int:
        """Adds one to the counter of this key's present window and says how many there are in it."""
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
