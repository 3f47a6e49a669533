"""The two drivers' own connections behind one small face, for the unit and its hot statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import aiosqlite
    import asyncpg

Args = Sequence[object]


class Driver(Protocol):
    """A driver connection inside one unit."""

    @property
    def closed(self) -> bool: ...

    @property
    def in_transaction(self) -> bool: ...

    async def control(self, sql: str) -> None:
        """BEGIN, COMMIT, ROLLBACK, SAVEPOINT."""
        ...

    async def fetch(self, sql: str, args: Args) -> Sequence[Sequence[Any]]: ...

    async def run(self, sql: str, args: Args) -> int: ...

    async def many(self, sql: str, rows: Sequence[Args]) -> None: ...

    async def close(self) -> None: ...

    def abandon(self) -> None:
        """Closes at once, without waiting for the server."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing of an abandoned connection runs any more."""
        ...


class PostgresDriver:
    """asyncpg, with its own cache of prepared statements."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    @property
    def closed(self) -> bool:
        return bool(self._connection.is_closed())

    @property
    def in_transaction(self) -> bool:
        return bool(self._connection.is_in_transaction())

    async def control(self, sql: str) -> None:
        await self._connection.execute(sql)

    async def fetch(self, sql: str, args: Args) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = await self._connection.fetch(sql, *args)
        return rows

    async def run(self, sql: str, args: Args) -> int:
        status = await self._connection.execute(sql, *args)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def many(self, sql: str, rows: Sequence[Args]) -> None:
        await self._connection.executemany(sql, rows)

    async def close(self) -> None:
        await self._connection.close(timeout=2)

    def abandon(self) -> None:
        self._connection.terminate()

    @property
    def ended(self) -> bool:
        return True


class SqliteDriver:
    """aiosqlite: one thread hop a call."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @property
    def closed(self) -> bool:
        return False

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    async def control(self, sql: str) -> None:
        await self._connection.execute_fetchall(sql)

    async def fetch(self, sql: str, args: Args) -> Sequence[Sequence[Any]]:
        return list(await self._connection.execute_fetchall(sql, args))

    async def run(self, sql: str, args: Args) -> int:
        cursor = await self._connection.execute(sql, args)
        count = cursor.rowcount
        await cursor.close()
        return max(count, 0)

    async def many(self, sql: str, rows: Sequence[Args]) -> None:
        cursor = await self._connection.executemany(sql, rows)
        await cursor.close()

    async def close(self) -> None:
        await self._connection.close()

    def abandon(self) -> None:
        self._connection.stop()

    @property
    def ended(self) -> bool:  # aiosqlite 0.22: a cancelled call runs on in the connection's thread and answers to the loop
        thread = getattr(self._connection, "_thread", None)  # none in the simulation
        return thread is None or not thread.is_alive()
