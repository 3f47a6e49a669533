"""Tables of T/CEC: the replay guard."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, PrimaryKeyConstraint, String, Table, text

from cityloop_charging.schema import metadata
from cityloop_common.db import UtcDateTime

# Every envelope that took effect, until a day after it came and after its own TimeStamp (`kept_until`): one that was stamped
# ahead of its time and put aside must not be fresh when that time has come. `status` is what it was answered, and is answered
# again. The same TimeStamp and Seq with another signature is another message: careless senders number everything 0001. Of
# operators that promise not to, `strict` refuses it, by the second index.
tcec_seen = Table(
    "tcec_seen",
    metadata,
    Column("operator_id", String(9), nullable=False),
    Column("interface", String(40), nullable=False),
    Column("time_stamp", String(14), nullable=False),
    Column("seq", String(4), nullable=False),
    Column("sig", String(32), nullable=False),
    Column("strict", Boolean, nullable=False),
    Column("status", Integer, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("kept_until", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("operator_id", "interface", "time_stamp", "seq", "sig"),
)
Index(
    "uq_tcec_seen_strict",
    tcec_seen.c.operator_id,
    tcec_seen.c.interface,
    tcec_seen.c.time_stamp,
    tcec_seen.c.seq,
    unique=True,
    postgresql_where=text("strict"),
    sqlite_where=text("strict"),
)
Index("ix_tcec_seen_kept_until", tcec_seen.c.kept_until)
