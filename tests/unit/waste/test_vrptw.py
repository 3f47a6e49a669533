"""VRPTW files: published solutions recompute to the tenth, other files are refused with their line, each broken rule is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cityloop_common.clock import SystemClock
from cityloop_waste.planning import engines, formats, vrptw
from cityloop_waste.planning.domain import Reason
from cityloop_waste.planning.formats import Format
from cityloop_waste.planning.instances import FilePlan, UnreadableInstance
from cityloop_waste.planning.searching import Limits
from cityloop_waste.planning.vrptw import read
from tests.unit.waste.refusals import is_refused_at_its_line

BEST = {"C1_10_2": (413378, 94), "RC2_10_5": (257975, 27)}
SMALL = """NAME : small
TYPE : VRPTW
DIMENSION : 5
VEHICLES : 3
CAPACITY : 4
SERVICE_TIME : 2
EDGE_WEIGHT_TYPE : EUC_2D
NODE_COORD_SECTION
1 0 0
2 10 0
3 20 0
4 -10 0
5 -20 1
DEMAND_SECTION
1 0
2 2
3 2
4 2
5 2
TIME_WINDOW_SECTION
1 0 100
2 10 12.5
3 20 40
4 0 80
5 30 60
DEPOT_SECTION
1
-1
EOF
"""


def plan(*routes: tuple[int, ...], cost: float | None = None, unserved: tuple[int, ...] = ()) -> FilePlan:
    """A plan from elsewhere."""
    return FilePlan(routes, cost, unserved)


@pytest.mark.parametrize("name", BEST)
def test_published_solutions_recompute_to_the_tenth(data_dir: Path, name: str) -> None:
    """Every window and load holds, and the cost counted from the file is the published one."""
    folder = data_dir / "waste" / "vrptw"
    instance = read((folder / f"{name}.vrp").read_text())
    solution = formats.read_plan((folder / f"{name}.sol").read_text(), Format.VRPTW)
    tenths, routes = BEST[name]
    assert (instance.cost_tenths(solution.routes), len(solution.routes)) == (tenths, routes)
    assert solution.cost == instance.cost(solution.routes) == tenths / 10
    assert instance.faults(solution) == []


def test_distances_are_cut_after_the_first_decimal() -> None:
    """The way to (-20, 1) is 20.02..., which is 20.0; never rounded up."""
    instance = read(SMALL)
    assert (instance.tenths(0, 4), instance.tenths(0, 1), instance.tenths(3, 4)) == (200, 100, 100)
    assert instance.windows_tenths[1] == (100, 125)


@pytest.mark.parametrize(
    "broken, told",
    [
        (plan((1, 2), (3, 4)), []),
        (plan((1, 2), (3, 4), cost=80.0), []),
        (plan((1, 2), (3, 4), cost=80.1), ["the cost is told as 80.1, it is 80"]),
        (plan((1, 2), (3,)), ["customer 4 is served 0 times"]),
        (plan((1, 2), (3,), unserved=(4,)), []),
        (plan((1, 2), (3, 4, 4)), ["customer 4 is served 2 times", "route 2 carries 6, 4 allowed"]),
        (plan((1, 2), (3, 9)), ["customer 9 is not in the file"]),
        (plan((2, 1), (3, 4)), ["route 1 cannot begin at customer 1 before 32, its window ends at 12.5"]),
        (plan((3, 2), (1, 4)), ["route 1 cannot begin at customer 2 before 42, its window ends at 40"]),
        (plan((1, 2, 4, 3)), ["route 1 carries 8, 4 allowed", "route 1 cannot begin at customer 4 before 64, its window ends at 60"]),
        (plan((1,), (2,), (3,), (4,)), ["4 vehicles go out, 3 allowed"]),
    ],
)
def test_each_broken_rule_is_named(broken: FilePlan, told: list[str]) -> None:
    """Missing and double customers, load, windows, vehicles, a cost that is not the routes'; and nothing that holds."""
    assert read(SMALL).faults(broken) == told


def test_who_is_back_after_the_depot_closes_is_named() -> None:
    """The depot's window is the day of the vehicles."""
    instance = read(SMALL.replace("1 0 100", "1 0 45"))
    assert instance.faults(plan((1, 2), (3, 4))) == ["route 2 is back at 52, the depot closes at 45"]


def test_published_routes_with_planted_faults_are_named(data_dir: Path) -> None:
    """One customer dropped, one doubled, two routes merged, one reversed: what is broken is told, and nothing of other routes."""
    folder = data_dir / "waste" / "vrptw"
    instance = read((folder / "RC2_10_5.vrp").read_text())
    good = replace(formats.read_plan((folder / "RC2_10_5.sol").read_text(), Format.VRPTW), cost=None)
    first, second, *others = good.routes
    assert instance.faults(replace(good, routes=(first[1:], second, *others))) == [f"customer {first[0]} is served 0 times"]
    assert f"customer {first[0]} is served 2 times" in instance.faults(replace(good, routes=(first, (*second, first[0]), *others)))
    merged = instance.faults(replace(good, routes=((*first, *second), *others)))
    assert any("window ends" in fault for fault in merged)
    assert all(fault.startswith("route 1 ") for fault in merged)
    turned = instance.faults(replace(good, routes=(first, second[::-1], *others)))
    assert turned
    assert all(fault.startswith("route 2 ") for fault in turned)


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("TYPE : VRPTW", "TYPE : CVRP", "line 2: TYPE 'CVRP' is not read, only VRPTW"),
        ("SERVICE_TIME : 2\n", "", "line 7: NODE_COORD_SECTION comes before SERVICE_TIME"),
        ("SERVICE_TIME : 2", "SERVICE_TIME : -2", "line 6: SERVICE_TIME is -2"),
        ("VEHICLES : 3", "VEHICLES : 0", "line 4: VEHICLES is 0"),
        ("VEHICLES : 3", "VEHICLES : three", "line 4: VEHICLES is 'three'"),
        ("2 10 12.5", "2 10 nan", "line 22: the window's end is 'nan'"),
        ("2 10 12.5", "2 10 12.55", "line 22: the window's end is '12.55', not a number from 0 on with at most one decimal"),
        ("2 10 12.5", "2 -1 12", "line 22: the window's begin is '-1'"),
        ("2 10 12.5", "2 13 12.5", "line 22: the window of node 2 ends at 12.5, before it begins at 13"),
        ("2 10 12.5", "2 10", "line 22: 2 fields, TIME_WINDOW_SECTION has 3"),
        ("2 10 12.5\n", "", "has windows of 4 nodes, its DIMENSION is 5"),
        ("TIME_WINDOW_SECTION", "SERVICE_TIME_SECTION", "line 20: "),
        ("5 30 60\n", "5 30 60\n5 30 60\n", "line 26: node 5 comes twice, first in line 25"),
        ("1 0 100", "1 0 999999999", "line 21: the depot's window and the service are longer"),
    ],
)
def test_another_file_is_refused_with_its_line(old: str, new: str, told: str) -> None:
    """One clear sentence that begins with the line."""
    is_refused_at_its_line(read, SMALL, old, new, told)


def test_a_file_cut_anywhere_is_refused_with_a_line() -> None:
    """Whatever part is missing, the message names the last line or the first wrong one."""
    lines = SMALL.splitlines()
    for kept in range(len(lines) - 1):
        with pytest.raises(UnreadableInstance, match=r"^line \d+: "):
            read("\n".join(lines[:kept]))


def test_a_small_file_is_solved_to_its_optimum() -> None:
    """Two routes of two customers each, in their windows."""
    instance = read(SMALL)
    start = vrptw.model(instance)
    found = engines.search(start.model, Limits(3, SystemClock(), lambda _: False, solutions=300), begin=start.begin)
    routes = [tuple(start.model.places[node] for node in route) for route in found.routes if route]
    assert found.cost == 800
    assert instance.faults(plan(*routes, cost=80.0)) == []


def test_the_first_plan_keeps_every_rule(data_dir: Path) -> None:
    """Before any search: a thousand customers in their windows, and vehicles left for a shorter plan."""
    instance = read((data_dir / "waste" / "vrptw" / "C1_10_2.vrp").read_text())
    start = vrptw.model(instance)
    routes = [tuple(start.model.places[node] for node in route) for route in start.begin if route]
    assert instance.faults(plan(*routes)) == []
    assert start.model.penalty is None
    assert len(routes) + 10 <= start.model.vehicles <= 250


def test_customers_that_nobody_can_serve_are_left_out_with_their_reason() -> None:
    """A window that closes before anybody is there, and a day too short for the way: named, and the rest is planned."""
    text = SMALL.replace("5 30 60", "5 0 19.9").replace("2 10 12.5", "2 97 99")
    instance = read(text)
    assert vrptw.unservable(instance) == {1: Reason.WINDOW, 4: Reason.WINDOW}
    short = read(text.replace("1 0 100", "1 0 41.9"))
    assert vrptw.unservable(short) == {1: Reason.WINDOW, 2: Reason.NOT_ENOUGH_TIME, 4: Reason.NOT_ENOUGH_TIME}
    start = vrptw.model(instance)
    assert start.model.places == (0, 2, 3)
    assert instance.faults(plan((2,), (3,), unserved=(1, 4))) == []


def test_with_too_few_vehicles_customers_may_be_left_out() -> None:
    """One vehicle for loads of eight: the model has a price for who is left, and a first plan without them; as for OR-Tools alone."""
    start = vrptw.model(read(SMALL), vehicles=1)
    assert start.model.vehicles == len(start.begin) == 1
    assert start.model.penalty is not None
    assert vrptw.model(read(SMALL)).model.penalty is None
    assert vrptw.model(read(SMALL), improved=True).model.penalty is not None
