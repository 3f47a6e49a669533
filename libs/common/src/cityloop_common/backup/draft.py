"""A folder that is there as a whole or not at all: it is written under another name and takes its own at the end."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cityloop_common.errors import CityLoopError

ROOM_LEFT_BYTES = 16 * 1024 * 1024  # what a disk must keep free besides the copies
Progress = Callable[[int, int | None, str], None]
"""Called with what is done, of how much, and what is being done."""


class BackupError(CityLoopError):
    """A backup that cannot be made, read or restored; the text says why and what is left (nothing)."""

    slug, status, title = "backup", 500, "Backup"


@contextmanager
def draft(target: Path, *, needs_bytes: int) -> Iterator[Path]:
    """A private folder beside `target` that becomes it when the body is done, and is gone when the body raises.

    A draft that a killed process left is removed. Raises BackupError when the target is there, when another process writes to
    it, and when the disk has not enough room.
    """
    partial = target.with_name(f".{target.name}.cityloop-partial")  # nobody else's name: what a killed one left is removed
    refuse_taken(target)
    with _as_backup_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_full(target.parent, needs_bytes)
        folder = _claim(partial)
        try:
            yield partial
            _sync_tree(partial)
            os.rename(partial, target)
            _sync(target.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            os.close(folder)


def refuse_taken(target: Path) -> None:
    """Raises BackupError when something is there that would be overwritten."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise BackupError(f"{target} is there already and is no folder")
    if target.is_dir() and any(target.iterdir()):
        raise BackupError(f"{target}/ is there already and not empty; nothing was written")
    if target.is_dir() and target.is_mount():
        raise BackupError(f"{target}/ is a mount point, which cannot be put in place at once: name a folder in it")


def megabytes(size: int) -> str:
    """For people, rounded up."""
    return f"{-(-size // 1_000_000)} MB"


def _refuse_full(parent: Path, needs_bytes: int) -> None:
    free = shutil.disk_usage(parent).free
    if free < needs_bytes + ROOM_LEFT_BYTES:
        raise BackupError(f"{parent}/ has {megabytes(free)} free, this needs {megabytes(needs_bytes + ROOM_LEFT_BYTES)}")


def _claim(partial: Path) -> int:
    """Makes the draft's folder and locks it for as long as its descriptor is open."""
    if _is_left_over(partial):
        shutil.rmtree(partial)
    partial.mkdir(mode=0o700)
    folder = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(partial).st_ino != os.fstat(folder).st_ino:
            raise BlockingIOError
    except OSError:
        os.close(folder)
        raise BackupError(f"another process writes {partial}/") from None
    return folder


def _is_left_over(partial: Path) -> bool:
    """Whether a draft is there that no process works on. Raises BackupError when one does."""
    with suppress(FileNotFoundError):
        folder = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another process writes {partial}/") from None
        finally:
            os.close(folder)
        return True
    return False


@contextmanager
def _as_backup_error(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"{target}: {error.strerror or error}; nothing was left there") from error


def _sync_tree(folder: Path) -> None:
    """Everything in it is on the disk before it gets its name."""
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
