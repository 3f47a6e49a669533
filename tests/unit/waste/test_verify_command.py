"""`cityloop waste verify`: plans made elsewhere are judged from the file, whatever form they have."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from cityloop_waste.cli import app

FILE = "NAME : tiny\nTYPE : CVRP\nDIMENSION : 4\nCAPACITY : 9\nEDGE_WEIGHT_TYPE : EUC_2D\nNODE_COORD_SECTION\n1 0 0\n2 3 4\n3 6 8\n4 9 12\n"
FILE += "DEMAND_SECTION\n1 0\n2 5\n3 4\n4 3\nDEPOT_SECTION\n1\n-1\nEOF\n"
KIM = '20\n50\n9\n3600\n40\nid x y early late "service" load type\n'
KIM += "0 0 0 800 1700 0 9999 0\n1 5280 0 0 2400 600 9999 2\n2 0 5280 0 2400 60 5 1\n"


def verify(tmp_path: Path, plan: str | bytes, *options: str, format: str = "cvrplib") -> Result:
    """The command on a tiny file."""
    (tmp_path / "file").write_text(KIM if format == "kim2006" else FILE)
    (tmp_path / "plan").write_bytes(plan if isinstance(plan, bytes) else plan.encode())
    return CliRunner().invoke(app, ["verify", str(tmp_path / "file"), str(tmp_path / "plan"), "--format", format, *options])


@pytest.mark.parametrize(
    "plan",
    [
        "Route #1: 1 2\nRoute #2: 3\nCost 50\n",
        "Route #1 : 1 2\n\nRoute #2 : 3\nCost 50.0\nmade by hand\n",
        '{"routes": [[1, 2], [3]]}',
        ' {"format": "cvrplib", "instance": "tiny", "unit": "units", "vehicles": 2, "cost": 50, "routes": [[1, 2], [3]], "unserved": []}',
    ],
)
def test_a_good_plan_is_accepted(tmp_path: Path, plan: str) -> None:
    """A `.sol` file and JSON, with as much as there must be and as much as there may be."""
    done = verify(tmp_path, plan, "--json", "--best", "40")
    assert done.exit_code == 0, done.stderr
    assert orjson.loads(done.stdout) == {
        "vehicles": 2,
        "cost": 50,
        "gap_percent": 25.0,
        "unserved": 0,
        "verified": True,
        "faults": [],
    }


def test_each_broken_rule_is_printed_and_ends_with_one(tmp_path: Path) -> None:
    """Load, a missing customer, a cost that is not the routes'."""
    done = verify(tmp_path, "Route #1: 1 2 2\nCost 21\n", "--json")
    assert done.exit_code == 1
    assert "the plan breaks 4 rules" in done.stderr
    told = orjson.loads(done.stdout)
    assert (told["verified"], told["unserved"], told["cost"]) == (False, 1, 20)
    assert told["faults"] == [
        "customer 2 is served 2 times",
        "customer 3 is served 0 times",
        "route 1 carries 13, 9 allowed",
        "the cost is told as 21, it is 20",
    ]
    people = verify(tmp_path, "Route #1: 1 2 2\nCost 21\n")
    assert "it breaks 4 rules\n  customer 2 is served 2 times\n" in people.stdout


def test_places_that_the_file_has_not_leave_the_cost_unknown(tmp_path: Path) -> None:
    """null, not a number that means nothing; the drawing passes them over."""
    done = verify(tmp_path, '{"routes": [[1, 2], [3, 77]]}', "--json", "--plot", str(tmp_path / "a.svg"))
    assert done.exit_code == 1
    told = orjson.loads(done.stdout)
    assert (told["cost"], told["faults"]) == (None, ["customer 77 is not in the file"])
    assert "customer 77 is not in the file" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize("plan", ["Route #1: 2 1\n", "Route #1: 2 1\nCost 4.00\n", '{"routes": [[2, 1]], "cost": 4.0}'])
def test_a_plan_of_kims_files_names_unload_sites_too(tmp_path: Path, plan: str) -> None:
    """By the numbers of the file's rows; its `.sol` need not tell a cost."""
    done = verify(tmp_path, plan, "--json", format="kim2006")
    assert done.exit_code == 0, done.stdout
    assert orjson.loads(done.stdout)["cost"] == 4.0


@pytest.mark.parametrize(
    "plan, told",
    [
        ("", "line 0: the file ends before its first route"),
        ("Route #1: 1 2\nRoute #2: 3\n", "line 2: the file ends before its cost"),
        ("Route #1: 1 x\nCost 5", "line 1: a stop is 'x'"),
        ("Route #1: 1 2\nCost nan", "line 2: the cost is 'nan'"),
        ("Route #1: 1 2\nRoute", "line 2: 'Route' is neither a route"),
        ("<html>", "line 1: '<html>' is neither"),
        (b"\xff\xfe", "line 1: not UTF-8 text"),
        ('{"routes": [[1, 2],\n [3', "line 2: not JSON"),
        ('{"routes": [[1, NaN]]}', "NaN is no number"),
        ('{"routes": [[1, 2.5]]}', "routes[0][1]: '2.5' is no number of a stop"),
        ('{"routes": [[1, true]]}', "routes[0][1]: 'True' is no number of a stop"),
        ('{"routes": [1, 2]}', "routes[0]: a list is needed"),
        ('{"routes": {}}', "routes: a list is needed"),
        ('{"stops": []}', "routes: missing"),
        ('{"routes": [], "color": "[/red]"}', "color: a plan has cost, format"),
        ('{"routes": [], "format": "vrptw"}', "format: the plan is for a file of format 'vrptw', not 'cvrplib'"),
        ('{"routes": [], "cost": "50"}', "cost: '50' is no number"),
        ('{"routes": [], "cost": 1e999}', "cost: 'inf' is no number"),
        ('{"routes": [], "unserved": [1]}', "unserved[0]: an object with stop and reason is needed"),
        ('{"routes": [' + ",".join("[]" for _ in range(3001)) + "]}", "more than 3000 routes"),
        ('{"routes": ' + "[" * 100_000, "not a plan: "),
        ('{"routes": [[' + "9" * 5000 + "]]}", "not a plan: "),
    ],
)
def test_a_plan_that_cannot_be_read_ends_with_two(tmp_path: Path, plan: str | bytes, told: str) -> None:
    """Truncated, foreign, NaN, binary, far too much: one clear line, and no verdict."""
    done = verify(tmp_path, plan, "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert told in done.stderr.replace("\n", " ")


def test_published_solutions_are_accepted_with_their_cost(data_dir: Path) -> None:
    """As they lie there: whole numbers, and tenths."""
    for family, name, cost in (("cvrplib", "X-n401-k29", 66154), ("vrptw", "C1_10_2", 41337.8)):
        folder = data_dir / "waste" / family
        arguments = ["verify", str(folder / f"{name}.vrp"), str(folder / f"{name}.sol"), "--format", family, "--json", "--best", str(cost)]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.stderr
        told = orjson.loads(done.stdout)
        assert (told["cost"], told["gap_percent"], told["verified"]) == (cost, 0.0, True)
