"""Tables of the room `status`."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, String, Table

from cityloop_charging.schema import metadata
from cityloop_common.db import UtcDateTime

_STATUSES = "'AVAILABLE', 'BLOCKED', 'CHARGING', 'INOPERATIVE', 'OUTOFORDER', 'PLANNED', 'REMOVED', 'RESERVED', 'UNKNOWN'"

# The journal: one row per change of status, and per report that came late. Never updated or deleted. `event_id` is the event
# that told of it; none when something newer was known already. A report that changes nothing is no row: see `evse_contact`.
evse_status = Table(
    "evse_status",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("evse_uid", String(64), nullable=False),
    Column("status", String(12), nullable=False),
    Column("happened_at", UtcDateTime, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("source", String(100), nullable=False),
    Column("event_id", String(36)),
    Column("corrects", String(36)),
    Column("park_status", Integer),
    Column("lock_status", Integer),
    CheckConstraint(f"status IN ({_STATUSES})", name="status"),
)
# Two columns are enough for "the newest of an EVSE at an instant": 12 million rows, 5,000 EVSEs at one instant, 0.1 s
# (PostgreSQL 15, 2 cores); all the columns of the order make it twice as large and no faster.
Index("ix_evse_status_as_of", evse_status.c.evse_uid, evse_status.c.happened_at)

# What is known of each EVSE now; its row is the EVSE's lock. `entry_id` is the journal row that says so, `happened_at` since
# when; `last_at` and `last_seq` are those of the newest report. `version` counts what was told, 0 before the first report.
evse_live = Table(
    "evse_live",
    metadata,
    Column("evse_uid", String(64), primary_key=True),
    Column("location_id", String(64), nullable=False),
    Column("operator_id", String(9), nullable=False),
    Column("bay_no", String(10)),
    Column("status", String(12), nullable=False),
    Column("happened_at", UtcDateTime, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("entry_id", String(36), nullable=False),
    Column("source", String(100), nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("event_id", String(36), nullable=False),
    CheckConstraint(f"status IN ({_STATUSES})", name="status"),
    CheckConstraint("version >= 0", name="version"),
)

# Reports that changed nothing: one row per EVSE and local hour. It says that the EVSE was heard of, not what it did.
evse_contact = Table(
    "evse_contact",
    metadata,
    Column("evse_uid", String(64), primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("count", Integer, nullable=False),
    CheckConstraint("count > 0", name="count"),
)

# Reports whose stamp cannot be believed (`skew`: late, early): evidence of a sender's clock, never a status. One row per EVSE,
# local hour of receipt and skew, with the first and last stamp: a clock that is off is off in every report.
evse_quarantine = Table(
    "evse_quarantine",
    metadata,
    Column("evse_uid", String(64), primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    Column("skew", String(5), primary_key=True),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("count", Integer, nullable=False),
    CheckConstraint("skew IN ('late', 'early')", name="skew"),
    CheckConstraint("count > 0", name="count"),
)
