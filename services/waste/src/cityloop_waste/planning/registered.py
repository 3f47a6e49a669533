"""The problem of a day as the registry has it: the points of a stream, the trucks dedicated to it, the sites."""

from __future__ import annotations

from collections.abc import Sequence

from cityloop_common.db import Tx
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.domain import Depot, DepotAmbiguous
from cityloop_waste.fleet.domain import Site as KnownSite
from cityloop_waste.fleet.domain import Truck as KnownTruck
from cityloop_waste.planning.domain import MOST_STOPS, MOST_TRUCKS, Options, Problem, Site, Stop, Truck, Window, check
from cityloop_waste.planning.plans import NothingToCollect
from cityloop_waste.points import store as points
from cityloop_waste.points.domain import CollectionPoint
from cityloop_waste.registry import Hours
from cityloop_waste.streams import Stream


async def problem(tx: Tx, stream: Stream, *, depot_id: str | None, seconds: int) -> Problem:
    """The checked problem. Without a truck or a site for the stream the plan says so stop by stop.

    Raises NothingToCollect (no point of the stream, too many, no truck or site at all), DepotAmbiguous.
    """
    due = await points.due(tx, stream, most=MOST_STOPS + 1)
    if not due:
        raise NothingToCollect(f"no collection point of the stream {stream} is in use")
    if len(due) > MOST_STOPS:
        raise NothingToCollect(f"more than {MOST_STOPS} collection points of the stream {stream}")
    dedicated = await fleet.trucks_on_duty(tx, stream)
    trucks = dedicated or [each for each in await fleet.trucks(tx, after="", most=MOST_TRUCKS) if each.active]
    sites = [each for each in await fleet.sites(tx) if each.active]
    if not trucks or not sites:
        raise NothingToCollect("the registry has no truck in use" if not trucks else "the registry has no site in use")
    depot = _depot(await fleet.depots(tx), trucks, depot_id)
    made = Problem(
        stream=stream.value,
        depot=depot.position,
        stops=tuple(_stop(each, stream) for each in due),
        trucks=tuple(_truck(each) for each in trucks if each.depot_id == depot.id)[:MOST_TRUCKS],
        sites=tuple(_site(each) for each in sites),
        options=Options(seconds=seconds),
    )
    check(made)
    return made


def _depot(known: Sequence[Depot], trucks: Sequence[KnownTruck], wanted: str | None) -> Depot:
    """The depot of the trucks; with several the caller must choose."""
    used = {truck.depot_id for truck in trucks}
    fitting = [each for each in known if each.id in used and wanted in (None, each.id)]
    if len(fitting) != 1:
        raise DepotAmbiguous(f"trucks stand at {', '.join(sorted(used))}: name one of them as depot_id")
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
