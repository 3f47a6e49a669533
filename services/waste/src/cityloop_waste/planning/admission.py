"""What can be planned at all: which trucks and sites take the stream, and which stops no plan can serve, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cityloop_waste.planning.domain import Problem, Reason, Site, Stop, Truck, Unserved
from cityloop_waste.planning.schedule import Call, tour
from cityloop_waste.roads.domain import Travel

DEPOT = 0


@dataclass(frozen=True, slots=True)
class Day:
    """A problem with what can take part in its plan. Stops and sites are named by their rows in the matrices.

    `closing` gives for each stop the site where a tour that ends with it unloads: the one with the shortest way to the depot.
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


def admit(problem: Problem, travel: Travel) -> Day:
    """Sorts out what no plan can serve. A stop is admitted when some truck can serve it and nothing else that day."""
    trucks = tuple(truck for truck in problem.trucks if problem.stream in truck.streams)
    first = 1 + len(problem.stops)
    sites = tuple(first + number for number, site in enumerate(problem.sites) if problem.stream in site.streams)
    closing = _closing(problem, travel, sites)
    classes = list({(truck.capacity_kg, truck.capacity_dm3, truck.shift): truck for truck in trucks}.values())
    admitted: list[int] = []
    unserved: list[Unserved] = []
    for row, stop in enumerate(problem.stops, 1):
        reason = _impossible(problem, travel, row, classes, sites, closing)
        if reason is None:
            admitted.append(row)
        else:
            unserved.append(Unserved(stop.id, reason))
    return Day(problem, travel, trucks, tuple(admitted), sites, closing, tuple(unserved))


def _closing(problem: Problem, travel: Travel, sites: Sequence[int]) -> dict[int, int]:
    chosen: dict[int, int] = {}
    for row in range(1, len(problem.stops) + 1):
        ways = []
        for site in sites:
            there, back = travel.distance_m[row][site], travel.distance_m[site][DEPOT]
            if there is not None and back is not None:
                ways.append((there + back, site))
        if ways:
            chosen[row] = min(ways)[1]
    return chosen


def _impossible(
    problem: Problem, travel: Travel, row: int, classes: Sequence[Truck], sites: Sequence[int], closing: Mapping[int, int]
) -> Reason | None:
    stop = problem.stops[row - 1]
    if not classes:
        return Reason.NO_VEHICLE
    if not sites:
        return Reason.NO_SITE
    fitting = [truck for truck in classes if stop.demand_kg <= truck.capacity_kg and stop.demand_dm3 <= truck.capacity_dm3]
    if not fitting:
        return Reason.TOO_MUCH
    if travel.distance_m[DEPOT][row] is None or row not in closing:
        return Reason.UNREACHABLE
    site = Call(closing[row], problem.sites[closing[row] - 1 - len(problem.stops)].service_s)
    depot = Call(DEPOT, 0)
    alone = [depot, Call(row, stop.service_s, stop.windows), site, depot]
    if any(tour(alone, travel.duration_s, truck.shift) for truck in fitting):
        return None
    at_any_time = [depot, Call(row, stop.service_s), site, depot]
    return Reason.WINDOW if any(tour(at_any_time, travel.duration_s, truck.shift) for truck in fitting) else Reason.NOT_ENOUGH_TIME
