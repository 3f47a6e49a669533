"""Tables of the room `closures`."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, String, Table

from cityloop_common.db import UtcDateTime
from cityloop_parking.schema import metadata

# The plan that decides for a stream and a local day (ISO text). It stays when its windows are long over: a plan that comes
# late, or again, must still find it.
collection_plan = Table(
    "collection_plan",
    metadata,
    Column("stream", String(40), primary_key=True),
    Column("on_day", String(10), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("plan_id", String(64), nullable=False),
    Column("state", String(10), nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    CheckConstraint("state IN ('published', 'withdrawn')", name="state"),
    CheckConstraint("version >= 0", name="version"),
)

# Windows of the plans that decide. Those of other kinds of places, or of places nobody knows, are kept and close nothing.
closure = Table(
    "closure",
    metadata,
    Column("stream", String(40), primary_key=True),
    Column("on_day", String(10), primary_key=True),
    Column("place_id", String(64), primary_key=True),
    Column("starts_at", UtcDateTime, primary_key=True),
    Column("ends_at", UtcDateTime, nullable=False),
    CheckConstraint("starts_at < ends_at", name="window"),
)
Index("ix_closure_place_id", closure.c.place_id, closure.c.ends_at)
