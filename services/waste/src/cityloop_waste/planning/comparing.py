"""Two plans of one stream beside each other: who serves what now, how far, how alike, whether one comes too late. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Told:
    """What the new plan was asked with: `standing` trucks have waited since `at_s`, `urgent` stops are new or have another load."""

    at_s: int
    standing: frozenset[str] = frozenset()
    urgent: frozenset[str] = frozenset()


def outdated(holds: Document, new: Document, told: Told, now_s: int) -> list[str]:
    """The trucks for which a replan of the plan that holds comes too late by `now_s`. Both are results; seconds are of the plans' day.

    A truck has served, or drives to, what the new plan has elsewhere, in another order or with another load; or the new plan says that
    it has served what it was never sent to.
    """
    before, after = ({str(route["truck"]): route["visits"] for route in result["routes"]} for result in (holds, new))
    return [truck for truck in {**before, **after} if _is_late(truck, before.get(truck, ()), after.get(truck, ()), told, now_s)]


def _is_late(truck: str, before: Sequence[Document], after: Sequence[Document], told: Told, now_s: int) -> bool:
    stands = truck in told.standing
    left = _left(before, told.at_s if stands else now_s)
    begun = _calls(before[: left + 1]) if left else []  # with the one that it drives to, or serves
    done, coming = _calls(after[: _left(after, now_s)]), _calls(after)
    if done != begun[: len(done)]:
        return True
    return not stands and (coming[: len(begun)] != begun or any(name in told.urgent for _, name in begun))


def _left(visits: Sequence[Document], at_s: int) -> int:
    """How many places a truck has left."""
    return sum(1 for visit in visits if visit["departure_s"] <= at_s)


def _calls(visits: Sequence[Document]) -> list[tuple[str, str]]:
    """Where a truck loads and unloads, in its order; its way home can be left at any time."""
    return [(visit["kind"], str(visit["id"])) for visit in visits if visit["kind"] in (VisitKind.STOP, VisitKind.UNLOAD)]


def _trucks(routes: Sequence[Document]) -> dict[str, str]:
    return {str(visit["id"]): str(route["truck"]) for route in routes for visit in _stops(route)}


def _pairs(routes: Sequence[Document]) -> set[tuple[str, str]]:
    return {(str(a["id"]), str(b["id"])) for route in routes for a, b in pairwise(_stops(route))}


def _stops(route: Document) -> list[Document]:
    return [visit for visit in route["visits"] if visit["kind"] == "stop"]
