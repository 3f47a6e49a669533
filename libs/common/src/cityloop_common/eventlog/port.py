"""What a service may ask of an event log. SQLite and Kafka answer alike (tests/contract)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from cityloop_common.errors import Unavailable

PARTITIONS = 6
MAX_MESSAGE_BYTES = 1_000_000  # Kafka's brokers take 1,048,588 with their framing
DEAD_LETTERS = ".dlq"  # what a topic of dead letters is called after its own
_REASON_BYTES = 16_384  # what a dead letter may be larger than the record that it is about


class LogUnavailable(Unavailable):
    """The log did not answer within the deadline; what was asked may or may not have happened."""


class Fenced(Exception):
    """Another member owns the partition now: drop what was polled and poll again."""


class Rejected(Exception):
    """The log will never take this message: it is larger than MAX_MESSAGE_BYTES."""


class Retention(StrEnum):
    """`compact` keeps the last record of each key, `delete` keeps everything for a while."""

    COMPACT = "compact"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic is to be created; `keep_for` counts for `delete` topics."""

    name: str
    retention: Retention
    keep_for: timedelta = timedelta(days=14)
    partitions: int = PARTITIONS


class TopicPartition(NamedTuple):
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Message:
    """A record to be sent. The key decides the partition (murmur2 as Kafka does, in both adapters)."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was stored; `appended_at` is the log's own stamp."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    appended_at: datetime


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """Where a topic stands: per partition the first kept and the next offset; lag by consumer group."""

    name: str
    retention: Retention
    begin_offsets: Mapping[int, int]
    end_offsets: Mapping[int, int]
    lag_records: Mapping[str, int]


class Subscription(Protocol):
    """One member of a consumer group."""

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Records after the position, in order within each partition; empty when none came within `timeout_s`.

        Raises LogUnavailable.
        """
        ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Stores the next offset to read, for all of them or none.

        Raises Fenced when one of the partitions has moved; the next poll then starts at what is committed. Raises LogUnavailable: it may
        be stored or not, and the next poll goes on behind what was polled, unless `rewind` or a new subscription comes first.
        """
        ...

    async def rewind(self) -> None:
        """Goes back to what is committed: what was polled and not committed comes again."""
        ...

    async def close(self) -> None: ...


class EventLog(Protocol):
    """An append-only log of topics with partitions."""

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Creates what is missing, and sets retention of what is there. Safe to run twice."""
        ...

    async def send(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Appends each message durably, keeping their order per key; answers one outcome per message.

        After a failed message of a key, later messages of that key fail too, so that none overtakes it. An outcome is LogUnavailable
        (also: no such topic), or Rejected for a message that can never be sent. Never raises for the log's own trouble.
        """
        ...

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        """Joins a group; a group without a committed offset starts at the earliest record.

        Raises LogUnavailable (Kafka: also when one of the topics does not exist).
        """
        ...

    def read(self, topics: Sequence[str], *, from_start: bool, follow: bool) -> AsyncGenerator[Record, None]:
        """Reads without a group; ends at the end of the log unless `follow`. Leave it with `contextlib.aclosing`.

        Raises LogUnavailable.
        """
        ...

    async def describe(self) -> Sequence[TopicInfo]: ...

    async def prune(self) -> int:
        """Applies compaction and retention now where the adapter does it itself (SQLite); answers records removed."""
        ...

    async def ping(self) -> None:
        """Raises LogUnavailable when the log does not answer."""
        ...

    async def close(self) -> None: ...


def admit(messages: Sequence[Message]) -> list[Exception | None]:
    """First outcomes, alike in every adapter: a message too large is Rejected, and what follows it under its key is held back."""
    outcomes: list[Exception | None] = []
    stopped: set[tuple[str, bytes]] = set()
    for message in messages:
        most = MAX_MESSAGE_BYTES + (_REASON_BYTES if message.topic.endswith(DEAD_LETTERS) else 0)
        size = len(message.key) + len(message.value or b"") + sum(len(name) + len(value) for name, value in message.headers)
        if (message.topic, message.key) in stopped:
            outcomes.append(LogUnavailable("an earlier message of this key was not sent"))
        elif size > most:
            stopped.add((message.topic, message.key))
            outcomes.append(Rejected(f"{size} bytes, at most {most}"))
        else:
            outcomes.append(None)
    return outcomes
