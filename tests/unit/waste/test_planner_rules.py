"""Random days with every rule switched on and off: each stop is served or has a reason, and the verifier agrees."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from cityloop_common.clock import SystemClock
from cityloop_waste.planning import problem_json, verifier, work
from cityloop_waste.planning.domain import Engine, InvalidProblem, Problem, VisitKind
from cityloop_waste.planning.verifier_reasons import Alone
from cityloop_waste.roads.domain import Travel
from tests.unit.waste.random_towns import towns
from tests.unit.waste.towns import Quiet

SOLUTIONS = 20
GENERATE = (Phase.explicit, Phase.generate)
"""To shrink a day is to plan it hundreds of times: minutes."""


@pytest.mark.parametrize("engine", Engine)
@settings(max_examples=40, phases=GENERATE, suppress_health_check=list(HealthCheck))
@given(town=towns((10, 30)))
def test_every_stop_of_a_random_day_is_served_or_has_its_reason(engine: Engine, town: tuple[Problem, Travel]) -> None:
    """Whatever rules the day has, its plan breaks none, no bound is above it, and its document is read back as the same day."""
    asked, by = town
    asked = replace(asked, options=replace(asked.options, engine=engine, seconds=2))
    assert problem_json.read(problem_json.write(asked)) == asked
    if stuck := _out_for_ever(asked, by):
        with pytest.raises(InvalidProblem, match=stuck):
            work.planned(asked, by, SystemClock(), Quiet(), solutions=SOLUTIONS)
        return
    found = work.searched(asked, by, SystemClock(), Quiet(), solutions=SOLUTIONS)
    plan, known = found.plan, found.evidence
    assert verifier.faults(asked, by, plan) == []
    assert known is None or known.bound.value <= known.cost
    served = [visit.id for route in plan.routes for visit in route.visits if visit.kind is VisitKind.STOP]
    assert sorted([*served, *(each.stop for each in plan.unserved)], key=str) == sorted(each.id for each in asked.stops)


def _out_for_ever(asked: Problem, by: Travel) -> str:
    """The first truck under way that cannot come home in time, whatever it does."""
    alone = Alone(asked, by)
    out = [each for each in asked.trucks if each.underway is not None and asked.stream in each.streams]
    return next((each.id for each in out if not alone.comes_home(each)), "")
