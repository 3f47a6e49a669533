"""CVRPLIB's files: published solutions recompute, other files are refused with their line, plans are judged from the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from cityloop_common.clock import SystemClock
from cityloop_waste.planning import cvrplib, engines, formats
from cityloop_waste.planning.cvrplib import read
from cityloop_waste.planning.domain import Engine
from cityloop_waste.planning.formats import Format
from cityloop_waste.planning.instances import FilePlan, UnreadableInstance
from cityloop_waste.planning.searching import Limits, State
from tests.unit.waste.refusals import is_refused_at_its_line

BEST = {"X-n101-k25": 27591, "X-n200-k36": 58578, "X-n219-k73": 117595, "X-n401-k29": 66154}
SMALL = """NAME : small
COMMENT : six customers on a cross: with a colon
TYPE : CVRP
DIMENSION : 7
EDGE_WEIGHT_TYPE : EUC_2D
CAPACITY : 4
NODE_COORD_SECTION
1 0 0
2 10 0
3 20 0
4 -10 0
5 -20 0
6 0 10
7 0 21
DEMAND_SECTION
1 0
2 2
3 2
4 2
5 2
6 2
7 2
DEPOT_SECTION
1
-1
EOF
"""


@pytest.mark.parametrize("name", BEST)
def test_published_solutions_recompute_exactly(data_dir: Path, name: str) -> None:
    """Every rule holds, and the cost counted from the file is the published one."""
    folder = data_dir / "waste" / "cvrplib"
    instance = read((folder / f"{name}.vrp").read_text())
    solution = formats.read_plan((folder / f"{name}.sol").read_text(), Format.CVRPLIB)
    assert solution.cost == BEST[name] == instance.cost(solution.routes)
    assert instance.faults(solution) == []


def test_distances_are_rounded_half_up() -> None:
    """floor(d + 0.5), not to the even neighbour: 2.5 is 3."""
    text = SMALL.replace("2 10 0", "2 1.5 2")
    assert read(text).distance(0, 1) == 3


def plan(routes: Sequence[Sequence[int]], cost: float | None = None, unserved: tuple[int, ...] = ()) -> FilePlan:
    """Routes as a plan, the empty ones left out."""
    return FilePlan(tuple(tuple(route) for route in routes if route), cost, unserved)


def test_a_small_file_is_solved_to_its_optimum() -> None:
    """Three petals of two customers each."""
    instance = read(SMALL)
    model, begin = cvrplib.model(instance)
    found = engines.search(model, Limits(3, SystemClock(), lambda _: False, solutions=300), begin=begin)
    assert found.cost == 40 + 40 + 42
    assert instance.faults(plan(found.routes, found.cost)) == []


def test_the_search_tells_routes_that_are_a_plan() -> None:
    """Who ends the search from outside takes what was told last: each value is whole, and costs what it says."""
    told: list[State] = []
    instance = read(SMALL)
    model, _ = cvrplib.model(instance)

    def tell(state: State) -> bool:
        told.append(state)
        return False

    engines.search(model, Limits(1, SystemClock(), tell), engine=Engine.ORTOOLS)
    assert told
    assert [instance.faults(plan(state.routes, state.cost)) for state in told] == [[]] * len(told)


def test_many_tight_customers_get_vehicles_enough() -> None:
    """Demands of three in vehicles of four: one each, more than the sum of loads says."""
    head, demands, tail = SMALL.partition("1 0\n2 2\n")
    instance = read(head + demands.replace(" 2\n", " 3\n") + tail.replace(" 2\n", " 3\n"))
    assert instance.demands == (0, 3, 3, 3, 3, 3, 3)
    model, begin = cvrplib.model(instance)
    assert (model.vehicles, model.penalty, begin) == (6, None, [])


def test_with_too_few_vehicles_customers_may_be_left_out() -> None:
    """Two vehicles of four for six demands of two: there is a plan of four customers, and it says which two are left."""
    instance = read(SMALL)
    model, begin = cvrplib.model(instance, vehicles=2)
    assert (model.vehicles, [len(route) for route in begin]) == (2, [2, 2])
    found = engines.search(model, Limits(2, SystemClock(), lambda _: False, solutions=300), begin=begin)
    left = tuple(sorted(set(range(1, 7)) - {node for route in found.routes for node in route}))
    assert len(left) == 2
    assert instance.faults(plan(found.routes, unserved=left)) == []


def test_a_file_cut_anywhere_is_refused_with_a_line() -> None:
    """Whatever part is missing, the message names the last line or the first wrong one."""
    lines = SMALL.splitlines()
    for kept in range(len(lines) - 1):
        with pytest.raises(UnreadableInstance, match=r"^line \d+: "):
            read("\n".join(lines[:kept]))
    assert read("\n".join(lines[:-1])) == read(SMALL)  # only the last word is missing


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("NAME : small", "Hello, this is a letter.", "line 1: 'Hello, this"),
        ("NAME : small", '{"type": "FeatureCollection"}', "line 1: "),
        ("TYPE : CVRP", "TYPE : VRPTW", "line 3: TYPE 'VRPTW' is not read"),
        ("EUC_2D", "EXPLICIT", "line 5: EDGE_WEIGHT_TYPE 'EXPLICIT' is not read"),
        ("DIMENSION : 7", "DIMENSION : 8", "has coordinates of 7 nodes, its DIMENSION is 8"),
        ("DIMENSION : 7", "DIMENSION : 6", "line 14: node 7, the DIMENSION is 6"),
        ("DIMENSION : 7", "DIMENSION : 10000000", "line 4: DIMENSION is 10000000"),
        ("CAPACITY : 4", "CAPACITY : four", "line 6: CAPACITY is 'four'"),
        ("CAPACITY : 4", "CAPACITY : 0", "line 6: CAPACITY is 0"),
        ("CAPACITY : 4\n", "", "line 6: NODE_COORD_SECTION comes before CAPACITY"),
        ("CAPACITY : 4", "CAPACITY : 4\nCAPACITY : 5", "line 7: CAPACITY comes twice"),
        ("DEMAND_SECTION", "TIME_WINDOW_SECTION", "line 15: 'TIME_WINDOW_SECTION' is not part of a CVRP"),
        ("CAPACITY : 4", "CAPACITY : 4\nDISTANCE : 200", "line 7: 'DISTANCE' is not part"),
        ("3 20 0", "3 20", "line 10: 2 fields"),
        ("3 20 0", "3 20 nan", "line 10: y is 'nan'"),
        ("3 20 0", "3 1e400 0", "line 10: x is '1e400'"),
        ("3 20 0", "2 20 0", "line 10: node 2 comes twice"),
        ("3 20 0", "x 20 0", "line 10: the node is 'x'"),
        ("\n4 2\n", "\n4 -2\n", "line 19: node 4 asks for -2"),
        ("\n4 2\n", "\n4 5\n", "line 19: node 4 asks for 5, a vehicle carries 0 to 4"),
        ("\n4 2\n", "\n4 2.5\n", "line 19: the demand is '2.5'"),
        ("\n4 2\n", "\n3 2\n", "line 19: node 3 comes twice"),
        ("\n4 2\n", "\n9 2\n", "line 19: node 9 has no coordinates"),
        ("\n1 0\n", "\n1 1\n", "the depot asks for 1"),
        ("\n1\n-1\n", "\n2\n-1\n", "only node 1 alone"),
        ("\n1\n-1\n", "\n1\n2\n-1\n", "only node 1 alone"),
        ("-1\nEOF", "EOF", "before the depot's -1"),
        ("-1\nEOF", "-1\n5 5\nEOF", "line 26: after the depot's -1"),
        ("DEMAND_SECTION", "NODE_COORD_SECTION", "line 15: NODE_COORD_SECTION comes twice"),
    ],
)
def test_another_file_is_refused_with_its_line(old: str, new: str, told: str) -> None:
    """One clear sentence that begins with the line."""
    is_refused_at_its_line(read, SMALL, old, new, told)


@pytest.mark.parametrize(
    "routes, cost, told",
    [
        ([[1, 2], [3, 4], [5]], 122, "customer 6 is served 0 times"),
        ([[1, 2], [3, 4], [5, 6, 6]], 122, "customer 6 is served 2 times"),
        ([[1, 2, 3], [4], [5, 6]], 122, "route 1 carries 6, 4 allowed"),
        ([[1, 2], [3, 4], [5, 7]], 122, "customer 7 is not in the file"),
        ([[1, 2], [3, 4], [5, 0]], 122, "customer 0 is not in the file"),
        ([[1, 2], [3, 4], [5, 6]], 121, "the cost is told as 121, it is 122"),
    ],
)
def test_a_broken_solution_is_told_how(routes: list[list[int]], cost: int, told: str) -> None:
    """The rule and the numbers of each planted fault."""
    assert told in read(SMALL).faults(plan(routes, cost))


@pytest.mark.parametrize(
    "routes, unserved, told",
    [
        ([[1, 2], [3, 4], [5]], (6,), []),
        ([[1, 2], [3, 4], [5, 6]], (6,), ["customer 6 is told to be left out, and is served"]),
        ([[1, 2], [3, 4], [5]], (6, 6), ["customer 6 is told to be left out 2 times"]),
        ([[1, 2], [3, 4], [5, 6]], (9,), ["customer 9 is told to be left out, the file has no such customer"]),
    ],
)
def test_what_is_left_out_must_be_told_and_true(routes: list[list[int]], unserved: tuple[int, ...], told: list[str]) -> None:
    """A customer that the plan says it leaves out is no fault; one that it says so of wrongly is."""
    assert read(SMALL).faults(plan(routes, unserved=unserved)) == told
