"""The forecaster: what it has learnt, and what it left out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cityloop_common.columns import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds tables; the forecaster fills them from the journal of counts."""
    op.create_table(
        "forecast_run",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("state IN ('building', 'current')", name=op.f("ck_forecast_run_state")),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_forecast_run")),
    )
    op.create_index(
        "uq_forecast_run_current",
        "forecast_run",
        ["state"],
        unique=True,
        postgresql_where=sa.text("state = 'current'"),
        sqlite_where=sa.text("state = 'current'"),
    )
    op.create_table(
        "forecast_part",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", sa.String(length=10), nullable=False),
        sa.Column("series", sa.String(length=90), nullable=False),
        sa.Column("part", sa.String(length=10), nullable=False),
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("slot IN (0, 1)", name=op.f("ck_forecast_part_slot")),
        sa.PrimaryKeyConstraint("run", "model", "series", "part", "slot", name=op.f("pk_forecast_part")),
    )
    op.create_table(
        "forecast_skip",
        sa.Column("place_id", sa.String(length=64), nullable=False),
        sa.Column("since_minute", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until_minute", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("since_minute <= until_minute", name=op.f("ck_forecast_skip_minutes")),
        sa.PrimaryKeyConstraint("place_id", "since_minute", name=op.f("pk_forecast_skip")),
    )
