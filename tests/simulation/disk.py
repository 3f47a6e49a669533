"""SQLite with aiosqlite's shape and no thread: a point before and after each effect, busy waiting in virtual time."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import aiosqlite
from aiosqlite.context import contextmanager
from sqlalchemy.util import LRUCache

from cityloop_common.db import Database, open_db
from tests.simulation.node import Node
from tests.simulation.patches import FOR_UPDATE
from tests.simulation.world import Mode

_WRITE = re.compile(r"\b(insert|update|delete|replace|create|drop|alter|vacuum|reindex)\b", re.IGNORECASE)
_READS = ("select", "with", "values", "pragma", "explain")
_BUSY_TIMEOUT = re.compile(r"pragma\s+busy_timeout\s*=\s*(\d+)", re.IGNORECASE)
BUSY_TIMEOUT_S = 10.0
# Compiled statements of all nodes: each process would make them anew at each of its starts. `patches` makes their dialects equal.
_COMPILED: LRUCache[Any, Any] = LRUCache(5_000)


def is_write(sql: str) -> bool:
    """Whether PostgreSQL would take a lock for it that another writer waits for."""
    text = sql.lstrip().lower()
    if FOR_UPDATE in text:
        return True
    if text.startswith(("select", "values", "pragma", "explain")):
        return False
    return not text.startswith(_READS) or _WRITE.search(text) is not None


def _shown(params: object) -> object:
    """Parameters for the trace: by content, never by address."""
    if isinstance(params, memoryview):
        return bytes(params)
    if isinstance(params, list | tuple):
        return [_shown(each) for each in params]
    return params


class InlineCursor(aiosqlite.Cursor):
    """A result read to its end inside `execute`: an open statement would outlive a kill and keep its lock."""

    def __init__(self, connection: InlineConnection) -> None:
        self._link = connection
        self._arraysize = 1
        self._rows: list[Any] = []
        self._next = 0
        self._rowcount = -1
        self._lastrowid: int | None = None
        self._description: Any = None

    def keep(self, cursor: sqlite3.Cursor) -> InlineCursor:
        self._rows = cursor.fetchall() if cursor.description is not None else []
        self._next = 0
        self._rowcount, self._lastrowid, self._description = cursor.rowcount, cursor.lastrowid, cursor.description
        cursor.close()
        return self

    async def execute(self, sql: str, parameters: Any = None) -> InlineCursor:
        await self._link.effect(sql, parameters, lambda raw: self.keep(raw.execute(sql, parameters or ())))
        return self

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> InlineCursor:
        rows = list(parameters)
        await self._link.effect(sql, rows, lambda raw: self.keep(raw.executemany(sql, rows)))
        return self

    async def executescript(self, sql_script: str) -> InlineCursor:
        await self._link.effect(sql_script, None, lambda raw: self.keep(raw.executescript(sql_script)))
        return self

    async def fetchone(self) -> Any:
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        end = self._next + (size or self.arraysize)
        rows, self._next = self._rows[self._next : end], min(end, len(self._rows))
        return rows

    async def fetchall(self) -> list[Any]:
        return await self.fetchmany(len(self._rows) or 1)

    async def __aiter__(self) -> Any:
        for row in await self.fetchall():
            yield row

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> InlineCursor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def arraysize(self) -> int:
        return self._arraysize

    @arraysize.setter
    def arraysize(self, value: int) -> None:
        self._arraysize = value

    @property
    def rowcount(self) -> int:
        return self._rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._lastrowid

    @property
    def description(self) -> Any:
        return self._description

    @property
    def connection(self) -> sqlite3.Connection:
        return self._link.raw


class _Inbox:
    """Where SQLAlchemy's dialect puts (future, function) for aiosqlite's thread: done here and now."""

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, function = item
        value = function()
        if future is not None:
            future.set_result(value)


class InlineConnection(aiosqlite.Connection):
    """One connection of one node. In read-committed mode BEGIN IMMEDIATE waits for the first write or FOR UPDATE."""

    def __init__(self, node: Node, path: Path) -> None:
        self.node = node
        self.raw = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        self._connection: sqlite3.Connection | None = self.raw
        self._tx: Any = _Inbox()
        self._iter_chunk_size = 64
        self._busy_timeout_s = BUSY_TIMEOUT_S
        self._deferred = False
        self._savepoints: list[str] = []
        self._snapshot = False
        node.on_death(self._power_off)

    def __del__(self) -> None:
        """A dead node's connection was closed by its death."""

    def _power_off(self) -> None:
        if self._connection is not None:
            self._connection = None
            self.raw.rollback()  # before close(): else a zombie keeps the transaction and its lock (CPython 3.11, 3.13)
            self.raw.close()

    async def effect(self, sql: str, params: object, act: Callable[[sqlite3.Connection], Any]) -> Any:
        """Does one thing to the file, with a point on either side."""
        is_commit = sql == "COMMIT"
        await self.node.point(beside_commit=is_commit)
        if self._connection is None:
            raise ValueError("no active connection")
        busy = _BUSY_TIMEOUT.match(sql.strip())
        if busy is not None:  # a real busy wait would block the only thread for ever
            self._busy_timeout_s = int(busy[1]) / 1000
            return None
        if not self._held_back(sql):
            if self._deferred and is_write(sql):
                await self._begin_now()
            result = await self._unless_busy(sql, act)
        else:
            result = None
        self.node.world.note(self.node.label, f"{' '.join(sql.split())} {_shown(params)!r}")
        await self.node.point(beside_commit=is_commit)
        return result

    def _held_back(self, sql: str) -> bool:
        """Read-committed mode: whether the statement only changes what will be begun later."""
        words = sql.split()
        verb = words[0].upper() if words else ""
        if verb == "BEGIN":
            self._snapshot = False
            self._deferred = self.node.world.mode is Mode.READ_COMMITTED and words[1:2] == ["IMMEDIATE"]
            return self._deferred
        if not self._deferred:
            return False
        if verb == "SAVEPOINT":
            self._savepoints.append(sql)
            return True
        if verb == "RELEASE" or (verb == "ROLLBACK" and "TO" in [word.upper() for word in words]):
            if verb == "RELEASE" and self._savepoints:
                self._savepoints.pop()
            return True
        if verb in ("COMMIT", "END", "ROLLBACK"):
            self._deferred = False
            self._savepoints.clear()
            return True
        return False

    @property
    def in_transaction(self) -> bool:
        return self._connection is not None and (self._deferred or self.raw.in_transaction)

    async def _begin_now(self) -> None:
        await self._unless_busy("BEGIN IMMEDIATE", lambda raw: raw.execute("BEGIN IMMEDIATE").close())
        self._deferred = False
        for savepoint in self._savepoints:
            self.raw.execute(savepoint).close()
        self._savepoints.clear()

    async def _unless_busy(self, sql: str, act: Callable[[sqlite3.Connection], Any]) -> Any:
        """Acts, or waits its turn in virtual time as SQLite's busy handler would."""
        loop = self.node.world.loop
        give_up_at = loop.now + self._busy_timeout_s
        while True:
            try:
                result = act(self.raw)
            except sqlite3.OperationalError as error:
                at_once = self._snapshot and self.raw.in_transaction  # a write after a read: SQLite does not wait
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or at_once or loop.now >= give_up_at:
                    raise
            else:
                self._snapshot = not sql.lstrip().upper().startswith("BEGIN") and self.raw.in_transaction
                return result
            await asyncio.sleep(self.node.patience())
            if self._connection is None:
                raise ValueError("no active connection")

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self.effect(getattr(fn, "__name__", "call"), None, lambda _: fn(*args, **kwargs))

    @contextmanager
    async def cursor(self) -> Any:
        return InlineCursor(self)

    @contextmanager
    async def execute(self, sql: str, parameters: Any = None) -> Any:
        return await InlineCursor(self).execute(sql, parameters)

    @contextmanager
    async def execute_insert(self, sql: str, parameters: Any = None) -> Any:
        cursor = await InlineCursor(self).execute(sql, parameters)
        return (cursor.lastrowid,)

    @contextmanager
    async def execute_fetchall(self, sql: str, parameters: Any = None) -> Any:
        return await (await InlineCursor(self).execute(sql, parameters)).fetchall()

    @contextmanager
    async def executemany(self, sql: str, parameters: Iterable[Any]) -> Any:
        return await InlineCursor(self).executemany(sql, parameters)

    @contextmanager
    async def executescript(self, sql_script: str) -> Any:
        return await InlineCursor(self).executescript(sql_script)

    async def create_function(self, name: str, num_params: int, func: Any, deterministic: bool = False) -> None:
        self.raw.create_function(name, num_params, func, deterministic=deterministic)

    async def commit(self) -> None:
        if self.in_transaction:
            await InlineCursor(self).execute("COMMIT")

    async def rollback(self) -> None:
        if self.in_transaction:
            await InlineCursor(self).execute("ROLLBACK")

    async def interrupt(self) -> None:
        """No statement is ever under way between two points."""

    async def close(self) -> None:
        await self.node.point()
        self.stop()

    def stop(self) -> None:
        self.node.no_longer(self._power_off)
        self._power_off()


def creator(node: Node, path: Path) -> Callable[[], Awaitable[aiosqlite.Connection]]:
    """What `open_db(creator=...)` takes: opens connections of this node to a file of the world."""

    async def connect() -> aiosqlite.Connection:
        await node.point()
        connection = InlineConnection(node, path)
        node.world.note(node.label, f"opens {path.name}")
        await node.point()
        return connection

    return connect


class _NoTurn:
    """PostgreSQL knows no queue of writers inside a process."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


def open_on(node: Node, path: Path, *, pool_size: int = 10) -> Database:
    """The kit's database as a node opens it."""
    db = open_db(f"sqlite:///{path}", clock=node.clock, creator=creator(node, path), pool_size=pool_size)
    db._engine.sync_engine._compiled_cache = _COMPILED
    if node.world.mode is Mode.READ_COMMITTED:
        db._write_turn = _NoTurn()  # type: ignore[assignment]
    return db
