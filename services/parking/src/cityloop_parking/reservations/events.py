"""What parking tells of a reservation: facts without a word about who holds it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel

from cityloop_common.envelope import Event, EventType, Kind
from cityloop_parking.reservations.domain import Reservation, State

TOPIC = "parking.reservation"


class ReservationStay(BaseModel):
    """What every event of a reservation says: which space of which place, from when to when."""

    reservation_id: str
    place_id: str
    category: str
    starts_at: AwareDatetime
    ends_at: AwareDatetime


class ReservationHeld(ReservationStay):
    """A space is kept until `held_until`, unless it is confirmed."""

    held_until: AwareDatetime


class ReservationConfirmed(ReservationStay):
    """The space is promised; who drives there can be expected."""


class ReservationCancelled(ReservationStay):
    """The holder gave the space back."""


class ReservationExpired(ReservationStay):
    """Nobody confirmed the hold in time; the space is free again."""


class ReservationCompleted(ReservationStay):
    """The reserved time is over."""


HELD = EventType("parking.reservation.held.v1", TOPIC, Kind.FACT, ReservationHeld)
CONFIRMED = EventType("parking.reservation.confirmed.v1", TOPIC, Kind.FACT, ReservationConfirmed)
CANCELLED = EventType("parking.reservation.cancelled.v1", TOPIC, Kind.FACT, ReservationCancelled)
EXPIRED = EventType("parking.reservation.expired.v1", TOPIC, Kind.FACT, ReservationExpired)
COMPLETED = EventType("parking.reservation.completed.v1", TOPIC, Kind.FACT, ReservationCompleted)
PUBLISHED = (HELD, CONFIRMED, CANCELLED, EXPIRED, COMPLETED)

_CLOSING: dict[State, EventType[Any]] = {
    State.CANCELLED: CANCELLED,
    State.EXPIRED: EXPIRED,
    State.COMPLETED: COMPLETED,
}


def reservation_held(made: Reservation, *, id: str, source: str) -> Event:
    """The first event of a reservation."""
    data = ReservationHeld.model_construct(**_stay(made), held_until=made.held_until)
    return HELD.event(data, id=id, key=made.id, sequence=made.version, time=made.created_at, source=source)


def reservation_confirmed(confirmed: Reservation, *, id: str, at: datetime, source: str) -> Event:
    """The hold became a promise."""
    data = ReservationConfirmed.model_construct(**_stay(confirmed))
    return CONFIRMED.event(data, id=id, key=confirmed.id, sequence=confirmed.version, time=at, source=source)


def reservation_closed(closed: Reservation, *, id: str, at: datetime, source: str) -> Event:
    """The last event: cancelled, expired or completed, as its state says."""
    closing = _CLOSING[closed.state]
    data = closing.model.model_construct(**_stay(closed))
    return closing.event(data, id=id, key=closed.id, sequence=closed.version, time=at, source=source)


def _stay(of: Reservation) -> dict[str, Any]:
    return {
        "reservation_id": of.id,
        "place_id": of.place_id,
        "category": of.category,
        "starts_at": of.starts_at,
        "ends_at": of.ends_at,
    }
