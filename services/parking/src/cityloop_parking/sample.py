"""The invented sample: the sixty car parks of the invented city, which do not exist, and cars that come and go in them.

Everything here is made up and says so (`invented`); the same in every installation.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import cache

from cityloop_common import invented
from cityloop_common.clock import CITY_TZ
from cityloop_common.invented import Spot
from cityloop_common.rng import Rng
from cityloop_parking.context import ParkingCtx
from cityloop_parking.observations import use_cases as observations
from cityloop_parking.observations.domain import Count, Observation
from cityloop_parking.observations.use_cases import Report
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Access, Category, PlaceFacts, PlaceKind, Pool

SOURCE = "sample"
OPERATOR = "sample-operator"
COUNT_EVERY_S = 60.0
MOST_COUNTS = 500_000  # about two days of a live sample; then it stays as it is
NOT_COUNTED = 60  # the number of the one that has no counter, so that a figure shows what is missing

_FIRST = (
    # standard, ev and accessible bays of the car parks that the city began with
    (180, 28, 6), (420, 64, 12), (46, 0, 2), (650, 98, 18), (240, 24, 20), (310, 48, 8),
    (520, 40, 14), (38, 0, 2), (200, 30, 6), (380, 57, 10), (24, 0, 1), (460, 70, 12),
)  # fmt: skip
_STANDARD = {PlaceKind.GARAGE: (160, 480), PlaceKind.SURFACE: (70, 280), PlaceKind.ON_STREET: (18, 56)}


@cache
def invented_places() -> tuple[PlaceFacts, ...]:
    """The car parks of the sample."""
    charged = {station.car_park for station in invented.stations()}
    return tuple(_facts(spot, charges=spot.number in charged) for spot in invented.car_parks())


def _facts(spot: Spot, *, charges: bool) -> PlaceFacts:
    kind = _kind(spot)
    return PlaceFacts(
        source=SOURCE,
        source_id=f"{spot.number:03d}",
        name=spot.name,
        name_en=spot.name_en,
        position=spot.position,
        pools=_pools(*(_FIRST[spot.number - 1] if spot.number <= len(_FIRST) else _bays(spot.number, kind, charges=charges))),
        kind=kind,
        access=Access.PERMIT if "小区" in spot.name else Access.PUBLIC,
        jurisdiction="伊金霍洛旗",
        service_hours="00:00-24:00",
        invented=True,
    )


def _kind(spot: Spot) -> PlaceKind:
    if spot.kerbside:
        return PlaceKind.ON_STREET
    return PlaceKind.GARAGE if "地下车库" in spot.name or "停车楼" in spot.name else PlaceKind.SURFACE


def _bays(number: int, kind: PlaceKind, *, charges: bool) -> tuple[int, int, int]:
    """Standard, ev and accessible bays; along a street there are some for charging only where a station stands."""
    chance = Rng(SOURCE).stream(f"bays/{number}")
    standard = chance.randint(*_STANDARD[kind])
    if kind is PlaceKind.ON_STREET:
        return standard, chance.randint(4, 8) if charges else 0, 1 + standard // 30
    return standard, round(standard * chance.uniform(0.08, 0.18)), max(2, standard // 32)


def _pools(standard: int, ev: int, accessible: int) -> tuple[Pool, ...]:
    wanted = {Category.STANDARD: standard, Category.EV: ev, Category.ACCESSIBLE: accessible}
    return tuple(Pool(category, count, walk_in_reserve=count // 5) for category, count in wanted.items() if count)


async def seed(ctx: ParkingCtx) -> None:
    """Makes the car parks and a first count for all but one."""
    async with ctx.db.write() as tx:
        for facts in invented_places():
            await places.upsert_place_in(tx, ctx, facts, operator_id=OPERATOR)
    await _count_all(ctx)


async def keep_alive(ctx: ParkingCtx) -> None:
    """Counts the car parks once a minute until the sample has reached its size."""
    while await observations.counts_from(ctx, SOURCE) < MOST_COUNTS:
        await ctx.clock.sleep(COUNT_EVERY_S)
        await _count_all(ctx)
    while True:
        await ctx.clock.sleep(3600)


async def _count_all(ctx: ParkingCtx) -> None:
    """One unit for all: a car park that has become another's, or is gone, stops no other."""
    now = ctx.clock.now()
    counted = [facts for facts in invented_places() if facts.source_id != f"{NOT_COUNTED:03d}"]
    await observations.record_many(ctx, [Report(facts.id, _observation(facts, now)) for facts in counted])


def _observation(facts: PlaceFacts, now: datetime) -> Observation:
    """How full it is: a day's rhythm, and chance that is the same for the same place and minute."""
    chance = Rng(SOURCE).stream(f"{facts.id}/{now:%Y%m%d%H%M}")
    hour = now.astimezone(CITY_TZ).hour + now.minute / 60
    rhythm = 0.55 + 0.35 * math.sin((hour - 8) / 24 * 2 * math.pi)
    counts = tuple(
        Count(pool.category, occupied=min(pool.capacity, max(0, round(pool.capacity * (rhythm + chance.uniform(-0.08, 0.08))))))
        for pool in facts.pools
    )
    return Observation(observed_at=now - timedelta(seconds=chance.randrange(20)), source=SOURCE, counts=counts, interval_s=120)
