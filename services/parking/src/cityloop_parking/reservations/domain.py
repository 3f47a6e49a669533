"""A space held for a time: its states, its buckets, and how many spaces may be sold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cityloop_common import errors
from cityloop_parking.closures.domain import CLOSED_FOR, Window

BUCKET = timedelta(minutes=15)
START_GRACE = timedelta(minutes=5)
LINK_OUTLIVES = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class State(StrEnum):
    """Where a reservation stands; the last three are final."""

    HELD = "held"
    CONFIRMED = "confirmed"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.HELD: frozenset({State.CONFIRMED, State.EXPIRED, State.CANCELLED}),
    State.CONFIRMED: frozenset({State.COMPLETED, State.CANCELLED}),
    State.COMPLETED: frozenset(),
    State.EXPIRED: frozenset(),
    State.CANCELLED: frozenset(),
}


def sources_of(target: State) -> tuple[State, ...]:
    """The states that may become `target`; the statements that move a reservation take their condition from here."""
    return tuple(state for state, targets in TRANSITIONS.items() if target in targets)


class ReservationError(errors.CityLoopError):
    """A reservation that cannot be had, or cannot be changed like that.

    The tree, each mixed with the shared class that gives its status::

        ReservationError
        ├── PlaceFull 409             no space is left in one of the quarter hours
        ├── PlaceClosed 409           the car park takes nobody, or not all through the stay: then it names the window
        ├── HoldExpired 409           the hold was not confirmed in time
        ├── NotHeld 409               there is no hold to confirm: cancelled before
        ├── ReservationOver 409       it has ended, nothing is left to cancel
        ├── UnknownReservation 404    no such reservation, or another's
        ├── UnknownCategory 422       the car park has no spaces of this category
        ├── EmptyStay 422             it ends before it starts
        ├── InThePast 422             it starts before now
        ├── TooFarAhead 422           it starts after the horizon
        ├── TooLong 422               it is longer than the longest stay
        ├── TooManyHolds 429          unconfirmed holds of this subject or network
        └── TooManyReservations 429   reservations of this subject that have not ended
    """


class PlaceFull(ReservationError, errors.Conflict):
    slug, title = "place-full", "No space is left for this time"


class PlaceClosed(ReservationError, errors.Conflict):
    slug, title = "place-closed", "The car park is closed"


class HoldExpired(ReservationError, errors.Conflict):
    slug, title = "hold-expired", "The hold has expired"


class NotHeld(ReservationError, errors.Conflict):
    slug, title = "not-held", "The reservation is not held"


class ReservationOver(ReservationError, errors.Conflict):
    slug, title = "reservation-over", "The reservation has ended"


class UnknownReservation(ReservationError, errors.NotFound):
    slug, title = "reservation-unknown", "No such reservation"


class UnknownCategory(ReservationError, errors.Invalid):
    slug, title = "category-unknown", "The car park has no such spaces"


class EmptyStay(ReservationError, errors.Invalid):
    slug, title = "empty-stay", "A stay ends after it starts"


class InThePast(ReservationError, errors.Invalid):
    slug, title = "in-the-past", "A stay cannot start in the past"


class TooFarAhead(ReservationError, errors.Invalid):
    slug, title = "too-far-ahead", "The stay starts too far ahead"


class TooLong(ReservationError, errors.Invalid):
    slug, title = "too-long", "The stay is too long"


class TooManyHolds(ReservationError, errors.TooManyRequests):
    slug, title = "too-many-holds", "Confirm or cancel a hold first"


class TooManyReservations(ReservationError, errors.TooManyRequests):
    slug, title = "too-many-reservations", "Too many reservations that have not ended"


@dataclass(frozen=True, slots=True)
class Stay:
    """What is asked for: one space of a category, for `[starts_at, ends_at)`."""

    place_id: str
    category: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Rules:
    """What the city allows."""

    hold_for: timedelta
    horizon: timedelta
    longest_stay: timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """How many at a time: unconfirmed holds and open reservations of a subject, unconfirmed holds of a network."""

    holds_per_subject: int
    open_per_subject: int
    holds_per_network: int


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds; a guest also counts for the network, known only by its keyed hash."""

    subject: str
    network_hash: str | None


@dataclass(frozen=True, slots=True)
class Reservation:
    """One space of a pool, promised to a holder. `version` counts its transitions."""

    id: str
    place_id: str
    category: str
    starts_at: datetime
    ends_at: datetime
    state: State
    held_until: datetime
    version: int
    created_at: datetime
    confirmed_at: datetime | None = None
    closed_at: datetime | None = None


def hold(want: Stay, *, id: str, now: datetime, rules: Rules) -> Reservation:
    """A new hold. Raises EmptyStay, InThePast, TooLong or TooFarAhead."""
    check_stay(want, now, rules)
    held_until = min(now + rules.hold_for, want.ends_at)
    return Reservation(id, want.place_id, want.category, want.starts_at, want.ends_at, State.HELD, held_until, 1, now)


def check_stay(want: Stay, now: datetime, rules: Rules) -> None:
    """Refuses a stay that the city does not offer; a start up to `START_GRACE` ago counts as now."""
    if want.ends_at <= want.starts_at:
        raise EmptyStay
    if want.starts_at < now - START_GRACE or want.ends_at <= now:
        raise InThePast
    if want.starts_at > now + rules.horizon:
        raise TooFarAhead(f"at most {rules.horizon.days} days ahead", horizon_days=rules.horizon.days)
    if want.ends_at - want.starts_at > rules.longest_stay:
        hours = int(rules.longest_stay.total_seconds() // 3600)
        raise TooLong(f"at most {hours} hours", longest_stay_h=hours)


def unconfirmable(reservation: Reservation, now: datetime) -> ReservationError | None:
    """Why a reservation that the statement did not confirm cannot be; None when it already is."""
    match reservation.state:
        case State.CONFIRMED | State.COMPLETED:
            return None
        case State.CANCELLED:
            return NotHeld("it was cancelled", state=reservation.state.value)
        case State.EXPIRED:
            return HoldExpired(held_until=reservation.held_until.isoformat())
        case State.HELD if reservation.held_until <= now:
            return HoldExpired(held_until=reservation.held_until.isoformat())
        case State.HELD:
            return NotHeld("it changed meanwhile: try again", state=reservation.state.value)


def uncancellable(reservation: Reservation) -> ReservationError | None:
    """Why a reservation that the statement did not cancel cannot be; None when it already is."""
    match reservation.state:
        case State.CANCELLED:
            return None
        case State.EXPIRED:
            return HoldExpired("it expired before", held_until=reservation.held_until.isoformat())
        case _:
            return ReservationOver(ends_at=reservation.ends_at.isoformat())


def bucket_floor(at: datetime) -> datetime:
    """The start of the quarter hour that an instant falls in."""
    return at - (at - _EPOCH) % BUCKET


def bucket_ceil(at: datetime) -> datetime:
    """The first start of a quarter hour that is not before an instant."""
    return at + (_EPOCH - at) % BUCKET


@dataclass(frozen=True, slots=True)
class Buckets:
    """The quarter hours of a stay, rounded outward: half-open `[first, end)`."""

    first: datetime
    end: datetime

    @classmethod
    def of(cls, starts_at: datetime, ends_at: datetime) -> Buckets:
        return cls(bucket_floor(starts_at), bucket_ceil(ends_at))

    @property
    def count(self) -> int:
        return (self.end - self.first) // BUCKET

    def starts(self) -> Sequence[datetime]:
        """Every bucket's start, ascending: the one order in which they are taken."""
        return [self.first + BUCKET * i for i in range(self.count)]


class Reason(StrEnum):
    """Why promises cannot be kept: a count or a change left less than is booked, or the street is needed."""

    OVERSOLD = "oversold"
    COLLECTION = CLOSED_FOR


@dataclass(frozen=True, slots=True)
class Conflict:
    """A quarter hour for which more is promised than can be kept now."""

    category: str
    starts_at: datetime
    booked: int
    sellable: int
    reason: Reason


def closed_over(stays: Sequence[Stay], windows: Sequence[Window], *, now: datetime) -> list[Conflict]:
    """Quarter hours, not over yet, of windows that overlap stays, with how many stays each has to do without its space."""
    booked: Counter[tuple[str, datetime]] = Counter()
    for stay in stays:
        met: set[datetime] = set()
        for window in windows:
            first, end = max(stay.starts_at, window.starts_at), min(stay.ends_at, window.ends_at)
            if first < end:
                met.update(Buckets.of(first, end).starts())
        booked.update((stay.category, start) for start in met if start > now - BUCKET)
    return [Conflict(category, start, many, 0, Reason.COLLECTION) for (category, start), many in sorted(booked.items())]


@dataclass(frozen=True, slots=True)
class Pool:
    """Equal spaces of one category of a place, and those that are kept back."""

    capacity: int
    walk_in_reserve: int
    out_of_service: int


@dataclass(frozen=True, slots=True)
class Count:
    """The newest count of a pool: spaces taken, of how many, when it was taken."""

    occupied: int
    capacity: int
    observed_at: datetime


def sellable(pool: Pool, count: Count | None, bucket: datetime, *, shrinks_for: timedelta) -> int:
    """Spaces of a pool that may be promised for one quarter hour.

    Capacity without the walk-ins' reserve and what is out of service; where a count speaks for the quarter hour, not more
    than it saw free. An arrived holder cannot yet be told from a walk-in, so a count never raises what may be promised.
    """
    nominal = max(0, pool.capacity - pool.walk_in_reserve - pool.out_of_service)
    if count is None or not speaks_for(count.observed_at, bucket, shrinks_for=shrinks_for):
        return nominal
    usable = min(count.capacity, pool.capacity - pool.out_of_service)
    return min(nominal, max(0, usable - count.occupied))


def speaks_for(observed_at: datetime, bucket: datetime, *, shrinks_for: timedelta) -> bool:
    """Whether a count says something about a quarter hour: not over when it was taken, and starting soon after."""
    return bucket + BUCKET > observed_at and bucket < observed_at + shrinks_for
