"""What the pool's process runs: `cityloop_waste.planning.work:solve`.

JSON in: `{problem, roads?, closed?, travel_cache?, matrix?, solutions?}`

- `problem`: a document of `problem_json.ProblemBody`'s form (`problem_json.write(problem)`); `options.seconds` is the search's time.
- `roads`: GeoJSON FeatureCollection of LineStrings (`roads.domain.read_roads`): matrices are made from it in the process;
  turns cost time, and on wide roads a stop is served at its own kerb.
- `travel_cache`: a folder where matrices of roads are kept (`roads.matrices`); none: they are made anew.
- `closed`: roads that are closed to everybody for this search (`roads.domain.read_closed`): names, ids, positions.
- `matrix`: `{distance_m, duration_s}` instead of roads: rows and columns are depot, stops, sites in the problem's order
  (`problem.positions()`); whole numbers or "unreachable" (`roads.domain.read_travel`). Neither of the two: great-circle
  estimates, labelled so. Both: refused.
- `solutions`: end the search after as many solutions (tests; a time limit alone is not repeatable).

Progress, at most four a second: `{elapsed_s, solutions, distance_m, vehicles, unserved, bound_m?}`, of the best plan so far; the first
is of the first plan, before any bound is known.

JSON out, only after the verifier accepted the plan from the problem and the matrices::

    {stream, travel: "graph" | "estimate" | "given", vehicles, cost: {distance_m, duration_s},
     routes: [{truck, distance_m, duration_s, lunch: {start_s, end_s} | null,
               visits: [{kind: "depot-start" | "underway" | "stop" | "unload" | "depot-end", id (stop or site, else null),
                         arrival_s, start_s, departure_s, load_kg, load_dm3 (on board when it leaves)}]}],
     lines: [{travel: "graph" | "estimate", line: [[lon, lat], ...]}],  # of the routes in their order; only with travel "graph"
     unserved: [{stop, reason}],     # domain.Reason: no-vehicle-for-stream, no-site-for-stream, exceeds-capacity-of-all-vehicles,
                                     # unreachable, not-enough-time, window: no truck could serve it even alone; not-reached,
                                     # not-worth-it: some truck could, the search found no room for it, or its prize did not pay
     evidence: {vehicles, fewest_vehicles, cost, bound, weak, gap_percent, text,  # evidence.Evidence; null where nobody is served
                compared: {engine, cost} | null, engines: [{engine, seconds, cost, way}],
                likeness: {pairs, pairs_kept, stops, stops_kept} | null},
     verified: true, seconds, ended: "time" | "asked" | "complete"}

Raises InvalidProblem, InvalidRoads, InvalidTravel, BadPosition, NoPlanFound, PlanRefused; through the pool they are WorkRaised with
`<class>: <detail>` as the text. Beyond `options.seconds` it takes about 1 s to start and 3 s for 1,000 stops:
`kill_after_s` = seconds + `solver.GRACE_S`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from cityloop_common.clock import Clock, SystemClock
from cityloop_waste.planning import driven, engines, model, problem_json, verifier
from cityloop_waste.planning.admission import Day, admit
from cityloop_waste.planning.domain import Engine, Fault, InvalidProblem, Plan, PlanRefused, Problem, VisitKind, told
from cityloop_waste.planning.even import even
from cityloop_waste.planning.evidence import Compared, Evidence, evidence, likeness, not_asked
from cityloop_waste.planning.lines import lines
from cityloop_waste.planning.qroutes import Bound, q_route_bound
from cityloop_waste.planning.same_trucks import same_trucks
from cityloop_waste.planning.searching import BeginRefused, Effort, Ended, Found, Limits, State
from cityloop_waste.planning.start import first_routes
from cityloop_waste.roads import graph, matrices
from cityloop_waste.roads.domain import Closed, InvalidRoads, Side, Travel, TravelSource, read_closed, read_roads, read_travel
from cityloop_waste.roads.network import Network, network

BOUND, MOST_BOUND_S = 0.06, 6.0
"""Share of a search's time that looking for a bound may take, and the most of it."""
EVEN_S = 3.0
LEAST_SEARCH = 1 / 3
"""The share of a problem's seconds that is left to plan in, however long its matrices took."""


class Progress(Protocol):
    """What the pool gives: hands a value over and answers whether to stop."""

    def __call__(self, value: object) -> bool: ...

    def stopped(self) -> bool: ...


def solve(payload: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A verified plan; see the module for both forms and the errors."""
    _leave_interrupts_to_the_parent()
    clock = SystemClock()
    began = clock.monotonic()
    problem = problem_json.read(payload.get("problem"))
    travel, driven_on = travel_of(payload, problem)
    outcome = searched(problem, travel, clock, progress, solutions=payload.get("solutions"), spent_s=clock.monotonic() - began)
    answer = problem_json.write_plan(outcome.plan, stream=problem.stream, travel=travel.source)
    if travel.source is TravelSource.GRAPH:
        answer["lines"] = lines(problem, answer["routes"], driven_on, travel)
    answer["evidence"] = None if outcome.evidence is None else _shown(outcome.evidence, outcome.engines)
    return answer | {"seconds": round(clock.monotonic() - began, 1), "ended": outcome.ended.value}


def _shown(known: Evidence, efforts: Sequence[Effort]) -> dict[str, Any]:
    """Evidence as the answer tells it; see the module."""
    return {
        "vehicles": known.vehicles,
        "fewest_vehicles": known.fewest_vehicles,
        "minimise": known.minimise.value,
        "cost": known.cost,
        "bound": known.bound.value,
        "weak": known.bound.weak,
        "gap_percent": round(known.gap_percent, 2),
        "text": str(known),
        "compared": None if known.compared is None else asdict(known.compared),
        "engines": [asdict(each) for each in efforts],
        "likeness": None if known.likeness is None else asdict(known.likeness),
    }


def planned(problem: Problem, travel: Travel, clock: Clock, progress: Progress, *, solutions: int | None = None) -> tuple[Plan, Ended]:
    """The best plan found in the problem's time, accepted by the verifier. See `searched`."""
    outcome = searched(problem, travel, clock, progress, solutions=solutions)
    return outcome.plan, outcome.ended


@dataclass(frozen=True, slots=True)
class Outcome:
    """A plan that the verifier accepts, why its search ended, and what is known of its quality (nothing where nobody could be served)."""

    plan: Plan
    ended: Ended
    evidence: Evidence | None = None
    engines: tuple[Effort, ...] = ()


def searched(
    problem: Problem, travel: Travel, clock: Clock, progress: Progress, *, solutions: int | None = None, spent_s: float = 0.0
) -> Outcome:
    """Bound, search, even hours, judgement. Raises InvalidProblem, NoPlanFound, PlanRefused.

    `spent_s` of the problem's seconds have gone into matrices; a third of them is for the search all the same.
    Should the verifier refuse what the engines found, the first plan by insertion takes its place.
    """
    began = clock.monotonic() - min(spent_s, problem.options.seconds * (1 - LEAST_SEARCH))
    day = admit(problem, travel)
    _homeward(day)
    if not day.stops:
        return Outcome(_judged(day, [[[] for _ in day.trucks]]), Ended.COMPLETE)
    begin = first_routes(day)
    built = model.build(day, begin)
    bound_s = min(MOST_BOUND_S, problem.options.seconds * BOUND)
    progress(_first(built, begin))
    bound = q_route_bound(built, bound_s, clock, stopped=progress.stopped)

    def tell(state: State) -> bool:
        return progress(_told(state, built) | {"bound_m": bound.value})

    left_s = problem.options.seconds - (clock.monotonic() - began)
    limits = Limits(max(0.5, problem.options.seconds * LEAST_SEARCH / 2, left_s), clock, tell, solutions)
    nodes = built.numbered(begin)
    try:
        found = engines.search(built, limits, engine=problem.options.engine, begin=nodes, near=nodes if problem.yesterday else ())
    except BeginRefused:  # the clock without its lunch leaves no room that the clock on the wall has: the first plan is judged by that
        found = Found(built, tuple(tuple(route) for route in nodes), built.price(nodes), Ended.COMPLETE)
    rows: Sequence[Sequence[int]] = found.model.rows(found.routes)
    evened = _even(day, rows, clock, progress) if problem.options.even_percent else rows
    plan = _judged(day, [same_trucks(day, evened), rows, begin])
    return Outcome(plan, found.ended, _evidence(day, found, bound, bound_s, plan, clock, progress.stopped), found.engines)


def _first(built: model.Model, begin: Sequence[Sequence[int]]) -> dict[str, object]:
    nodes = tuple(tuple(route) for route in built.numbered(begin))
    state = State(0.0, 0, built.price(nodes), nodes)
    return _told(state, built)


def _even(day: Day, rows: Sequence[Sequence[int]], clock: Clock, progress: Progress) -> Sequence[Sequence[int]]:
    ends_at = clock.monotonic() + EVEN_S
    try:
        return even(day, rows, day.problem.options.even_percent, lambda: progress.stopped() or clock.monotonic() >= ends_at)
    except ValueError:  # a route that only the engine's clock allows
        return rows


def _evidence(day: Day, found: Found, bound: Bound, bound_s: float, plan: Plan, clock: Clock, stopped: Callable[[], bool]) -> Evidence:
    """What is known of the plan as it is told; where stops are left out, of plans that serve the same."""
    served = {visit.id for route in plan.routes for visit in route.visits if visit.kind is VisitKind.STOP}
    out = [node for node, row in enumerate(day.stops, 1) if day.stop(row).id not in served]
    if missed := not_asked(found.model, out):
        bound = q_route_bound(found.model, bound_s, clock, stopped=stopped, left_out=missed)
    first = found.engines[0] if len(found.engines) > 1 and found.engines[0].engine == Engine.PYVRP else None
    return evidence(
        found.model,
        out,
        bound,
        vehicles=len(plan.routes),
        way=driven.way(day, plan),
        minimise=day.problem.options.minimise,
        compared=None if first is None else Compared(first.engine, first.way),
        likeness=likeness(day.problem.yesterday, plan) if day.problem.yesterday else None,
    )


def _homeward(day: Day) -> None:
    """Refuses a truck under way that cannot be back in time whatever it does."""
    for number, truck in enumerate(day.problem.trucks):
        if truck not in day.trucks or truck.underway is None:
            continue
        loaded = bool(truck.underway.load_kg or truck.underway.load_dm3)
        home = [day.closing[day.begin(truck)]] if day.begin(truck) in day.closing and loaded else []
        if (loaded and not home) or day.drive(truck, home) is None:
            fault = Fault(f"trucks[{number}].underway", f"{truck.id} cannot be back in its shift and overtime from where it is")
            raise InvalidProblem(str(fault), faults=told([fault]))


def _judged(day: Day, choices: Sequence[Sequence[Sequence[int]]]) -> Plan:
    """The first of some routes of rows that makes a plan with no fault."""
    broken: list[str] = []
    for routes in choices:
        try:
            plan = driven.plan(day, routes)
        except ValueError as undriveable:
            broken.append(str(undriveable))
            continue
        faults = verifier.faults(day.problem, day.travel, plan)
        if not faults:
            return plan
        broken += map(str, faults)
    raise PlanRefused("; ".join(broken[:20]))


def travel_of(payload: Mapping[str, Any], problem: Problem) -> tuple[Travel, Network | None]:
    """The matrices that the payload gives or describes, and the roads that they were counted on."""
    roads, matrix = payload.get("roads"), payload.get("matrix")
    places = problem.positions()
    if payload.get("closed") and roads is None:
        raise InvalidRoads("roads can be closed only where there is a base map")
    if roads is not None and matrix is not None:
        raise InvalidProblem("give roads or a matrix, not both")
    if matrix is not None:
        return read_travel(matrix, len(places)), None
    if roads is None:
        return graph.estimate(places), None
    joined = _network(roads, problem, read_closed(payload.get("closed")))
    kept = payload.get("travel_cache")
    return matrices.travel_on(joined, places, None if kept is None else Path(kept)), joined


def _network(roads: object, problem: Problem, closed: Sequence[Closed] = ()) -> Network | None:
    """The roads that bear every truck of the stream: they share those of the heaviest. A stop is served at its own kerb."""
    sides = [Side.KERB if 1 <= row <= len(problem.stops) else Side.ANY for row in range(len(problem.positions()))]
    masses = [truck.gross_mass_kg for truck in problem.trucks if truck.gross_mass_kg is not None and problem.stream in truck.streams]
    return network(read_roads(roads), problem.positions(), gross_mass_kg=max(masses, default=None), closed=closed, sides=sides)


def draw(payload: Mapping[str, Any], _progress: Progress) -> dict[str, Any]:
    """The lines of routes that were found before lines were drawn: `{problem, roads, routes}` in, `{lines}` as in `solve` out."""
    problem = problem_json.read(payload.get("problem"))
    return {"lines": lines(problem, payload["routes"], _network(payload.get("roads"), problem))}


def _told(state: State, built: model.Model) -> dict[str, object]:
    return {
        "elapsed_s": round(state.elapsed_s, 2),
        "solutions": state.solutions,
        "vehicles": state.vehicles(),
        "unserved": state.unserved(built),
        "distance_m": state.way(built),
    }


def _leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches every process of a terminal; here it would end the search instead of asking it for its best."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
