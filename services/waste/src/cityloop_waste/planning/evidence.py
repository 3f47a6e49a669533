"""What is known of a plan's quality: bounds that no plan can beat, where the first engine stood, likeness to the day before.

A bound is proven, the first engine's figure is a state of the same search: neither is ever told as the other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cityloop_waste.planning.domain import Minimise, Plan, Round, VisitKind
from cityloop_waste.planning.fewest import fewest_vehicles
from cityloop_waste.planning.model import Model
from cityloop_waste.planning.qroutes import WEAK_STOPS, Bound

_WAY = {Minimise.DISTANCE: "distance", Minimise.TIME: "time"}


@dataclass(frozen=True, slots=True)
class Compared:
    """How far the engine that ran ahead had come when the other began to improve that same plan: no second plan, and no bound.

    `cost`: its way, as far as OR-Tools accepts its routes.
    """

    engine: str
    cost: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much of the day before is in a plan, of what both days serve: neighbours in the order, and stops with their truck."""

    pairs: int
    pairs_kept: int
    stops: int
    stops_kept: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """A plan's figures beside those that no plan can beat, in the model's unit. `cost`: its way and the prizes that it gives up.

    `not_served`: stops that have no prize and are left out all the same; the bound is then one for plans that serve the others.
    """

    vehicles: int
    fewest_vehicles: int
    cost: int
    bound: Bound
    not_served: int = 0
    minimise: Minimise = Minimise.DISTANCE
    compared: Compared | None = None
    likeness: Likeness | None = None

    @property
    def gap_percent(self) -> float:
        """The most that any plan could save of the cost."""
        return 100 * (self.cost - self.bound.value) / self.cost if self.cost else 0.0

    def __str__(self) -> str:
        who = "No plan" if not self.not_served else f"No plan that serves all but the same {self.not_served} stops"
        way = _WAY[self.minimise]
        said = f"{who} saves more than {self.gap_percent:.1f} % of its {way} (loads and {way}s counted; windows, shifts and breaks ignored)"
        weak = f"; weak, because trips have more than {WEAK_STOPS} stops: the true figure is likely far lower" if self.bound.weak else ""
        return f"{said}{weak}."


def evidence(
    model: Model,
    out: Collection[int],
    bound: Bound,
    *,
    vehicles: int,
    way: int,
    minimise: Minimise = Minimise.DISTANCE,
    compared: Compared | None = None,
    likeness: Likeness | None = None,
) -> Evidence:
    """What is known of a plan that leaves the stops `out` out. The bound: with `left_out=not_asked(model, out)`."""
    missed = not_asked(model, out)
    given_up = sum(model.prizes[node] for node in out if node not in missed)
    return Evidence(vehicles, fewest_vehicles(model, missed), way + given_up, bound, len(missed), minimise, compared, likeness)


def not_asked(model: Model, out: Collection[int]) -> frozenset[int]:
    """Of stops that are left out those without a prize: what a plan drives says nothing about plans that serve them."""
    return frozenset(out).difference(model.prizes)


def likeness(yesterday: Sequence[Round], plan: Plan) -> Likeness:
    """How much of the day before is in the plan. Unloads between two stops do not part them."""
    today = {route.truck: [visit.id for visit in route.visits if visit.kind is VisitKind.STOP] for route in plan.routes}
    served = {stop for stops in today.values() for stop in stops}
    neighbours = {pair for stops in today.values() for pair in pairwise(stops)}
    both = [(each.truck, [stop for stop in each.stops if stop in served]) for each in yesterday]
    pairs = [pair for each in yesterday for pair in pairwise(each.stops) if served.issuperset(pair)]
    kept = sum(1 for truck, stops in both for stop in stops if stop in today.get(truck, ()))
    return Likeness(len(pairs), sum(1 for pair in pairs if pair in neighbours), sum(len(stops) for _, stops in both), kept)
