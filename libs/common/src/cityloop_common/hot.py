"""Statements compiled once from Core and sent on the unit's own driver connection, for measured hot paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement

from cityloop_common.dberrors import watched
from cityloop_common.drivers import Driver

Process = Callable[[Any], Any]


class _Compiled:
    """One statement in one dialect: its text, the order of its parameters, how values go in and come out."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        if compiled.post_compile_params or compiled.literal_execute_params:
            raise TypeError("a hot statement has a fixed text: use = ANY(:array) or json_each instead of IN (:list)")
        self.sql = str(compiled)
        self._names: Sequence[str] = compiled.positiontup or []
        given: Mapping[str, Any] = compiled.construct_params(_check=False)
        self._defaults = {name: given[name] for bind, name in compiled.bind_names.items() if not bind.required}
        self._wanted = {name for bind, name in compiled.bind_names.items() if bind.required}
        self._into: list[Process | None] = [compiled._bind_processors.get(name) for name in self._names]  # type: ignore[misc]
        out = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in compiled._result_columns]
        self._out = [(index, process) for index, process in enumerate(out) if process]

    def args(self, params: Mapping[str, object]) -> list[object]:
        if missing := self._wanted - params.keys():  # else NULL would be sent for it
            raise TypeError(f"parameters missing: {', '.join(sorted(missing))}")
        values = []
        for name, process in zip(self._names, self._into, strict=True):
            value = params[name] if name in params else self._defaults[name]
            values.append(process(value) if process else value)
        return values

    def rows(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        if not self._out:
            return rows
        return [self._converted(row) for row in rows]

    def _converted(self, row: Sequence[Any]) -> Sequence[Any]:
        """Only the columns that need it are touched: of a wide row they are few."""
        values = list(row)
        for index, process in self._out:
            values[index] = process(values[index])
        return tuple(values)


class HotStatement:
    """A Core statement whose text never changes; `bindparam(name)` marks what is filled in at each call."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def compiled(self, dialect: Dialect) -> _Compiled:
        """The compiled form, made at its first use in each dialect."""
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = _Compiled(self._statement, dialect)
        return found


class Hot:
    """The fast lane of an open unit (`tx.hot`)."""

    def __init__(self, driver: Driver, dialect: Dialect, watch: watched) -> None:
        self._driver = driver
        self._watch = watch
        self._dialect = dialect

    async def all(self, statement: HotStatement, params: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """Every row, columns in the statement's order."""
        compiled = statement.compiled(self._dialect)
        args = compiled.args(params)
        with self._watch:
            rows = await self._driver.fetch(compiled.sql, args)
        return compiled.rows(rows)

    async def first(self, statement: HotStatement, params: Mapping[str, object]) -> Sequence[Any] | None:
        """The first row, or None."""
        rows = await self.all(statement, params)
        return rows[0] if rows else None

    async def run(self, statement: HotStatement, params: Mapping[str, object]) -> int:
        """Runs a statement without an answer and says how many rows it touched."""
        compiled = statement.compiled(self._dialect)
        args = compiled.args(params)
        with self._watch:
            return await self._driver.run(compiled.sql, args)

    async def many(self, statement: HotStatement, rows: Sequence[Mapping[str, object]]) -> None:
        """Runs a statement for each of `rows` in one round trip."""
        compiled = statement.compiled(self._dialect)
        many = [compiled.args(row) for row in rows]
        with self._watch:
            await self._driver.many(compiled.sql, many)
