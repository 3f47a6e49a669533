"""What a unit promises, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import bindparam, func, insert, select, update

from cityloop_common.clock import SystemClock
from cityloop_common.db import CheckViolation, Database, HotStatement, UniqueViolation, UnitTooOld, WriteTx, open_db
from cityloop_common.dberrors import ClockOff
from cityloop_common.errors import Unavailable
from tests.contract.kit_support import ShiftedClock, effect, opened_db
from tests.support import wait_until

ADD = HotStatement(insert(effect).values(id=bindparam("id"), n=bindparam("n"), recorded_at=bindparam("recorded_at")))
RAISE_N = HotStatement(update(effect).where(effect.c.id == bindparam("of_id")).values(n=effect.c.n + 1).returning(effect.c.n))


async def add(tx: WriteTx, id: str, n: int = 0) -> None:
    """One row by the driver's connection."""
    await tx.hot.run(ADD, {"id": id, "n": n, "recorded_at": tx.recorded_at})


async def rows(db: Database) -> int:
    """How many rows there are."""
    async with db.read() as tx:
        return int(await tx.scalar(select(func.count()).select_from(effect)))


async def test_core_and_hot_statements_share_one_transaction(kit_db: Database) -> None:
    """A unit that fails takes back what either of them wrote."""
    with pytest.raises(RuntimeError):
        async with kit_db.write() as tx:
            await add(tx, "hot")
            await tx.run(insert(effect).values(id="core", n=1, recorded_at=tx.recorded_at))
            assert await tx.scalar(select(func.count()).select_from(effect)) == 2
            raise RuntimeError
    assert await rows(kit_db) == 0
    async with kit_db.write() as tx:
        await tx.run(insert(effect).values(id="core", n=1, recorded_at=tx.recorded_at))
        await add(tx, "hot")
    assert await rows(kit_db) == 2


async def test_what_comes_out_is_what_went_in(kit_db: Database) -> None:
    """Instants come back aware and equal, by Core and by the driver's connection."""
    chosen = HotStatement(select(effect.c.recorded_at).where(effect.c.id == bindparam("of_id")))
    async with kit_db.write() as tx:
        await add(tx, "a")
        at = tx.recorded_at
    async with kit_db.read() as tx:
        assert await tx.scalar(select(effect.c.recorded_at)) == at
        assert (await tx.hot.all(chosen, {"of_id": "a"}))[0][0] == at


async def test_a_cancelled_unit_leaves_nothing_and_harms_no_connection(kit_db: Database) -> None:
    """Cancelled in its middle, many times over: no row, and every connection can be used."""

    async def cancelled(number: int) -> None:
        async with kit_db.write() as tx:
            await add(tx, f"row {number}")
            await asyncio.sleep(60)

    for number in range(15):
        task = asyncio.get_running_loop().create_task(cancelled(number))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await rows(kit_db) == 0
    async with kit_db.write() as tx:
        await add(tx, "after")
    assert await rows(kit_db) == 1


async def test_a_callback_runs_after_the_commit_and_never_without_it(kit_db: Database) -> None:
    """`after_commit` sees the stored row; a unit that fails calls nobody."""
    called: list[str] = []
    async with kit_db.write() as tx:
        await add(tx, "a")
        tx.after_commit(lambda: called.append("stored"))
        assert not called
    assert called == ["stored"]
    with pytest.raises(RuntimeError):
        async with kit_db.write() as tx:
            tx.after_commit(lambda: called.append("never"))
            raise RuntimeError
    assert called == ["stored"]


async def test_a_savepoint_fails_alone(kit_db: Database) -> None:
    """What is rolled back to a savepoint leaves the rest of the unit."""
    async with kit_db.write() as tx:
        await add(tx, "kept")
        with pytest.raises(UniqueViolation):
            async with tx.savepoint():
                await add(tx, "lost")
                await add(tx, "kept")
        await add(tx, "later")
    assert await rows(kit_db) == 2


def last(tx: WriteTx, did: list[str], key: str, does: str = "") -> None:
    """Notes work that adds a row and says that it ran."""

    async def work() -> None:
        did.append(does or key)
        await add(tx, key)

    tx.at_end((key,), work)


async def test_work_at_the_end_runs_in_the_order_of_its_keys_and_once(kit_db: Database) -> None:
    """Whatever the order in which it was noted; of two works of a key the later; stored with the unit."""
    did: list[str] = []
    async with kit_db.write() as tx:
        for key in ("b", "a", "c"):
            last(tx, did, key)
        last(tx, did, "b", "b again")
        assert did == []
    assert (did, await rows(kit_db)) == (["a", "b again", "c"], 3)


async def test_work_at_the_end_is_part_of_its_unit(kit_db: Database) -> None:
    """It does not run when the body raised; when it raises itself, nothing of the unit is stored and nobody is told."""
    did: list[str] = []
    with pytest.raises(ZeroDivisionError):
        async with kit_db.write() as tx:
            last(tx, did, "a")
            raise ZeroDivisionError
    assert did == []
    with pytest.raises(UniqueViolation):
        async with kit_db.write() as tx:
            await add(tx, "a")
            last(tx, did, "a")
            tx.after_commit(lambda: did.append("told"))
    assert (did, await rows(kit_db)) == (["a"], 0)
    async with kit_db.write() as tx:  # and the connection is a good one
        await add(tx, "a")


async def test_work_at_the_end_notes_no_more_work(kit_db: Database) -> None:
    """Its order would be no order any more."""

    async def work() -> None:
        last(tx, [], "z")

    with pytest.raises(RuntimeError, match="at its end"):
        async with kit_db.write() as tx:
            tx.at_end(("a",), work)
    assert await rows(kit_db) == 0


async def test_work_that_was_noted_in_a_lost_part_is_lost(kit_db: Database) -> None:
    """A savepoint that is rolled back leaves the works that were noted before it, each as it was."""
    did: list[str] = []
    async with kit_db.write() as tx:
        last(tx, did, "a", "before")
        with pytest.raises(ZeroDivisionError):
            async with tx.savepoint():
                last(tx, did, "a", "lost")
                last(tx, did, "b", "lost")
                raise ZeroDivisionError
        async with tx.savepoint():
            last(tx, did, "c", "kept")
    assert did == ["before", "kept"]


async def test_work_at_the_end_counts_into_the_units_time(url: str) -> None:
    """A unit whose last work takes too long is refused like any other."""
    clock = ShiftedClock()
    db = await opened_db(url, clock)

    async def slow() -> None:
        clock.by += timedelta(seconds=31)

    with pytest.raises(UnitTooOld):
        async with db.write() as tx:
            tx.at_end(("a",), slow)
    await db.close()


async def test_violations_have_one_name_on_both(kit_db: Database) -> None:
    """A key that is there, and a value that is not allowed."""
    async with kit_db.write() as tx:
        await add(tx, "a")
    with pytest.raises(UniqueViolation):
        async with kit_db.write() as tx:
            await tx.run(insert(effect).values(id="a", n=1, recorded_at=tx.recorded_at))
    with pytest.raises(CheckViolation):
        async with kit_db.write() as tx:
            await tx.run(insert(effect).values(id="b", n=None, recorded_at=tx.recorded_at))


async def test_units_in_parallel_lose_no_update(kit_db: Database) -> None:
    """A hundred units raise one number by a hundred."""
    async with kit_db.write() as tx:
        await add(tx, "a")

    async def raise_it() -> None:
        async with kit_db.write() as tx:
            await tx.hot.all(RAISE_N, {"of_id": "a"})

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(raise_it())
    async with kit_db.read() as reading:
        assert await reading.scalar(select(effect.c.n)) == 100


async def test_a_read_sees_one_snapshot(kit_db: Database) -> None:
    """What commits meanwhile is not in it."""
    async with kit_db.read() as reading:
        before = await reading.scalar(select(func.count()).select_from(effect))
        async with kit_db.write() as other:
            await add(other, "meanwhile")
        assert await reading.scalar(select(func.count()).select_from(effect)) == before
    assert await rows(kit_db) == before + 1


async def test_a_unit_older_than_thirty_seconds_is_refused(url: str) -> None:
    """It would put rows under an instant that has been closed."""
    clock = ShiftedClock()
    db = await opened_db(url, clock)
    with pytest.raises(UnitTooOld):
        async with db.write() as tx:
            await add(tx, "late")
            clock.by += timedelta(seconds=31)
    clock.by = timedelta()
    assert await rows(db) == 0
    await db.close()


async def test_too_few_connections_are_said_in_words(tmp_path: Path) -> None:
    """Whoever gets none hears Unavailable; the others go on."""
    db = open_db(f"sqlite:///{tmp_path / 'x.db'}", clock=SystemClock(), pool_size=2)
    async with db.read(), db.read():
        with pytest.raises(Unavailable):
            await db.ping()
    await db.ping()
    await db.close()


@pytest.mark.stack
async def test_a_clock_that_is_off_may_not_write(fresh_postgres_url: str) -> None:
    """More than 5 s from the database's clock: refused, nothing stored."""
    clock = ShiftedClock()
    db = await opened_db(fresh_postgres_url, clock)
    clock.by = timedelta(seconds=6)
    with pytest.raises(ClockOff):
        async with db.write() as tx:
            await add(tx, "a")
    clock.by = timedelta(seconds=-4)  # behind: what the answer takes on its way does not count against it
    async with db.write() as tx:
        await add(tx, "a")
    await db.close()


@pytest.mark.stack
async def test_connections_cut_by_the_server_are_replaced(fresh_postgres_url: str) -> None:
    """After the server has ended every session, units work again by themselves."""
    db = await opened_db(fresh_postgres_url)
    async with db.write() as tx:
        await add(tx, "before")
    other: Any = await asyncpg.connect(fresh_postgres_url)
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await other.close()

    async def works() -> bool:
        try:
            async with db.write() as tx:
                await add(tx, "after")
        except Unavailable:
            return False
        return True

    await wait_until(works)
    assert await rows(db) == 2
    await db.close()


@pytest.mark.stack
async def test_a_session_cut_in_the_middle_stores_nothing(fresh_postgres_url: str) -> None:
    """The unit hears Unavailable, and its connection does not come back."""
    db = await opened_db(fresh_postgres_url, pool_size=2)
    with pytest.raises(Unavailable):
        async with db.write() as tx:
            await add(tx, "lost")
            other: Any = await asyncpg.connect(fresh_postgres_url)
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await other.close()
            await add(tx, "too late")
    assert await rows(db) == 0
    await db.close()


async def test_errors_do_not_tell_values(kit_db: Database) -> None:
    """What a statement was given may be personal: a logged error names the statement only."""
    value = "secret-value"
    async with kit_db.write() as tx:
        await add(tx, value)
    with pytest.raises(UniqueViolation) as caught:
        async with kit_db.write() as tx:
            await tx.run(insert(effect).values(id=value, n=1, recorded_at=tx.recorded_at))
    assert "secret-value" not in "".join(traceback.format_exception(caught.value))
