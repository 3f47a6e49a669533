"""Who searches next: OR-Tools keeps the time while it saves way; where it stalls PyVRP goes on from its routes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from cityloop_waste.planning import engines, model, ortools_engine, pyvrp_engine
from cityloop_waste.planning.admission import admit
from cityloop_waste.planning.domain import Engine, NoPlanFound
from cityloop_waste.planning.model import Model
from cityloop_waste.planning.searching import Ended, Found, Limits, Watch
from cityloop_waste.planning.start import first_routes
from tests.unit.waste.towns import problem, stop, travel, truck

SECONDS = 30.0
Nodes = list[list[int]]


class Counted:
    """A clock that only the engines move on: nothing is waited for."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now(self) -> datetime:
        raise AssertionError("nobody asks for the day")

    def monotonic(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds


def _town(trucks: int = 4) -> tuple[Model, Nodes]:
    stops = [stop(f"P{n}", (400 * (n % 15), 500 * (n // 15)), 100) for n in range(150)]
    asked = problem(stops, [truck(f"T{n}", 4000) for n in range(trucks)])
    day = admit(asked, travel(asked))
    begin = first_routes(day)
    built = model.build(day, begin)
    return built, built.numbered(begin)


def _worse(built: Model, routes: Nodes) -> Nodes:
    """The same routes with the stops of each trip in an order that goes to and fro."""
    return [_to_and_fro(built, route) for route in routes]


def _to_and_fro(built: Model, route: Sequence[int]) -> list[int]:
    stops = [node for node in route if node < built.copies_from]
    mixed = iter([*stops[::2], *stops[1::2]])
    return [next(mixed) if node < built.copies_from else node for node in route]


def _searched(monkeypatch: pytest.MonkeyPatch, answers: Sequence[Nodes], part: Any) -> tuple[Found, list[Sequence[Sequence[int]]], Model]:
    """AUTO with engines that are acted: PyVRP's answers in their order, all its time used, and OR-Tools' answer for a part."""
    built, _ = _town()
    clock = Counted()
    began_with: list[Sequence[Sequence[int]]] = []

    def pyvrp(_model: Model, watch: Watch, begin: Sequence[Sequence[int]] = (), **_named: Any) -> Nodes:
        began_with.append([list(route) for route in begin])
        clock.at_s += watch.limits.seconds
        return answers[min(len(began_with), len(answers)) - 1]

    def ortools(of: Model, _recipe: object, watch: Watch, begin: Sequence[Sequence[int]] = ()) -> Found:
        clock.at_s += watch.limits.seconds
        routes = part(of, [list(route) for route in begin])
        return Found(of, tuple(tuple(route) for route in routes), of.price(routes), Ended.TIME)

    monkeypatch.setattr(pyvrp_engine, "search", pyvrp)
    monkeypatch.setattr(ortools_engine, "search", ortools)
    limits = Limits(SECONDS, clock, lambda _state: False)
    found = engines.search(built, limits, engine=Engine.AUTO, begin=answers[0])
    assert found.cost == found.model.price(found.routes)
    assert clock.at_s <= SECONDS + engines.PART_S
    return found, began_with, built


def test_where_ortools_saves_nothing_pyvrp_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts with half of the stops came back as they were: PyVRP gets the rest, from those routes, and what it finds is kept."""
    built, good = _town()
    bad = _worse(built, good)
    found, began_with, _ = _searched(monkeypatch, [bad, good], lambda _model, routes: routes)
    assert [each.engine for each in found.engines] == ["pyvrp", "ortools", "pyvrp", "ortools"]
    assert began_with[-1] == bad
    assert found.cost == built.price(good) < built.price(bad)
    assert [each.cost for each in found.engines] == [built.price(each) for each in (bad, bad, good, good)]


def test_what_pyvrp_makes_worse_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second answer is worse than what there was: that stays."""
    built, good = _town()
    found, _, _ = _searched(monkeypatch, [good, _worse(built, good)], lambda _model, routes: routes)
    assert found.cost == built.price(good)
    assert len(found.engines) == 4


def test_while_ortools_saves_way_the_time_is_its(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part comes back much shorter: PyVRP is not asked again."""

    def straighter(of: Model, routes: Nodes) -> Nodes:
        """One detour less on each route."""
        better = []
        for vehicle, route in enumerate(routes):
            swapped = [route] + [[*route[:at], b, a, *route[at + 2 :]] for at, (a, b) in enumerate(pairwise(route))]
            better.append(min(swapped, key=lambda each: of.arcs(vehicle, each)))
        return better

    built, good = _town()
    bad = _worse(built, good)
    found, began_with, _ = _searched(monkeypatch, [bad, good], straighter)
    assert [each.engine for each in found.engines] == ["pyvrp", "ortools"]
    assert built.price(good) < found.cost < built.price(bad)
    assert all(not begin for begin in began_with)


@pytest.mark.parametrize("trucks, moved", [(1, 10), (2, 13), (3, 20), (4, 25), (9, 25)])
def test_the_longer_the_routes_the_less_an_iteration_moves(trucks: int, moved: int) -> None:
    """150 stops: what is moved times the stops of a route stays alike, never above PyVRP's own 25, never below 10."""
    built, _ = _town(trucks)
    assert pyvrp_engine.moved(built) == moved


def test_where_nobody_unloads_on_the_way_pyvrp_moves_as_it_does() -> None:
    """One vehicle, no copies of a site: as in public instances with single trips."""
    built, _ = _town(1)
    single = built.select(range(1, built.copies_from), (), range(1))
    assert pyvrp_engine.moved(single) == 25


def test_an_ortools_whose_time_is_over_at_once_loses_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds nothing in what is left, part after part: what PyVRP found is the answer."""

    def late(_model: Model, _routes: Nodes) -> Nodes:
        raise NoPlanFound("nothing was found in 0.05 s")

    built, good = _town()
    found, _, _ = _searched(monkeypatch, [good], late)
    assert found.cost == built.price(good)


def test_where_pyvrp_cannot_begin_ortools_keeps_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes OR-Tools' routes for illegal: nobody begins from nothing so late, and no effort of PyVRP's is told."""
    _, good = _town()
    answers: list[Any] = [good, None]
    found, began_with, _ = _searched(monkeypatch, answers, lambda _model, routes: routes)
    assert [each.engine for each in found.engines] == ["pyvrp", "ortools", "ortools"]
    assert (began_with[-1], found.cost) == (good, found.model.price(good))


def test_pyvrp_does_not_begin_from_nothing_where_it_is_told_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes that no truck can carry: told `only_there` it answers at once, and is never started."""
    built, good = _town()
    heavy = [[node for route in good for node in route if node < built.copies_from], *([] for _ in range(built.vehicles - 1))]

    def started(*_: object, **_named: object) -> None:
        raise AssertionError("PyVRP was started")

    monkeypatch.setattr("pyvrp.solve", started)
    watch = Watch(built, Limits(SECONDS, Counted(), lambda _state: False))
    assert pyvrp_engine.search(built, watch, heavy, only_there=True) is None
    with pytest.raises(AssertionError, match="started"):
        pyvrp_engine.search(built, watch, heavy)
