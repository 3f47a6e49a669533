"""Tables of the room `reservations`."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, String, Table, text

from cityloop_common.db import UtcDateTime
from cityloop_parking.schema import metadata

# One row per pool and quarter hour that somebody asked for. `sellable` is a condition for new holds only: as a CHECK it
# would refuse the count that shrinks it. booked > sellable is a conflict that the operator sees.
pool_bucket = Table(
    "pool_bucket",
    metadata,
    Column("place_id", String(64), primary_key=True),
    Column("category", String(20), primary_key=True),
    Column("starts_at", UtcDateTime, primary_key=True),
    Column("booked", Integer, nullable=False, server_default="0"),
    Column("sellable", Integer, nullable=False),
    CheckConstraint("booked >= 0", name="booked"),
    CheckConstraint("sellable >= 0", name="sellable"),
)
Index("ix_pool_bucket_starts_at", pool_bucket.c.starts_at)

# `bucket_from` and `bucket_to` are the stay rounded outward; `*_event_id` name the event of each transition.
reservation = Table(
    "reservation",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("place_id", String(64), nullable=False),
    Column("category", String(20), nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("state", String(10), nullable=False),
    Column("held_until", UtcDateTime, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("confirmed_at", UtcDateTime),
    Column("closed_at", UtcDateTime),
    Column("subject", String(200), nullable=False),
    Column("network_hash", String(64)),
    Column("bucket_from", UtcDateTime, nullable=False),
    Column("bucket_to", UtcDateTime, nullable=False),
    Column("held_event_id", String(36), nullable=False),
    Column("confirmed_event_id", String(36)),
    Column("closed_event_id", String(36)),
    CheckConstraint("state IN ('held', 'confirmed', 'completed', 'expired', 'cancelled')", name="state"),
    CheckConstraint("starts_at < ends_at", name="stay"),
)
Index("ix_reservation_subject", reservation.c.subject, reservation.c.id)
Index("ix_reservation_place_id", reservation.c.place_id, reservation.c.id)
Index(
    "ix_reservation_held_until",
    reservation.c.held_until,
    postgresql_where=text("state = 'held'"),
    sqlite_where=text("state = 'held'"),
)
Index(
    "ix_reservation_ends_at",
    reservation.c.ends_at,
    postgresql_where=text("state = 'confirmed'"),
    sqlite_where=text("state = 'confirmed'"),
)

# How many unconfirmed holds and open reservations a subject or a network has; a row at zero is swept away.
holder_count = Table(
    "holder_count",
    metadata,
    Column("key", String(210), primary_key=True),
    Column("held", Integer, nullable=False),
    Column("open", Integer, nullable=False),
    CheckConstraint("held >= 0", name="held"),
    CheckConstraint("open >= held", name="open"),
)
