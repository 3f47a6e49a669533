"""How the registry's tables are written: a row a thing, touched only when its facts are other ones than before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Boolean, Column, ColumnElement, Integer, String, Table, and_, bindparam
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import HotStatement, UtcDateTime, WriteTx
from cityloop_waste.context import WasteCtx
from cityloop_waste.rows import Accepted, ImportReport, Rejected

T = TypeVar("T")
CHUNK = 200
_KEPT = ("id", "version", "recorded_at")


def registry_columns() -> list[Column[Any]]:
    """What each row says of itself; `version` counts its changes."""
    return [
        Column("active", Boolean, nullable=False),
        Column("invented", Boolean, nullable=False),
        Column("version", Integer, nullable=False),
        Column("content_hash", String(64), nullable=False),
        Column("recorded_at", UtcDateTime, nullable=False),
        Column("updated_at", UtcDateTime, nullable=False),
    ]


class Keep:
    """Writes one table of the registry: new rows and changed ones, in ascending order of their ids."""

    def __init__(self, table: Table, *, fixed: Sequence[str] = ()) -> None:
        """`fixed` columns never change: a row that has another value there is left as it is."""
        self._statements = {dialect: _upsert(table, dialect, fixed) for dialect in ("sqlite", "postgresql")}

    async def put(self, tx: WriteTx, rows: Sequence[Mapping[str, object]]) -> list[str]:
        """Stores rows that carry `id` and `content_hash`; answers the ids of those that were new or other than before."""
        changed: list[str] = []
        for row in sorted(rows, key=lambda each: str(each["id"])):
            params = {**row, "version": 1, "recorded_at": tx.recorded_at, "updated_at": tx.recorded_at}
            if await tx.hot.first(self._statements[tx.dialect_name], params) is not None:
                changed.append(str(row["id"]))
        return changed


async def import_rows(
    ctx: WasteCtx,
    verdicts: Sequence[Accepted[T] | Rejected],
    keep: Callable[[WriteTx, Sequence[Accepted[T]]], Awaitable[tuple[int, Sequence[Rejected]]]],
    progress: Callable[[int], None],
) -> ImportReport:
    """Stores the accepted rows of a file, 200 in a unit; `keep` answers how many changed and which could not be stored after all.

    Stopped halfway, the same import goes on where it was.
    """
    changed, refused = 0, [each for each in verdicts if isinstance(each, Rejected)]
    for start in range(0, len(verdicts), CHUNK):
        chunk = verdicts[start : start + CHUNK]
        async with ctx.db.write() as tx:
            moved, rejected = await keep(tx, [each for each in chunk if isinstance(each, Accepted)])
        changed += moved
        refused += rejected
        progress(start + len(chunk))
    refused.sort(key=lambda each: each.row)
    return ImportReport(len(verdicts), changed, len(verdicts) - len(refused) - changed, tuple(refused))


def unknown_districts(ctx: WasteCtx, said: Iterable[tuple[int, str, str | None]]) -> list[Rejected]:
    """Verdicts on rows (number, id, district) whose district is none of those that are loaded; without any each word is taken."""
    known = ctx.districts
    return [
        Rejected(row, id_, f"there is no district {district}")
        for row, id_, district in said
        if district is not None and len(known) and known.get(district) is None
    ]


def _upsert(table: Table, dialect: str, fixed: Sequence[str]) -> HotStatement:
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(table).values({column.name: bindparam(column.name) for column in table.columns})
    changes: dict[str, ColumnElement[Any]] = {
        column.name: statement.excluded[column.name] for column in table.columns if column.name not in _KEPT
    }
    changes["version"] = table.c.version + 1
    other = and_(table.c.content_hash != statement.excluded.content_hash, *(table.c[name] == statement.excluded[name] for name in fixed))
    return HotStatement(statement.on_conflict_do_update(index_elements=[table.c.id], set_=changes, where=other).returning(table.c.id))
