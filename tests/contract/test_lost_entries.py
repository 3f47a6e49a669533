"""A client that resumes hears what the fan-out stream lost, from whichever replica it comes to; what it has heard is not told again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import orjson

from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.domain import EvseUid
from cityloop_charging.status import store
from cityloop_charging.status import use_cases as statuses
from cityloop_charging.status.domain import Report, Status
from cityloop_charging.status.replica import Watch
from cityloop_common.context import Ctx
from cityloop_common.fanout import FanoutEntry
from cityloop_common.geo import Position
from cityloop_common.sse import EventStream, Hub, Message
from cityloop_parking.places.domain import Category, PlaceFacts, Pool
from cityloop_parking.search import use_cases as search
from cityloop_waste.planning.replica import PlanStream
from tests.contract import charging_support, reservations_support, waste_support
from tests.contract.neighbours_support import publish
from tests.support import wait_until


class Replica(Protocol):
    """What the three services' readers of the fan-out stream have in common."""

    hub: Hub

    def stream(self, last_event_id: str | None) -> EventStream: ...

    async def apply(self, entries: Sequence[FanoutEntry]) -> None: ...


def seen_at(at: datetime) -> str:
    """The id of an entry of that time: the last event that a client saw."""
    return f"{int(at.timestamp() * 1000)}-0"


def sent(ctx: Ctx[Any]) -> Sequence[FanoutEntry]:
    """What is on its way to the stream gets there."""
    found = [FanoutEntry(f"9999999999999-{number}", change) for number, change in enumerate(ctx.fanout._queued)]
    ctx.fanout._queued.clear()
    return found


def lose(ctx: Ctx[Any]) -> None:
    """The process dies between its commit and the stream."""
    assert ctx.fanout._queued
    ctx.fanout._queued.clear()


async def resumed(replica: Replica, ctx: Ctx[Any], after: datetime, entries: Sequence[FanoutEntry] = ()) -> list[str]:
    """The events that a client hears who saw one at `after`, behind which the stream has these entries."""
    heard: list[str] = []

    async def receive() -> dict[str, object]:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody disconnects")

    async def send(message: Any) -> None:
        blocks = [block for block in message.get("body", b"").decode().split("\n\n") if "event: ping" not in block]
        heard.extend(line[6:] for block in blocks for line in block.splitlines() if line.startswith("data: "))

    async def since(_position: str) -> Sequence[FanoutEntry]:
        return entries

    async def comes_to(_position: str) -> bool:
        return True

    with mock.patch.object(ctx.fanout, "since", since), mock.patch.object(ctx.fanout, "comes_to", comes_to):
        stream = asyncio.get_running_loop().create_task(replica.stream(seen_at(after))({"type": "http"}, receive, send))
        await wait_until(lambda: any(not client.catches_up for client in replica.hub._clients))
        replica.hub.publish(Message("", "mark", "mark", "mark"))
        await wait_until(lambda: "mark" in heard)
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
    return heard[: heard.index("mark")]


async def test_parkings_clients_hear_of_a_lost_change_of_a_car_park(url: str, tmp_path: Path) -> None:
    """By a replica that was started after the loss; what the stream told is told once."""
    facts = [PlaceFacts("op", str(n), "Car park", Position(109.787, 39.565), (Pool(Category.STANDARD, 3),)) for n in (1, 2)]
    await reservations_support.make_tables(url)
    async with reservations_support.city(url, tmp_path) as town:
        began = datetime.now(UTC)
        await publish(town, facts[0])
        lose(town.ctx)
        replica = search.open_search(town.ctx)
        await replica.reset()
        await publish(town, facts[1])
        entries = sent(town.ctx)
        await replica.apply(entries)
        assert [orjson.loads(text)["id"] for text in await resumed(replica, town.ctx, began, entries)] == ["op-1", "op-2"]
        assert [orjson.loads(text)["id"] for text in await resumed(replica, town.ctx, began)] == ["op-1"]
        assert await resumed(replica, town.ctx, began + timedelta(minutes=5)) == []


async def test_chargings_clients_hear_of_a_lost_status(url: str, tmp_path: Path) -> None:
    """By a replica that was started after the loss; what the stream told is told once."""
    one, two = EvseUid("999000001*S001*S00101"), EvseUid("999000001*S001*S00102")
    await charging_support.make_tables(url)
    async with charging_support.city(url, tmp_path) as town:
        async with town.db.write() as tx:
            await registry.put_in(tx, town.ctx, [charging_support.station()], source="test")
        began = town.clock.now()
        await _report(town, one)
        lose(town.ctx)
        replica = Watch(town.ctx)
        await replica.reset()
        await _report(town, two)
        entries = sent(town.ctx)
        await replica.apply(entries)
        assert [orjson.loads(text)["evse_uid"] for text in await resumed(replica, town.ctx, began, entries)] == [one, two]
        assert [orjson.loads(text)["evse_uid"] for text in await resumed(replica, town.ctx, began)] == [one]
        assert await resumed(replica, town.ctx, began + timedelta(minutes=5)) == []


async def _report(town: charging_support.City, uid: EvseUid) -> None:
    async with town.db.write() as tx:
        known = await store.known(tx, [uid])
        await statuses.record_in(tx, town.ctx, [Report(known[uid], Status.CHARGING, town.clock.now(), "test")])


async def test_wastes_clients_hear_of_a_lost_change_of_a_plan(url: str, tmp_path: Path) -> None:
    """By a replica that was started after the loss; what the stream told is told once."""
    async with waste_support.town(url, tmp_path) as town:
        await town.furnish()
        began = town.clock.now()
        lost = await town.ready()
        lose(town.ctx)
        replica = PlanStream(town.ctx)
        await replica.reset()
        heard = await town.ready()
        entries = sent(town.ctx)
        await replica.apply(entries)
        told = [orjson.loads(text)["plan_id"] for text in await resumed(replica, town.ctx, began, entries)]
        assert (told[0], told.count(lost.id), set(told)) == (lost.id, 1, {lost.id, heard.id})
        assert [orjson.loads(text)["plan_id"] for text in await resumed(replica, town.ctx, began)] == [lost.id]
        assert await resumed(replica, town.ctx, began + timedelta(minutes=5)) == []
