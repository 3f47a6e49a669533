"""Rows that travel as one JSON array arrive as they were, on both dialects and in their order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, MetaData, String, Table, select

from cityloop_common import json_rows
from cityloop_common.columns import UtcDateTime
from cityloop_common.db import Database

metadata = MetaData()
kept = Table(
    "kept",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("small", Integer),
    Column("large", BigInteger),
    Column("share", Float),
    Column("yes", Boolean),
    Column("at", UtcDateTime),
)
ADD = json_rows.statements(lambda dialect: f"{json_rows.insertion(dialect, kept)} ON CONFLICT (id) DO NOTHING RETURNING id", "rows")
AMONG = json_rows.statements(
    lambda dialect: f"SELECT at, yes FROM kept WHERE {json_rows.among(dialect, 'id')} ORDER BY id", "ids", columns=[kept.c.at, kept.c.yes]
)
AT = datetime(2026, 6, 1, 4, 0, 0, 123, tzinfo=UTC)


def row(id: str, **values: object) -> dict[str, Any]:
    return {"id": id, "small": None, "large": None, "share": None, "yes": None, "at": None, **values}


async def test_values_of_every_type_arrive(kit_db: Database) -> None:
    """Also the largest number, an instant with microseconds, quotes, and what is absent."""
    await kit_db.run_sync(metadata.create_all)
    full = row('O\'Neill "雪"', small=-7, large=2**53 + 1, share=0.1, yes=True, at=AT)
    rows = [full, row("b", yes=False), row("a")]
    async with kit_db.write() as tx:
        added = await tx.hot.all(ADD[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, rows)})
        again = await tx.hot.all(
            ADD[tx.dialect_name], {"rows": json_rows.rows(tx.dialect_name, [row("a", small=1), row("c"), row("c", small=2)])}
        )
    assert [each[0] for each in added] == [each["id"] for each in rows]
    assert [each[0] for each in again] == ["c"]
    async with kit_db.read() as tx:
        found = await tx.all(select(kept).order_by(kept.c.id))
        named = await tx.hot.all(AMONG[tx.dialect_name], {"ids": json_rows.rows(tx.dialect_name, ["b", full["id"], "none"])})
    stored = {each.id: dict(each._mapping) for each in found}
    assert stored[full["id"]] == full
    assert (stored["a"]["small"], stored["b"]["yes"], stored["c"]["small"]) == (None, False, None)
    assert sorted(tuple(each) for each in named if each[0]) == [(AT, True)]
    assert len(named) == 2


def test_what_has_no_json_form_is_refused_at_once() -> None:
    """When the statement is made, or the row written: not by the database."""
    blob = Table("blob", MetaData(), Column("raw", LargeBinary))
    with pytest.raises(TypeError):
        json_rows.insertion("postgresql", blob)
    with pytest.raises(TypeError):
        json_rows.rows("sqlite", [{"raw": b"x"}])
    with pytest.raises(TypeError):
        json_rows.rows("postgresql", [{"raw": b"x"}])
