"""`cityloop waste solve`: what it prints and writes, and how it ends on files that are no instance."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from cityloop_waste.cli import app
from cityloop_waste.planning import solver

INSTANCE = Path("waste") / "cvrplib" / "X-n101-k25.vrp"
KEYS = ["vehicles", "cost", "gap_percent", "bound", "unserved", "verified", "faults", "seconds", "peak_mb"]
FAMILIES = {
    "cvrplib": (INSTANCE, 27591, 12),
    "vrptw": (Path("waste") / "vrptw" / "RC2_10_5.vrp", 25797.5, 150),
    "kim2006": (Path("waste") / "kim2006" / "102_stop.txt", 150.51, 70),
}
TINY = "NAME : tiny\nTYPE : CVRP\nDIMENSION : 4\nCAPACITY : 9\nEDGE_WEIGHT_TYPE : EUC_2D\nNODE_COORD_SECTION\n1 0 0\n2 3 4\n3 6 8\n4 9 12\n"
TINY += "DEMAND_SECTION\n1 0\n2 5\n3 4\n4 3\nDEPOT_SECTION\n1\n-1\nEOF\n"


def solve(*arguments: str, format: str = "cvrplib") -> Result:
    """The command to its end, in this process; the solver runs in one of its own."""
    return CliRunner().invoke(app, ["solve", *arguments, "--format", format])


def refusal(done: Result) -> str:
    """The one line that a refused file ends with; nothing else is printed."""
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    return done.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checked_plan_and_its_gap_are_printed(data_dir: Path, tmp_path: Path, family: str) -> None:
    """Two seconds of a public instance of each kind: JSON with every field, a plan that is accepted again, a drawing."""
    path, best, within = FAMILIES[family]
    out, drawn = tmp_path / "plan.json", tmp_path / "plan.svg"
    options = ("--seconds", "2", "--best", str(best), "--json", "--plan-out", str(out), "--plot", str(drawn))
    done = solve(str(data_dir / path), *options, format=family)
    assert done.exit_code == 0, done.stderr
    told = orjson.loads(done.stdout)
    assert list(told) == KEYS
    assert (told["unserved"], told["verified"], told["faults"], told["bound"]) == (0, True, [], None)
    assert told["gap_percent"] == pytest.approx((told["cost"] - best) / best * 100, abs=0.0001)
    assert 0 <= told["gap_percent"] < within
    assert 20 < told["peak_mb"] < 1000
    again = CliRunner().invoke(app, ["verify", str(data_dir / path), str(out), "--format", family, "--json"])
    assert again.exit_code == 0, again.stderr
    verdict = orjson.loads(again.stdout)
    assert {key: verdict[key] for key in ("vehicles", "cost", "unserved", "faults")} == {
        key: told[key] for key in ("vehicles", "cost", "unserved", "faults")
    }
    assert drawn.read_text().startswith("<svg ")


def test_without_a_best_known_there_is_no_gap(tmp_path: Path) -> None:
    """null, not 0: nobody said what it should be compared with."""
    (tmp_path / "tiny.vrp").write_text(TINY)
    told = orjson.loads(solve(str(tmp_path / "tiny.vrp"), "--seconds", "1", "--json").stdout)
    assert (told["gap_percent"], told["cost"], told["vehicles"]) == (None, 40, 2)


def test_a_bound_is_proven_where_it_is_asked_for(tmp_path: Path) -> None:
    """Never above the plan; people read how far at most the plan is from any."""
    (tmp_path / "tiny.vrp").write_text(TINY)
    file = str(tmp_path / "tiny.vrp")
    told = orjson.loads(solve(file, "--seconds", "1", "--bound-seconds", "1", "--json").stdout)
    assert 0 < told["bound"] <= told["cost"]
    assert "proven gap " in solve(file, "--seconds", "1", "--bound-seconds", "1").stdout


def test_what_is_left_out_is_counted_and_told(tmp_path: Path) -> None:
    """One vehicle of nine for twelve: the plan is checked, and says who it leaves out."""
    (tmp_path / "tiny.vrp").write_text(TINY)
    file, out = str(tmp_path / "tiny.vrp"), tmp_path / "plan.json"
    done = solve(file, "--seconds", "1", "--vehicles", "1", "--json", "--plan-out", str(out))
    assert done.exit_code == 0, done.stderr
    told = orjson.loads(done.stdout)
    assert (told["vehicles"], told["unserved"], told["verified"]) == (1, 1, True)
    assert [each["reason"] for each in orjson.loads(out.read_bytes())["unserved"]] == ["not-reached"]
    assert "1 stop left out: " in solve(file, "--seconds", "1", "--vehicles", "1").stdout


@pytest.fixture
def solver_of_ours(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the command use a solver of this module."""
    root = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", str(root))

    def use(name: str) -> None:
        monkeypatch.setattr(solver, "SOLVE_FILE", f"tests.unit.waste.test_solve_command:{name}")

    return use


def dropping(payload: Mapping[str, object], progress: Callable[[object], bool]) -> Mapping[str, object]:
    """A solver that loses a customer and does not say so."""
    return TOLD | {"routes": [[1], [3]], "cost": 40}


def boasting(payload: Mapping[str, object], progress: Callable[[object], bool]) -> Mapping[str, object]:
    """A solver whose cost is not what its routes cost."""
    return TOLD | {"cost": 39}


def dying(payload: Mapping[str, object], progress: Callable[[object], bool]) -> Mapping[str, object]:
    """A solver that ends in the midst of its search, after its first plan."""
    progress(TOLD)
    os._exit(9)


def raising(payload: Mapping[str, object], progress: Callable[[object], bool]) -> Mapping[str, object]:
    """A solver with an error."""
    progress(TOLD)
    raise ValueError("no such thing")


TOLD = {"phase": "search", "routes": [[1], [2, 3]], "unserved": [], "cost": 40, "bound": None, "engines": [], "peak_mb": 1.0}


@pytest.mark.parametrize(
    "name, fault",
    [("dropping", "customer 2 is served 0 times"), ("boasting", "the cost is told as 39, it is 40")],
)
def test_a_plan_with_a_fault_is_never_accepted(tmp_path: Path, solver_of_ours: Callable[[str], None], name: str, fault: str) -> None:
    """A solver that drops a stop in silence, or boasts: exit status 1, the fault is named, and no plan is written."""
    solver_of_ours(name)
    (tmp_path / "tiny.vrp").write_text(TINY)
    out = tmp_path / "plan.json"
    done = solve(str(tmp_path / "tiny.vrp"), "--seconds", "1", "--json", "--plan-out", str(out))
    assert done.exit_code == 1
    told = orjson.loads(done.stdout)
    assert (told["verified"], told["faults"]) == (False, [fault])
    assert "the plan breaks 1 rule; it is not written" in done.stderr
    assert not out.exists()


def test_a_solver_that_dies_leaves_the_plan_that_it_told_last(tmp_path: Path, solver_of_ours: Callable[[str], None]) -> None:
    """It is checked and printed, and people are told why it is no better."""
    solver_of_ours("dying")
    (tmp_path / "tiny.vrp").write_text(TINY)
    done = solve(str(tmp_path / "tiny.vrp"), "--seconds", "1", "--json")
    assert done.exit_code == 0
    assert (orjson.loads(done.stdout)["cost"], orjson.loads(done.stdout)["verified"]) == (40, True)
    assert "What it told last is taken." in done.stderr


def test_an_error_of_the_solver_is_not_covered_up(tmp_path: Path, solver_of_ours: Callable[[str], None]) -> None:
    """Even with a plan told before: one line, exit status 1, nothing printed as a result."""
    solver_of_ours("raising")
    (tmp_path / "tiny.vrp").write_text(TINY)
    done = solve(str(tmp_path / "tiny.vrp"), "--seconds", "1", "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "ValueError: no such thing" in done.stderr


@pytest.mark.parametrize("kept", [9, 60, 150, 211])
def test_a_truncated_file_ends_with_its_line_and_two(data_dir: Path, tmp_path: Path, kept: int) -> None:
    """Cut in the coordinates, in the demands, before the depot: the last line is named."""
    (tmp_path / "cut.vrp").write_text("\n".join((data_dir / INSTANCE).read_text().splitlines()[:kept]))
    assert f"line {kept}: " in refusal(solve(str(tmp_path / "cut.vrp"), "--json"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", b"id,lon,lat\n1,2,3\n", b'{"a": 1}', b"[/red] x", b"\x00\x00\x00", b"nan\n"])
def test_a_foreign_file_ends_with_its_line_and_two(tmp_path: Path, content: bytes, family: str) -> None:
    """Binary, CSV, JSON, a console's mark-up: the first line says no."""
    (tmp_path / "foreign.vrp").write_bytes(content)
    assert "line 1: " in refusal(solve(str(tmp_path / "foreign.vrp"), format=family))


def test_an_empty_file_and_a_missing_one_end_with_two(tmp_path: Path) -> None:
    """Nothing to read, nothing there, a folder, more than is read; and nowhere to write to, before anything is searched."""
    (tmp_path / "empty.vrp").write_bytes(b"")
    assert "line 0: " in refusal(solve(str(tmp_path / "empty.vrp")))
    assert "No such file" in refusal(solve(str(tmp_path / "missing.vrp")))
    assert "directory" in refusal(solve(str(tmp_path)))
    (tmp_path / "huge.vrp").write_bytes(b"NAME : x\n" * 500_000)
    assert "at most 4 MB" in refusal(solve(str(tmp_path / "huge.vrp")))
    (tmp_path / "tiny.vrp").write_text(TINY)
    assert "no such directory" in refusal(solve(str(tmp_path / "tiny.vrp"), "--plot", str(tmp_path / "nowhere" / "a.svg")))
    assert "is a directory" in refusal(solve(str(tmp_path / "tiny.vrp"), "--plan-out", str(tmp_path)))
