"""What the city hears of counts: topic `parking.occupancy`, full state of a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel

from cityloop_common.envelope import Event, EventType, Kind

TOPIC = "parking.occupancy"


class CountV1(BaseModel):
    """The newest count of one category; `free` is never below zero."""

    category: str
    occupied: int
    free: int
    capacity: int
    observed_at: datetime
    source: str
    interval_s: int


class OccupancyObservedV1(BaseModel):
    """What is taken in a car park, category by category."""

    place_id: str
    counts: list[CountV1]


OCCUPANCY_OBSERVED = EventType("parking.occupancy.observed.v1", TOPIC, Kind.STATE, OccupancyObservedV1)


@dataclass(frozen=True, slots=True)
class LiveCount:
    """The newest count of one category as it is stored."""

    place_id: str
    category: str
    occupied: int
    capacity: int
    observed_at: datetime
    source: str
    interval_s: int


@dataclass(frozen=True, slots=True)
class Published:
    """The version of a place's counts and the event that tells of it."""

    place_id: str
    version: int
    event_id: str
    at: datetime


def occupancy_observed(published: Published, counts: Sequence[LiveCount], *, source: str) -> Event:
    """The event of a place's counts; the same id and bytes however often it is made."""
    body = OccupancyObservedV1(
        place_id=published.place_id,
        counts=[
            CountV1(
                category=count.category,
                occupied=count.occupied,
                free=max(0, count.capacity - count.occupied),
                capacity=count.capacity,
                observed_at=count.observed_at,
                source=count.source,
                interval_s=count.interval_s,
            )
            for count in sorted(counts, key=lambda count: count.category)
        ],
    )
    return OCCUPANCY_OBSERVED.event(
        body, id=published.event_id, key=published.place_id, sequence=published.version, time=published.at, source=source
    )
