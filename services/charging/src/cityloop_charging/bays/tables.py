"""Tables of the room `bays`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Float, Index, Integer, String, Table, UniqueConstraint

from cityloop_charging.schema import metadata
from cityloop_common.db import Json, UtcDateTime
from cityloop_common.journal import journal_columns

_STATES = "state IN ('proposed', 'confirmed', 'rejected', 'withdrawn')"

# Charging's own view of parking's car parks: the newest event of each. `sequence` is the version that it told of. `in_city`: its
# position lies in the jurisdiction as that was set when it was heard.
place = Table(
    "place",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("name_en", String(200)),
    Column("lon", Float(53), nullable=False),
    Column("lat", Float(53), nullable=False),
    Column("access", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("district", String(80)),
    Column("in_city", Boolean, nullable=False),
    Column("total_bays", Integer, nullable=False),
    Column("ev_bays", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    CheckConstraint("total_bays >= 0 AND ev_bays >= 0", name="bays"),
)
Index("ix_place_lat", place.c.lat, place.c.lon)

# The journal of what was heard of car parks: happened when its event says so, recorded when it came. What
# one was at an instant is its highest `sequence` of those that had happened: clocks of two replicas of parking differ. Never updated
# or deleted.
place_version = Table(
    "place_version",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("place_id", String(64), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("name", String(200), nullable=False),
    Column("lon", Float(53), nullable=False),
    Column("lat", Float(53), nullable=False),
    Column("access", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("district", String(80)),
    Column("in_city", Boolean, nullable=False),
    Column("total_bays", Integer, nullable=False),
    Column("ev_bays", Integer, nullable=False),
    *journal_columns(),
    UniqueConstraint("place_id", "sequence"),
)

# The newest word on which car park a station stands in. `subject` is a keyed hash of the person's,
# `version` counts what was said.
link = Table(
    "link",
    metadata,
    Column("location_id", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("place_id", String(64), nullable=False),
    Column("state", String(10), nullable=False),
    Column("decider", String(20), nullable=False),
    Column("subject", String(64)),
    Column("evidence", Json, nullable=False),
    Column("happened_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    CheckConstraint(_STATES, name="state"),
    CheckConstraint("version >= 1", name="version"),
)
Index("ix_link_state", link.c.state, link.c.location_id)
Index("ix_link_place_id", link.c.place_id)

# The journal of links: every proposal and decision. Never updated or deleted.
link_version = Table(
    "link_version",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("location_id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("place_id", String(64), nullable=False),
    Column("state", String(10), nullable=False),
    Column("decider", String(20), nullable=False),
    Column("subject", String(64)),
    Column("evidence", Json, nullable=False),
    *journal_columns(),
    CheckConstraint(_STATES, name="state"),
    UniqueConstraint("location_id", "version"),
)
