"""Two replicas of charging whose clocks differ: the journals say what the tables say, and the figures with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from cityloop_charging.bays import history as bays
from cityloop_charging.bays import use_cases
from cityloop_charging.bays.domain import By, Decider, LinkState
from cityloop_charging.bays.tables import link, link_version
from cityloop_charging.bays.views import PlaceView
from cityloop_charging.indicators.figures import EV_BAY_SHARE
from cityloop_charging.registry import history
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.tables import evse_version, location, location_version
from cityloop_charging.vehicles import store as stocks
from cityloop_charging.vehicles import use_cases as vehicles
from cityloop_charging.vehicles.domain import Drive, Statement, VehicleClass, VehicleCount
from cityloop_common.clock import city_day
from cityloop_common.envelope import EventType, Kind
from cityloop_common.indicator import When
from cityloop_common.indicator.evaluating import asked, evaluate
from tests.contract.charging_support import CENTRE, City, city, make_tables, station

PUBLISHED = EventType("parking.place.published.v1", "parking.place", Kind.STATE, PlaceView)
BY = By(Decider.OFFICER, "someone")
S1 = station(1).id


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replicas of one city: the clock of the one is 2 s fast, that of the other 2 s slow."""

    fast: City
    slow: City

    def soon(self) -> datetime:
        """An instant after everything that either has written."""
        now: datetime = self.slow.clock.now()
        return now + timedelta(minutes=1)


@pytest.fixture
async def pair(url: str, tmp_path: Path) -> AsyncIterator[Pair]:
    """A station with two EVSEs, and a car park of ten bays that was there before."""
    await make_tables(url)
    async with AsyncExitStack() as stack:
        fast, slow = [await stack.enter_async_context(city(url, tmp_path)) for _ in range(2)]
        for each, seconds in ((fast, 2), (slow, -2)):
            each.clock.by = timedelta(seconds=seconds)
        await registry.keep_location(slow.ctx, station(1), seen_version=None)
        view = PlaceView(
            place_id="P1", name="P1", access="public", state="open", kind="surface", lon=CENTRE.lon, lat=CENTRE.lat, total_bays=10
        )
        at = slow.clock.now() - timedelta(hours=1)
        event = PUBLISHED.event(view, id="P1-1", key="P1", sequence=1, time=at, source="/cityloop/parking")
        async with slow.db.write() as tx:
            await use_cases.on_place(tx, slow.ctx, event, view)
        yield Pair(fast, slow)


async def test_a_station_changed_by_one_and_confirmed_by_the_other_counts(pair: Pair) -> None:
    """The change is stamped four seconds later than the confirmation that follows it; the bays count all the same."""
    await registry.keep_location(pair.fast.ctx, station(1, name="新名字充电站"), seen_version=1)
    await use_cases.confirm(pair.slow.ctx, S1, "P1", BY)
    soon = pair.soon()
    async with pair.slow.db.read() as tx:
        [found] = await history.locations(tx, soon, soon)
    assert (found.version, found.place_id, found.name) == (3, "P1", "新名字充电站")
    assert found.place_id == (await pair.slow.station(S1)).place_id
    pair.slow.later(minutes=1)
    shares = await evaluate(pair.slow.ctx, EV_BAY_SHARE, asked(pair.slow.ctx, EV_BAY_SHARE, When(known_at=pair.slow.clock.now())))
    assert (shares["all"].total.numerator, shares["all"].total.denominator) == (2, 10)
    async with pair.slow.db.read() as tx:
        decision = await tx.scalar(select(link_version.c.id).where(link_version.c.state == "confirmed"))
    [row] = shares["all"].rows
    assert row.evidence["decided_by"] == {S1: "officer"}
    assert decision in row.evidence["rows"], "the row names the decision that it rests on"  # type: ignore[operator]
    assert "someone" not in str(row.evidence), "and no person"


async def test_changes_of_a_station_happen_one_after_the_other(pair: Pair) -> None:
    """Whoever made them: in the journal, in the table and in the events; when they were learnt is each replica's own clock."""
    await registry.keep_location(pair.fast.ctx, station(1, evses=1), seen_version=1)
    await registry.keep_location(pair.slow.ctx, station(1, evses=2), seen_version=2)
    await use_cases.confirm(pair.slow.ctx, S1, "P1", BY)
    async with pair.slow.db.read() as tx:
        rows = await tx.all(select(location_version).order_by(location_version.c.version))
        evses = await tx.all(select(evse_version).where(evse_version.c.evse_uid == f"{S1}*S00102").order_by(evse_version.c.version))
        updated_at = await tx.scalar(select(location.c.updated_at))
    happened = [row.happened_at for row in rows]
    assert happened == sorted(set(happened))
    assert happened[-1] == updated_at
    assert rows[2].recorded_at < rows[1].recorded_at
    assert [(row.version, row.lifecycle, row.happened_at) for row in evses] == [
        (version, lifecycle, happened[version - 1]) for version, lifecycle in ((1, "in_service"), (2, "removed"), (3, "in_service"))
    ]
    told = [event.time for event in await pair.slow.told()]
    assert told == happened


async def test_the_last_decision_on_a_link_is_the_newest(pair: Pair) -> None:
    """Confirmed by the fast one, withdrawn by the slow one, confirmed again."""
    await use_cases.confirm(pair.fast.ctx, S1, "P1", BY)
    async with pair.slow.db.write() as tx:
        taken = await use_cases.withdraw_in(tx, pair.slow.ctx, S1, "P1", BY)
    soon = pair.soon()
    async with pair.slow.db.read() as tx:
        assert [each.state for each in await bays.links(tx, soon, soon)] == [LinkState.WITHDRAWN]
    async with pair.slow.db.write() as tx:
        assert await use_cases.withdraw_in(tx, pair.slow.ctx, S1, "P1", BY) == taken
    again = await use_cases.confirm(pair.slow.ctx, S1, "P1", BY)
    async with pair.slow.db.read() as tx:
        rows = await tx.all(select(link_version).order_by(link_version.c.version))
        [now] = await tx.all(select(link))
    assert [(row.version, row.state) for row in rows][-3:] == [(2, "confirmed"), (3, "withdrawn"), (4, "confirmed")]
    assert (now.version, now.happened_at) == (4, again.happened_at)
    happened = [row.happened_at for row in rows]
    assert happened == sorted(set(happened))


async def test_the_last_statement_of_a_day_holds(pair: Pair) -> None:
    """Corrected by the slow one after the fast one stated it."""
    on = city_day(pair.slow.clock.now()) - timedelta(days=1)
    cars = VehicleCount(VehicleClass.PASSENGER, Drive.BEV, True, 2000)
    await vehicles.state(pair.fast.ctx, Statement(on, "police", (cars,)))
    corrected = await vehicles.state(pair.slow.ctx, Statement(on, "police", (replace(cars, vehicles=1900),)))
    soon = pair.soon()
    async with pair.slow.db.read() as tx:
        found = await stocks.as_of(tx, soon, soon)
    assert (corrected.version, [each.count.vehicles for each in found]) == (2, [1900])
