"""The kit's own tables; every service's database has them (kit migrations)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from cityloop_common.columns import Json, UtcDateTime

kit_metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)
Long = BigInteger().with_variant(Integer, "sqlite")

# `position` is taken after the aggregate's row lock, so per key it follows the sequence.
outbox = Table(
    "outbox",
    kit_metadata,
    Column("position", Long, Identity(always=False), primary_key=True),
    Column("id", String(36), nullable=False),
    Column("type", String(120), nullable=False),
    Column("topic", String(120), nullable=False),
    Column("key", String(200), nullable=False),
    Column("source", String(200), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("published_at", UtcDateTime),
)
Index("ix_outbox_unpublished", outbox.c.position, postgresql_where=text("published_at IS NULL"), sqlite_where=text("published_at IS NULL"))
Index(
    "ix_outbox_published_at",
    outbox.c.published_at,
    postgresql_where=text("published_at IS NOT NULL"),
    sqlite_where=text("published_at IS NOT NULL"),
)

# One row per consumer and fact event that took effect. State events need none: their sequence decides.
inbox = Table(
    "inbox",
    kit_metadata,
    Column("consumer", String(100), primary_key=True),
    Column("event_id", String(36), primary_key=True),
    Column("received_at", UtcDateTime, nullable=False),
)
Index("ix_inbox_received_at", inbox.c.received_at)

# The newest sequence of each aggregate that a consumer has applied (state topics) or seen (fact topics).
inbox_sequence = Table(
    "inbox_sequence",
    kit_metadata,
    Column("consumer", String(100), primary_key=True),
    Column("topic", String(120), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    kit_metadata,
    Column("caller", String(200), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", Integer),
    Column("headers", Json),
    Column("body", LargeBinary),
    Column("recorded_at", UtcDateTime, nullable=False),
)
Index("ix_idempotency_recorded_at", idempotency.c.recorded_at)

job = Table(
    "job",
    kit_metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(60), nullable=False),
    Column("dedup_key", String(200)),
    Column("payload", Json, nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("worker", String(80)),
    Column("lease_until", UtcDateTime),
    Column("done", BigInteger, nullable=False, server_default="0"),
    Column("total", BigInteger),
    Column("note", Text),
    Column("cancel_requested", Integer, nullable=False, server_default="0"),
    Column("result", Json),
    Column("error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    CheckConstraint("state IN ('waiting', 'running', 'done', 'failed', 'cancelled')", name="state"),
)
Index(
    "ix_job_open",
    job.c.kind,
    job.c.created_at,
    postgresql_where=text("state IN ('waiting', 'running')"),
    sqlite_where=text("state IN ('waiting', 'running')"),
)
Index(
    "uq_job_open_dedup_key",
    job.c.kind,
    job.c.dedup_key,
    unique=True,
    postgresql_where=text("state IN ('waiting', 'running') AND dedup_key IS NOT NULL"),
    sqlite_where=text("state IN ('waiting', 'running') AND dedup_key IS NOT NULL"),
)

# A lease is a right that one process has for a while (the relay on SQLite); `token` rises with each change of hands.
lease = Table(
    "lease",
    kit_metadata,
    Column("name", String(60), primary_key=True),
    Column("holder", String(80), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

# Figures as they were published: of a local day (ISO text), as known at an instant. Never updated; a later instant restates.
indicator_value = Table(
    "indicator_value",
    kit_metadata,
    Column("name", String(60), primary_key=True),
    Column("scheme", String(40), primary_key=True),
    Column("on_day", String(10), primary_key=True),
    Column("known_at", UtcDateTime, primary_key=True),
    Column("formula_version", Integer, nullable=False),
    Column("districts_version", String(40), nullable=False),
    Column("numerator", BigInteger, nullable=False),
    Column("denominator", BigInteger, nullable=False),
    Column("status", String(10), nullable=False),
    Column("gap", BigInteger),
    Column("by_district", Json, nullable=False),
    Column("event_id", String(36), nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    CheckConstraint("status IN ('met', 'missed', 'no_data', 'not_judged')", name="status"),
)
Index("ix_indicator_value_known_at", indicator_value.c.known_at)
