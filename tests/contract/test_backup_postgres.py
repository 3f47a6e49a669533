"""On PostgreSQL a backup is three dumps of one instant, and what the documentation says brings the city back."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from sqlalchemy import select

from cityloop_common.backup import BackupError, Manifest, postgres
from cityloop_common.clock import SystemClock
from cityloop_common.service import installed_services
from cityloop_common.tables import outbox
from cityloop_parking.reservations.tables import reservation
from tests.cli import command
from tests.contract.backup_support import Unit, amiss, busy, newest, settled, watched, written
from tests.contract.kit_support import ShiftedClock
from tests.contract.late_support import Suite, suite
from tests.e2e import restored
from tests.e2e.processes import CITYLOOP, environment
from tests.e2e.processes import command as process
from tests.observed import OPERATIONS
from tests.servers import own_database, own_topics
from tests.support import STRICT, Servers, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
SERVICES = {service.name: service for service in installed_services()}


@pytest.fixture(autouse=True)
def _programs() -> None:
    """PostgreSQL's own programs are needed; where nothing may be skipped they must be there."""
    if shutil.which("pg_dump") is None or shutil.which("pg_restore") is None:
        pytest.fail("pg_dump is missing") if STRICT else pytest.skip("pg_dump is missing: apt-get install postgresql-client")


@asynccontextmanager
async def databases(servers: Servers) -> AsyncIterator[dict[str, str]]:
    """An empty database for each service, whose names differ by the service only; dropped afterwards."""
    async with own_database(servers) as url, AsyncExitStack() as stack:
        base = urlsplit(url)
        urls = {name: urlunsplit(base._replace(path=f"{base.path}_{name}")) for name in SERVICES}
        admin = await asyncpg.connect(url)
        stack.push_async_callback(admin.close)
        for each in urls.values():
            name = urlsplit(each).path[1:]
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            stack.push_async_callback(admin.execute, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        yield urls


@asynccontextmanager
async def databases_of_their_roles(servers: Servers) -> AsyncIterator[dict[str, str]]:
    """An empty database for each service and a role that owns it, as deployments have them; dropped afterwards."""
    async with own_database(servers) as url, AsyncExitStack() as stack:
        base, secret = urlsplit(url), uuid.uuid4().hex
        admin = await asyncpg.connect(url)
        stack.push_async_callback(admin.close)
        urls: dict[str, str] = {}
        for name in SERVICES:
            own = f"{base.path[1:]}_{name}"
            await admin.execute(f"CREATE ROLE \"{own}\" LOGIN PASSWORD '{secret}'")
            stack.push_async_callback(admin.execute, f'DROP ROLE IF EXISTS "{own}"')
            await admin.execute(f'CREATE DATABASE "{own}" OWNER "{own}" TEMPLATE template0')
            stack.push_async_callback(admin.execute, f'DROP DATABASE IF EXISTS "{own}" WITH (FORCE)')
            await admin.execute(f'REVOKE ALL ON DATABASE "{own}" FROM PUBLIC')
            at = base.netloc.rpartition("@")[2]
            urls[name] = urlunsplit(base._replace(netloc=f"{own}:{secret}@{at}", path=f"/{own}"))
        yield urls


def settings(urls: Mapping[str, str], folder: Path, servers: Servers, prefix: str) -> dict[str, str]:
    return {
        "CITYLOOP_VAR": str(folder / "var"),
        **{f"CITYLOOP_{service.upper()}_DATABASE_URL": url for service, url in urls.items()},
        "CITYLOOP_EVENT_LOG_URL": f"{servers.kafka_url}?prefix={prefix}",
        "CITYLOOP_DRAIN_FOR_S": "0",
    }


async def said(given: Mapping[str, str], folder: Path, *arguments: str) -> str:
    """What a command that must succeed prints."""
    run: Callable[..., Any] = process if arguments[0] == "backup" else command  # signals are the main thread's
    done = await asyncio.to_thread(run, given, folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


async def _told_in_turn(urls: Mapping[str, str], writer: int, stop: asyncio.Event, through: list[str]) -> None:
    """Parking writes an event; only when it is stored charging takes it, then waste; `through` are those that all three have."""
    async with AsyncExitStack() as stack:
        sessions: dict[str, Any] = {}
        for name, url in urls.items():
            sessions[name] = await asyncpg.connect(url)
            stack.push_async_callback(sessions[name].close)
        number = 0
        while not stop.is_set():
            number += 1
            id_ = f"{writer}-{number:08d}"
            await sessions["parking"].execute(
                "INSERT INTO outbox (id, type, topic, key, source, time, sequence, data, recorded_at, published_at)"
                " VALUES ($1, 't', 't', 'k', 's', now(), 1, '', now(), now())",
                id_,
            )
            for name in ("charging", "waste"):
                await sessions[name].execute("INSERT INTO inbox (consumer, event_id, received_at) VALUES ('c', $1, now())", id_)
            through.append(id_)


ALONE = {
    "parking": "INSERT INTO outbox (id, type, topic, key, source, time, sequence, data, recorded_at)"
    " VALUES ($1, 't', 't', 'alone', 's', $2, 1, '', $2)",
    "charging": "INSERT INTO inbox (consumer, event_id, received_at) VALUES ('alone', $1, $2)",
    "waste": "INSERT INTO inbox (consumer, event_id, received_at) VALUES ('alone', $1, $2)",
}


async def _alone(url: str, statement: str, stop: asyncio.Event) -> None:
    """A service writes events, or takes them, and waits for no other."""
    session, clock = await asyncpg.connect(url), SystemClock()
    number = 0
    try:
        while not stop.is_set():
            number += 1
            await session.execute(statement, f"alone-{number:08d}", clock.now())
    finally:
        await session.close()


async def _dumped(folder: Path, service: str, table: str, column: int) -> set[str]:
    """The values of a column of a table as a dump holds them."""
    words = ["pg_restore", "--data-only", f"--table={table}", "--file=-", str(folder / f"{service}.dump")]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=True)
    copied = re.search(rf"^COPY public\.{table} .*?;\n(.*?)^\\\.$", done.stdout, re.MULTILINE | re.DOTALL)
    assert copied, done.stdout[:200]
    return {line.split("\t")[column] for line in copied.group(1).splitlines()}


def _in_turn(ids: set[str]) -> set[str]:
    return {each for each in ids if not each.startswith("alone")}


_HELD_UP = """SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE application_name = 'cityloop backup' AND datname = ANY($1) AND mode = 'ShareLock' AND relation IS NOT NULL"""


_HESITATES_S = cycle((0.0, 0.3, 0.6, 0.45))  # four for three databases: each time another is the first


@dataclass(frozen=True, slots=True)
class _Hesitant:
    """Takes a snapshot only after a while, another one each: what is not held up in that time would be in one and not in the other."""

    real: Any

    async def fetchval(self, query: str) -> Any:
        if "pg_export_snapshot" in query:
            await asyncio.sleep(next(_HESITATES_S))
        return await self.real.fetchval(query)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def _hesitating(monkeypatch: pytest.MonkeyPatch, urls: Mapping[str, str]) -> list[int]:
    """Backups hesitate from now on. Answers for each connection that one begins: how many tables it locks at that moment."""
    held: list[int] = []
    connect = asyncpg.connect

    async def told(dsn: str, **options: Any) -> Any:
        if options.get("server_settings", {}).get("application_name") != "cityloop backup":
            return await connect(dsn, **options)
        watching = await connect(urls["parking"])
        held.append(await watching.fetchval(_HELD_UP, [urlsplit(url).path[1:] for url in urls.values()]))
        await watching.close()
        return _Hesitant(await connect(dsn, **options))

    monkeypatch.setattr(asyncpg, "connect", told)
    return held


async def test_a_dump_never_shows_an_effect_without_its_cause(stack: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events on their way through three databases: what one has taken the other has written, at most one step is missing.

    They wait for three snapshots, and for no connection; what is written afterwards is in none of them.
    """
    stop, through = asyncio.Event(), list[str]()
    async with databases(stack) as urls, own_topics(stack) as prefix:
        await said(settings(urls, tmp_path, stack, prefix), tmp_path, "migrate")
        held = _hesitating(monkeypatch, urls)
        async with asyncio.TaskGroup() as group:
            for writer in range(6):
                group.create_task(_told_in_turn(urls, writer, stop, through))
            for name, statement in ALONE.items():
                group.create_task(_alone(urls[name], statement, stop))
            try:
                for number in range(3):
                    known = len(through)
                    await wait_until(lambda: len(through) > known + 6, what="events come through")  # noqa: B023 - called in this round
                    dest = tmp_path / f"backup-{number}"
                    made = await postgres.back_up(SERVICES, urls, "none", SystemClock(), dest, lambda *_: None)
                    assert (made.engine, made.known_at < made.taken_at) == ("postgresql", True)
                    written = _in_turn(await _dumped(dest, "parking", "outbox", 1))
                    heard, passed_on = [_in_turn(await _dumped(dest, name, "inbox", 1)) for name in ("charging", "waste")]
                    assert written >= heard >= passed_on
                    for place in (("parking", "outbox", 9), ("charging", "inbox", 2), ("waste", "inbox", 2)):
                        assert max(map(datetime.fromisoformat, await _dumped(dest, *place))) <= made.taken_at, place
                    assert len(written - passed_on) <= 6, "one event a writer is on its way"
                    assert len(passed_on) > known
            finally:
                stop.set()
        assert held
        assert not any(held), "nobody waits while the backup connects"


async def test_a_database_that_is_not_there_is_said_and_nothing_is_left(stack: Servers, tmp_path: Path) -> None:
    """No schema, no server: one sentence, no folder."""
    async with databases(stack) as urls:
        with pytest.raises(BackupError, match="lacks its schema"):
            await postgres.back_up(SERVICES, urls, "none", SystemClock(), tmp_path / "dest", lambda *_: None)
        away = dict.fromkeys(urls, "postgresql://app@127.0.0.1:1/nowhere")
        with pytest.raises(BackupError, match="does not answer"):
            await postgres.back_up(SERVICES, away, "none", SystemClock(), tmp_path / "dest", lambda *_: None)
    assert os.listdir(tmp_path) == []


def documented() -> str:
    """The commands of docs/operations.md for a restore on PostgreSQL."""
    chapter = OPERATIONS.read_text().partition("**PostgreSQL.**")[2]
    found = re.search(r"```sh\n(.*?)```", chapter, re.DOTALL)
    assert found
    return found.group(1)


def _as_documented(told: Mapping[str, str], folder: Path) -> None:
    words = ["sh", "-s"]  # as in the container, whose shell knows less than bash
    done = subprocess.run(
        words, input=documented(), env=environment(told), cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True, slots=True)
class HeldDump:
    """A `pg_dump` before the real one on the PATH: it says that it is called, and waits until it may go on."""

    folder: Path

    def made(self) -> HeldDump:
        """Writes the program."""
        real = shutil.which("pg_dump")
        self.folder.mkdir()
        program = self.folder / "pg_dump"
        program.write_text(f'#!/bin/sh\n: >"{self._called}"\nwhile [ ! -e "{self._free}" ]; do sleep 0.05; done\nexec "{real}" "$@"\n')
        program.chmod(0o755)
        return self

    @property
    def _called(self) -> Path:
        return self.folder / "called"

    @property
    def _free(self) -> Path:
        return self.folder / "free"

    @property
    def path(self) -> str:
        """The PATH on which it is the first."""
        return f"{self.folder}:{os.environ['PATH']}"

    def is_called(self) -> bool:
        return self._called.exists()

    def let_go(self) -> None:
        self._free.touch()


async def _begun_yesterday(city: Suite, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The invented city, learnt and heard of a day ago. Then the clock shows the present, and all go on."""
    with monkeypatch.context() as patched:
        patched.setattr("cityloop_common.db.MAX_SKEW", timedelta(days=2))  # a unit compares its clock with the server's
        await city.seed()
        city.start()
        await city.quiet()
        await city.stop()
    clock.by = timedelta()
    city.start()


async def _all_since(city: Suite, since: datetime) -> bool:
    return all(at > since for at in (await newest(city)).values())


async def _backed_up_in_use(city: Suite, given: Mapping[str, str], folder: Path) -> tuple[datetime, Manifest]:
    """Every journal grows before the instant, and again while the dumps wait: answers since when, and what was made."""
    dump, clock = HeldDump(folder / "bin").made(), SystemClock()
    async with busy(city) as crowd:
        since = clock.now()
        await wait_until(lambda: _all_since(city, since), 120, every=0.3, what="every journal grows")
        async with asyncio.TaskGroup() as group:
            try:
                made = group.create_task(said({**given, "PATH": dump.path}, folder, "backup", "backup", "--json"))
                await wait_until(lambda: dump.is_called() or made.done(), 120, every=0.05, what="the snapshots are taken")
                held, before = clock.now(), crowd.done.copy()
                await wait_until(lambda: _all_since(city, held), 120, every=0.3, what="every journal grows while the dumps wait")
            finally:
                dump.let_go()
        meanwhile = crowd.done - before
    print(f"done before the dumps: {dict(before)}; while they were made: {dict(meanwhile)}")
    assert meanwhile.keys() >= {"hold", "count", "count-late", "status", "load", "statement", "waste-change"}
    return since, Manifest.model_validate_json(made.result())


async def _shows_its_instant(
    old: Mapping[str, str], new: Mapping[str, str], manifest: Manifest, units: Sequence[Unit], before: datetime
) -> datetime:
    """Whole units, those answered by the instant and none that came later; answers up to when nothing can be missing.

    What the restored city wrote is left out: it was put in place after `before`.
    """
    wrong = amiss(units, await written(old), await written(new, before), manifest.taken_at)
    assert wrong == []
    whole = settled(units, manifest.taken_at)
    assert manifest.known_at < whole < manifest.taken_at
    return whole


async def _same_rows(old: Mapping[str, str], new: Mapping[str, str], manifest: Manifest, since: datetime, whole: datetime) -> None:
    """Every journal: the rows of then, unchanged; up to the instant all, since then none."""
    source, kept = await restored.journal(old), await restored.journal(new)
    assert {name: len(rows) for name, rows in kept.items()} == {
        f"{name}.{table}": count for name, part in manifest.services.items() for table, count in part.journal_rows.items()
    }
    for name, rows in source.items():
        by_id = {row.id: row for row in rows}
        assert all(by_id.get(row.id) == row for row in kept[name]), name
        assert [row for row in kept[name] if row.recorded_at <= whole] == [row for row in rows if row.recorded_at <= whole], name
        assert any(since < row.recorded_at <= whole for row in kept[name]), f"{name} grew before the instant"
        assert {row.id for row in rows if row.recorded_at > manifest.taken_at} - {row.id for row in kept[name]}, f"{name} grew afterwards"
    print({name: (len(rows), len(source[name])) for name, rows in kept.items()})


async def _same_figures(old: Mapping[str, str], new: Mapping[str, str], instants: Sequence[datetime]) -> None:
    """Every figure of an instant and of the day before, its districts and its rows."""
    for known_at in instants:
        figures = await restored.figures(new, known_at)
        assert figures == await restored.figures(old, known_at), known_at
    with_data = {name for (name, _, _), each in figures.items() if each.missing is None and each.rows}
    assert with_data == {indicator.name for service in SERVICES.values() for indicator in service.indicators}


async def _promised(given: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """The reservations that are there, and those that events tell of."""
    async with restored.services(given) as opened:
        ctx = next(ctx for service, ctx in opened if service.name == "parking")
        async with ctx.db.read() as tx:
            there = {row.id for row in await tx.all(select(reservation.c.id))}
            told = {row.key for row in await tx.all(select(outbox.c.key).where(outbox.c.topic == "parking.reservation"))}
    return there, told


async def _goes_on(there: Mapping[str, str], log_url: str, folder: Path) -> None:
    """What was told again is heard, nobody contradicts another, and the city lives on."""
    async with suite(folder, log_url, there) as city:
        city.start()
        await city.quiet()
        await city.check_mirrors()
        for service in SERVICES:
            await city.live(service, 13)
        await city.quiet()
        await city.check_mirrors()


async def test_a_city_in_use_is_backed_up_and_the_documented_commands_bring_it_back(
    stack: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row of every journal up to the instant, none of later; the same figures; it goes on as other roles with topics of its own."""
    monkeypatch.setenv("CITYLOOP_SAMPLE", "static")
    async with databases(stack) as here, databases_of_their_roles(stack) as there, own_topics(stack) as prefix:
        given = settings(here, tmp_path, stack, f"{prefix}a.")
        await said(given, tmp_path, "migrate")
        units, clock = watched(monkeypatch, here), ShiftedClock(by=timedelta(days=-1))
        async with suite(tmp_path, given["CITYLOOP_EVENT_LOG_URL"], here, clock=clock) as city:
            await _begun_yesterday(city, clock, monkeypatch)
            since, manifest = await _backed_up_in_use(city, given, tmp_path)
        fresh = settings(there, tmp_path, stack, f"{prefix}b.")
        told = {**fresh, "BACKUP": str(tmp_path / "backup"), "PATH": f"{CITYLOOP.parent}:{os.environ['PATH']}"}
        before = clock.now()
        await asyncio.to_thread(_as_documented, told, tmp_path)
        whole = await _shows_its_instant(given, fresh, manifest, units, before)
        await _same_rows(given, fresh, manifest, since, whole)
        await _same_figures(given, fresh, (manifest.known_at, whole))
        reservations, events = await _promised(fresh)
        assert reservations == events != set()
        await _goes_on(there, fresh["CITYLOOP_EVENT_LOG_URL"], tmp_path)
        assert "nothing" in await said(fresh, tmp_path, "dlq", "list")


async def test_a_backup_of_postgresql_is_not_restored_into_a_folder(stack: Servers, tmp_path: Path) -> None:
    """It says what to do instead."""
    async with databases(stack) as urls, own_topics(stack) as prefix:
        given = settings(urls, tmp_path, stack, prefix)
        await said(given, tmp_path, "migrate")
        await said(given, tmp_path, "backup", "backup")
        done = command({"CITYLOOP_VAR": str(tmp_path / "new")}, tmp_path, "restore", "backup")
        assert (done.returncode, "pg_restore" in done.stderr) == (1, True), done.stderr
