"""Whatever PostgreSQL was saying when it went away: who asked hears "come again", and asks again with success."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import uuid4

import pytest
from sqlalchemy import bindparam, func, insert, select

from cityloop_common.clock import SystemClock
from cityloop_common.db import Database, HotStatement, UniqueViolation, WriteTx, open_db
from cityloop_common.errors import Unavailable
from tests.contract.cut_support import End, Way, way_to
from tests.contract.kit_support import effect, opened_db

pytestmark = pytest.mark.stack
ADD = HotStatement(insert(effect).values(id=bindparam("id"), n=bindparam("n"), recorded_at=bindparam("recorded_at")))
WITHIN_S = 60.0


def row(at: datetime) -> dict[str, object]:
    return {"id": uuid4().hex, "n": 1, "recorded_at": at}


async def write(db: Database, pause_s: float) -> None:
    """Every kind of statement that a unit has, with time between them in which the server can say something unasked."""
    async with db.write() as tx:
        known = row(tx.recorded_at)
        await tx.hot.run(ADD, known)
        await asyncio.sleep(pause_s)
        await tx.run(insert(effect).values(**row(tx.recorded_at)))
        await asyncio.sleep(pause_s)
        await _refused(tx, known)
        async with tx.savepoint():
            await tx.hot.many(ADD, [row(tx.recorded_at) for _ in range(2)])
            await tx.run(insert(effect), [row(tx.recorded_at) for _ in range(2)])

        async def last() -> None:
            await tx.scalar(select(func.count()).select_from(effect))

        tx.at_end(("last",), last)
        await asyncio.sleep(pause_s)


async def _refused(tx: WriteTx, known: dict[str, object]) -> None:
    with pytest.raises(UniqueViolation):
        async with tx.savepoint():
            await tx.run(insert(effect).values(**known))


async def read(db: Database, pause_s: float) -> None:
    """Rows and a number in one snapshot."""
    async with db.read() as tx:
        await tx.all(select(effect.c.id).limit(3))
        await asyncio.sleep(pause_s)
        await tx.scalar(select(func.count()).select_from(effect))


async def ping(db: Database, pause_s: float) -> None:
    await asyncio.sleep(pause_s)
    await db.ping()


async def session(db: Database, pause_s: float) -> None:
    """A connection beside the units'."""
    connection = await db.session()
    await asyncio.sleep(pause_s)
    await connection.close()


Work = Callable[[Database, float], Awaitable[None]]


@pytest.mark.parametrize("end", End)
@pytest.mark.parametrize("pause_s", [0.0, 0.003], ids=["at once", "after a while"])
@pytest.mark.parametrize("work", [write, read])
async def test_a_unit_is_told_to_come_again_wherever_it_is_cut(fresh_postgres_url: str, work: Work, pause_s: float, end: End) -> None:
    """After each message of the server, on a connection that has served before."""
    async with way_to(fresh_postgres_url) as (way, url):
        db = await opened_db(url)
        await work(db, 0.0)  # prepared, and the clocks are compared
        heard = await _each_cut(way, end, db, work, pause_s)
        await db.close()
    assert heard > 5


@pytest.mark.parametrize("end", End)
@pytest.mark.parametrize("work", [ping, session])
async def test_whoever_connects_is_told_to_come_again_wherever_it_is_cut(fresh_postgres_url: str, work: Work, end: End) -> None:
    """After each message from the first letter on, what SQLAlchemy asks of a new server among them."""
    await (await opened_db(fresh_postgres_url)).close()
    async with way_to(fresh_postgres_url) as (way, url):
        heard = await _each_cut(way, end, url, work, 0.0)
    assert heard > 5


async def _each_cut(way: Way, end: End, of: Database | str, work: Work, pause_s: float) -> int:
    """Cuts after the first message, the second, and so on until the work is done before; answers how often "come again" was heard."""
    heard, messages, stalls = 0, 0, 3
    async with asyncio.timeout(WITHIN_S):
        while True:
            messages += 1
            db = open_db(of, clock=SystemClock()) if isinstance(of, str) else of
            way.cut_after(messages, end)
            try:
                await work(db, pause_s)
            except Unavailable:
                done = False
                if way.is_cut:
                    heard += 1
                else:  # a ping has two seconds: on a machine that stalled for them it is asked once more
                    messages, stalls = messages - 1, stalls - 1
                    assert stalls, f"refused before message {messages + 1}, at which it was to be cut"
            else:
                done = not way.is_cut
            way.mend()
            await _serves_again(db)
            if isinstance(of, str):
                await db.close()
            if done:
                return heard


async def _serves_again(db: Database) -> None:
    """At once, but for one connection that had not noticed yet."""
    try:
        await read(db, 0.0)
    except Unavailable:
        await read(db, 0.0)
