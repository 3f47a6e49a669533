"""Rows handed to a statement as one JSON array: a whole group of them in one round trip, on both dialects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String, Table, bindparam, text
from sqlalchemy.types import TypeEngine

from cityloop_common.columns import UtcDateTime, utc_text
from cityloop_common.hot import HotStatement

DIALECTS = ("sqlite", "postgresql")


def rows(dialect: str, values: object) -> str:
    """Values as the JSON text that a statement takes. SQLite gets instants as it stores them, PostgreSQL reads any."""
    if dialect == "postgresql":
        return orjson.dumps(values, option=orjson.OPT_UTC_Z).decode()
    return orjson.dumps(values, default=_instant, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def given(dialect: str, columns: Sequence[Column[Any]], *, bind: str = "rows") -> str:
    """The FROM item `r` with these columns, filled from the array of objects in `:rows`, in its order."""
    if dialect == "postgresql":
        typed = ", ".join(f"{column.name} {_postgres_type(column.type)}" for column in columns)
        return f"json_to_recordset(CAST(:{bind} AS json)) AS r({typed})"
    taken = ", ".join(f"json_extract(value, '$.{column.name}') AS {column.name}" for column in columns)
    return f"(SELECT {taken} FROM json_each(:{bind})) AS r"


def among(dialect: str, column: str, *, bind: str = "ids") -> str:
    """The condition that a column has one of the texts in the array in `:ids`.

    PostgreSQL looks each up by the index then. A join or an IN over the same array reads the whole table wherever the plan was
    made while it was small, and plans are kept.
    """
    if dialect == "postgresql":
        return f"{column} = ANY(ARRAY(SELECT json_array_elements_text(CAST(:{bind} AS json))))"
    return f"{column} IN (SELECT value FROM json_each(:{bind}))"


def insertion(dialect: str, table: Table, *, where: str = "true") -> str:
    """`INSERT INTO table (...) SELECT ... FROM r WHERE ...`; what follows (ON CONFLICT, RETURNING) is the caller's."""
    columns = list(table.columns)
    listed = ", ".join(column.name for column in columns)
    chosen = ", ".join(f"r.{column.name}" for column in columns)
    return f"INSERT INTO {table.name} ({listed}) SELECT {chosen} FROM {given(dialect, columns)} WHERE {where}"


def statements(
    make: Callable[[str], str], *binds: str, columns: Sequence[Column[Any]] = (), types: Mapping[str, TypeEngine[Any]] | None = None
) -> Mapping[str, HotStatement]:
    """A hot statement per dialect from its text. Binds are texts unless `types` says otherwise; `columns` say what comes out."""
    made: dict[str, HotStatement] = {}
    known = types or {}
    for dialect in DIALECTS:
        statement: Any = text(make(dialect)).bindparams(*(bindparam(name, type_=known.get(name, String())) for name in binds))
        made[dialect] = HotStatement(statement.columns(*columns) if columns else statement)
    return made


def _postgres_type(type_: TypeEngine[Any]) -> str:
    for kind, name in (
        (UtcDateTime, "timestamptz"),
        (Boolean, "boolean"),
        (BigInteger, "bigint"),
        (Integer, "int"),
        (Float, "double precision"),
        (String, "text"),
    ):
        if isinstance(type_, kind):
            return name
    raise TypeError(f"no JSON form of {type_!r}")


def _instant(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"no JSON form of {type(value).__name__}")
    return utc_text(value)
