"""Waste's tables: points, fleet, roads, planning, ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cityloop_common.columns import Json, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables as they were at the first release."""
    op.create_table(
        "collection_point",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_en", sa.String(length=200), nullable=True),
        sa.Column("lon", sa.Float(precision=53), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("windows", Json(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("invented", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90", name=op.f("ck_collection_point_position")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection_point")),
    )
    op.create_table(
        "depot",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_en", sa.String(length=200), nullable=True),
        sa.Column("lon", sa.Float(precision=53), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("invented", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90", name=op.f("ck_depot_position")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_depot")),
    )
    op.create_table(
        "generation_estimate",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("corrects", sa.String(length=36), nullable=True),
        sa.Column("district", sa.String(length=80), nullable=False),
        sa.Column("on_day", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("mass_kg", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.String(length=80), nullable=False),
        sa.CheckConstraint("(version = 1) = (corrects IS NULL)", name=op.f("ck_generation_estimate_version")),
        sa.CheckConstraint("mass_kg >= 0", name=op.f("ck_generation_estimate_mass_kg")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generation_estimate")),
        sa.UniqueConstraint("corrects", name=op.f("uq_generation_estimate_corrects")),
        sa.UniqueConstraint("district", "on_day", "version", name=op.f("uq_generation_estimate_district_on_day_version")),
    )
    op.create_index("ix_generation_estimate_happened_at", "generation_estimate", ["happened_at", "id"], unique=False)
    op.create_table(
        "load",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("corrects", sa.String(length=36), nullable=True),
        sa.Column("chain_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("site_kind", sa.String(length=20), nullable=False),
        sa.Column("truck_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("ticket_no", sa.String(length=40), nullable=False),
        sa.Column("gross_kg", sa.Integer(), nullable=False),
        sa.Column("tare_kg", sa.Integer(), nullable=False),
        sa.Column("net_kg", sa.Integer(), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("on_day", sa.Date(), nullable=False),
        sa.Column("district_given", sa.String(length=80), nullable=True),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("flags", Json(), nullable=False),
        sa.Column("void_reason", sa.String(length=200), nullable=True),
        sa.CheckConstraint("(version = 1) = (corrects IS NULL)", name=op.f("ck_load_version")),
        sa.CheckConstraint("net_kg = gross_kg - tare_kg AND net_kg > 0 AND tare_kg >= 0", name=op.f("ck_load_net")),
        sa.CheckConstraint("void_reason IS NULL OR corrects IS NOT NULL", name=op.f("ck_load_void")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_load")),
        sa.UniqueConstraint("chain_id", "version", name=op.f("uq_load_chain_id_version")),
        sa.UniqueConstraint("corrects", name=op.f("uq_load_corrects")),
    )
    op.create_index("ix_load_happened_at", "load", ["happened_at", "id"], unique=False)
    op.create_index("ix_load_site_id", "load", ["site_id", "id"], unique=False)
    op.create_index("ix_load_truck_id", "load", ["truck_id", "minute"], unique=False)
    op.create_table(
        "plan",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("on_day", sa.Date(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("publish", sa.String(length=12), nullable=False),
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("graph_version", sa.String(length=16), nullable=True),
        sa.Column("problem", Json(), nullable=False),
        sa.Column("result", Json(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("trucks", sa.Integer(), nullable=True),
        sa.Column("stops", sa.Integer(), nullable=True),
        sa.Column("unserved", sa.Integer(), nullable=True),
        sa.Column("distance_m", sa.BigInteger(), nullable=True),
        sa.Column("duration_s", sa.BigInteger(), nullable=True),
        sa.Column("publication", sa.Integer(), nullable=True),
        sa.Column("published_at", UtcDateTime(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("publish IN ('when-ready', 'by-hand')", name=op.f("ck_plan_publish")),
        sa.CheckConstraint("state IN ('waiting', 'solving', 'failed', 'cancelled') OR result IS NOT NULL", name=op.f("ck_plan_result")),
        sa.CheckConstraint(
            "state IN ('waiting', 'solving', 'ready', 'failed', 'cancelled', 'published', 'superseded', 'withdrawn')",
            name=op.f("ck_plan_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan")),
    )
    op.create_index("ix_plan_on_day", "plan", ["on_day", "stream", "id"], unique=False)
    op.create_index(
        "ix_plan_open",
        "plan",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('waiting', 'solving')"),
        sqlite_where=sa.text("state IN ('waiting', 'solving')"),
    )
    op.create_index("ix_plan_updated_at", "plan", ["updated_at"], unique=False)
    op.create_index(
        "uq_plan_live",
        "plan",
        ["stream", "on_day"],
        unique=True,
        postgresql_where=sa.text("state = 'published'"),
        sqlite_where=sa.text("state = 'published'"),
    )
    op.create_table(
        "plan_day",
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("on_day", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("stream", "on_day", name=op.f("pk_plan_day")),
    )
    op.create_table(
        "plan_version",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("corrects", sa.String(length=36), nullable=True),
        sa.Column("plan_id", sa.String(length=36), nullable=False),
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("on_day", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("change", sa.String(length=10), nullable=False),
        sa.Column("trucks", sa.Integer(), nullable=False),
        sa.Column("stops", sa.Integer(), nullable=False),
        sa.Column("closures", Json(), nullable=False),
        sa.CheckConstraint("change IN ('published', 'withdrawn')", name=op.f("ck_plan_version_change")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_version")),
        sa.UniqueConstraint("stream", "on_day", "version", name=op.f("uq_plan_version_stream_on_day_version")),
    )
    op.create_index("ix_plan_version_plan_id", "plan_version", ["plan_id", "id"], unique=False)
    op.create_table(
        "road_graph",
        sa.Column("version", sa.String(length=16), nullable=False),
        sa.Column("geojson", sa.Text(), nullable=False),
        sa.Column("roads", sa.Integer(), nullable=False),
        sa.Column("imported_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_road_graph")),
    )
    op.create_index("ix_road_graph_imported_at", "road_graph", ["imported_at"], unique=False)
    op.create_table(
        "site",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_en", sa.String(length=200), nullable=True),
        sa.Column("operator_id", sa.String(length=64), nullable=False),
        sa.Column("lon", sa.Float(precision=53), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("streams", Json(), nullable=False),
        sa.Column("service_s", sa.Integer(), nullable=False),
        sa.Column("opening", Json(), nullable=False),
        sa.Column("haulers", Json(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("invented", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("kind IN ('recycler', 'biogas', 'incinerator', 'landfill', 'transfer')", name=op.f("ck_site_kind")),
        sa.CheckConstraint("lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90", name=op.f("ck_site_position")),
        sa.CheckConstraint("service_s >= 0", name=op.f("ck_site_service_s")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
    )
    op.create_table(
        "street_section",
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("lon", sa.Float(precision=53), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("place_id", name=op.f("pk_street_section")),
    )
    op.create_table(
        "ticket",
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("ticket_no", sa.String(length=40), nullable=False),
        sa.Column("load_id", sa.String(length=36), nullable=False),
        sa.Column("chain_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("site_id", "ticket_no", name=op.f("pk_ticket")),
    )
    op.create_table(
        "point_demand",
        sa.Column("point_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("mass_kg", sa.Integer(), nullable=False),
        sa.Column("volume_dm3", sa.Integer(), nullable=False),
        sa.Column("service_s", sa.Integer(), nullable=False),
        sa.CheckConstraint("mass_kg >= 0 AND volume_dm3 >= 0 AND service_s >= 0", name=op.f("ck_point_demand_demand")),
        sa.ForeignKeyConstraint(["point_id"], ["collection_point.id"], name=op.f("fk_point_demand_point_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("point_id", "stream", name=op.f("pk_point_demand")),
    )
    op.create_table(
        "truck",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("operator_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("depot_id", sa.String(length=64), nullable=False),
        sa.Column("capacity_kg", sa.Integer(), nullable=False),
        sa.Column("capacity_dm3", sa.Integer(), nullable=False),
        sa.Column("shift_start_s", sa.Integer(), nullable=False),
        sa.Column("shift_end_s", sa.Integer(), nullable=False),
        sa.Column("max_mass_kg", sa.Integer(), nullable=True),
        sa.Column("district", sa.String(length=80), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("invented", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("capacity_kg > 0 AND capacity_dm3 > 0", name=op.f("ck_truck_capacity")),
        sa.CheckConstraint("shift_start_s >= 0 AND shift_start_s < shift_end_s", name=op.f("ck_truck_shift")),
        sa.ForeignKeyConstraint(["depot_id"], ["depot.id"], name=op.f("fk_truck_depot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_truck")),
    )
    op.create_index("ix_truck_stream", "truck", ["stream", "id"], unique=False)
