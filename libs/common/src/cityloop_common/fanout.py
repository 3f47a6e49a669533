"""The capped stream that tells every API replica what changed; losing it costs time, never a fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Change:
    """Something that readers hold in memory has a new version. `body` is what they need of it, serialised."""

    kind: str  # "place", "availability", ...: chosen by the service
    key: str
    version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class FanoutEntry:
    """A change at its place in the stream; `id` is what SSE clients get as Last-Event-ID."""

    id: str
    change: Change


class FanoutReader(Protocol):
    """What a replica keeps in memory. A version gap is the reader's to see: it reads that row again."""

    async def apply(self, entries: Sequence[FanoutEntry]) -> None:
        """Entries in the order of the stream."""
        ...

    async def reset(self) -> None:
        """Entries were lost, or this is the start: read everything from the database."""
        ...

    async def poll(self) -> None:
        """Called every 2 s while the stream is out of reach: read what changed from the database."""
        ...
