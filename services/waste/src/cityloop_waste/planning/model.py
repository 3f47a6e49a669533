"""The day as an engine sees it: numbered nodes, integer matrices, capacities; and an engine's routes as a plan again.

Nodes: 0 = start, then the stops, then copies of the sites (each is one possible unload on the way), last = end. The last
unload of a route is folded into the arcs to the end, which lead through the stop's closing site: "come back empty" is then
no rule that a search could fail. Tried on two public instances of 277 and 444 stops, a rule left 33 and 336 of them unserved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cityloop_waste.planning.admission import DEPOT, Day
from cityloop_waste.planning.domain import Plan, Reason, Route, Truck, Unserved, Visit, VisitKind, Window
from cityloop_waste.planning.schedule import Call, tour

MOST_COPIES = 400
PENALTY_TIMES = 10  # what leaving a stop out costs, in the longest trips there are


@dataclass(frozen=True, slots=True)
class Loads:
    """One kind of load, kg or dm3: what each node adds (unload copies: 0), and what each vehicle bears and has on board at first."""

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
        """What routes (without start and end) cost: arcs, vehicles and stops left out. Counted here, not by the engine."""
        total, served = 0, 0
        for route in routes:
            nodes = (0, *route, self.end)
            total += sum(self.cost[a][b] for a, b in pairwise(nodes))
            total += self.vehicle_cost if route else 0
            served += sum(1 for node in route if node < self.copies_from)
        return total + (self.penalty or 0) * (self.copies_from - 1 - served)

    def numbered(self, routes: Sequence[Sequence[int]]) -> list[list[int]]:
        """Routes of rows as routes of nodes; each unload takes a copy of its own."""
        nodes: dict[int, list[int]] = {}
        for node in range(self.end - 1, 0, -1):
            nodes.setdefault(self.places[node], []).append(node)
        return [[nodes[row].pop() for row in route] for route in routes]


def build(day: Day, begin: Sequence[Sequence[int]]) -> Model:
    """The model of a day that has trucks, sites and at least one admitted stop, with room for the routes (of rows) to begin with."""
    places = (DEPOT, *day.stops, *_copies(day, begin))
    horizon = max(truck.shift.end_s for truck in day.trucks)
    seconds, metres = _matrices(day, places, horizon)
    stops = [day.stop(row) for row in day.stops]
    rest = (0,) * (len(places) - len(stops))
    longest = max(max(row) for row in metres)
    return Model(
        places=places,
        cost=metres,
        loads=(
            Loads("kg", (0, *(stop.demand_kg for stop in stops), *rest), tuple(truck.capacity_kg for truck in day.trucks)),
            Loads("dm3", (0, *(stop.demand_dm3 for stop in stops), *rest), tuple(truck.capacity_dm3 for truck in day.trucks)),
        ),
        vehicles=len(day.trucks),
        copies_from=1 + len(stops),
        vehicle_cost=day.problem.options.vehicle_cost_m,
        penalty=PENALTY_TIMES * (day.problem.options.vehicle_cost_m + 2 * longest + 1),
        clock=Clock(seconds, ((), *(_apart(stop.windows) for stop in stops)), tuple(truck.shift for truck in day.trucks), horizon),
    )


def plan(day: Day, model: Model, routes: Sequence[Sequence[int]]) -> Plan:
    """An engine's routes, one a truck of the day, as a plan. Raises ValueError for a route that cannot be driven in time."""
    rows = [[model.places[node] for node in route] for route in routes]
    served = {row for route in rows for row in route}
    driven = [_route(day, truck, route) for truck, route in zip(day.trucks, rows, strict=True)]
    left = {day.stop(row).id: Reason.NOT_REACHED for row in day.stops if row not in served}
    reasons = {each.stop: each.reason for each in day.unserved} | left
    unserved = tuple(Unserved(stop.id, reasons[stop.id]) for stop in day.problem.stops if stop.id in reasons)
    return Plan(tuple(route for route in driven if route is not None), unserved)


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
    """Seconds and metres between nodes. What is forbidden takes longer than any shift and costs more than any way."""
    seconds = [[horizon_s + 1] * (len(places) + 1) for _ in range(len(places) + 1)]
    far = 1 + 2 * max(metres for row in day.travel.distance_m for metres in row if metres is not None)
    metres = [[far] * (len(places) + 1) for _ in range(len(places) + 1)]
    copies_from = 1 + len(day.stops)
    for node, place in enumerate(places):
        service = day.service_s(place)
        for other, target in enumerate(places):
            duration, distance = day.travel.duration_s[place][target], day.travel.distance_m[place][target]
            useless = other >= copies_from and (node == 0 or node >= copies_from)  # nothing to unload
            if duration is not None and distance is not None and not useless:
                seconds[node][other], metres[node][other] = service + duration, distance
        seconds[node][-1], metres[node][-1] = _home(day, place, horizon_s, far)
        seconds[node][node] = metres[node][node] = 0
    seconds[-1], metres[-1] = [0] * (len(places) + 1), [0] * (len(places) + 1)
    return seconds, metres


def _home(day: Day, place: int, horizon_s: int, far: int) -> tuple[int, int]:
    """Seconds and metres from a place to the end of the route, unloading on the way; forbidden where no road leads back."""
    if place == DEPOT:
        return 0, 0
    via = day.closing.get(place, place)  # a site is its own
    legs = ((place, via), (via, DEPOT)) if via != place else ((place, DEPOT),)
    seconds, metres = day.service_s(place), 0
    for origin, target in legs:
        duration, distance = day.travel.duration_s[origin][target], day.travel.distance_m[origin][target]
        if duration is None or distance is None:
            return horizon_s + 1, far
        seconds, metres = seconds + duration, metres + distance
    return seconds + (day.service_s(via) if via != place else 0), metres


def _apart(windows: Sequence[Window]) -> tuple[Window, ...]:
    """Windows in order, those that touch made one."""
    merged: list[Window] = []
    for window in sorted(windows, key=lambda each: (each.start_s, each.end_s)):
        if merged and window.start_s <= merged[-1].end_s + 1:
            merged[-1] = Window(merged[-1].start_s, max(merged[-1].end_s, window.end_s))
        else:
            merged.append(window)
    return tuple(merged)


def _route(day: Day, truck: Truck, rows: Sequence[int]) -> Route | None:
    """A truck's day, its unloads written out; None when it stays at the depot."""
    if not rows:
        return None
    calls = _calls(day, rows)
    times = tour(calls, day.travel.duration_s, truck.shift)
    if times is None:
        raise ValueError(f"{truck.id} cannot drive its route in its shift")
    visits: list[Visit] = []
    kg = dm3 = 0
    for number, (call, at) in enumerate(zip(calls, times, strict=True)):
        kind, name = _named(day, call.place, last=number == len(calls) - 1)
        if kind is VisitKind.STOP:
            kg, dm3 = kg + day.stop(call.place).demand_kg, dm3 + day.stop(call.place).demand_dm3
        elif kind is VisitKind.UNLOAD:
            kg = dm3 = 0
        visits.append(Visit(kind, name, at.arrival_s, at.start_s, at.departure_s, kg, dm3))
    places = [call.place for call in calls]
    distance = sum(day.travel.distance_m[a][b] or 0 for a, b in pairwise(places))
    return Route(truck.id, tuple(visits), distance, visits[-1].arrival_s - visits[0].departure_s)


def _calls(day: Day, rows: Sequence[int]) -> list[Call]:
    """The calls of a route, with the last unload that the model has folded into the way home."""
    if rows and rows[-1] in day.closing:
        rows = [*rows, day.closing[rows[-1]]]
    depot = Call(DEPOT, 0)
    return [depot, *(Call(row, day.service_s(row), day.stop(row).windows if row in day.closing else ()) for row in rows), depot]


def _named(day: Day, place: int, *, last: bool) -> tuple[VisitKind, str | None]:
    if place == DEPOT:
        return (VisitKind.DEPOT_END if last else VisitKind.DEPOT_START), None
    if place <= len(day.problem.stops):
        return VisitKind.STOP, day.stop(place).id
    return VisitKind.UNLOAD, day.site(place).id
