"""Backup on PostgreSQL: `pg_dump` of every service's database, all at one instant.

The tables through which services hear of each other are locked in all databases together for a moment, so no event is being
written or taken anywhere; in that moment each database exports a snapshot, the locks are let go, and `pg_dump` reads the
snapshots. The event log (Kafka) is not part of it: what it held is in the databases and is sent again (`republish`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import URL, make_url

from cityloop_common import __version__
from cityloop_common.backup import manifest as manifests
from cityloop_common.backup.draft import BackupError, Progress, draft
from cityloop_common.backup.manifest import Manifest, ServicePart
from cityloop_common.clock import Clock
from cityloop_common.dberrors import SESSION_LOST
from cityloop_common.journal import closed_instant
from cityloop_common.service import Service

LOCK_WITHIN = "2s"  # while others are held: units wait up to 20 s for a lock
TRIES = 30
# In the order in which a consumer's unit takes them, so that no unit holds one that we want while it waits for one that we have.
LOCKED = ("inbox", "inbox_sequence", "outbox")
ASK_EVERY_S = 1.0
_BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError)


@dataclass(frozen=True, slots=True)
class _Database:
    """One service's database in a transaction whose snapshot others may use."""

    service: Service
    url: URL
    session: Any
    snapshot: str


async def back_up(
    services: Mapping[str, Service], urls: Mapping[str, str], districts: str, clock: Clock, target: Path, progress: Progress
) -> Manifest:
    """Makes the backup, whole or not at all. Raises BackupError."""
    if shutil.which("pg_dump") is None:
        raise BackupError("pg_dump is not on the PATH: install PostgreSQL's client programs, of the server's version or a newer one")
    async with AsyncExitStack() as stack:
        taken_at, databases = await _take_instant(services, urls, clock, stack)
        sizes = {each.service.name: await each.session.fetchval("SELECT pg_database_size(current_database())") for each in databases}
        with draft(target, needs_bytes=sum(sizes.values()) // 2) as folder:  # a dump has no indexes and is compressed
            parts, files = {}, []
            for number, each in enumerate(databases):
                progress(sum(list(sizes.values())[:number]), sum(sizes.values()), f"dump {each.service.name}")
                name = f"{each.service.name}.dump"
                await _dump(each, folder / name)
                parts[each.service.name] = await _part(each, name)
                files.append(manifests.hashed(folder / name, name))
            progress(sum(sizes.values()), sum(sizes.values()), "done")
            manifest = Manifest(
                version=__version__,
                engine="postgresql",
                taken_at=taken_at,
                known_at=closed_instant(taken_at),  # a unit that was open then may commit with an earlier recorded_at
                districts=districts,
                services=parts,
                files=files,
            )
            manifest.write(folder)
    return manifest


async def _take_instant(
    services: Mapping[str, Service], urls: Mapping[str, str], clock: Clock, stack: AsyncExitStack
) -> tuple[datetime, list[_Database]]:
    """Snapshots of one instant at which no event was being written or taken. Raises BackupError when there was none in a minute."""
    async with AsyncExitStack() as lockers:
        # All are connected before anything is locked: then locks are held for a few round trips, and the snapshots are of one moment.
        holders = [await lockers.enter_async_context(_session(make_url(urls[name]))) for name in services]
        readers = [await stack.enter_async_context(_session(make_url(urls[name]))) for name in services]
        for reader in readers:
            await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")  # the first statement takes its snapshot
        for _ in range(TRIES):
            try:
                async with _locked(holders):
                    taken_at = clock.now()
                    names = await asyncio.gather(*(reader.fetchval("SELECT pg_export_snapshot()") for reader in readers))
            except _BUSY:
                await clock.sleep(ASK_EVERY_S)
                continue
            except asyncpg.UndefinedTableError as error:
                raise BackupError(f"a database lacks its schema ({error}): nothing to back up") from error
            found = zip(services.values(), readers, names, strict=True)
            return taken_at, [_Database(each, make_url(urls[each.name]), reader, snapshot) for each, reader, snapshot in found]
    raise BackupError("no instant was found at which no event is being written: is a transaction open for long?")


@asynccontextmanager
async def _locked(sessions: Sequence[Any]) -> AsyncIterator[None]:
    """While no unit in any of the databases can write an event or take one."""
    try:
        for session in sessions:
            await session.execute("BEGIN")
            await session.execute(f"SET LOCAL lock_timeout = '{LOCK_WITHIN}'")
            for table in LOCKED:
                await session.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield
    finally:
        await asyncio.gather(*(session.execute("ROLLBACK") for session in sessions if session.is_in_transaction()))


@asynccontextmanager
async def _session(url: URL) -> AsyncIterator[Any]:
    """A connection without the services' time limits: it stays in its transaction for as long as a dump takes."""
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    limits = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "application_name": "cityloop backup"}
    try:
        session = await asyncpg.connect(dsn, timeout=5, server_settings=limits)
    except SESSION_LOST as error:
        raise BackupError(f"the database {url.database} does not answer") from error
    try:
        yield session
    finally:
        session.terminate()


async def _dump(database: _Database, path: Path) -> None:
    """`pg_dump` of a snapshot. The password goes by the environment, where other users cannot read it."""
    url = database.url
    address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    given = {**os.environ} if url.password is None else {**os.environ, "PGPASSWORD": str(url.password)}
    arguments = ("--format=custom", "--no-owner", "--no-privileges", f"--snapshot={database.snapshot}", f"--file={path}", address)
    dumping = await asyncio.create_subprocess_exec(
        "pg_dump", *arguments, env=given, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, said = await dumping.communicate()
    except BaseException:
        dumping.kill()
        raise
    if dumping.returncode != 0:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or [f"status {dumping.returncode}"]
        raise BackupError(f"pg_dump of {database.service.name}: {last[0]}")


async def _part(database: _Database, file: str) -> ServicePart:
    """Read in the dump's own snapshot."""
    session = database.session

    async def rows(table: str) -> int:
        return int(await session.fetchval(f'SELECT count(*) FROM "{table}"'))

    return ServicePart(
        file=file,
        schemas={table: str(await session.fetchval(f"SELECT version_num FROM {table}")) for table in ("kit_version", "service_version")},
        journal_rows={name: await rows(name) for name in manifests.journals(database.service.metadata)},
        unpublished_events=int(await session.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")),
    )
