"""Tables of the room `registry`."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Float, ForeignKey, Index, Integer, String, Table, UniqueConstraint, text

from cityloop_charging.schema import metadata
from cityloop_common.db import UtcDateTime
from cityloop_common.journal import journal_columns

# One row per station: what is known now. `in_city`: it lies in the jurisdiction as that was set when it was stored.
# `place_id` is the car park of its confirmed link, set by the room `bays`;
# `event_id` is the id of the event that published this version.
location = Table(
    "location",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("operator_id", String(9), nullable=False),
    Column("station_id", String(20), nullable=False),
    Column("name", String(200), nullable=False),
    Column("name_en", String(200)),
    Column("lon", Float(53), nullable=False),
    Column("lat", Float(53), nullable=False),
    Column("district", String(80)),
    Column("in_city", Boolean, nullable=False),
    Column("access", String(10), nullable=False),
    Column("bay_count", Integer),
    Column("state", String(10), nullable=False),
    Column("invented", Boolean, nullable=False),
    Column("place_id", String(64)),
    Column("version", Integer, nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("event_id", String(36), nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("access IN ('public', 'compound', 'private')", name="access"),
    CheckConstraint("state IN ('open', 'closed')", name="state"),
    CheckConstraint("lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90", name="position"),
    CheckConstraint("version >= 1", name="version"),
)
Index("ix_location_operator_id", location.c.operator_id, location.c.id)
Index("ix_location_lat", location.c.lat, location.c.lon)
Index("ix_location_place_id", location.c.place_id)

# One row per EVSE that there is, is planned or was.
evse = Table(
    "evse",
    metadata,
    Column("uid", String(64), primary_key=True),
    Column("location_id", String(64), ForeignKey(location.c.id), nullable=False),
    Column("operator_id", String(9), nullable=False),
    Column("connector_id", String(26), nullable=False),
    Column("power_w", Integer, nullable=False),
    Column("current", String(2), nullable=False),
    Column("standard", Boolean, nullable=False),
    Column("bay_no", String(10)),
    Column("lifecycle", String(10), nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("current IN ('ac', 'dc')", name="current"),
    CheckConstraint("lifecycle IN ('planned', 'in_service', 'removed')", name="lifecycle"),
    CheckConstraint("power_w > 0", name="power_w"),
)
Index("ix_evse_location_id", evse.c.location_id, evse.c.uid)
# T/CEC 102: a ConnectorID is unique within its operator, and status reports name nothing else.
Index(
    "uq_evse_connector",
    evse.c.operator_id,
    evse.c.connector_id,
    unique=True,
    postgresql_where=text("lifecycle <> 'removed'"),
    sqlite_where=text("lifecycle <> 'removed'"),
)

# The journal of stations: the whole state after each change. What a station was at an instant is its highest version of those that
# had happened. Never updated or deleted.
location_version = Table(
    "location_version",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("location_id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("operator_id", String(9), nullable=False),
    Column("name", String(200), nullable=False),
    Column("lon", Float(53), nullable=False),
    Column("lat", Float(53), nullable=False),
    Column("district", String(80)),
    Column("in_city", Boolean, nullable=False),
    Column("access", String(10), nullable=False),
    Column("bay_count", Integer),
    Column("state", String(10), nullable=False),
    Column("invented", Boolean, nullable=False),
    Column("place_id", String(64)),
    *journal_columns(),
    UniqueConstraint("location_id", "version"),
)

# The journal of EVSEs: the whole state after each change, one row per EVSE that changed; `version` is its station's. Never updated
# or deleted.
evse_version = Table(
    "evse_version",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("evse_uid", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("location_id", String(64), nullable=False),
    Column("operator_id", String(9), nullable=False),
    Column("connector_id", String(26), nullable=False),
    Column("power_w", Integer, nullable=False),
    Column("current", String(2), nullable=False),
    Column("standard", Boolean, nullable=False),
    Column("bay_no", String(10)),
    Column("lifecycle", String(10), nullable=False),
    *journal_columns(),
    UniqueConstraint("evse_uid", "version"),
)
