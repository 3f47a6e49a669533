"""What the pool's process runs: `cityloop_waste.planning.work:solve`.

JSON in: `{problem, roads?, matrix?, solutions?}`

- `problem`: a document of `problem_json.ProblemBody`'s form (`problem_json.write(problem)`); `options.seconds` is the search's time.
- `roads`: GeoJSON FeatureCollection of LineStrings (`roads.domain.read_roads`): matrices are made from it in the process.
- `matrix`: `{distance_m, duration_s}` instead of roads: rows and columns are depot, stops, sites in the problem's order
  (`problem.positions()`); whole numbers or "unreachable" (`roads.domain.read_travel`). Neither of the two: great-circle
  estimates, labelled so. Both: refused.
- `solutions`: end the search after as many solutions (tests; a time limit alone is not repeatable).

Progress, at most four a second: `{elapsed_s, solutions, distance_m, vehicles, unserved}`, of the best plan so far.

JSON out, only after the verifier accepted the plan from the problem and the matrices::

    {stream, travel: "graph" | "estimate" | "given", vehicles, cost: {distance_m, duration_s},
     routes: [{truck, distance_m, duration_s,
               visits: [{kind: "depot-start" | "stop" | "unload" | "depot-end", id (stop or site; null at the depot),
                         arrival_s, start_s, departure_s, load_kg, load_dm3 (on board when it leaves)}]}],
     lines: [{travel: "graph" | "estimate", line: [[lon, lat], ...]}],  # of the routes in their order; only with travel "graph"
     unserved: [{stop, reason}],     # domain.Reason: no-vehicle-for-stream, no-site-for-stream, exceeds-capacity-of-all-vehicles,
                                     # unreachable, not-enough-time, window: no truck could serve it even alone; not-reached:
                                     # some truck could, the search found no room for it in its time
     verified: true, seconds, ended: "time" | "asked" | "complete"}

Raises InvalidProblem, InvalidRoads, InvalidTravel, BadPosition, NoPlanFound, PlanRefused; through the pool they are WorkRaised with
`<class>: <detail>` as the text. Beyond `options.seconds` it takes about 1 s to start and 3 s for 1,000 stops:
`kill_after_s` = seconds + `solver.GRACE_S`.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cityloop_common.clock import Clock, SystemClock
from cityloop_waste.planning import driven, engines, model, problem_json, verifier
from cityloop_waste.planning.admission import Day, admit
from cityloop_waste.planning.domain import Fault, InvalidProblem, Plan, PlanRefused, Problem, told
from cityloop_waste.planning.lines import lines
from cityloop_waste.planning.searching import Ended, Limits, State
from cityloop_waste.planning.start import first_routes
from cityloop_waste.roads import graph
from cityloop_waste.roads.domain import Travel, TravelSource, read_roads, read_travel
from cityloop_waste.roads.network import Network, network


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
    plan, ended = planned(problem, travel, clock, progress, solutions=payload.get("solutions"))
    answer = problem_json.write_plan(plan, stream=problem.stream, travel=travel.source)
    if travel.source is TravelSource.GRAPH:
        answer["lines"] = lines(problem, answer["routes"], driven_on, travel)
    return answer | {"seconds": round(clock.monotonic() - began, 1), "ended": ended.value}


def planned(problem: Problem, travel: Travel, clock: Clock, progress: Progress, *, solutions: int | None = None) -> tuple[Plan, Ended]:
    """The best plan found in the problem's time, accepted by the verifier. Raises InvalidProblem, NoPlanFound, PlanRefused.

    Should the verifier refuse what the engines found, the first plan by insertion takes its place.
    """
    day = admit(problem, travel)
    _homeward(day)
    if not day.stops:
        return _judged(day, [[[] for _ in day.trucks]]), Ended.COMPLETE
    begin = first_routes(day)
    built = model.build(day, begin)

    def tell(state: State) -> bool:
        return progress(_told(state, built) | {"distance_m": state.way(built)})

    limits = Limits(problem.options.seconds, clock, tell, solutions)
    found = engines.search(built, limits, engine=problem.options.engine, begin=built.numbered(begin))
    return _judged(day, [found.model.rows(found.routes), begin]), found.ended


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
    if roads is not None and matrix is not None:
        raise InvalidProblem("give roads or a matrix, not both")
    if matrix is not None:
        return read_travel(matrix, len(places)), None
    if roads is None:
        return graph.estimate(places), None
    joined = _network(roads, problem)
    return graph.travel_on(joined, places), joined


def _network(roads: object, problem: Problem) -> Network | None:
    """The roads that bear every truck of the stream: they share those of the heaviest."""
    masses = [truck.gross_mass_kg for truck in problem.trucks if truck.gross_mass_kg is not None and problem.stream in truck.streams]
    return network(read_roads(roads), problem.positions(), gross_mass_kg=max(masses, default=None))


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
    }


def _leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches every process of a terminal; here it would end the search instead of asking it for its best."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
