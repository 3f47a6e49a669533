"""Tables of the room `planning`."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Float, Index, Integer, String, Table, Text, UniqueConstraint, text

from cityloop_common.db import Json, UtcDateTime
from cityloop_common.journal import journal_columns
from cityloop_waste.schema import metadata

# A plan with the problem it was asked for, the routes that were found and their lines along the roads (null: not drawn; none
# where they cannot be). At most one of a stream and day is published. Of one that never was, the documents are emptied in the end.
# A replan names the plan that it `replaces` and why; of a stream and day one at a time is searched.
plan = Table(
    "plan",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("stream", String(20), nullable=False),
    Column("on_day", Date, nullable=False),
    Column("state", String(12), nullable=False),
    Column("publish", String(12), nullable=False),
    Column("job_id", String(36), nullable=False),
    Column("seconds", Integer, nullable=False),
    Column("graph_version", String(16)),
    Column("problem", Json, nullable=False),
    Column("result", Json),
    Column("reason", Text),
    Column("trucks", Integer),
    Column("stops", Integer),
    Column("unserved", Integer),
    Column("distance_m", BigInteger),
    Column("duration_s", BigInteger),
    Column("publication", Integer),
    Column("published_at", UtcDateTime),
    Column("version", Integer, nullable=False),
    Column("told", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("lines", Json),
    Column("emptied_at", UtcDateTime),
    Column("replaces", String(36)),
    Column("reasons", Json),
    Column("replan", Json),
    Column("finish_requested_at", UtcDateTime),
    CheckConstraint(
        "state IN ('waiting', 'solving', 'ready', 'failed', 'cancelled', 'published', 'superseded', 'withdrawn')", name="state"
    ),
    CheckConstraint("publish IN ('when-ready', 'by-hand')", name="publish"),
    CheckConstraint("state IN ('waiting', 'solving', 'failed', 'cancelled') OR result IS NOT NULL", name="result"),
)
Index("ix_plan_on_day", plan.c.on_day, plan.c.stream, plan.c.id)
Index("ix_plan_updated_at", plan.c.updated_at)
Index(
    "ix_plan_open",
    plan.c.created_at,
    postgresql_where=text("state IN ('waiting', 'solving')"),
    sqlite_where=text("state IN ('waiting', 'solving')"),
)
Index(
    "uq_plan_live",
    plan.c.stream,
    plan.c.on_day,
    unique=True,
    postgresql_where=text("state = 'published'"),
    sqlite_where=text("state = 'published'"),
)

Index(
    "uq_plan_replan_open",
    plan.c.stream,
    plan.c.on_day,
    unique=True,
    postgresql_where=text("replaces IS NOT NULL AND state IN ('waiting', 'solving')"),
    sqlite_where=text("replaces IS NOT NULL AND state IN ('waiting', 'solving')"),
)
Index(
    "ix_plan_documents",
    plan.c.on_day,
    postgresql_where=text("emptied_at IS NULL AND publication IS NULL"),
    sqlite_where=text("emptied_at IS NULL AND publication IS NULL"),
)

# How often something was said of a stream and day; its row is their lock.
plan_day = Table(
    "plan_day",
    metadata,
    Column("stream", String(20), primary_key=True),
    Column("on_day", Date, primary_key=True),
    Column("version", Integer, nullable=False),
)

# The journal of publications and withdrawals. Never updated or deleted.
plan_version = Table(
    "plan_version",
    metadata,
    Column("id", String(36), primary_key=True),
    *journal_columns(),
    Column("plan_id", String(36), nullable=False),
    Column("stream", String(20), nullable=False),
    Column("on_day", Date, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("change", String(10), nullable=False),
    Column("trucks", Integer, nullable=False),
    Column("stops", Integer, nullable=False),
    Column("closures", Json, nullable=False),
    Column("replaces", String(36)),
    Column("reasons", Json),
    UniqueConstraint("stream", "on_day", "version"),
    CheckConstraint("change IN ('published', 'withdrawn')", name="change"),
)
Index("ix_plan_version_plan_id", plan_version.c.plan_id, plan_version.c.id)

# What became of the night job of a stream and day; its row is the right to ask, and one a night is asked.
night_run = Table(
    "night_run",
    metadata,
    Column("stream", String(20), primary_key=True),
    Column("on_day", Date, primary_key=True),
    Column("outcome", String(10), nullable=False),
    Column("plan_id", String(36)),
    Column("reason", Text),
    Column("recorded_at", UtcDateTime, nullable=False),
    CheckConstraint("outcome IN ('asked', 'kept', 'refused')", name="outcome"),
)
Index("ix_night_run_on_day", night_run.c.on_day)

# On-street parking as `parking.place.published.v1` tells of it: what a truck at the kerb is in the way of.
street_section = Table(
    "street_section",
    metadata,
    Column("place_id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("lon", Float(53), nullable=False),
    Column("lat", Float(53), nullable=False),
    Column("state", String(10), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
