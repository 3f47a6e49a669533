"""The event log as a port with Kafka's nouns, and its two adapters behind `open_event_log`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cityloop_common.clock import Clock
from cityloop_common.eventlog.port import (
    MAX_MESSAGE_BYTES,
    EventLog,
    Fenced,
    LogUnavailable,
    Message,
    Record,
    Rejected,
    Retention,
    Subscription,
    TopicInfo,
    TopicPartition,
    TopicSpec,
)

if TYPE_CHECKING:
    from cityloop_common.eventlog.sqlite_file import Creator

__all__ = [
    "MAX_MESSAGE_BYTES",
    "EventLog",
    "Fenced",
    "LogUnavailable",
    "Message",
    "Record",
    "Rejected",
    "Retention",
    "Subscription",
    "TopicInfo",
    "TopicPartition",
    "TopicSpec",
    "open_event_log",
]


def open_event_log(url: str, *, clock: Clock, creator: Creator | None = None, poll_every_s: float = 0.25) -> EventLog:
    """The log that `url` names; it connects at first use.

    `sqlite:///relative.db`, `sqlite:////absolute.db`, or `kafka://host:port[,host:port][?prefix=name-&timeout_s=5]`. `creator` opens
    the SQLite file's connections in a simulation; `poll_every_s` is how often a poller looks for records of other processes there.
    Raises ValueError for another scheme. The services of one process share one log object: then each wakes the other at once.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        from cityloop_common.eventlog.sqlite import SqliteEventLog
        from cityloop_common.eventlog.sqlite_file import file_creator

        return SqliteEventLog(creator or file_creator(Path(parts.path[1:])), clock=clock, poll_every_s=poll_every_s)
    if parts.scheme == "kafka":
        from cityloop_common.eventlog.kafka import KafkaEventLog
        from cityloop_common.eventlog.kafka_settings import settings_from

        return KafkaEventLog(settings_from(url))
    raise ValueError(f"an event log is sqlite:///FILE or kafka://HOST:PORT, not {parts.scheme}:")
