"""Replicas' clocks differ: what a journal says last is the last version, the same on every database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cityloop_charging.bays import history as bays
from cityloop_charging.bays import use_cases
from cityloop_charging.bays.views import PlaceView
from cityloop_charging.registry import history
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.domain import Lifecycle, LocationState
from cityloop_common.envelope import EventType, Kind
from tests.contract.charging_support import CENTRE, City, city, make_tables, station

PUBLISHED = EventType("parking.place.published.v1", "parking.place", Kind.STATE, PlaceView)
FAST, SLOW = timedelta(seconds=2), timedelta(seconds=-2)
LATER = timedelta(minutes=1)


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """A city with one station of two EVSEs."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        await registry.keep_location(opened.ctx, station(1), seen_version=None)
        yield opened


async def test_the_last_version_of_a_station_is_the_newest_though_its_clock_was_behind(town: City) -> None:
    """One replica closes a station, another one opens it again a moment later by a clock four seconds behind."""
    town.clock.by += FAST
    await registry.keep_location(town.ctx, replace(station(1), state=LocationState.CLOSED), seen_version=1)
    town.clock.by += SLOW + SLOW
    await registry.keep_location(town.ctx, station(1), seen_version=2)
    soon = town.clock.now() + LATER
    async with town.db.read() as tx:
        [found] = await history.locations(tx, soon, soon)
    assert (found.version, found.state) == (3, LocationState.OPEN)


async def test_an_evse_that_came_back_is_there_though_the_clock_was_behind(town: City) -> None:
    """One replica removes an EVSE, another one puts it back by a clock four seconds behind."""
    whole = station(1)
    town.clock.by += FAST
    await registry.keep_location(town.ctx, replace(whole, evses=whole.evses[:1]), seen_version=1)
    town.clock.by += SLOW + SLOW
    await registry.keep_location(town.ctx, whole, seen_version=2)
    soon = town.clock.now() + LATER
    async with town.db.read() as tx:
        found = await history.evses(tx, soon, soon)
    assert [each.lifecycle for each in found] == [Lifecycle.IN_SERVICE] * 2


async def test_the_last_version_of_a_car_park_is_the_newest_though_parkings_clock_was_behind(town: City) -> None:
    """Two replicas of parking, two versions, the later one stamped earlier."""
    facts = {"place_id": "P1", "name": "P1", "access": "public", "kind": "surface", "lon": CENTRE.lon, "lat": CENTRE.lat, "total_bays": 9}
    now = town.clock.now()
    for sequence, state, at in ((1, "open", now - LATER), (2, "closed", now + FAST), (3, "open", now + SLOW)):
        view = PlaceView.model_validate({**facts, "state": state})
        event = PUBLISHED.event(view, id=f"P1-{sequence}", key="P1", sequence=sequence, time=at, source="/cityloop/parking")
        async with town.db.write() as tx:
            await use_cases.on_place(tx, town.ctx, event, view)
    soon = now + LATER
    async with town.db.read() as tx:
        [found] = await bays.places(tx, soon, soon)
    assert found.state == "open"
