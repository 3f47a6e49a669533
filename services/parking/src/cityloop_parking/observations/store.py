"""SQL of the room `observations`: a whole group of reports in a handful of statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import String, bindparam, func, select, text

from cityloop_common.db import HotStatement, Tx, UtcDateTime, WriteTx, utc_text
from cityloop_parking.observations.domain import Known
from cityloop_parking.observations.events import LiveCount, Published
from cityloop_parking.observations.tables import live_count, observation, occupancy

_ROWS = {
    "observation": "id text, place_id text, category text, source text, minute bigint, happened_at timestamptz, recorded_at timestamptz,"
    " occupied int, capacity int, capacity_reported int, event_id text, interval_s int",
    "live_count": "place_id text, category text, occupied int, capacity int, observed_at timestamptz, recorded_at timestamptz,"
    " source text, interval_s int",
}


def _from_json(dialect: str, table: str) -> str:
    """`(columns) SELECT columns` from the JSON array in :rows, in its order: of two rows with one key the first comes first.

    No ORDER BY: whoever writes these tables holds the places' turns already, and a sort may swap equal keys.
    """
    names = [column.split()[0] for column in _ROWS[table].split(", ")]
    listed = ", ".join(names)
    if dialect == "postgresql":
        return f"({listed}) SELECT {listed} FROM json_to_recordset(CAST(:rows AS json)) AS r({_ROWS[table]})"
    fields = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in names)
    return f"({listed}) SELECT {fields} FROM json_each(:rows) WHERE true"


def _keys(dialect: str) -> str:
    if dialect == "postgresql":
        return "SELECT json_array_elements_text(CAST(:ids AS json))"
    return "SELECT value FROM json_each(:ids)"


def _journal(dialect: str) -> str:
    return f"INSERT INTO observation {_from_json(dialect, 'observation')} ON CONFLICT (place_id, category, source, minute) DO NOTHING"


def _newest(dialect: str) -> str:
    names = ("occupied", "capacity", "observed_at", "recorded_at", "source", "interval_s")
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    return (
        f"INSERT INTO live_count {_from_json(dialect, 'live_count')} ON CONFLICT (place_id, category) DO UPDATE SET {changes}"
        " WHERE live_count.observed_at < excluded.observed_at RETURNING place_id, category"
    )


def _turn(dialect: str) -> str:
    source = f"SELECT k.id, 1, :event_id, 0, :at FROM ({_keys(dialect)} AS id) AS k WHERE true ORDER BY k.id"
    if dialect == "sqlite":
        source = "SELECT value, 1, :event_id, 0, :at FROM json_each(:ids) WHERE true ORDER BY value"
    return (
        f"INSERT INTO occupancy (place_id, version, event_id, published_version, updated_at) {source}"
        " ON CONFLICT (place_id) DO UPDATE SET version = occupancy.version + 1 RETURNING place_id, version"
    )


def _known(dialect: str) -> str:
    return (
        "SELECT place.id, place.operator_id, place_pool.category, place_pool.capacity FROM place"
        f" LEFT JOIN place_pool ON place_pool.place_id = place.id WHERE place.id IN ({_keys(dialect)})"
    )


def _counts(dialect: str) -> str:
    return (
        "SELECT place_id, category, occupied, capacity, observed_at, source, interval_s FROM live_count"
        f" WHERE place_id IN ({_keys(dialect)}) ORDER BY place_id, category"
    )


def _hot(make: Any, *binds: str, columns: Sequence[Any] = ()) -> Mapping[str, HotStatement]:
    types = {"at": UtcDateTime()}
    made = {}
    for dialect in ("sqlite", "postgresql"):
        statement: Any = text(make(dialect)).bindparams(*(bindparam(name, type_=types.get(name, String())) for name in binds))
        made[dialect] = HotStatement(statement.columns(*columns) if columns else statement)
    return made


_JOURNAL = _hot(_journal, "rows")
_NEWEST = _hot(_newest, "rows")
_TURN = _hot(_turn, "ids", "event_id", "at")
_KNOWN = _hot(_known, "ids")
_COUNTS = _hot(
    _counts,
    "ids",
    columns=[live_count.c[name] for name in ("place_id", "category", "occupied", "capacity", "observed_at", "source", "interval_s")],
)
_PUBLISH = HotStatement(
    occupancy.update()
    .where(occupancy.c.place_id == bindparam("of_place"))
    .values(event_id=bindparam("event_id"), published_version=occupancy.c.version, updated_at=bindparam("at"))
)


def _json(value: object) -> str:
    return orjson.dumps(value, default=_instant, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _instant(value: object) -> str:
    assert isinstance(value, datetime)
    return utc_text(value)


async def known(tx: Tx, place_ids: Iterable[str]) -> dict[str, Known]:
    """Operator and capacities of the places that exist."""
    found: dict[str, tuple[str | None, dict[str, int]]] = {}
    asked = sorted(each for each in place_ids if each.isascii() and each.isprintable())  # PostgreSQL's JSON cannot hold NUL
    for place_id, operator_id, category, capacity in await tx.hot.all(_KNOWN[tx.dialect_name], {"ids": _json(asked)}):
        of_place = found.setdefault(place_id, (operator_id, {}))
        if category is not None:
            of_place[1][category] = capacity
    return {place_id: Known(place_id, operator_id, capacity) for place_id, (operator_id, capacity) in found.items()}


async def take_turns(tx: WriteTx, place_ids: Iterable[str]) -> dict[str, int]:
    """Locks the counts of places, in the order of their ids, and answers the version that each gets in this unit."""
    params = {"ids": _json(sorted(place_ids)), "event_id": "", "at": tx.recorded_at}
    return {row[0]: row[1] for row in await tx.hot.all(_TURN[tx.dialect_name], params)}


async def write_journal(tx: WriteTx, rows: Sequence[Mapping[str, object]]) -> None:
    """Appends counts; one of the same place, category, source and minute is there already and stays."""
    await tx.hot.run(_JOURNAL[tx.dialect_name], {"rows": _json(rows)})


async def keep_newest(tx: WriteTx, rows: Sequence[Mapping[str, object]]) -> set[tuple[str, str]]:
    """Overwrites live counts by newer ones; answers place and category of those that moved. No pair may come twice."""
    return {(row[0], row[1]) for row in await tx.hot.all(_NEWEST[tx.dialect_name], {"rows": _json(rows)})}


async def counts(tx: Tx, place_ids: Iterable[str]) -> dict[str, list[LiveCount]]:
    """The newest counts of places."""
    found: dict[str, list[LiveCount]] = {}
    for row in await tx.hot.all(_COUNTS[tx.dialect_name], {"ids": _json(sorted(place_ids))}):
        found.setdefault(row[0], []).append(LiveCount(*row))
    return found


async def note_published(tx: WriteTx, published: Sequence[Published]) -> None:
    """Remembers which event told of a place's counts."""
    await tx.hot.many(_PUBLISH, [{"of_place": each.place_id, "event_id": each.event_id, "at": each.at} for each in published])


async def page_published(tx: Tx, *, after: str, most: int, only: str | None = None) -> list[Published]:
    """The events that told of counts last, by place."""
    asked = select(occupancy).where(occupancy.c.place_id > after, occupancy.c.event_id != "")
    if only is not None:
        asked = asked.where(occupancy.c.place_id == only)
    rows = await tx.all(asked.order_by(occupancy.c.place_id).limit(most))
    return [Published(row.place_id, row.published_version, row.event_id, row.updated_at) for row in rows]


async def count_rows(tx: Tx, source: str) -> int:
    """How many journal rows a source has."""
    return int(await tx.scalar(select(func.count()).select_from(observation).where(observation.c.source == source)))
