"""The engine: OR-Tools' routing search over integer matrices. The only module that knows OR-Tools.

ortools 9.15 has edges that decide the shape of this module: an exception in a transit callback makes the arc cost 0 and the
answer "optimal" (so: matrices only, and the cost is counted again outside); an exception in a solution callback is swallowed
(so: kept and raised after the search); the interpreter's lock is held for the whole search (so: never in a thread of a
server); `SolveWithParameters` ignores iterated local search without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any

from google.protobuf import text_format  # type: ignore[import-untyped]
from ortools.constraint_solver import pywrapcp
from ortools.util import optional_boolean_pb2

from cityloop_waste.planning.domain import NoPlanFound, PlanRefused, Window
from cityloop_waste.planning.model import Clock, DayCap, Loads, Model
from cityloop_waste.planning.searching import BeginRefused, Found, Limits, Routes, Watch

JUDGES_MS = 60_000
"""Time to judge routes: reading them is a little search that ends with nothing, as if a rule were broken, when its limit is over."""
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


def search(model: Model, recipe: Recipe, watch: Watch, begin: Sequence[Sequence[int]] = ()) -> Found:
    """The best routes found within the watch's limits, from `begin` (one route of nodes a vehicle) on where the recipe needs it.

    A PLAIN search cannot be ended from inside (ortools 9.15: cancelled, its rounds go on empty until the time is over). Raises
    NoPlanFound when there were none yet, PlanRefused when `begin` breaks a rule of the model or the engine's cost is not what its
    routes cost.
    """
    engine = _Engine(model, recipe, watch.limits)
    told = _Told(engine, watch)
    engine.routing.AddAtSolutionCallback(told)
    if recipe is Recipe.PLAIN:
        assignment = engine.routing.SolveWithIteratedLocalSearch(engine.parameters)
    else:
        first = engine.read(begin)
        if first is None:
            raise BeginRefused("the routes to begin with break a rule of the model")
        assignment = engine.routing.SolveFromAssignmentWithParameters(first, engine.parameters)
    if told.raised is not None:
        raise told.raised
    if assignment is None:
        raise NoPlanFound(f"nothing was found in {watch.limits.seconds:g} s: give it more time")
    routes = engine.routes(assignment.Value)
    cost, claimed = model.price(routes), assignment.ObjectiveValue()
    if cost != claimed:
        raise PlanRefused(f"the engine says that its routes cost {claimed}, they cost {cost}")
    return Found(model, routes, cost, watch.ended())


def accepts(model: Model, routes: Sequence[Sequence[int]]) -> bool:
    """Whether routes of nodes keep every rule of the model."""
    return _Engine(model, Recipe.MULTI_TRIP, None).read(routes) is not None


class _Engine:
    """A model in the engine's own words, closed and ready to search."""

    def __init__(self, model: Model, recipe: Recipe, limits: Limits | None) -> None:
        self.model = model
        starts = [model.start(vehicle) for vehicle in range(model.vehicles)]
        self.manager = pywrapcp.RoutingIndexManager(model.end + 1, model.vehicles, starts, [model.end] * model.vehicles)
        self.routing = pywrapcp.RoutingModel(self.manager)
        _costs(self.routing, self.manager, model)
        for loads in model.loads:
            _capacity(self.routing, self.manager, model, loads)
        for cap in model.caps:
            _day_cap(self.routing, cap)
        if model.clock is not None:
            _hours(self.routing, self.manager, model, model.clock)
        self.parameters = _parameters(recipe, limits)
        self.routing.CloseModelWithParameters(_parameters(recipe, None))

    def read(self, routes: Sequence[Sequence[int]]) -> Any:
        """Routes as an assignment; None when they break a rule."""
        indices = [[self.manager.NodeToIndex(node) for node in route] for route in routes]
        return self.routing.ReadAssignmentFromRoutes(indices, True)

    def routes(self, value: Callable[[Any], int]) -> Routes:
        """The nodes of each vehicle's route; `value` reads a variable of the solution."""
        routes: list[tuple[int, ...]] = []
        for vehicle in range(self.model.vehicles):
            nodes: list[int] = []
            index = value(self.routing.NextVar(self.routing.Start(vehicle)))
            while not self.routing.IsEnd(index):
                nodes.append(self.manager.IndexToNode(index))
                index = value(self.routing.NextVar(index))
            routes.append(tuple(nodes))
        return tuple(routes)


def _costs(routing: Any, manager: Any, model: Model) -> None:
    routing.SetArcCostEvaluatorOfAllVehicles(routing.RegisterTransitMatrix(model.cost))
    for vehicle in range(model.vehicles):
        if model.start(vehicle):  # it is out already, and must come home
            routing.SetVehicleUsedWhenEmpty(True, vehicle)
        elif model.vehicle_cost:
            routing.SetFixedCostOfVehicle(model.vehicle_cost, vehicle)
    if all(model.start(vehicle) for vehicle in range(model.vehicles)):  # nobody begins at the depot: it is no place to drive to
        depot = manager.NodeToIndex(0)
        routing.AddDisjunction([depot], 0)
        routing.ActiveVar(depot).SetValue(0)
    for node in range(1, model.starts_from):
        if node >= model.copies_from:
            routing.AddDisjunction([manager.NodeToIndex(node)], 0)
        elif model.penalty is not None:
            routing.AddDisjunction([manager.NodeToIndex(node)], model.prizes.get(node, model.penalty))
    for node, vehicles in model.allowed.items():
        routing.VehicleVar(manager.NodeToIndex(node)).SetValues([-1, *vehicles])  # SetAllowedVehiclesForIndex: TypeError in 9.15


def _capacity(routing: Any, manager: Any, model: Model, loads: Loads) -> None:
    """What is on board. An unload takes everything off: it takes the most there can be, and the slack gives back what was not there."""
    most = max(loads.capacity)
    added = [-most if model.copies_from <= node < model.starts_from else load for node, load in enumerate(loads.added)]
    transit = routing.RegisterUnaryTransitVector(added)
    routing.AddDimensionWithVehicleCapacity(transit, most, list(loads.capacity), False, loads.name)
    dimension = routing.GetDimensionOrDie(loads.name)
    for node in range(1, model.copies_from):
        dimension.SlackVar(manager.NodeToIndex(node)).SetValue(0)
    for vehicle in range(model.vehicles):
        dimension.SlackVar(routing.Start(vehicle)).SetValue(0)
        dimension.CumulVar(routing.Start(vehicle)).SetValue(loads.begin[vehicle] if loads.begin else 0)


def _day_cap(routing: Any, cap: DayCap) -> None:
    """What no unload takes away again."""
    enough = max(1, sum(cap.added))
    transit = routing.RegisterUnaryTransitVector(list(cap.added))
    most = [enough if each is None else min(each, enough) for each in cap.most]
    routing.AddDimensionWithVehicleCapacity(transit, 0, most, True, f"day {cap.name}")


def _hours(routing: Any, manager: Any, model: Model, clock: Clock) -> None:
    transit = routing.RegisterTransitMatrix(clock.seconds)
    routing.AddDimension(transit, clock.horizon_s, clock.horizon_s, False, "time")
    dimension = routing.GetDimensionOrDie("time")
    for node, windows in enumerate(clock.windows):
        if windows and 0 < node < model.starts_from:
            if node >= model.copies_from and windows[0].start_s > clock.horizon_s:
                routing.ActiveVar(manager.NodeToIndex(node)).SetValue(0)
                continue
            _open(dimension.CumulVar(manager.NodeToIndex(node)), windows, clock.horizon_s)
    for node, windows in clock.last.items():
        index = manager.NodeToIndex(node)
        ends = routing.solver().IsGreaterOrEqualCstVar(routing.NextVar(index), routing.Size())
        when = (ends * dimension.CumulVar(index)).Var()  # 0 unless it is the last
        _open(when, (Window(0, 0), *(each for each in windows if each.end_s > 0)), clock.horizon_s)
    for vehicle, shift in enumerate(clock.shifts):
        late_s = clock.overtime_s[vehicle] if clock.overtime_s else 0
        starts, ends = dimension.CumulVar(routing.Start(vehicle)), dimension.CumulVar(routing.End(vehicle))
        starts.SetRange(shift.start_s, shift.end_s)
        ends.SetRange(shift.start_s, shift.end_s + late_s)
        if model.start(vehicle):
            starts.SetValue(shift.start_s)
        if late_s and clock.overtime_cost:
            dimension.SetCumulVarSoftUpperBound(routing.End(vehicle), shift.end_s, clock.overtime_cost)


def _open(when: Any, windows: Sequence[Window], horizon_s: int) -> None:
    """Lets a variable take only what is within the windows."""
    if not windows or windows[0].start_s > horizon_s:
        when.SetRange(1, 0)
        return
    when.SetRange(windows[0].start_s, min(windows[-1].end_s, horizon_s))
    for before, after in pairwise(windows):
        when.RemoveInterval(before.end_s + 1, after.start_s - 1)


def _parameters(recipe: Recipe, limits: Limits | None) -> Any:
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
    parameters.time_limit.FromMilliseconds(JUDGES_MS if limits is None else max(1, round(limits.seconds * 1000)))
    if limits is not None and limits.solutions is not None:
        parameters.solution_limit = limits.solutions
    faults = pywrapcp.FindErrorInRoutingSearchParameters(parameters)
    if faults:
        raise ValueError(f"the search parameters are refused: {faults}")
    return parameters


class _Told:
    """Called by the search at each solution, better or not: tells how it goes, ends it, keeps what goes wrong here."""

    def __init__(self, engine: _Engine, watch: Watch) -> None:
        self._engine, self._watch = engine, watch
        self.raised: BaseException | None = None

    def __call__(self) -> None:
        routing = self._engine.routing
        try:
            self._note()
        except BaseException as error:  # noqa: BLE001 - raised once the search has ended
            self.raised = error
        if self._watch.asked or self.raised is not None:
            routing.solver().FinishCurrentSearch()  # CancelSearch at the first solution would lose it

    def _note(self) -> None:
        routing, watch = self._engine.routing, self._watch
        cost = routing.CostVar().Value()
        if watch.state is None or cost < watch.state.cost:
            watch.found(cost, self._engine.routes(lambda variable: variable.Value()))
        else:
            watch.solutions += 1
        watch.tick()
