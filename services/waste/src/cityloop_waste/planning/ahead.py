"""PyVRP's part of a search: which trucks it may use, and in which way a cap of the day is kept.

PyVRP does not save trucks by itself: on a town of 400 stops it kept five where three are enough. Where a truck costs more than any
way, it is given those that the first plan needs, and then one less as long as all stops still find a place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cityloop_waste.planning import day_caps, pyvrp_engine
from cityloop_waste.planning.day_caps import Caps
from cityloop_waste.planning.fewest import fewest_vehicles
from cityloop_waste.planning.model import Model
from cityloop_waste.planning.searching import State, Watch

TRIAL = 0.15
"""Share of the time that a trial gets: of one truck less, of one of several ways to keep a cap."""
MOST_TRIALS = 2
EARLY = 0.25
LARGE = 1_500
"""Stops from which on PyVRP does not begin by itself: its own first routes of 2,100 took it 20 s."""
Nodes = list[list[int]]


@dataclass(slots=True)
class Runner:
    """PyVRP on one model: `fleet` are the vehicles that it searches with, `caps` the way to keep a cap of the day that went on last."""

    model: Model
    watch: Watch
    fleet: list[int] = field(default_factory=list)
    caps: Caps | None = None

    def ahead(
        self,
        seconds: float,
        *,
        begin: Sequence[Sequence[int]] = (),
        near: Sequence[Sequence[int]] = (),
        judged: Callable[[Nodes], int] | None = None,
    ) -> Nodes | None:
        """The best routes of nodes that PyVRP finds, one a vehicle; None without any. `near`: where it begins, else by itself.

        `judged` tells what remains of routes where PyVRP does not hold every rule of the model: it then goes on only if its first routes
        are better than `begin`.
        """
        model, watch = self.model, self.watch
        worth = model.price if judged is None or pyvrp_engine.holds(model) else judged
        ends_at = watch.elapsed_s + seconds
        near = near or (begin if model.copies_from > LARGE else ())
        best = self._fewer(seconds, begin)
        if begin and not pyvrp_engine.holds(model):
            early = self._search(self.fleet, seconds * EARLY, best or near)
            best = min((routes for routes in (early, best) if routes is not None), key=worth, default=None)
            if best is None or worth(best) >= model.price(begin):
                return best
        last = self._search(self.fleet, ends_at - watch.elapsed_s, best or near)
        return min((routes for routes in (last, best) if routes is not None), key=worth, default=None)

    def again(self, seconds: float, routes: Sequence[Sequence[int]]) -> Nodes | None:
        """The same once more from routes of nodes, with the way to keep a cap that went on last; None when PyVRP cannot begin there."""
        there = [vehicle for vehicle, route in enumerate(routes) if route]
        return self._search(sorted({*self.fleet, *there}), seconds, routes, self.caps)

    def _fewer(self, seconds: float, begin: Sequence[Sequence[int]]) -> Nodes | None:
        """Settles the fleet: one vehicle less as long as everybody is served; the routes with the last that was given up, if one was."""
        model = self.model
        self.fleet = _needed(model, begin)
        left = _left_out(model, begin) if begin else 0
        best: Nodes | None = None
        fewest = fewest_vehicles(model) if len(self.fleet) < model.vehicles or _saves(model) else len(self.fleet)
        for _ in range(MOST_TRIALS):
            idle = None if len(self.fleet) <= fewest or not _saves(model) else _least(model, self.fleet, best or begin)
            if idle is None or self.watch.asked:
                break
            fewer = [vehicle for vehicle in self.fleet if vehicle != idle]
            found = self._search(fewer, seconds * TRIAL, ())
            if found is None or _left_out(model, found) > left:
                break
            self.fleet, best = fewer, found
        return best

    def _search(self, fleet: Sequence[int], seconds: float, near: Sequence[Sequence[int]], caps: Caps | None = None) -> Nodes | None:
        """The best routes with some of the vehicles; where nobody says which, every way to keep a cap is tried."""
        model = self.model
        smaller = len(fleet) < model.vehicles
        part = model.select(range(1, model.copies_from), range(model.copies_from, model.starts_from), fleet) if smaller else model
        there = [near[vehicle] for vehicle in fleet] if near else ()
        ways = day_caps.ways(part) if caps is None else (caps,)
        found = self._ways(part, _part(self.watch, part, fleet, seconds), there, ways, only_there=caps is not None)
        if found is None:
            return None
        routes: Nodes = [[] for _ in range(model.vehicles)]
        for vehicle, route in zip(fleet, found, strict=True):
            routes[vehicle] = list(route)
        return routes

    def _ways(
        self, model: Model, watch: Watch, near: Sequence[Sequence[int]], ways: Sequence[Caps], *, only_there: bool = False
    ) -> Nodes | None:
        """Where there are several ways to keep a cap each is tried, and the best one goes on."""
        best: Nodes | None = None
        self.caps = ways[0]
        if len(ways) > 1:
            tried = []
            for way in ways:
                routes = pyvrp_engine.search(model, watch.part(watch.limits.seconds * TRIAL), near, caps=way)
                if routes is not None:
                    tried.append((model.price(model.capped(routes)), way, routes))
            if tried:
                _, self.caps, best = min(tried, key=lambda each: each[0])
        last = pyvrp_engine.search(model, watch.part(watch.left_s), best or near, caps=self.caps, only_there=only_there)
        return min((routes for routes in (last, best) if routes is not None), key=model.price, default=None)


def _saves(model: Model) -> bool:
    """Whether a truck costs more than any way there and back."""
    return bool(model.vehicle_cost) and model.vehicle_cost >= 2 * max(model.cost[0][1 : model.copies_from], default=0)


def _needed(model: Model, begin: Sequence[Sequence[int]]) -> list[int]:
    """The vehicles to search with: those of the first plan, where trucks are dear and it serves everybody, and those that are out."""
    if not begin or not _saves(model) or _left_out(model, begin):
        return list(range(model.vehicles))
    return [vehicle for vehicle in range(model.vehicles) if begin[vehicle] or model.start(vehicle)]


def _left_out(model: Model, routes: Sequence[Sequence[int]]) -> int:
    """Stops without a prize of their own that no route serves."""
    served = {node for route in routes for node in route}
    return sum(1 for node in range(1, model.copies_from) if node not in served and node not in model.prizes)


def _least(model: Model, fleet: Sequence[int], routes: Sequence[Sequence[int]]) -> int | None:
    """The vehicle that does least, of those that need not go out."""
    free = [vehicle for vehicle in fleet if not model.start(vehicle)]
    return min(free, key=lambda vehicle: (len(routes[vehicle]) if routes else 0, -vehicle), default=None) if len(fleet) > 1 else None


def _part(watch: Watch, part: Model, fleet: Sequence[int], seconds: float) -> Watch:
    """A watch of a search with some of the vehicles: what it hears, the whole hears with all vehicles."""
    vehicles = watch.model.vehicles

    def tell(state: State) -> bool:
        routes: Nodes = [[] for _ in range(vehicles)]
        for vehicle, route in zip(fleet, state.routes, strict=True):
            routes[vehicle] = list(route)
        watch.found(watch.model.price(routes), routes)
        watch.tick()
        return watch.asked

    return Watch(part, watch.limits.within(max(0.05, min(seconds, watch.left_s)), tell))
