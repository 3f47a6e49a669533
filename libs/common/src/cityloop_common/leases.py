"""Rights that one process has at a time: an advisory lock's session on PostgreSQL, a row with an end on SQLite."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

import asyncpg
import structlog
from sqlalchemy import bindparam, update
from sqlalchemy.dialects.sqlite import insert

from cityloop_common import metrics
from cityloop_common.context import Ctx
from cityloop_common.dberrors import SESSION_LOST
from cityloop_common.errors import DeadlinePassed, Unavailable
from cityloop_common.tables import lease

LEASE_FOR_S = 10.0
ASK_AGAIN_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 60.0  # after an error that nobody foresaw
_MINE = insert(lease).values(name=bindparam("name"), holder=bindparam("holder"), token=1, until=bindparam("until"))
_TAKE = _MINE.on_conflict_do_update(  # built once: every worker asks for each of its rights every second
    index_elements=[lease.c.name],
    set_={"holder": _MINE.excluded.holder, "token": lease.c.token + 1, "until": _MINE.excluded.until},
    where=(lease.c.until < bindparam("now", type_=lease.c.until.type)) | (lease.c.holder == _MINE.excluded.holder),
)
log = structlog.get_logger(__name__)


class LeaseLost(Unavailable):
    """The right has gone to somebody else, or nobody can tell."""


class Held(Protocol):
    """A right that is held now."""

    async def renew(self) -> None:
        """Raises LeaseLost when the right is gone. Cheap: call it before each use."""
        ...


class _SessionLock:
    """A PostgreSQL advisory lock: it lives exactly as long as its connection."""

    def __init__(self, connection: asyncpg.Connection[Any], ctx: Ctx[Any]) -> None:
        self._connection = connection
        self._ctx = ctx
        self._asked_at = ctx.clock.monotonic()

    async def renew(self) -> None:
        if self._connection.is_closed():
            raise LeaseLost("the lock's connection is gone")
        if self._ctx.clock.monotonic() - self._asked_at < ASK_AGAIN_S:
            return
        try:
            await self._connection.execute("SELECT 1", timeout=5)
        except SESSION_LOST as error:
            raise LeaseLost("the lock's connection does not answer") from error
        self._asked_at = self._ctx.clock.monotonic()


class _RowLease:
    """A row with an end: renewed at a third of its life, taken by another only after its end."""

    def __init__(self, name: str, holder: str, ctx: Ctx[Any], until_s: float) -> None:
        self._name = name
        self._holder = holder
        self._ctx = ctx
        self._until_s = until_s

    async def renew(self) -> None:
        now_s = self._ctx.clock.monotonic()
        if self._until_s - now_s > LEASE_FOR_S * 2 / 3:
            return
        async with self._ctx.db.write() as tx:
            until = tx.recorded_at + timedelta(seconds=LEASE_FOR_S)
            mine = (lease.c.name == self._name) & (lease.c.holder == self._holder)
            if not await tx.run(update(lease).where(mine).values(until=until)):
                raise LeaseLost("another process has the right")
        self._until_s = now_s + LEASE_FOR_S


async def hold_while(ctx: Ctx[Any], name: str, holder: str, work: Callable[[Held], Awaitable[None]]) -> None:
    """Waits for the right `name`, then runs `work` with it; returns when it was lost, so that the caller may ask again."""
    if ctx.db.dialect_name == "postgresql":
        async with _session_lock(ctx, name) as held:
            await work(held)
    else:
        held_row = await _row_lease(ctx, name, holder)
        try:
            await work(held_row)
        finally:
            await _release(ctx, name, holder)


async def run_while_held(ctx: Ctx[Any], name: str, holder: str, work: Callable[[Held], Awaitable[None]]) -> None:
    """Runs `work` whenever this process has the right `name`, until cancelled. Work that cannot reach what it needs begins anew.

    So does work that fails in a way that nobody foresaw, after a pause that doubles while it goes on: the other loops of the
    process go on.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        began_s = ctx.clock.monotonic()
        try:
            await hold_while(ctx, name, holder, work)
        except (Unavailable, DeadlinePassed) as error:
            log.warning("right_waits", right=name, reason=str(error))
        except Exception:
            log.exception("right_failed", right=name)
            metrics.right_failures.add(ctx.service, name)
            if ctx.clock.monotonic() - began_s > LONGEST_PAUSE_S:  # it had gone well for a while
                pause_s = FIRST_PAUSE_S
            await ctx.clock.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            continue
        await ctx.clock.sleep(ASK_AGAIN_S)


@asynccontextmanager
async def _session_lock(ctx: Ctx[Any], name: str) -> AsyncIterator[Held]:
    connection = await ctx.db.session()
    try:
        key = zlib.crc32(f"{ctx.service}/{name}".encode())
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", key, timeout=5):
            await ctx.clock.sleep(ASK_AGAIN_S)
        yield _SessionLock(connection, ctx)
    except SESSION_LOST as error:
        raise LeaseLost("the lock's connection is gone") from error
    finally:
        connection.terminate()


async def _row_lease(ctx: Ctx[Any], name: str, holder: str) -> Held:
    while True:
        asked_s = ctx.clock.monotonic()
        async with ctx.db.write() as tx:
            until = tx.recorded_at + timedelta(seconds=LEASE_FOR_S)
            taken = await tx.run(_TAKE, {"name": name, "holder": holder, "until": until, "now": tx.recorded_at})
        if taken:
            return _RowLease(name, holder, ctx, asked_s + LEASE_FOR_S)
        await ctx.clock.sleep(ASK_AGAIN_S)


async def _release(ctx: Ctx[Any], name: str, holder: str) -> None:
    try:
        async with ctx.db.write() as tx:
            await tx.run(update(lease).where(lease.c.name == name, lease.c.holder == holder).values(until=tx.recorded_at))
    except (Unavailable, DeadlinePassed):
        return  # it ends by itself; raised here it would also take the place of a cancel
