"""Turns: units that derive one thing from many rows go one after the other, each with a number greater than the last.

Two workers may hold the events of two chargers of one car park at once. Each would add up what it can see without the other's
uncommitted row, and the later one to commit would be wrong. A turn is a row that a unit locks first, before any other row of
its room, until its end: whoever comes next reads what is committed. One row a room, not one a car park, because a unit takes
hundreds of events in the log's order, and locks of car parks taken in two orders are a deadlock.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import HotStatement, WriteTx
from cityloop_parking.schema import metadata

turn = Table(
    "turn",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
_TAKE = {
    dialect: HotStatement(
        make(turn)
        .values(name=bindparam("name"), number=1)
        .on_conflict_do_update(index_elements=[turn.c.name], set_={"number": turn.c.number + 1})
        .returning(turn.c.number)
    )
    for dialect, make in (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
}


async def take(tx: WriteTx, name: str) -> int:
    """Waits for the unit that has this turn, holds it until the end of this unit, and answers its number."""
    row = await tx.hot.first(_TAKE[tx.dialect_name], {"name": name})
    assert row is not None
    return int(row[0])
