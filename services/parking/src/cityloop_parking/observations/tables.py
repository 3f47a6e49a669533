"""Tables of the room `observations`."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, String, Table, UniqueConstraint

from cityloop_common.db import UtcDateTime
from cityloop_parking.schema import metadata

# The journal: every count as it was reported, at most one per place, category, source and minute. Never updated or deleted.
# `event_id` is the event that told of it; none when something newer was known already. `interval_s` is how often the source
# reports; none in rows of the first release, whose sources count as reporting every 15 minutes.
observation = Table(
    "observation",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("place_id", String(64), nullable=False),
    Column("category", String(20), nullable=False),
    Column("source", String(40), nullable=False),
    Column("minute", BigInteger, nullable=False),
    Column("happened_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("occupied", Integer, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("capacity_reported", Integer),
    Column("event_id", String(36)),
    Column("interval_s", Integer),
    UniqueConstraint("place_id", "category", "source", "minute"),
    CheckConstraint("occupied >= 0 AND capacity >= 0", name="counts"),
)
Index("ix_observation_recorded_at", observation.c.recorded_at)
Index("ix_observation_source", observation.c.source)
Index("ix_observation_place_id", observation.c.place_id, observation.c.category, observation.c.happened_at)

# The newest count of each category of a place; an older one never overwrites it.
live_count = Table(
    "live_count",
    metadata,
    Column("place_id", String(64), primary_key=True),
    Column("category", String(20), primary_key=True),
    Column("occupied", Integer, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("observed_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("source", String(40), nullable=False),
    Column("interval_s", Integer, nullable=False),
    CheckConstraint("occupied >= 0 AND capacity >= 0", name="counts"),
    CheckConstraint("interval_s > 0", name="interval_s"),
)

# How often a place's counts have changed, and the event that told of the last time. Its row is the place's lock.
occupancy = Table(
    "occupancy",
    metadata,
    Column("place_id", String(64), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("event_id", String(36), nullable=False),
    Column("published_version", BigInteger, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
