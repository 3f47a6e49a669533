"""The file behind the SQLite log: its tables, and two connections that each serve one unit at a time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import aiosqlite

from cityloop_common.clock import Clock
from cityloop_common.eventlog.port import LogUnavailable

Row: TypeAlias = tuple[Any, ...]

BUSY_TIMEOUT_S = 5.0
_OPEN_ATTEMPTS = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VERSION = 1
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS topic (
        name TEXT PRIMARY KEY, retention TEXT NOT NULL, keep_for_ms INTEGER NOT NULL) WITHOUT ROWID""",
    # next_offset: what the next record gets; clean_offset: compaction has looked at everything below.
    """CREATE TABLE IF NOT EXISTS part (
        id INTEGER PRIMARY KEY, topic TEXT NOT NULL REFERENCES topic (name), number INTEGER NOT NULL,
        begin_offset INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0, clean_offset INTEGER NOT NULL DEFAULT 0,
        UNIQUE (topic, number))""",
    """CREATE TABLE IF NOT EXISTS record (
        part INTEGER NOT NULL, position INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB NOT NULL, appended_ms INTEGER NOT NULL,
        PRIMARY KEY (part, position)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS record_by_key ON record (part, key, position)",
    "CREATE INDEX IF NOT EXISTS record_tombstone ON record (part, appended_ms) WHERE value IS NULL",
    "CREATE TABLE IF NOT EXISTS consumer_group (name TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID",
    # AUTOINCREMENT: an id is never given twice, so a member that was expelled cannot be taken for a new one.
    """CREATE TABLE IF NOT EXISTS member (
        id INTEGER PRIMARY KEY AUTOINCREMENT, consumer_group TEXT NOT NULL, topics TEXT NOT NULL, expires_ms INTEGER NOT NULL)""",
    # generation: when the partition came to this member; commits of an earlier ownership are fenced by it.
    """CREATE TABLE IF NOT EXISTS assignment (
        consumer_group TEXT NOT NULL, part INTEGER NOT NULL, member INTEGER NOT NULL, generation INTEGER NOT NULL,
        PRIMARY KEY (consumer_group, part)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS committed (
        consumer_group TEXT NOT NULL, part INTEGER NOT NULL, next_offset INTEGER NOT NULL,
        PRIMARY KEY (consumer_group, part)) WITHOUT ROWID""",
    f"PRAGMA user_version = {VERSION}",
)


class Connection(Protocol):
    """The part of aiosqlite's shape that the log uses, in autocommit mode; a simulation brings its own."""

    def execute_fetchall(self, sql: str, parameters: Sequence[object] | None = None, /) -> Awaitable[Iterable[Any]]: ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]], /) -> Awaitable[object]: ...

    async def close(self) -> None: ...


Creator: TypeAlias = Callable[[], Awaitable[Connection]]


def file_creator(path: Path) -> Creator:
    """Connections to the file at `path` that wait for each other's locks."""

    async def connect() -> Connection:
        path.parent.mkdir(parents=True, exist_ok=True)
        return await aiosqlite.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)

    return connect


def now_ms(clock: Clock) -> int:
    return (clock.now() - _EPOCH) // timedelta(milliseconds=1)


def instant_of(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LogUnavailable(f"event log file: {error}") from error


class Lane:
    """One connection, opened at first use; a unit waits for the one before it."""

    def __init__(self, creator: Creator, synchronous: str) -> None:
        self._creator = creator
        self._synchronous = synchronous
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._closed = False

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """The connection for single statements. Raises LogUnavailable."""
        async with self._lock:
            with _as_unavailable():
                yield await self._opened()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """One transaction, committed on normal exit. Raises LogUnavailable."""
        async with self._lock:
            with _as_unavailable():
                connection = await self._opened()
                try:
                    await connection.execute_fetchall("BEGIN IMMEDIATE")
                    yield connection
                    await connection.execute_fetchall("COMMIT")
                except BaseException:
                    # A cancelled statement still runs; the rollback queues behind it on the connection.
                    with suppress(sqlite3.Error):
                        await connection.execute_fetchall("ROLLBACK")
                    raise

    async def close(self) -> None:
        async with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()

    async def _opened(self) -> Connection:
        if self._closed:
            raise LogUnavailable("the event log is closed")
        if self._connection is None:
            connection = await self._creator()
            try:
                await self._prepare(connection)
            except BaseException:
                await connection.close()
                raise
            self._connection = connection
        return self._connection

    async def _prepare(self, connection: Connection) -> None:
        await self._switch_to_wal(connection)
        await connection.execute_fetchall(f"PRAGMA synchronous = {self._synchronous}")
        ((version,),) = await connection.execute_fetchall("PRAGMA user_version")
        if version == 0:
            await connection.execute_fetchall("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                await connection.execute_fetchall(statement)
            await connection.execute_fetchall("COMMIT")
        elif version != VERSION:
            raise LogUnavailable(f"event log file has version {version}, this program knows {VERSION}")

    @staticmethod
    async def _switch_to_wal(connection: Connection) -> None:
        # The switch ignores the busy time-out when another process opens the file at the same moment.
        for attempt in range(_OPEN_ATTEMPTS):
            try:
                await connection.execute_fetchall("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if attempt == _OPEN_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.05)
            else:
                return


class LogFile:
    """The two lanes.

    `durable` appends with synchronous=FULL: a record outlives a power cut. `light` reads and keeps leases and committed offsets
    with synchronous=NORMAL: they outlive the process; after a power cut an older offset only brings records again.
    """

    def __init__(self, creator: Creator) -> None:
        self.durable = Lane(creator, "FULL")
        self.light = Lane(creator, "NORMAL")

    async def close(self) -> None:
        await self.light.close()
        await self.durable.close()
