"""One database port over SQLite and PostgreSQL: read units, write units, and a fast lane for hot statements.

The engines run in AUTOCOMMIT and the unit itself sends BEGIN and COMMIT, so SQLAlchemy Core and statements on the
driver's own connection (`tx.hot`) share one transaction.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import structlog
from sqlalchemy import Executable, NullPool, Row, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from cityloop_common.clock import Clock
from cityloop_common.columns import Json, UtcDateTime, utc_text
from cityloop_common.connections import Connections, Lease
from cityloop_common.dberrors import SESSION_LOST, CheckViolation, ClockOff, UniqueViolation, UnitBroken, UnitTooOld, translated, watched
from cityloop_common.drivers import Driver
from cityloop_common.errors import CommitUnknown, Contention, DeadlinePassed, Unavailable
from cityloop_common.hot import Hot, HotStatement
from cityloop_common.signals import Signals

__all__ = [
    "CheckViolation", "Database", "HotStatement", "Json", "Tx", "UniqueViolation", "UnitBroken", "UnitTooOld", "UtcDateTime", "WriteTx",
    "open_db", "utc_text",
]  # fmt: skip

UNIT_DEADLINE_S = 20.0
WAL_TRIES = 200
COMMIT_DEADLINE_S = 8.0
COMMIT_WITHIN = timedelta(seconds=30)
MAX_SKEW = timedelta(seconds=5)
SKEW_CHECK_EVERY_S = 10.0
# A host that vanished without a word keeps its advisory locks until the server notices: here after about 10 s instead of 2 h.
SESSION_SETTINGS = {"tcp_keepalives_idle": "4", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}
Params = Mapping[str, object] | Sequence[Mapping[str, object]] | None

log = structlog.get_logger(__name__)


class Tx:
    """A unit of reads in one snapshot."""

    def __init__(self, conn: AsyncConnection, driver: Driver, dialect_name: str) -> None:
        self._conn = conn
        self._driver = driver
        self.used_core = False
        self.dialect_name = dialect_name
        self._watch = watched()
        self.hot = Hot(driver, conn.dialect, self._watch)
        self._savepoints = 0

    async def all(self, statement: Executable, params: Params = None) -> Sequence[Row[Any]]:
        """Every row of the answer."""
        self.used_core = True
        with self._watch:
            result = await self._conn.execute(statement, params)
            return result.all()

    async def first(self, statement: Executable, params: Params = None) -> Row[Any] | None:
        """The first row, or None."""
        rows = await self.all(statement, params)
        return rows[0] if rows else None

    async def scalar(self, statement: Executable, params: Params = None) -> Any:
        """The first column of the first row, or None."""
        row = await self.first(statement, params)
        return None if row is None else row[0]

    async def run(self, statement: Executable, params: Params = None) -> int:
        """Runs a statement without an answer; a list of params runs it for each. Answers the rows touched."""
        self.used_core = True
        with self._watch:
            result = await self._conn.execute(statement, params)
            return int(getattr(result, "rowcount", -1))


class WriteTx(Tx):
    """A write unit: everything in it is stored together, or nothing is.

    `recorded_at` is the instant at which its facts were learnt.
    """

    def __init__(self, conn: AsyncConnection, driver: Driver, dialect_name: str, recorded_at: datetime, signals: Signals) -> None:
        super().__init__(conn, driver, dialect_name)
        self.recorded_at = recorded_at
        self.signals = signals
        self.callbacks: list[Callable[[], None]] = []
        self._last: dict[tuple[str, ...], Callable[[], Awaitable[None]]] | None = {}

    def at_end(self, key: tuple[str, ...], work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` once when the body is done, in the unit and before its COMMIT; never when the body raised.

        Works run in the order of their keys, so units that lock the same rows there lock them in one order. A second work of
        a key takes the place of the first. A savepoint that is rolled back forgets the works that were noted in it. A work
        may not note another: raises RuntimeError.
        """
        if self._last is None:
            raise RuntimeError("the unit is at its end: it takes no more work")
        self._last[key] = work

    async def _end(self) -> None:
        noted, self._last = self._last or {}, None
        for key in sorted(noted):
            await noted[key]()

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Runs `callback` once the unit is stored; never when it is not."""
        self.callbacks.append(callback)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part of the unit that can fail alone."""
        self._savepoints += 1
        name = f"s{self._savepoints}"
        broken_before, noted_before = self._watch.broken, None if self._last is None else self._last.copy()
        await self._control(f"SAVEPOINT {name}")
        try:
            yield
        except Exception:
            await self._control(f"ROLLBACK TO SAVEPOINT {name}")
            await self._control(f"RELEASE SAVEPOINT {name}")
            self._watch.broken, self._last = broken_before, noted_before
            raise
        await self._control(f"RELEASE SAVEPOINT {name}")

    async def _control(self, sql: str) -> None:
        with self._watch:
            await self._driver.control(sql)


class Database:
    """A service's own database; `open_db` makes it."""

    def __init__(self, engine: AsyncEngine, url: URL, clock: Clock, *, pool_size: int) -> None:
        self._engine = engine
        self._connections = Connections(engine, most=pool_size)
        self._clock = clock
        self._write_turn = asyncio.Lock()
        self._skew_checked_at: float | None = None
        self.skew_s = math.nan  # how far this process's clock was from the server's, when it last looked
        self.url = url
        self.dialect_name = engine.dialect.name
        self.signals = Signals()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """A read-only unit that sees one snapshot. Raises Unavailable when the database does not answer."""
        begin = "BEGIN" if self.dialect_name == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        async with _deadline(), self._lease() as lease:
            await _begin(lease, begin)
            tx = Tx(lease.conn, lease.driver, self.dialect_name)
            async with self._ended_by_rollback(tx):
                yield tx

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteTx]:
        """A write unit: COMMIT on the way out, ROLLBACK on any exception.

        Raises DeadlinePassed (no turn within 20 s), UnitTooOld, ClockOff, Contention, CommitUnknown, Unavailable.
        """
        if self.dialect_name == "sqlite":
            async with (
                _deadline() as deadline,
                self._write_turn,
                self._lease() as lease,
                self._unit(lease, "BEGIN IMMEDIATE", deadline) as tx,
            ):
                yield tx
        else:
            async with _deadline() as deadline, self._lease() as lease:
                await self._check_skew(lease.driver)
                async with self._unit(lease, "BEGIN", deadline) as tx:
                    yield tx
        for callback in tx.callbacks:
            try:
                callback()
            except Exception:
                log.exception("after_commit_failed")  # the unit is stored, whatever a wake-up says

    async def ping(self) -> None:
        """Raises Unavailable when the database does not answer within 2 s; tells `skew_s` anew, also where nobody writes."""
        try:
            async with asyncio.timeout(2), self._lease() as lease:
                if self.dialect_name == "postgresql":
                    await self._look_at_skew(lease.driver)
                else:
                    with translated():
                        await lease.driver.fetch("SELECT 1", ())
        except TimeoutError as error:
            raise Unavailable("the database does not answer") from error

    async def session(self) -> asyncpg.Connection[Any]:
        """A PostgreSQL connection of its own, for advisory locks and LISTEN; the caller closes it."""
        dsn = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            return await asyncpg.connect(dsn, timeout=5, command_timeout=10, server_settings=SESSION_SETTINGS)
        except SESSION_LOST as error:
            raise Unavailable("the database does not answer") from error

    async def run_sync(self, work: Callable[[Any], object]) -> None:
        """Runs schema work (migrations) on one connection; on PostgreSQL it may take as long as it needs."""
        if self.dialect_name == "postgresql":
            await self._run_unhurried(work)
            return
        async with self._lease() as lease:
            try:
                await lease.conn.run_sync(work)
            finally:
                await lease.conn.close()  # such work may have changed the connection's settings

    async def _run_unhurried(self, work: Callable[[Any], object]) -> None:
        engine = _postgres_engine(self.url, deadline_s=None)
        try:
            with translated():
                connection = await engine.connect()
            try:
                await connection.run_sync(work)
            finally:
                await connection.close()
        finally:
            await engine.dispose()

    async def close(self) -> None:
        """Closes the connections."""
        await self._connections.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[Lease]:
        lease = await self._connections.take()
        try:
            yield lease
        finally:
            await self._connections.give(lease)

    @asynccontextmanager
    async def _unit(self, lease: Lease, begin: str, deadline: asyncio.Timeout) -> AsyncIterator[WriteTx]:
        await _begin(lease, begin)
        tx = WriteTx(lease.conn, lease.driver, self.dialect_name, self._clock.now(), self.signals)
        try:
            yield tx
            if not tx._watch.broken:  # what fails in a broken unit would hide what broke it
                await tx._end()
            if tx._watch.broken:
                raise UnitBroken
            if self._clock.now() - tx.recorded_at > COMMIT_WITHIN:
                raise UnitTooOld
            if deadline.expired():
                await asyncio.sleep(0)  # takes the cancellation now, not in COMMIT
            deadline.reschedule(None)  # COMMIT has a deadline of its own: past it nobody knows
        except BaseException:
            await self._rollback(tx)
            raise
        await self._commit(tx)

    async def _commit(self, tx: WriteTx) -> None:
        try:
            async with asyncio.timeout(COMMIT_DEADLINE_S):
                await tx._driver.control("COMMIT")
        except Exception as error:
            if tx._driver.closed or isinstance(error, TimeoutError | OSError):
                await tx._conn.invalidate()
                raise CommitUnknown from error
            await self._rollback(tx)
            with translated():
                raise
        except BaseException:  # cancelled in COMMIT: nobody waits for the answer, the connection's state is not known
            await tx._conn.invalidate()
            raise
        if tx.used_core:
            await tx._conn.commit()  # AUTOCOMMIT: only ends what SQLAlchemy began on its side

    async def _rollback(self, tx: Tx) -> None:
        try:
            async with asyncio.timeout(5):
                if tx._driver.in_transaction:
                    await tx._driver.control("ROLLBACK")
                if tx.used_core:
                    await tx._conn.rollback()
        except BaseException as error:
            await tx._conn.invalidate()
            if isinstance(error, asyncio.CancelledError):
                raise

    @asynccontextmanager
    async def _ended_by_rollback(self, tx: Tx) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._rollback(tx)

    async def _check_skew(self, driver: Driver) -> None:
        now_s = self._clock.monotonic()
        if self._skew_checked_at is not None and now_s - self._skew_checked_at < SKEW_CHECK_EVERY_S:
            return
        skew = await self._look_at_skew(driver)
        if skew > MAX_SKEW:
            raise ClockOff(f"this process and the database differ by {skew.total_seconds():.1f} s")
        self._skew_checked_at = now_s

    async def _look_at_skew(self, driver: Driver) -> timedelta:
        with translated():
            rows = await driver.fetch("SELECT clock_timestamp()", ())
        skew: timedelta = abs(self._clock.now() - rows[0][0])
        self.skew_s = skew.total_seconds()
        return skew


def open_db(url: str, *, clock: Clock, creator: Callable[[], Awaitable[object]] | None = None, pool_size: int = 10) -> Database:
    """Opens `sqlite:///path` or `postgresql://user@host/name`.

    `creator` replaces the driver's connect (simulation). Raises ValueError for anything else.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError("no database address: use sqlite:///path or postgresql://user@host/name") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return Database(_sqlite_engine(parsed, creator), parsed, clock, pool_size=pool_size)
    if backend == "postgresql":
        return Database(_postgres_engine(parsed, deadline_s=UNIT_DEADLINE_S), parsed, clock, pool_size=pool_size)
    raise ValueError(f"no database adapter for {backend!r}: use sqlite:///path or postgresql://")


def _sqlite_engine(url: URL, creator: Callable[[], Awaitable[object]] | None) -> AsyncEngine:
    if url.database and creator is None:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    extra: dict[str, Any] = {"async_creator": creator} if creator else {"connect_args": {"timeout": 10}}
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"), isolation_level="AUTOCOMMIT", poolclass=NullPool, hide_parameters=True, **extra
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        _use_wal(cursor)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _use_wal(cursor: Any) -> None:
    """Switches a file to WAL. While another process switches it, SQLite says "locked" at once, whatever the busy timeout."""
    for attempt in range(WAL_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if attempt == WAL_TRIES - 1:
                raise
        else:
            return


def _postgres_engine(url: URL, *, deadline_s: float | None) -> AsyncEngine:
    limits: dict[str, Any] = {}
    server_settings = {"application_name": "cityloop"}
    if deadline_s is not None:
        limits["command_timeout"] = deadline_s + 5
        millis = str(int(deadline_s * 1000))
        server_settings |= {"statement_timeout": millis, "idle_in_transaction_session_timeout": millis}
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        hide_parameters=True,  # values may be personal, and errors are logged
        connect_args={"timeout": 5, **limits, "server_settings": server_settings},
    )


async def _begin(lease: Lease, sql: str) -> None:
    """Begins a transaction; a connection that cannot is not used again."""
    try:
        with translated():
            await lease.driver.control(sql)
    except Contention:
        raise
    except BaseException:
        await lease.conn.invalidate()
        raise


@asynccontextmanager
async def _deadline() -> AsyncIterator[asyncio.Timeout]:
    try:
        async with asyncio.timeout(UNIT_DEADLINE_S) as deadline:
            yield deadline
    except TimeoutError as error:
        raise DeadlinePassed(f"no answer within {UNIT_DEADLINE_S:.0f} s") from error
