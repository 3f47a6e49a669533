"""CloudEvents 1.0: what an event says about itself, and its Kafka binding in binary mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

import orjson
from pydantic import BaseModel

from cityloop_common.clock import instant, rfc3339

M = TypeVar("M", bound=BaseModel)
LARGEST_SEQUENCE = 2**63 - 1  # a column's; a larger one would make every later state of its key look old


class Kind(StrEnum):
    """How a consumer treats a type: `state` skips what is older than known, `fact` is applied once in any order."""

    STATE = "state"
    FACT = "fact"


class BadEnvelope(ValueError):
    """A record that is not a CloudEvent of ours; the text says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it lies in the outbox and in the log.

    `key` is the aggregate id (CloudEvents `subject`), `sequence` the aggregate's version, `data` the JSON body.
    """

    id: str
    type: str
    topic: str
    key: str
    source: str
    time: datetime
    sequence: int
    data: bytes

    def body(self) -> dict[str, object]:
        """The JSON body. Raises BadEnvelope when it is not an object."""
        try:
            value = orjson.loads(self.data)
        except orjson.JSONDecodeError as error:
            raise BadEnvelope(f"body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise BadEnvelope("body is not a JSON object")
        return value


@dataclass(frozen=True, slots=True)
class EventType(Generic[M]):
    """A published type: its versioned name, its topic, its kind and the model of its body."""

    name: str
    topic: str
    kind: Kind
    model: type[M]

    def event(self, data: M, *, id: str, key: str, sequence: int, time: datetime, source: str) -> Event:
        """An event of this type; absent optional fields are left out of the body."""
        body = orjson.dumps(data.model_dump(mode="json", exclude_none=True))
        return Event(id, self.name, self.topic, key, source, time, sequence, body)


def to_headers(event: Event) -> list[tuple[str, bytes]]:
    """The `ce_*` headers of the Kafka protocol binding (CloudEvents 1.0.2, binary content mode)."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_type", event.type.encode()),
        ("ce_source", event.source.encode()),
        ("ce_subject", event.key.encode()),
        ("ce_time", rfc3339(event.time).encode()),
        ("ce_sequence", str(event.sequence).encode()),
        ("content-type", b"application/json"),
    ]


def from_record(topic: str, key: bytes | None, headers: Mapping[str, bytes], value: bytes | None) -> Event:
    """Reads a record back. Raises BadEnvelope with the reason when it is not one of ours."""
    missing = [name for name in ("ce_id", "ce_type", "ce_source", "ce_time", "ce_sequence") if name not in headers]
    if missing or key is None or value is None:
        absent = missing + (["key"] if key is None else []) + (["value"] if value is None else [])
        raise BadEnvelope(f"missing {', '.join(absent)}")
    try:
        sequence = int(headers["ce_sequence"])
        if not 0 <= sequence <= LARGEST_SEQUENCE:
            raise BadEnvelope("ce_sequence is out of range")
        return Event(
            id=headers["ce_id"].decode(),
            type=headers["ce_type"].decode(),
            topic=topic,
            key=key.decode(),
            source=headers["ce_source"].decode(),
            time=instant(headers["ce_time"].decode()),
            sequence=sequence,
            data=value,
        )
    except BadEnvelope:
        raise
    except (UnicodeDecodeError, ValueError) as error:
        raise BadEnvelope(f"unreadable header: {error}") from error
