"""What the suites of the event log share: how to open one, how to fill it, how to drain it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from cityloop_common.clock import Clock, SystemClock
from cityloop_common.eventlog import EventLog, Message, Record, Retention, Subscription, TopicSpec, open_event_log

FACTS = TopicSpec("facts", Retention.DELETE)
STATES = TopicSpec("states", Retention.COMPACT)


@dataclass(frozen=True, slots=True)
class Logs:
    """Opens logs on one and the same store; each stands for a process of its own."""

    url: str
    stack: AsyncExitStack

    def open(self, clock: Clock | None = None) -> EventLog:
        log = open_event_log(self.url, clock=clock or SystemClock())
        self.stack.push_async_callback(log.close)
        return log

    async def join(self, log: EventLog, group: str, *topics: str) -> Subscription:
        member = await log.subscribe(group, topics or (FACTS.name,))
        self.stack.push_async_callback(member.close)
        return member


def message(key: str, value: str | None, topic: str = FACTS.name) -> Message:
    return Message(topic, key.encode(), None if value is None else value.encode(), (("ce_id", f"{key}-{value}".encode()),))


def messages(count: int, *, keys: int = 7, topic: str = FACTS.name) -> list[Message]:
    return [message(f"k{index % keys}", f"v{index}", topic) for index in range(count)]


async def send_all(log: EventLog, batch: Sequence[Message]) -> None:
    outcomes = await log.send(batch)
    assert outcomes == [None] * len(batch)


async def take(member: Subscription, count: int, *, polls: int = 60) -> list[Record]:
    """Polls until `count` records came; fewer than that only after `polls` empty-handed tries of half a second."""
    taken: list[Record] = []
    for _ in range(polls):
        for records in (await member.poll(max_records=100, timeout_s=0.5)).values():
            taken.extend(records)
        if len(taken) >= count:
            break
    return taken


async def nothing_more(member: Subscription) -> bool:
    return not await member.poll(max_records=100, timeout_s=0.7)


def values(records: Sequence[Record], where: Callable[[Record], bool] = lambda _: True) -> list[str]:
    return [(record.value or b"").decode() for record in records if where(record)]
