"""The problem of a day as the registry has it: the points of a stream, the trucks dedicated to it, the sites."""

from __future__ import annotations

from collections.abc import Sequence

from cityloop_common.db import Tx
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.domain import Depot, DepotAmbiguous
from cityloop_waste.fleet.domain import Site as KnownSite
from cityloop_waste.fleet.domain import Truck as KnownTruck
from cityloop_waste.planning.absent import ABSENT, allowed
from cityloop_waste.planning.checking import check
from cityloop_waste.planning.domain import (
    LATEST_S,
    MOST_STOPS,
    MOST_TRUCKS,
    MOST_WINDOWS,
    Caps,
    Lunch,
    Options,
    Problem,
    Round,
    Site,
    Stop,
    Truck,
    Window,
)
from cityloop_waste.planning.plans import NothingToCollect
from cityloop_waste.points import store as points
from cityloop_waste.points.domain import CollectionPoint
from cityloop_waste.registry import Hours
from cityloop_waste.streams import Stream

DAY_S = 86_400


async def problem(
    tx: Tx, stream: Stream, *, depot_id: str | None, options: Options, lunch: Lunch | None = None, yesterday: Sequence[Round] = ()
) -> Problem:
    """The checked problem. Without a truck or a site for the stream the plan says so stop by stop.

    Raises NothingToCollect (no point of the stream, too many of them or of its trucks, no truck or site at all), DepotAmbiguous.
    """
    due = await points.due(tx, stream, most=MOST_STOPS + 1)
    if not due:
        raise NothingToCollect(f"no collection point of the stream {stream} is in use")
    if len(due) > MOST_STOPS:
        raise NothingToCollect(f"more than {MOST_STOPS} collection points of the stream {stream}")
    sites = [each for each in await fleet.sites(tx) if each.active]
    if not sites:
        raise NothingToCollect("the registry has no site in use")
    depot, known = await _fleet(tx, stream, depot_id)
    trucks = tuple(_truck(each) for each in known)
    latest_s = max((each.shift.end_s for each in trucks), default=0)
    stops = tuple(stop(each, stream, trucks) for each in due)
    if any(ABSENT.id in each.trucks for each in stops):
        if len(trucks) == MOST_TRUCKS:
            raise NothingToCollect(f"at most {MOST_TRUCKS - 1} trucks where points name others that are not on duty")
        trucks = (*trucks, ABSENT)
    made = Problem(
        stream=stream.value,
        depot=depot.position,
        stops=stops,
        trucks=trucks,
        sites=tuple(_site(each, latest_s) for each in sites),
        options=options,
        lunch=lunch,
        yesterday=tuple(yesterday),
    )
    check(made)
    return made


async def _fleet(tx: Tx, stream: Stream, wanted: str | None) -> tuple[Depot, Sequence[KnownTruck]]:
    """The depot in use and the trucks on duty there: of the stream, or where none is dedicated to it any that say why nobody comes."""
    dedicated = await fleet.depots_on_duty(tx, stream)
    depot = _depot(dedicated or await fleet.depots_on_duty(tx), wanted)
    if not dedicated:
        return depot, await fleet.trucks_on_duty(tx, depot.id, most=MOST_TRUCKS)
    trucks = await fleet.trucks_on_duty(tx, depot.id, stream=stream, most=MOST_TRUCKS + 1)
    if len(trucks) > MOST_TRUCKS:
        raise NothingToCollect(f"more than {MOST_TRUCKS} trucks of the stream {stream} at {depot.id}")
    return depot, trucks


def _depot(used: Sequence[Depot], wanted: str | None) -> Depot:
    """The depot of the trucks; with several the caller must choose."""
    if not used:
        raise NothingToCollect("the registry has no truck in use at a depot in use")
    fitting = [each for each in used if wanted in (None, each.id)]
    if len(fitting) != 1:
        raise DepotAmbiguous(f"trucks stand at {', '.join(each.id for each in used)}: name one of them as depot_id")
    return fitting[0]


def stop(point: CollectionPoint, stream: Stream, trucks: Sequence[Truck]) -> Stop:
    """What stands of a stream at a point; `trucks` are on duty."""
    demand = next(each for each in point.demands if each.stream is stream)
    return Stop(
        id=point.id,
        position=point.position,
        demand_kg=demand.mass_kg,
        demand_dm3=demand.volume_dm3,
        service_s=demand.service_s,
        windows=tuple(_window(each) for each in point.windows),
        containers=demand.containers,
        trucks=allowed(demand.trucks, {each.id for each in trucks}),
        prize_m=demand.prize_m,
    )


def _truck(truck: KnownTruck) -> Truck:
    return Truck(
        id=truck.id,
        capacity_kg=truck.capacity_kg,
        capacity_dm3=truck.capacity_dm3,
        shift=_window(truck.shift),
        streams=(truck.stream.value,),
        gross_mass_kg=truck.max_mass_kg,
        day=Caps(truck.day_kg, truck.day_dm3, truck.day_stops, truck.day_containers),
        overtime_s=truck.overtime_s,
    )


def _site(site: KnownSite, latest_s: int) -> Site:
    return Site(
        id=site.id,
        position=site.position,
        streams=tuple(each.value for each in site.streams),
        service_s=site.service_s + site.queue_s,
        opening=_opening(site.opening, latest_s),
        day_kg=site.day_kg,
    )


def _opening(hours: Sequence[Hours], latest_s: int) -> tuple[Window, ...]:
    """Hours of every day as the planned one sees them: what went on past midnight, its own, and the next day's where a shift gets there."""
    found = [
        Window(max(0, each.start_s + day), min(LATEST_S, each.end_s + day))
        for day in (-DAY_S, 0, DAY_S)
        for each in hours
        if each.end_s + day > 0 and (day == 0 or each.start_s + day <= latest_s)
    ]
    apart: list[Window] = []
    for each in sorted(found, key=lambda window: (window.start_s, window.end_s)):
        if apart and each.start_s <= apart[-1].end_s:
            apart[-1] = Window(apart[-1].start_s, max(apart[-1].end_s, each.end_s))
        else:
            apart.append(each)
    return tuple(apart[:MOST_WINDOWS])


def _window(hours: Hours) -> Window:
    return Window(hours.start_s, hours.end_s)
