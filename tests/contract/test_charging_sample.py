"""Laws of charging's invented sample, the same on every database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from cityloop_charging import sample
from cityloop_charging.bays import use_cases as bays
from cityloop_charging.bays.domain import By, Decider, LinkState
from cityloop_charging.bays.tables import link_version
from cityloop_charging.bays.views import PlaceView
from cityloop_charging.operators import use_cases as operators
from cityloop_charging.registry import store as registry
from cityloop_charging.registry.domain import Access, Lifecycle
from cityloop_charging.registry.tables import location_version
from cityloop_charging.vehicles import use_cases as vehicles
from cityloop_charging.vehicles.tables import vehicle_registration
from cityloop_common import districts, invented
from cityloop_common.envelope import EventType, Kind
from cityloop_common.settings import SharedSettings
from tests.contract.charging_support import City, city, make_tables

PUBLISHED = EventType("parking.place.published.v1", "parking.place", Kind.STATE, PlaceView)


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """The sample, seeded into an empty city with the invented districts."""
    await make_tables(url)
    async with city(url, tmp_path, districts=districts.from_settings(SharedSettings())) as opened:
        await sample.seed(opened.ctx)
        yield opened


async def hear_car_parks(town: City) -> None:
    """What parking's sample publishes of the sixty car parks, as far as this room reads it."""
    for spot in invented.car_parks():
        id = f"sample-{spot.number:03d}"
        view = PlaceView(
            place_id=id, name=spot.name, name_en=spot.name_en, access="public", state="open", kind="surface",
            lon=spot.position.lon, lat=spot.position.lat, total_bays=100, ev_bays=10,
        )  # fmt: skip
        event = PUBLISHED.event(view, id=f"{id}-1", key=id, sequence=1, time=town.clock.now(), source="/cityloop/parking")
        async with town.db.write() as tx:
            await bays.on_place(tx, town.ctx, event, view)


async def state_of(town: City, state: LinkState) -> dict[str, str]:
    found = await bays.links(town.ctx, state=state, after="", most=100)
    return {each.link.location_id.split("*")[1]: each.link.place_id for each in found}


async def test_forty_stations_stand_in_their_districts(town: City) -> None:
    """Two to twelve EVSEs each but station 7, which has one; public ones and compounds; some bays are numbered, one is planned."""
    async with town.db.read() as tx:
        stations = await registry.page(tx, after="", most=100)
    assert len(stations) == 40
    assert all(each.facts.district and each.facts.invented and "虚构" in each.facts.name for each in stations)
    assert {each.facts.access for each in stations} == {Access.PUBLIC, Access.COMPOUND}
    counts = {each.facts.station_id: len(each.facts.evses) for each in stations}
    assert counts.pop("S007") == 1
    assert 2 <= min(counts.values()) <= max(counts.values()) <= 12
    evses = [each for station in stations for each in station.facts.evses]
    assert 50 < sum(each.bay_no is not None for each in evses) < 200
    assert sum(each.lifecycle is Lifecycle.PLANNED for each in evses) == 1


async def test_24_links_are_confirmed_and_the_rest_is_proposed_once_parking_is_heard(town: City) -> None:
    """The scoring finds for each of the six the car park that it stands in, for those alone none."""
    assert len(await state_of(town, LinkState.CONFIRMED)) == 24
    assert await state_of(town, LinkState.PROPOSED) == {}
    await hear_car_parks(town)
    proposed = await state_of(town, LinkState.PROPOSED)
    assert proposed == {
        "S007": "sample-009",
        "S013": "sample-013",
        "S018": "sample-018",
        "S026": "sample-025",
        "S033": "sample-033",
        "S037": "sample-040",
    }
    assert len(await state_of(town, LinkState.CONFIRMED)) == 24
    assert len(await bays.unlinked(town.ctx, after="", most=100)) == 16


async def test_seeding_again_changes_nothing_that_somebody_did(town: City) -> None:
    """A second start writes no row; a link that was withdrawn, secrets that were rotated and a stock that was corrected stay."""
    vault = operators.open_vault(town.ctx)
    location_id, place_id = next(sample.confirmed())
    async with town.db.write() as tx:
        await bays.withdraw_in(tx, town.ctx, location_id, place_id, By(Decider.OFFICER))
    await operators.rotate(town.ctx, vault, sample.OPERATOR)
    before = [await town.count(table) for table in (link_version, location_version, vehicle_registration)]
    await sample.seed(town.ctx)
    assert [await town.count(table) for table in (link_version, location_version, vehicle_registration)] == before
    assert len(await state_of(town, LinkState.CONFIRMED)) == 23
    assert [each.version for each in await operators.everyone(town.ctx)] == [2]


async def test_2600_standard_vehicles_are_registered_over_the_districts(town: City) -> None:
    """And 60 that are not standard."""
    stock = await vehicles.newest(town.ctx, None)
    assert sum(each.vehicles for each in stock.statement.counts if each.standard) == 2600
    assert sum(each.vehicles for each in stock.statement.counts) == 2660
    assert {each.district for each in stock.statement.counts} == {each.id for each in town.ctx.districts}


async def test_the_newest_event_of_a_station_has_its_car_park(town: City) -> None:
    """Of the 24 that are confirmed, and of no other."""
    newest = {event.key: event.body() for event in await town.told()}
    assert sum("place_id" in body for body in newest.values()) == 24
    async with town.db.read() as tx:
        rows = await tx.scalar(select(func.count()).select_from(location_version))
    assert rows == 64, "40 stations, 24 of them told of again"
