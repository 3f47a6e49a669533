"""How the engines share a search: trucks first, caps of the day, parts of a large plan, the last word, even hours, known trucks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cityloop_common.clock import SystemClock
from cityloop_waste.planning import day_caps, engines, model, ortools_engine, pyvrp_engine, work
from cityloop_waste.planning.admission import Day, admit
from cityloop_waste.planning.domain import Caps, Engine, Options, Plan, Problem, Reason, Round, Site, Stop, Truck, Underway, VisitKind
from cityloop_waste.planning.even import even
from cityloop_waste.planning.model import Model
from cityloop_waste.planning.parts import Parts
from cityloop_waste.planning.same_trucks import same_trucks
from cityloop_waste.planning.searching import Ended, Limits, Watch
from cityloop_waste.planning.start import first_routes
from tests.unit.waste.towns import SIX, Quiet, place, problem, served, site, stop, travel, truck, unserved

HOUR = 3600
DEAR = 500_000


def _grid(count: int, kg: int = 100) -> list[Stop]:
    return [stop(f"P{n}", (400 * (n % 8) - 1600, 500 * (n // 8) - 900), kg, service_s=120) for n in range(count)]


def _day(asked: Problem) -> tuple[Day, Model, list[list[int]]]:
    day = admit(asked, travel(asked))
    begin = first_routes(day)
    built = model.build(day, begin)
    return day, built, built.numbered(begin)


def _limits(seconds: float = 2.0, solutions: int | None = 60) -> Limits:
    return Limits(seconds, SystemClock(), lambda _state: False, solutions)


def _planned(asked: Problem, engine: Engine = Engine.AUTO, *, solutions: int = 80) -> Plan:
    asked = replace(asked, options=replace(asked.options, engine=engine))
    return work.planned(asked, travel(asked), SystemClock(), Quiet(), solutions=solutions)[0]


@pytest.mark.parametrize("engine", Engine)
def test_trucks_come_first(engine: Engine) -> None:
    """Four trucks stand there, one is enough: whoever searches, one goes out."""
    trucks = [truck(f"T{n}", 1200) for n in range(4)]
    plan = _planned(problem(_grid(24), trucks, vehicle_cost_m=DEAR), engine)
    assert (len(plan.routes), unserved(plan)) == (1, {})


def test_where_a_truck_costs_nothing_two_may_be_shorter_than_one() -> None:
    """Loads on both sides of a depot that stands at the site: a truck each saves nothing; dear trucks stay at home."""
    sides = [stop("west", (-4000, 0), 900), stop("east", (4000, 0), 900)]
    sites = [site("S1", (0, 100))]
    cheap = _planned(problem(sides, [truck("T1"), truck("T2")], sites))
    dear = _planned(problem(sides, [truck("T1"), truck("T2")], sites, vehicle_cost_m=DEAR))
    assert len(dear.routes) == 1
    assert cheap.distance_m <= dear.distance_m


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize(
    "caps",
    [Caps(kg=2000), Caps(kg=1500), Caps(stops=9), Caps(containers=18), Caps(kg=2000, stops=11)],
    ids=lambda caps: f"{caps.kg}-{caps.stops}",
)
def test_a_cap_of_the_day_is_kept_over_all_trips(engine: Engine, caps: Caps) -> None:
    """Trips of 1,000 kg, as many as one likes; over the day no more than the cap, whichever way it is kept."""
    stops = [replace(each, containers=2) for each in _grid(24)]
    trucks = [replace(truck(f"T{n}", 1000), day=caps) for n in range(4)]
    plan = _planned(problem(stops, trucks), engine)
    assert unserved(plan) == {}
    for route in plan.routes:
        names = [visit.id for visit in route.visits if visit.kind is VisitKind.STOP]
        assert len(names) * 100 <= (caps.kg or 10_000)
        assert len(names) <= (caps.stops or 100)
        assert len(names) * 2 <= (caps.containers or 100)


def test_the_ways_to_keep_a_cap_follow_what_divides_it() -> None:
    """Full trucks divide 2,000 kg: trips. Not 1,500: several ways to try. Stops are no load. Without a cap nothing is to be kept."""

    def ways(caps: Caps) -> Sequence[day_caps.Caps]:
        return day_caps.ways(_day(problem(_grid(24), [replace(truck("T1", 1000), day=caps), truck("T2")]))[1])

    assert ways(Caps()) == (day_caps.Caps.NONE,)
    assert ways(Caps(kg=2000)) == (day_caps.Caps.TRIPS,)
    assert ways(Caps(kg=1500)) == (day_caps.Caps.BESIDE, day_caps.Caps.LENGTH, day_caps.Caps.SMALLER)
    assert ways(Caps(stops=3)) == (day_caps.Caps.BESIDE, day_caps.Caps.LENGTH)
    assert ways(Caps(kg=10_000)) == (day_caps.Caps.NONE,)  # more than there is


def test_what_pyvrp_tells_is_priced_as_the_model_does() -> None:
    """Its routes, back as nodes, are accepted by OR-Tools, and cost there what the model says."""
    _, built, begin = _day(problem(_grid(20), [truck("T1", 700), truck("T2", 700)]))
    watch = Watch(built, _limits(solutions=150))
    routes = pyvrp_engine.search(built, watch, begin)
    assert routes is not None
    wide, accepted = engines._accepted(built, routes)
    assert accepted is not None
    assert watch.state is not None
    assert built.price(routes) == wide.price(accepted) == watch.state.cost


def test_what_breaks_a_rule_is_cut_off_where_it_does() -> None:
    """A route that is too long for its shift keeps the longest beginning that is not; the others stay whole."""
    _, built, _ = _day(problem(_grid(16), [truck("T1", 5000, shift=replace(truck().shift, end_s=SIX + 1500)), truck("T2", 5000)]))
    stops = list(range(1, built.copies_from))
    _, accepted = engines._accepted(built, [stops[:8], stops[8:]])
    assert accepted is not None
    assert 0 < len(accepted[0]) < 8
    assert accepted[0] == stops[: len(accepted[0])]
    assert accepted[1] == stops[8:]
    assert ortools_engine.accepts(built, accepted)


def test_a_large_plan_is_improved_part_by_part() -> None:
    """Whole routes at a time, all others as they were; every stop is tried before one is tried again; it only gets better."""
    _, built, begin = _day(problem(_grid(200, 50), [truck(f"T{n}", 900) for n in range(12)]))
    parts = Parts(built, begin)
    assert not parts.whole
    seen: set[int] = set()
    while len(seen) < 200:
        part = parts.next()
        assert part is not None
        stops = {node for node in part.nodes if node < built.copies_from}
        assert stops - seen
        assert len(part.vehicles) >= 2
        seen |= stops
        before = parts.cost
        rest = [list(route) for vehicle, route in enumerate(parts.routes) if vehicle not in part.vehicles]
        found = ortools_engine.search(part.model, ortools_engine.Recipe.MULTI_TRIP, Watch(part.model, _limits(0.5, 20)), part.routes)
        assert parts.take(part, found.routes) == (parts.cost < before)
        assert rest == [list(route) for vehicle, route in enumerate(parts.routes) if vehicle not in part.vehicles]
        assert parts.cost == built.price(parts.routes) <= before
    assert ortools_engine.accepts(built, parts.routes)


@pytest.mark.parametrize("engine", Engine)
def test_a_stop_in_between_ends_every_engine_with_its_best(engine: Engine) -> None:
    """Whoever searches when somebody asks to stop: a whole plan, and soon."""
    _, built, begin = _day(problem(_grid(40), [truck("T1", 1500), truck("T2", 1500)]))
    asked = iter([False, False, *[True] * 1000])
    found = engines.search(built, Limits(60.0, SystemClock(), lambda _state: next(asked)), engine=engine, begin=begin)
    assert found.ended is Ended.ASKED
    assert {node for route in found.routes for node in route if node < built.copies_from} == set(range(1, built.copies_from))


def test_a_site_that_is_full_sends_the_rest_elsewhere() -> None:
    """The near site takes 700 kg a day: what comes after goes to the far one; when that has no room either, stops are left out."""
    near, far = site("near", (1000, 0), day_kg=700), site("far", (9000, 0))
    stops = [stop(f"P{n}", (300 * n, 200), 300) for n in range(1, 5)]
    plan = _planned(problem(stops, [truck("T1", 600)], [near, far]))
    assert served(plan) == ["P1", "P2", "P3", "P4"]
    assert _tipped(plan, "near") <= 700
    tight = _planned(problem(stops, [truck("T1", 600)], [near, replace(far, day_kg=300)]))
    assert len(served(tight)) == 3
    assert list(unserved(tight).values()) == [Reason.NOT_REACHED]


def _tipped(plan: Plan, name: str) -> int:
    total = 0
    for route in plan.routes:
        for before, visit in zip(route.visits, route.visits[1:], strict=False):
            total += before.load_kg if visit.id == name and visit.kind is VisitKind.UNLOAD else 0
    return total


def test_a_truck_under_way_tips_what_it_has_on_board() -> None:
    """Out at 10:40 with 900 kg of 1,000: the next stop weighs 300, so a site comes first; the plan begins where it stands."""
    out = replace(truck("T1"), underway=Underway(place((2000, 0)), 10 * HOUR + 2400, 900, 0))
    plan = _planned(problem([stop("P1", (2500, 0), 300)], [out], [site("S1", (1000, 0))]))
    (route,) = plan.routes
    assert [visit.kind for visit in route.visits] == [
        VisitKind.UNDERWAY,
        VisitKind.UNLOAD,
        VisitKind.STOP,
        VisitKind.UNLOAD,
        VisitKind.DEPOT_END,
    ]
    assert (route.visits[0].start_s, route.visits[0].load_kg) == (10 * HOUR + 2400, 900)


def test_a_truck_under_way_comes_home_although_nothing_is_left_for_it() -> None:
    """The stop is another's: the loaded truck tips and comes home all the same."""
    out = replace(truck("T1"), underway=Underway(place((3000, 0)), 10 * HOUR, 400, 0))
    only = stop("P1", (-2000, 0), 100, trucks=["T2"])
    plan = _planned(problem([only], [out, truck("T2")], [site("S1", (1000, 0))]))
    kinds = {route.truck: [visit.kind for visit in route.visits] for route in plan.routes}
    assert kinds["T1"] == [VisitKind.UNDERWAY, VisitKind.UNLOAD, VisitKind.DEPOT_END]
    assert served(plan) == ["P1"]


def test_hours_become_more_even_for_a_little_more_way() -> None:
    """All stops on one truck's side of town: with a fifth more way the other takes some; none is lost, the longest day is shorter."""
    stops = [stop(f"P{n}", (150 * n, 400), 100, service_s=600) for n in range(1, 13)]
    trucks = [truck("T1", 1300), truck("T2", 1300)]
    sites: list[Site] = [site("S1", (1000, 0))]
    asked = problem(stops, trucks, sites)
    day, built, _ = _day(asked)
    rows = [[*range(1, 12)], [12]]
    evened = even(day, rows, 20, lambda: False)
    assert sorted(row for route in evened for row in route if row <= 12) == list(range(1, 13))

    def hours(routes: Sequence[Sequence[int]]) -> list[int]:
        found = [day.drive(each, [*route, 13]) for each, route in zip(trucks, routes, strict=True)]
        return [tour.times[-1].arrival_s - tour.times[0].departure_s for tour in found if tour is not None]

    assert max(hours(evened)) < max(hours(rows))
    assert built.price(built.numbered(evened)) <= built.price(built.numbered(rows)) * 1.2


def test_equal_trucks_drive_what_they_know() -> None:
    """Of three equal trucks each gets the route with most of its stops of yesterday; another kind of truck keeps its own."""
    trucks: list[Truck] = [truck("T1"), truck("T2"), truck("T3"), truck("big", 2000)]
    yesterday = [Round("T1", ("P4", "P5")), Round("T3", ("P1", "P2", "gone")), Round("big", ("P1", "P2", "P3"))]
    asked = problem([stop(f"P{n}", (100 * n, 0)) for n in range(1, 8)], trucks, yesterday=yesterday)
    day = admit(asked, travel(asked))
    assert same_trucks(day, [[1, 2], [4, 5], [3], [6, 7]]) == [[4, 5], [3], [1, 2], [6, 7]]
    assert same_trucks(replace(day, problem=replace(asked, yesterday=())), [[1], [2], [3], [4]]) == [[1], [2], [3], [4]]


def test_yesterdays_routes_are_where_the_search_begins() -> None:
    """The same day again: the plan of yesterday is driven again, and the evidence says so."""
    asked = problem(_grid(16), [truck("T1", 900), truck("T2", 900)], options=Options(seconds=2))
    first = _planned(asked)
    rounds = [Round(route.truck, tuple(visit.id or "" for visit in route.visits if visit.kind is VisitKind.STOP)) for route in first.routes]
    again = work.searched(replace(asked, yesterday=tuple(rounds)), travel(asked), SystemClock(), Quiet(), solutions=80)
    assert again.evidence is not None
    assert again.evidence.likeness is not None
    known = again.evidence.likeness
    assert known.stops_kept == known.stops == 16
    assert known.pairs_kept >= known.pairs * 0.9


def test_a_plan_is_told_before_the_search_has_begun() -> None:
    """The first thing that is told is a whole first plan; what is told later has the bound beside it, which no plan is below."""
    asked = problem(_grid(30), [truck("T1", 1200), truck("T2", 1200), truck("T3", 1200)])
    progress = Quiet()
    outcome = work.searched(asked, travel(asked), SystemClock(), progress, solutions=60)
    first, *later = progress.heard
    assert first == first | {"unserved": 0}  # type: ignore[operator]
    assert later
    assert all(value["bound_m"] <= value["distance_m"] for value in later)  # type: ignore[index]
    assert outcome.evidence is not None
    assert outcome.evidence.bound.value <= outcome.plan.distance_m
    assert outcome.evidence.fewest_vehicles <= len(outcome.plan.routes)
    assert {each.engine for each in outcome.engines} == {"pyvrp", "ortools"}
