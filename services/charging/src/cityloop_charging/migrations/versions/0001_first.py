"""Charging's tables: operators, stations, links to car parks, registered vehicles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cityloop_common.columns import Json, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables as they were at the first release."""
    op.create_table(
        "evse_version",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("evse_uid", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("location_id", sa.String(length=64), nullable=False),
        sa.Column("operator_id", sa.String(length=9), nullable=False),
        sa.Column("connector_id", sa.String(length=26), nullable=False),
        sa.Column("power_w", sa.Integer(), nullable=False),
        sa.Column("current", sa.String(length=2), nullable=False),
        sa.Column("standard", sa.Boolean(), nullable=False),
        sa.Column("bay_no", sa.String(length=10), nullable=True),
        sa.Column("lifecycle", sa.String(length=10), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("corrects", sa.String(length=36), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evse_version")),
        sa.UniqueConstraint("evse_uid", "version", name=op.f("uq_evse_version_evse_uid_version")),
    )
    op.create_table(
        "link",
        sa.Column("location_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("decider", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("evidence", Json(), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("state IN ('proposed', 'confirmed', 'rejected', 'withdrawn')", name=op.f("ck_link_state")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_link_version")),
        sa.PrimaryKeyConstraint("location_id", name=op.f("pk_link")),
    )
    op.create_index("ix_link_place_id", "link", ["place_id"], unique=False)
    op.create_index("ix_link_state", "link", ["state", "location_id"], unique=False)
    op.create_table(
        "link_version",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("location_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("decider", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("evidence", Json(), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("corrects", sa.String(length=36), nullable=True),
        sa.CheckConstraint("state IN ('proposed', 'confirmed', 'rejected', 'withdrawn')", name=op.f("ck_link_version_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_version")),
        sa.UniqueConstraint("location_id", "version", name=op.f("uq_link_version_location_id_version")),
    )
    op.create_table(
        "location",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("operator_id", sa.String(length=9), nullable=False),
        sa.Column("station_id", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_en", sa.String(length=200), nullable=True),
        sa.Column("lon", sa.Float(precision=53), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("in_city", sa.Boolean(), nullable=False),
        sa.Column("access", sa.String(length=10), nullable=False),
        sa.Column("bay_count", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("invented", sa.Boolean(), nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("access IN ('public', 'compound', 'private')", name=op.f("ck_location_access")),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_location_state")),
        sa.CheckConstraint("lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90", name=op.f("ck_location_position")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_location_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_location")),
    )
    op.create_index("ix_location_lat", "location", ["lat", "lon"], unique=False)
    op.create_index("ix_location_operator_id", "location", ["operator_id", "id"], unique=False)
    op.create_index("ix_location_place_id", "location", ["place_id"], unique=False)
    op.create_table(
        "location_version",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("location_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("operator_id", sa.String(length=9), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("lon", sa.Float(precision=53), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("in_city", sa.Boolean(), nullable=False),
        sa.Column("access", sa.String(length=10), nullable=False),
        sa.Column("bay_count", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("invented", sa.Boolean(), nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=True),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("corrects", sa.String(length=36), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_location_version")),
        sa.UniqueConstraint("location_id", "version", name=op.f("uq_location_version_location_id_version")),
    )
    op.create_table(
        "operator",
        sa.Column("id", sa.String(length=9), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("profile", Json(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_operator_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator")),
    )
    op.create_table(
        "place",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_en", sa.String(length=200), nullable=True),
        sa.Column("lon", sa.Float(precision=53), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("access", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("in_city", sa.Boolean(), nullable=False),
        sa.Column("total_bays", sa.Integer(), nullable=False),
        sa.Column("ev_bays", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("total_bays >= 0 AND ev_bays >= 0", name=op.f("ck_place_bays")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_place")),
    )
    op.create_index("ix_place_lat", "place", ["lat", "lon"], unique=False)
    op.create_table(
        "place_version",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("lon", sa.Float(precision=53), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("access", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("in_city", sa.Boolean(), nullable=False),
        sa.Column("total_bays", sa.Integer(), nullable=False),
        sa.Column("ev_bays", sa.Integer(), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("corrects", sa.String(length=36), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_place_version")),
        sa.UniqueConstraint("place_id", "sequence", name=op.f("uq_place_version_place_id_sequence")),
    )
    op.create_table(
        "vehicle_registration",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("vehicle_class", sa.String(length=10), nullable=False),
        sa.Column("drive", sa.String(length=4), nullable=False),
        sa.Column("standard", sa.Boolean(), nullable=False),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("vehicles", sa.Integer(), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("corrects", sa.String(length=36), nullable=True),
        sa.CheckConstraint("drive IN ('bev', 'phev')", name=op.f("ck_vehicle_registration_drive")),
        sa.CheckConstraint("vehicle_class IN ('passenger', 'bus', 'truck', 'other')", name=op.f("ck_vehicle_registration_vehicle_class")),
        sa.CheckConstraint("vehicles >= 0", name=op.f("ck_vehicle_registration_vehicles")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vehicle_registration")),
    )
    op.create_index("ix_vehicle_registration_day", "vehicle_registration", ["day", "version"], unique=False)
    op.create_index("ix_vehicle_registration_event_id", "vehicle_registration", ["event_id"], unique=False)
    op.create_table(
        "vehicle_stock",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("statement_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("version >= 0", name=op.f("ck_vehicle_stock_version")),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_vehicle_stock")),
    )
    op.create_table(
        "evse",
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("location_id", sa.String(length=64), nullable=False),
        sa.Column("operator_id", sa.String(length=9), nullable=False),
        sa.Column("connector_id", sa.String(length=26), nullable=False),
        sa.Column("power_w", sa.Integer(), nullable=False),
        sa.Column("current", sa.String(length=2), nullable=False),
        sa.Column("standard", sa.Boolean(), nullable=False),
        sa.Column("bay_no", sa.String(length=10), nullable=True),
        sa.Column("lifecycle", sa.String(length=10), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("current IN ('ac', 'dc')", name=op.f("ck_evse_current")),
        sa.CheckConstraint("lifecycle IN ('planned', 'in_service', 'removed')", name=op.f("ck_evse_lifecycle")),
        sa.CheckConstraint("power_w > 0", name=op.f("ck_evse_power_w")),
        sa.ForeignKeyConstraint(["location_id"], ["location.id"], name=op.f("fk_evse_location_id")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_evse")),
    )
    op.create_index("ix_evse_location_id", "evse", ["location_id", "uid"], unique=False)
    op.create_index(
        "uq_evse_connector",
        "evse",
        ["operator_id", "connector_id"],
        unique=True,
        postgresql_where=sa.text("lifecycle <> 'removed'"),
        sqlite_where=sa.text("lifecycle <> 'removed'"),
    )
