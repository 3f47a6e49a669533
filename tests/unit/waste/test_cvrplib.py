"""CVRPLIB's files: published solutions recompute, other files are refused with their line, plans are judged from the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cityloop_common.clock import SystemClock
from cityloop_waste.planning import cvrplib, ortools_engine
from cityloop_waste.planning.cvrplib import UnreadableInstance, read, read_solution
from cityloop_waste.planning.ortools_engine import Limits, Recipe, State

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
    solution = read_solution((folder / f"{name}.sol").read_text())
    assert solution.cost == BEST[name]
    assert cvrplib.faults(instance, solution.routes, BEST[name]) == []


def test_distances_are_rounded_half_up() -> None:
    """floor(d + 0.5), not to the even neighbour: 2.5 is 3."""
    text = SMALL.replace("2 10 0", "2 1.5 2")
    assert read(text).distance(0, 1) == 3


def test_a_small_file_is_solved_to_its_optimum() -> None:
    """Three petals of two customers each."""
    instance = read(SMALL)
    found = ortools_engine.search(cvrplib.model(instance), Recipe.PLAIN, Limits(2, SystemClock(), lambda _: False, solutions=300))
    routes = [route for route in found.routes if route]
    assert found.cost == 40 + 40 + 42
    assert cvrplib.faults(instance, routes, found.cost) == []


def test_the_search_tells_routes_that_are_a_plan() -> None:
    """Who ends the search from outside takes what was told last: each value is whole, and costs what it says."""
    told: list[State] = []
    instance = read(SMALL)

    def tell(state: State) -> bool:
        told.append(state)
        return False

    ortools_engine.search(cvrplib.model(instance), Recipe.PLAIN, Limits(1, SystemClock(), tell))
    assert 2 <= len(told) <= 6
    assert [cvrplib.faults(instance, state.routes, state.cost) for state in told] == [[]] * len(told)


def test_many_tight_customers_get_vehicles_enough() -> None:
    """Demands of three in vehicles of four: one each, more than the sum of loads says."""
    head, demands, tail = SMALL.partition("1 0\n2 2\n")
    instance = read(head + demands.replace(" 2\n", " 3\n") + tail.replace(" 2\n", " 3\n"))
    assert instance.demands == (0, 3, 3, 3, 3, 3, 3)
    assert cvrplib.model(instance).vehicles == 6


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
    assert old in SMALL
    with pytest.raises(UnreadableInstance) as refused:
        read(SMALL.replace(old, new, 1))
    assert told in refused.value.detail
    assert refused.value.detail.startswith("line ")


@pytest.mark.parametrize("text", ["", "\n\n", "Route #1: 1 2", "Route #1: 1 x\nCost 5", "Cost five", "<html>"])
def test_a_solution_that_cannot_be_read_is_refused_with_its_line(text: str) -> None:
    """Truncated, foreign or empty."""
    with pytest.raises(UnreadableInstance, match=r"^line \d+: "):
        read_solution(text)


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
    assert told in cvrplib.faults(read(SMALL), routes, cost)
