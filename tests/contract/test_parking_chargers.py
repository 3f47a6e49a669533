"""Laws of what parking knows of charging, the same on every database: any order, any repetition, any two workers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, select, update

from cityloop_common.clock import rfc3339
from cityloop_common.envelope import Event
from cityloop_common.fanout import Change
from cityloop_common.geo import Position
from cityloop_parking import consumers
from cityloop_parking.chargers import store as chargers
from cityloop_parking.chargers.domain import Charger, Status, ev_bays
from cityloop_parking.chargers.tables import charger, charger_location
from cityloop_parking.places.domain import Category, PlaceFacts, Pool
from cityloop_parking.search import use_cases as search
from cityloop_parking.search.index import Near
from cityloop_parking.search.replica import Search
from cityloop_parking.search.tables import search_entry
from tests.contract.neighbours_support import (
    AT,
    caught_up,
    hear,
    hear_at_once,
    listening,
    location,
    plan,
    publish,
    send,
    shown_parts,
    status,
    workers,
)
from tests.contract.reservations_support import NOON, City, city, make_tables
from tests.support import scaled, wait_until


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


def lot(number: int = 1, spaces: int = 10) -> PlaceFacts:
    return PlaceFacts("op", str(number), "文化广场", Position(109.787, 39.565), (Pool(Category.STANDARD, spaces),))


def bays(total: int, working: int = 0, free: int = 0, minute: int | None = None) -> dict[str, object]:
    """Charging bays as an entry has them; `minute` of the newest status in them."""
    return {
        "bays": total, "working": working, "free": free,
        "as_of": None if minute is None else rfc3339(AT + timedelta(minutes=minute)),
    }  # fmt: skip


async def chargers_shown(town: City) -> dict[str, object]:
    return {place: chargers for place, (chargers, _) in (await shown_parts(town)).items()}


async def test_a_status_may_come_before_its_location(town: City) -> None:
    """It is kept until the location says where the EVSE stands."""
    await hear(town, status(3, "a", "CHARGING"), status(4, "b", "AVAILABLE"))
    assert await chargers_shown(town) == {}
    await hear(town, location(1, "a", "b", "c"))
    assert await chargers_shown(town) == {"op-1": bays(3, 2, 1, minute=4)}
    await hear(town, status(5, "c", "AVAILABLE"))
    assert await chargers_shown(town) == {"op-1": bays(3, 3, 2, minute=5)}


async def test_a_bay_is_counted_once_across_the_locations_of_its_place(town: City) -> None:
    """Two operators' EVSEs at one bay serve one, however each of them writes its number; blanks are no number."""
    await hear(town, location(1, ("a", "Ａ－7"), ("b", "  "), id="op*S1"), location(1, ("c", " a-7"), ("d", 8), id="op*S2"))
    await hear(town, status(1, "a", "AVAILABLE"), status(2, "c", "CHARGING", at="op*S2"), status(3, "d", "AVAILABLE", at="op*S2"))
    assert await chargers_shown(town) == {"op-1": bays(3, 2, 1, minute=3)}


async def test_chargers_follow_their_location(town: City) -> None:
    """Moved, unlinked, closed and open again, an EVSE dropped: each place shows what stands there now, or that it has none."""
    await hear(town, status(1, "a", "AVAILABLE"), status(1, "b", "OUTOFORDER"), location(1, "a", "b"))
    assert await chargers_shown(town) == {"op-1": bays(2, 1, 1, minute=1)}
    await hear(town, location(2, "a", "b", place="op-2"))
    assert await chargers_shown(town) == {"op-2": bays(2, 1, 1, minute=1)}
    await hear(town, location(3, "a", place="op-2"))
    assert await chargers_shown(town) == {"op-2": bays(1, 1, 1, minute=1)}
    await hear(town, location(4, "a", place="op-2", state="closed"))
    assert await chargers_shown(town) == {}
    await hear(town, location(5, "a", "b", place="op-2"))
    assert await chargers_shown(town) == {"op-2": bays(2, 1, 1, minute=1)}
    await hear(town, location(6, "a", "b", place=None))
    assert await chargers_shown(town) == {}


async def test_an_older_version_changes_nothing(town: City) -> None:
    """Neither of a location nor of a status, nor the same one again."""
    await hear(town, location(5, "a", "b"), status(7, "a", "CHARGING"))
    before = await chargers_shown(town)
    await hear(town, location(4, "a", place="op-2"), location(5, "a"), status(6, "a", "AVAILABLE"), status(7, "a", "AVAILABLE"))
    assert await chargers_shown(town) == before == {"op-1": bays(2, 1, 0, minute=7)}


async def test_a_status_of_another_location_says_nothing_of_a_listed_evse(town: City) -> None:
    """Whichever is heard first: an EVSE counts with the status that its own location's operator sent."""
    listed, stray = location(1, "a"), status(9, "a", "AVAILABLE", at="op*S2")
    await hear(town, stray, listed)
    assert await chargers_shown(town) == {"op-1": bays(1)}


async def test_a_new_word_for_a_status_is_unknown(town: City) -> None:
    """It is no dead letter, and nothing that could be called free."""
    await hear(town, location(1, "a"), status(1, "a", "LEVITATING"))
    assert await chargers_shown(town) == {"op-1": bays(1, minute=1)}


def _life(chance: random.Random, places: int = 3, stations: int = 6) -> list[Event]:
    """What some stations go through: places, EVSEs and states change, and every EVSE does something all the time."""
    told: list[Event] = []
    for station in range(stations):
        id_, uids = f"op*S{station}", [f"op*S{station}*{number}" for number in range(4)]
        for version in range(1, 5):
            listed = [(uid, chance.choice([None, str(number), "1"])) for number, uid in enumerate(uids) if chance.random() < 0.8]
            place = chance.choice([None, *(f"op-{number}" for number in range(places))])
            evses = [uid if bay is None else (uid, bay) for uid, bay in listed]
            told.append(location(version, *evses, id=id_, place=place, state=chance.choice(["open", "open", "closed"])))
        told += [status(version, uid, chance.choice(list(Status)), at=id_) for uid in uids for version in range(1, 5)]
    return told


def _expected(told: list[Event]) -> dict[str, object]:
    """From the newest version of each location and EVSE."""
    newest: dict[str, Event] = {}
    for each in told:
        newest[each.key] = max(newest.get(each.key, each), each, key=lambda one: one.sequence)
    statuses = {key: each for key, each in newest.items() if each.topic == "charging.evse"}
    of_place: dict[str, list[Charger]] = {}
    for each in newest.values():
        body = each.body()
        if each.topic == "charging.location" and body["state"] == "open" and body.get("place_id"):
            for evse in body["evses"]:  # type: ignore[attr-defined]
                does = statuses[evse["uid"]]
                since = AT + timedelta(minutes=does.sequence)
                charger = Charger(evse["uid"], evse.get("bay_no"), Status(str(does.body()["status"])), since)
                of_place.setdefault(str(body["place_id"]), []).append(charger)
    counted = {place: ev_bays(chargers) for place, chargers in of_place.items()}
    return {
        place: {"bays": each.bays, "working": each.working, "free": each.free, "as_of": rfc3339(each.as_of) if each.as_of else None}
        for place, each in counted.items()
        if each is not None
    }


@pytest.mark.parametrize("seed", range(scaled(ci=3, full=30)))
async def test_two_workers_hear_everything_shuffled_and_twice(url: str, tmp_path: Path, seed: int) -> None:
    """Through the log, in one group: the entries show what the newest versions say, whoever heard what when."""
    await make_tables(url)
    chance = random.Random(seed)
    told = _life(chance)
    twice = told + told
    chance.shuffle(twice)
    async with workers(url, tmp_path, consumers.CHARGERS, many=2) as town:
        for start in range(0, len(twice), 40):
            await send(town, *twice[start : start + 40])
            await asyncio.sleep(0)
        await caught_up(town, consumers.CHARGERS)
        assert await chargers_shown(town) == _expected(told)


async def test_units_at_once_lose_no_status(url: str, tmp_path: Path) -> None:
    """Each unit adds up its place with what the others have stored, though none of them waits for the others' commit to begin."""
    await make_tables(url)
    rounds, evses = scaled(ci=10, full=100), [f"e{number}" for number in range(8)]
    async with AsyncExitStack() as stack:
        towns = [await stack.enter_async_context(city(url, tmp_path)) for _ in range(2)]
        await hear(towns[0], location(1, *evses))
        for turn in range(1, rounds + 1):
            says = "AVAILABLE" if turn % 2 else "CHARGING"
            await asyncio.gather(*(hear(towns[number % 2], status(turn, uid, says)) for number, uid in enumerate(evses)))
            assert await chargers_shown(towns[0]) == {"op-1": bays(8, 8, 8 if turn % 2 else 0, minute=turn)}


async def test_a_location_and_the_statuses_of_its_evses_at_once(url: str, tmp_path: Path) -> None:
    """The first to come finds nothing of the other; the one that commits last has counted both."""
    await make_tables(url)
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(city(url, tmp_path)) for _ in range(2)]
        for number in range(scaled(ci=10, full=100)):
            station, place = f"op*S{number}", f"op-{number}"
            uids = [f"{station}*{letter}" for letter in "abc"]
            heard = [hear(other, status(1, uid, "AVAILABLE", at=station)) for uid in uids]
            await asyncio.gather(hear(one, location(1, *uids, id=station, place=place)), *heard)
            assert (await chargers_shown(one))[place] == bays(3, 3, 3, minute=1)


async def test_rebuild_makes_the_chargers_anew(town: City) -> None:
    """Emptied or wrong, afterwards an entry shows what is known; chargers of a place nobody knows yet go on waiting."""
    await publish(town, lot(1), lot(2))
    await hear(town, location(1, "a"), status(1, "a", "AVAILABLE"), location(1, "b", id="op*S2", place="op-later"))
    before = await chargers_shown(town)
    async with town.db.write() as tx:
        await tx.run(delete(search_entry).where(search_entry.c.place_id == "op-1"))
        await tx.run(update(search_entry).where(search_entry.c.place_id == "op-2").values(chargers=bays(9)))
    for _ in range(2):
        assert await search.rebuild(town.ctx, lambda *_: None) == {"entries": 2, "dropped": 0}
        assert await chargers_shown(town) == before
    await publish(town, PlaceFacts("op", "later", "后来", Position(109.787, 39.565), (Pool(Category.STANDARD, 5),)))
    assert (await chargers_shown(town))["op-later"] == bays(1)


async def test_what_is_kept_of_charging_is_one_row_a_thing(town: City) -> None:
    """However often it changes: these are views of another service's facts, not a journal."""
    await hear(town, *(location(version, "a") for version in range(1, 4)), *(status(version, "a", "AVAILABLE") for version in range(1, 4)))
    async with town.db.read() as tx:
        assert [row.version for row in await tx.all(select(charger_location))] == [3]
        assert [row.version for row in await tx.all(select(charger))] == [3]


def told_at(minutes: float, uid: str = "a") -> Event:
    """A status that charging told so many minutes from noon."""
    return replace(status(1000 + int(minutes), uid, "AVAILABLE"), time=NOON + timedelta(minutes=minutes))


async def test_when_charging_was_heard_is_kept_to_the_minute_and_never_goes_back(town: City) -> None:
    """The newest word of any station, in one unit or many; one from the future counts as said now; of no station: never."""

    async def heard() -> datetime | None:
        async with town.db.read() as tx:
            return await chargers.heard_at(tx)

    assert await heard() is None
    await hear_at_once(town, told_at(-29.5, "a"), told_at(-10.25, "b"), told_at(-50, "c"))
    assert await heard() == NOON - timedelta(minutes=11)
    await hear(town, told_at(-20, "d"))
    assert await heard() == NOON - timedelta(minutes=11)
    await hear(town, told_at(60, "e"))
    assert await heard() == NOON


async def test_free_bays_grow_old_while_charging_is_silent(town: City) -> None:
    """Live, late after half an hour, unknown after a day; any word of charging makes all bays live again, in replicas that look."""
    await publish(town, lot(1))
    await hear(town, replace(location(1, "a"), time=NOON), told_at(0))
    replica, seen = search.open_search(town.ctx), []
    await replica.reset()
    for minutes in (0, 30, 1, 1409, 1):
        town.clock.advance(minutes * 60)
        seen.append(_charging_of(replica))
    assert seen == [("live", 1, 1)] * 2 + [("late", 1, 1)] * 2 + [("unknown", None, None)]
    await hear(town, replace(location(1, "b", id="op*S2", place=None), time=town.clock.now()))
    await replica.poll()
    assert _charging_of(replica) == ("live", 1, 1)


async def test_a_stream_says_when_charging_falls_silent_and_is_heard_again(town: City) -> None:
    """To whoever listens, and to whoever comes back and missed it."""
    await publish(town, lot(1), lot(2))
    await hear(town, replace(location(1, "a"), time=NOON), told_at(0))
    replica = search.open_search(town.ctx)
    await replica.reset()
    running = asyncio.get_running_loop().create_task(replica.turn())
    try:
        async with listening(replica) as told:
            await _pass(town, told, 0, "live")
            told.clear()
            await _pass(town, told, 31 * 60, "late")
            await hear(town, replace(location(1, "b", id="op*S2", place=None), time=town.clock.now()))
            await replica.poll()
            await _pass(town, told, 0, "late", "live")
        long_ago = f"{int(town.clock.now().timestamp() * 1000) - 40_000}-0"
        assert [place.id for place in replica._turned_since(long_ago)] == ["op-1"]
        town.clock.advance(120)
        assert replica._turned_since(f"{int(town.clock.now().timestamp() * 1000)}-0") == []
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _pass(town: City, told: list[dict[str, Any]], seconds: float, *classes: str) -> None:
    """Time goes by, second by second behind a jump, until a client has been told these classes of the one place with a charger."""
    town.clock.advance(seconds)

    async def done() -> bool:
        town.clock.advance(1)
        await asyncio.sleep(0)
        return [(each["id"], each["charging"]["freshness"]) for each in told] == [("op-1", each) for each in classes]

    await wait_until(done)


def _charging_of(replica: Search) -> tuple[object, ...]:
    found = orjson.loads(replica.nearest(Near(Position(109.787, 39.565), 100, 20)))["places"][0]["charging"]
    return found["freshness"], found["working"], found["free"]


async def test_a_car_park_is_written_once_however_many_of_its_chargers_speak(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit of a whole station counts it once and shows it once, as it is at the end."""
    uids = [f"e{number}" for number in range(20)]
    await hear(town, location(1, *uids))
    offered: list[Change] = []
    monkeypatch.setattr(town.ctx.fanout, "offer", offered.append)
    await hear_at_once(town, *(status(1, uid, "AVAILABLE") for uid in uids), location(1, "z", id="op*S2", place="op-2"))
    assert [each.key for each in offered] == ["op-1", "op-2"]
    assert orjson.loads(offered[0].body)["chargers"] == bays(20, 20, 20, minute=1)
    assert await chargers_shown(town) == {"op-1": bays(20, 20, 20, minute=1), "op-2": bays(1)}


@pytest.mark.stack
async def test_workers_that_hear_of_places_in_other_orders_wait_for_each_other(fresh_postgres_url: str, tmp_path: Path) -> None:
    """Search, chargers and closures write one table: whatever the order in the log, none of their units is a deadlock's victim."""
    await make_tables(fresh_postgres_url)
    async with AsyncExitStack() as stack:
        towns = [await stack.enter_async_context(city(fresh_postgres_url, tmp_path)) for _ in range(3)]
        await publish(towns[0], lot(1), lot(2), lot(3))
        await hear(towns[0], location(1, "a", id="op*S1"), location(1, "b", id="op*S2", place="op-2"))
        told = {event.key: replace(event, sequence=2) for event in await towns[0].told() if event.type == "parking.place.published.v1"}
        units = (
            (status(1, "a", "AVAILABLE"), status(1, "b", "AVAILABLE", at="op*S2")),
            (told["op-2"], told["op-3"]),
            (plan(1, ("op-3", AT, NOON)), plan(1, ("op-1", AT, NOON), stream="other")),
        )
        met = asyncio.Barrier(3)
        heard = [hear_at_once(each, *unit, between=met.wait) for each, unit in zip(towns, units, strict=True)]
        assert await asyncio.gather(*heard, return_exceptions=True) == [None] * 3
        one, window = bays(1, 1, 1, minute=1), [[rfc3339(AT), rfc3339(NOON)]]
        assert await shown_parts(towns[0]) == {"op-1": (one, window), "op-2": (one, None), "op-3": (None, window)}
