"""What is shown of a plan's routes: to crews every visit, to everybody where trucks go and when, without a name or a load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cityloop_common.clock import day_begins
from cityloop_common.geo import Position
from cityloop_waste.planning.domain import VisitKind
from cityloop_waste.planning.forgetting import was_seen
from cityloop_waste.planning.plans import CityPlan
from cityloop_waste.roads.domain import TravelSource
from cityloop_waste.roads.lines import Line, drawn

Document = Mapping[str, Any]


def for_crews(plan: CityPlan, lines: Sequence[Document] | None) -> list[Document]:
    """Each route with its visits, the loads on board, its lunch, and its line."""
    if plan.problem is None or plan.result is None:
        return []
    places = Places(plan.problem)
    midnight = day_begins(plan.on)
    return [
        {
            **{name: route[name] for name in ("truck", "distance_m", "duration_s")},
            **line_of(plan.result, route, places, lines, number),
            "lunch": _span(midnight, route.get("lunch")),
            "visits": [
                {
                    "kind": visit["kind"],
                    "id": visit["id"],
                    "position": places.of(visit, route["truck"]),
                    "arrives_at": midnight + timedelta(seconds=visit["arrival_s"]),
                    "starts_at": midnight + timedelta(seconds=visit["start_s"]),
                    "departs_at": midnight + timedelta(seconds=visit["departure_s"]),
                    "load_kg": visit["load_kg"],
                    "load_dm3": visit["load_dm3"],
                }
                for visit in route["visits"]
            ],
        }
        for number, route in enumerate(plan.result["routes"])
    ]


def for_everybody(plan: CityPlan, lines: Sequence[Document] | None) -> Document:
    """A published plan: figures, and of each route its truck, when it leaves and is back, how much it does, and its line.

    A truck that was seen off its plan has a straight line from call to call: where it was is for crews and dispatchers only.
    """
    assert plan.problem is not None
    assert plan.result is not None
    assert plan.figures is not None
    places = Places(plan.problem)
    midnight = day_begins(plan.on)
    return {
        "plan_id": plan.id,
        "stream": plan.stream,
        "version": plan.publication,
        "published_at": plan.published_at,
        "trucks": plan.figures.trucks,
        "stops": plan.figures.stops,
        "unserved": plan.figures.unserved,
        "distance_m": plan.figures.distance_m,
        "routes": [
            {
                "truck": route["truck"],
                "starts_at": midnight + timedelta(seconds=route["visits"][0]["departure_s"]),
                "ends_at": midnight + timedelta(seconds=route["visits"][-1]["arrival_s"]),
                "stops": _count(route, VisitKind.STOP),
                "trips": _count(route, VisitKind.UNLOAD),
                "distance_m": route["distance_m"],
                **_public_line(plan.result, route, places, lines, number),
            }
            for number, route in enumerate(plan.result["routes"])
        ],
    }


def _public_line(result: Document, route: Document, places: Places, lines: Sequence[Document] | None, number: int) -> Document:
    calls = [visit for visit in route["visits"] if not was_seen(visit)]
    seen = len(calls) < len(route["visits"])
    return line_of(result, {**route, "visits": calls}, places, None if seen else lines, number)


def _span(midnight: datetime, span: Document | None) -> Document | None:
    if span is None:
        return None
    return {"starts_at": midnight + timedelta(seconds=span["start_s"]), "ends_at": midnight + timedelta(seconds=span["end_s"])}


class Places:
    """Where each place of a problem's document is."""

    def __init__(self, problem: Document) -> None:
        self._depot: Document = problem["depot"]
        self._at: dict[tuple[str, str], Document] = {(VisitKind.STOP.value, each["id"]): each["position"] for each in problem["stops"]}
        self._at |= {(VisitKind.UNLOAD.value, each["id"]): each["position"] for each in problem["sites"]}
        out = ((each["id"], each["underway"]["position"]) for each in problem["trucks"] if each.get("underway"))
        self._at |= {(VisitKind.UNDERWAY.value, truck): position for truck, position in out}

    def of(self, visit: Document, truck: str) -> Document:
        """The position of a visit: its own where it tells one, a truck's where that was free again, the depot's where it has no id."""
        if "position" in visit:
            told: Document = visit["position"]
            return told
        return self._at.get((visit["kind"], truck if visit["kind"] == VisitKind.UNDERWAY else visit["id"]), self._depot)


def line_of(result: Document, route: Document, places: Places, lines: Sequence[Document] | None, number: int) -> Document:
    """`travel` and `line` of a route: as drawn when it was solved, else straight from visit to visit, which is an estimate."""
    if lines is not None and len(lines) == len(result["routes"]):
        return lines[number]
    given = result.get("travel") == TravelSource.GIVEN
    straight: Line = drawn(Position(at["lon"], at["lat"]) for at in (places.of(visit, route["truck"]) for visit in route["visits"]))
    return {"travel": TravelSource.GIVEN if given else TravelSource.ESTIMATE, "line": straight}


def _count(route: Document, kind: VisitKind) -> int:
    return sum(1 for visit in route["visits"] if visit["kind"] == kind)
