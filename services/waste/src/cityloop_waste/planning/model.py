"""The day as an engine sees it: numbered nodes, integer matrices, capacities; and an engine's routes as a plan again.

Nodes: 0 = start, then the stops, then copies of the sites (each is one possible unload on the way), last = end. The last
unload of a route is folded into the arcs to the end, which lead through the stop's closing site: "come back empty" is then
no rule that a search could fail. Tried on two public instances of 277 and 444 stops, a rule left 33 and 336 of them unserved.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

from cityloop_waste.planning.admission import DEPOT, Day, left_of_day, on_duty
from cityloop_waste.planning.domain import Minimise, Window
from cityloop_waste.planning.lunch import ANY_TIME
from cityloop_waste.planning.schedule import service_start

MOST_COPIES = 400
PENALTY_TIMES = 10  # what leaving a stop out costs, in the longest trips there are
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Loads:
    """One kind of load, kg or dm3: what each node adds (all but the stops: 0), and what each vehicle bears and has on board at first."""

    name: str
    added: tuple[int, ...]
    capacity: tuple[int, ...]
    begin: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DayCap:
    """What counts over all trips of a vehicle: what each node adds, and the most of each vehicle (None: no cap)."""

    name: str
    added: tuple[int, ...]
    most: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds of each arc (the service at its beginning included), windows of the nodes, shifts of the vehicles.

    An arc longer than `horizon_s` is forbidden. A vehicle may be back `overtime_s` after its shift, at `overtime_cost` a second.
    `last` says when the service of a node may start if it is the last of its route: the unload folded behind it has hours of its
    own. Nodes that are not in it may be last at any time.
    """

    seconds: list[list[int]]
    windows: tuple[tuple[Window, ...], ...]
    shifts: tuple[Window, ...]
    horizon_s: int
    overtime_s: tuple[int, ...] = ()
    overtime_cost: int = 0
    last: Mapping[int, tuple[Window, ...]] = field(default_factory=dict)

    def select(self, nodes: Sequence[int], vehicles: Sequence[int]) -> Clock:
        """The clock of some of the nodes, the end the last of them, and some of the vehicles."""
        return replace(
            self,
            seconds=_picked(self.seconds, nodes),
            windows=tuple(self.windows[node] for node in nodes[:-1]),
            shifts=_chosen(self.shifts, vehicles),
            overtime_s=_chosen(self.overtime_s, vehicles),
            last={number: self.last[node] for number, node in enumerate(nodes) if node in self.last},
        )


@dataclass(frozen=True, slots=True)
class Model:
    """What an engine solves: the cheapest routes from each vehicle's start to the last node.

    Nodes: 0, then the stops, then from `copies_from` on unload copies (each may be left out, and empties the vehicle), then from
    `starts_from` on where vehicles under way begin, then the end. `starts` names the node where each vehicle begins (none given: 0).
    With a `penalty` stops may be left out too, at that cost, or at that of their own in `prizes`. `allowed` names the vehicles that
    may serve a node, where not all may. `clock` None = time does not matter. `places` are the rows of the nodes in the day's
    matrices, the last node aside; copies of one site have one row.
    """

    places: tuple[int, ...]
    cost: list[list[int]]
    loads: tuple[Loads, ...]
    vehicles: int
    copies_from: int
    vehicle_cost: int = 0
    penalty: int | None = None
    clock: Clock | None = None
    starts: tuple[int, ...] = ()
    caps: tuple[DayCap, ...] = ()
    prizes: Mapping[int, int] = field(default_factory=dict)
    allowed: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def starts_from(self) -> int:
        """The first node where a vehicle under way begins; without one, the end."""
        return min((node for node in self.starts if node), default=self.end)

    def start(self, vehicle: int) -> int:
        """Where a vehicle begins."""
        return self.starts[vehicle] if self.starts else 0

    @property
    def end(self) -> int:
        """The last node."""
        return len(self.cost) - 1

    def price(self, routes: Sequence[Sequence[int]]) -> int:
        """What routes (one a vehicle, without start and end) cost: arcs, vehicles, overtime, stops left out. No engine is asked."""
        total, served = 0, set[int]()
        for vehicle, route in enumerate(routes):
            begin = self.start(vehicle)
            if not route and not begin:
                continue
            total += self.arcs(vehicle, route) + self._overtime(vehicle, (begin, *route, self.end))
            total += 0 if begin else self.vehicle_cost
            served.update(route)
        left = (node for node in range(1, self.copies_from) if node not in served)
        return total + sum(self.prizes.get(node, self.penalty or 0) for node in left)

    def capped(self, routes: Sequence[Sequence[int]]) -> list[list[int]]:
        """Routes without the stops that come when a cap of their day is used up."""
        kept: list[list[int]] = []
        for vehicle, route in enumerate(routes):
            taken = [0] * len(self.caps)
            kept.append([])
            for node in route:
                more = [so_far + cap.added[node] for so_far, cap in zip(taken, self.caps, strict=True)]
                most = (cap.most[vehicle] for cap in self.caps)
                if all(each is None or amount <= each for amount, each in zip(more, most, strict=True)):
                    taken = more
                    kept[-1].append(node)
        return kept

    def arcs(self, vehicle: int, route: Sequence[int]) -> int:
        """The arcs of a vehicle's route, from its start to the end; nothing for one that stays at the depot."""
        begin = self.start(vehicle)
        return sum(self.cost[a][b] for a, b in pairwise((begin, *route, self.end))) if route or begin else 0

    def _overtime(self, vehicle: int, nodes: Sequence[int]) -> int:
        """What being back late costs, each service begun as early as it can."""
        if self.clock is None or not self.clock.overtime_cost or not self.clock.overtime_s[vehicle]:
            return 0
        at = self.clock.shifts[vehicle].start_s
        for before, node in pairwise(nodes):
            at = service_start(self.clock.windows[node] if node < self.end else (), at + self.clock.seconds[before][node]) or at
        return self.clock.overtime_cost * max(0, at - self.clock.shifts[vehicle].end_s)

    def numbered(self, routes: Sequence[Sequence[int]]) -> list[list[int]]:
        """Routes of rows as routes of nodes; each unload takes a copy of its own."""
        nodes: dict[int, list[int]] = {}
        for node in range(self.starts_from - 1, 0, -1):
            nodes.setdefault(self.places[node], []).append(node)
        return [[nodes[row].pop() for row in route] for route in routes]

    def rows(self, routes: Sequence[Sequence[int]]) -> list[list[int]]:
        """Routes of nodes as routes of rows: what holds also in a model with other copies."""
        return [[self.places[node] for node in route] for route in routes]

    def select(self, stops: Sequence[int], copies: Sequence[int], vehicles: Sequence[int]) -> Model:
        """A smaller model (or one with more copies: nodes may be named twice) of some of the stops, copies and vehicles."""
        begins = [self.start(vehicle) for vehicle in vehicles]
        starts = sorted({node for node in begins if node})
        old = (0, *stops, *copies, *starts, self.end)
        new_start = {node: 1 + len(stops) + len(copies) + number for number, node in enumerate(starts)} | {0: 0}
        vehicle_of = {vehicle: number for number, vehicle in enumerate(vehicles)}
        return replace(
            self,
            places=tuple(self.places[node] for node in old[:-1]),
            cost=_picked(self.cost, old),
            loads=tuple(
                Loads(each.name, _chosen(each.added, old), _chosen(each.capacity, vehicles), _chosen(each.begin, vehicles))
                for each in self.loads
            ),
            vehicles=len(vehicles),
            copies_from=1 + len(stops),
            clock=None if self.clock is None else self.clock.select(old, vehicles),
            starts=tuple(new_start[node] for node in begins) if self.starts else (),
            caps=tuple(DayCap(each.name, _chosen(each.added, old), _chosen(each.most, vehicles)) for each in self.caps),
            prizes={number: self.prizes[node] for number, node in enumerate(stops, 1) if node in self.prizes},
            allowed={
                number: tuple(vehicle_of[vehicle] for vehicle in self.allowed[node] if vehicle in vehicle_of)
                for number, node in enumerate(stops, 1)
                if node in self.allowed
            },
        )


def _picked(matrix: Sequence[Sequence[int]], nodes: Sequence[int]) -> list[list[int]]:
    pick = operator.itemgetter(*nodes)
    return [list(pick(matrix[node])) for node in nodes]


def _chosen(values: Sequence[_T], of: Sequence[int]) -> tuple[_T, ...]:
    return tuple(values[each] for each in of) if values else ()


def build(day: Day, begin: Sequence[Sequence[int]]) -> Model:
    """The model of a day that has trucks, sites and at least one admitted stop, with room for the routes (of rows) to begin with."""
    copies = _copies(day, begin)
    starts = [day.begin(truck) for truck in day.trucks]
    places = (DEPOT, *day.stops, *copies, *(row for row in starts if row))
    duties = [day.axis.shift(on_duty(truck)) for truck in day.trucks]
    horizon = max(duty.end_s for duty in duties)
    seconds, costs = _matrices(day, places, horizon)
    longest = max(max(row) for row in costs)
    penalty = PENALTY_TIMES * (day.problem.options.vehicle_cost_m + 2 * longest + 1)
    return Model(
        places=places,
        cost=costs,
        loads=_loads(day, len(places) - len(day.stops)),
        vehicles=len(day.trucks),
        copies_from=1 + len(day.stops),
        vehicle_cost=day.problem.options.vehicle_cost_m,
        penalty=penalty,
        clock=_clock(day, places, seconds, horizon),
        starts=_start_nodes(starts, len(places)),
        caps=_caps(day, len(places) - len(day.stops)),
        prizes={node: min(prize, penalty) for node, row in enumerate(day.stops, 1) if (prize := day.stop(row).prize_m) is not None},
        allowed={
            node: tuple(number for number, truck in enumerate(day.trucks) if truck.id in day.stop(row).trucks)
            for node, row in enumerate(day.stops, 1)
            if day.stop(row).trucks
        },
    )


def _start_nodes(rows: Sequence[int], nodes: int) -> tuple[int, ...]:
    """The node where each truck begins; nothing when all begin at the depot."""
    under_way = [row for row in rows if row]
    first = nodes - len(under_way)
    return tuple(first + under_way.index(row) if row else 0 for row in rows) if under_way else ()


def _loads(day: Day, rest: int) -> tuple[Loads, ...]:
    stops = [day.stop(row) for row in day.stops]
    on_board = [truck.underway for truck in day.trucks]
    kg = Loads(
        "kg",
        (0, *(stop.demand_kg for stop in stops), *(0,) * rest),
        tuple(truck.capacity_kg for truck in day.trucks),
        tuple(each.load_kg if each else 0 for each in on_board) if any(on_board) else (),
    )
    dm3 = Loads(
        "dm3",
        (0, *(stop.demand_dm3 for stop in stops), *(0,) * rest),
        tuple(truck.capacity_dm3 for truck in day.trucks),
        tuple(each.load_dm3 if each else 0 for each in on_board) if any(on_board) else (),
    )
    return kg, dm3


def _caps(day: Day, rest: int) -> tuple[DayCap, ...]:
    """The caps that could be in the way: where all that there is stays below every truck's, none is needed."""
    left = [left_of_day(truck) for truck in day.trucks]
    stops = [day.stop(row) for row in day.stops]
    asked = {
        "kg": ([stop.demand_kg for stop in stops], [each.kg for each in left]),
        "dm3": ([stop.demand_dm3 for stop in stops], [each.dm3 for each in left]),
        "stops": ([1] * len(stops), [each.stops for each in left]),
        "containers": ([stop.containers for stop in stops], [each.containers for each in left]),
    }
    found = (DayCap(name, (0, *added, *(0,) * rest), tuple(most)) for name, (added, most) in asked.items())
    return tuple(cap for cap in found if any(most is not None and most < sum(cap.added) for most in cap.most))


def _clock(day: Day, places: Sequence[int], seconds: list[list[int]], horizon_s: int) -> Clock:
    last = {node: hours for node, row in enumerate(day.stops, 1) if (hours := day.last(row)) is not None}
    duties = [day.axis.shift(on_duty(truck)) for truck in day.trucks]
    ends = [max(duty.start_s, day.axis.cut(truck.shift.end_s)) for duty, truck in zip(duties, day.trucks, strict=True)]
    return Clock(
        seconds=seconds,
        windows=tuple(() if (starts := day.starts.get(row, ANY_TIME)) == ANY_TIME else starts for row in places),
        shifts=tuple(Window(duty.start_s, end_s) for duty, end_s in zip(duties, ends, strict=True)),
        horizon_s=horizon_s,
        overtime_s=tuple(duty.end_s - end_s for duty, end_s in zip(duties, ends, strict=True)),
        overtime_cost=-(-day.problem.options.overtime_m // 3600),
        last=last,
    )


def _copies(day: Day, begin: Sequence[Sequence[int]]) -> list[int]:
    """Rows of the unload copies: as many as trips are needed and one a vehicle (fewer cost 2 % of the way), at two sites each."""
    stops = [day.stop(row) for row in day.stops]
    trips = max(
        -(-sum(stop.demand_kg for stop in stops) // max(truck.capacity_kg for truck in day.trucks)),
        -(-sum(stop.demand_dm3 for stop in stops) // max(truck.capacity_dm3 for truck in day.trucks)),
    )
    wanted = trips + len(day.trucks)
    each = min(wanted, len(stops), -(-min(2 * wanted, MOST_COPIES) // len(day.sites)))
    used = Counter(row for route in begin for row in route)
    return [site for site in day.sites for _ in range(max(each, used[site]))]


def _matrices(day: Day, places: Sequence[int], horizon_s: int) -> tuple[list[list[int]], list[list[int]]]:
    """Seconds and cost between nodes. What is forbidden takes longer than any shift and costs more than any way."""
    table = day.travel.distance_m if day.problem.options.minimise is Minimise.DISTANCE else day.travel.duration_s
    far = 1 + 2 * max(cost for row in table for cost in row if cost is not None)
    sites = {place for place in places if day.is_site(place)}
    loaded = {day.begin(truck) for truck in day.trucks if truck.underway and (truck.underway.load_kg or truck.underway.load_dm3)}
    into_start = {target for target in places[1 + len(day.stops) :] if target not in sites}
    seconds, costs = [], []
    for node, place in enumerate(places):
        service = day.service_s(place)
        useless = not day.is_stop(place) and place not in loaded  # nothing to unload
        durations, prices = day.travel.duration_s[place], table[place]
        row_s, row_c = [], []
        for target in places:
            duration, price = durations[target], prices[target]
            if duration is None or price is None or (useless and target in sites) or target in into_start:
                row_s.append(horizon_s + 1)
                row_c.append(far)
            else:
                row_s.append(service + duration)
                row_c.append(price)
        home_s, home_c = _home(day, place, horizon_s, far, loaded=day.is_stop(place) or place in loaded)
        row_s.append(home_s)
        row_c.append(home_c)
        row_s[node] = row_c[node] = 0
        seconds.append(row_s)
        costs.append(row_c)
    return [*seconds, [0] * (len(places) + 1)], [*costs, [0] * (len(places) + 1)]


def _home(day: Day, place: int, horizon_s: int, far: int, *, loaded: bool) -> tuple[int, int]:
    """Seconds and cost from a place to the end of the route, unloading on the way; forbidden where no road leads back."""
    if place == DEPOT:
        return 0, 0
    via = day.closing.get(place) if loaded else None
    legs = ((place, DEPOT),) if via is None else ((place, via), (via, DEPOT))
    seconds, cost = day.service_s(place), 0
    for origin, target in legs:
        duration, price = day.travel.duration_s[origin][target], day.cost(origin, target)
        if duration is None or price is None or (loaded and via is None):
            return horizon_s + 1, far
        seconds, cost = seconds + duration, cost + price
    return seconds + (day.service_s(via) if via is not None else 0), cost
