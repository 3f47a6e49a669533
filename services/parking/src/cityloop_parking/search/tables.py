"""Tables of the room `search`: a projection that `cityloop rebuild` makes anew."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, String, Table

from cityloop_common.db import Json, UtcDateTime
from cityloop_parking.schema import metadata

# What search shows of a place: four parts, each with its own version, that come from different topics in any order. `place` is
# empty until its event has come. `version` grows with every change, also across a rebuild: it begins at the microsecond of the
# write.
search_entry = Table(
    "search_entry",
    metadata,
    Column("place_id", String(64), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("place_version", Integer, nullable=False),
    Column("counts_version", BigInteger, nullable=False),
    Column("place", Json),
    Column("counts", Json, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("chargers", Json),
    Column("chargers_version", BigInteger, nullable=False, server_default="0"),
    Column("closures", Json),
    Column("closures_version", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("place_version >= 0 AND counts_version >= 0", name="versions"),
)
Index("ix_search_entry_updated_at", search_entry.c.updated_at)
