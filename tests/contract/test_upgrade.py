"""A database of any earlier revision becomes today's while people read it, keeps every row, and today's service works on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import Connection, func, inspect, select, text

from cityloop_common import outbox
from cityloop_common.clock import SystemClock, instant
from cityloop_common.context import Ctx
from cityloop_common.db import Database, open_db
from cityloop_common.envelope import Event, to_headers
from cityloop_common.eventlog import Message
from cityloop_common.migrating import KIT_SCRIPTS, behind, migrate, upgrade
from cityloop_common.parts import build_api, worker_loops
from cityloop_common.supervisor import supervised
from cityloop_common.tables import job, kit_metadata
from cityloop_common.tables import outbox as outbox_table
from cityloop_parking.chargers.tables import charger
from cityloop_parking.reservations import use_cases as reservations
from cityloop_parking.reservations.scope import OwnedBy
from cityloop_waste.planning.tables import plan, street_section
from tests.contract.upgrade_support import (
    ALREADY_SENT,
    EARLIER,
    HOLDER,
    SERVICES,
    Earlier,
    Rows,
    city_of,
    everything,
    make_earlier,
    opened,
    revisions,
)
from tests.support import REPOSITORY, wait_until

READS = {
    "parking": ("places?near=109.787,39.565&radius_m=8000&limit=100", "indicators"),
    "charging": ("locations?limit=100", "indicators"),
    "waste": ("base-map", "indicators"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cities(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Rows]:
    """What each service has, made once."""
    folder = tmp_path_factory.mktemp("cities")
    return {name: await city_of(service, folder / name) for name, service in SERVICES.items()}


@asynccontextmanager
async def _reading(url: str, tables: Mapping[str, int]) -> AsyncIterator[list[int]]:
    """Somebody counts the rows of every table all the time, on connections of its own; answers how often by then."""
    db, rounds, done = open_db(url, clock=SystemClock()), [0], asyncio.Event()

    async def read() -> None:
        while not done.is_set():
            async with db.read() as tx:
                for table, rows in tables.items():
                    assert await tx.scalar(text(f'SELECT count(*) FROM "{table}"')) == rows, table
            rounds[0] += 1

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            await wait_until(lambda: rounds[0] > 0)
            yield rounds
            before = rounds[0]
            await wait_until(lambda: rounds[0] > before)
            done.set()
    finally:
        await db.close()


@pytest.mark.parametrize("at", EARLIER)
async def test_every_row_is_kept_while_somebody_reads(at: Earlier, url: str, cities: Mapping[str, Rows]) -> None:
    """Two processes migrate at once, and once more afterwards; a reader is refused nothing and misses nothing."""
    service = SERVICES[at.service]
    dbs = [open_db(url, clock=SystemClock()) for _ in range(2)]
    await make_earlier(dbs[0], at, cities[at.service])
    before = await everything(dbs[0], at.service)
    assert sum(map(len, before.values())) > 50
    assert await behind(dbs[0], service.migrations)
    async with _reading(url, {table: len(rows) for table, rows in before.items()}):
        await asyncio.gather(*(migrate(db, service.migrations, service.metadata) for db in dbs))
    await migrate(dbs[0], service.migrations, service.metadata)
    assert not await behind(dbs[1], service.migrations)
    after = await everything(dbs[1], at.service)
    for table, rows in before.items():
        assert [{name: row[name] for name in rows[0]} for row in after[table]] == rows if rows else not after[table], table
    for db in dbs:
        await db.close()


@pytest.mark.parametrize("at", EARLIER)
async def test_todays_service_works_on_it(at: Earlier, url: str, tmp_path: Path, cities: Mapping[str, Rows]) -> None:
    """What waited is sent, once; the API answers, figures included; events of neighbours are taken; what was under way goes on."""
    service = SERVICES[at.service]
    async with opened(service, url, tmp_path) as ctx:
        await make_earlier(ctx.db, at, cities[at.service])
        await migrate(ctx.db, service.migrations, service.metadata)
        for each in SERVICES.values():
            await ctx.log.create_topics(each.topics())
        async with ctx.db.read() as tx:
            waiting = {(event.topic, event.key): event.id for _, event in await outbox.unpublished(tx, but=(), most=100_000)}
            sent = await tx.scalar(select(func.count()).select_from(outbox_table).where(outbox_table.c.published_at.is_not(None)))
        assert (len(waiting) > 0, sent) == (True, ALREADY_SENT)
        api = build_api(service, ctx, _no_keys)
        async with supervised({**api.loops, **worker_loops(service, ctx)}):
            await wait_until(lambda: _all_sent(ctx), 30, what="the backlog is sent")
            transport = httpx.ASGITransport(app=api.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://cityloop") as http:
                await _answers(http, at.service)
            await _hears(ctx)
            await _goes_on(ctx)
        ids = [record.headers["ce_id"].decode() for record in await _logged(ctx) if record.topic in {e.topic for e in service.publishes}]
        assert len(ids) == len(set(ids))
        assert set(waiting.values()) <= set(ids)  # of each key the newest: compaction may have taken those before it
        gone = {row["id"] for row in cities[at.service]["outbox"] if row["published_at"] is not None}
        assert not gone & set(ids)


async def _no_keys() -> bytes:
    raise AssertionError("nobody shows a token here")


async def _all_sent(ctx: Ctx[Any]) -> bool:
    async with ctx.db.read() as tx:
        return (await outbox.backlog(tx))[0] == 0


async def _logged(ctx: Ctx[Any]) -> list[Any]:
    topics = [info.name for info in await ctx.log.describe() if not info.name.endswith(".dlq")]
    return [record async for record in ctx.log.read(topics, from_start=True, follow=False)]


async def _answers(http: httpx.AsyncClient, service: str) -> None:
    async def ready() -> bool:
        return (await http.get("/healthz/ready")).status_code == 200

    await wait_until(ready)
    for path in READS[service]:

        async def shown(path: str = path) -> bool:
            answer = await http.get(f"/{service}/v1/{path}")
            assert answer.status_code == 200, answer.text
            return any(len(value) > 0 for value in answer.json().values() if isinstance(value, list))

        await wait_until(shown, what=f"{path} shows something")
    for each in (await http.get(f"/{service}/v1/indicators")).json()["indicators"]:
        now = SystemClock().now().isoformat()
        figure = await http.get(f"/{service}/v1/indicators/{each['name']}", params={"known_at": now})
        assert figure.status_code == 200, figure.text
        assert any(scheme["denominator"] > 0 for scheme in figure.json()["schemes"]) or service == "charging", figure.text


async def _hears(ctx: Ctx[Any]) -> None:
    """An event of a neighbour takes effect."""
    name, table, key = {
        "parking": ("charging.evse.status_changed.v1", charger, charger.c.evse_uid),
        "charging": ("parking.place.published.v1", SERVICES["charging"].metadata.tables["place"], None),
        "waste": ("parking.place.published.v1", street_section, street_section.c.place_id),
    }[ctx.service]
    sample = json.loads((REPOSITORY / "docs" / "events" / "samples" / f"{name}.json").read_text())
    body = sample["data"] | ({"kind": "on_street"} if name.startswith("parking") else {})
    told = Event(
        ctx.ids.new(),
        name,
        sample["topic"],
        sample["ce_subject"],
        "/neighbour",
        instant(sample["ce_time"]),
        10_000,
        json.dumps(body).encode(),
    )
    assert await ctx.log.send([Message(told.topic, told.key.encode(), told.data, to_headers(told))]) == [None]
    column = table.c.place_id if key is None and "place_id" in table.c else key if key is not None else table.c.id

    async def taken() -> bool:
        async with ctx.db.read() as tx:
            return int(await tx.scalar(select(func.count()).select_from(table).where(column == told.key))) == 1

    await wait_until(taken, what=f"{ctx.service} has heard {name}")


async def _goes_on(ctx: Ctx[Any]) -> None:
    """What was under way at the upgrade: the hold is confirmed, the plan is searched."""
    if ctx.service == "parking":
        mine = OwnedBy(HOLDER.subject)
        held = [each for each in await reservations.page(ctx, mine, before=None, limit=10) if each.state == "held"]
        assert len(held) == 1
        assert (await reservations.confirm(ctx, held[0].id, mine)).state == "confirmed"
        assert await _all_sent(ctx) or await wait_until(lambda: _all_sent(ctx))
    if ctx.service == "waste":

        async def planned() -> bool:
            async with ctx.db.read() as tx:
                states = [row.state for row in await tx.all(select(plan.c.state))]
                assert not await tx.scalar(select(func.count()).select_from(job).where(job.c.state == "failed"))
            return states == ["ready"]

        await wait_until(planned, 60, every=0.2, what="the plan that waited is ready")


@pytest.mark.parametrize("name", SERVICES)
async def test_each_migration_only_adds(name: str, url: str) -> None:
    """What the release before writes is still taken: its tables and columns stay, and a new column needs no value from it.

    So APIs and workers of two releases can run side by side on the newer schema. Something may go only a release after nobody
    writes it any more: then this law gets an exception that names it.
    """
    service = SERVICES[name]
    db = open_db(url, clock=SystemClock())
    for scripts, table in ((KIT_SCRIPTS, "kit_version"), (service.migrations, "service_version")):
        metadata = kit_metadata if table == "kit_version" else service.metadata
        before: dict[str, Any] = {}
        for revision in revisions(scripts):

            def step(
                connection: Connection, scripts: str = scripts, table: str = table, metadata: Any = metadata, revision: str = revision
            ) -> None:
                connection.exec_driver_sql("BEGIN")
                upgrade(connection, scripts, table, metadata, to=revision)
                connection.exec_driver_sql("COMMIT")

            await db.run_sync(step)
            after = await _columns(db)
            for old, columns in before.items():
                assert columns.items() <= after[old].items(), (old, revision)
                added = {column: told for column, told in after[old].items() if column not in columns}
                needy = [column for column, (_, nullable, default) in added.items() if not nullable and default is None]
                assert not needy, f"{revision}: {old} needs {needy} of a writer that does not know it"
            before = after
    await db.close()


async def _columns(db: Database) -> dict[str, dict[str, tuple[str, bool, object]]]:
    found: dict[str, dict[str, tuple[str, bool, object]]] = {}

    def look(connection: Connection) -> None:
        seen = inspect(connection)
        for table in seen.get_table_names():
            found[table] = {c["name"]: (str(c["type"]), c["nullable"], c.get("default")) for c in seen.get_columns(table)}

    await db.run_sync(look)
    return found


@pytest.mark.parametrize("ahead", ["kit_version", "service_version"])
async def test_the_release_before_lives_on_a_newer_schema(ahead: str, url: str, tmp_path: Path) -> None:
    """A replica that restarts while the newer release has migrated already is ready, and its own migration changes nothing."""
    service = SERVICES["parking"]
    async with opened(service, url, tmp_path) as ctx:
        await migrate(ctx.db, service.migrations, service.metadata)
        async with ctx.db.write() as tx:
            await tx.run(text(f"UPDATE {ahead} SET version_num = '9999'"))
        assert not await behind(ctx.db, service.migrations)
        await migrate(ctx.db, service.migrations, service.metadata)
        async with ctx.db.read() as tx:
            assert await tx.scalar(text(f"SELECT version_num FROM {ahead}")) == "9999"
        assert "schema" not in await build_api(service, ctx, _no_keys).health.failing()
        async with ctx.db.write() as tx:
            await tx.run(text(f"UPDATE {ahead} SET version_num = '0000'"))
        assert await behind(ctx.db, service.migrations)
