"""The problem of a day as the registry has it: the points of a stream, the trucks dedicated to it, the sites."""

from __future__ import annotations

from collections.abc import Sequence

from cityloop_common.db import Tx
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.domain import Depot, DepotAmbiguous
from cityloop_waste.fleet.domain import Site as KnownSite
from cityloop_waste.fleet.domain import Truck as KnownTruck
from cityloop_waste.planning.checking import check
from cityloop_waste.planning.domain import MOST_STOPS, MOST_TRUCKS, Options, Problem, Site, Stop, Truck, Window
from cityloop_waste.planning.plans import NothingToCollect
from cityloop_waste.points import store as points
from cityloop_waste.points.domain import CollectionPoint
from cityloop_waste.registry import Hours
from cityloop_waste.streams import Stream


async def problem(tx: Tx, stream: Stream, *, depot_id: str | None, seconds: int) -> Problem:
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
    depot, trucks = await _fleet(tx, stream, depot_id)
    made = Problem(
        stream=stream.value,
        depot=depot.position,
        stops=tuple(_stop(each, stream) for each in due),
        trucks=tuple(_truck(each) for each in trucks),
        sites=tuple(_site(each) for each in sites),
        options=Options(seconds=seconds),
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


def _stop(point: CollectionPoint, stream: Stream) -> Stop:
    demand = next(each for each in point.demands if each.stream is stream)
    windows = tuple(_window(each) for each in point.windows)
    return Stop(point.id, point.position, demand.mass_kg, demand.volume_dm3, demand.service_s, windows)


def _truck(truck: KnownTruck) -> Truck:
    return Truck(truck.id, truck.capacity_kg, truck.capacity_dm3, _window(truck.shift), (truck.stream.value,), truck.max_mass_kg)


def _site(site: KnownSite) -> Site:
    return Site(site.id, site.position, tuple(each.value for each in site.streams), site.service_s)


def _window(hours: Hours) -> Window:
    return Window(hours.start_s, hours.end_s)
