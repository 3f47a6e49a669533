"""In which way a cap of the day is kept in a model that knows only trips."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from cityloop_waste.planning.model import DayCap, Model


class Caps(StrEnum):
    """How the caps of a day are kept in a model that knows only trips.

    NONE: there are none, or they are not kept here. TRIPS: no more trips than the cap holds full trucks, exact where the truck
    divides the cap. SMALLER: as many trips as the cap needs, of a truck that is smaller by so much that they never exceed it.
    LENGTH: the "length" of a route is what it takes, and its time is what is made small. BESIDE: its length is its way, with what it
    takes beside it in larger units: no more of those than the cap. All that is served takes the same in every plan.
    """

    NONE = "none"
    TRIPS = "trips"
    SMALLER = "smaller"
    LENGTH = "length"
    BESIDE = "beside"


def ways(model: Model) -> tuple[Caps, ...]:
    """The ways to keep the caps of a model that are worth a try: none was best on all that was tried."""
    cap = tightest(model)
    if cap is None:
        return (Caps.NONE,)
    capacity = capacity_of(model, cap)
    if capacity is None:
        return (Caps.BESIDE, Caps.LENGTH)
    if not all(most is None or (most >= size and most % size == 0) for most, size in zip(cap.most, capacity, strict=True)):
        return (Caps.BESIDE, Caps.LENGTH, Caps.SMALLER)
    return (Caps.TRIPS,) if _trips(model, cap, capacity) else (Caps.LENGTH, Caps.TRIPS)


def _trips(model: Model, cap: DayCap, capacity: Sequence[int]) -> bool:
    """Whether the full trucks that a cap holds are trips enough for the other loads too, with some to spare."""
    trips = sum(most // size for most, size in zip(cap.most, capacity, strict=True) if most is not None)
    others = [loads for loads in model.loads if loads.name != cap.name]
    needed = max((-(-sum(loads.added) // max(loads.capacity)) for loads in others), default=0)
    return None in cap.most or needed * 5 <= trips * 4


def tightest(model: Model) -> DayCap | None:
    """The cap that most likely is in the way: the one that leaves the least room over what there is."""

    def room(cap: DayCap) -> float:
        enough = sum(cap.added)
        return sum(enough if most is None else most for most in cap.most) / max(1, enough)

    return min(model.caps, key=room, default=None)


def capacity_of(model: Model, cap: DayCap) -> Sequence[int] | None:
    """The capacities that belong to a cap; None when it caps no load."""
    return next((loads.capacity for loads in model.loads if loads.name == cap.name), None)
