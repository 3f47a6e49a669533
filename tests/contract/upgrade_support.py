"""Databases of earlier revisions with the data of a city in them, whatever the service and however many revisions there are."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Table, insert, inspect, select, text, update

from cityloop_common import inbox, outbox
from cityloop_common.cache import open_cache
from cityloop_common.clock import CITY_TZ, SystemClock, city_day
from cityloop_common.context import Ctx
from cityloop_common.db import Database, open_db
from cityloop_common.eventlog import open_event_log
from cityloop_common.idempotency import Answer, once
from cityloop_common.ids import Ids
from cityloop_common.migrating import KIT_SCRIPTS, migrate
from cityloop_common.pool import SpawnedPool
from cityloop_common.rng import Rng
from cityloop_common.service import Service, installed_services
from cityloop_common.settings import SharedSettings
from cityloop_common.tables import job, kit_metadata
from cityloop_parking.reservations import use_cases as reservations
from cityloop_parking.reservations.domain import Holder, Stay
from cityloop_parking.reservations.scope import OwnedBy
from cityloop_waste.planning import use_cases as planning
from cityloop_waste.planning.use_cases import Wish
from cityloop_waste.streams import Stream
from tests.contract.kit_support import at_revision

SERVICES = {service.name: service for service in installed_services()}
HOLDER = Holder("anna", None)
ALREADY_SENT = 5
A_UNIT = 10_000  # rows: a unit has 20 s, and a journal of the sample has a hundred thousand
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def revisions(scripts: str) -> list[str]:
    """Of a folder of migrations, oldest first."""
    return [each.revision for each in ScriptDirectory(str(files(scripts))).walk_revisions()][::-1]


@dataclass(frozen=True, slots=True)
class Earlier:
    """A service's database as it was at earlier revisions of the kit and of the service."""

    service: str
    kit: str
    own: str

    def __str__(self) -> str:
        return f"{self.service} {self.own} on kit {self.kit}"


def earlier() -> list[Earlier]:
    """Every combination but the present one."""
    kits = revisions(KIT_SCRIPTS)
    found = [Earlier(name, kit, own) for name, each in SERVICES.items() for kit, own in product(kits, revisions(each.migrations))]
    return [each for each in found if (each.kit, each.own) != (kits[-1], revisions(SERVICES[each.service].migrations)[-1])]


@asynccontextmanager
async def opened(service: Service, url: str, folder: Path) -> AsyncIterator[Ctx[Any]]:
    """A service over a database, its log in a folder."""
    clock, rng = SystemClock(), Rng("upgrade")
    db = open_db(url, clock=clock)
    log = open_event_log(f"sqlite:///{folder / 'events.db'}", clock=clock)
    cache, pool = open_cache("memory:", clock=clock), SpawnedPool(workers=1)
    quiet: dict[str, Any] = {"night_plans": "off"} if service.name == "waste" else {}  # what it does depends on the hour
    settings = service.settings(shared=SharedSettings(var=folder), **quiet)
    try:
        yield Ctx(service.name, settings, clock, Ids(clock, rng.stream("ids")), rng, db, log, cache, pool)
    finally:
        await pool.close()
        await log.close()
        await cache.close()
        await db.close()


async def city_of(service: Service, folder: Path) -> Rows:
    """The sample city's rows of a service, with what is under way in it: a hold, a plan to be searched, keys, an inbox, a backlog."""
    async with opened(service, f"sqlite:///{folder / 'city.db'}", folder) as ctx:
        await migrate(ctx.db, service.migrations, service.metadata)
        assert service.sample is not None
        await service.sample(ctx)
        await _under_way(ctx)
        async with ctx.db.read() as tx:
            tables = [*kit_metadata.sorted_tables, *service.metadata.sorted_tables]
            found = {table.name: [dict(row._mapping) for row in await tx.all(select(table))] for table in tables}
    shutil.rmtree(folder)
    return found


async def _under_way(ctx: Ctx[Any]) -> None:
    async def answered() -> Answer:
        return Answer(201, b"{}", {"location": "/here"})

    async with ctx.db.write() as tx:
        await once(tx, caller="anna", key="k-1", fingerprint="f" * 64, run=answered)
        await inbox.note(tx, "a-consumer", facts=[ctx.ids.new() for _ in range(3)], sequences={("a.topic", "a-key"): 7})
        done = {
            "kind": "rebuild",
            "payload": {},
            "state": "done",
            "attempts": 1,
            "created_at": tx.recorded_at,
            "finished_at": tx.recorded_at,
        }
        await tx.run(insert(job).values(id=ctx.ids.new(), **done))
        if ctx.service == "waste":
            wish = Wish(city_day(ctx.clock.now()) + timedelta(days=1))
            asked = await planning.ask_for_day_in(tx, ctx, Stream.RECYCLABLE, wish, seconds=1)
            await tx.run(update(job).where(job.c.id == asked.job_id).values(kind="plan"))  # as the releases before called it
    if ctx.service == "parking":
        starts_at = (ctx.clock.now().astimezone(CITY_TZ) + timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
        for hours in (1, 2):
            await reservations.hold(ctx, Stay("sample-001", "standard", starts_at, starts_at + timedelta(hours=hours)), HOLDER)
        held = await reservations.page(ctx, OwnedBy(HOLDER.subject), before=None, limit=10)
        await reservations.confirm(ctx, held[0].id, OwnedBy(HOLDER.subject))
    async with ctx.db.write() as tx:
        waiting = await outbox.unpublished(tx, but=(), most=ALREADY_SENT)
        await outbox.mark_published(tx, [position for position, _ in waiting])


async def make_earlier(db: Database, at: Earlier, rows: Rows) -> None:
    """Tables of earlier revisions, filled with what these had room for."""
    await at_revision(db, SERVICES[at.service], at.own, kit=at.kit)
    there = await columns_there(db)
    for table in tables_of(at.service):
        kept = [column.name for column in table.columns if column.name in there.get(table.name, ())]
        batch = [{name: row[name] for name in kept} for row in rows[table.name]] if kept else []
        for start in range(0, len(batch), A_UNIT):
            async with db.write() as tx:
                await tx.run(insert(table), batch[start : start + A_UNIT])
    if db.dialect_name == "postgresql":
        async with db.write() as tx:
            await tx.run(text("SELECT setval(pg_get_serial_sequence('outbox', 'position'), (SELECT max(position) FROM outbox))"))


async def columns_there(db: Database) -> dict[str, set[str]]:
    """The tables of a database, each with the names of its columns."""
    there: dict[str, set[str]] = {}

    def look(connection: Connection) -> None:
        found = inspect(connection)
        there.update({table: {column["name"] for column in found.get_columns(table)} for table in found.get_table_names()})

    await db.run_sync(look)
    return there


def tables_of(service: str) -> list[Table]:
    """The kit's and the service's, in the order in which rows can be written."""
    return [*kit_metadata.sorted_tables, *SERVICES[service].metadata.sorted_tables]


async def everything(db: Database, service: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of the tables that are there, by the columns that are there."""
    there = await columns_there(db)
    read: dict[str, list[dict[str, Any]]] = {}
    for table in tables_of(service):
        if columns := [column for column in table.columns if column.name in there.get(table.name, ())]:
            async with db.read() as tx:
                rows = await tx.all(select(*columns).order_by(*table.primary_key.columns))
            read[table.name] = [dict(row._mapping) for row in rows]
    return read


EARLIER = [pytest.param(each, id=str(each)) for each in earlier()]
