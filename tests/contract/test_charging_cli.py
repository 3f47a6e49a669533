"""Charging's commands: what they print, what they refuse, and that secrets show once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cityloop_common.cli import build

Run = Callable[..., Result]
CSV = "station_id,latitude,longitude,fast,slow,count\n1,39.565,109.787,1,1,2\n2,39.566,109.788,0,3,3\n3,109.788,39.566,0,3,3\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`cityloop charging ...` on a migrated database of its own."""
    monkeypatch.setenv("CITYLOOP_VAR", str(tmp_path / "var"))
    app = build()

    def charging(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["charging", *arguments])

    assert charging("migrate").exit_code == 0
    return charging


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two stations of the city, and one whose coordinates are swapped."""
    path = tmp_path / "stations.csv"
    path.write_text(CSV)
    return path


def test_secrets_are_shown_when_issued_and_never_again(run: Run) -> None:
    """Not by the list; new ones end the old ones."""
    issued = json.loads(run("operator", "add", "999000001", "--name", "甲", "--strict-replay", "--json").stdout)
    assert (issued["operator_id"], issued["version"], issued["strict_replay"], issued["park_status"]) == ("999000001", 1, True, "unknown")
    secrets = [issued[name] for name in ("operator_secret", "data_secret", "data_iv", "sig_secret")]
    assert [len(each) for each in secrets] == [32, 16, 16, 32]
    listed = run("operator", "list", "--json").stdout
    assert [each["name"] for each in json.loads(listed)] == ["甲"]
    assert not any(each in listed for each in secrets)
    shown = run("operator", "rotate", "999000001").stdout
    assert "version 2" in shown
    assert not any(each in shown for each in secrets)


def test_an_operator_may_bring_its_own_secrets(run: Run) -> None:
    """All four, or none."""
    own = ("--operator-secret", "1234567890abcdef", "--data-secret", "1234567890abcdef", "--data-iv", "1234567890abcdef")
    refused = run("operator", "add", "123456789", "--name", "a", *own)
    assert (refused.exit_code, "four" in refused.stderr) == (2, True)
    issued = json.loads(run("operator", "add", "123456789", "--name", "a", *own, "--sig-secret", "1234567890abcdef", "--json").stdout)
    assert issued["data_secret"] == issued["sig_secret"] == "1234567890abcdef"


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (("operator", "add", "12345678", "--name", "a"), "9 capital letters and digits"),
        (("operator", "add", "000000000", "--name", "a"), "not known"),
        (("operator", "rotate", "123456789"), "No such operator"),
        (("link", "confirm", "123456789*1", "lot-1"), "No such charging station"),
        (("link", "confirm", "x", "lot-1"), "No such charging station"),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Run, arguments: tuple[str, ...], reason: str) -> None:
    """And exit status 1."""
    done = run(*arguments)
    assert done.exit_code == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_is_imported_once_and_its_bad_row_is_listed(run: Run, file: Path) -> None:
    """The second run changes nothing; a station's link can be confirmed by hand."""
    first = json.loads(run("import", str(file), "--format", "locations", "--datum", "wgs84", "--json").stdout)
    assert (first["read"], first["accepted"], first["unchanged"], first["evses"]) == (3, 2, 0, 5)
    assert [(each["row"], each["id"], "swapped" in each["reason"]) for each in first["rejected"]] == [(3, "3", True)]
    again = run("import", str(file), "--format", "locations", "--datum", "wgs84").stdout
    assert "read 3, accepted 0, unchanged 2, rejected 1" in again
    other = json.loads(run("import", str(file), "--format", "locations", "--datum", "wgs84", "--operator", "999000001", "--json").stdout)
    assert other["accepted"] == 2
    confirmed = json.loads(run("link", "confirm", "000000000*1", "lot-1", "--json").stdout)
    assert (confirmed["place_id"], confirmed["state"]) == ("lot-1", "confirmed")
    assert [each["by"] for each in json.loads(run("link", "list", "--state", "confirmed", "--json").stdout)] == ["command"]


@pytest.mark.parametrize(
    "options, code, reason",
    [
        ((), 1, "Coordinates need their datum"),
        (("--datum", "mars"), 1, "not known"),
        (("--datum", "twd97"), 1, "it would be inside as wgs84"),
        (("--datum", "wgs84", "--bounds", "113,22,115,23"), 1, "113..115 E, 22..23 N"),
        (("--datum", "wgs84", "--bounds", "115,22,113,23"), 2, "west and south first"),
        (("--datum", "wgs84", "--bounds", "a,b"), 2, "four numbers"),
        (("--datum", "wgs84", "--operator", "me"), 2, "9 capital letters and digits"),
    ],
)
def test_an_import_that_cannot_be_meant_is_refused(run: Run, file: Path, options: tuple[str, ...], code: int, reason: str) -> None:
    """With what would help; nothing is stored."""
    done = run("import", str(file), "--format", "locations", *options)
    assert done.exit_code == code
    assert reason in " ".join(done.stderr.split())
    assert "read 3, accepted 2" in run("import", str(file), "--format", "locations", "--datum", "wgs84").stdout


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(run: Run, tmp_path: Path) -> None:
    """One line each."""
    assert "No such file" in run("import", str(tmp_path / "none"), "--format", "locations", "--datum", "wgs84").stderr
    (tmp_path / "other").write_bytes(b"PK\x03\x04\xff")
    assert "cannot be read" in run("import", str(tmp_path / "other"), "--format", "locations", "--datum", "wgs84").stderr


def test_a_database_without_its_schema_says_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Never half a table."""
    monkeypatch.setenv("CITYLOOP_VAR", str(tmp_path / "elsewhere"))
    assert "cityloop charging migrate" in run("operator", "list").stderr
