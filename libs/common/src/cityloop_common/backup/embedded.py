"""The embedded form's backup: all SQLite files as they were at one instant, while CityLoop runs.

A service's state, the events that it has sent and what others did with them lie in several files. Copied one after another in
any order, two of them contradict each other: an event marked as sent that the log does not have, an offset that is committed
for an effect that is not there, or a state of the future that makes a service skip the real one. So the write locks of all
files are held together for a moment: nothing is being committed anywhere. In that moment a reading transaction is opened on
each; then the locks are let go and the snapshots are copied, for as long as it takes, while everybody writes on. A backup is
therefore what a power cut at that instant would have left, and a restored city goes on as after a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cityloop_common import __version__
from cityloop_common.backup import manifest as manifests
from cityloop_common.backup.draft import BackupError, Progress, draft
from cityloop_common.backup.manifest import KEYS, FileEntry, Manifest, ServicePart
from cityloop_common.clock import Clock
from cityloop_common.service import Service

LOG_FILE = "events.db"
MARKERS = ("sample-seeded",)
SCHEMA_TABLES = ("kit_version", "service_version")
PAGES_AT_ONCE = 1_000
LOCK_WITHIN_S = 1.0  # while others are held: together less than the 5 s that the log's writers wait
TRIES = 60
ASK_EVERY_S = 0.002


@dataclass(frozen=True, slots=True)
class City:
    """What there is to back up: the services, their database files by name, the log's file, the folder of keys and markers."""

    services: Mapping[str, Service]
    databases: Mapping[str, Path]
    log: Path
    var: Path
    districts: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One file in a reading transaction: what others write does not reach it."""

    name: str
    reader: sqlite3.Connection
    size_bytes: int


async def take_instant(city: City, clock: Clock) -> Instant:
    """Every file in a reading transaction of one instant. Raises BackupError."""
    files = {f"{name}.db": path for name, path in city.databases.items()} | {LOG_FILE: city.log}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise BackupError(f"nothing to back up: {', '.join(missing)} is not there; has CityLoop run here?")
    stack = ExitStack()
    try:
        taken_at, snapshots = await _snapshots(files, clock, stack)
    except BaseException:
        stack.close()
        raise
    return Instant(city, taken_at, snapshots, stack)


async def _snapshots(files: Mapping[str, Path], clock: Clock, stack: ExitStack) -> tuple[datetime, list[Snapshot]]:
    """One instant at which no file was being written. Raises BackupError when there was none for a minute."""
    for _ in range(TRIES):
        with ExitStack() as held, ExitStack() as readers, _as_backup_error("the databases"), _unless_busy():
            lockers = [held.enter_context(closing(_open(path))) for path in files.values()]
            if await _all_locked(lockers, clock):
                taken_at, snapshots = clock.now(), [_snapshot(name, path, readers) for name, path in files.items()]
                stack.enter_context(readers.pop_all())
                return taken_at, snapshots
        await clock.sleep(LOCK_WITHIN_S / 4)
    raise BackupError("no instant was found at which nothing is being written: is a process stuck in a write?")


async def _all_locked(lockers: Sequence[sqlite3.Connection], clock: Clock) -> bool:
    """Holds every file's write lock, or none. Closing a connection lets its lock go."""
    for locker in lockers:
        until_s = clock.monotonic() + LOCK_WITHIN_S
        while not _locked(locker):
            if clock.monotonic() > until_s:
                return False
            await clock.sleep(ASK_EVERY_S)
    return True


def _locked(locker: sqlite3.Connection) -> bool:
    try:
        locker.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise
        return False
    return True


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


@contextmanager
def _unless_busy() -> Iterator[None]:
    """Ends the body where a file is in use just now. Merely opening one may be refused, too, while another process opens or leaves it."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise


def _open(path: Path) -> sqlite3.Connection:
    """An existing file, never a new one; nobody is waited for."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")  # a file that was restored and never opened since has another
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _snapshot(name: str, path: Path, stack: ExitStack) -> Snapshot:
    reader = stack.enter_context(closing(_open(path)))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the first reading takes the snapshot
    pages, page_bytes = (reader.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size"))
    return Snapshot(name, reader, pages * page_bytes)


@dataclass(frozen=True, slots=True)
class Instant:
    """A city's files as they were at `taken_at`, held open until they are copied."""

    city: City
    taken_at: datetime
    snapshots: Sequence[Snapshot]
    held: ExitStack

    def copy(self, target: Path, progress: Progress) -> Manifest:
        """Makes the backup, whole or not at all, and lets the snapshots go. Raises BackupError."""
        with self.held, draft(target, needs_bytes=sum(each.size_bytes for each in self.snapshots)) as folder:
            with _as_backup_error(str(target)):
                self._copy_files(folder, progress)
                parts = {name: _part(service, folder / f"{name}.db") for name, service in self.city.services.items()}
            files = self._hash(folder, progress)
            manifest = Manifest(
                version=__version__,
                engine="sqlite",
                taken_at=self.taken_at,
                known_at=self.taken_at,  # SQLite writers go one after another: no unit is open at the instant
                districts=self.city.districts,
                services=parts,
                files=files,
            )
            manifest.write(folder)
        return manifest

    def _copy_files(self, folder: Path, progress: Progress) -> None:
        total, before = sum(each.size_bytes for each in self.snapshots), 0
        for each in self.snapshots:
            _copy(each, folder / each.name, _shifted(progress, before, total, f"copy {each.name}"))
            before += each.size_bytes
            check(folder / each.name)
        keys = self.city.var / KEYS
        if keys.is_dir():
            (folder / KEYS).mkdir(mode=0o700)
            for path in sorted(keys.iterdir()):
                _copy_private(path, folder / KEYS / path.name)
        for name in MARKERS:
            if (self.city.var / name).is_file():
                _copy_private(self.city.var / name, folder / name)

    def _hash(self, folder: Path, progress: Progress) -> list[FileEntry]:
        names = [each.name for each in self.snapshots]
        names += sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name not in names)
        entries: list[FileEntry] = []
        for number, name in enumerate(names, 1):
            entries.append(manifests.hashed(folder / name, name))
            progress(number, len(names), f"hash {name}")
        return entries


def _copy(snapshot: Snapshot, target: Path, progress: Progress) -> None:
    """A plain file without side files. The source is in a transaction, so the copy never begins anew however much is written."""
    target.touch(mode=0o600)
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        for pragma in ("journal_mode = OFF", "synchronous = OFF"):  # it is nobody's until it is whole
            copy.execute(f"PRAGMA {pragma}")

        def tell(_: int, remaining: int, pages: int) -> None:
            progress(snapshot.size_bytes * (pages - remaining) // max(pages, 1), None, "")

        snapshot.reader.backup(copy, pages=PAGES_AT_ONCE, progress=tell)
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE")
    snapshot.reader.execute("ROLLBACK")


def _shifted(progress: Progress, before: int, total: int, note: str) -> Progress:
    return lambda done, _total, _note: progress(before + done, total, note)


def _copy_private(path: Path, target: Path) -> None:
    target.touch(mode=0o600)
    target.write_bytes(path.read_bytes())


def check(path: Path) -> None:
    """SQLite's own judgement of a file. Raises BackupError when it is damaged."""
    with closing(read_only(path)) as connection:
        try:
            ((verdict,), *_) = connection.execute("PRAGMA integrity_check(1)").fetchall()
        except sqlite3.DatabaseError as error:
            verdict = str(error)
    if verdict != "ok":
        raise BackupError(f"{path.name} is damaged: {verdict}")


def read_only(path: Path) -> sqlite3.Connection:
    """A file that nobody writes."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def _part(service: Service, path: Path) -> ServicePart:
    with closing(read_only(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        known = [name for name in manifests.journals(service.metadata) if name in tables]

        def one(sql: str) -> object:
            return connection.execute(sql).fetchone()[0]

        return ServicePart(
            file=path.name,
            schemas={table: str(one(f"SELECT version_num FROM {table}")) for table in SCHEMA_TABLES if table in tables},
            journal_rows={name: int(str(one(f'SELECT count(*) FROM "{name}"'))) for name in known},
            unpublished_events=int(str(one("SELECT count(*) FROM outbox WHERE published_at IS NULL"))) if "outbox" in tables else 0,
        )


@contextmanager
def _as_backup_error(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise BackupError(f"{what}: {error}; nothing was left there") from error
