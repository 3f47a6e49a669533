"""What can be planned at all: which trucks and sites take the stream, and which stops no plan can serve, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cityloop_waste.planning.domain import Problem, Reason, Site, Stop, Truck, Unserved, Window
from cityloop_waste.planning.schedule import service_start
from cityloop_waste.roads.domain import Travel

DEPOT = 0


@dataclass(frozen=True, slots=True)
class Day:
    """A problem with what can take part in its plan. Stops and sites are named by their rows in the matrices.

    `closing` gives for each admitted stop the site where a tour that ends with it unloads: of those where some truck can tip it in
    time when it serves nothing else, the one with the shortest way to the depot.
    """

    problem: Problem
    travel: Travel
    trucks: tuple[Truck, ...]
    stops: tuple[int, ...]
    sites: tuple[int, ...]
    closing: Mapping[int, int]
    unserved: tuple[Unserved, ...]

    def stop(self, row: int) -> Stop:
        """The stop of a row."""
        return self.problem.stops[row - 1]

    def site(self, row: int) -> Site:
        """The site of a row."""
        return self.problem.sites[row - 1 - len(self.problem.stops)]

    def service_s(self, row: int) -> int:
        """Seconds of the service at a row."""
        if row == DEPOT:
            return 0
        return self.stop(row).service_s if row <= len(self.problem.stops) else self.site(row).service_s


@dataclass(frozen=True, slots=True)
class _Home:
    """The way from a stop to the depot over an unload at `site`, its service included."""

    metres: int
    site: int
    seconds: int


def admit(problem: Problem, travel: Travel) -> Day:
    """Sorts out what no plan can serve. A stop is admitted when some truck can serve it and nothing else that day, at some site."""
    trucks = tuple(truck for truck in problem.trucks if problem.stream in truck.streams)
    first = 1 + len(problem.stops)
    sites = tuple(first + number for number, site in enumerate(problem.sites) if problem.stream in site.streams)
    classes = list({(truck.capacity_kg, truck.capacity_dm3, truck.shift): truck for truck in trucks}.values())
    closing: dict[int, int] = {}
    unserved: list[Unserved] = []
    for row, stop in enumerate(problem.stops, 1):
        found = _closing(problem, travel, row, classes, sites)
        if isinstance(found, Reason):
            unserved.append(Unserved(stop.id, found))
        else:
            closing[row] = found
    return Day(problem, travel, trucks, tuple(closing), sites, closing, tuple(unserved))


def _closing(problem: Problem, travel: Travel, row: int, classes: Sequence[Truck], sites: Sequence[int]) -> int | Reason:
    """The site where a tour that ends with the stop unloads, or why nobody can serve the stop."""
    stop = problem.stops[row - 1]
    if not classes:
        return Reason.NO_VEHICLE
    if not sites:
        return Reason.NO_SITE
    fitting = [truck for truck in classes if stop.demand_kg <= truck.capacity_kg and stop.demand_dm3 <= truck.capacity_dm3]
    if not fitting:
        return Reason.TOO_MUCH
    out_s = travel.duration_s[DEPOT][row]
    homes = _homes(problem, travel, row, sites)
    if out_s is None or not homes:
        return Reason.UNREACHABLE
    left_s = _left_s(stop, stop.windows, out_s, fitting)
    in_time = [home for home in homes if left_s is not None and home.seconds <= left_s]
    if in_time:
        return min(in_time, key=lambda home: (home.metres, home.site)).site
    at_any_time_s = _left_s(stop, (), out_s, fitting)
    quickest_s = min(home.seconds for home in homes)
    return Reason.WINDOW if at_any_time_s is not None and quickest_s <= at_any_time_s else Reason.NOT_ENOUGH_TIME


def _homes(problem: Problem, travel: Travel, row: int, sites: Sequence[int]) -> list[_Home]:
    """The ways home that have roads, one a site."""
    homes: list[_Home] = []
    for site in sites:
        metres = travel.distance_m[row][site], travel.distance_m[site][DEPOT]
        seconds = travel.duration_s[row][site], travel.duration_s[site][DEPOT]
        if metres[0] is not None and metres[1] is not None and seconds[0] is not None and seconds[1] is not None:
            service_s = problem.sites[site - 1 - len(problem.stops)].service_s
            homes.append(_Home(metres[0] + metres[1], site, seconds[0] + service_s + seconds[1]))
    return homes


def _left_s(stop: Stop, windows: Sequence[Window], out_s: int, trucks: Sequence[Truck]) -> int | None:
    """The most that a shift has left once the stop is served first and nothing else; None when no truck is there in its windows."""
    starts = [(truck, service_start(windows, truck.shift.start_s + out_s)) for truck in trucks]
    return max((truck.shift.end_s - start - stop.service_s for truck, start in starts if start is not None), default=None)
