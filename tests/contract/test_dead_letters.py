"""Dead letters that go back to their topic: each event once, never an old state over a new one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cityloop_common.clock import SystemClock
from cityloop_common.commands.events import worth_replaying
from cityloop_common.eventlog import EventLog, Message, Record, Retention, TopicSpec, open_event_log


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    """A log with a topic of states, one of facts, and their dead letters."""
    opened = open_event_log(f"sqlite:///{tmp_path / 'events.db'}", clock=SystemClock())
    await opened.create_topics([TopicSpec("state", Retention.COMPACT), TopicSpec("fact", Retention.DELETE)])
    await opened.create_topics([TopicSpec(f"{name}.dlq", Retention.DELETE) for name in ("state", "fact")])
    yield opened
    await opened.close()


async def put(log: EventLog, topic: str, key: str, sequence: int) -> None:
    """One event; its id says which."""
    headers = [("ce_id", f"{key}{sequence}".encode()), ("ce_sequence", str(sequence).encode())]
    assert await log.send([Message(topic, key.encode(), b"{}", headers)]) == [None]


async def replayed(log: EventLog, topic: str) -> list[str]:
    """Ids of the letters that would go back."""
    letters: list[Record] = [record async for record in log.read([f"{topic}.dlq"], from_start=True, follow=False)]
    return sorted(record.headers["ce_id"].decode() for record in await worth_replaying(log, letters))


async def test_an_old_state_does_not_become_the_last_of_its_key(log: EventLog) -> None:
    """A compacted topic keeps the last record of a key: who comes late would take the old state for the new one."""
    for key, sequence in (("a", 1), ("a", 2), ("b", 1)):
        await put(log, "state", key, sequence)
    for key in ("a", "b"):
        await put(log, "state.dlq", key, 1)
    assert await replayed(log, "state") == ["b1"]


async def test_an_event_that_failed_twice_goes_back_once(log: EventLog) -> None:
    """Each replay of what still fails makes a new letter: their number must not double each time."""
    await put(log, "fact", "a", 2)
    for sequence in (1, 1, 2, 1):
        await put(log, "fact.dlq", "a", sequence)
    assert await replayed(log, "fact") == ["a1", "a2"]
