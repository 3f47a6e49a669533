"""The nightly lines of docs/operations.md: old backups go only when a new one is there, and never the newest fourteen."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import date, timedelta
from pathlib import Path

from tests.observed import OPERATIONS

KEPT = 14
LAST = date(2026, 1, 31)


def _nightly(folder: Path) -> str:
    (found,) = re.findall(r"```sh\n(cityloop backup .*?)```", OPERATIONS.read_text(), re.DOTALL)
    assert "/backups/" in found
    return str(found).replace("/backups", str(folder / "backups")).replace("/var/lib/prometheus/node-exporter", str(folder))


def _night(folder: Path, cityloop: str) -> int:
    """Runs the lines with a `cityloop` that is this script."""
    program = folder / "bin" / "cityloop"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{cityloop}\n")
    program.chmod(0o755)
    given = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    return subprocess.run(["sh", "-c", _nightly(folder)], env=given, check=False, capture_output=True, timeout=60).returncode


def _backups(folder: Path, count: int) -> list[str]:
    """So many of so many nights, all made long ago, beside something that is no backup."""
    names = [str(LAST - timedelta(days=age)) for age in range(count)]
    for name in [*names, "kept-by-hand"]:
        (folder / "backups" / name).mkdir(parents=True)
        (folder / "backups" / name / "manifest.json").write_text("{}")
        os.utime(folder / "backups" / name, (0, 0))
    return sorted(names)


def test_a_night_without_a_backup_deletes_nothing(tmp_path: Path) -> None:
    """pg_dump gone, the disk full: whatever is there stays, and the scheduler is told."""
    names = _backups(tmp_path, 20)
    assert _night(tmp_path, "exit 1") == 1
    assert sorted(os.listdir(tmp_path / "backups")) == [*names, "kept-by-hand"]


def test_the_newest_are_kept_whatever_their_age(tmp_path: Path) -> None:
    """Fourteen with the new one; what somebody put there under another name is left alone."""
    names = _backups(tmp_path, 20)
    assert _night(tmp_path, 'mkdir "$2"') == 0
    left = sorted(set(os.listdir(tmp_path / "backups")) - {"kept-by-hand"})
    assert (len(left), left[:-1]) == (KEPT, names[-KEPT + 1 :])
    assert left[-1] > str(LAST)
    assert (tmp_path / "backups" / "kept-by-hand").exists()


def test_few_are_all_kept(tmp_path: Path) -> None:
    """However old."""
    names = _backups(tmp_path, 3)
    assert _night(tmp_path, 'mkdir "$2"') == 0
    assert set(names) < set(os.listdir(tmp_path / "backups"))
