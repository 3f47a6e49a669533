"""Puts a backup of the embedded form in place: looked through first, copied beside, named at the end."""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cityloop_common.backup import embedded
from cityloop_common.backup.draft import BackupError, Progress, draft, refuse_taken
from cityloop_common.backup.manifest import KEYS, Manifest, blocks, hashed, read_manifest, verify
from cityloop_common.eventlog.sqlite_file import VERSION as LOG_VERSION
from cityloop_common.migrating import revisions
from cityloop_common.service import Service


@dataclass(frozen=True, slots=True)
class Judged:
    """A backup that is whole. `older` are the services whose schema the next start brings up to date."""

    manifest: Manifest
    older: tuple[str, ...]


def judge(source: Path, services: Mapping[str, Service], progress: Progress) -> Judged:
    """Reads a whole backup: hashes, SQLite's own check, schemas that this version knows. Raises BackupError."""
    manifest = read_manifest(source)
    older = tuple(name for name in sorted(manifest.services) if _is_older(name, manifest, services))
    verify(source, manifest, progress)
    if manifest.engine == "sqlite":
        _judge_files(source, manifest)
    return Judged(manifest, older)


def restore(source: Path, judged: Judged, var: Path, progress: Progress) -> None:
    """Makes the folder of a city from a backup, whole or not at all. Raises BackupError.

    `var` must not be there, or be empty: nothing is overwritten.
    """
    refuse_running(var)
    refuse_taken(var)
    manifest, done = judged.manifest, 0
    with draft(var, needs_bytes=manifest.size_bytes) as folder:
        for each in manifest.files:
            target = folder / each.name
            target.parent.mkdir(mode=0o700, exist_ok=True)
            target.touch(mode=0o600)
            with target.open("wb") as file:
                for block in blocks(source / each.name):
                    file.write(block)
            if hashed(target, each.name) != each:
                raise BackupError(f"{source / each.name} changed while it was being read; nothing was left")
            done += each.size_bytes
            progress(done, manifest.size_bytes, f"copy {each.name}")


def refuse_running(var: Path) -> None:
    """Raises BackupError while a CityLoop runs on a folder."""
    lock = var / "lock"
    if not lock.is_file():
        return
    with lock.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"a CityLoop runs on {var}/; stop it, or restore into another folder with CITYLOOP_VAR") from None


def _is_older(name: str, manifest: Manifest, services: Mapping[str, Service]) -> bool:
    """Whether a service's schema lacks migrations of this version. Raises BackupError for one that this version does not know."""
    if name not in services:
        raise BackupError(f"the backup has the service {name!r}, which is not installed here")
    part, known = manifest.services[name], revisions(services[name].migrations)
    for table, revision in part.schemas.items():
        if revision not in known.get(table, ()):
            raise BackupError(f"{name}'s schema ({table} {revision}) is newer than this version: restore with CityLoop {manifest.version}")
    return any(part.schemas.get(table) != newest for table, (newest, *_) in known.items())


def _judge_files(source: Path, manifest: Manifest) -> None:
    names = {each.name for each in manifest.files}
    databases = [*(part.file for part in manifest.services.values()), embedded.LOG_FILE]
    if lacking := sorted(set(databases) - names):
        raise BackupError(f"{source}/ lacks {', '.join(lacking)}")
    if odd := sorted(name for name in names - set(databases) - set(embedded.MARKERS) if not name.startswith(f"{KEYS}/")):
        raise BackupError(f"{source}/ has {', '.join(odd)}, which no CityLoop writes")
    for name in databases:
        embedded.check(source / name)
    with closing(embedded.read_only(source / embedded.LOG_FILE)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > LOG_VERSION:
        raise BackupError(f"the event log's file has version {version}, this CityLoop knows {LOG_VERSION}")
