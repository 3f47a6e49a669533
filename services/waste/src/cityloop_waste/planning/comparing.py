"""Two plans of one stream beside each other: who serves what now, how far, how alike, whether one comes too late. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cityloop_waste.planning.domain import VisitKind
from cityloop_waste.planning.plans import NoRoutes, figures_of

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Moved:
    """A stop that another truck serves than before; None: nobody does, or did."""

    stop: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is otherwise. `alike` of `pairs` stops of the plan before are followed by the same stop as then, on whichever truck."""

    moved: tuple[Moved, ...]
    distance_m: int
    duration_s: int
    alike: int
    pairs: int


def compare(before: Document, after: Document) -> Comparison:
    """Two results of searches (documents as `work.solve` answers them). Differences are of the later one.

    Raises NoRoutes: one of them sends nobody out, or its documents were emptied.
    """
    if not (before["routes"] and after["routes"]):
        raise NoRoutes("both need routes")
    old, new = _trucks(before["routes"]), _trucks(after["routes"])
    moved = tuple(Moved(stop, old.get(stop), new.get(stop)) for stop in sorted(old.keys() | new.keys()) if old.get(stop) != new.get(stop))
    followed, follows = _pairs(before["routes"]), _pairs(after["routes"])
    was, comes_to = figures_of(before), figures_of(after)
    metres, seconds = comes_to.distance_m - was.distance_m, comes_to.duration_s - was.duration_s
    return Comparison(moved, metres, seconds, len(followed & follows), len(followed))


def passed(holds: Document, new: Document, now_s: int, *, standing: Container[str] = ()) -> list[str]:
    """The trucks that have by `now_s` served, or drive to, what the new plan has elsewhere or in another order.

    Both are results; seconds are of the plans' day. `standing` trucks wait for the new plan where they are.
    """
    given = {str(route["truck"]): _calls(route) for route in new["routes"]}
    late = []
    for route in holds["routes"]:
        truck, calls = str(route["truck"]), _calls(route)
        left = sum(1 for visit in route["visits"] if visit["departure_s"] <= now_s)
        begun = len(_calls({"visits": route["visits"][: left + 1]})) if left else 0  # with the one that it drives to, or serves
        if truck not in standing and given.get(truck, [])[:begun] != calls[:begun]:
            late.append(truck)
    return late


def _calls(route: Document) -> list[tuple[str, str]]:
    """Where a truck loads and unloads, in its order; its way home can be left at any time."""
    return [(visit["kind"], str(visit["id"])) for visit in route["visits"] if visit["kind"] in (VisitKind.STOP, VisitKind.UNLOAD)]


def _trucks(routes: Sequence[Document]) -> dict[str, str]:
    return {str(visit["id"]): str(route["truck"]) for route in routes for visit in _stops(route)}


def _pairs(routes: Sequence[Document]) -> set[tuple[str, str]]:
    return {(str(a["id"]), str(b["id"])) for route in routes for a, b in pairwise(_stops(route))}


def _stops(route: Document) -> list[Document]:
    return [visit for visit in route["visits"] if visit["kind"] == "stop"]
