"""Lines of a plan's routes along the roads; documents of old plans that never held are emptied."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cityloop_common.columns import Json, UtcDateTime

revision = "0002"
down_revision = "0001"
_NEVER_HELD = "emptied_at IS NULL AND publication IS NULL"


def upgrade() -> None:
    """Adds columns that are null in the plans that are there: theirs are drawn, or emptied, by sweeps."""
    op.add_column("plan", sa.Column("lines", Json(), nullable=True))
    op.add_column("plan", sa.Column("emptied_at", UtcDateTime(), nullable=True))
    op.create_index(
        "ix_plan_documents",
        "plan",
        ["on_day"],
        unique=False,
        postgresql_where=sa.text(_NEVER_HELD),
        sqlite_where=sa.text(_NEVER_HELD),
    )
