"""Plans without a solver: one truck takes the stops one after the other, and the product's verifier judges them as it does all.

OR-Tools stays out: its result depends on how fast the machine is, and it costs a second of CPU a plan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cityloop_common.geo import Position, distance_m
from cityloop_waste.planning import problem_json, verifier
from cityloop_waste.planning.admission import admit
from cityloop_waste.planning.domain import Plan, PlanRefused, Problem, Reason, Route, Truck, Unserved, Visit, VisitKind
from cityloop_waste.planning.solver import SOLVE
from cityloop_waste.roads.domain import Travel, TravelSource

KMH = 25.0


def solve(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What `cityloop_waste.planning.work:solve` answers. Raises InvalidProblem, PlanRefused."""
    problem = problem_json.read(payload["problem"])
    travel = _travel(problem.positions())
    plan = _plan(problem, travel)
    if broken := verifier.faults(problem, travel, plan):
        raise PlanRefused("; ".join(map(str, broken)))
    return problem_json.write_plan(plan, stream=problem.stream, travel=travel.source) | {"seconds": 1.0, "ended": "time"}


WORKS = {SOLVE: solve}


def _plan(problem: Problem, travel: Travel) -> Plan:
    """The first truck of the stream takes all stops, or as many as it can; the rest is told as admission tells it, or not reached."""
    truck = next((each for each in problem.trucks if problem.stream in each.streams), None)
    if truck is None:
        return Plan((), tuple(Unserved(stop.id, Reason.NO_VEHICLE) for stop in problem.stops))
    impossible = {each.stop: each.reason for each in admit(problem, travel).unserved}
    unserved = tuple(Unserved(stop.id, impossible.get(stop.id, Reason.NOT_REACHED)) for stop in problem.stops)
    for served in range(len(problem.stops), 0, -1):
        route, left = _route(problem, travel, truck, served), unserved[served:]
        if not verifier.faults(problem, travel, Plan((route,), left)):
            return Plan((route,), left)
    return Plan((), unserved)


def _route(problem: Problem, travel: Travel, truck: Truck, served: int) -> Route:
    """Depot, the first so many stops, the first site of the stream, depot; never waiting, from the beginning of the shift."""
    site = next(number for number, each in enumerate(problem.sites) if problem.stream in each.streams)
    rows = [*range(1, served + 1), 1 + len(problem.stops) + site]
    begins_s = truck.shift.start_s
    visits = [Visit(VisitKind.DEPOT_START, None, begins_s, begins_s, begins_s, 0, 0)]
    kg, dm3, before, metres = 0, 0, 0, 0
    for row in [*rows, 0]:
        arrival_s = visits[-1].departure_s + (travel.duration_s[before][row] or 0)
        metres += travel.distance_m[before][row] or 0
        before = row
        if row == 0:
            visits.append(Visit(VisitKind.DEPOT_END, None, arrival_s, arrival_s, arrival_s, 0, 0))
        elif row <= len(problem.stops):
            stop = problem.stops[row - 1]
            kg, dm3 = kg + stop.demand_kg, dm3 + stop.demand_dm3
            visits.append(Visit(VisitKind.STOP, stop.id, arrival_s, arrival_s, arrival_s + stop.service_s, kg, dm3))
        else:
            there = problem.sites[site]
            visits.append(Visit(VisitKind.UNLOAD, there.id, arrival_s, arrival_s, arrival_s + there.service_s, 0, 0))
    return Route(truck.id, tuple(visits), metres, visits[-1].arrival_s - begins_s)


def _travel(places: Sequence[Position]) -> Travel:
    metres = tuple(tuple(round(distance_m(origin, target)) for target in places) for origin in places)
    seconds = tuple(tuple(math.ceil(each * 3.6 / KMH) for each in row) for row in metres)
    return Travel(metres, seconds, TravelSource.ESTIMATE)
