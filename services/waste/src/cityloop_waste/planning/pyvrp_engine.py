"""The accelerator: PyVRP's search over the same model. The only module that knows PyVRP.

Its routes end at a virtual depot whose arcs carry the folded unload; sites are reload depots. It cannot hold every rule (the hours
of the folded unload, most caps of a day): what it finds is where OR-Tools begins, which has the last word. A cap of a day is kept
inside its model in one of the ways that were measured (Caps); relaxing it and repairing afterwards left stops unserved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import pyvrp
from pyvrp import Activity, ActivityType, IteratedLocalSearchCallbacks, IteratedLocalSearchParams
from pyvrp.search import PerturbationParams

from cityloop_waste.planning.day_caps import Caps, tightest
from cityloop_waste.planning.domain import Window
from cityloop_waste.planning.model import Model
from cityloop_waste.planning.schedule import service_start
from cityloop_waste.planning.searching import Watch

_Ints = np.ndarray[Any, Any]
STALE = 30_000
"""Iterations without anything better after which it begins again from another seed, to end with the best of all: an instance of 100
stops stayed 0.23 % above its optimum for 24 s with one seed, and reached it within seconds with the two next."""
LEAST_MOVED, MOST_MOVED, WORK = 10, 25, 1_000
"""Stops that an iteration takes out or puts elsewhere at most: PyVRP's 25 where routes are short. A change counts its whole route anew, so
with unloads on the way they are as many as make WORK with the stops of a route: 25 up to 40 stops, 10 from 100 on. 400 stops on three
trucks in 20 s: 192.4 and 192.6 km with 10, 201.7 and 203.4 with 25, 204.8 with 5; Kim 444 (40 stops): 78.7 miles with 10, 78.0."""
_LOOKS_EVERY = 16
"""Iterations between two looks at the clock: one takes far below a millisecond in small models."""


def holds(model: Model) -> bool:
    """Whether PyVRP keeps every rule of a model, so that OR-Tools will accept whatever it finds."""
    return len(model.caps) <= 1 and (model.clock is None or not model.clock.last)


def search(
    model: Model, watch: Watch, begin: Sequence[Sequence[int]] = (), *, caps: Caps = Caps.NONE, only_there: bool = False
) -> list[list[int]] | None:
    """The best routes of nodes that were found until the watch ends it, from `begin` on; None without any that PyVRP takes for legal.

    An unload is told as its site's first copy, as often as it comes. The watch hears of them when no rule is left out. Where PyVRP takes
    `begin` itself for illegal it begins from nothing, which a large model cannot be stopped in; with `only_there` it does not begin.
    """
    there = _There(model, caps)
    hearing = _Hearing(there, watch)
    first = there.first(begin)
    if only_there and first is None:
        return None
    for seed in count(watch.limits.seed):
        pyvrp.solve(
            there.data,
            hearing,
            seed=seed,
            collect_stats=False,
            display=False,
            params=_parameters(model, hearing),
            initial_solution=first,
        )
        if hearing.over or begin:
            break
        hearing.again()
    return hearing.routes()


def _parameters(model: Model, hearing: _Hearing) -> pyvrp.SolveParams:
    """PyVRP's own, but for how much an iteration changes where routes are long."""
    return pyvrp.SolveParams(ils=IteratedLocalSearchParams(callbacks=hearing), perturbation=PerturbationParams(1, moved(model)))


def moved(model: Model) -> int:
    """How many stops an iteration moves at most."""
    if model.copies_from == model.starts_from:
        return MOST_MOVED
    return max(LEAST_MOVED, min(MOST_MOVED, WORK * model.vehicles // max(1, model.copies_from - 1)))


class _Hearing(IteratedLocalSearchCallbacks):
    """Hears of each better solution, tells of the best a few times a second, and says when a search is over or has come to nothing new."""

    def __init__(self, there: _There, watch: Watch) -> None:
        self._there, self._watch = there, watch
        self._best: pyvrp.Solution | None = None
        self._told: pyvrp.Solution | None = None
        self._cost = pyvrp.CostEvaluator([0] * len(there.model.loads), 0, 0)
        self._looks = self._stale = 0
        self.over = False

    def again(self) -> None:
        """Another search begins."""
        self._stale = 0

    def __call__(self, best_cost: int) -> bool:
        """Whether the search is to end: asked before each iteration."""
        self._looks += 1
        self._stale += 1
        if self._watch.limits.solutions is not None and self._looks > self._watch.limits.solutions:
            self.over = True
        elif self._looks % _LOOKS_EVERY == 1:
            if self._watch.due() and self._best is not self._told:  # reading routes takes a millisecond or two: not at each of them
                self._tell()
            self.over = self._watch.tick()
        return self.over or self._stale > STALE

    def on_start(self, ils: pyvrp.IteratedLocalSearch) -> None:
        """What it begins with may be the best already."""
        self.on_best(ils.initial_solution)

    def on_best(self, best: pyvrp.Solution) -> None:
        """PyVRP's best so far, legal or not."""
        self._stale = 0
        if best.is_feasible() and (self._best is None or self._cost.cost(best) < self._cost.cost(self._best)):
            self._best = best

    def routes(self) -> list[list[int]] | None:
        """The best that is legal, once the search is over."""
        if self._best is None:
            return None
        self._tell()
        return self._there.back(self._best)

    def _tell(self) -> None:
        assert self._best is not None
        self._told = self._best
        routes = self._there.back(self._best)
        if self._there.kept(routes):
            self._watch.found(self._there.model.price(routes), routes)


class _There:
    """A model as PyVRP has it, and its solutions back."""

    def __init__(self, model: Model, caps: Caps) -> None:
        self.model, self.caps = model, caps
        self.cap = tightest(model) if caps is not Caps.NONE else None
        self.unit = _longer_than_any_way(model)
        sites = list({model.places[node]: node for node in range(model.starts_from - 1, model.copies_from - 1, -1)}.values())
        self.sites = sorted(sites)
        self.starts = list(range(model.starts_from, model.end))
        self.nodes = [0, *range(1, model.copies_from), *self.sites, *self.starts, model.end]
        self.depots = [0, *self.sites, *self.starts, model.end]
        self.location = {node: number for number, node in enumerate(self.nodes)}
        self.depot = {node: number for number, node in enumerate(self.depots)}
        self.client_of: dict[int, list[int]] = {}
        self.clients, groups = self._clients()
        self.fleets = self._fleets()
        profiles = sorted({forbidden for forbidden, _ in self.fleets}, key=sorted)
        costs, seconds = self._matrices()
        self.data = pyvrp.ProblemData(
            locations=[pyvrp.Location(0, 0) for _ in self.nodes],
            clients=[client for _, client in self.clients],
            depots=[self._depot(node) for node in self.depots],
            vehicle_types=[self._type(vehicles, profiles.index(forbidden)) for forbidden, vehicles in self.fleets],
            distance_matrices=[self._closed(costs, forbidden) for forbidden in profiles],
            duration_matrices=[seconds for _ in profiles],
            groups=groups,
        )

    def kept(self, routes: Sequence[Sequence[int]]) -> bool:
        """Whether routes keep what was left out here, as far as that is quickly seen."""
        unseen = self.model.clock is not None and self.model.clock.last
        return not unseen and self.model.capped(routes) == [list(route) for route in routes]

    def first(self, begin: Sequence[Sequence[int]]) -> pyvrp.Solution | None:
        """Routes of nodes as a solution to begin with; None when PyVRP does not take them."""
        routes = []
        for number, (_, vehicles) in enumerate(self.fleets):
            for vehicle in vehicles:
                nodes = begin[vehicle] if vehicle < len(begin) else ()
                activities = self._activities(vehicle, self._first_trips(nodes, self.data.vehicle_type(number).max_reloads))
                if activities is None:
                    return None
                if activities:
                    routes.append(pyvrp.Route(self.data, activities, number))
        if not routes:
            return None
        solution = pyvrp.Solution(self.data, routes)
        return solution if solution.is_feasible() else None

    def back(self, solution: pyvrp.Solution) -> list[list[int]]:
        """A solution as routes of nodes, one a vehicle."""
        routes: list[list[int]] = [[] for _ in range(self.model.vehicles)]
        free = [list(vehicles) for _, vehicles in self.fleets]
        for route in solution.routes():
            vehicle = free[route.vehicle_type()].pop(0)
            inner = list(route)[1:-1]
            nodes = [self.clients[each.idx][0] if each.is_client() else self.depots[each.idx] for each in inner]
            routes[vehicle] = self._tidy(vehicle, nodes)
        return routes

    def _tidy(self, vehicle: int, nodes: Sequence[int]) -> list[int]:
        """A route without unloads that tip nothing, and without stops that the vehicle may not serve."""
        loaded = any(loads.begin and loads.begin[vehicle] for loads in self.model.loads)
        kept: list[int] = []
        for node in nodes:
            is_stop = node < self.model.copies_from
            if vehicle not in self.model.allowed.get(node, (vehicle,)):  # dear here, not impossible
                continue
            if is_stop or loaded:
                kept.append(node)
            loaded = is_stop
        return kept

    def _first_trips(self, nodes: Sequence[int], reloads: int) -> Sequence[int]:
        """A route as far as so many unloads on the way take it; what comes behind is left out at first."""
        unloads = [at for at, node in enumerate(nodes) if node >= self.model.copies_from]
        return nodes if len(unloads) <= reloads else nodes[: unloads[reloads]]

    def _activities(self, vehicle: int, nodes: Sequence[int]) -> list[Activity] | None:
        if not nodes:
            return []
        first = {self.model.places[node]: node for node in reversed(self.sites)}
        clock, at = self.model.clock, 0
        if clock is not None:
            at = clock.shifts[vehicle].start_s
        before = self.model.start(vehicle)
        activities = []
        for node in nodes:
            if clock is not None:
                start = service_start(clock.windows[node], at + clock.seconds[before][node])
                if start is None:
                    return None
                at = start
            if node < self.model.copies_from:
                activities.append(Activity(ActivityType.CLIENT, self._client(node, at)))
            else:
                activities.append(Activity(ActivityType.DEPOT, self.depot[first[self.model.places[node]]]))
            before = node
        return activities

    def _client(self, node: int, at_s: int) -> int:
        """The client of a stop that may be served at that time: it has one for each of its windows."""
        clients = self.client_of[node]
        return next((each for each in clients if self.clients[each][1].tw_early <= at_s <= self.clients[each][1].tw_late), clients[0])

    def _clients(self) -> tuple[list[tuple[int, pyvrp.Client]], list[pyvrp.ClientGroup]]:
        model = self.model
        clients: list[tuple[int, pyvrp.Client]] = []
        groups: list[pyvrp.ClientGroup] = []
        for node in range(1, model.copies_from):
            windows: Sequence[Window | None] = (model.clock.windows[node] if model.clock else ()) or (None,)
            group = len(groups) if len(windows) > 1 else None
            self.client_of[node] = list(range(len(clients), len(clients) + len(windows)))
            for window in windows:
                hours = {} if window is None else {"tw_early": window.start_s, "tw_late": window.end_s}
                clients.append((node, self._one(node, group, hours)))
            if group is not None:
                groups.append(pyvrp.ClientGroup(self.client_of[node], required=model.penalty is None))
        return clients, groups

    def _one(self, node: int, group: int | None, hours: Mapping[str, Any]) -> pyvrp.Client:
        model = self.model
        prize = model.prizes.get(node, model.penalty)
        return pyvrp.Client(
            self.location[node],
            pickup=[loads.added[node] for loads in model.loads],
            prize=0 if prize is None else self._scaled(prize) + self._beside(node),
            required=prize is None and group is None,
            group=group,
            **hours,
        )

    def _beside(self, node: int) -> int:
        """What serving a stop costs beside its way."""
        return self.unit * self.cap.added[node] if self.caps is Caps.BESIDE and self.cap is not None else 0

    def _depot(self, node: int) -> pyvrp.Depot:
        clock = self.model.clock
        windows = clock.windows[node] if clock is not None and node in self.sites else ()
        if not windows:
            return pyvrp.Depot(self.location[node])
        return pyvrp.Depot(self.location[node], tw_early=windows[0].start_s, tw_late=windows[-1].end_s)

    def _fleets(self) -> list[tuple[frozenset[int], list[int]]]:
        """Vehicles that are alike, with the stops that they may not serve."""
        model = self.model
        alike: dict[tuple[object, ...], list[int]] = {}
        barred = [frozenset(node for node, may in model.allowed.items() if vehicle not in may) for vehicle in range(model.vehicles)]
        for vehicle in range(model.vehicles):
            clock = model.clock
            hours = (clock.shifts[vehicle], clock.overtime_s[vehicle] if clock.overtime_s else 0) if clock else ()
            sizes = tuple((loads.capacity[vehicle], loads.begin[vehicle] if loads.begin else 0) for loads in model.loads)
            key = (barred[vehicle], hours, sizes, model.start(vehicle), tuple(cap.most[vehicle] for cap in model.caps))
            alike.setdefault(key, []).append(vehicle)
        return [(barred[vehicles[0]], vehicles) for vehicles in alike.values()]

    def _type(self, vehicles: Sequence[int], profile: int) -> pyvrp.VehicleType:
        model, vehicle = self.model, vehicles[0]
        timed = self.caps is Caps.LENGTH
        capacity = [loads.capacity[vehicle] for loads in model.loads]
        more: dict[str, Any] = {}
        most = None if self.cap is None else self.cap.most[vehicle]
        if self.cap is not None and most is not None:
            number = next((at for at, loads in enumerate(model.loads) if loads.name == self.cap.name), None)
            if timed:
                more["max_distance"] = most
            elif self.caps is Caps.BESIDE:
                more["max_distance"] = self.unit * (most + 1) - 1
            elif number is not None:
                trips = max(1, most // capacity[number] if self.caps is Caps.TRIPS else -(-most // capacity[number]))
                more["max_reloads"] = trips - 1
                on_board = model.loads[number].begin[vehicle] if model.loads[number].begin else 0
                capacity[number] = min(capacity[number], max(on_board, most // trips))  # no truck begins with more than it bears
        if model.clock is not None:
            shift, late_s = model.clock.shifts[vehicle], model.clock.overtime_s[vehicle] if model.clock.overtime_s else 0
            more |= {"tw_early": shift.start_s, "tw_late": shift.end_s + late_s}
            if late_s:
                more |= {"shift_duration": shift.end_s - shift.start_s, "max_overtime": late_s}
                more["unit_overtime_cost"] = self._scaled(model.clock.overtime_cost)
            if model.start(vehicle):
                more["start_late"] = shift.start_s
        if any(loads.begin for loads in model.loads):
            more["initial_load"] = [loads.begin[vehicle] if loads.begin else 0 for loads in model.loads]
        return pyvrp.VehicleType(
            num_available=len(vehicles),
            capacity=capacity,
            start_depot=self.depot[model.start(vehicle)],
            end_depot=len(self.depots) - 1,
            fixed_cost=0 if model.start(vehicle) else self._scaled(model.vehicle_cost),
            unit_distance_cost=0 if timed else 1,
            unit_duration_cost=1 if timed else 0,
            profile=profile,
            reload_depots=[self.depot[node] for node in self.sites],
            **more,
        )

    def _matrices(self) -> tuple[_Ints, _Ints]:
        model = self.model
        costs = np.array(model.cost, dtype=np.int64)[np.ix_(self.nodes, self.nodes)]
        if model.clock is not None:
            seconds = np.array(model.clock.seconds, dtype=np.int64)[np.ix_(self.nodes, self.nodes)]
            seconds[-1, :-1] = model.clock.horizon_s + 1
        else:
            seconds = costs.copy() if self.caps is Caps.LENGTH else np.zeros_like(costs)
        costs[-1, :-1] = costs.max() + 1
        if self.caps is Caps.LENGTH and self.cap is not None:
            taken = np.array([self.cap.added[node] for node in self.nodes], dtype=np.int64)
            costs = np.tile(taken, (len(taken), 1))
        elif self.caps is Caps.BESIDE and self.cap is not None:
            costs += self.unit * np.array([self.cap.added[node] for node in self.nodes], dtype=np.int64)
        np.fill_diagonal(costs, 0)
        np.fill_diagonal(seconds, 0)
        return costs, seconds

    def _closed(self, costs: _Ints, forbidden: frozenset[int]) -> _Ints:
        """The costs with no way to stops that a vehicle may not serve."""
        if not forbidden:
            return costs
        closed = costs.copy()
        far = 2 * int(costs.max()) + self._scaled(self.model.penalty or 0)
        closed[:, [self.location[node] for node in forbidden]] = far
        np.fill_diagonal(closed, 0)
        return closed

    def _scaled(self, cost: int) -> int:
        """A cost in seconds where time is what is made small."""
        if self.caps is not Caps.LENGTH or self.model.clock is None:
            return cost
        row_c, row_s = self.model.cost[0][1 : self.model.copies_from], self.model.clock.seconds[0][1 : self.model.copies_from]
        return max(1, cost * sum(row_s) // max(1, sum(row_c))) if cost else 0


def _longer_than_any_way(model: Model) -> int:
    """More than the way of any route that is worth a thought: thrice from each stop to its nearest, and ten times there and back."""
    stops = range(1, model.copies_from)
    nearest = (min((model.cost[node][other] for other in stops if other != node), default=0) for node in stops)
    return 1 + 3 * sum(nearest) + 20 * max((model.cost[0][node] for node in stops), default=0)
