"""On PostgreSQL a backup is three dumps of one instant, and what the documentation says brings the city back."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from cityloop_common.backup import BackupError, postgres, read_manifest
from cityloop_common.clock import SystemClock
from cityloop_common.service import installed_services
from tests.cli import command
from tests.e2e.processes import CITYLOOP, Process, environment
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


async def _told_in_turn(urls: Mapping[str, str], writer: int, stop: asyncio.Event) -> None:
    """Parking writes an event; only when it is stored charging takes it, then waste."""
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


async def _dumped(folder: Path, service: str, table: str, column: int) -> set[str]:
    """The values of a column of a table as a dump holds them."""
    words = ["pg_restore", "--data-only", f"--table={table}", "--file=-", str(folder / f"{service}.dump")]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=True)
    copied = re.search(rf"^COPY public\.{table} .*?;\n(.*?)^\\\.$", done.stdout, re.MULTILINE | re.DOTALL)
    assert copied, done.stdout[:200]
    return {line.split("\t")[column] for line in copied.group(1).splitlines()}


async def test_a_dump_never_shows_an_effect_without_its_cause(stack: Servers, tmp_path: Path) -> None:
    """Events on their way through three databases: what one has taken the other has written, at most one step is missing."""
    stop = asyncio.Event()
    async with databases(stack) as urls, own_topics(stack) as prefix:
        await said(settings(urls, tmp_path, stack, prefix), tmp_path, "migrate")
        async with asyncio.TaskGroup() as group:
            for writer in range(6):
                group.create_task(_told_in_turn(urls, writer, stop))
            try:
                await asyncio.sleep(0.5)
                for number in range(3):
                    dest = tmp_path / f"backup-{number}"
                    made = await postgres.back_up(SERVICES, urls, "none", SystemClock(), dest, lambda *_: None)
                    assert (made.engine, made.known_at < made.taken_at) == ("postgresql", True)
                    written = await _dumped(dest, "parking", "outbox", 1)
                    heard, passed_on = [await _dumped(dest, name, "inbox", 1) for name in ("charging", "waste")]
                    assert written >= heard >= passed_on
                    assert len(written - passed_on) <= 6, "one event a writer is on its way"
                    assert len(passed_on) > number
            finally:
                stop.set()


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


@asynccontextmanager
async def workers(given: Mapping[str, str], folder: Path) -> AsyncIterator[None]:
    """A worker of each service."""
    running = [Process([service, "worker"], given, folder) for service in SERVICES]
    try:
        for each in running:
            each.start()
        for each in running:
            await each.ready()
        yield
    finally:
        for each in running:
            each.kill()


async def _known(urls: Mapping[str, str]) -> dict[str, list[Any]]:
    """What must be the same: journals, and what one service keeps of another."""
    asked = {
        "parking": ("place_version", "observation", "charger", "charger_location"),
        "charging": ("place", "place_version", "evse_status", "link_version"),
        "waste": ("load", "generation_estimate", "street_section"),
    }
    found: dict[str, list[Any]] = {}
    for service, tables in asked.items():
        session = await asyncpg.connect(urls[service])
        for table in tables:
            rows = await session.fetch(f"SELECT * FROM {table}")
            kept = [{name: value for name, value in row.items() if name != "updated_at"} for row in rows]
            found[f"{service}.{table}"] = sorted(map(repr, kept))
        await session.close()
    return found


async def _rest(given: Mapping[str, str], folder: Path) -> bool:
    """Nothing waits to be sent, nothing to be taken."""
    waiting = json.loads(await said(given, folder, "outbox", "--json"))
    lag = [lag for topic in json.loads(await said(given, folder, "events", "topics", "--json")) for lag in topic["lag"].values()]
    assert len(lag) > 5, "every consumer has begun"
    return not any(row["waiting"] for row in waiting) and not any(lag)


async def test_the_documented_commands_bring_a_city_back(stack: Servers, tmp_path: Path) -> None:
    """Dumped, restored into empty databases with topics of their own, all sent again: the same facts, the same mirrors, no dead letter."""
    async with databases(stack) as here, databases_of_their_roles(stack) as there, own_topics(stack) as prefix:
        given = settings(here, tmp_path, stack, f"{prefix}a.")
        await said(given, tmp_path, "migrate")
        for service in SERVICES:
            await said(given, tmp_path, service, "sample")
        async with workers(given, tmp_path):
            await wait_until(lambda: _rest(given, tmp_path), 120, every=1, what="the city has heard of itself")
            before = await _known(here)
            assert all(before.values()), [name for name, rows in before.items() if not rows]
            await said(given, tmp_path, "backup", "backup")
        manifest = read_manifest(tmp_path / "backup")
        assert {f"waste.{name}": count for name, count in manifest.services["waste"].journal_rows.items() if count} == {
            name: len(before[name]) for name in ("waste.load", "waste.generation_estimate")
        }
        given = settings(there, tmp_path, stack, f"{prefix}b.")
        told = {**given, "BACKUP": str(tmp_path / "backup"), "PATH": f"{CITYLOOP.parent}:{os.environ['PATH']}"}
        await asyncio.to_thread(_as_documented, told, tmp_path)
        async with workers(given, tmp_path):
            await wait_until(lambda: _rest(given, tmp_path), 120, every=1, what="the restored city has heard of itself")
            assert await _known(there) == before
        assert "nothing" in await said(given, tmp_path, "dlq", "list")


async def test_a_backup_of_postgresql_is_not_restored_into_a_folder(stack: Servers, tmp_path: Path) -> None:
    """It says what to do instead."""
    async with databases(stack) as urls, own_topics(stack) as prefix:
        given = settings(urls, tmp_path, stack, prefix)
        await said(given, tmp_path, "migrate")
        await said(given, tmp_path, "backup", "backup")
        done = command({"CITYLOOP_VAR": str(tmp_path / "new")}, tmp_path, "restore", "backup")
        assert (done.returncode, "pg_restore" in done.stderr) == (1, True), done.stderr
