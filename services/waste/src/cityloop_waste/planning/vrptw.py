"""VRPTW files in `.vrp` form: one depot, equal vehicles, a window for each customer, one service time (TYPE VRPTW, EUC_2D).

A distance is the Euclidean one cut after its first decimal, as the published results of Gehring and Homberger's instances have
it; so all is counted in tenths: floor(10 d), windows and service times ten. A minute of driving is a unit of distance. The cost is
the distance alone, however many vehicles drive it. Customers are numbered as in `.sol` files: the node's number less one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cityloop_waste.planning import vrplib
from cityloop_waste.planning.domain import Reason, Window
from cityloop_waste.planning.instances import LARGEST, MOST_PLACES, FilePlan, Spot, SpotKind, at, missing_or_double
from cityloop_waste.planning.model import PENALTY_TIMES, Clock, Loads, Model

_FORM = vrplib.Form(
    fixed={"TYPE": "VRPTW", "EDGE_WEIGHT_TYPE": "EUC_2D"},
    needed={"DIMENSION": vrplib.DIMENSION, "CAPACITY": vrplib.CAPACITY, "SERVICE_TIME": (0, LARGEST)},
    optional={"VEHICLES": (1, MOST_PLACES)},
    sections=(vrplib.COORDINATES, vrplib.DEMANDS, vrplib.WINDOWS, vrplib.DEPOT),
)


@dataclass(frozen=True, slots=True)
class Vrptw:
    """Places, demands and windows in tenths; number 0 is the depot, its window is the day. `vehicles` None = no limit."""

    name: str
    vehicles: int | None
    capacity: int
    service_tenths: int
    places: tuple[tuple[float, float], ...]
    demands: tuple[int, ...]
    windows_tenths: tuple[tuple[int, int], ...]

    @property
    def unit(self) -> str:
        """See Instance."""
        return "units"

    def tenths(self, a: int, b: int) -> int:
        """The distance of two places, and the time from one to the other, in tenths."""
        return math.floor(10 * math.dist(self.places[a], self.places[b]))

    def cost_tenths(self, routes: Sequence[Sequence[int]]) -> int:
        """The length of the routes in tenths."""
        return sum(self.tenths(a, b) for route in routes for a, b in pairwise((0, *route, 0)))

    def cost(self, routes: Sequence[Sequence[int]]) -> float:
        """The length of the routes."""
        return self.cost_tenths(routes) / 10

    def faults(self, plan: FilePlan) -> list[str]:
        """Every broken rule: load, windows, the day, vehicles, each customer once, the cost counted again from the file."""
        unknown = sorted({customer for route in plan.routes for customer in route if not 0 < customer < len(self.places)})
        if unknown:
            return [f"customer {customer} is not in the file" for customer in unknown]
        found = missing_or_double("customer", range(1, len(self.places)), plan)
        if self.vehicles is not None and plan.vehicles > self.vehicles:
            found.append(f"{plan.vehicles} vehicles go out, {self.vehicles} allowed")
        for number, route in enumerate(plan.routes, 1):
            load = sum(self.demands[customer] for customer in route)
            if load > self.capacity:
                found.append(f"route {number} carries {load}, {self.capacity} allowed")
            found += [f"route {number} {fault}" for fault in self._late(route)]
        total = self.cost_tenths(plan.routes)
        if plan.cost is not None and abs(10 * plan.cost - total) > 1e-4:  # the exact tenth: 41337.8 is no binary number
            found.append(f"the cost is told as {plan.cost:.15g}, it is {total / 10:.15g}")
        return found

    def spots(self) -> tuple[Spot, ...]:
        """See Instance."""
        return tuple(Spot(number, SpotKind.STOP if number else SpotKind.DEPOT, *place) for number, place in enumerate(self.places))

    def _late(self, route: Sequence[int]) -> Iterator[str]:
        """Where a route that leaves as early as it can comes too late. After that it goes on as if the window were still open."""
        now, here = self.windows_tenths[0][0], 0
        for customer in route:
            early, late = self.windows_tenths[customer]
            now = max(now + self.tenths(here, customer), early)
            if now > late:
                yield f"cannot begin at customer {customer} before {now / 10:g}, its window ends at {late / 10:g}"
            now, here = now + self.service_tenths, customer
        now += self.tenths(here, 0)
        if route and now > self.windows_tenths[0][1]:
            yield f"is back at {now / 10:g}, the depot closes at {self.windows_tenths[0][1] / 10:g}"


def read(text: str) -> Vrptw:
    """An instance. Raises UnreadableInstance with the line where the file stops making sense."""
    draft = vrplib.read(text, _FORM)
    if 10 * int(draft.headers["SERVICE_TIME"]) + draft.windows_tenths[1][1] > LARGEST:
        raise at(draft.line_of[vrplib.WINDOWS, 1], "the depot's window and the service are longer than can be counted")
    return Vrptw(
        name=draft.headers.get("NAME", ""),
        vehicles=int(draft.headers["VEHICLES"]) if "VEHICLES" in draft.headers else None,
        capacity=int(draft.headers["CAPACITY"]),
        service_tenths=10 * int(draft.headers["SERVICE_TIME"]),
        places=tuple(draft.places[node] for node in draft.nodes),
        demands=tuple(draft.demands[node] for node in draft.nodes),
        windows_tenths=tuple(draft.windows_tenths[node] for node in draft.nodes),
    )


def unservable(instance: Vrptw) -> dict[int, Reason]:
    """Customers that no vehicle can serve, even if it serves nobody else, and why. None asks for more than a vehicle bears."""
    opens, closes = instance.windows_tenths[0]
    found: dict[int, Reason] = {}
    for customer in range(1, len(instance.places)):
        early, late = instance.windows_tenths[customer]
        way = instance.tenths(0, customer)
        home = instance.service_tenths + instance.tenths(customer, 0)
        if opens + way + home > closes:
            found[customer] = Reason.NOT_ENOUGH_TIME
        elif opens + way > late or max(opens + way, early) + home > closes:
            found[customer] = Reason.WINDOW
    return found


@dataclass(frozen=True, slots=True)
class Start:
    """An engine's model and routes of its nodes to begin with, one a vehicle."""

    model: Model
    begin: list[list[int]]


def model(instance: Vrptw, vehicles: int | None = None, *, improved: bool = False) -> Start:
    """The customers that can be served as an engine's model, with so many vehicles at most, and a first plan.

    Without a limit as many vehicles as the first plan needs and a tenth and ten more: the shortest plans of instances with long days
    have 27 routes where the first plan has 25, or 9 where 4 are enough. Where the limit is below what the first plan needs customers
    may be left out, at a price beyond any way; also for an engine that only improves the first plan (by itself OR-Tools finds nothing
    in 10 s among a thousand windows). Tenths of a unit are the model's seconds.
    """
    lost = unservable(instance)
    places = (0, *(customer for customer in range(1, len(instance.places)) if customer not in lost))
    cost = [[instance.tenths(a, b) for b in places] for a in places]
    by_hand = _by_hand(instance, places, cost)
    most = min(instance.vehicles or len(places), vehicles or len(by_hand) + 10 + len(by_hand) // 10, max(1, len(places) - 1))
    begin = sorted(by_hand, key=len, reverse=True)[:most]
    longest = max(max(row) for row in cost)
    day = Window(*instance.windows_tenths[0])
    seconds = [[(instance.service_tenths if a else 0) + leg for leg in (*row, row[0])] for a, row in enumerate(cost)]
    cost = [[*row, row[0]] for row in cost] + [[0] * (len(places) + 1)]
    seconds.append([0] * (len(places) + 1))
    for node in range(len(places)):
        seconds[node][node] = 0
    cost[0][-1] = seconds[0][-1] = 0
    built = Model(
        places=places,
        cost=cost,
        loads=(Loads("load", (*(instance.demands[place] for place in places), 0), (instance.capacity,) * most),),
        vehicles=most,
        copies_from=len(places),
        penalty=None if most >= len(by_hand) and not improved else PENALTY_TIMES * (2 * longest + 1),
        clock=Clock(
            seconds=seconds,
            windows=((), *((_within(instance.windows_tenths[place], day),) for place in places[1:])),
            shifts=(day,) * most,
            horizon_s=day.end_s,
        ),
    )
    return Start(built, begin + [[] for _ in range(most - len(begin))])


def _within(window: tuple[int, int], day: Window) -> Window:
    return Window(max(window[0], day.start_s), min(window[1], day.end_s))


def _by_hand(instance: Vrptw, places: Sequence[int], tenths: Sequence[Sequence[int]]) -> list[list[int]]:
    """Routes of nodes, each led on to the customer that is near, soon begun and urgent, until nobody fits any more.

    Solomon's nearest neighbour in time (1987), with weights 0.4, 0.4 and 0.2.
    """
    left = set(range(1, len(places)))
    routes: list[list[int]] = []
    while left:
        route: list[int] = []
        here, leaves, load = 0, instance.windows_tenths[0][0], 0
        while fitting := list(_fitting(instance, places, tenths, left, (here, leaves, load))):
            _, here, starts = min(fitting)
            leaves, load = starts + instance.service_tenths, load + instance.demands[places[here]]
            route.append(here)
            left.remove(here)
        routes.append(route)
    return routes


def _fitting(
    instance: Vrptw, places: Sequence[int], tenths: Sequence[Sequence[int]], left: Iterable[int], at: tuple[int, int, int]
) -> Iterator[tuple[float, int, int]]:
    """What could come next for a vehicle that leaves a node at a time with a load: its score, the node, when its service starts."""
    here, leaves, load = at
    closes = instance.windows_tenths[0][1]
    legs = tenths[here]
    for node in left:
        early, late = instance.windows_tenths[places[node]]
        arrives = leaves + legs[node]
        starts = max(arrives, early)
        if (
            starts <= late
            and load + instance.demands[places[node]] <= instance.capacity
            and starts + instance.service_tenths + tenths[node][0] <= closes
        ):
            yield 0.4 * legs[node] + 0.4 * (starts - leaves) + 0.2 * (late - arrives), node, starts
