"""Published figures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cityloop_common.columns import Json, UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the table of published figures."""
    op.create_table(
        "indicator_value",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("scheme", sa.String(length=40), nullable=False),
        sa.Column("on_day", sa.String(length=10), nullable=False),
        sa.Column("known_at", UtcDateTime(), nullable=False),
        sa.Column("formula_version", sa.Integer(), nullable=False),
        sa.Column("districts_version", sa.String(length=40), nullable=False),
        sa.Column("numerator", sa.BigInteger(), nullable=False),
        sa.Column("denominator", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("gap", sa.BigInteger(), nullable=True),
        sa.Column("by_district", Json(), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("status IN ('met', 'missed', 'no_data', 'not_judged')", name=op.f("ck_indicator_value_status")),
        sa.PrimaryKeyConstraint("name", "scheme", "on_day", "known_at", name=op.f("pk_indicator_value")),
    )
    op.create_index("ix_indicator_value_known_at", "indicator_value", ["known_at"], unique=False)
