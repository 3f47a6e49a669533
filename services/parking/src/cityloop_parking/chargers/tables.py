"""Tables of the room `chargers`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, String, Table

from cityloop_common.db import Json, UtcDateTime
from cityloop_parking.schema import metadata

# When charging said something last, whatever it was and of whichever station: a charger that stays as it is is no event, so this
# alone tells a city that does not change from a service that is away. One row, to the minute, to spare writes.
chargers_heard = Table(
    "chargers_heard",
    metadata,
    Column("service", String(20), primary_key=True),
    Column("heard_at", UtcDateTime, nullable=False),
)

# A location of chargers as charging published it last. Which EVSEs are there, and at which bays, stands in `evses` of its newest
# version, not beside each status: so the order in which the two topics are heard makes no difference.
charger_location = Table(
    "charger_location",
    metadata,
    Column("location_id", String(120), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("place_id", String(64)),
    Column("is_open", Boolean, nullable=False),
    Column("evses", Json, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("version >= 0", name="version"),
)
Index("ix_charger_location_place_id", charger_location.c.place_id)

# What an EVSE does, as charging said last; its location may not be known yet.
charger = Table(
    "charger",
    metadata,
    Column("evse_uid", String(120), primary_key=True),
    Column("location_id", String(120), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("status", String(12), nullable=False),
    Column("since", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("version >= 0", name="version"),
)
Index("ix_charger_location_id", charger.c.location_id)
