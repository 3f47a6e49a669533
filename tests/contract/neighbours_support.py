"""What charging and waste tell, for the suites of parking's rooms that listen to them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select

from cityloop_common.clock import ManualClock, rfc3339
from cityloop_common.consuming import Consumer, On, run_consumer
from cityloop_common.envelope import Event, to_headers
from cityloop_common.eventlog import Message, Retention, TopicSpec
from cityloop_parking import consumers
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Accepted, PlaceFacts
from cityloop_parking.search import use_cases as search
from cityloop_parking.search.replica import Search
from cityloop_parking.search.tables import search_entry
from cityloop_parking.search.views import PlaceView
from tests.contract.reservations_support import NOON, City, city
from tests.support import wait_until

TOPICS = ("charging.location", "charging.evse", "waste.plan")
AT = datetime(2026, 6, 1, 3, 0, tzinfo=UTC)
_ON: Mapping[str, On[Any]] = {
    on.event_type: on for consumer in (consumers.SEARCH, consumers.CHARGERS, consumers.CLOSURES) for on in consumer.on
}


def event(kind: str, key: str, sequence: int, **body: object) -> Event:
    """An event of another service; its id is the same whenever it is made."""
    data = orjson.dumps({name: value for name, value in body.items() if value is not None}, option=orjson.OPT_UTC_Z)
    topic = _ON[kind].topic
    id_ = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{key}/{sequence}"))
    return Event(id_, kind, topic, key, f"/cityloop/{kind.partition('.')[0]}", AT, sequence, data)


def location(
    version: int, *evses: str | tuple[str, str | int], id: str = "op*S1", place: str | None = "op-1", state: str = "open"
) -> Event:
    """A location with EVSEs: ids, or ids with the number of their bay."""
    pairs = [(each, None) if isinstance(each, str) else each for each in evses]
    listed = [
        {"uid": uid, "connector_id": uid, "power_w": 60_000, "current": "dc"} | ({"bay_no": bay} if bay else {}) for uid, bay in pairs
    ]
    told = {"location_id": id, "operator_id": "op", "name": "站", "lon": 109.787, "lat": 39.565, "datum": "wgs84", "access": "public"}
    return event("charging.location.published.v1", id, version, **told, place_id=place, state=state, invented=True, evses=listed)


def status(version: int, uid: str, says: str, *, at: str = "op*S1", since: datetime | None = None) -> Event:
    """An EVSE does something since `version` minutes after three o'clock."""
    since = since or AT + timedelta(minutes=version)
    told = {"evse_uid": uid, "location_id": at, "operator_id": "op", "recorded_at": rfc3339(since)}
    return event("charging.evse.status_changed.v1", uid, version, **told, status=says, since=rfc3339(since))


Closure = tuple[str, datetime, datetime]


def plan(version: int, *closures: Closure, stream: str = "kitchen", on: date = date(2026, 6, 1), id: str = "") -> Event:
    """A collection plan with its closures."""
    plan_id = id or f"plan-{stream}-{on}-{version}"
    listed = [{"place_id": place, "starts_at": rfc3339(start), "ends_at": rfc3339(end)} for place, start, end in closures]
    told = {"plan_id": plan_id, "stream": stream, "on": on.isoformat(), "version": version}
    return event("waste.plan.published.v1", plan_id, 1, **told, trucks=2, stops=9, published_at=rfc3339(AT), closures=listed)


def withdrawn(version: int, *, stream: str = "kitchen", on: date = date(2026, 6, 1), id: str = "") -> Event:
    """The plan of this version is withdrawn."""
    plan_id = id or f"plan-{stream}-{on}-{version}"
    return event("waste.plan.withdrawn.v1", plan_id, 2, plan_id=plan_id, stream=stream, on=on.isoformat(), version=version)


async def hear(town: City, *events: Event) -> None:
    """Hands events to their handlers, a unit each, as a consumer does with what its inbox does not know."""
    for each in events:
        on = _ON[each.type]
        async with town.db.write() as tx:
            await on.handle(tx, town.ctx, each, on.view.model_validate_json(each.data))


async def hear_at_once(town: City, *events: Event, between: Callable[[], Awaitable[object]] | None = None) -> None:
    """Hands events to their handlers in one unit, as a consumer does with a chunk; `between` is awaited behind the first of them."""
    async with town.db.write() as tx:
        for number, each in enumerate(events):
            on = _ON[each.type]
            await on.handle(tx, town.ctx, each, on.view.model_validate_json(each.data))
            if number == 0 and between is not None:
                await between()


async def send(town: City, *events: Event) -> None:
    """Puts events into the log as a relay does."""
    outcomes = await town.ctx.log.send([Message(each.topic, each.key.encode(), each.data, to_headers(each)) for each in events])
    assert not any(outcomes)


async def publish(town: City, *facts: PlaceFacts) -> None:
    """Stores car parks, and search hears of them."""
    await places.import_places(town.ctx, [Accepted(row, each) for row, each in enumerate(facts, 1)])
    keys = {each.id for each in facts}
    for told in await town.told():
        if told.type == "parking.place.published.v1" and told.key in keys:
            async with town.db.write() as tx:
                await search.apply_place(tx, town.ctx, told, PlaceView.model_validate_json(told.data))


class Waiting(ManualClock):
    """Stands still, but whoever sleeps wakes up: a consumer that waits to try again does not wait for a test."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@asynccontextmanager
async def workers(url: str, folder: Path, consumer: Consumer, *, many: int) -> AsyncIterator[City]:
    """Workers with a consumer each, members of one group over one log; the first of them."""
    async with AsyncExitStack() as stack:
        towns = [await stack.enter_async_context(city(url, folder, clock=Waiting(NOON))) for _ in range(many)]
        await towns[0].ctx.log.create_topics([TopicSpec(topic, Retention.DELETE) for each in TOPICS for topic in (each, f"{each}.dlq")])
        running = [asyncio.get_running_loop().create_task(run_consumer(town.ctx, consumer)) for town in towns]
        try:
            yield towns[0]
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def caught_up(town: City, consumer: Consumer) -> None:
    """Waits until everything in the log has taken effect, and nothing of it was put aside."""

    async def done() -> bool:
        topics = {topic.name: topic for topic in await town.ctx.log.describe()}
        assert not any(sum(topic.end_offsets.values()) for name, topic in topics.items() if name.endswith(".dlq"))
        sent = {name: sum(topics[name].end_offsets.values()) for name in consumer.topics}
        return all(topics[name].lag_records.get(consumer.name, sent[name]) == 0 for name in consumer.topics)

    await wait_until(done, 60, what=f"{consumer.name} caught up")


async def shown_parts(town: City) -> dict[str, tuple[object, object]]:
    """Chargers and closures of every entry that has any."""
    e = search_entry.c
    async with town.db.read() as tx:
        rows: Sequence[Any] = await tx.all(select(e.place_id, e.chargers, e.closures))
    return {row.place_id: (row.chargers, row.closures) for row in rows if row.chargers or row.closures}


@asynccontextmanager
async def listening(replica: Search, last_event_id: str | None = None) -> AsyncIterator[list[dict[str, Any]]]:
    """A client of the stream: the places that it has heard of, in their order."""
    heard: list[dict[str, Any]] = []

    async def receive() -> MutableMapping[str, object]:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody disconnects")

    async def send_part(message: MutableMapping[str, object]) -> None:
        part = message.get("body", b"")
        assert isinstance(part, bytes)
        events = [event for event in part.split(b"\n\n") if b"event: ping" not in event]
        heard.extend(orjson.loads(line[6:]) for event in events for line in event.splitlines() if line.startswith(b"data: "))

    stream = asyncio.get_running_loop().create_task(replica.stream(last_event_id)({"type": "http"}, receive, send_part))
    await wait_until(lambda: any(not client.catches_up for client in replica.hub._clients))
    try:
        yield heard
    finally:
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
