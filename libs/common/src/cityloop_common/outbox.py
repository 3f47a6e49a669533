"""Events written in the same unit as the state that they tell of; the relay sends them on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from sqlalchemy import String, bindparam, delete, func, insert, select, text

from cityloop_common.columns import UtcDateTime
from cityloop_common.db import HotStatement, Tx, WriteTx
from cityloop_common.envelope import Event
from cityloop_common.tables import outbox

PUBLISHED_KEPT_FOR = timedelta(hours=24)

_EVENT = ("id", "type", "topic", "key", "source", "time", "sequence", "data")
_APPEND = HotStatement(insert(outbox).values({name: bindparam(name) for name in (*_EVENT, "recorded_at")}))
_UNPUBLISHED = HotStatement(
    select(outbox.c.position, *(outbox.c[name] for name in _EVENT))
    .where(outbox.c.published_at.is_(None), outbox.c.position > bindparam("after"))
    .order_by(outbox.c.position)
    .limit(bindparam("most"))
)
_MARKED = {
    "postgresql": "SELECT json_array_elements_text(CAST(:positions AS json))::bigint",
    "sqlite": "SELECT value FROM json_each(:positions)",
}
_MARK = {
    dialect: HotStatement(
        text(f"UPDATE outbox SET published_at = :published_at WHERE position IN ({positions})").bindparams(
            bindparam("published_at", type_=UtcDateTime()), bindparam("positions", type_=String())
        )
    )
    for dialect, positions in _MARKED.items()
}


async def append(tx: WriteTx, event: Event) -> None:
    """Writes one event into the open unit; it is sent after the unit's COMMIT."""
    await tx.hot.run(_APPEND, _row(tx, event))
    tx.after_commit(partial(tx.signals.notify, "outbox"))


async def append_many(tx: WriteTx, events: Sequence[Event]) -> None:
    """Writes events into the open unit, in their order."""
    if events:
        await tx.hot.many(_APPEND, [_row(tx, event) for event in events])
        tx.after_commit(partial(tx.signals.notify, "outbox"))


def _row(tx: WriteTx, event: Event) -> dict[str, object]:
    return {
        "id": event.id,
        "type": event.type,
        "topic": event.topic,
        "key": event.key,
        "source": event.source,
        "time": event.time,
        "sequence": event.sequence,
        "data": event.data,
        "recorded_at": tx.recorded_at,
    }


async def unpublished(tx: Tx, *, after: int, most: int) -> Sequence[tuple[int, Event]]:
    """The oldest unsent events behind position `after`, with their positions."""
    rows = await tx.hot.all(_UNPUBLISHED, {"after": after, "most": most})
    return [(row[0], _event(row)) for row in rows]


def _event(row: Sequence[Any]) -> Event:
    _, id_, type_, topic, key, source, time, sequence, data = row
    return Event(id=id_, type=type_, topic=topic, key=key, source=source, time=time, sequence=sequence, data=bytes(data))


async def mark_published(tx: WriteTx, positions: Sequence[int]) -> None:
    """Notes that the log has these."""
    params = {"published_at": tx.recorded_at, "positions": orjson.dumps(list(positions)).decode()}
    await tx.hot.run(_MARK[tx.dialect_name], params)


async def prune(tx: WriteTx) -> int:
    """Deletes what was sent more than a day ago; answers the rows removed."""
    return await tx.run(delete(outbox).where(outbox.c.published_at < tx.recorded_at - PUBLISHED_KEPT_FOR))


async def backlog(tx: Tx) -> tuple[int, datetime | None]:
    """How many events wait to be sent, and since when the oldest does."""
    counted = select(func.count().label("rows"), func.min(outbox.c.recorded_at).label("oldest")).where(outbox.c.published_at.is_(None))
    row = await tx.first(counted)
    return (0, None) if row is None else (row.rows, row.oldest)
