"""The consuming loop: records in order, a chunk a unit, dead letters with a reason, nothing lost and nothing doubled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from cityloop_common import inbox, metrics
from cityloop_common.clock import rfc3339
from cityloop_common.context import Ctx
from cityloop_common.db import UnitTooOld, WriteTx
from cityloop_common.endings import to_its_end
from cityloop_common.envelope import BadEnvelope, Event, Kind, from_record
from cityloop_common.errors import CityLoopError, DeadlinePassed, Unavailable
from cityloop_common.eventlog import Fenced, LogUnavailable, Message, Record, Rejected, Subscription, TopicPartition

M = TypeVar("M", bound=BaseModel)
CHUNK = {"postgresql": 500, "sqlite": 200}  # records a unit; on SQLite everyone else who writes waits for it
TRIES_BEFORE_DEAD = 3
BACKOFF_S = (0.1, 0.3, 1.0, 2.0)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class On(Generic[M]):
    """One type that a consumer understands: a tolerant view of its body, and what to do."""

    event_type: str
    topic: str
    kind: Kind
    view: type[M]
    handle: Callable[[WriteTx, Ctx[Any], Event, M], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer group of a service; its name is the group's and the inbox's."""

    name: str
    on: Sequence[On[Any]]

    @property
    def topics(self) -> list[str]:
        return sorted({each.topic for each in self.on})


@dataclass(frozen=True, slots=True)
class _Taken:
    """A record that could be read, with the one who handles it."""

    event: Event
    on: On[Any]
    body: BaseModel


class Poison(Exception):
    """A record that no repetition will make readable."""


class _TooMuch(Exception):
    """A chunk does not fit a unit's time."""


def _nothing() -> None:
    return


async def run_consumer(ctx: Ctx[Any], consumer: Consumer, tried: Callable[[], None] = _nothing) -> None:
    """Consumes until cancelled; survives a log or database that is away. `tried` is called when it has joined its group, or could not."""
    handlers = {each.event_type: each for each in consumer.on}
    failures = 0
    while True:
        subscription: Subscription | None = None
        try:
            subscription = await ctx.log.subscribe(consumer.name, consumer.topics)
            tried()
            while True:
                polled = await subscription.poll(max_records=1000, timeout_s=1.0)
                await _take_polled(ctx, consumer, handlers, subscription, polled)
                failures = 0
        except Unavailable as error:
            tried()
            log.warning("consumer_waits", consumer=consumer.name, reason=str(error))
            metrics.consumer_retries.add(ctx.service, consumer.name)
            await ctx.clock.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1
        finally:
            if subscription is not None:
                await _leave(consumer, subscription)


async def _leave(consumer: Consumer, subscription: Subscription) -> None:
    try:
        await subscription.close()
    except Unavailable as error:  # the group notices by itself that a member is gone
        log.warning("consumer_left_silently", consumer=consumer.name, reason=str(error))


async def _take_polled(
    ctx: Ctx[Any],
    consumer: Consumer,
    handlers: Mapping[str, On[Any]],
    subscription: Subscription,
    polled: Mapping[TopicPartition, Sequence[Record]],
) -> None:
    """Stores what was polled; records of several partitions share a unit, each partition in its own order."""
    for chunk in _chunks([record for records in polled.values() for record in records], handlers, CHUNK[ctx.db.dialect_name]):
        if not await to_its_end(_take_and_commit(ctx, consumer, handlers, subscription, chunk)):
            return


async def _take_and_commit(
    ctx: Ctx[Any], consumer: Consumer, handlers: Mapping[str, On[Any]], subscription: Subscription, chunk: Sequence[Record]
) -> bool:
    """Whether the group knows that the chunk is stored; a stop waits for that, so that nobody takes it again."""
    await _take_chunk(ctx, consumer, handlers, chunk)
    try:
        await subscription.commit({TopicPartition(record.topic, record.partition): record.offset + 1 for record in chunk})
    except Fenced:  # another member has a partition: it takes its part again, and the inbox knows it
        await subscription.rewind()
        return False
    return True


def _chunks(records: Sequence[Record], handlers: Mapping[str, On[Any]], most: int) -> list[Sequence[Record]]:
    """Cuts so that no chunk holds two state records of one aggregate: each state is applied, in order."""
    chunks: list[Sequence[Record]] = []
    current: list[Record] = []
    states: set[tuple[str, bytes | None]] = set()
    for record in records:
        on = handlers.get(record.headers.get("ce_type", b"").decode(errors="replace"))
        is_state = on is not None and on.kind is Kind.STATE
        if len(current) == most or (is_state and (record.topic, record.key) in states):
            chunks.append(current)
            current, states = [], set()
        current.append(record)
        if is_state:
            states.add((record.topic, record.key))
    if current:
        chunks.append(current)
    return chunks


async def _take_chunk(ctx: Ctx[Any], consumer: Consumer, handlers: Mapping[str, On[Any]], chunk: Sequence[Record]) -> None:
    """Stores a chunk in one unit; in two when its time is over; record by record when something in it fails for good."""
    try:
        await _with_patience(ctx, consumer, handlers, chunk)
    except Unavailable:
        raise
    except _TooMuch:
        middle = len(chunk) // 2
        await _take_chunk(ctx, consumer, handlers, chunk[:middle])
        await _take_chunk(ctx, consumer, handlers, chunk[middle:])
    except Exception as error:  # noqa: BLE001 - whatever a handler raises ends as a dead letter, never as a stopped consumer
        if len(chunk) == 1:
            await _bury(ctx, consumer, chunk[0], error)
            return
        for record in chunk:
            await _take_chunk(ctx, consumer, handlers, [record])


async def _with_patience(ctx: Ctx[Any], consumer: Consumer, handlers: Mapping[str, On[Any]], chunk: Sequence[Record]) -> None:
    """Retries in place: for ever while the database is away, three times when a handler fails."""
    tried = 0
    waited = 0
    while True:
        try:
            await _apply(ctx, consumer, handlers, chunk)
            return
        except (Unavailable, DeadlinePassed) as error:
            metrics.consumer_retries.add(ctx.service, consumer.name)
            log.warning("consumer_retries", consumer=consumer.name, reason=str(error))
            await ctx.clock.sleep(BACKOFF_S[min(waited, len(BACKOFF_S) - 1)])
            waited += 1
            if isinstance(error, DeadlinePassed | UnitTooOld) and len(chunk) > 1:
                raise _TooMuch from error
        except (Poison, CityLoopError):
            raise
        except Exception:
            tried += 1
            if len(chunk) > 1 or tried == TRIES_BEFORE_DEAD:
                raise
            await ctx.clock.sleep(BACKOFF_S[tried - 1])


async def _apply(ctx: Ctx[Any], consumer: Consumer, handlers: Mapping[str, On[Any]], chunk: Sequence[Record]) -> None:
    taken = [one for record in chunk if (one := _read(record, handlers)) is not None]
    if unknown := len(chunk) - len(taken):  # of a newer service, perhaps: then its topic has to be republished after the upgrade
        metrics.consumer_events.add(ctx.service, consumer.name, "unknown", by=unknown)
    if not taken:
        return
    async with ctx.db.write() as tx:
        fresh = await _fresh(tx, ctx, consumer, taken)
        for one in sorted(fresh, key=lambda each: each.event.key):  # units that lock many aggregates do so in one order
            await one.on.handle(tx, ctx, one.event, one.body)
    metrics.consumer_events.add(ctx.service, consumer.name, "applied", by=len(fresh))
    metrics.consumer_events.add(ctx.service, consumer.name, "skipped", by=len(taken) - len(fresh))


def _read(record: Record, handlers: Mapping[str, On[Any]]) -> _Taken | None:
    """The record as an event with its view; None for a type that this consumer does not know."""
    try:
        event = from_record(record.topic, record.key, record.headers, record.value)
        on = handlers.get(event.type)
        if on is None:
            return None
        return _Taken(event, on, on.view.model_validate_json(event.data))
    except BadEnvelope as error:
        raise Poison(str(error)) from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()[:5])
        raise Poison(f"body does not fit: {faults}") from error


async def _fresh(tx: WriteTx, ctx: Ctx[Any], consumer: Consumer, taken: Sequence[_Taken]) -> list[_Taken]:
    """What of a chunk has not taken effect yet, in order."""
    sequences: dict[tuple[str, str], int] = {}
    for one in taken:
        aggregate = (one.event.topic, one.event.key)
        sequences[aggregate] = max(one.event.sequence, sequences.get(aggregate, 0))
    facts = [one.event.id for one in taken if one.on.kind is Kind.FACT]
    noted = await inbox.note(tx, consumer.name, facts=facts, sequences=sequences)
    _count_gaps(tx, ctx, consumer, taken, noted.known)
    fresh: list[_Taken] = []
    seen: set[str] = set()
    for one in taken:
        is_new = one.event.id in noted.facts if one.on.kind is Kind.FACT else (one.event.topic, one.event.key) in noted.moved
        if is_new and one.event.id not in seen:
            fresh.append(one)
            seen.add(one.event.id)
    return fresh


def _count_gaps(tx: WriteTx, ctx: Ctx[Any], consumer: Consumer, taken: Sequence[_Taken], known: Mapping[tuple[str, str], int]) -> None:
    """A fact whose predecessor was never seen is applied all the same, and counted."""
    newest = dict(known)
    gaps = 0
    for one in taken:
        if one.on.kind is Kind.FACT:
            aggregate = (one.event.topic, one.event.key)
            last = newest.get(aggregate, 0)
            gaps += one.event.sequence > last + 1
            newest[aggregate] = max(last, one.event.sequence)
    if gaps:
        tx.after_commit(lambda: metrics.consumer_gaps.add(ctx.service, consumer.name, by=gaps))


async def _bury(ctx: Ctx[Any], consumer: Consumer, record: Record, error: Exception) -> None:
    """Sends a record to its dead-letter topic with the reason; tries until the log has it."""
    reason = f"{type(error).__name__}: {error}"[:500]
    headers = [
        *((name, value) for name, value in record.headers.items() if not name.startswith("dlq_")),
        ("dlq_consumer", consumer.name.encode()),
        ("dlq_reason", reason.encode(errors="replace")),
        ("dlq_at", rfc3339(ctx.clock.now()).encode()),
        ("dlq_partition", str(record.partition).encode()),
        ("dlq_offset", str(record.offset).encode()),
    ]
    letter = Message(f"{record.topic}.dlq", record.key or b"", record.value, headers)
    for attempt in range(1_000_000):
        outcome = (await ctx.log.send([letter]))[0]
        if outcome is None:
            break
        if not isinstance(outcome, LogUnavailable | TimeoutError):
            log.error("dead_letter_refused", consumer=consumer.name, topic=record.topic, reason=str(outcome))
        if isinstance(outcome, Rejected) and letter.value is not None:  # a stranger's record over the limit: its place and reason stay
            letter = replace(letter, value=None)
            continue
        await ctx.clock.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
    metrics.dead_letters.add(ctx.service, consumer.name, record.topic)
    log.error("dead_letter", consumer=consumer.name, topic=record.topic, partition=record.partition, offset=record.offset, reason=reason)
