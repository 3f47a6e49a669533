"""The migrated schema is the schema that the code means, on both dialects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, inspect, text

from cityloop_common import migrating
from cityloop_common.clock import SystemClock
from cityloop_common.db import open_db
from cityloop_common.migrating import behind, migrate
from cityloop_common.service import Service, installed_services
from cityloop_common.tables import kit_metadata
from tests.contract.kit_support import at_revision
from tests.servers import own_database
from tests.support import PATIENCE_S, Servers

SERVICES = installed_services()
VERSIONS = {"kit_version", "service_version"}
LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout")


def _schema(connection: Connection) -> dict[str, Any]:
    """Tables with columns, keys, constraints, indexes with their conditions, and triggers."""
    found = inspect(connection)
    tables = sorted(set(found.get_table_names()) - VERSIONS - {"sqlite_sequence"})
    return {table: _table(found, table) for table in tables} | {"triggers": _triggers(connection)}


def _table(found: Any, table: str) -> dict[str, Any]:
    return {
        "columns": [
            (c["name"], str(c["type"]), c["nullable"], c.get("default"), bool(c.get("identity"))) for c in found.get_columns(table)
        ],
        "primary key": found.get_pk_constraint(table)["constrained_columns"],
        "unique": sorted((u["name"] or "", tuple(u["column_names"])) for u in found.get_unique_constraints(table)),
        "checks": sorted((c["name"] or "", c["sqltext"]) for c in found.get_check_constraints(table)),
        "foreign keys": sorted(
            (f["name"] or "", tuple(f["constrained_columns"]), f["referred_table"]) for f in found.get_foreign_keys(table)
        ),
        "indexes": sorted(
            (i["name"], tuple(i["column_names"]), bool(i["unique"]), sorted((k, str(v)) for k, v in i.get("dialect_options", {}).items()))
            for i in found.get_indexes(table)
            if not i.get("duplicates_constraint")
        ),
    }


def _triggers(connection: Connection) -> list[tuple[str, str]]:
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' ORDER BY name"))
    else:
        rows = connection.execute(text("SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname"))
    return [(row[0], row[1]) for row in rows]


async def _schema_of(url: str, make: Any) -> dict[str, Any]:
    db = open_db(url, clock=SystemClock())
    schema: dict[str, Any] = {}
    try:
        await make(db)
        await db.run_sync(lambda connection: schema.update(_schema(connection)))
    finally:
        await db.close()
    return schema


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
async def test_the_upgraded_schema_is_the_fresh_one(service: Service, url: str) -> None:
    """Every table, column, constraint, index and trigger."""

    async def upgrade(db: Any) -> None:
        await migrate(db, service.migrations, service.metadata)

    async def create(db: Any) -> None:
        await db.run_sync(lambda connection: _create(connection, service.metadata))

    migrated = await _schema_of(url, upgrade)
    async with _another(url) as fresh_url:
        assert migrated == await _schema_of(fresh_url, create)


def _create(connection: Connection, metadata: MetaData) -> None:
    kit_metadata.create_all(connection)
    metadata.create_all(connection)


@asynccontextmanager
async def _another(url: str) -> AsyncIterator[str]:
    """A second empty database of the same kind."""
    if url.startswith("sqlite"):
        yield f"{url}.fresh"
    else:
        async with own_database(Servers.from_environment()) as fresh:
            yield fresh


async def test_migrating_twice_and_at_once_is_migrating_once(url: str) -> None:
    """Two replicas that start together both find the newest schema."""
    service = SERVICES[0]
    dbs = [open_db(url, clock=SystemClock()) for _ in range(2)]
    await asyncio.gather(*(migrate(db, service.migrations, service.metadata) for db in dbs))
    await migrate(dbs[0], service.migrations, service.metadata)
    assert not await behind(dbs[1], service.migrations)
    for db in dbs:
        await db.close()


async def test_a_migration_that_fails_leaves_nothing(url: str) -> None:
    """The whole upgrade is one transaction."""
    db = open_db(url, clock=SystemClock())
    with pytest.raises(ModuleNotFoundError):
        await migrate(db, "cityloop_common.no_such_migrations", MetaData())
    schema: dict[str, Any] = {}
    await db.run_sync(lambda connection: schema.update(_schema(connection)))
    assert set(schema) == {"triggers"}
    await db.close()


@pytest.mark.stack
async def test_schema_work_may_take_longer_than_a_unit(fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index over a large table is not cut off by the limits that units have."""
    monkeypatch.setattr("cityloop_common.db.UNIT_DEADLINE_S", 0.2)
    db = open_db(fresh_postgres_url, clock=SystemClock())
    limits: list[str] = []

    def work(connection: Connection) -> None:
        limits.extend(connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in LIMITS)
        limits.append(str(connection.connection.driver_connection._config.command_timeout))  # type: ignore[union-attr]

    await db.run_sync(work)
    await db.close()
    assert limits == ["0", "0", "None"]


@pytest.mark.stack
async def test_a_migration_that_waits_for_a_table_keeps_nobody_else_waiting(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump holds its tables for minutes: readers queue behind a change that waits, so it lets go and asks again."""
    service = next(each for each in SERVICES if each.name == "waste")
    db = open_db(fresh_postgres_url, clock=SystemClock())
    await at_revision(db, service, "0001")
    monkeypatch.setattr(migrating, "TABLE_WITHIN", "200ms")
    monkeypatch.setattr(migrating, "AGAIN_AFTER_S", 0.2)
    dump = await db.session()
    await dump.execute("BEGIN; LOCK TABLE plan IN ACCESS SHARE MODE")
    migrating_now = asyncio.get_running_loop().create_task(migrate(db, service.migrations, service.metadata))
    for _ in range(10):
        async with asyncio.timeout(PATIENCE_S / 2), db.read() as tx:
            await tx.all(text("SELECT 1 FROM plan"))
        await asyncio.sleep(0.1)
    assert not migrating_now.done()
    await dump.execute("COMMIT")
    async with asyncio.timeout(PATIENCE_S):
        await migrating_now
    assert not await behind(db, service.migrations)
    await dump.close()
    await db.close()
