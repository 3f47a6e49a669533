"""Where a unit could lie: a failed statement nobody minded, a deadline inside COMMIT, a parameter that was forgotten."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, func, insert, select, text

from cityloop_common import db as db_module
from cityloop_common.clock import SystemClock
from cityloop_common.columns import utc_text
from cityloop_common.db import Database, HotStatement, UniqueViolation, UnitBroken, WriteTx, open_db
from cityloop_common.errors import CommitUnknown
from tests.contract.kit_support import effect

ADD = HotStatement(insert(effect).values(id=bindparam("id"), n=bindparam("n"), recorded_at=bindparam("recorded_at")))


async def add(tx: WriteTx, id: str, n: int = 0) -> None:
    """One row by the driver's connection."""
    await tx.hot.run(ADD, {"id": id, "n": n, "recorded_at": tx.recorded_at})


async def rows(db: Database) -> int:
    """How many rows there are."""
    async with db.read() as tx:
        return int(await tx.scalar(select(func.count()).select_from(effect)))


@pytest.mark.parametrize("way", ["core", "hot"])
async def test_a_failed_statement_that_nobody_minds_stores_nothing_and_says_so(kit_db: Database, way: str) -> None:
    """PostgreSQL answers COMMIT of a broken unit with ROLLBACK and no error: the unit must not look stored."""
    async with kit_db.write() as tx:
        await add(tx, "there")
    called: list[str] = []

    async def careless() -> None:
        async with kit_db.write() as tx:
            tx.after_commit(lambda: called.append("stored"))
            await add(tx, "new")
            with pytest.raises(UniqueViolation):
                if way == "hot":
                    await add(tx, "there")
                else:
                    await tx.run(insert(effect).values(id="there", n=1, recorded_at=tx.recorded_at))

    with pytest.raises(UnitBroken):
        await careless()
    assert not called
    assert await rows(kit_db) == 1
    async with kit_db.write() as tx:
        await add(tx, "after")
    assert await rows(kit_db) == 2


async def test_a_savepoint_mends_what_failed_in_it(kit_db: Database) -> None:
    """The same failure inside a savepoint leaves the unit whole, also when savepoints nest."""
    async with kit_db.write() as tx:
        await add(tx, "there")
        with pytest.raises(UniqueViolation):
            async with tx.savepoint():
                async with tx.savepoint():
                    await add(tx, "inner")
                await add(tx, "there")
        await add(tx, "kept")
    assert await rows(kit_db) == 2


async def test_a_failure_before_a_savepoint_is_not_mended_by_it(kit_db: Database) -> None:
    """What broke outside stays broken."""
    async with kit_db.write() as tx:
        await add(tx, "there")

    async def careless() -> None:
        async with kit_db.write() as tx:
            with pytest.raises(UniqueViolation):
                await add(tx, "there")
            async with tx.savepoint():
                await add(tx, "inside")

    with pytest.raises(Exception):  # noqa: B017, PT011 - PostgreSQL refuses the savepoint itself
        await careless()
    assert await rows(kit_db) == 1


async def test_a_deadline_inside_commit_is_said_to_be_unknown(kit_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A COMMIT without an answer may have happened: nobody may hear "not stored", though the unit's own time is over as well."""
    assert await rows(kit_db) == 0  # connected: what comes before COMMIT takes milliseconds
    monkeypatch.setattr(db_module, "UNIT_DEADLINE_S", 2.0)
    monkeypatch.setattr(db_module, "COMMIT_DEADLINE_S", 2.5)

    async def stuck() -> None:
        async with kit_db.write() as tx:
            await add(tx, "perhaps")
            control = tx._driver.control

            async def slow(sql: str) -> None:
                await control(sql)
                if sql == "COMMIT":
                    await asyncio.sleep(30)

            monkeypatch.setattr(type(tx._driver), "control", lambda _, sql: slow(sql))

    with pytest.raises(CommitUnknown):
        await stuck()
    monkeypatch.undo()
    assert await rows(kit_db) == 1


async def test_a_callback_that_fails_does_not_unsay_the_commit(kit_db: Database) -> None:
    """The unit is stored: the others are called, and the caller hears of success."""
    called: list[str] = []

    def broken() -> None:
        raise RuntimeError("a wake-up")

    async with kit_db.write() as tx:
        await add(tx, "a")
        tx.after_commit(broken)
        tx.after_commit(lambda: called.append("second"))
    assert called == ["second"]
    assert await rows(kit_db) == 1


async def test_a_hot_statement_refuses_a_forgotten_parameter(kit_db: Database) -> None:
    """It would be stored as NULL, or match nothing. The unit goes on: nothing was sent."""
    async with kit_db.write() as tx:
        params: dict[str, Any] = {"id": "a", "recorded_at": tx.recorded_at}
        with pytest.raises(TypeError, match="n"):
            await tx.hot.run(ADD, params)
        with pytest.raises(TypeError, match="n"):
            await tx.hot.many(ADD, [{**params, "n": 1}, params])


async def test_an_error_of_the_callers_own_is_not_called_an_outage(kit_db: Database) -> None:
    """A file that is missing says nothing about the database: a consumer would wait for it for ever."""
    with pytest.raises(FileNotFoundError):
        async with kit_db.write():
            raise FileNotFoundError("tariffs.json")
    with pytest.raises(FileNotFoundError):
        async with kit_db.read():
            raise FileNotFoundError("tariffs.json")


def test_instants_sort_as_text_in_every_year() -> None:
    """Early years are padded; otherwise 999 would come after 2026."""
    early, late = datetime(999, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    assert utc_text(early) < utc_text(late)
    assert len(utc_text(early)) == len(utc_text(late)) == 27


def test_a_process_that_stops_in_the_middle_of_units_leaves_no_thread_behind(tmp_path: Path) -> None:
    """Cancelled while SQLite works: closing waits for its threads, or they would answer to a loop that is gone."""

    slow = text("WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT sum(i) FROM n")

    async def work(db: Database) -> None:
        while True:
            async with db.write() as tx:
                await tx.run(slow)

    others = set(threading.enumerate())

    async def main() -> None:
        db = open_db(f"sqlite:///{tmp_path / 'x.db'}", clock=SystemClock())
        tasks = [asyncio.get_running_loop().create_task(work(db)) for _ in range(3)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await db.close()
        assert not [thread for thread in set(threading.enumerate()) - others if "_connection_worker_thread" in thread.name]

    for _ in range(5):
        asyncio.run(main())
