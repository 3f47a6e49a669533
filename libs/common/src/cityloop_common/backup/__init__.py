"""Backup and restore: every file of a city as it was at one instant, whole or not at all.

`embedded` and `postgres` take the copies, `restoring` puts them back, `manifest` says what is in a backup, `draft` is the
folder that takes its name only at the end.
"""

from __future__ import annotations

from cityloop_common.backup.draft import BackupError
from cityloop_common.backup.manifest import Manifest, read_manifest

__all__ = ["BackupError", "Manifest", "read_manifest"]
