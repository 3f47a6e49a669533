"""Two plans of one stream beside each other: who serves what now, how far and how long, how alike. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

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


def _trucks(routes: Sequence[Document]) -> dict[str, str]:
    return {str(visit["id"]): str(route["truck"]) for route in routes for visit in _stops(route)}


def _pairs(routes: Sequence[Document]) -> set[tuple[str, str]]:
    return {(str(a["id"]), str(b["id"])) for route in routes for a, b in pairwise(_stops(route))}


def _stops(route: Document) -> list[Document]:
    return [visit for visit in route["visits"] if visit["kind"] == "stop"]
