"""Both engines on one model: PyVRP runs ahead, OR-Tools holds every rule and has the last word.

Time is shared as it was measured best: a model without unload copies is PyVRP's nearly alone (OR-Tools judges what it found); in
the others OR-Tools improves the routes that PyVRP leaves, about 80 stops at a time with all other routes frozen. Where that comes to
nothing (long routes: no part is as small as that) PyVRP goes on from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from cityloop_waste.planning import ortools_engine
from cityloop_waste.planning.ahead import Runner
from cityloop_waste.planning.domain import Engine, NoPlanFound
from cityloop_waste.planning.model import Model
from cityloop_waste.planning.ortools_engine import Recipe
from cityloop_waste.planning.parts import Parts
from cityloop_waste.planning.searching import Effort, Ended, Found, Limits, State, Watch

AHEAD = 0.8
"""PyVRP's share of the time in models with unloads on the way."""
PART_S = 2.0
STALLED = 2_000
"""OR-Tools comes to nothing when parts with half of the stops have not saved this part of the way."""
JUDGES_S = 1.5
"""What OR-Tools needs at the end to judge, in models that it does not improve."""
AGAIN_S = 0.5
"""The least that is worth giving to PyVRP once more."""


def search(
    model: Model, limits: Limits, *, engine: Engine = Engine.AUTO, begin: Sequence[Sequence[int]] = (), near: Sequence[Sequence[int]] = ()
) -> Found:
    """The best routes that OR-Tools accepts, from `begin` (routes of nodes, one a vehicle; needed where stops may be left out).

    PyVRP begins by itself, which came out better than to begin with routes of insertion, or with the routes `near`. Raises NoPlanFound
    when there were none in time, PlanRefused when `begin` breaks a rule of the model.
    """
    watch = Watch(model, limits)
    if begin:
        watch.found(model.price(begin), begin)
        watch.solutions = 0
        watch.tick()
    plain = model.penalty is None
    if engine is Engine.ORTOOLS:
        found = _plainly(model, watch, begin) if plain else _improved(model, watch, begin)
        return replace(found, engines=(_effort("ortools", watch, found.model, found.routes),))
    share = 1.0 if engine is Engine.PYVRP or plain or not limits.seconds else AHEAD
    ahead_s = max(0.1, min(limits.seconds * share, limits.seconds - JUDGES_S))
    runner = Runner(model, watch)
    routes = runner.ahead(ahead_s, begin=begin, near=near, judged=lambda some: _judged(model, some))
    wide, start = (model, None) if routes is None else _accepted(model, routes)
    efforts = [] if start is None else [_effort("pyvrp", watch, wide, start)]
    if start is None:  # PyVRP has nothing that keeps a rule
        start = [list(route) for route in begin]
    elif begin and wide.price(start) > model.price(begin):
        wide, start = model, [list(route) for route in begin]
    if not start:
        found = _plainly(model, watch, begin)
    elif plain or engine is Engine.PYVRP:
        found = Found(wide, tuple(tuple(route) for route in start), wide.price(start), Ended.ASKED if watch.asked else Ended.TIME)
    else:
        found = _in_turns(runner, wide, start, efforts)
    return replace(found, engines=tuple(efforts))


def _in_turns(runner: Runner, wide: Model, start: Sequence[Sequence[int]], efforts: list[Effort]) -> Found:
    """OR-Tools from PyVRP's routes on; where it stalls, PyVRP from its routes on, and OR-Tools has the last word."""
    model, watch = runner.model, runner.watch
    found = _improved(wide, watch, start, stalls=True)
    efforts.append(_effort("ortools", watch, found.model, found.routes))
    seconds = watch.left_s - JUDGES_S
    if found.ended is not Ended.TIME or seconds < AGAIN_S or watch.limits.solutions is not None:
        return found
    routes = runner.again(seconds, watch.mine(found.model, found.routes))
    if routes is not None:
        wide, accepted = _accepted(model, routes)
        if accepted is not None and wide.price(accepted) < found.cost:
            found = Found(wide, tuple(tuple(route) for route in accepted), wide.price(accepted), Ended.TIME)
        efforts.append(_effort("pyvrp", watch, found.model, found.routes))
    found = _improved(found.model, watch, found.routes)
    efforts.append(_effort("ortools", watch, found.model, found.routes))
    return found


def _effort(engine: str, watch: Watch, model: Model, routes: Sequence[Sequence[int]]) -> Effort:
    return Effort(engine, round(watch.elapsed_s, 2), model.price(routes), _way(model, routes))


def _way(model: Model, routes: Sequence[Sequence[int]]) -> int:
    return sum(model.arcs(vehicle, route) for vehicle, route in enumerate(routes))


def _judged(model: Model, routes: Sequence[Sequence[int]]) -> int:
    """What remains of PyVRP's routes when OR-Tools has judged them."""
    wide, start = _accepted(model, routes)
    return wide.price(start or [()] * model.vehicles)


def _accepted(model: Model, routes: Sequence[Sequence[int]]) -> tuple[Model, list[list[int]] | None]:
    """The model with as many copies as the routes need, and the routes as far as OR-Tools accepts them."""
    wide = _wide(model, routes)
    nodes = wide.numbered(model.rows(routes))
    if ortools_engine.accepts(wide, nodes):
        return wide, nodes
    if model.penalty is None:
        return wide, None
    return wide, [_longest(wide, vehicle, route) for vehicle, route in enumerate(nodes)]


def _wide(model: Model, routes: Sequence[Sequence[int]]) -> Model:
    """The model with spare copies for the routes: at least one more of each site than they use."""
    copies = list(range(model.copies_from, model.starts_from))
    there = Counter(model.places[node] for node in copies)
    used = Counter(model.places[node] for route in routes for node in route if node >= model.copies_from)
    first = {model.places[node]: node for node in reversed(copies)}
    more = [first[row] for row in there for _ in range(used[row] + 1 - there[row])]
    return model.select(range(1, model.copies_from), [*copies, *more], range(model.vehicles)) if more else model


def _longest(model: Model, vehicle: int, route: Sequence[int]) -> list[int]:
    """The longest beginning of a route that keeps every rule; nothing of it when none does."""
    good, bad = 0, len(route) + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        stops = [node for node in route[:middle] if node < model.copies_from]
        copies = [node for node in route[:middle] if node >= model.copies_from]
        small = model.select(stops, copies, [vehicle])
        number = {node: at for at, node in enumerate((*stops, *copies), 1)}
        if ortools_engine.accepts(small, [[number[node] for node in route[:middle]]]):
            good = middle
        else:
            bad = middle
    kept = list(route[:good])
    while kept and kept[-1] >= model.copies_from:  # an unload folds into the way home
        kept.pop()
    return kept


def _plainly(model: Model, watch: Watch, begin: Sequence[Sequence[int]]) -> Found:
    """OR-Tools alone, from its own beginning; where that comes to nothing, what there was before."""
    try:
        if watch.left_s <= 0:
            raise NoPlanFound(f"nothing was found in {watch.limits.seconds:g} s: give it more time")
        return ortools_engine.search(model, Recipe.PLAIN, watch.part(watch.left_s))
    except NoPlanFound:
        if not begin:
            raise
        return Found(model, tuple(tuple(route) for route in begin), model.price(begin), watch.ended())


def _improved(model: Model, watch: Watch, begin: Sequence[Sequence[int]], *, stalls: bool = False) -> Found:
    """OR-Tools from routes on: the whole of a small model, part by part in a large one; with `stalls` until that comes to nothing."""
    parts = Parts(model, begin)
    if parts.whole or watch.limits.solutions is not None:
        found = _from(model, watch.part(watch.left_s, model), begin)
        return replace(found, ended=watch.ended() if watch.asked else found.ended)
    tried, before = 0, parts.cost
    while watch.left_s > 0.3:
        part = parts.next()
        if part is None:
            break
        found = _from(part.model, _quiet(watch, part.model, min(PART_S, watch.left_s)), part.routes)
        if parts.take(part, found.routes):
            watch.heard(model, parts.cost, parts.routes)
        watch.tick()
        tried += part.model.copies_from - 1
        if stalls and 2 * tried >= model.copies_from - 1:
            if (before - parts.cost) * STALLED < _way(model, parts.routes):
                break
            tried, before = 0, parts.cost
    routes = tuple(tuple(route) for route in parts.routes)
    return Found(model, routes, parts.cost, Ended.ASKED if watch.asked else Ended.TIME)


def _from(model: Model, watch: Watch, begin: Sequence[Sequence[int]]) -> Found:
    """OR-Tools from routes on; those routes where its time was over before it had read them (a machine with much other work)."""
    try:
        return ortools_engine.search(model, Recipe.MULTI_TRIP, watch, begin)
    except NoPlanFound:
        return Found(model, tuple(tuple(route) for route in begin), model.price(begin), watch.ended())


def _quiet(watch: Watch, model: Model, seconds: float) -> Watch:
    """A watch of a part of the routes: it tells nothing of them, but ends when the whole is asked to."""

    def tell(_state: State) -> bool:
        watch.tick()
        return watch.asked

    return Watch(model, watch.limits.within(max(0.05, seconds), tell))
