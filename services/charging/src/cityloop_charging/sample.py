"""The invented sample: forty charging stations of the invented city, one operator, and the cars that are registered there.

Everything here is made up and says so (`invented`); the same in every installation. What a person changes of it stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cache

from cityloop_charging.bays import store as links
from cityloop_charging.bays.domain import By, Decider
from cityloop_charging.bays.use_cases import confirm_in
from cityloop_charging.context import ChargingCtx
from cityloop_charging.operators import store as operators
from cityloop_charging.operators.use_cases import NewOperator, add_in, open_vault
from cityloop_charging.registry import store as registry
from cityloop_charging.registry.domain import Access, Current, EvseFacts, Lifecycle, LocationFacts
from cityloop_charging.registry.use_cases import put_in
from cityloop_charging.vehicles import store as vehicles
from cityloop_charging.vehicles.domain import Drive, Statement, VehicleClass, VehicleCount
from cityloop_charging.vehicles.use_cases import state_in
from cityloop_common import invented
from cityloop_common.clock import city_day
from cityloop_common.db import WriteTx
from cityloop_common.invented import Spot
from cityloop_common.rng import Rng

SOURCE = "sample"
OPERATOR = "999000001"
OPERATOR_NAME = "示例充电运营商（虚构）"
SINGLE = 7  # the station with one EVSE and one bay: what confirming its link moves can be counted on one finger
NOT_CONFIRMED = frozenset((SINGLE, 13, 18, 26, 33, 37))  # of those in car parks: somebody has to decide
PLANNED_AT = 12
_REGISTERED = (
    # class, drive, whether they are standard vehicles, vehicles
    (VehicleClass.PASSENGER, Drive.BEV, True, 1480),
    (VehicleClass.PASSENGER, Drive.PHEV, True, 760),
    (VehicleClass.BUS, Drive.BEV, True, 140),
    (VehicleClass.TRUCK, Drive.BEV, True, 220),
    (VehicleClass.OTHER, Drive.BEV, False, 60),
)


@cache
def invented_stations() -> tuple[LocationFacts, ...]:
    """The stations of the sample."""
    return tuple(_facts(spot) for spot in invented.stations())


def confirmed() -> Iterator[tuple[str, str]]:
    """Station and car park of the links that are confirmed from the beginning; parking's sample gives the car parks their ids."""
    for spot, facts in zip(invented.stations(), invented_stations(), strict=True):
        if spot.car_park is not None and spot.number not in NOT_CONFIRMED:
            yield facts.id, f"sample-{spot.car_park:03d}"


async def seed(ctx: ChargingCtx) -> None:
    """Makes what is not there yet: the operator, its stations, their links, the registered vehicles."""
    vault = open_vault(ctx)
    async with ctx.db.write() as tx:
        if await operators.get(tx, OPERATOR) is None:
            await add_in(tx, ctx, vault, NewOperator(OPERATOR, OPERATOR_NAME))
        missing = [facts for facts in invented_stations() if await registry.get(tx, facts.id) is None]
        await put_in(tx, ctx, missing, source=SOURCE)
        for location_id, place_id in confirmed():
            if await links.hold_link(tx, location_id) is None:
                await confirm_in(tx, ctx, location_id, place_id, By(Decider.SAMPLE))
        await _register(tx, ctx, ctx.clock.now())


async def _register(tx: WriteTx, ctx: ChargingCtx, now: datetime) -> None:
    """The stock since the first of the month, spread over the districts."""
    on = city_day(now).replace(day=1)
    if await vehicles.newest(tx, city_day(now)) is not None:
        return
    districts = [each.id for each in ctx.districts] or [None]
    counts = [
        VehicleCount(vehicle_class, drive, standard, total // len(districts) + (index < total % len(districts)), district)
        for vehicle_class, drive, standard, total in _REGISTERED
        for index, district in enumerate(districts)
    ]
    await state_in(tx, ctx, Statement(on, SOURCE, tuple(counts)))


def _facts(spot: Spot) -> LocationFacts:
    station_id = f"S{spot.number:03d}"
    evses = tuple(_evses(spot, station_id))
    bays = {each.bay_no for each in evses if each.bay_no} or evses
    return LocationFacts(
        operator_id=OPERATOR,
        station_id=station_id,
        name=spot.name,
        name_en=spot.name_en,
        position=spot.position,
        evses=evses,
        access=Access.COMPOUND if "小区" in spot.name else Access.PUBLIC,
        bay_count=len(bays),
        invented=True,
    )


def _evses(spot: Spot, station_id: str) -> Iterator[EvseFacts]:
    """Two to twelve, fast or slow; every third station knows its bays, and where they are many two EVSEs share the last one."""
    chance = Rng(SOURCE).stream(f"station/{spot.number}")
    count = 1 if spot.number == SINGLE else chance.randint(2, 12)
    fast = chance.random() < 0.5
    numbered = spot.number % 3 == 1
    for index in range(1, count + 1):
        bay = min(index, count - 1) if count > 6 else index
        yield EvseFacts(
            connector_id=f"{station_id}{index:02d}",
            power_w=chance.choice((60_000, 120_000)) if fast else 7_000,
            current=Current.DC if fast else Current.AC,
            bay_no=f"E{bay:02d}" if numbered else None,
            lifecycle=Lifecycle.PLANNED if spot.number == PLANNED_AT and index == count else Lifecycle.IN_SERVICE,
        )
