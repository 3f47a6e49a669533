"""CVRPLIB's files: instances of one depot, one load and equal vehicles without limit of number (TYPE CVRP, EUC_2D).

A distance is the Euclidean one rounded to the nearest integer, floor(d + 0.5): every published `.sol` of set X recomputes exactly.
Customers are numbered as in `.sol` files: 1 to n - 1, the node's number less one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cityloop_waste.planning import vrplib
from cityloop_waste.planning.instances import FilePlan, Spot, SpotKind, missing_or_double
from cityloop_waste.planning.model import PENALTY_TIMES, Loads, Model

_FORM = vrplib.Form(
    fixed={"TYPE": "CVRP", "EDGE_WEIGHT_TYPE": "EUC_2D"},
    needed={"DIMENSION": vrplib.DIMENSION, "CAPACITY": vrplib.CAPACITY},
    optional={},
    sections=(vrplib.COORDINATES, vrplib.DEMANDS, vrplib.DEPOT),
)


@dataclass(frozen=True, slots=True)
class Cvrp:
    """Places and demands; number 0 is the depot."""

    name: str
    capacity: int
    places: tuple[tuple[float, float], ...]
    demands: tuple[int, ...]

    @property
    def unit(self) -> str:
        """See Instance."""
        return "units"

    def distance(self, a: int, b: int) -> int:
        """The rounded distance of two places."""
        return math.floor(math.dist(self.places[a], self.places[b]) + 0.5)

    def cost(self, routes: Sequence[Sequence[int]]) -> int:
        """The length of the routes."""
        return sum(self.distance(a, b) for route in routes for a, b in pairwise((0, *route, 0)))

    def faults(self, plan: FilePlan) -> list[str]:
        """Every broken rule: load, each customer once, the cost counted again from the file."""
        unknown = sorted({customer for route in plan.routes for customer in route if not 0 < customer < len(self.places)})
        if unknown:
            return [f"customer {customer} is not in the file" for customer in unknown]
        found = missing_or_double("customer", range(1, len(self.places)), plan)
        for number, route in enumerate(plan.routes, 1):
            load = sum(self.demands[customer] for customer in route)
            if load > self.capacity:
                found.append(f"route {number} carries {load}, {self.capacity} allowed")
        if plan.cost is not None and plan.cost != (total := self.cost(plan.routes)):
            found.append(f"the cost is told as {plan.cost:.15g}, it is {total}")
        return found

    def spots(self) -> tuple[Spot, ...]:
        """See Instance."""
        return tuple(Spot(number, SpotKind.STOP if number else SpotKind.DEPOT, *place) for number, place in enumerate(self.places))


def read(text: str) -> Cvrp:
    """An instance. Raises UnreadableInstance with the line where the file stops making sense."""
    draft = vrplib.read(text, _FORM)
    places, demands = tuple(draft.places[node] for node in draft.nodes), tuple(draft.demands[node] for node in draft.nodes)
    return Cvrp(draft.headers.get("NAME", ""), int(draft.headers["CAPACITY"]), places, demands)


def model(instance: Cvrp, vehicles: int | None = None) -> tuple[Model, list[list[int]]]:
    """The instance as an engine's model, and routes of its nodes to begin with, one a vehicle (none: the engine finds its own).

    There are so many vehicles at most; without a limit as many as are surely enough and some more. Every customer must be served where
    there are surely enough; else each may be left out at a price beyond any way, and the routes are packed without a look at the map.
    """
    count = len(instance.places)
    cost = [[instance.distance(a, b) for b in range(count)] for a in range(count)]
    longest = max(max(row) for row in cost)
    cost = [[*row, row[0]] for row in cost] + [[0] * (count + 1)]
    cost[0][-1] = 0
    fewest = -(-sum(instance.demands) // instance.capacity)
    packed = _packed(instance)
    wanted = min(count - 1, vehicles or max(len(packed), fewest + 2 + fewest // 10))
    enough = wanted >= len(packed)
    built = Model(
        places=tuple(range(count)),
        cost=cost,
        loads=(Loads("load", (*instance.demands, 0), (instance.capacity,) * wanted),),
        vehicles=wanted,
        copies_from=count,
        penalty=None if enough else PENALTY_TIMES * (2 * longest + 1),
    )
    return built, [] if enough else packed[:wanted]


def _packed(instance: Cvrp) -> list[list[int]]:
    """Customers in vehicles by first-fit of falling demand: so many vehicles are enough."""
    room: list[int] = []
    routes: list[list[int]] = []
    for customer in sorted(range(1, len(instance.places)), key=lambda each: -instance.demands[each]):
        demand = instance.demands[customer]
        number = next((number for number, free in enumerate(room) if demand <= free), len(room))
        if number == len(room):
            room.append(instance.capacity)
            routes.append([])
        room[number] -= demand
        routes[number].append(customer)
    return routes
