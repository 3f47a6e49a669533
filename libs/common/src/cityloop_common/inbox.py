"""What a consumer has already taken: effectively once = at least once + this, in the effect's own unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import orjson
from sqlalchemy import String, bindparam, delete, select, text, tuple_

from cityloop_common.columns import UtcDateTime
from cityloop_common.db import HotStatement, WriteTx
from cityloop_common.tables import inbox

PRUNED_AT_ONCE = 2_000
KEPT_FOR = timedelta(days=45)  # longer than topics and dead letters keep a record (14 days each)

_TAKE_SQL = {
    "postgresql": "INSERT INTO inbox (consumer, event_id, received_at) SELECT :consumer, e, :received_at"
    " FROM unnest(ARRAY(SELECT json_array_elements_text(CAST(:ids AS json)))) AS e ORDER BY e ON CONFLICT DO NOTHING RETURNING event_id",
    "sqlite": "INSERT INTO inbox (consumer, event_id, received_at) SELECT :consumer, value, :received_at"
    " FROM json_each(:ids) WHERE true ON CONFLICT DO NOTHING RETURNING event_id",
}
_KNOWN_SQL = {
    "postgresql": "SELECT key, sequence FROM inbox_sequence WHERE consumer = :consumer AND topic = :topic"
    " AND key = ANY(ARRAY(SELECT json_array_elements_text(CAST(:keys AS json))))",
    "sqlite": "SELECT key, sequence FROM inbox_sequence WHERE consumer = :consumer AND topic = :topic"
    " AND key IN (SELECT value FROM json_each(:keys))",
}
_ADVANCE_SQL = {
    "postgresql": "INSERT INTO inbox_sequence (consumer, topic, key, sequence)"
    " SELECT :consumer, :topic, e.key, e.value::bigint FROM json_each_text(CAST(:sequences AS json)) AS e ORDER BY e.key"
    " ON CONFLICT (consumer, topic, key) DO UPDATE SET sequence = excluded.sequence"
    " WHERE inbox_sequence.sequence < excluded.sequence RETURNING key",
    "sqlite": "INSERT INTO inbox_sequence (consumer, topic, key, sequence)"
    " SELECT :consumer, :topic, e.key, e.value FROM json_each(:sequences) AS e WHERE true"
    " ON CONFLICT (consumer, topic, key) DO UPDATE SET sequence = excluded.sequence"
    " WHERE inbox_sequence.sequence < excluded.sequence RETURNING key",
}


def _statements(by_dialect: Mapping[str, str], *names: str) -> Mapping[str, HotStatement]:
    binds = [bindparam(name, type_=UtcDateTime() if name == "received_at" else String()) for name in names]
    return {dialect: HotStatement(text(sql).bindparams(*binds)) for dialect, sql in by_dialect.items()}


_TAKE = _statements(_TAKE_SQL, "consumer", "received_at", "ids")
_KNOWN = _statements(_KNOWN_SQL, "consumer", "topic", "keys")
_ADVANCE = _statements(_ADVANCE_SQL, "consumer", "topic", "sequences")


async def take(tx: WriteTx, consumer: str, event_ids: Sequence[str]) -> set[str]:
    """Notes fact events as taken; answers those that were new. A concurrent taker of the same id waits for this unit."""
    params = {"consumer": consumer, "received_at": tx.recorded_at, "ids": orjson.dumps(list(event_ids)).decode()}
    return {row[0] for row in await tx.hot.all(_TAKE[tx.dialect_name], params)}


async def known(tx: WriteTx, consumer: str, topic: str, keys: Sequence[str]) -> dict[str, int]:
    """The highest sequence seen of each aggregate."""
    params = {"consumer": consumer, "topic": topic, "keys": orjson.dumps(list(keys)).decode()}
    return {row[0]: row[1] for row in await tx.hot.all(_KNOWN[tx.dialect_name], params)}


async def advance(tx: WriteTx, consumer: str, topic: str, sequences: Mapping[str, int]) -> set[str]:
    """Moves aggregates to a newer sequence; answers the keys that moved, the others are superseded."""
    params = {"consumer": consumer, "topic": topic, "sequences": orjson.dumps(dict(sequences)).decode()}
    return {row[0] for row in await tx.hot.all(_ADVANCE[tx.dialect_name], params)}


async def prune(tx: WriteTx) -> int:
    """Forgets fact events that no log can deliver any more, a batch at most; answers the rows removed."""
    row = (inbox.c.consumer, inbox.c.event_id)
    old = select(*row).where(inbox.c.received_at < tx.recorded_at - KEPT_FOR).order_by(inbox.c.received_at).limit(PRUNED_AT_ONCE)
    return await tx.run(delete(inbox).where(tuple_(*row).in_(old.with_for_update(skip_locked=True))))
