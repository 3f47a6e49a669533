"""The invented sample: the sixty car parks of the invented city, which do not exist, and cars that come and go in them.

Everything here is made up and says so (`invented`); the same in every installation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cityloop_common import invented
from cityloop_common.invented import Spot
from cityloop_common.rng import Rng
from cityloop_common.settings import Sample
from cityloop_parking.context import ParkingCtx
from cityloop_parking.observations import use_cases as observations
from cityloop_parking.observations.domain import Count, Observation
from cityloop_parking.observations.use_cases import Report
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Access, Category, PlaceFacts, PlaceKind, Pool
from cityloop_parking.sample_use import taken

SOURCE = "sample"
OPERATOR = "sample-operator"
SOURCES = {PlaceKind.GARAGE: "sample-gates", PlaceKind.SURFACE: "sample-cameras", PlaceKind.ON_STREET: "sample-loops"}
SILENT = "sample-silent"  # a file beside the data: the names that are cut off
PAST_DAYS, PAST_EVERY_S, PAST_AT_ONCE = 14, 1800, 48
MOST_COUNTS = 700_000  # the past, and more than two days alive; then it stays as it is
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
    """Makes the car parks and a first count for all but one; of a city that is to be kept alive also two weeks of counts."""
    async with ctx.db.write() as tx:
        for facts in invented_places():
            await places.upsert_place_in(tx, ctx, facts, operator_id=OPERATOR)
    if ctx.settings.shared.sample is Sample.LIVE:
        await _count_the_past(ctx)
    await _count_all(ctx, frozenset())


async def keep_alive(ctx: ParkingCtx) -> None:
    """Counts the car parks in a rhythm until the sample has reached its size; sources that are silenced do not count."""
    while await _rows(ctx) < MOST_COUNTS:
        await ctx.clock.sleep(ctx.settings.sample_every_s)
        await _count_all(ctx, silent(ctx.settings.shared.var))
    while True:
        await ctx.clock.sleep(3600)


def silence(var: Path, names: Collection[str]) -> None:
    """Cuts off sources, or single car parks, of the live sample from its next count on, and lets all others count."""
    var.mkdir(parents=True, exist_ok=True)
    (var / SILENT).write_text("".join(f"{name}\n" for name in sorted(names)))


def silent(var: Path) -> frozenset[str]:
    """Sources and car parks that are cut off."""
    file = var / SILENT
    return frozenset(file.read_text().split()) if file.exists() else frozenset()


def known_names() -> frozenset[str]:
    """What can be cut off: the sources, and each car park that has a counter."""
    return frozenset({*SOURCES.values(), *(facts.id for facts in counted_places())})


def counted_places() -> list[PlaceFacts]:
    """The car parks that have a counter."""
    return [facts for facts in invented_places() if facts.source_id != f"{NOT_COUNTED:03d}"]


async def _rows(ctx: ParkingCtx) -> int:
    return sum([await observations.counts_from(ctx, source) for source in SOURCES.values()])


async def _count_the_past(ctx: ParkingCtx) -> None:
    """What the counters would have said until now, into the journal: forecasts are made from it."""
    every_s = ctx.settings.sample_every_s
    now_s = ctx.clock.now().timestamp() // PAST_EVERY_S * PAST_EVERY_S
    stamps = [datetime.fromtimestamp(now_s - back * PAST_EVERY_S, UTC) for back in range(round(PAST_DAYS * 86_400 / PAST_EVERY_S), 0, -1)]
    for start in range(0, len(stamps), PAST_AT_ONCE):
        some = stamps[start : start + PAST_AT_ONCE]
        reports = [Report(facts.id, _observation(facts, at, every_s)) for at in some for facts in counted_places()]
        async with ctx.db.write() as tx:
            await observations.record_past_in(tx, ctx, reports)
        await asyncio.sleep(0)


async def _count_all(ctx: ParkingCtx, cut_off: Collection[str]) -> None:
    """One unit for all: a car park that has become another's, or is gone, stops no other."""
    now, every_s = ctx.clock.now(), ctx.settings.sample_every_s
    reports = [
        Report(facts.id, _observation(facts, now, every_s))
        for facts in counted_places()
        if facts.id not in cut_off and SOURCES[facts.kind] not in cut_off
    ]
    await observations.record_many(ctx, reports)


def _observation(facts: PlaceFacts, now: datetime, every_s: int) -> Observation:
    """A count some seconds ago; the same for the same place and minute."""
    ago_s = Rng(SOURCE).stream(f"{facts.id}/{now:%Y%m%d%H%M}").randrange(max(1, min(20, every_s // 3)))
    at = now - timedelta(seconds=ago_s)
    counts = tuple(Count(category, occupied=occupied) for category, occupied in taken(facts, at).items())
    return Observation(observed_at=at, source=SOURCES[facts.kind], counts=counts, interval_s=2 * every_s)
