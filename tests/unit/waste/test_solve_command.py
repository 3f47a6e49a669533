"""`cityloop waste solve`: what it prints, and how it ends on files that are no instance."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from cityloop_waste.cli import app

INSTANCE = Path("waste") / "cvrplib" / "X-n101-k25.vrp"


def solve(*arguments: str) -> Result:
    """The command to its end, in this process; the solver runs in one of its own."""
    return CliRunner().invoke(app, ["solve", *arguments, "--format", "cvrplib"])


def refusal(done: Result) -> str:
    """The one line that a refused file ends with; nothing else is printed."""
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    return done.stderr


def test_a_checked_plan_and_its_gap_are_printed(data_dir: Path) -> None:
    """Two seconds of a public instance: JSON with every field, within a band of the best known."""
    done = solve(str(data_dir / INSTANCE), "--seconds", "2", "--best", "27591", "--json")
    assert done.exit_code == 0, done.stderr
    told = orjson.loads(done.stdout)
    assert list(told) == ["vehicles", "cost", "gap_percent", "unserved", "verified", "seconds"]
    assert (told["unserved"], told["verified"]) == (0, True)
    assert told["gap_percent"] == pytest.approx((told["cost"] - 27591) / 275.91, abs=0.001)
    assert 0 <= told["gap_percent"] < 12


def test_without_a_best_known_there_is_no_gap(data_dir: Path) -> None:
    """null, not 0: nobody said what it should be compared with."""
    done = solve(str(data_dir / INSTANCE), "--seconds", "1", "--json")
    assert orjson.loads(done.stdout)["gap_percent"] is None


@pytest.mark.parametrize("kept", [9, 60, 150, 211])
def test_a_truncated_file_ends_with_its_line_and_two(data_dir: Path, tmp_path: Path, kept: int) -> None:
    """Cut in the coordinates, in the demands, before the depot: the last line is named."""
    (tmp_path / "cut.vrp").write_text("\n".join((data_dir / INSTANCE).read_text().splitlines()[:kept]))
    assert f"line {kept}: " in refusal(solve(str(tmp_path / "cut.vrp"), "--json"))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", b"id,lon,lat\n1,2,3\n", b'{"a": 1}', b"[/red] x"])
def test_a_foreign_file_ends_with_its_line_and_two(tmp_path: Path, content: bytes) -> None:
    """Binary, CSV, JSON, a console's mark-up: the first line says no."""
    (tmp_path / "foreign.vrp").write_bytes(content)
    assert "line 1: " in refusal(solve(str(tmp_path / "foreign.vrp")))


def test_an_empty_file_and_a_missing_one_end_with_two(tmp_path: Path) -> None:
    """Nothing to read, and nothing there."""
    (tmp_path / "empty.vrp").write_bytes(b"")
    assert "line 0: " in refusal(solve(str(tmp_path / "empty.vrp")))
    assert "No such file" in refusal(solve(str(tmp_path / "missing.vrp")))
    assert "directory" in refusal(solve(str(tmp_path)))
