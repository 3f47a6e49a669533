"""What a count says, and whether it can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cityloop_common import errors
from cityloop_parking.places.domain import MOST_SPACES

FUTURE_ALLOWED = timedelta(minutes=5)
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
ABSURD_TIMES = 10  # a count of more than ten times the capacity is a defect, not a crowd


class ObservationError(errors.CityLoopError):
    """Something about counts that the reporter can understand::

    ObservationError
    └── InvalidObservation 422   counts that cannot be true, or that say nothing
        └── FromTheFuture        taken more than 5 minutes after now
    """


class InvalidObservation(ObservationError, errors.Invalid):
    slug, title = "observation-invalid", "The count cannot be true"


class FromTheFuture(InvalidObservation):
    slug, title = "observation-from-the-future", "The count was taken later than now"


@dataclass(frozen=True, slots=True)
class Count:
    """Taken or free spaces of one category, one of the two; `capacity` where the reporter knows it."""

    category: str
    occupied: int | None = None
    free: int | None = None
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """Counts of a place, taken at one instant by one source, which reports every `interval_s` seconds."""

    observed_at: datetime
    source: str
    counts: tuple[Count, ...]
    interval_s: int | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a place that is reported on."""

    place_id: str
    operator_id: str | None
    capacity: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Taken:
    """One count, resolved: how many are taken of how many."""

    category: str
    occupied: int
    capacity: int
    capacity_reported: int | None


class Outcome(StrEnum):
    """What became of a report: it is the newest of at least one category, or something newer was known for each."""

    CURRENT = "current"
    SUPERSEDED = "superseded"


def check_time(observed_at: datetime, now: datetime) -> None:
    """Raises FromTheFuture, or InvalidObservation for a stamp that no sensor of ours can have made."""
    if observed_at > now + FUTURE_ALLOWED:
        raise FromTheFuture(f"taken {(observed_at - now).total_seconds():.0f} s after now; {FUTURE_ALLOWED.seconds} s are allowed")
    if observed_at < OLDEST:
        raise InvalidObservation("taken before the year 2000")


def resolve(counts: Sequence[Count], capacity: Mapping[str, int]) -> list[Taken]:
    """Counts as taken of capacity. More taken than there is stays as it is; free is then none.

    Raises InvalidObservation for what cannot be: a category twice or unknown, neither or both of occupied and free, more
    free than there is, more than ten times what there is.
    """
    if not counts:
        raise InvalidObservation("no counts")
    if len({count.category for count in counts}) < len(counts):
        raise InvalidObservation("a category is named twice")
    return [_resolved(count, capacity.get(count.category)) for count in counts]


def _resolved(count: Count, known: int | None) -> Taken:
    capacity = count.capacity if count.capacity is not None else known
    if capacity is None:
        raise InvalidObservation(f"the place has no {count.category} spaces; give their capacity")
    if (count.occupied is None) == (count.free is None):
        raise InvalidObservation(f"{count.category}: give occupied or free, one of them")
    if count.free is not None and not 0 <= count.free <= capacity:
        raise InvalidObservation(f"{count.category}: {count.free} free of {capacity}")
    occupied = count.occupied if count.occupied is not None else capacity - (count.free or 0)
    if occupied < 0 or capacity < 0 or capacity > MOST_SPACES:
        raise InvalidObservation(f"{count.category}: {occupied} taken of {capacity}")
    if occupied > ABSURD_TIMES * max(capacity, 10):
        raise InvalidObservation(f"{count.category}: {occupied} taken of {capacity} is more than {ABSURD_TIMES} times what there is")
    return Taken(count.category, occupied, capacity, count.capacity)
