"""Small towns: the planner's plan against every plan that there is."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, Phase, assume, given, settings

from cityloop_common.clock import SystemClock
from cityloop_waste.planning import work
from cityloop_waste.planning.domain import Problem
from cityloop_waste.planning.verifier_reasons import Alone
from cityloop_waste.roads.domain import Travel
from tests.unit.waste.brute_force import Worth, best, worth
from tests.unit.waste.random_towns import towns
from tests.unit.waste.towns import Quiet

SOLUTIONS = (200, 5000)
"""A search is not told that it has found the best: where few solutions did not find it, many must."""
GENERATE = (Phase.explicit, Phase.generate)
"""To shrink a town is to plan it hundreds of times: minutes."""
STRICT = frozenset({"lunch", "opening", "totals", "short shifts", "even hours"})
"""What costs the planner some way: all eat at once, the last unload of a day does not wait for its site, hours are made even."""


def _planned(asked: Problem, by: Travel, solutions: int) -> Worth:
    plan, _ = work.planned(asked, by, SystemClock(), Quiet(), solutions=solutions)
    return worth(asked, by, plan)


def _at_leisure(town: tuple[Problem, Travel]) -> tuple[Problem, Travel]:
    """Overtime costs nothing, and the trucks under way can come home."""
    asked, by = town
    out = [each for each in asked.trucks if each.underway is not None and asked.stream in each.streams]
    assume(all(Alone(asked, by).comes_home(each) for each in out))
    return replace(asked, options=replace(asked.options, overtime_m=0)), by


def _weighing(town: tuple[Problem, Travel]) -> tuple[Problem, Travel]:
    """Each stop weighs something: the planner tips after the last stop whatever it weighed."""
    return replace(town[0], stops=tuple(replace(each, demand_kg=each.demand_kg + 1) for each in town[0].stops)), town[1]


@settings(max_examples=40, phases=GENERATE, suppress_health_check=list(HealthCheck))
@given(town=towns((1, 8), trucks=2, without=STRICT).map(_weighing))
def test_a_small_town_is_planned_as_well_as_it_can_be(town: tuple[Problem, Travel]) -> None:
    """The plan costs what the best of all plans costs."""
    asked, by = _at_leisure(town)
    wanted = best(asked, by)
    assert wanted in (_planned(asked, by, solutions) for solutions in SOLUTIONS)


@settings(max_examples=40, phases=GENERATE, suppress_health_check=list(HealthCheck))
@given(town=towns((1, 7), trucks=2))
def test_no_plan_is_better_than_the_best_and_no_bound_is_above_it(town: tuple[Problem, Travel]) -> None:
    """Whatever the rules: a plan that betters the best of all plans breaks one, and the verifier did not see it."""
    asked, by = _at_leisure(town)
    found, wanted = work.searched(asked, by, SystemClock(), Quiet(), solutions=SOLUTIONS[0]), best(asked, by)
    assert worth(asked, by, found.plan) >= wanted
    if found.evidence is not None and not found.plan.unserved and all(each.demand_kg for each in asked.stops):  # see _weighing
        assert found.evidence.bound.value <= wanted[1]
