"""Each kind of file as what an engine solves, and an engine's routes as the file's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cityloop_waste.planning import cvrplib, driven, kim2006_problem, vrptw
from cityloop_waste.planning import model as models
from cityloop_waste.planning.admission import Day, admit
from cityloop_waste.planning.domain import Engine, Problem, Reason, VisitKind
from cityloop_waste.planning.formats import Format, read
from cityloop_waste.planning.instances import Instance
from cityloop_waste.planning.kim2006 import FEET_A_MILE, Kim2006
from cityloop_waste.planning.model import Model
from cityloop_waste.planning.start import first_routes
from cityloop_waste.roads.domain import Travel

MOST_TRUCKS = 1_000


@dataclass(frozen=True, slots=True)
class Task:
    """A file's model. Its rows are the file's places: `numbers` are theirs in the file.

    `begin` are routes of nodes to begin with. `lost` are stops that nobody can serve. `per_unit` of the model's costs are one of the
    file's. With a `day` the last unload of a route is folded into its way home.
    """

    instance: Instance
    model: Model
    begin: list[list[int]]
    numbers: Sequence[int]
    lost: Mapping[int, Reason]
    per_unit: int
    day: Day | None = None
    closing: Mapping[int, int] = field(default_factory=dict)

    def routes(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Routes of rows by the file's numbers, each with its last unload; the empty ones left out."""
        closed = ([*route, self.closing[route[-1]]] if route[-1] in self.closing else route for route in rows if route)
        return [[self.numbers[row] for row in route] for route in closed]

    def finished(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """The same, the last unload at the site that is best and open; what cannot be driven is left to the file's verifier to name."""
        if self.day is None:
            return self.routes(rows)
        try:
            plan = driven.plan(self.day, rows)
        except ValueError:
            return self.routes(rows)
        called = (VisitKind.STOP, VisitKind.UNLOAD)
        return [[int(visit.id or 0) for visit in route.visits if visit.kind in called] for route in plan.routes]

    def missing(self, rows: Sequence[Sequence[int]]) -> set[int]:
        """Rows of the model's stops that routes leave out."""
        served = {row for route in rows for row in route}
        return {row for row in self.model.places[1 : self.model.copies_from] if row not in served}

    def unserved(self, rows: Sequence[Sequence[int]]) -> dict[int, Reason]:
        """Stops that no route serves, by the file's numbers, and why."""
        found = dict(self.lost) | {self.numbers[row]: Reason.NOT_REACHED for row in self.missing(rows)}
        return dict(sorted(found.items()))


def task(text: str, format: Format, vehicles: int | None, engine: Engine = Engine.AUTO) -> Task:
    """A file as a model with so many vehicles at most, or as many as are surely enough. Raises UnreadableInstance."""
    instance = read(text, format)
    if isinstance(instance, Kim2006):
        return _kim2006(instance, vehicles)
    if isinstance(instance, vrptw.Vrptw):
        start = vrptw.model(instance, vehicles, improved=engine is Engine.ORTOOLS)
        return Task(instance, start.model, start.begin, range(len(instance.places)), vrptw.unservable(instance), per_unit=10)
    assert isinstance(instance, cvrplib.Cvrp)
    return Task(instance, *cvrplib.model(instance, vehicles), range(len(instance.places)), {}, per_unit=1)


def _kim2006(file: Kim2006, vehicles: int | None) -> Task:
    """With a limit of trucks the shortest way is looked for; without one the fewest trucks first, and with them the shortest way.

    A truck then costs the whole way of the first plan: with one more than that no plan is cheaper, with one fewer hardly any dearer.
    """
    travel = kim2006_problem.travel(file)
    problem, day, begin = _first(file, travel, vehicles)
    if vehicles is None:
        begin = [route for route in begin if route] or begin[:1]
        alone = models.build(day, begin) if day.stops else None
        way = sum(alone.arcs(0, route) for route in alone.numbered(begin)) if alone else 0
        problem = kim2006_problem.with_trucks(problem, len(begin), vehicle_cost_m=way)
    else:
        problem = kim2006_problem.with_trucks(problem, vehicles, vehicle_cost_m=0)
    day = admit(problem, travel)
    numbers = [place.id for place in (file.depot, *file.stops, *file.sites)]
    lost = {int(each.stop): each.reason for each in day.unserved}
    if not day.stops:
        return Task(file, Model((0,), [[0, 0], [0, 0]], (), 1, copies_from=1), [], numbers, lost, FEET_A_MILE)
    built = models.build(day, begin)
    return Task(file, built, built.numbered(begin), numbers, lost, FEET_A_MILE, day, {row: day.closing[row] for row in day.stops})


def _first(file: Kim2006, travel: Travel, vehicles: int | None) -> tuple[Problem, Day, list[list[int]]]:
    """Routes by hand, trucks filled one after the other; without a limit so many trucks that more would serve no more stops."""
    farthest = max(feet for row in travel.distance_m for feet in row if feet is not None)
    count = vehicles or kim2006_problem.fewest_trucks(file, travel) * 5 // 4 + 2
    left = len(file.stops) + 1
    while True:
        problem = kim2006_problem.problem(file, trucks=count, vehicle_cost_m=4 * farthest)
        day = admit(problem, travel)
        begin = first_routes(day)
        before, left = left, len(set(day.stops) - {row for route in begin for row in route})
        if vehicles or not left or left == before or count >= MOST_TRUCKS:
            return problem, day, begin
        count = min(MOST_TRUCKS, 2 * count)
