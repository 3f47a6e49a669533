"""What PyVRP answers is planted: whatever it says, nothing that is shown breaks a cap of the day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cityloop_common.clock import SystemClock
from cityloop_waste.planning import ortools_engine, pyvrp_engine, verifier, work
from cityloop_waste.planning.domain import Caps, Engine, Plan, Problem, VisitKind
from cityloop_waste.planning.model import Model
from tests.unit.waste.towns import Quiet, problem, served, site, stop, travel, truck, unserved

CAP_KG, SITE_KG, STOPS, LOAD_KG = 1500, 1300, 24, 100


def _asked(engine: Engine, caps: Caps, **sites: int) -> Problem:
    """2,400 kg, trucks that are dear; no truck may take all of it in a day."""
    stops = [stop(f"P{n}", (400 * (n % 8) - 1600, 500 * (n // 8) - 900), LOAD_KG) for n in range(STOPS)]
    trucks = [truck(f"T{n}", 1000, day=caps) for n in range(4)]
    there = [site("near", (1000, 0), day_kg=sites.get("near")), site("far", (9000, 0))]
    asked = problem(stops, trucks, there, vehicle_cost_m=500_000)
    return replace(asked, options=replace(asked.options, engine=engine))


def _all_on_the_first(model: Model) -> list[list[int]]:
    """Every stop on one truck that unloads at the first site when it is full: cheap, and above every cap of its day."""
    full = model.loads[0].capacity[0] // LOAD_KG
    nodes = list(range(1, model.copies_from))
    trips = [nodes[at : at + full] for at in range(0, len(nodes), full)]
    route = [node for number, trip in enumerate(trips) for node in ([model.copies_from] if number else []) + trip]
    return [route, *([] for _ in range(model.vehicles - 1))]


def _taken(plan: Plan) -> list[int]:
    """Kilograms of each truck over its day."""
    return [LOAD_KG * sum(1 for visit in route.visits if visit.kind is VisitKind.STOP) for route in plan.routes]


def _nothing_shown_breaks(asked: Problem, plan: Plan, heard: Sequence[object]) -> None:
    """The plan keeps the caps, the verifier says so, and no progress told of fewer trucks than can take what it says is served."""
    assert verifier.faults(asked, travel(asked), plan) == []
    assert max(_taken(plan)) <= CAP_KG
    assert len(served(plan)) + len(unserved(plan)) == STOPS
    assert served(plan)
    for value in heard:
        assert isinstance(value, dict)
        assert (STOPS - value["unserved"]) * LOAD_KG <= value["vehicles"] * CAP_KG


@pytest.mark.parametrize("fooled", [False, True], ids=["judged", "judge-fooled"])
@pytest.mark.parametrize("engine", [Engine.AUTO, Engine.PYVRP])
@pytest.mark.parametrize("caps", [Caps(kg=CAP_KG), Caps(kg=CAP_KG, stops=15)], ids=["one-cap", "two-caps"])
def test_an_answer_above_the_caps_of_the_day_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, caps: Caps, engine: Engine, fooled: bool
) -> None:
    """Failure story 20: PyVRP says one truck takes all. OR-Tools cuts it; even if that let it pass, the verifier would not."""
    answers: list[int] = []

    def planted(model: Model, *_arguments: Any, **_named: Any) -> list[list[int]]:
        answers.append(model.vehicles)
        return _all_on_the_first(model)

    monkeypatch.setattr(pyvrp_engine, "search", planted)
    if fooled:
        monkeypatch.setattr(ortools_engine, "accepts", lambda _model, _routes: True)
    asked, progress = _asked(engine, caps), Quiet()
    plan, _ = work.planned(asked, travel(asked), SystemClock(), progress, solutions=60)
    assert answers
    _nothing_shown_breaks(asked, plan, progress.heard)


@pytest.mark.parametrize("engine", [Engine.AUTO, Engine.PYVRP])
def test_what_pyvrp_finds_above_a_cap_is_not_even_told_meanwhile(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    """Failure story 20: each solution of the real search is read back as if one truck took all; progress tells none of them."""
    read = 0

    def merged(there: Any, _solution: object) -> list[list[int]]:
        nonlocal read
        read += 1
        return _all_on_the_first(there.model)

    monkeypatch.setattr(pyvrp_engine._There, "back", merged)
    asked, progress = _asked(engine, Caps(kg=CAP_KG)), Quiet()
    plan, _ = work.planned(asked, travel(asked), SystemClock(), progress, solutions=60)
    assert read
    _nothing_shown_breaks(asked, plan, progress.heard)


@pytest.mark.parametrize("engine", [Engine.AUTO, Engine.PYVRP])
def test_an_answer_that_brings_a_site_too_much_is_never_shown(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    """Failure story 20: PyVRP tips all of it at the near site, which takes 1,300 kg a day: the rest goes elsewhere."""
    monkeypatch.setattr(pyvrp_engine, "search", lambda model, *_arguments, **_named: _all_on_the_first(model))
    asked, progress = _asked(engine, Caps(kg=CAP_KG), near=SITE_KG), Quiet()
    plan, _ = work.planned(asked, travel(asked), SystemClock(), progress, solutions=60)
    tipped = 0
    for route in plan.routes:
        for before, visit in zip(route.visits, route.visits[1:], strict=False):
            tipped += before.load_kg if (visit.kind, visit.id) == (VisitKind.UNLOAD, "near") else 0
    assert tipped <= SITE_KG
    _nothing_shown_breaks(asked, plan, progress.heard)
