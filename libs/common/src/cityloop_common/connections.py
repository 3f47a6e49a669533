"""Open connections of one database, kept between units: taking one that is free costs no greenlet and no pool."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cityloop_common.dberrors import translated
from cityloop_common.drivers import Driver, PostgresDriver, SqliteDriver
from cityloop_common.errors import Unavailable

WAIT_S = 10.0
CLOSE_S = 3.0


class Lease:
    """A connection that belongs to one unit: SQLAlchemy's, and the driver's own beneath it."""

    __slots__ = ("conn", "driver")

    def __init__(self, conn: AsyncConnection, driver: Driver) -> None:
        self.conn = conn
        self.driver = driver

    @property
    def usable(self) -> bool:
        return not (self.driver.closed or self.conn.invalidated or self.conn.closed)


class Connections:
    """At most `most` at a time; the engine beneath needs no pool."""

    def __init__(self, engine: AsyncEngine, *, most: int) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._free: list[Lease] = []
        self._ending: list[Driver] = []
        self._turns = asyncio.Semaphore(most)
        self._closed = False

    async def take(self) -> Lease:
        """A connection of one's own until `give`. Raises Unavailable when none is to be had."""
        await self._wait_turn()
        try:
            while self._free:
                lease = self._free.pop()
                if lease.usable:
                    return lease
                await self._discard(lease)  # the server went away while it lay here
            return await self._open()
        except BaseException:
            self._turns.release()
            raise

    async def give(self, lease: Lease) -> None:
        """Takes a connection back; one that is broken, or whose transaction did not end, is closed."""
        try:
            if lease.usable and not lease.driver.in_transaction and not self._closed:
                self._free.append(lease)
            else:
                await self._discard(lease)
        finally:
            self._turns.release()

    async def close(self) -> None:
        """Closes what is free now and what comes back later."""
        self._closed = True
        while self._free:
            lease = self._free.pop()
            with suppress(Exception):  # a server that does not answer keeps nobody from stopping
                async with asyncio.timeout(CLOSE_S):
                    await lease.driver.close()
            await self._discard(lease)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while not all(driver.ended for driver in self._ending):  # noqa: ASYNC110 - threads of the driver's own
                    await asyncio.sleep(0.005)

    async def _wait_turn(self) -> None:
        if not self._turns.locked():
            await self._turns.acquire()
            return
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Unavailable("no database connection became free") from error

    async def _open(self) -> Lease:
        while True:
            with translated():
                conn = await self._engine.connect()
            try:
                fairy = await conn.get_raw_connection()
                raw: Any = fairy.driver_connection
                fairy.detach()  # ours alone: the pool would take a kept connection for a forgotten one
            except BaseException:
                await conn.close()
                raise
            lease = Lease(conn, SqliteDriver(raw) if self._is_sqlite else PostgresDriver(raw))
            if lease.usable:
                return lease
            await self._discard(lease)

    async def _discard(self, lease: Lease) -> None:
        """Breaks a connection off without a word to the server."""
        lease.driver.abandon()
        self._ending = [driver for driver in (*self._ending, lease.driver) if not driver.ended]
        if not lease.conn.closed and not lease.conn.invalidated:
            await lease.conn.invalidate()
        await lease.conn.close()
