"""The invented sample: 300 collection points, twelve trucks, five sites and what was weighed there in the last forty days.

Everything here is made up and says so (`invented`); the same in every installation. Kept alive, each stream gets its plan of
the day once, and trucks are weighed as the day goes on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import orjson

from cityloop_common import invented, telemetry
from cityloop_common.clock import city_day, day_begins
from cityloop_common.errors import CityLoopError
from cityloop_common.geo import Bounds, Datum
from cityloop_common.invented import Spot
from cityloop_common.rng import Rng
from cityloop_waste.context import WasteCtx
from cityloop_waste.fleet import store as fleet_store
from cityloop_waste.fleet import use_cases as fleet
from cityloop_waste.fleet.domain import Depot, DepotId, Site, SiteId, SiteKind, Truck, TruckId
from cityloop_waste.ledger import use_cases as ledger
from cityloop_waste.ledger.domain import Ticket
from cityloop_waste.planning import night, publishing
from cityloop_waste.planning import store as plans
from cityloop_waste.planning import use_cases as planning
from cityloop_waste.planning.plans import OPEN, MapChanged, PlanState, Publish
from cityloop_waste.planning.use_cases import Wish
from cityloop_waste.points import use_cases as points
from cityloop_waste.points.domain import CollectionPoint, Demand, PointId
from cityloop_waste.registry import Hours
from cityloop_waste.roads import use_cases as roads
from cityloop_waste.streams import Stream

SOURCE = "sample"
OPERATOR = "sample-operator"
DEPOT = DepotId("depot-1")
DAYS_BACK = 40
LOOK_EVERY_S = 30.0
LOOK_AT_PLAN_EVERY_S = 2.0
MOST_DAYS_OF_PLANS = 100
MOST_DAYS_OF_LOADS = 1_000
DISTRICT_A_DAY_KG = 5_800
OVERTIME_S = 1_800
BIN_DM3 = 240
QUEUE_S = {SiteKind.INCINERATOR: 300, SiteKind.BIOGAS: 180}
_log = telemetry.get_logger(__name__)
PLANNED = (Stream.KITCHEN, Stream.OTHER, Stream.RECYCLABLE, Stream.HAZARDOUS)


@dataclass(frozen=True, slots=True)
class _Crew:
    """Trucks of one stream that are alike: how much each takes, when, and what it brings where, so many times a day."""

    stream: Stream
    trucks: int
    capacity_kg: int
    capacity_dm3: int
    max_mass_kg: int
    shift: Hours
    site: str
    loads_a_day: int
    usual_kg: int
    empty_kg: int


def _h(start: int, end: int) -> Hours:
    return Hours(start * 3600, end * 3600)


_CREWS = (
    _Crew(Stream.RECYCLABLE, 3, 3_000, 24_000, 9_000, _h(8, 16), "recycler-1", 1, 1_600, 5_600),
    _Crew(Stream.KITCHEN, 4, 7_000, 9_000, 14_000, _h(5, 13), "biogas-1", 1, 4_000, 6_800),
    _Crew(Stream.HAZARDOUS, 1, 800, 6_000, 4_500, _h(9, 17), "incinerator-1", 1, 90, 3_400),
    _Crew(Stream.OTHER, 4, 9_000, 22_000, 18_000, _h(6, 14), "incinerator-1", 2, 5_500, 8_700),
)
_STREAMS_AT = {
    SiteKind.RECYCLER: (Stream.RECYCLABLE,),
    SiteKind.BIOGAS: (Stream.KITCHEN,),
    SiteKind.INCINERATOR: (Stream.OTHER, Stream.HAZARDOUS),
    SiteKind.LANDFILL: (Stream.OTHER, Stream.CONSTRUCTION),
    SiteKind.TRANSFER: (Stream.OTHER,),
}
_USUAL = {  # of a point: every how many points the stream stands there, least and most kg, kg per dm3 in thousandths, seconds
    Stream.KITCHEN: (1, 40, 130, 520, 180),
    Stream.OTHER: (1, 60, 240, 260, 200),
    Stream.RECYCLABLE: (2, 15, 60, 110, 240),
    Stream.HAZARDOUS: (10, 1, 6, 250, 120),
}


def invented_points() -> list[CollectionPoint]:
    """The collection points of the sample."""
    return [
        CollectionPoint(
            id=PointId(f"P{spot.number:03d}"),
            name=spot.name,
            name_en=spot.name_en,
            position=spot.position,
            district=None,
            demands=tuple(_demands(spot.number)),
            invented=True,
        )
        for spot in invented.collection_points()
    ]


def invented_trucks() -> list[Truck]:
    """The trucks of the sample, T01 to T12."""
    return [
        Truck(
            id=truck_id,
            operator_id=OPERATOR,
            stream=crew.stream,
            depot_id=DEPOT,
            capacity_kg=crew.capacity_kg,
            capacity_dm3=crew.capacity_dm3,
            shift=crew.shift,
            max_mass_kg=crew.max_mass_kg,
            invented=True,
            overtime_s=OVERTIME_S,
        )
        for truck_id, crew in _trucks()
    ]


def invented_sites() -> list[Site]:
    """The sites of the sample, one of each kind."""
    return [_site(spot) for spot in invented.sites()]


def tickets(day: date, districts: Sequence[str]) -> Iterator[Ticket]:
    """What the sample's weighbridges say on a day, in the order of the weighings."""
    found = [ticket for truck_id, crew in _trucks() for ticket in _tickets(day, truck_id, crew, districts)]
    yield from sorted(found, key=lambda ticket: (ticket.weighed_at, ticket.ticket_no))


async def seed(ctx: WasteCtx) -> None:
    """Makes registry and base map, and the loads and estimates of the last forty days; the tickets of one are corrected."""
    depot = invented.depot()
    within = Bounds(*ctx.settings.shared.city_bounds)
    async with ctx.db.write() as tx:
        await fleet_store.put_depots(tx, [Depot(DEPOT, depot.name, depot.name_en, depot.position, invented=True)])
        await fleet_store.put_trucks(tx, invented_trucks())
        await fleet.keep_sites_in(tx, ctx, invented_sites())
        await roads.import_map_in(tx, roads.read(orjson.dumps(invented.base_map()), datum=Datum.WGS84, within=within))
        await points.keep_in(tx, ctx, invented_points())
    now = ctx.clock.now()
    for back in range(DAYS_BACK, -1, -1):
        await _weigh(ctx, city_day(now) - timedelta(days=back), now)
        if back:
            await _estimate(ctx, city_day(now) - timedelta(days=back))
    await _correct_one(ctx, city_day(now) - timedelta(days=10))


async def keep_alive(ctx: WasteCtx) -> None:
    """Each stream's plan of the day, published when ready, also one of the night job; loads as they are weighed; yesterday's estimates."""
    began = city_day(ctx.clock.now())
    told = _Told()
    while True:
        day = city_day(ctx.clock.now())
        plans_too = (day - began).days < MOST_DAYS_OF_PLANS
        try:
            if plans_too:
                await _ask(ctx, day)
            if (day - began).days < MOST_DAYS_OF_LOADS:
                told = await _go_on(ctx, day, told)
            if plans_too:
                await _settle(ctx, day)
        except CityLoopError as error:  # somebody changed the registry, or the database is away: the city goes on without it
            _log.warning("sample-waits", reason=error.slug)
        await ctx.clock.sleep(LOOK_EVERY_S)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the ledger has heard of a day: so many loads, and the day before was estimated."""

    day: date | None = None
    loads: int = -1


async def _go_on(ctx: WasteCtx, day: date, told: _Told) -> _Told:
    if told.day != day:
        await _estimate(ctx, day - timedelta(days=1))
        await _weigh(ctx, day - timedelta(days=1), day_begins(day))
        told = _Told(day)
    now = ctx.clock.now()
    due = sum(1 for each in tickets(day, _districts(ctx)) if each.weighed_at <= now)
    if due != told.loads:
        await _weigh(ctx, day, now)
    return _Told(day, due)


async def _ask(ctx: WasteCtx, day: date) -> None:
    """Asks for each stream's plan of the day unless somebody did, the night job among them."""
    for stream in PLANNED:
        if not await planning.page(ctx, plans.Wanted(stream, day), most=1) and city_day(ctx.clock.now()) == day:
            await planning.ask_for_day(ctx, stream, Wish(day, Publish.WHEN_READY), seconds=ctx.settings.sample_plan_seconds)


async def _settle(ctx: WasteCtx, day: date) -> None:
    """Waits until each search has ended, and publishes what the night job leaves to a dispatcher: here is none."""
    for stream in PLANNED:
        wanted = plans.Wanted(stream, day)
        while any(plan.state in OPEN for plan in await planning.page(ctx, wanted, most=1)):
            await ctx.clock.sleep(LOOK_AT_PLAN_EVERY_S)
        nightly = {run.plan_id for run in await night.runs(ctx, day)}
        for plan in await planning.page(ctx, wanted, most=1):
            if plan.state is PlanState.READY and plan.id in nightly:
                with suppress(MapChanged):
                    async with ctx.db.write() as tx:
                        await publishing.publish_in(tx, ctx, plan.id)


async def _weigh(ctx: WasteCtx, day: date, now: datetime) -> None:
    """The day's loads up to now; what was weighed before is a duplicate and counts once."""
    async with ctx.db.write() as tx:
        for ticket in tickets(day, _districts(ctx)):
            if ticket.weighed_at <= now:
                await ledger.record_in(tx, ctx, ticket, operator_id=OPERATOR)


async def _estimate(ctx: WasteCtx, day: date) -> None:
    async with ctx.db.write() as tx:
        for district in _districts(ctx):
            mass_kg = DISTRICT_A_DAY_KG + _chance(f"{district}/{day}").randrange(-300, 301)
            await ledger.estimate_in(tx, ctx, district, day, mass_kg=mass_kg, method="invented, per head")


async def _correct_one(ctx: WasteCtx, day: date) -> None:
    """A clerk read 100 kg too much, and said so later."""
    first = next(tickets(day, _districts(ctx)))
    async with ctx.db.write() as tx:
        told = await ledger.record_in(tx, ctx, first, operator_id=OPERATOR)
        corrected = Ticket(
            site_id=first.site_id,
            truck_id=first.truck_id,
            stream=first.stream,
            ticket_no=first.ticket_no,
            gross_kg=first.gross_kg - 100,
            tare_kg=first.tare_kg,
            weighed_at=first.weighed_at,
            district=first.district,
            corrects=told.load.id,
        )
        await ledger.record_in(tx, ctx, corrected, operator_id=OPERATOR)


def _districts(ctx: WasteCtx) -> list[str]:
    return [district.id for district in ctx.districts]


def _chance(name: str) -> random.Random:
    return Rng(SOURCE).stream(name)


def _trucks() -> Iterator[tuple[TruckId, _Crew]]:
    crews = [crew for crew in _CREWS for _ in range(crew.trucks)]
    yield from ((TruckId(f"T{number:02d}"), crew) for number, crew in enumerate(crews, 1))


def _demands(number: int) -> Iterator[Demand]:
    for stream, (every, least_kg, most_kg, density, service_s) in _USUAL.items():
        if number % every == 0:
            mass_kg = _chance(f"P{number:03d}/{stream}").randrange(least_kg, most_kg + 1)
            volume_dm3 = mass_kg * 1000 // density
            yield Demand(stream, mass_kg, volume_dm3, service_s, containers=-(-volume_dm3 // BIN_DM3))


def _site(spot: Spot) -> Site:
    kind = SiteKind(spot.kind.value)
    return Site(
        id=SiteId(f"{kind}-{spot.number}"),
        kind=kind,
        name=spot.name,
        name_en=spot.name_en,
        operator_id=OPERATOR,
        position=spot.position,
        district=None,
        streams=_STREAMS_AT[kind],
        service_s=900,
        opening=(_h(5, 22),),
        invented=True,
        queue_s=QUEUE_S.get(kind, 0),
    )


def _tickets(day: date, truck_id: TruckId, crew: _Crew, districts: Sequence[str]) -> Iterator[Ticket]:
    """One truck's weighings of a day, spread over its shift; one load in eight of residual waste goes by the transfer station."""
    for number in range(crew.loads_a_day):
        chance = _chance(f"{truck_id}/{day}/{number}")
        span_s = (crew.shift.end_s - crew.shift.start_s) // (crew.loads_a_day + 1)
        weighed_s = crew.shift.start_s + span_s * (number + 1) + chance.randrange(span_s // 2)
        tare_kg = crew.empty_kg + chance.randrange(-40, 41)
        net_kg = max(10, round(crew.usual_kg * chance.uniform(0.85, 1.15)))
        by_transfer = crew.stream is Stream.OTHER and chance.random() < 1 / 8
        yield Ticket(
            site_id="transfer-1" if by_transfer else crew.site,
            truck_id=truck_id,
            stream=crew.stream,
            ticket_no=f"S{day:%Y%m%d}-{truck_id}-{number + 1}",
            gross_kg=tare_kg + net_kg,
            tare_kg=tare_kg,
            weighed_at=day_begins(day) + timedelta(seconds=weighed_s),
            district=districts[chance.randrange(len(districts))] if districts else None,
        )
