"""From counts by category to the series that are forecast: a place's total, and each category that is not the whole of it.

The total is what a car driver looks for: every category but motorcycles, and those only where a place has nothing else. A
category that the total consists of has no series of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from cityloop_common.clock import CITY_TZ
from cityloop_parking.availability.domain import Reading
from cityloop_parking.places.domain import Category

COUNTS_TOGETHER_S = 24 * 3600.0  # a category that is silent for longer is no part of the total
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Counted(NamedTuple):
    """How many of a category were taken of how many, at a wall-clock second."""

    occupied: int
    capacity: int
    at: float


Counts = Mapping[str, Counted]
"""The newest count of each category of a place."""


def wall(at: datetime) -> float:
    """Wall-clock seconds of an instant: Unix seconds and the city's offset from UTC then."""
    offset = at.astimezone(CITY_TZ).utcoffset()
    assert offset is not None
    return (at - _EPOCH).total_seconds() + offset.total_seconds()


def instant_of(wall_s: float) -> datetime:
    """The instant of a wall-clock second; of one that a clock showed twice, the first."""
    return datetime.fromtimestamp(wall_s, UTC).replace(tzinfo=CITY_TZ).astimezone(UTC)


def category_series(place_id: str, category: str) -> str:
    """The name of a category's series."""
    return f"{place_id}/{category}"


def total(place_id: str, counts: Counts, at: float) -> Reading | None:
    """A place's total at a wall-clock second, from the newest count of each category of the day before; None without any."""
    parts = [counts[category] for category in in_total(counts) if at - counts[category].at <= COUNTS_TOGETHER_S]
    if not parts:
        return None
    return Reading(place_id, at, sum(each.occupied for each in parts), sum(each.capacity for each in parts))


def in_total(counts: Counts) -> list[str]:
    """The categories that a total consists of."""
    return [category for category in counts if category != Category.MOTORCYCLE] or list(counts)


def own_series(counts: Counts) -> Iterator[str]:
    """The categories that have a series of their own."""
    whole = in_total(counts)
    return (category for category in counts if len(whole) > 1 or category not in whole)
