"""Laws of registered vehicles, the same on every database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from cityloop_charging.vehicles import store, use_cases
from cityloop_charging.vehicles.domain import Drive, InvalidStock, Statement, UnknownStock, VehicleClass, VehicleCount
from cityloop_charging.vehicles.tables import vehicle_registration
from cityloop_common.clock import city_day, day_begins
from tests.contract.charging_support import City, city, make_tables

CARS = VehicleCount(VehicleClass.PASSENGER, Drive.BEV, True, 2000)
HYBRIDS = VehicleCount(VehicleClass.PASSENGER, Drive.PHEV, True, 500, "d1")
BUSES = VehicleCount(VehicleClass.BUS, Drive.BEV, False, 40)


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


def day(town: City, back: int = 0) -> date:
    """So many days before the city's today."""
    return city_day(town.clock.now()) - timedelta(days=back)


def stock(on: date, *counts: VehicleCount) -> Statement:
    return Statement(on, "police", counts)


async def test_the_newest_stated_day_holds_until_the_next(town: City) -> None:
    """Not a later one, and none before the first."""
    await use_cases.state(town.ctx, stock(day(town, 9), CARS))
    await use_cases.state(town.ctx, stock(day(town, 3), BUSES, CARS))
    assert (await use_cases.newest(town.ctx, None)).statement == stock(day(town, 3), BUSES, CARS)
    assert (await use_cases.newest(town.ctx, day(town, 4))).statement == stock(day(town, 9), CARS)
    with pytest.raises(UnknownStock):
        await use_cases.newest(town.ctx, day(town, 10))


async def test_a_second_statement_for_a_day_corrects_row_by_row(town: City) -> None:
    """Each new row names the row that it corrects; what is left out becomes 0; nothing is updated or deleted."""
    on = day(town, 3)
    first = await use_cases.state(town.ctx, stock(on, CARS, HYBRIDS))
    second = await use_cases.state(town.ctx, stock(on, replace(CARS, vehicles=1900), BUSES))
    assert (first.version, second.version) == (1, 2)
    async with town.db.read() as tx:
        rows = await tx.all(vehicle_registration.select().order_by(vehicle_registration.c.id))
    was = {(row.vehicle_class, row.drive): row.id for row in rows[:2]}
    assert [(row.vehicle_class, row.drive, row.vehicles, row.corrects) for row in rows[2:]] == [
        ("bus", "bev", 40, None),
        ("passenger", "bev", 1900, was["passenger", "bev"]),
        ("passenger", "phev", 0, was["passenger", "phev"]),
    ]
    assert {row.happened_at for row in rows} == {day_begins(on)}, "it holds from the local day's beginning"
    third = await use_cases.state(town.ctx, stock(on, CARS))
    assert third.version == 3
    assert sum(each.vehicles for each in third.statement.counts) == 2000


async def test_the_same_statement_again_changes_nothing(town: City) -> None:
    """Also when it names what was corrected to 0, or leaves it out."""
    on = day(town)
    await use_cases.state(town.ctx, stock(on, CARS, BUSES))
    await use_cases.state(town.ctx, stock(on, CARS))
    rows = await town.count(vehicle_registration)
    for again in (stock(on, CARS), stock(on, CARS, replace(BUSES, vehicles=0))):
        assert (await use_cases.state(town.ctx, again)).version == 2
    assert await town.count(vehicle_registration) == rows


async def test_the_stock_can_be_read_as_it_was(town: City) -> None:
    """By the instant asked about and by the instant at which it was known."""
    on = day(town, 3)
    nothing = town.later(minutes=1)
    await use_cases.state(town.ctx, stock(on, CARS, HYBRIDS))
    first = town.later(minutes=1)
    await use_cases.state(town.ctx, stock(on, BUSES))
    second = town.later(minutes=1)
    await use_cases.state(town.ctx, stock(day(town, 1), CARS))
    now = town.clock.now()
    async with town.db.read() as tx:

        async def counted(at_day: int, known_at: object) -> list[int]:
            at = day_begins(day(town, at_day))
            return [each.count.vehicles for each in await store.as_of(tx, at, known_at)]  # type: ignore[arg-type]

        assert await counted(4, now) == []
        assert await counted(3, nothing) == []
        assert await counted(3, first) == [2000, 500]
        assert await counted(2, second) == [40, 0, 0]
        assert await counted(0, second) == [40, 0, 0]
        assert await counted(0, now) == [2000]
        found = await store.as_of(tx, now, now)
        assert (found[0].on, found[0].count) == (day(town, 1), CARS)


async def test_statements_at_once_for_one_day_follow_each_other(town: City) -> None:
    """Each corrects the one before it: no two are version 1, and every row but the first is a correction."""
    on = day(town)
    stated = [stock(on, replace(CARS, vehicles=number)) for number in range(1, 9)]
    made = await asyncio.gather(*(use_cases.state(town.ctx, each) for each in stated))
    assert sorted(each.version for each in made) == list(range(1, 9))
    async with town.db.read() as tx:
        rows = await tx.all(vehicle_registration.select())
    corrected = [row.corrects for row in rows if row.corrects is not None]
    assert len(corrected) == len(set(corrected)) == 7


async def test_what_cannot_be_true_leaves_nothing(town: City) -> None:
    """Tomorrow's stock is refused."""
    with pytest.raises(InvalidStock):
        await use_cases.state(town.ctx, stock(day(town, -1), CARS))
    assert await town.count(vehicle_registration) == 0
