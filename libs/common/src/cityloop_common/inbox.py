"""What a consumer has already taken: effectively once = at least once + this, in the effect's own unit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import orjson
from sqlalchemy import String, bindparam, delete, select, text, tuple_

from cityloop_common.columns import UtcDateTime
from cityloop_common.db import HotStatement, WriteTx
from cityloop_common.tables import inbox

PRUNED_AT_ONCE = 2_000
KEPT_FOR = timedelta(days=45)  # longer than topics and dead letters keep a record (14 days each)

_SEQUENCES = {
    "postgresql": "SELECT topic, key, sequence FROM json_to_recordset(CAST(:sequences AS json))"
    " AS r(topic text, key text, sequence bigint) ORDER BY topic, key",
    "sqlite": "SELECT json_extract(value, '$.topic') AS topic, json_extract(value, '$.key') AS key,"
    " json_extract(value, '$.sequence') AS sequence FROM json_each(:sequences) WHERE true",
}
_IDS = {
    "postgresql": "SELECT e AS id FROM json_array_elements_text(CAST(:ids AS json)) AS e ORDER BY e",
    "sqlite": "SELECT value AS id FROM json_each(:ids) WHERE true",
}


def _take(dialect: str) -> str:
    return (
        f"INSERT INTO inbox (consumer, event_id, received_at) SELECT :consumer, i.id, :received_at FROM ({_IDS[dialect]}) AS i WHERE true"
        " ON CONFLICT DO NOTHING RETURNING event_id"
    )


def _known(dialect: str) -> str:
    return (
        f"SELECT s.topic, s.key, k.sequence FROM ({_SEQUENCES[dialect]}) AS s"
        " JOIN inbox_sequence AS k ON k.topic = s.topic AND k.key = s.key AND k.consumer = :consumer"
    )


def _advance(dialect: str) -> str:
    return (
        "INSERT INTO inbox_sequence (consumer, topic, key, sequence)"
        f" SELECT :consumer, s.topic, s.key, s.sequence FROM ({_SEQUENCES[dialect]}) AS s WHERE true"
        " ON CONFLICT (consumer, topic, key) DO UPDATE SET sequence = excluded.sequence"
        " WHERE inbox_sequence.sequence < excluded.sequence RETURNING topic, key"
    )


def _statement(sql: str, *names: str) -> HotStatement:
    binds = [bindparam(name, type_=UtcDateTime() if name == "received_at" else String()) for name in names]
    return HotStatement(text(sql).bindparams(*binds))


_TAKE = _statement(_take("sqlite"), "consumer", "received_at", "ids")
_KNOWN = _statement(_known("sqlite"), "consumer", "sequences")
_ADVANCE = _statement(_advance("sqlite"), "consumer", "sequences")
# PostgreSQL does the three in one round trip; locks are taken in one order, events before aggregates.
_NOTE = _statement(
    f"WITH known AS MATERIALIZED ({_known('postgresql')}), taken AS ({_take('postgresql')}), moved AS ({_advance('postgresql')})"
    " SELECT 'taken', '', event_id, 0 FROM taken UNION ALL SELECT 'moved', topic, key, 0 FROM moved"
    " UNION ALL SELECT 'known', topic, key, sequence FROM known",
    "consumer",
    "received_at",
    "ids",
    "sequences",
)


@dataclass(frozen=True, slots=True)
class Noted:
    """What of a chunk is new: ids of facts, and aggregates (topic and key) that moved. `known` is where aggregates were before."""

    facts: Collection[str]
    moved: Collection[tuple[str, str]]
    known: Mapping[tuple[str, str], int]


async def note(tx: WriteTx, consumer: str, *, facts: Sequence[str], sequences: Mapping[tuple[str, str], int]) -> Noted:
    """Notes fact events as taken and moves aggregates to a newer sequence. A concurrent taker of the same waits for this unit."""
    rows = [{"topic": topic, "key": key, "sequence": sequence} for (topic, key), sequence in sequences.items()]
    params = {
        "consumer": consumer,
        "received_at": tx.recorded_at,
        "ids": orjson.dumps(list(facts)).decode(),
        "sequences": orjson.dumps(rows).decode(),
    }
    if tx.dialect_name == "sqlite":
        known = {(row[0], row[1]): row[2] for row in await tx.hot.all(_KNOWN, params)}
        taken = {row[0] for row in await tx.hot.all(_TAKE, params)} if facts else set()
        moved = {(row[0], row[1]) for row in await tx.hot.all(_ADVANCE, params)}
        return Noted(taken, moved, known)
    found: dict[str, dict[tuple[str, str], int]] = {"taken": {}, "moved": {}, "known": {}}
    for what, topic, key, sequence in await tx.hot.all(_NOTE, params):
        found[what][topic, key] = sequence
    return Noted({key for _, key in found["taken"]}, found["moved"].keys(), found["known"])


async def prune(tx: WriteTx) -> int:
    """Forgets fact events that no log can deliver any more, a batch at most; answers the rows removed."""
    row = (inbox.c.consumer, inbox.c.event_id)
    old = select(*row).where(inbox.c.received_at < tx.recorded_at - KEPT_FOR).order_by(inbox.c.received_at).limit(PRUNED_AT_ONCE)
    return await tx.run(delete(inbox).where(tuple_(*row).in_(old.with_for_update(skip_locked=True))))
