"""The engine: OR-Tools' routing search over integer matrices. The only module that knows OR-Tools.

ortools 9.15 has edges that decide the shape of this module: an exception in a transit callback makes the arc cost 0 and the
answer "optimal" (so: matrices only, and the cost is counted again outside); an exception in a solution callback is swallowed
(so: kept and raised after the search); the interpreter's lock is held for the whole search (so: never in a thread of a
server); `SolveWithParameters` ignores iterated local search without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any

from google.protobuf import text_format  # type: ignore[import-untyped]
from ortools.constraint_solver import pywrapcp
from ortools.util import optional_boolean_pb2

from cityloop_common.clock import Clock
from cityloop_waste.planning.domain import NoPlanFound, PlanRefused
from cityloop_waste.planning.model import Loads, Model

TELLS_EVERY_S = 0.25
_FIVE = ("use_relocate", "use_exchange", "use_cross", "use_two_opt", "use_or_opt")
_PLAIN = """
first_solution_strategy: SAVINGS
local_search_metaheuristic: GREEDY_DESCENT
use_iterated_local_search: true
iterated_local_search_parameters {
  perturbation_strategy: RUIN_AND_RECREATE
  ruin_recreate_parameters {
    ruin_strategies { sisr { max_removed_sequence_size: 10 avg_num_removed_visits: 10 bypass_factor: 0.01 } }
    recreate_strategy { heuristic: LOCAL_CHEAPEST_INSERTION }
  }
  improve_perturbed_solution: true
  best_solution_acceptance_strategy { greedy_descent {} }
  reference_solution_acceptance_strategy {
    simulated_annealing { cooling_schedule_strategy: EXPONENTIAL automatic_temperatures: true }
  }
}
"""
_MULTI_TRIP = "local_search_metaheuristic: GUIDED_LOCAL_SEARCH"


class Recipe(StrEnum):
    """How to search: what was measured best for the kind of model.

    PLAIN: iterated local search, annealed, five operators, from the engine's own beginning; temperatures by the size of the
    costs (in 24 s 0.4, 2.5, 0.1 and 2.8 % above the best known of four public instances; fixed ones 1.5, 2.5, 0.1, 3.5).
    MULTI_TRIP (unloads on the way, windows): guided local search with all default operators from routes that are given. With
    400 stops iterated local search did one or two rounds in 20 s there, and nothing could be told or stopped meanwhile.
    """

    PLAIN = "plain"
    MULTI_TRIP = "multi-trip"


class Ended(StrEnum):
    """Why a search ended: its time (or number of solutions) was over, somebody asked, or nothing was left to try."""

    TIME = "time"
    ASKED = "asked"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class State:
    """How far a search is: the best so far, its routes (one a vehicle, without start and end) and what they cost."""

    elapsed_s: float
    solutions: int
    cost: int
    routes: tuple[tuple[int, ...], ...]

    def vehicles(self) -> int:
        """How many are used."""
        return sum(1 for route in self.routes if route)

    def unserved(self, model: Model) -> int:
        """How many stops are left out."""
        return model.copies_from - 1 - sum(1 for route in self.routes for node in route if node < model.copies_from)

    def distance_m(self, model: Model) -> int:
        """Metres of the routes: their cost without vehicles and stops left out."""
        return self.cost - self.vehicles() * model.vehicle_cost - self.unserved(model) * (model.penalty or 0)


@dataclass(frozen=True, slots=True)
class Found:
    """Routes, one a vehicle, without start and end; an unused vehicle's is empty."""

    routes: tuple[tuple[int, ...], ...]
    cost: int
    ended: Ended
    state: State


@dataclass(frozen=True, slots=True)
class Limits:
    """When to end: after `seconds`, or after `solutions` of them. `tell` is called now and then; True from it ends the search.

    A PLAIN search cannot be ended from inside (ortools 9.15: cancelled, its rounds go on empty until the time is over): who does
    not want to wait takes the routes that were told last and ends the process.
    """

    seconds: float
    clock: Clock
    tell: Callable[[State], bool]
    solutions: int | None = None


def search(model: Model, recipe: Recipe, limits: Limits, begin: Sequence[Sequence[int]] = ()) -> Found:
    """The best routes found within the limits, from `begin` (one route of nodes a vehicle) on where the recipe needs it.

    Raises NoPlanFound when there were none yet, PlanRefused when `begin` breaks a rule of the model or the engine's cost is
    not what its routes cost.
    """
    manager = pywrapcp.RoutingIndexManager(model.end + 1, model.vehicles, [0] * model.vehicles, [model.end] * model.vehicles)
    routing = pywrapcp.RoutingModel(manager)
    _costs(routing, manager, model)
    for loads in model.loads:
        _capacity(routing, manager, model, loads)
    if model.clock is not None:
        _hours(routing, manager, model)
    parameters = _parameters(recipe, limits)
    routing.CloseModelWithParameters(parameters)
    watch = _Watch(routing, manager, model, limits)
    routing.AddAtSolutionCallback(watch)
    if recipe is Recipe.PLAIN:
        assignment = routing.SolveWithIteratedLocalSearch(parameters)
    else:
        first = routing.ReadAssignmentFromRoutes([[manager.NodeToIndex(node) for node in route] for route in begin], True)
        if first is None:
            raise PlanRefused("the routes to begin with break a rule of the model")
        assignment = routing.SolveFromAssignmentWithParameters(first, parameters)
    if watch.raised is not None:
        raise watch.raised
    if assignment is None:
        raise NoPlanFound(f"nothing was found in {limits.seconds:g} s: give it more time")
    routes = _routes(routing, manager, model, assignment.Value)
    cost, told = model.price(routes), assignment.ObjectiveValue()
    if cost != told:
        raise PlanRefused(f"the engine says that its routes cost {told}, they cost {cost}")
    return Found(routes, cost, watch.ended(), watch.state)


def _costs(routing: Any, manager: Any, model: Model) -> None:
    routing.SetArcCostEvaluatorOfAllVehicles(routing.RegisterTransitMatrix(model.cost))
    if model.vehicle_cost:
        routing.SetFixedCostOfAllVehicles(model.vehicle_cost)
    for node in range(1, model.end):
        if node >= model.copies_from:
            routing.AddDisjunction([manager.NodeToIndex(node)], 0)
        elif model.penalty is not None:
            routing.AddDisjunction([manager.NodeToIndex(node)], model.penalty)


def _capacity(routing: Any, manager: Any, model: Model, loads: Loads) -> None:
    """What is on board. An unload takes everything off: it takes the most there can be, and the slack gives back what was not there."""
    most = max(loads.capacity)
    added = [-most if model.copies_from <= node < model.end else load for node, load in enumerate(loads.added)]
    transit = routing.RegisterUnaryTransitVector(added)
    routing.AddDimensionWithVehicleCapacity(transit, most, list(loads.capacity), True, loads.name)
    dimension = routing.GetDimensionOrDie(loads.name)
    for node in range(1, model.copies_from):
        dimension.SlackVar(manager.NodeToIndex(node)).SetValue(0)
    for vehicle in range(model.vehicles):
        dimension.SlackVar(routing.Start(vehicle)).SetValue(0)


def _hours(routing: Any, manager: Any, model: Model) -> None:
    clock = model.clock
    assert clock is not None
    transit = routing.RegisterTransitMatrix(clock.seconds)
    routing.AddDimension(transit, clock.horizon_s, clock.horizon_s, False, "time")
    dimension = routing.GetDimensionOrDie("time")
    for node, windows in enumerate(clock.windows):
        if not windows:
            continue
        starts = dimension.CumulVar(manager.NodeToIndex(node))
        starts.SetRange(windows[0].start_s, min(windows[-1].end_s, clock.horizon_s))
        for before, after in pairwise(windows):
            starts.RemoveInterval(before.end_s + 1, after.start_s - 1)
    for vehicle, shift in enumerate(clock.shifts):
        dimension.CumulVar(routing.Start(vehicle)).SetRange(shift.start_s, shift.end_s)
        dimension.CumulVar(routing.End(vehicle)).SetRange(shift.start_s, shift.end_s)


def _parameters(recipe: Recipe, limits: Limits) -> Any:
    parameters = pywrapcp.DefaultRoutingSearchParameters()
    if recipe is Recipe.PLAIN:
        iterated = parameters.iterated_local_search_parameters
        for field in ("reference_solution_acceptance_strategy", "best_solution_acceptance_strategy"):
            iterated.ClearField(field)  # merging keeps what it does not name, temperatures for one
        operators = parameters.local_search_operators
        for operator in operators.DESCRIPTOR.fields:
            chosen = optional_boolean_pb2.BOOL_TRUE if operator.name in _FIVE else optional_boolean_pb2.BOOL_FALSE
            setattr(operators, operator.name, chosen)
    text_format.Merge(_PLAIN if recipe is Recipe.PLAIN else _MULTI_TRIP, parameters)
    parameters.time_limit.FromMilliseconds(max(1, round(limits.seconds * 1000)))
    if limits.solutions is not None:
        parameters.solution_limit = limits.solutions
    faults = pywrapcp.FindErrorInRoutingSearchParameters(parameters)
    if faults:
        raise ValueError(f"the search parameters are refused: {faults}")
    return parameters


def _routes(routing: Any, manager: Any, model: Model, value: Callable[[Any], int]) -> tuple[tuple[int, ...], ...]:
    """The nodes of each vehicle's route; `value` reads a variable of the solution."""
    routes: list[tuple[int, ...]] = []
    for vehicle in range(model.vehicles):
        nodes: list[int] = []
        index = value(routing.NextVar(routing.Start(vehicle)))
        while not routing.IsEnd(index):
            nodes.append(manager.IndexToNode(index))
            index = value(routing.NextVar(index))
        routes.append(tuple(nodes))
    return tuple(routes)


class _Watch:
    """Called by the search at each solution, better or not: tells how it goes, ends it, keeps what goes wrong here."""

    def __init__(self, routing: Any, manager: Any, model: Model, limits: Limits) -> None:
        self._routing, self._manager, self._model, self._limits = routing, manager, model, limits
        self._began = limits.clock.monotonic()
        self._told_at = float("-inf")
        self._asked = False
        self.state = State(0.0, 0, 2**63 - 1, ())
        self.raised: Exception | None = None

    def __call__(self) -> None:
        try:
            self._note()
        except Exception as error:  # noqa: BLE001 - raised once the search has ended
            self.raised = error
        if self._asked or self.raised is not None:
            self._routing.solver().FinishCurrentSearch()  # CancelSearch at the first solution would lose it

    def ended(self) -> Ended:
        """Why the search came to its end."""
        if self._asked:
            return Ended.ASKED
        limited = self._limits.solutions is not None and self.state.solutions >= self._limits.solutions
        over = self._limits.clock.monotonic() - self._began >= self._limits.seconds
        return Ended.TIME if limited or over else Ended.COMPLETE

    def _note(self) -> None:
        now = self._limits.clock.monotonic() - self._began
        cost = self._routing.CostVar().Value()
        if cost < self.state.cost:
            self.state = State(now, self.state.solutions + 1, cost, self._now())
        else:
            self.state = replace(self.state, elapsed_s=now, solutions=self.state.solutions + 1)
        if now - self._told_at >= TELLS_EVERY_S:
            self._told_at = now
            self._asked = self._limits.tell(self.state) or self._asked

    def _now(self) -> tuple[tuple[int, ...], ...]:
        """The routes of the solution that the search stands at."""
        return _routes(self._routing, self._manager, self._model, lambda variable: variable.Value())
