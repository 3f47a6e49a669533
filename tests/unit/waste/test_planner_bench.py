"""The bench's verdicts on the planner say what was measured, not what is left of it after rounding."""

from __future__ import annotations

import pytest

from benchmarks.rows import planner
from benchmarks.rows.planner_day import Day, alone
from cityloop_waste.planning.domain import Engine


def _note(ours: Day, ortools: Day, pyvrp: Day) -> str:
    return alone({Engine.AUTO: [ours], Engine.ORTOOLS: [ortools], Engine.PYVRP: [pyvrp]}).note


def _day(trucks: int, way_km: float) -> Day:
    return Day(trucks, way_km, 0.0)


@pytest.mark.parametrize(
    "trucks, way_km, verdict",
    [
        (3, 200.3, "**missed**"),  # 3.4 % of the way, 0.8 % with 200 km a truck
        (3, 195.64, "**missed**"),
        (3, 195.63, "reached"),
        (3, 100.0, "reached"),
        (4, 100.0, "**missed**"),
        (2, 400.0, "reached"),
    ],
)
def test_trucks_come_first_and_then_the_way_alone_is_compared(trucks: int, way_km: float, verdict: str) -> None:
    """Beside 3 trucks and 193.7 km: a truck hides no kilometre, and no kilometre makes good a truck."""
    note = _note(_day(trucks, way_km), _day(3, 244.5), _day(3, 193.7))
    assert note.partition(" more way: ")[2].startswith(verdict)
    assert f"round 1: {trucks} trucks, way {100 * (way_km - 193.7) / 193.7:+.2f} %" in note


def test_the_better_engine_alone_is_the_one_with_fewer_trucks() -> None:
    """OR-Tools needs three trucks, PyVRP four for a shorter way: it is OR-Tools that is to be reached."""
    row = alone({Engine.AUTO: [_day(3, 201.0)], Engine.ORTOOLS: [_day(3, 200.0)], Engine.PYVRP: [_day(4, 150.0)]})
    assert (row.ours, row.baseline) == ([201.0], [200.0])
    assert "OR-Tools alone 3 trucks 200.0 km; PyVRP alone (OR-Tools judges) 4 trucks 150.0 km" in row.note


def test_one_round_that_misses_is_a_row_that_misses() -> None:
    """Wanted in every round."""
    found = {Engine.AUTO: [_day(3, 100.0), _day(3, 102.0)], Engine.ORTOOLS: [_day(3, 100.0)] * 2, Engine.PYVRP: [_day(3, 100.0)] * 2}
    assert "more way: **missed**" in alone(found).note


@pytest.mark.parametrize(
    "worst, told", [(0.6016, "**missed** (0.6016)"), (0.6, "reached"), (0.5999, "reached"), (0.61, "**missed**"), (-0.3, "reached")]
)
def test_what_is_compared_is_not_rounded(worst: float, told: str) -> None:
    """0.6016 % is above 0.6 %, though both are printed as 0.60."""
    assert planner._wanted(worst, 0.6, " %") == f"wanted in every run: at most 0.6 %: {told}"
