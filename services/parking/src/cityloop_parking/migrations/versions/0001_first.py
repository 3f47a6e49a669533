"""Parking's tables: places, observations, reservations, search."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cityloop_common.columns import Json, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables as they were at the first release."""
    op.create_table(
        "holder_count",
        sa.Column("key", sa.String(length=210), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.CheckConstraint("held >= 0", name=op.f("ck_holder_count_held")),
        sa.CheckConstraint("open >= held", name=op.f("ck_holder_count_open")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_holder_count")),
    )
    op.create_table(
        "live_count",
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=False),
        sa.Column("occupied", sa.Integer(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("observed_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.CheckConstraint("interval_s > 0", name=op.f("ck_live_count_interval_s")),
        sa.CheckConstraint("occupied >= 0 AND capacity >= 0", name=op.f("ck_live_count_counts")),
        sa.PrimaryKeyConstraint("place_id", "category", name=op.f("pk_live_count")),
    )
    op.create_table(
        "observation",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("occupied", sa.Integer(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("capacity_reported", sa.Integer(), nullable=True),
        sa.Column("event_id", sa.String(length=36), nullable=True),
        sa.CheckConstraint("occupied >= 0 AND capacity >= 0", name=op.f("ck_observation_counts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation")),
        sa.UniqueConstraint("place_id", "category", "source", "minute", name=op.f("uq_observation_place_id_category_source_minute")),
    )
    op.create_index("ix_observation_recorded_at", "observation", ["recorded_at"], unique=False)
    op.create_index("ix_observation_source", "observation", ["source"], unique=False)
    op.create_table(
        "occupancy",
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("published_version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("place_id", name=op.f("pk_occupancy")),
    )
    op.create_table(
        "place",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("source_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_en", sa.String(length=200), nullable=True),
        sa.Column("address", sa.String(length=400), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("access", sa.String(length=10), nullable=False),
        sa.Column("operator_id", sa.String(length=64), nullable=True),
        sa.Column("lon", sa.Float(precision=53), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("position_from", sa.String(length=20), nullable=False),
        sa.Column("jurisdiction", sa.String(length=80), nullable=True),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("charging_stations", sa.Integer(), nullable=True),
        sa.Column("accessible_bays", sa.Integer(), nullable=True),
        sa.Column("tariff_text", sa.Text(), nullable=True),
        sa.Column("fares", Json(), nullable=True),
        sa.Column("service_hours", sa.String(length=200), nullable=True),
        sa.Column("phone", sa.String(length=80), nullable=True),
        sa.Column("invented", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("access IN ('public', 'private', 'permit')", name=op.f("ck_place_access")),
        sa.CheckConstraint("kind IN ('garage', 'surface', 'on_street', 'unknown')", name=op.f("ck_place_kind")),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_place_state")),
        sa.CheckConstraint("lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90", name=op.f("ck_place_position")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_place_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_place")),
        sa.UniqueConstraint("source", "source_id", name=op.f("uq_place_source_source_id")),
    )
    op.create_index("ix_place_operator_id", "place", ["operator_id", "id"], unique=False)
    op.create_table(
        "pool_bucket",
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("booked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sellable", sa.Integer(), nullable=False),
        sa.CheckConstraint("booked >= 0", name=op.f("ck_pool_bucket_booked")),
        sa.CheckConstraint("sellable >= 0", name=op.f("ck_pool_bucket_sellable")),
        sa.PrimaryKeyConstraint("place_id", "category", "starts_at", name=op.f("pk_pool_bucket")),
    )
    op.create_index("ix_pool_bucket_starts_at", "pool_bucket", ["starts_at"], unique=False)
    op.create_table(
        "reservation",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("held_until", UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("confirmed_at", UtcDateTime(), nullable=True),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("network_hash", sa.String(length=64), nullable=True),
        sa.Column("bucket_from", UtcDateTime(), nullable=False),
        sa.Column("bucket_to", UtcDateTime(), nullable=False),
        sa.Column("held_event_id", sa.String(length=36), nullable=False),
        sa.Column("confirmed_event_id", sa.String(length=36), nullable=True),
        sa.Column("closed_event_id", sa.String(length=36), nullable=True),
        sa.CheckConstraint("state IN ('held', 'confirmed', 'completed', 'expired', 'cancelled')", name=op.f("ck_reservation_state")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_reservation_stay")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservation")),
    )
    op.create_index(
        "ix_reservation_ends_at",
        "reservation",
        ["ends_at"],
        unique=False,
        postgresql_where=sa.text("state = 'confirmed'"),
        sqlite_where=sa.text("state = 'confirmed'"),
    )
    op.create_index(
        "ix_reservation_held_until",
        "reservation",
        ["held_until"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
        sqlite_where=sa.text("state = 'held'"),
    )
    op.create_index("ix_reservation_place_id", "reservation", ["place_id", "id"], unique=False)
    op.create_index("ix_reservation_subject", "reservation", ["subject", "id"], unique=False)
    op.create_table(
        "search_entry",
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("place_version", sa.Integer(), nullable=False),
        sa.Column("counts_version", sa.BigInteger(), nullable=False),
        sa.Column("place", Json(), nullable=True),
        sa.Column("counts", Json(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("place_version >= 0 AND counts_version >= 0", name=op.f("ck_search_entry_versions")),
        sa.PrimaryKeyConstraint("place_id", name=op.f("pk_search_entry")),
    )
    op.create_index("ix_search_entry_updated_at", "search_entry", ["updated_at"], unique=False)
    op.create_table(
        "place_pool",
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("category", sa.String(length=20), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("walk_in_reserve", sa.Integer(), server_default="0", nullable=False),
        sa.Column("out_of_service", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("category IN ('standard', 'ev', 'accessible', 'large', 'motorcycle')", name=op.f("ck_place_pool_category")),
        sa.CheckConstraint("capacity >= 0", name=op.f("ck_place_pool_capacity")),
        sa.CheckConstraint(
            "walk_in_reserve >= 0 AND out_of_service >= 0 AND walk_in_reserve + out_of_service <= capacity",
            name=op.f("ck_place_pool_kept_back"),
        ),
        sa.ForeignKeyConstraint(["place_id"], ["place.id"], name=op.f("fk_place_pool_place_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("place_id", "category", name=op.f("pk_place_pool")),
    )
