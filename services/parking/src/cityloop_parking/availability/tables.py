"""Tables of the room `availability`: what the forecaster has learnt, made anew from the journal of counts by `cityloop rebuild`."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, SmallInteger, String, Table, text

from cityloop_common.db import UtcDateTime
from cityloop_parking.schema import metadata

# One learning of the whole journal. Answers come from the run that is current; a rebuild learns in a run of its own beside it.
# Every recorded minute before `minute` (since the epoch) is learnt in the parts of `version` and below. `epoch` counts the
# processes that had the run: one that has lost it writes nothing more.
forecast_run = Table(
    "forecast_run",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("state", String(10), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("minute", BigInteger, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("state IN ('building', 'current')", name="state"),
)
_CURRENT = text("state = 'current'")
Index("uq_forecast_run_current", forecast_run.c.state, unique=True, postgresql_where=_CURRENT, sqlite_where=_CURRENT)

# What is learnt, in parts: of a series (`past`, `today`), of a place (its newest `counts`), of all together (`city`, without a
# series). Two slots a part: the one that is not valid is written, and becomes valid when the run's version reaches its own.
# So what is stored may take many units, and a process that dies among them has changed nothing.
forecast_part = Table(
    "forecast_part",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("model", String(10), primary_key=True),
    Column("series", String(90), primary_key=True),
    Column("part", String(10), primary_key=True),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    CheckConstraint("slot IN (0, 1)", name="slot"),
)

# Recorded minutes of a place, both ends included, whose counts were not learnt because it took nobody then. Windows of
# collection are forgotten after days: a rebuild reads here what was decided.
forecast_skip = Table(
    "forecast_skip",
    metadata,
    Column("place_id", String(64), primary_key=True),
    Column("since_minute", BigInteger, primary_key=True, autoincrement=False),
    Column("until_minute", BigInteger, nullable=False),
    CheckConstraint("since_minute <= until_minute", name="minutes"),
)
