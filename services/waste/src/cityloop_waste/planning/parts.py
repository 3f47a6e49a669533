"""A large plan improved part by part: some routes near each other are searched anew while all others stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cityloop_waste.planning.model import Model

STOPS = 80
"""Stops of a part: measured best with 1.3 to 2 s each."""
SPARE_TRIPS = 2


@dataclass(frozen=True, slots=True)
class Part:
    """Some vehicles of a model with their stops: a model of its own, whose nodes 1.. are `nodes` of the whole."""

    model: Model
    vehicles: tuple[int, ...]
    nodes: tuple[int, ...]
    routes: tuple[tuple[int, ...], ...]


class Parts:
    """Chooses what to search next: around the stop that was tried least recently, whole routes, nearest first, and stops left out."""

    def __init__(self, model: Model, routes: Sequence[Sequence[int]]) -> None:
        self.model = model
        self.routes = [list(route) for route in routes]
        self.cost = model.price(self.routes)
        self._tried = dict.fromkeys(range(1, model.copies_from), 0)
        self._round = 0

    @property
    def whole(self) -> bool:
        """Whether the model is so small that it is one part."""
        return self.model.copies_from - 1 <= STOPS + STOPS // 2

    def next(self) -> Part | None:
        """The next part."""
        if not self._tried:
            return None
        self._round += 1
        seed = min(self._tried, key=lambda node: (self._tried[node], node))
        vehicles = self._near(seed)
        stops = [node for vehicle in vehicles for node in self.routes[vehicle] if node < self.model.copies_from]
        served = {node for route in self.routes for node in route}
        left = [node for node in self._tried if node not in served]
        left = sorted(left, key=lambda node: self._far(seed, node))[: STOPS // 2]
        for node in {*stops, *left, seed}:
            self._tried[node] = self._round
        return self._part(vehicles, [*stops, *left])

    def take(self, part: Part, routes: Sequence[Sequence[int]]) -> bool:
        """Takes the routes of a part over if the whole costs less with them."""
        changed = list(self.routes)
        for vehicle, route in zip(part.vehicles, routes, strict=True):
            changed[vehicle] = [part.nodes[node - 1] for node in route]
        cost = self.model.price(changed)
        if cost >= self.cost:
            return False
        self.routes, self.cost = changed, cost
        return True

    def _near(self, seed: int) -> list[int]:
        """Vehicles around a stop: the nearest routes until they have enough stops, at least two, and one that stays at home."""
        used = [vehicle for vehicle, route in enumerate(self.routes) if route]
        idle = [vehicle for vehicle, route in enumerate(self.routes) if not route]
        used.sort(key=lambda vehicle: self._nearest(seed, vehicle))
        chosen: list[int] = []
        stops = 0
        for vehicle in used:
            stops += sum(1 for node in self.routes[vehicle] if node < self.model.copies_from)
            if len(chosen) >= 2 and stops > STOPS:
                break
            chosen.append(vehicle)
        return chosen + idle[:1]

    def _part(self, vehicles: Sequence[int], stops: Sequence[int]) -> Part:
        copies = [node for vehicle in vehicles for node in self.routes[vehicle] if node >= self.model.copies_from]
        taken = {node for route in self.routes for node in route}
        spare: dict[int, list[int]] = {}
        for node in range(self.model.copies_from, self.model.starts_from):
            if node not in taken:
                spare.setdefault(self.model.places[node], []).append(node)
        copies += [node for free in spare.values() for node in free[: len(vehicles) + SPARE_TRIPS]]
        nodes = (*stops, *copies)
        number = {node: at for at, node in enumerate(nodes, 1)}
        routes = tuple(tuple(number[node] for node in self.routes[vehicle]) for vehicle in vehicles)
        return Part(self.model.select(stops, copies, vehicles), tuple(vehicles), nodes, routes)

    def _nearest(self, seed: int, vehicle: int) -> int:
        return min((self._far(seed, node) for node in self.routes[vehicle] if node < self.model.copies_from), default=0)

    def _far(self, a: int, b: int) -> int:
        return min(self.model.cost[a][b], self.model.cost[b][a]) if a != b else 0
