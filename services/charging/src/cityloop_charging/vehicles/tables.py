"""Tables of the room `vehicles`."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Date, Index, Integer, String, Table

from cityloop_charging.schema import metadata
from cityloop_common.db import UtcDateTime
from cityloop_common.journal import journal_columns

# One row per day with a stated stock: which statement is the newest. Its row is the day's lock, at
# version 0 only inside the unit that makes it.
vehicle_stock = Table(
    "vehicle_stock",
    metadata,
    Column("day", Date, primary_key=True),
    Column("statement_id", String(36), nullable=False),
    Column("version", Integer, nullable=False),
    Column("source", String(100), nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    CheckConstraint("version >= 0", name="version"),
)

# The journal: every count of every statement; `event_id` is the statement's id, so its rows belong together. A later statement
# on the same day corrects the earlier one row by row; what it leaves out is corrected to 0. `version` is the
# statement's: the highest one of a day holds. Never updated or deleted.
vehicle_registration = Table(
    "vehicle_registration",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("day", Date, nullable=False),
    Column("version", Integer, nullable=False),
    Column("vehicle_class", String(10), nullable=False),
    Column("drive", String(4), nullable=False),
    Column("standard", Boolean, nullable=False),
    Column("district", String(80)),
    Column("vehicles", Integer, nullable=False),
    *journal_columns(),
    CheckConstraint("vehicle_class IN ('passenger', 'bus', 'truck', 'other')", name="vehicle_class"),
    CheckConstraint("drive IN ('bev', 'phev')", name="drive"),
    CheckConstraint("vehicles >= 0", name="vehicles"),
)
Index("ix_vehicle_registration_day", vehicle_registration.c.day, vehicle_registration.c.version)
Index("ix_vehicle_registration_event_id", vehicle_registration.c.event_id)
