"""The city: journal of car parks, chargers, closures, intervals of counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cityloop_common.columns import Json, UtcDateTime
from cityloop_common.settings import SharedSettings, load

revision = "0002"
down_revision = "0001"

# What is known of each car park begins with the version that it has now; earlier ones were not kept.
BACKFILL = """
INSERT INTO place_version
    (id, place_id, version, happened_at, recorded_at, source, event_id, access, state, kind, district, in_city, total_bays,
    name)
SELECT event_id, id, version, updated_at, updated_at, source, event_id, access, state, kind, district,
    lon BETWEEN :west AND :east AND lat BETWEEN :south AND :north,
    (SELECT coalesce(sum(capacity), 0) FROM place_pool WHERE place_pool.place_id = place.id AND category <> 'motorcycle'), name
FROM place
"""


def upgrade() -> None:
    """Adds tables and columns; what is there stays."""
    op.create_table(
        "charger",
        sa.Column("evse_uid", sa.String(length=120), nullable=False),
        sa.Column("location_id", sa.String(length=120), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("version >= 0", name=op.f("ck_charger_version")),
        sa.PrimaryKeyConstraint("evse_uid", name=op.f("pk_charger")),
    )
    op.create_index("ix_charger_location_id", "charger", ["location_id"], unique=False)
    op.create_table(
        "charger_location",
        sa.Column("location_id", sa.String(length=120), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=True),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("evses", Json(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("version >= 0", name=op.f("ck_charger_location_version")),
        sa.PrimaryKeyConstraint("location_id", name=op.f("pk_charger_location")),
    )
    op.create_index("ix_charger_location_place_id", "charger_location", ["place_id"], unique=False)
    op.create_table(
        "chargers_heard",
        sa.Column("service", sa.String(length=20), nullable=False),
        sa.Column("heard_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("service", name=op.f("pk_chargers_heard")),
    )
    op.create_table(
        "closure",
        sa.Column("stream", sa.String(length=40), nullable=False),
        sa.Column("on_day", sa.String(length=10), nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_closure_window")),
        sa.PrimaryKeyConstraint("stream", "on_day", "place_id", "starts_at", name=op.f("pk_closure")),
    )
    op.create_index("ix_closure_place_id", "closure", ["place_id", "ends_at"], unique=False)
    op.create_table(
        "collection_plan",
        sa.Column("stream", sa.String(length=40), nullable=False),
        sa.Column("on_day", sa.String(length=10), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("state IN ('published', 'withdrawn')", name=op.f("ck_collection_plan_state")),
        sa.CheckConstraint("version >= 0", name=op.f("ck_collection_plan_version")),
        sa.PrimaryKeyConstraint("stream", "on_day", name=op.f("pk_collection_plan")),
    )
    op.create_table(
        "place_version",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("corrects", sa.String(length=36), nullable=True),
        sa.Column("access", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("in_city", sa.Boolean(), nullable=False),
        sa.Column("total_bays", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.CheckConstraint("total_bays >= 0", name=op.f("ck_place_version_total_bays")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_place_version_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_place_version")),
        sa.UniqueConstraint("place_id", "version", name=op.f("uq_place_version_place_id_version")),
    )
    west, south, east, north = load(SharedSettings).city_bounds
    op.execute(sa.text(BACKFILL).bindparams(west=west, south=south, east=east, north=north))
    op.create_table(
        "turn",
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_turn")),
    )
    op.add_column("observation", sa.Column("interval_s", sa.Integer(), nullable=True))
    op.create_index("ix_observation_place_id", "observation", ["place_id", "category", "happened_at"], unique=False)
    for part in ("chargers", "closures"):
        op.add_column("search_entry", sa.Column(part, Json(), nullable=True))
        op.add_column("search_entry", sa.Column(f"{part}_version", sa.BigInteger(), server_default="0", nullable=False))
