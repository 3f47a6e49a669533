"""What a backup holds: the instant, the files with their hashes, the schemas, and how many rows each journal has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import MetaData

from cityloop_common.backup.draft import BackupError, Progress

NAME = "manifest.json"
KEYS = "keys"
_AT_ONCE = 1 << 20
_JOURNAL_COLUMNS = {"id", "happened_at", "recorded_at", "source"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FileEntry(_Part):
    """One file of a backup, by its path in it."""

    name: str
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("name")
    @classmethod
    def stays_inside(cls, name: str) -> str:
        """A plain name, or a plain name in `keys/`."""
        parts = PurePosixPath(name).parts
        plain = name == "/".join(parts) and not {"..", "."} & set(parts) and not name.startswith("/")
        if not plain or len(parts) > 2 or (len(parts) == 2 and parts[0] != KEYS):
            raise ValueError("a file of a backup lies in its folder")
        return name


class ServicePart(_Part):
    """What a backup holds of one service: the migrations that its database has, and the rows of its journals."""

    file: str
    schemas: dict[str, str]
    journal_rows: dict[str, int]
    unpublished_events: int


class Manifest(_Part):
    """`taken_at`: every unit committed by then is in it, and none that tells an event later. `known_at`: no row is missing under it.

    On PostgreSQL a unit that was open at `taken_at` is missing though its rows were recorded before, and rows that nobody is
    told of may be of the moment in which the snapshots were taken, milliseconds after it. `files` stand in the order in which
    they were copied.
    """

    format: Literal[1] = 1
    version: str
    engine: Literal["sqlite", "postgresql"]
    taken_at: datetime
    known_at: datetime
    districts: str
    services: dict[str, ServicePart]
    files: list[FileEntry]

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(each.size_bytes for each in self.files)

    def write(self, folder: Path) -> None:
        """The last file that a backup gets."""
        (folder / NAME).write_text(self.model_dump_json(indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """What a backup says that it is. Raises BackupError."""
    try:
        text = (folder / NAME).read_bytes()
    except OSError as error:
        raise BackupError(f"{folder}/ is no backup: {NAME}: {error.strerror}") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise BackupError(f"{folder / NAME}: {where}: {fault['msg']}; is it of a newer CityLoop, or cut off?") from error


def hashed(path: Path, name: str) -> FileEntry:
    """A file as a manifest names it."""
    digest, size = hashlib.sha256(), 0
    for block in blocks(path):
        digest.update(block)
        size += len(block)
    return FileEntry(name=name, size_bytes=size, sha256=digest.hexdigest())


def verify(folder: Path, manifest: Manifest, progress: Progress) -> None:
    """Reads every file. Raises BackupError for one that is missing, longer, shorter or other than it was."""
    done = 0
    for each in manifest.files:
        try:
            found = hashed(folder / each.name, each.name)
        except OSError as error:
            raise BackupError(f"{folder / each.name}: {error.strerror}") from error
        if found != each:
            raise BackupError(f"{folder / each.name} is not what was backed up: {found.size_bytes} bytes, SHA-256 {found.sha256}")
        done += each.size_bytes
        progress(done, manifest.size_bytes, f"read {each.name}")


def journals(metadata: MetaData) -> list[str]:
    """The tables of facts of a service, by name."""
    return sorted(table.name for table in metadata.tables.values() if {column.name for column in table.columns} >= _JOURNAL_COLUMNS)


def blocks(path: Path) -> Iterator[bytes]:
    """A file in pieces."""
    with path.open("rb") as file:
        while block := file.read(_AT_ONCE):
            yield block
