"""Tables of the room `points`."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Integer, String, Table

from cityloop_common.db import Json
from cityloop_waste.keeping import registry_columns
from cityloop_waste.schema import metadata

collection_point = Table(
    "collection_point",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("name_en", String(200)),
    Column("lon", Float(53), nullable=False),
    Column("lat", Float(53), nullable=False),
    Column("district", String(80)),
    Column("windows", Json, nullable=False),
    *registry_columns(),
    CheckConstraint("lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90", name="position"),
)

# What stands at a point of each stream; of what came later null is the default.
point_demand = Table(
    "point_demand",
    metadata,
    Column("point_id", String(64), ForeignKey(collection_point.c.id, ondelete="CASCADE"), primary_key=True),
    Column("stream", String(20), primary_key=True),
    Column("mass_kg", Integer, nullable=False),
    Column("volume_dm3", Integer, nullable=False),
    Column("service_s", Integer, nullable=False),
    Column("containers", Integer),
    Column("trucks", Json),
    Column("prize_m", Integer),
    CheckConstraint("mass_kg >= 0 AND volume_dm3 >= 0 AND service_s >= 0", name="demand"),
)
