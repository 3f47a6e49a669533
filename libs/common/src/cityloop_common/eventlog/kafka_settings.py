"""What the Kafka log asks of the brokers: their address, the topics' settings, the size of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

from cityloop_common.eventlog.port import Message, Retention, TopicSpec

_DAY_MS = 86_400_000
# One batch is all or nothing. A slice of a send fits in one batch for each partition, so nothing overtakes what failed.
BATCH_BYTES = 786_432
_SLICE_BYTES = 524_288
_RECORD_OVERHEAD_BYTES = 64


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where the brokers are; `prefix` goes before every topic and group name; `timeout_s` bounds every call."""

    brokers: tuple[str, ...]
    prefix: str = ""
    timeout_s: float = 5.0


def settings_from(url: str) -> KafkaSettings:
    """Reads `kafka://host:port[,host:port][?prefix=..&timeout_s=..]`. Raises ValueError."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if unknown := set(query) - {"prefix", "timeout_s"}:
        raise ValueError(f"unknown option of the event log: {', '.join(sorted(unknown))}")
    if not parts.netloc:
        raise ValueError("kafka:// needs HOST:PORT")
    return KafkaSettings(tuple(parts.netloc.split(",")), query.get("prefix", [""])[-1], float(query.get("timeout_s", ["5"])[-1]))


def config_of(spec: TopicSpec) -> dict[str, str]:
    """Segments close early enough that compaction and retention reach what lies in them (Kafka leaves the open one alone)."""
    keep_for_ms = spec.keep_for // timedelta(milliseconds=1)
    common = {"message.timestamp.type": "LogAppendTime"}
    if spec.retention is Retention.COMPACT:
        return common | {"cleanup.policy": "compact", "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.1"}
    return common | {
        "cleanup.policy": "delete",
        "retention.ms": str(keep_for_ms),
        "segment.ms": str(min(max(keep_for_ms, 60_000), _DAY_MS)),
    }


def slices(messages: Sequence[Message]) -> Iterator[tuple[int, int]]:
    """Ranges of messages that fit in one batch."""
    start = size = 0
    for index, message in enumerate(messages):
        bytes_ = (
            _RECORD_OVERHEAD_BYTES + len(message.key) + len(message.value or b"") + sum(len(n) + len(v) + 4 for n, v in message.headers)
        )
        if index > start and size + bytes_ > _SLICE_BYTES:
            yield start, index
            start, size = index, 0
        size += bytes_
    if start < len(messages):
        yield start, len(messages)
