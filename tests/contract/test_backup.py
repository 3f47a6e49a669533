"""A backup is every file at one instant, whole or not at all; a restore overwrites nothing and believes nothing."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from cityloop_common.backup import BackupError, draft, embedded, restoring
from cityloop_common.backup.draft import megabytes
from cityloop_common.backup.manifest import hashed, read_manifest
from cityloop_common.clock import SystemClock
from cityloop_common.migrating import revisions, upgrade
from cityloop_common.service import installed_services
from cityloop_common.tables import kit_metadata
from cityloop_parking.service import SERVICE as PARKING
from tests.cli import Said, command
from tests.e2e.processes import CITYLOOP, environment
from tests.support import wait_until

SERVICES = {service.name: service for service in installed_services()}
FILES = ("a", "b", "c", "d")


def quiet(_done: int, _total: int | None, _note: str) -> None:
    return


# One instant.


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Threads take turns often, so that much happens between two statements of whoever makes the backup."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before_s)


def _written_in_turn(folder: Path, writer: int, stop: threading.Event) -> None:
    """Adds one to this writer's row in each file, one file after another: the next only when the one before is stored."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(closing(sqlite3.connect(folder / f"{name}.db", timeout=60, isolation_level=None)))
            for name in (*FILES, "log")
        ]
        for connection in connections:
            connection.execute("PRAGMA synchronous = OFF")  # quick steps: more of them fall between two files
        while not stop.is_set():
            for connection in connections:
                connection.execute("UPDATE turn SET n = n + 1 WHERE writer = ?", (writer,))


@contextmanager
def _turning(folder: Path, writers: int) -> Iterator[embedded.City]:
    """Writers that do not wait for whoever makes the backup: threads, as other processes would be."""
    for name in (*FILES, "log"):
        with closing(sqlite3.connect(folder / f"{name}.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN")
            connection.execute("CREATE TABLE turn (writer INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
            connection.execute("CREATE TABLE ballast (n INTEGER PRIMARY KEY, body BLOB NOT NULL)")
            connection.executemany("INSERT INTO turn VALUES (?, 0)", [(writer,) for writer in range(writers)])
            connection.executemany("INSERT INTO ballast (body) VALUES (randomblob(?))", [(4_000,)] * 500)
            connection.execute("COMMIT")
    stop = threading.Event()
    threads = [threading.Thread(target=_written_in_turn, args=(folder, writer, stop)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield embedded.City({}, {name: folder / f"{name}.db" for name in FILES}, folder / "log.db", folder, "none")
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def _turns(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM turn ORDER BY writer")]


async def _reaches(path: Path, turns: int) -> None:
    """Writers go on until a file shows so many turns."""
    await wait_until(lambda: sum(_turns(path)) >= turns, 30, what=f"{turns} turns in {path.name}")


async def test_a_backup_never_shows_an_effect_without_its_cause(tmp_path: Path, busy_threads: None) -> None:
    """Three writers write five files in turn: in every copy each file is at most one step behind the one before, and never ahead."""
    (tmp_path / "live").mkdir()
    seen: list[int] = []
    with _turning(tmp_path / "live", writers=3) as city:
        for number in range(10):
            known = seen[-1] if seen else 0
            await _reaches(tmp_path / "live" / "log.db", known + 20)
            instant = await embedded.take_instant(city, SystemClock())
            ahead = sum(_turns(tmp_path / "live" / "a.db")) + 20
            await _reaches(tmp_path / "live" / "a.db", ahead)
            copy = tmp_path / f"copy-{number}"
            instant.copy(copy, quiet)
            chains = list(zip(*(_turns(copy / f"{name}.db") for name in FILES), _turns(copy / embedded.LOG_FILE), strict=True))
            assert all(chain[0] - 1 <= chain[-1] and list(chain) == sorted(chain, reverse=True) for chain in chains), chains
            assert sum(chain[0] for chain in chains) < ahead, "the copy is of the instant, not of when it was made"
            seen.append(sum(chain[-1] for chain in chains))
    assert seen == sorted(seen)


async def test_a_writer_that_never_ends_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an instant there is no backup, and nobody else waits for it meanwhile."""
    monkeypatch.setattr(embedded, "TRIES", 2)
    monkeypatch.setattr(embedded, "LOCK_WITHIN_S", 0.05)
    with _turning(tmp_path, writers=1) as city:
        with closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as stuck:
            stuck.execute("BEGIN IMMEDIATE")
            with pytest.raises(BackupError, match="stuck in a write"):
                await embedded.take_instant(city, SystemClock())
            stuck.execute("ROLLBACK")
        await _reaches(tmp_path / "log.db", sum(_turns(tmp_path / "log.db")) + 1)


class Opened(SystemClock):
    """Whoever had a file to itself leaves it when the backup waits for the first time; `waits` counts."""

    def __init__(self, owner: sqlite3.Connection) -> None:
        super().__init__()
        self.owner, self.waits = owner, 0

    async def sleep(self, seconds: float) -> None:
        self.waits += 1
        self.owner.close()
        await super().sleep(0)


async def test_a_file_that_is_just_being_opened_is_waited_for(tmp_path: Path) -> None:
    """A process that opens or leaves a file has it to itself for a moment: the backup comes again, and holds no snapshot meanwhile."""
    with _turning(tmp_path, writers=0) as city, closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as owner:
        owner.execute("PRAGMA locking_mode = EXCLUSIVE")
        owner.execute("INSERT INTO turn VALUES (0, 7)")
        clock = Opened(owner)
        instant = await embedded.take_instant(city, clock)
        assert clock.waits == 1
        instant.copy(tmp_path / "copy", quiet)
        assert _turns(tmp_path / "copy" / "c.db") == [7]


# Whole or not at all.


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small city that stands still: a migrated folder without a sample."""
    folder = tmp_path_factory.mktemp("city")
    done = command({"CITYLOOP_VAR": str(folder / "var")}, folder, "migrate")
    assert done.returncode == 0, done.stderr
    keys = folder / "var" / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    (keys / "hash").write_bytes(b"k" * 32)
    (keys / "hash").chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def backup(city: Path) -> Path:
    """A backup of it; a test that changes it takes a copy."""
    done = command(_settings(city), city, "backup", "backup")
    assert done.returncode == 0, done.stderr
    return city / "backup"


def _settings(folder: Path) -> dict[str, str]:
    return {"CITYLOOP_VAR": str(folder / "var")}


def test_a_backup_holds_everything_and_only_its_owner_can_read_it(city: Path, backup: Path) -> None:
    """Databases, log and keys; plain files that nobody else may open; the manifest tells schemas and journals."""
    manifest = read_manifest(backup)
    names = [each.name for each in manifest.files]
    assert names[:4] == ["charging.db", "parking.db", "waste.db", "events.db"]
    assert {"keys/hash", *names} == {str(path.relative_to(backup)) for path in backup.rglob("*") if path.is_file()} - {"manifest.json"}
    assert {path.stat().st_mode & 0o077 for path in (backup, *backup.rglob("*")) if path.name != "manifest.json"} == {0}
    for name, part in manifest.services.items():
        assert part.schemas["service_version"] == revisions(SERVICES[name].migrations)["service_version"][0]
    assert set(manifest.services["waste"].journal_rows) == {"generation_estimate", "load", "plan_version"}
    assert manifest.taken_at == manifest.known_at


def test_what_is_there_is_not_overwritten(city: Path, backup: Path, tmp_path: Path) -> None:
    """Neither an older backup, nor a file, nor a city."""
    before = (backup / "manifest.json").read_bytes()
    (tmp_path / "file").write_text("mine")
    for dest in (backup, tmp_path / "file"):
        done = command(_settings(city), tmp_path, "backup", str(dest))
        assert (done.returncode, "is there already" in done.stderr) == (1, True), done.stderr
    done = command(_settings(city), tmp_path, "restore", str(backup))
    assert (done.returncode, "not empty" in done.stderr) == (1, True), done.stderr
    assert ((backup / "manifest.json").read_bytes(), (tmp_path / "file").read_text()) == (before, "mine")


def test_a_full_disk_leaves_no_half_backup(city: Path, tmp_path: Path) -> None:
    """Seen beforehand, or in the middle of a file: one line says so, and nothing is there."""

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    arguments, given = [str(CITYLOOP), "backup", "full"], environment(_settings(city))
    done = subprocess.run(arguments, env=given, cwd=tmp_path, capture_output=True, text=True, preexec_fn=small_files, check=False)
    assert done.returncode == 1
    assert "nothing was left there" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_seen_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is there and what is needed."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=20_000_000))
    with pytest.raises(BackupError, match=r"has 20 MB free, this needs 27 MB"), draft.draft(tmp_path / "dest", needs_bytes=10_000_000):
        pytest.fail("the body must not run")
    assert list(tmp_path.iterdir()) == []
    assert megabytes(1) == "1 MB"


def test_a_backup_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    """Whatever ends the body; and what a killed process left is cleared by the next one."""
    with pytest.raises(KeyboardInterrupt), draft.draft(tmp_path / "dest", needs_bytes=0) as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".dest.cityloop-partial").mkdir()
    (tmp_path / ".dest.cityloop-partial" / "half").write_text("half")
    with draft.draft(tmp_path / "dest", needs_bytes=0) as folder:
        with pytest.raises(BackupError, match="another process"), draft.draft(tmp_path / "dest", needs_bytes=0):
            pytest.fail("two write one draft")
        (folder / "whole").write_text("whole")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["dest", "dest/whole"]


def test_sigterm_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    """A backup that a scheduler ends takes its draft along."""
    folder = tmp_path / "var"
    done = command({"CITYLOOP_VAR": str(folder)}, tmp_path, "migrate")
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(folder / "waste.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE ballast (n INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO ballast (body) VALUES (zeroblob(?))", [(1_000_000,)] * 100)
        connection.execute("COMMIT")
    arguments, given = [str(CITYLOOP), "backup", "dest"], environment({"CITYLOOP_VAR": str(folder)})
    with subprocess.Popen(arguments, env=given, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        while not (tmp_path / ".dest.cityloop-partial" / "waste.db").exists():
            assert running.poll() is None, "it ended before it was stopped"
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
    assert (running.returncode, "nothing was left" in said) == (130, True), said
    assert [path.name for path in tmp_path.iterdir()] == ["var"]


# A restore believes nothing.


def _restored(source: Path, folder: Path) -> Said:
    return command({"CITYLOOP_VAR": str(folder / "restored" / "var")}, folder, "restore", str(source))


def test_a_restored_city_is_the_same_files(backup: Path, tmp_path: Path) -> None:
    """Byte by byte, also keys, and only its owner can read them."""
    done = _restored(backup, tmp_path)
    assert done.returncode == 0, done.stderr
    var = tmp_path / "restored" / "var"
    for each in read_manifest(backup).files:
        assert (var / each.name).read_bytes() == (backup / each.name).read_bytes()
        assert (var / each.name).stat().st_mode & 0o077 == 0
    assert not (var / "manifest.json").exists()
    assert command({"CITYLOOP_VAR": str(var)}, tmp_path, "doctor").returncode == 0


def _flipped(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(bytes(body))


def _told(path: Path, **changes: object) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def _escapes(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["files"][0]["name"] = "../charging.db"
    (path / "manifest.json").write_text(json.dumps(manifest))


def _newer(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["services"]["parking"]["schemas"]["service_version"] = "9999"
    (path / "manifest.json").write_text(json.dumps(manifest))


def _another(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["services"]["trams"] = manifest["services"]["waste"]
    (path / "manifest.json").write_text(json.dumps(manifest))


def _damaged_and_signed(path: Path) -> None:
    """A damage that the backup was made with: its hash is right."""
    body = bytearray((path / "waste.db").read_bytes())
    body[4096:4200] = b"\xff" * 104
    (path / "waste.db").write_bytes(bytes(body))
    manifest = json.loads((path / "manifest.json").read_bytes())
    entry = hashed(path / "waste.db", "waste.db").model_dump()
    manifest["files"] = [entry if each["name"] == "waste.db" else each for each in manifest["files"]]
    (path / "manifest.json").write_text(json.dumps(manifest))


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a database with another bit": (lambda path: _flipped(path / "parking.db"), "parking.db is not what was backed up"),
    "a log with another bit": (lambda path: _flipped(path / "events.db"), "events.db is not what was backed up"),
    "another key": (lambda path: _flipped(path / "keys" / "hash"), "keys/hash is not what was backed up"),
    "a database that is cut off": (lambda path: os.truncate(path / "waste.db", 8192), "8192 bytes"),
    "a database that is missing": (lambda path: (path / "charging.db").unlink(), "No such file"),
    "a damaged database": (_damaged_and_signed, "waste.db is damaged"),
    "no manifest": (lambda path: (path / "manifest.json").unlink(), "is no backup"),
    "half a manifest": (lambda path: os.truncate(path / "manifest.json", 200), "cut off"),
    "a format of later": (lambda path: _told(path, format=2), "newer CityLoop"),
    "a file outside": (_escapes, "lies in its folder"),
    "a schema of later": (_newer, "9999) is newer than this version"),
    "a service that is not installed": (_another, "'trams', which is not installed"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_backup_that_is_not_whole_is_refused(fault: str, backup: Path, tmp_path: Path) -> None:
    """The text names what is wrong; it is found before anything is written."""
    break_it, said = FAULTS[fault]
    shutil.copytree(backup, tmp_path / "broken")
    break_it(tmp_path / "broken")
    with pytest.raises(BackupError) as refused:
        restoring.judge(tmp_path / "broken", SERVICES, quiet)
    assert said in str(refused.value)


def test_a_backup_that_changes_while_it_is_restored_leaves_nothing(backup: Path, tmp_path: Path) -> None:
    """What was looked through and what was copied are the same bytes, or there is no city."""
    shutil.copytree(backup, tmp_path / "broken")
    judged = restoring.judge(tmp_path / "broken", SERVICES, quiet)
    _flipped(tmp_path / "broken" / "events.db")
    with pytest.raises(BackupError, match="changed while it was being read"):
        restoring.restore(tmp_path / "broken", judged, tmp_path / "var", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_a_refused_restore_is_one_line_and_leaves_nothing(backup: Path, tmp_path: Path) -> None:
    """On the command line, with and without writing."""
    shutil.copytree(backup, tmp_path / "broken")
    _flipped(tmp_path / "broken" / "parking.db")
    for done in (_restored(tmp_path / "broken", tmp_path), command({}, tmp_path, "restore", "--check", "broken")):
        assert (done.returncode, "parking.db is not what was backed up" in done.stderr) == (1, True), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_a_running_city_is_not_restored_over(backup: Path, tmp_path: Path) -> None:
    """Its lock says that it runs; so does a folder that is not empty."""
    var = tmp_path / "restored" / "var"
    var.mkdir(parents=True)
    with (var / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = _restored(backup, tmp_path)
    assert (running.returncode, "a CityLoop runs on" in running.stderr) == (1, True), running.stderr
    assert [path.name for path in var.iterdir()] == ["lock"]
    (var / "lock").unlink()
    assert _restored(backup, tmp_path).returncode == 0, "an empty folder may be there"


def test_settings_that_look_elsewhere_are_refused(backup: Path, tmp_path: Path) -> None:
    """Otherwise an empty city would start beside the restored one."""
    for name in ("CITYLOOP_WASTE_DATABASE_URL", "CITYLOOP_EVENT_LOG_URL"):
        done = command({"CITYLOOP_VAR": str(tmp_path / "var"), name: f"sqlite:///{tmp_path}/x.db"}, tmp_path, "restore", str(backup))
        assert (done.returncode, name in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "var").exists()


@pytest.fixture
def older(city: Path, tmp_path: Path) -> Path:
    """A backup of a city whose parking has the first release's schema."""
    shutil.copytree(city / "var", tmp_path / "older" / "var")
    file = tmp_path / "older" / "var" / "parking.db"
    for path in file.parent.glob("parking.db*"):
        path.unlink()
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        upgrade(connection, "cityloop_common.migrations", "kit_version", kit_metadata, to="0001")
        upgrade(connection, PARKING.migrations, "service_version", PARKING.metadata, to="0001")
        connection.commit()
    engine.dispose()
    done = command(_settings(tmp_path / "older"), tmp_path, "backup", "old")
    assert done.returncode == 0, done.stderr
    return tmp_path / "old"


def test_an_older_schema_is_restored_and_upgraded(older: Path, tmp_path: Path) -> None:
    """It says so; migrating makes the present schema."""
    done = _restored(older, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "older schema of parking" in done.stderr
    settings = {"CITYLOOP_VAR": str(tmp_path / "restored" / "var")}
    assert "parking: schema brought up to date" in command(settings, tmp_path, "migrate").stdout
    assert command(settings, tmp_path, "doctor").returncode == 0


# What a scheduler sees.


def test_the_last_backup_is_told_to_prometheus(city: Path, tmp_path: Path) -> None:
    """The instant that the backup shows, in a file that is never half-written."""
    done = command(_settings(city), tmp_path, "backup", "dest", "--metrics-file", str(tmp_path / "cityloop.prom"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "dest" / "manifest.json").read_bytes())
    lines = dict(line.split() for line in (tmp_path / "cityloop.prom").read_text().splitlines() if not line.startswith("#"))
    assert float(lines["backup_last_success_timestamp_seconds"]) == pytest.approx(
        read_manifest(tmp_path / "dest").taken_at.timestamp(), abs=1
    )
    assert float(lines["backup_last_size_bytes"]) == read_manifest(tmp_path / "dest").size_bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cityloop.prom", "dest"]


def test_nothing_to_back_up_is_said(tmp_path: Path) -> None:
    """A wrong folder makes no empty backup."""
    done = command({"CITYLOOP_VAR": str(tmp_path / "nowhere")}, tmp_path, "backup", "dest")
    assert (done.returncode, "has CityLoop run here?" in done.stderr) == (1, True), done.stderr
    assert list(tmp_path.iterdir()) == []
