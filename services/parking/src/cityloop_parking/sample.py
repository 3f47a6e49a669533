"""The invented sample: twelve car parks of 阿勒腾席热镇 that do not exist, and cars that come and go in them.

Everything here is made up and says so (`invented`); the same in every installation.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from cityloop_common.clock import CITY_TZ
from cityloop_common.geo import Position
from cityloop_common.rng import Rng
from cityloop_parking.context import ParkingCtx
from cityloop_parking.observations import use_cases as observations
from cityloop_parking.observations.domain import Count, Observation
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Category, PlaceFacts, PlaceKind, Pool

SOURCE = "sample"
OPERATOR = "sample-operator"
COUNT_EVERY_S = 60.0
MOST_COUNTS = 200_000  # about 12 days of a live sample; then it stays as it is

_PLACES = (
    # name, English name, kind, longitude, latitude, standard, ev, accessible
    ("文化广场停车场（虚构）", "Culture Square (invented)", PlaceKind.SURFACE, 109.7871, 39.5652, 180, 28, 6),
    ("母亲公园地下车库（虚构）", "Mother Park Garage (invented)", PlaceKind.GARAGE, 109.7936, 39.5618, 420, 64, 12),
    ("可汗街路侧泊位（虚构）", "Khan Street kerbside (invented)", PlaceKind.ON_STREET, 109.7845, 39.5671, 46, 0, 2),
    ("体育中心停车楼（虚构）", "Sports Centre Deck (invented)", PlaceKind.GARAGE, 109.7768, 39.5704, 650, 98, 18),
    ("人民医院停车场（虚构）", "People's Hospital (invented)", PlaceKind.SURFACE, 109.7902, 39.5697, 240, 24, 20),
    ("行政中心停车场（虚构）", "Civic Centre (invented)", PlaceKind.SURFACE, 109.7813, 39.5589, 310, 48, 8),
    ("火车站停车场（虚构）", "Railway Station (invented)", PlaceKind.SURFACE, 109.8042, 39.5551, 520, 40, 14),
    ("通格朗街路侧泊位（虚构）", "Tonggelang Street kerbside (invented)", PlaceKind.ON_STREET, 109.7889, 39.5633, 38, 0, 2),
    ("水上公园停车场（虚构）", "Water Park (invented)", PlaceKind.SURFACE, 109.7721, 39.5622, 200, 30, 6),
    ("商业步行街地下车库（虚构）", "Pedestrian Mall Garage (invented)", PlaceKind.GARAGE, 109.7858, 39.5644, 380, 57, 10),
    ("第一中学路侧泊位（虚构）", "No. 1 School kerbside (invented)", PlaceKind.ON_STREET, 109.7927, 39.5733, 24, 0, 1),
    ("蒙古源流文化产业园（虚构）", "Culture Park Gate (invented)", PlaceKind.SURFACE, 109.8127, 39.5689, 460, 70, 12),
)


def invented_places() -> list[PlaceFacts]:
    """The car parks of the sample."""
    return [
        PlaceFacts(
            source=SOURCE,
            source_id=f"{number:03d}",
            name=name,
            name_en=english,
            position=Position(lon, lat),
            pools=_pools(standard, ev, accessible),
            kind=kind,
            jurisdiction="伊金霍洛旗",
            service_hours="00:00-24:00",
            invented=True,
        )
        for number, (name, english, kind, lon, lat, standard, ev, accessible) in enumerate(_PLACES, 1)
    ]


def _pools(standard: int, ev: int, accessible: int) -> tuple[Pool, ...]:
    wanted = {Category.STANDARD: standard, Category.EV: ev, Category.ACCESSIBLE: accessible}
    return tuple(Pool(category, count, walk_in_reserve=count // 5) for category, count in wanted.items() if count)


async def seed(ctx: ParkingCtx) -> None:
    """Makes the car parks and a first count for each."""
    async with ctx.db.write() as tx:
        for facts in invented_places():
            await places.upsert_place_in(tx, ctx, facts, operator_id=OPERATOR)
    await _count_all(ctx)


async def keep_alive(ctx: ParkingCtx) -> None:
    """Counts every car park once a minute until the sample has reached its size."""
    while await observations.counts_from(ctx, SOURCE) < MOST_COUNTS:
        await ctx.clock.sleep(COUNT_EVERY_S)
        await _count_all(ctx)
    while True:
        await ctx.clock.sleep(3600)


async def _count_all(ctx: ParkingCtx) -> None:
    now = ctx.clock.now()
    for facts in invented_places():
        await observations.record(ctx, facts.id, _observation(facts, now))


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
