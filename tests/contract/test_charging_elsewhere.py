"""The figures are of the jurisdiction: what another city's files bring is there, and counts for nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from cityloop_charging.bays import use_cases
from cityloop_charging.bays.domain import By, Decider
from cityloop_charging.bays.views import PlaceView
from cityloop_charging.indicators.figures import FIGURES
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.domain import Accepted
from cityloop_charging.vehicles import use_cases as vehicles
from cityloop_charging.vehicles.domain import Drive, Statement, VehicleClass, VehicleCount
from cityloop_common.envelope import EventType, Kind
from cityloop_common.geo import Position
from cityloop_common.indicator import When
from cityloop_common.indicator.evaluating import asked, evaluate
from tests.contract.charging_support import CENTRE, City, city, make_tables, station

PUBLISHED = EventType("parking.place.published.v1", "parking.place", Kind.STATE, PlaceView)
BY = By(Decider.OFFICER, "someone")
SHENZHEN = Position(114.06, 22.54)


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """A station and a car park in the city, and the same in another one, both pairs confirmed."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        elsewhere = replace(station(2, evses=5), position=SHENZHEN)
        await registry.import_locations(opened.ctx, [Accepted(1, station(1)), Accepted(2, elsewhere)])
        for place_id, at, location_id in (("here", CENTRE, station(1).id), ("there", SHENZHEN, elsewhere.id)):
            view = PlaceView(
                place_id=place_id, name=place_id, access="public", state="open", kind="surface", lon=at.lon, lat=at.lat, total_bays=20
            )
            event = PUBLISHED.event(view, id=place_id, key=place_id, sequence=1, time=opened.clock.now(), source="/cityloop/parking")
            async with opened.db.write() as tx:
                await use_cases.on_place(tx, opened.ctx, event, view)
            await use_cases.confirm(opened.ctx, location_id, place_id, BY)
        cars = VehicleCount(VehicleClass.PASSENGER, Drive.BEV, True, 9)
        await vehicles.state(opened.ctx, Statement(date(2026, 1, 1), "police", (cars,)))
        opened.later(minutes=2)
        yield opened


async def figures(town: City) -> dict[str, tuple[int, int, dict[str, str]]]:
    """Numerator, denominator and why of each figure's headline."""
    found = {}
    for each in FIGURES.indicators:
        known_at = town.clock.now() - timedelta(minutes=1)
        said = (await evaluate(town.ctx, each, asked(town.ctx, each, When(known_at=known_at))))[each.headline.id]
        found[each.name] = (said.total.numerator, said.total.denominator, {row.key: row.why for row in said.rows})
    return found


async def test_no_figure_counts_what_lies_elsewhere(town: City) -> None:
    """Two points and twenty bays of ours; the other city's are listed, and say why they count for nothing."""
    found = await figures(town)
    assert found["ev-bay-share"] == (2, 20, {"here": "counted", "there": "elsewhere"})
    assert found["facilities"][:2] == (2, 1)
    assert found["pile-ratio"][:2] == (2, 9)
    for name in ("facilities", "pile-ratio"):
        whys = [why for key, why in found[name][2].items() if key.startswith(station(2).id)]
        assert whys == ["elsewhere"] * 5


async def test_a_station_that_moves_into_the_city_counts_from_then_on(town: City) -> None:
    """Where it lies is a fact of its version."""
    await registry.keep_location(town.ctx, station(2, evses=5), seen_version=2)
    assert (await figures(town))["facilities"][:2] == (2, 1)
    town.later(minutes=2)
    assert (await figures(town))["facilities"][:2] == (7, 1)
