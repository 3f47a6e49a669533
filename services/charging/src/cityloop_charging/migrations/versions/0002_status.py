"""Statuses of EVSEs: journal, present state, contact, quarantine; the replay guard of T/CEC."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cityloop_common.columns import UtcDateTime

revision = "0002"
down_revision = "0001"
_STATUSES = "'AVAILABLE', 'BLOCKED', 'CHARGING', 'INOPERATIVE', 'OUTOFORDER', 'PLANNED', 'REMOVED', 'RESERVED', 'UNKNOWN'"


def upgrade() -> None:
    """Creates the tables of the rooms `status` and `protocols.tcec`."""
    op.create_table(
        "evse_status",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("evse_uid", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=True),
        sa.Column("corrects", sa.String(length=36), nullable=True),
        sa.Column("park_status", sa.Integer(), nullable=True),
        sa.Column("lock_status", sa.Integer(), nullable=True),
        sa.CheckConstraint(f"status IN ({_STATUSES})", name=op.f("ck_evse_status_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evse_status")),
    )
    op.create_index("ix_evse_status_as_of", "evse_status", ["evse_uid", "happened_at"], unique=False)
    op.create_table(
        "evse_live",
        sa.Column("evse_uid", sa.String(length=64), nullable=False),
        sa.Column("location_id", sa.String(length=64), nullable=False),
        sa.Column("operator_id", sa.String(length=9), nullable=False),
        sa.Column("bay_no", sa.String(length=10), nullable=True),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("entry_id", sa.String(length=36), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.CheckConstraint(f"status IN ({_STATUSES})", name=op.f("ck_evse_live_status")),
        sa.CheckConstraint("version >= 0", name=op.f("ck_evse_live_version")),
        sa.PrimaryKeyConstraint("evse_uid", name=op.f("pk_evse_live")),
    )
    op.create_table(
        "evse_contact",
        sa.Column("evse_uid", sa.String(length=64), nullable=False),
        sa.Column("hour", UtcDateTime(), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.CheckConstraint("count > 0", name=op.f("ck_evse_contact_count")),
        sa.PrimaryKeyConstraint("evse_uid", "hour", name=op.f("pk_evse_contact")),
    )
    op.create_table(
        "evse_quarantine",
        sa.Column("evse_uid", sa.String(length=64), nullable=False),
        sa.Column("hour", UtcDateTime(), nullable=False),
        sa.Column("skew", sa.String(length=5), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.CheckConstraint("skew IN ('late', 'early')", name=op.f("ck_evse_quarantine_skew")),
        sa.CheckConstraint("count > 0", name=op.f("ck_evse_quarantine_count")),
        sa.PrimaryKeyConstraint("evse_uid", "hour", "skew", name=op.f("pk_evse_quarantine")),
    )
    op.create_table(
        "tcec_seen",
        sa.Column("operator_id", sa.String(length=9), nullable=False),
        sa.Column("interface", sa.String(length=40), nullable=False),
        sa.Column("time_stamp", sa.String(length=14), nullable=False),
        sa.Column("seq", sa.String(length=4), nullable=False),
        sa.Column("sig", sa.String(length=32), nullable=False),
        sa.Column("strict", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("kept_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("operator_id", "interface", "time_stamp", "seq", "sig", name=op.f("pk_tcec_seen")),
    )
    op.create_index(
        "uq_tcec_seen_strict",
        "tcec_seen",
        ["operator_id", "interface", "time_stamp", "seq"],
        unique=True,
        postgresql_where=sa.text("strict"),
        sqlite_where=sa.text("strict"),
    )
    op.create_index("ix_tcec_seen_kept_until", "tcec_seen", ["kept_until"], unique=False)
