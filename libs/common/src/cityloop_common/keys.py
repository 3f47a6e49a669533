"""Secrets that the embedded form makes for itself: one file each, readable by its owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from cityloop_common.rng import Rng
from cityloop_common.settings import SettingsError, SharedSettings

KEY_BYTES = 32


def key_for(name: str, given: str | None, shared: SharedSettings, rng: Rng) -> bytes:
    """The secret from the settings, else the one in `<var>/keys`, made at the first use.

    Raises SettingsError in production without a setting, for a short one, and for a file that is cut off or that others may read.
    """
    if given is not None:
        if len(given.encode()) < KEY_BYTES:
            raise SettingsError(f"the key {name} needs at least {KEY_BYTES} bytes")
        return given.encode()
    if shared.environment == "production":
        raise SettingsError(f"production needs the key {name} as a setting")
    path = shared.var / "keys" / name
    if not path.exists():
        _write_once(path, rng.stream(f"key/{name}").randbytes(KEY_BYTES))
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path} can be read by others: chmod 600 it, or delete it and a new key is made")
    key = path.read_bytes()
    if len(key) < KEY_BYTES:
        raise SettingsError(f"{path} is not a whole key: delete it and a new one is made")
    return key


def _write_once(path: Path, key: bytes) -> None:
    """Whole on the disk or not at all, and never over another process's key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
