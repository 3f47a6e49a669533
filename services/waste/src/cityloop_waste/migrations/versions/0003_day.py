"""What a day can be told: containers, caps, queues; replans that name the plan they replace; night jobs, a row a stream and day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cityloop_common.columns import Json, UtcDateTime

revision = "0003"
down_revision = "0002"
_REPLAN_OPEN = "replaces IS NOT NULL AND state IN ('waiting', 'solving')"


def upgrade() -> None:
    """Adds columns that may be null, in which the release before writes nothing: null means that nothing was said.

    Five tables are taken one after the other while others hold some of them. Each is waited for less than the second after which
    PostgreSQL (deadlock_timeout) ends one of two that wait for each other, which might be a reader: migrate() lets go and asks again.
    """
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '600ms'")
    _plans()
    _registry()
    op.create_table(
        "night_run",
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("on_day", sa.Date(), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("plan_id", sa.String(length=36), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("outcome IN ('asked', 'kept', 'refused')", name=op.f("ck_night_run_outcome")),
        sa.PrimaryKeyConstraint("stream", "on_day", name=op.f("pk_night_run")),
    )
    op.create_index("ix_night_run_on_day", "night_run", ["on_day"], unique=False)


def _plans() -> None:
    op.add_column("plan", sa.Column("replaces", sa.String(length=36), nullable=True))
    op.add_column("plan", sa.Column("reasons", Json(), nullable=True))
    op.add_column("plan", sa.Column("replan", Json(), nullable=True))
    op.add_column("plan", sa.Column("finish_requested_at", UtcDateTime(), nullable=True))
    op.create_index(
        "uq_plan_replan_open",
        "plan",
        ["stream", "on_day"],
        unique=True,
        postgresql_where=sa.text(_REPLAN_OPEN),
        sqlite_where=sa.text(_REPLAN_OPEN),
    )
    op.add_column("plan_version", sa.Column("replaces", sa.String(length=36), nullable=True))
    op.add_column("plan_version", sa.Column("reasons", Json(), nullable=True))


def _registry() -> None:
    for name in ("queue_s", "day_kg"):
        op.add_column("site", sa.Column(name, sa.Integer(), nullable=True))
    for name, kind in (("containers", sa.Integer()), ("trucks", Json()), ("prize_m", sa.Integer())):
        op.add_column("point_demand", sa.Column(name, kind, nullable=True))
    for name in ("day_kg", "day_dm3", "day_stops", "day_containers", "overtime_s"):
        op.add_column("truck", sa.Column(name, sa.Integer(), nullable=True))
