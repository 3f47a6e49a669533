"""Events written in the same unit as the state that they tell of; the relay sends them on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from sqlalchemy import String, bindparam, delete, func, insert, select, text

from cityloop_common.columns import UtcDateTime
from cityloop_common.db import HotStatement, Tx, WriteTx
from cityloop_common.envelope import Event
from cityloop_common.errors import TooLarge
from cityloop_common.eventlog import MAX_MESSAGE_BYTES
from cityloop_common.tables import outbox

PUBLISHED_KEPT_FOR = timedelta(hours=24)
LARGEST_BODY_BYTES = MAX_MESSAGE_BYTES - 10_000  # key and headers come on top
PRUNED_AT_ONCE = 2_000

_EVENT = ("id", "type", "topic", "key", "source", "time", "sequence", "data")
_APPEND = HotStatement(insert(outbox).values({name: bindparam(name) for name in (*_EVENT, "recorded_at")}))
# Always from the oldest on: a unit that commits late has a lower position than events that are known already.
_POSITIONS = {
    "postgresql": "SELECT json_array_elements_text(CAST(:positions AS json))::bigint",
    "sqlite": "SELECT value FROM json_each(:positions)",
}
_UNPUBLISHED = {
    dialect: HotStatement(
        select(outbox.c.position, *(outbox.c[name] for name in _EVENT))
        .where(
            outbox.c.published_at.is_(None),
            text(f"position NOT IN ({positions})").bindparams(bindparam("positions", type_=String())),
        )
        .order_by(outbox.c.position)
        .limit(bindparam("most"))
    )
    for dialect, positions in _POSITIONS.items()
}
# PostgreSQL need not wait for its disk here: a mark lost in a crash means an event sent twice, which inboxes expect.
_MARK_SQL = {
    "postgresql": "WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))"
    f" UPDATE outbox SET published_at = :published_at FROM relaxed WHERE position = ANY(ARRAY({_POSITIONS['postgresql']}))",
    "sqlite": f"UPDATE outbox SET published_at = :published_at WHERE position IN ({_POSITIONS['sqlite']})",
}
_MARK_BINDS = (bindparam("published_at", type_=UtcDateTime()), bindparam("positions", type_=String()))
_MARK = {dialect: HotStatement(text(sql).bindparams(*_MARK_BINDS)) for dialect, sql in _MARK_SQL.items()}


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
    if len(event.data) > LARGEST_BODY_BYTES:  # stored, it would hold back its key for ever
        raise TooLarge(f"the event has {len(event.data)} bytes, at most {LARGEST_BODY_BYTES}")
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


async def unpublished(tx: Tx, *, but: Collection[int], most: int) -> Sequence[tuple[int, Event]]:
    """The oldest unsent events with their positions, without those at the positions `but`."""
    rows = await tx.hot.all(_UNPUBLISHED[tx.dialect_name], {"positions": orjson.dumps(list(but)).decode(), "most": most})
    return [(row[0], _event(row)) for row in rows]


def _event(row: Sequence[Any]) -> Event:
    _, id_, type_, topic, key, source, time, sequence, data = row
    return Event(id=id_, type=type_, topic=topic, key=key, source=source, time=time, sequence=sequence, data=bytes(data))


async def mark_published(tx: WriteTx, positions: Sequence[int]) -> None:
    """Notes that the log has these."""
    params = {"published_at": tx.recorded_at, "positions": orjson.dumps(list(positions)).decode()}
    await tx.hot.run(_MARK[tx.dialect_name], params)


async def prune(tx: WriteTx) -> int:
    """Deletes what was sent more than a day ago, a batch at most; answers the rows removed."""
    sent = outbox.c.published_at < tx.recorded_at - PUBLISHED_KEPT_FOR
    old = select(outbox.c.position).where(sent).order_by(outbox.c.published_at).limit(PRUNED_AT_ONCE)
    return await tx.run(delete(outbox).where(outbox.c.position.in_(old.with_for_update(skip_locked=True))))


async def hold_still(tx: WriteTx) -> int:
    """Waits for all open units that write events; the next ones wait for this one's end. Answers the newest position, 0 without any.

    Raises Contention when a unit stays open for longer than 2 s: those that write events wait behind this one meanwhile.
    """
    if tx.dialect_name == "postgresql":  # SQLite has one writer at a time anyway
        await tx.run(text("SET LOCAL lock_timeout = '2s'"))
        await tx.run(text("LOCK TABLE outbox IN SHARE ROW EXCLUSIVE MODE"))
    row = await tx.first(select(func.max(outbox.c.position).label("newest")))
    return 0 if row is None or row.newest is None else int(row.newest)


async def sequences_since(tx: Tx, topic: str, keys: Collection[str], position: int) -> dict[str, int]:
    """The highest sequence of each of some keys of a topic among the events behind a position, sent or not."""
    behind = (outbox.c.position > position) & (outbox.c.topic == topic) & outbox.c.key.in_(keys)
    rows = await tx.all(select(outbox.c.key, func.max(outbox.c.sequence).label("newest")).where(behind).group_by(outbox.c.key))
    return {row.key: row.newest for row in rows}


async def backlog(tx: Tx) -> tuple[int, datetime | None]:
    """How many events wait to be sent, and since when the oldest does."""
    counted = select(func.count().label("rows"), func.min(outbox.c.recorded_at).label("oldest")).where(outbox.c.published_at.is_(None))
    row = await tx.first(counted)
    return (0, None) if row is None else (row.rows, row.oldest)
