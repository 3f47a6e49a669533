"""Schema migrations: the kit's tables first, then the service's own, in one transaction, one process at a time."""

from __future__ import annotations

import asyncio
import zlib
from functools import partial
from importlib.resources import files
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import DBAPIError

from cityloop_common import telemetry
from cityloop_common.db import Database
from cityloop_common.errors import Unavailable
from cityloop_common.tables import kit_metadata

KIT_SCRIPTS = "cityloop_common.migrations"
TABLE_WITHIN = "3s"  # a change that waits for a table keeps everybody behind it waiting, too
TRIES, AGAIN_AFTER_S = 120, 5.0
LOCK_NOT_AVAILABLE = "55P03"
_log = telemetry.get_logger(__name__)


async def migrate(db: Database, scripts: str, metadata: MetaData) -> None:
    """Brings a database to the newest schema; safe to run twice and from several processes.

    A schema of a newer release stays as it is: migrations only add, so the release before works on it. On PostgreSQL a table that
    somebody else holds (a dump) is asked for again and again, for ten minutes; then Unavailable.
    """
    for _ in range(TRIES):
        try:
            await db.run_sync(partial(_migrate, scripts=scripts, metadata=metadata))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            _log.warning("migration-waits", reason="somebody holds a table: a dump, a long report", again_after_s=AGAIN_AFTER_S)
            await asyncio.sleep(AGAIN_AFTER_S)
        else:
            return
    raise Unavailable("A table has been held by somebody else for ten minutes: nothing was migrated.")


def _migrate(connection: Connection, *, scripts: str, metadata: MetaData) -> None:
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:  # a rebuilt table must not take the rows that refer to it along
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else "BEGIN")
    try:
        if not sqlite:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({zlib.crc32(b'cityloop/migrate')})")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TABLE_WITHIN}'")
        upgrade(connection, KIT_SCRIPTS, "kit_version", kit_metadata)
        upgrade(connection, scripts, "service_version", metadata)
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    finally:
        if sqlite:
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def upgrade(connection: Connection, scripts: str, version_table: str, metadata: MetaData, to: str = "head") -> None:
    """Runs one folder of migrations up to a revision on an open connection."""
    directory = ScriptDirectory(str(files(scripts)))
    config = Config()
    config.set_main_option("script_location", str(files(scripts)))

    def steps(heads: Any, _context: MigrationContext) -> Any:
        if any(_is_ahead(directory, each) for each in heads):
            return []
        return directory._upgrade_revs(to, heads)  # what alembic's own `command.upgrade` passes

    with EnvironmentContext(config, directory, fn=steps, destination_rev=to) as environment:
        environment.configure(
            connection=connection, target_metadata=metadata, version_table=version_table, render_as_batch=True, transactional_ddl=False
        )
        environment.run_migrations()


async def behind(db: Database, scripts: str) -> bool:
    """Whether a database lacks migrations of this version. One that a newer release has migrated lacks none."""
    lacking: list[str] = []

    def work(connection: Connection) -> None:
        for table, folder in _folders(scripts):
            directory = ScriptDirectory(str(files(folder)))
            found = MigrationContext.configure(connection, opts={"version_table": table}).get_current_revision()
            if found != directory.get_current_head() and not _is_ahead(directory, found):
                lacking.append(table)

    await db.run_sync(work)
    return bool(lacking)


def _is_ahead(directory: ScriptDirectory, revision: object) -> bool:
    """Whether a revision is none of ours and higher: revisions are numbers of one length, one after the other."""
    known = {each.revision for each in directory.walk_revisions()}
    return isinstance(revision, str) and revision not in known and revision > max(known, default="")


def revisions(scripts: str) -> dict[str, list[str]]:
    """Every migration that this version knows, by version table, newest first."""
    return {table: [each.revision for each in ScriptDirectory(str(files(folder))).walk_revisions()] for table, folder in _folders(scripts)}


def _folders(scripts: str) -> list[tuple[str, str]]:
    return [("kit_version", KIT_SCRIPTS), ("service_version", scripts)]
