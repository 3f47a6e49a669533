"""Tables of the room `fleet`."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Index, Integer, String, Table

from cityloop_common.db import Json
from cityloop_waste.keeping import registry_columns
from cityloop_waste.schema import metadata

depot = Table(
    "depot",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("name_en", String(200)),
    Column("lon", Float(53), nullable=False),
    Column("lat", Float(53), nullable=False),
    *registry_columns(),
    CheckConstraint("lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90", name="position"),
)

# A truck is known by its public number; its stream is written once.
truck = Table(
    "truck",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("operator_id", String(64), nullable=False),
    Column("stream", String(20), nullable=False),
    Column("depot_id", String(64), ForeignKey(depot.c.id), nullable=False),
    Column("capacity_kg", Integer, nullable=False),
    Column("capacity_dm3", Integer, nullable=False),
    Column("shift_start_s", Integer, nullable=False),
    Column("shift_end_s", Integer, nullable=False),
    Column("max_mass_kg", Integer),
    Column("district", String(80)),
    *registry_columns(),
    Column("day_kg", Integer),
    Column("day_dm3", Integer),
    Column("day_stops", Integer),
    Column("day_containers", Integer),
    Column("overtime_s", Integer),
    CheckConstraint("capacity_kg > 0 AND capacity_dm3 > 0", name="capacity"),
    CheckConstraint("shift_start_s >= 0 AND shift_start_s < shift_end_s", name="shift"),
)
Index("ix_truck_stream", truck.c.stream, truck.c.id)

site = Table(
    "site",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("name", String(200), nullable=False),
    Column("name_en", String(200)),
    Column("operator_id", String(64), nullable=False),
    Column("lon", Float(53), nullable=False),
    Column("lat", Float(53), nullable=False),
    Column("district", String(80)),
    Column("streams", Json, nullable=False),
    Column("service_s", Integer, nullable=False),
    Column("opening", Json, nullable=False),
    Column("haulers", Json, nullable=False),
    *registry_columns(),
    Column("queue_s", Integer),
    Column("day_kg", Integer),
    CheckConstraint("kind IN ('recycler', 'biogas', 'incinerator', 'landfill', 'transfer')", name="kind"),
    CheckConstraint("lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90", name="position"),
    CheckConstraint("service_s >= 0", name="service_s"),
)
