"""Laws of importing, keeping and telling of charging stations, the same on every database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from cityloop_charging.operators.domain import NOBODY
from cityloop_charging.registry import history, locations_csv, store, use_cases
from cityloop_charging.registry.domain import (
    Accepted,
    ConnectorTaken,
    Current,
    InvalidLocation,
    Lifecycle,
    LocationFacts,
    LocationState,
    Rejected,
    UnknownLocation,
    Verdict,
)
from cityloop_charging.registry.tables import evse as evse_table
from cityloop_charging.registry.tables import evse_version, location, location_version
from cityloop_common import districts
from cityloop_common.envelope import Event
from cityloop_common.errors import PreconditionFailed, PreconditionRequired
from cityloop_common.geo import Datum, Position
from tests.contract.charging_support import CENTRE, OPERATOR, City, city, evse, make_tables, station


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


def rows(*facts: LocationFacts) -> list[Verdict]:
    return [Accepted(number, each) for number, each in enumerate(facts, 1)]


async def everything(town: City) -> list[Event]:
    return [event async for event in use_cases.republished(town.ctx, None)]


async def test_the_real_file_twice_is_the_same_as_once(town: City, data_dir: Path) -> None:
    """1,706 stations with 22,872 EVSEs, stored and told of once; the second import touches nothing; a stop halfway loses nothing."""
    data = (data_dir / "charging" / "shenzhen_stations_stevcdp.csv").read_bytes()
    verdicts = locations_csv.read(data, datum=Datum.GCJ02, operator_id=NOBODY, city=use_cases.city_bounds(town.ctx))
    half = await use_cases.import_locations(town.ctx, verdicts[:800])
    seen: list[int] = []
    first = await use_cases.import_locations(town.ctx, verdicts, progress=seen.append)
    assert (first.read, half.accepted, first.accepted, first.unchanged, first.evses) == (1706, 800, 906, 800, 22_872)
    assert first.rejected == ()
    assert seen == sorted(seen)
    assert seen[-1] == 1706
    again = await use_cases.import_locations(town.ctx, verdicts)
    assert (again.accepted, again.unchanged) == (0, 1706)
    events = await town.told()
    assert len(events) == 1706
    assert {event.sequence for event in events} == {1}
    assert (await town.count(location), await town.count(evse_table)) == (1706, 22_872)
    async with town.db.read() as tx:
        now = town.clock.now()
        assert len(await history.evses(tx, now, now)) == await town.count(evse_version) == 22_872
        biggest = max(verdicts, key=lambda each: len(each.facts.evses) if isinstance(each, Accepted) else 0)
        assert isinstance(biggest, Accepted)
        found = await store.get(tx, biggest.facts.id)
    assert found is not None
    assert found.facts.content_hash() == replace(biggest.facts, in_city=False).content_hash(), "stored as a station of elsewhere"


async def test_huge_stations_are_stored_in_units_of_their_own(town: City) -> None:
    """At most 100 stations and 5,000 EVSEs a unit, unless one station alone has more."""
    stations = [station(number, evses=count) for number, count in enumerate((1, 900, 900, 900, 900, 900, 900, 900, 2), 1)]
    seen: list[int] = []
    report = await use_cases.import_locations(town.ctx, rows(*stations), progress=seen.append)
    assert (report.accepted, report.evses, seen) == (9, 6303, [6, 9])


async def test_two_imports_at_once_store_each_station_once(town: City) -> None:
    """Whoever comes second finds nothing new: no row and no event twice."""
    stations = [station(number, evses=3) for number in range(1, 120)]
    reports = await asyncio.gather(*(use_cases.import_locations(town.ctx, rows(*stations)) for _ in range(3)))
    assert sum(each.accepted for each in reports) == 119
    assert (await town.count(location_version), await town.count(evse_version)) == (119, 357)
    assert len(await town.told()) == 119


async def test_only_changed_stations_are_told_of_again(town: City) -> None:
    """A repetition touches nothing; another power is version 2."""
    first = await use_cases.import_locations(town.ctx, [*rows(station(1), station(2)), Rejected(3, "x", "bad")])
    assert (first.read, first.accepted, first.unchanged, first.evses, len(first.rejected)) == (3, 2, 0, 4, 1)
    again = await use_cases.import_locations(town.ctx, rows(station(1), station(2)))
    assert (again.accepted, again.unchanged) == (0, 2)
    other = (evse(1, station="S002", power_w=120_000), evse(2, station="S002"))
    await use_cases.import_locations(town.ctx, rows(station(1), replace(station(2), evses=other)))
    told = await town.told()
    assert [(event.key, event.sequence) for event in told] == [(f"{OPERATOR}*S001", 1), (f"{OPERATOR}*S002", 1), (f"{OPERATOR}*S002", 2)]
    assert [each["power_w"] for each in told[-1].body()["evses"]] == [120_000, 60_000]  # type: ignore[attr-defined]
    assert await town.count(location_version) == 3
    assert await town.count(evse_version) == 5, "one journal row for each EVSE that changed"


async def test_an_evse_that_vanishes_is_removed_and_may_come_back(town: City) -> None:
    """It stays in the table and in the journal, and is in no event."""
    await use_cases.import_locations(town.ctx, rows(station(evses=3)))
    await use_cases.import_locations(town.ctx, rows(station(evses=2)))
    gone = f"{OPERATOR}*S001*S00103"
    async with town.db.read() as tx:
        found = await store.one_evse(tx, gone)
        assert found is not None
        assert found.lifecycle is Lifecycle.REMOVED
        assert "S00103" not in await store.by_connector(tx, OPERATOR, ["S00101", "S00103"])
    assert [len(event.body()["evses"]) for event in await town.told()] == [3, 2]  # type: ignore[arg-type]
    assert (await town.count(evse_table), await town.count(evse_version)) == (3, 4)
    await use_cases.import_locations(town.ctx, rows(station(evses=3)))
    async with town.db.read() as tx:
        assert (await store.by_connector(tx, OPERATOR, ["S00103"]))["S00103"].uid == gone


async def test_the_registry_can_be_read_as_it_was(town: City) -> None:
    """By the instant asked about and by the instant at which it was known; each state names its journal row."""
    before = town.later(minutes=5)
    await use_cases.import_locations(town.ctx, rows(station(1, evses=2), station(2, evses=1)))
    first = town.later(minutes=5)
    changed = replace(station(1, evses=1), state=LocationState.CLOSED)
    await use_cases.import_locations(town.ctx, rows(changed))
    async with town.db.write() as tx:
        await use_cases.set_place_in(tx, town.ctx, station(2).id, "lot-1", source="test")
    now = town.clock.now()
    async with town.db.read() as tx:
        assert await history.locations(tx, before, now) == []
        assert await history.evses(tx, now, before) == []
        then = await history.locations(tx, first, now)
        assert [(each.location_id, each.state, each.place_id, each.version) for each in then] == [
            (f"{OPERATOR}*S001", LocationState.OPEN, None, 1),
            (f"{OPERATOR}*S002", LocationState.OPEN, None, 1),
        ]
        assert [each.lifecycle for each in await history.evses(tx, now, first)] == [Lifecycle.IN_SERVICE] * 3
        present = await history.locations(tx, now, now)
        assert [(each.state, each.place_id, each.version) for each in present] == [
            (LocationState.CLOSED, None, 2),
            (LocationState.OPEN, "lot-1", 2),
        ]
        evses = await history.evses(tx, now, now)
        assert [(each.connector_id, each.lifecycle) for each in evses] == [
            ("S00101", Lifecycle.IN_SERVICE),
            ("S00102", Lifecycle.REMOVED),
            ("S00201", Lifecycle.IN_SERVICE),
        ]
        ids = {row.id for row in await tx.all(evse_version.select())}
        assert {each.row_id for each in evses} <= ids


async def test_republished_events_are_the_ones_that_were_told(town: City) -> None:
    """Same id, sequence, time and bytes; only the newest of each station, also after its car park was confirmed."""
    await use_cases.import_locations(town.ctx, rows(*(station(number) for number in range(1, 6))))
    planned = (*station(4).evses, evse(9, station="S004", lifecycle=Lifecycle.PLANNED, current=Current.AC, bay_no="A-9"))
    await use_cases.import_locations(town.ctx, rows(station(3, evses=1), replace(station(4), evses=planned)))
    async with town.db.write() as tx:
        await use_cases.set_place_in(tx, town.ctx, station(2).id, "lot-1", source="test")
    newest = {event.key: event for event in await town.told()}
    assert {event.key: event for event in await everything(town)} == newest
    assert [event async for event in use_cases.republished(town.ctx, station(2).id)] == [newest[station(2).id]]
    assert [event async for event in use_cases.republished(town.ctx, "nowhere")] == []
    assert newest[station(2).id].body()["place_id"] == "lot-1"
    body = newest[station(4).id].body()
    assert [len(body["evses"]), len(body["planned_evses"])] == [2, 1]  # type: ignore[arg-type]


async def test_a_car_park_is_noted_once_and_survives_an_import(town: City) -> None:
    """The same again changes nothing; an unknown station is refused; taking it away is a version too."""
    await use_cases.import_locations(town.ctx, rows(station()))
    for place_id, version in (("lot-1", 2), ("lot-1", 2), (None, 3)):
        async with town.db.write() as tx:
            await use_cases.set_place_in(tx, town.ctx, station().id, place_id, source="test")
        await use_cases.import_locations(town.ctx, rows(station()))
        read = await town.station(station().id)
        assert (read.place_id, read.version) == (place_id, version)
    async with town.db.write() as tx:
        await use_cases.set_place_in(tx, town.ctx, station().id, "lot-2", source="test")
    await use_cases.import_locations(town.ctx, rows(station(name="新名")))
    assert (await town.station(station().id)).place_id == "lot-2"
    assert (await town.told())[-1].body()["place_id"] == "lot-2"
    with pytest.raises(UnknownLocation):
        async with town.db.write() as tx:
            await use_cases.set_place_in(tx, town.ctx, f"{OPERATOR}*none", "lot-1", source="test")


async def test_a_connector_stands_in_one_station(town: City) -> None:
    """A file's row is rejected with the station that has it; an operator's change is refused; a removed one is free."""
    await use_cases.import_locations(town.ctx, rows(station(1)))
    thief = replace(station(2), evses=(evse(1, station="S001"),))
    report = await use_cases.import_locations(town.ctx, rows(thief, station(3)))
    assert (report.accepted, report.rejected[0].reason) == (1, f"the connector S00101 stands in {OPERATOR}*S001")
    with pytest.raises(ConnectorTaken):
        await use_cases.keep_location(town.ctx, thief, seen_version=None)
    await use_cases.import_locations(town.ctx, rows(station(1, evses=0)))
    assert (await use_cases.keep_location(town.ctx, thief, seen_version=None)).created


async def test_an_operator_changes_only_what_it_has_seen(town: City) -> None:
    """Create, repeat, change with the version seen; stale and blind changes are refused."""
    made = await use_cases.keep_location(town.ctx, station(), seen_version=None)
    assert made.created
    assert not (await use_cases.keep_location(town.ctx, station(), seen_version=None)).created
    closed = station(state=LocationState.CLOSED)
    with pytest.raises(PreconditionRequired):
        await use_cases.keep_location(town.ctx, closed, seen_version=None)
    assert (await use_cases.keep_location(town.ctx, closed, seen_version=1)).location.version == 2
    with pytest.raises(PreconditionFailed):
        await use_cases.keep_location(town.ctx, station(), seen_version=1)
    with pytest.raises(PreconditionFailed):
        await use_cases.keep_location(town.ctx, station(9), seen_version=1)
    assert [event.sequence for event in await town.told()] == [1, 2]


async def test_what_cannot_be_true_leaves_nothing(town: City) -> None:
    """Outside the city, or half of a unit that failed."""
    with pytest.raises(InvalidLocation, match="outside the bounds"):
        await use_cases.keep_location(town.ctx, station(position=Position(121.5, 25.0)), seen_version=None)
    with pytest.raises(RuntimeError):
        async with town.db.write() as tx:
            assert len(await use_cases.put_in(tx, town.ctx, [station()], source="test")) == 1
            raise RuntimeError
    assert (await town.count(location), await town.count(evse_table)) == (0, 0)
    assert await town.told() == []


async def test_stations_are_found_by_distance_and_in_pages(town: City) -> None:
    """The nearest first, never one beyond the radius; pages behind an id, of one operator or all."""
    east = [station(number, position=Position(CENTRE.lon + number / 1000, CENTRE.lat)) for number in range(1, 8)]
    foreign = replace(station(1), operator_id="888000001")
    await use_cases.import_locations(town.ctx, rows(*east, foreign))
    async with town.db.read() as tx:
        found = await store.near(tx, CENTRE, radius_m=300, most=10)
        assert [(metres, one.facts.station_id) for metres, one in found] == [(0, "S001"), (86, "S001"), (171, "S002"), (257, "S003")]
        assert [len(one.facts.evses) for _, one in found] == [2] * 4
        assert [one.id for _, one in await store.near(tx, CENTRE, radius_m=300, most=1)] == [foreign.id]
        assert [one.facts.station_id for _, one in await store.near(tx, CENTRE, radius_m=200, most=9, operator_id=OPERATOR)] == [
            "S001",
            "S002",
        ]
        first = await store.page(tx, after="", most=5)
        rest = await store.page(tx, after=first[-1].id, most=5)
        assert [one.id for one in first + rest] == sorted(one.id for one in (*east, foreign))
        assert len(await store.page(tx, after="", most=10, operator_id=OPERATOR)) == 7


async def test_a_station_has_the_district_of_the_polygons(url: str, tmp_path: Path) -> None:
    """Else its source's own word."""
    square = [[109.7, 39.5], [109.8, 39.5], [109.8, 39.6], [109.7, 39.6], [109.7, 39.5]]
    polygon = {"type": "Polygon", "coordinates": [square]}
    feature = {"type": "Feature", "properties": {"id": "d9", "name": "九区"}, "geometry": polygon}
    await make_tables(url)
    known = districts.read(orjson.dumps({"type": "FeatureCollection", "features": [feature]}))
    async with city(url, tmp_path, districts=known) as town:
        outside = station(2, district="x", position=Position(109.85, 39.565))
        await use_cases.import_locations(town.ctx, rows(station(1, district="x"), outside))
        assert (await town.station(station(1).id)).facts.district == "d9"
        assert (await town.station(station(2).id)).facts.district == "x"
