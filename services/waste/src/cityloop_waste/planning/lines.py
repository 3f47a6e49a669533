"""The line that each route of a plan drives. Arithmetic of the solver's process: it loads what a service's own process does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from cityloop_common.geo import Position
from cityloop_waste.planning.domain import Problem, VisitKind
from cityloop_waste.roads.domain import Travel, TravelSource
from cityloop_waste.roads.lines import drawn
from cityloop_waste.roads.network import Network
from cityloop_waste.roads.ways import Leg, ways


def lines(problem: Problem, routes: Sequence[Mapping[str, Any]], on: Network | None, travel: Travel | None = None) -> list[dict[str, Any]]:
    """`{travel, line}` of each route (documents as `problem_json.write_plan` has them), one after the other.

    The network's places are `problem.positions()`; what it takes to drive between them ends the searches early where it is given.
    A leg without a way is a straight piece, and its route an estimate: the verifier leaves none in a plan of the same roads.
    """
    rows = _rows(problem)
    calls = [[rows[visit["kind"], _name(route, visit)] for visit in route["visits"]] for route in routes]
    legs = [Leg(a, b, travel.duration_s[a][b] if travel else None) for route in calls for a, b in pairwise(route)]
    found = iter([None] * len(legs) if on is None else ways(on, legs))
    places = problem.positions()
    return [_line(places, route, [next(found) for _ in route[1:]]) for route in calls]


def _rows(problem: Problem) -> dict[tuple[str, str | None], int]:
    """Where each place that a truck visits stands among `problem.positions()`."""
    rows: dict[tuple[str, str | None], int] = {(kind.value, None): 0 for kind in (VisitKind.DEPOT_START, VisitKind.DEPOT_END)}
    rows |= {(VisitKind.STOP.value, stop.id): number for number, stop in enumerate(problem.stops, 1)}
    rows |= {(VisitKind.UNLOAD.value, site.id): number for number, site in enumerate(problem.sites, 1 + len(problem.stops))}
    out = (truck.id for truck in problem.trucks if truck.underway is not None)
    return rows | {
        (VisitKind.UNDERWAY.value, truck): number for number, truck in enumerate(out, 1 + len(problem.stops) + len(problem.sites))
    }


def _name(route: Mapping[str, Any], visit: Mapping[str, Any]) -> str | None:
    """What a visit is at: a stop or a site, the truck itself where it is free again, nothing at the depot."""
    name: str | None = route["truck"] if visit["kind"] == VisitKind.UNDERWAY.value else visit["id"]
    return name


def _line(places: Sequence[Position], calls: Sequence[int], driven: Sequence[Sequence[Position] | None]) -> dict[str, Any]:
    source = TravelSource.ESTIMATE if None in driven else TravelSource.GRAPH
    legs = zip(pairwise(calls), driven, strict=True)
    vertices = [at for (a, b), way in legs for at in way or (places[a], places[b])]
    return {"travel": source.value, "line": drawn(vertices)}
