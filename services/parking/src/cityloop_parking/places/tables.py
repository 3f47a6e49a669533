"""Tables of the room `places`."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Float, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from cityloop_common.db import Json, UtcDateTime
from cityloop_common.journal import journal_columns
from cityloop_parking.schema import metadata

# One row per car park: what its source says now. `event_id` is the id of the event that published this version.
place = Table(
    "place",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("source", String(40), nullable=False),
    Column("source_id", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("name_en", String(200)),
    Column("address", String(400), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("access", String(10), nullable=False),
    Column("operator_id", String(64)),
    Column("lon", Float(53), nullable=False),
    Column("lat", Float(53), nullable=False),
    Column("position_from", String(20), nullable=False),
    Column("jurisdiction", String(80)),
    Column("district", String(80)),
    Column("charging_stations", Integer),
    Column("accessible_bays", Integer),
    Column("tariff_text", Text),
    Column("fares", Json),
    Column("service_hours", String(200)),
    Column("phone", String(80)),
    Column("invented", Boolean, nullable=False),
    Column("state", String(10), nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("event_id", String(36), nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("source", "source_id"),
    CheckConstraint("kind IN ('garage', 'surface', 'on_street', 'unknown')", name="kind"),
    CheckConstraint("access IN ('public', 'private', 'permit')", name="access"),
    CheckConstraint("state IN ('open', 'closed')", name="state"),
    CheckConstraint("lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90", name="position"),
    CheckConstraint("version >= 1", name="version"),
)
Index("ix_place_operator_id", place.c.operator_id, place.c.id)

place_pool = Table(
    "place_pool",
    metadata,
    Column("place_id", String(64), ForeignKey(place.c.id, ondelete="CASCADE"), primary_key=True),
    Column("category", String(20), primary_key=True),
    Column("capacity", Integer, nullable=False),
    Column("walk_in_reserve", Integer, nullable=False, server_default="0"),
    Column("out_of_service", Integer, nullable=False, server_default="0"),
    CheckConstraint("category IN ('standard', 'ev', 'accessible', 'large', 'motorcycle')", name="category"),
    CheckConstraint("capacity >= 0", name="capacity"),
    CheckConstraint("walk_in_reserve >= 0 AND out_of_service >= 0 AND walk_in_reserve + out_of_service <= capacity", name="kept_back"),
)

# The journal of car parks: each version as it was learnt, never updated or deleted. A source does not say since when its words
# are true, so a version happened when it was learnt. One version is told by one event, so the row has the event's id. What a
# car park was at an instant is its highest version of those that had happened: replicas' clocks may order two of them wrongly.
# `in_city`: it lies in the jurisdiction as that was set then.
place_version = Table(
    "place_version",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("place_id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    *journal_columns(),
    Column("access", String(10), nullable=False),
    Column("state", String(10), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("district", String(80)),
    Column("in_city", Boolean, nullable=False),
    Column("total_bays", Integer, nullable=False),
    Column("name", String(200), nullable=False),
    UniqueConstraint("place_id", "version"),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("total_bays >= 0", name="total_bays"),
)
