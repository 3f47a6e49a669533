"""The failure stories of a collection day, each planned by the real engine."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cityloop_common.clock import SystemClock
from cityloop_waste.planning import driven, engines, model, problem_json, verifier, work
from cityloop_waste.planning.admission import admit
from cityloop_waste.planning.domain import Lunch, Plan, PlanRefused, Problem, Reason, Truck, Underway, VisitKind, Window
from cityloop_waste.planning.searching import Ended, Found
from cityloop_waste.planning.start import first_routes
from cityloop_waste.roads.domain import InvalidTravel, Travel, TravelSource
from tests.unit.waste.towns import DAY, SIX, Quiet, place, planned, problem, served, site, stop, travel, truck, unserved, visits


def test_a_truck_that_must_come_back_empty_serves_three_full_loads() -> None:
    """The trap of empty ends: one truck, three loads that fill it; nothing is dropped and the last load is tipped too."""
    asked = problem([stop(f"P{n}", (500 * n, 300), 1000) for n in range(1, 4)])
    plan, _ = planned(asked)
    assert served(plan) == ["P1", "P2", "P3"]
    assert [visit.kind for visit in plan.routes[0].visits[1:-1]] == [VisitKind.STOP, VisitKind.UNLOAD] * 3
    assert plan.routes[0].visits[-1].load_kg == 0


def test_a_window_before_the_depot_opens_is_a_reason_and_the_rest_is_planned() -> None:
    """05:00 to 05:10, and the trucks leave at six."""
    early = stop("early", (500, 0), windows=[Window(5 * 3600, 5 * 3600 + 600)])
    plan, _ = planned(problem([early, stop("P1", (600, 0))]))
    assert unserved(plan) == {"early": "window"}
    assert served(plan) == ["P1"]


def test_stops_that_weigh_nothing_and_stops_at_one_point_are_each_served_once() -> None:
    """Zero demand divides nothing; two stops at one point have no way between them and a service each."""
    asked = problem([stop("none", (400, 0), 0), stop("here", (700, 0)), stop("also-here", (700, 0))])
    plan, _ = planned(asked)
    assert served(plan) == ["also-here", "here", "none"]
    first, second = (visit for visit in plan.routes[0].visits if visit.id in {"here", "also-here"})
    assert second.arrival_s == first.departure_s
    assert (first.departure_s - first.start_s, second.departure_s - second.start_s) == (60, 60)


def test_only_stops_that_weigh_nothing_make_a_plan() -> None:
    """A day of zero kilograms needs no division and no unload to be counted."""
    plan, _ = planned(problem([stop("a", (400, 0), 0), stop("b", (0, 400), 0)]))
    assert served(plan) == ["a", "b"]


@pytest.mark.parametrize("kg, dm3", [(1001, 0), (10, 5001)])
def test_a_stop_that_fits_into_no_truck_is_a_reason(kg: int, dm3: int) -> None:
    """Too heavy or too large for every truck of the stream, though another stream's truck would take it; no endless search."""
    trucks = [truck("T1", 1000, dm3=5000), truck("T2", 900, dm3=5000), truck("big", 9000, streams=["kitchen"])]
    plan, _ = planned(problem([stop("huge", (500, 0), kg, dm3=dm3), stop("P1", (600, 0))], trucks))
    assert unserved(plan) == {"huge": "exceeds-capacity-of-all-vehicles"}
    assert served(plan) == ["P1"]


def test_a_site_that_refuses_the_stream_is_never_planned() -> None:
    """The kitchen plant lies beside the stops, and the other waste goes to the far incinerator."""
    sites = [site("kitchen-plant", (600, 10), streams=["kitchen"]), site("incinerator", (9000, 0), streams=["other", "kitchen"])]
    plan, _ = planned(problem([stop(f"P{n}", (550 + n, 0), 600) for n in range(3)], [truck(), truck("T2")], sites))
    assert len(served(plan)) == 3
    assert {visit.id for visit in visits(plan, VisitKind.UNLOAD)} == {"incinerator"}


def test_no_site_and_no_truck_of_the_stream_are_reasons_of_every_stop() -> None:
    """Nothing can be planned, and each stop says why."""
    asked = problem([stop("P1", (500, 0)), stop("P2", (600, 0))])
    no_site = replace(asked, sites=(site("S1", (1000, 0), streams=["kitchen"]),))
    no_truck = replace(asked, trucks=(truck(streams=["kitchen"]),))
    assert unserved(planned(no_site)[0]) == {"P1": "no-site-for-stream", "P2": "no-site-for-stream"}
    assert unserved(planned(no_truck)[0]) == {"P1": "no-vehicle-for-stream", "P2": "no-vehicle-for-stream"}


def test_a_stop_without_a_road_is_unreachable_and_the_others_are_planned() -> None:
    """Row 1 can be reached, but nothing leads away from it: a truck would never come back."""
    asked = problem([stop("island", (500, 0)), stop("P2", (600, 0))])
    plan, _ = planned(asked, travel(asked, closed=lambda origin, target: origin == 1))
    assert unserved(plan) == {"island": "unreachable"}
    assert served(plan) == ["P2"]


def test_a_stop_too_far_for_any_shift_has_not_enough_time() -> None:
    """200 km there alone take the whole shift; there is no window to blame."""
    plan, _ = planned(problem([stop("far", (200_000, 0)), stop("P2", (600, 0))]))
    assert unserved(plan) == {"far": "not-enough-time"}
    assert served(plan) == ["P2"]


def test_a_near_site_that_takes_all_day_is_no_reason_when_another_is_quick() -> None:
    """500 m away an unload lasts eight hours, 3 km away a quarter of an hour: the stop is served, and tipped at the second."""
    sites = [site("slow", (500, 0), service_s=8 * 3600), site("quick", (3000, 0), service_s=900)]
    plan, _ = planned(problem([stop("P1", (400, 0)), stop("P2", (450, 0), 950)], sites=sites))
    assert served(plan) == ["P1", "P2"]
    assert {visit.id for visit in visits(plan, VisitKind.UNLOAD)} == {"quick"}


def test_the_nearest_site_that_is_in_time_for_the_window_is_taken() -> None:
    """A stop open at one o'clock only: the near site would keep the truck beyond its shift, the next one not, the far one costs more."""
    sites = [site("slow", (600, 0), service_s=3600), site("far", (9000, 0)), site("next", (2000, 0))]
    plan, _ = planned(problem([stop("P1", (500, 0), windows=[Window(13 * 3600, 13 * 3600 + 60)])], sites=sites))
    assert [visit.id for visit in visits(plan, VisitKind.UNLOAD)] == ["next"]


def test_a_truck_with_a_short_shift_begins_with_a_site_that_it_can_use() -> None:
    """Two stops open at once need both trucks; only the long shift bears the near site's unload, the short one tips elsewhere."""
    sites = [site(f"slow{n}", (600 + n, 0), service_s=5 * 3600) for n in range(4)] + [site("quick", (3000, 0), service_s=900)]
    at_six = [Window(SIX, SIX + 1800)]
    stops = [stop(name, (500, 0), service_s=3600, windows=at_six) for name in ("P1", "P2")]
    asked = problem(stops, [truck("long"), truck("short", shift=Window(SIX, SIX + 2 * 3600))], sites)
    by = travel(asked)
    assert first_routes(admit(asked, by)) == [[1], [2, 7]]
    assert served(planned(asked, by)[0]) == ["P1", "P2"]


def test_what_the_shifts_cannot_hold_is_listed_and_as_much_as_possible_is_served() -> None:
    """Ten services of an hour in a shift of three hours: two fit with ways and unload, eight are told.

    Each of the eight could be served by itself: it does not lack time, the search found no room for it.
    """
    short = truck(shift=Window(SIX, SIX + 3 * 3600))
    plan, _ = planned(problem([stop(f"P{n}", (500, 0), service_s=3600) for n in range(10)], [short]))
    assert len(served(plan)) == 2
    assert set(unserved(plan).values()) == {"not-reached"}


def test_several_windows_are_kept_and_the_truck_does_not_wait_for_nothing() -> None:
    """A stop that opens at seven and again at eleven; the truck leaves late instead of standing there at six."""
    morning, late = Window(7 * 3600, 7 * 3600 + 600), Window(11 * 3600, 12 * 3600)
    plan, _ = planned(problem([stop("P1", (500, 0), windows=[late, morning])]))
    visit = visits(plan, VisitKind.STOP)[0]
    assert visit.arrival_s == visit.start_s == 7 * 3600
    assert plan.routes[0].visits[0].departure_s == 7 * 3600 - 50


def test_a_heavy_stop_goes_to_the_truck_that_bears_it() -> None:
    """Trucks of two sizes, two kinds of load: each load is kept on the truck that it is on."""
    trucks = [truck("small", 300, dm3=2000), truck("large", 3000, dm3=3000)]
    plan, _ = planned(problem([stop("heavy", (500, 0), 2500, dm3=100), stop("bulky", (600, 0), 10, dm3=2900)], trucks))
    assert served(plan) == ["bulky", "heavy"]
    assert {route.truck for route in plan.routes} == {"large"}


def test_a_truck_that_need_not_go_out_stays() -> None:
    """A vehicle costs more than the metres it would save: the second truck stays at the depot."""
    asked = problem([stop(f"P{n}", (500 * n, 0)) for n in (-2, -1, 1, 2)], [truck("T1"), truck("T2")], vehicle_cost_m=50_000)
    assert len(planned(asked)[0].routes) == 1


def test_a_search_that_is_asked_to_stop_gives_the_best_so_far() -> None:
    """The first value says where the search begins; asked there, it ends with a whole plan."""
    asked = problem([stop(f"P{n}", (100 * n, 50 * (n % 7))) for n in range(40)], [truck(kg=1500)])
    progress = Quiet(stop_after=1)
    plan, ended = planned(asked, solutions=1_000_000, progress=progress)
    assert ended is Ended.ASKED
    assert len(served(plan)) == 40
    assert 0 < len(progress.heard) <= 2  # the first plan, and the same as the search begins
    assert all(value == value | {"unserved": 0, "vehicles": 1} for value in progress.heard)  # type: ignore[operator]


def test_an_exception_while_telling_is_raised_after_the_search() -> None:
    """OR-Tools swallows what a solution callback raises; the planner does not."""

    class Broken(Quiet):
        def __call__(self, value: object) -> bool:
            raise RuntimeError("the pipe is gone")

    with pytest.raises(RuntimeError, match="the pipe is gone"):
        planned(problem([stop("P1", (500, 0))]), progress=Broken())


def test_an_engine_that_miscounts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A swallowed error makes arcs cost 0 and the answer "optimal": the cost is counted again outside."""
    counted = model.Model.price
    monkeypatch.setattr(model.Model, "price", lambda self, routes: counted(self, routes) + 1)
    with pytest.raises(PlanRefused, match="they cost"):
        planned(problem([stop("P1", (500, 0))]))


def test_a_plan_that_breaks_a_rule_is_replaced_by_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure story 20: an engine's plan with a broken rule (it loses a stop) is refused; the first plan by insertion takes its place."""
    searched = engines.search

    def forgetful(*arguments: Any, **named: Any) -> Found:
        found = searched(*arguments, **named)
        return replace(found, routes=tuple(route[1:] for route in found.routes))

    monkeypatch.setattr(engines, "search", forgetful)
    monkeypatch.setattr(driven, "out_of", lambda _stop: Reason.WINDOW)  # as if it had a good reason
    plan, _ = planned(problem([stop("P1", (500, 0)), stop("P2", (600, 0))]))
    assert served(plan) == ["P1", "P2"]


def test_a_plan_that_breaks_a_rule_never_leaves_the_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever makes the plans loses a stop without a word: the answer is the broken rule, not the plan."""
    made = driven.plan
    monkeypatch.setattr(driven, "plan", lambda day, routes: replace(made(day, [route[1:] for route in routes]), unserved=()))
    with pytest.raises(PlanRefused, match="stop-missing"):
        planned(problem([stop("P1", (500, 0)), stop("P2", (600, 0))]))


@pytest.mark.parametrize("broken", [float("inf"), float("nan"), None, -1, 1.5, True, "7"])
@pytest.mark.parametrize("table", ["distance_m", "duration_s"])
def test_what_is_no_whole_number_in_a_matrix_is_loud(table: str, broken: object) -> None:
    """An infinite, missing or negative cell is told with its place before anything is solved."""
    asked = problem([stop("P1", (500, 0))])
    tables = travel(asked)
    matrix: dict[str, list[list[object]]] = {
        "distance_m": [list(row) for row in tables.distance_m],
        "duration_s": [list(row) for row in tables.duration_s],
    }
    matrix[table][0][1] = broken
    with pytest.raises(InvalidTravel, match=rf"{table}\[0\]\[1\]"):
        work.travel_of({"matrix": matrix}, asked)


def test_an_unreachable_pair_is_said_in_both_tables() -> None:
    """A matrix may say "unreachable"; metres without seconds are a fault."""
    asked = problem([stop("P1", (500, 0))])
    metres = [[0, "unreachable", 1], [1, 0, 1], [1, 1, 0]]
    seconds = [[0, 5, 1], [1, 0, 1], [1, 1, 0]]
    assert work.travel_of({"matrix": {"distance_m": metres, "duration_s": metres}}, asked)[0].distance_m[0][1] is None
    with pytest.raises(InvalidTravel, match="from 0 to 1"):
        work.travel_of({"matrix": {"distance_m": metres, "duration_s": seconds}}, asked)


@pytest.mark.parametrize("seed", range(6))
def test_small_towns_are_planned_as_short_as_trying_every_order(seed: int) -> None:
    """Up to six stops on one trip: no order of stops is shorter than the plan."""
    spots = [((37 * seed + 613 * n) % 1900 - 900, (91 * seed + 377 * n * n) % 1700 - 800) for n in range(4 + seed % 3)]
    asked = problem([stop(f"P{n}", at) for n, at in enumerate(spots)], sites=[site("S1", (1000, 0)), site("S2", (-700, 300))])
    metres = travel(asked).distance_m
    shortest = min(_trip(metres, order) for order in itertools.permutations(range(1, len(spots) + 1)))
    assert planned(asked, solutions=300)[0].distance_m == shortest


def test_unloads_on_the_way_are_as_short_as_trying_every_split() -> None:
    """Five stops that fill the truck by twos: no order and no choice of unloads is shorter than the plan."""
    spots = [(400, 100), (900, -300), (-300, 500), (-800, -200), (200, 900)]
    asked = problem([stop(f"P{n}", at, 500) for n, at in enumerate(spots)])
    metres = travel(asked).distance_m
    shortest = min(
        sum(_leg(metres, a, b) for a, b in itertools.pairwise(tour))
        for order in itertools.permutations(range(1, 6))
        for cuts in itertools.product([False, True], repeat=4)
        if (tour := _tour(order, cuts))
    )
    assert planned(asked, solutions=500)[0].distance_m == shortest


def _tour(order: tuple[int, ...], cuts: tuple[bool, ...]) -> list[int] | None:
    """Depot, stops and unloads (row 6); None when a trip has more than two stops."""
    tour, load = [0], 0
    for row, cut in zip(order, (*cuts, True), strict=True):
        load += 1
        if load > 2:
            return None
        tour.append(row)
        if cut:
            tour.append(6)
            load = 0
    return [*tour, 0]


def _trip(metres: tuple[tuple[int | None, ...], ...], order: tuple[int, ...]) -> int:
    sites = range(len(metres) - 2, len(metres))
    ways = [(0, *order, last, 0) for last in sites]
    return min(sum(_leg(metres, a, b) for a, b in itertools.pairwise(way)) for way in ways)


def _leg(metres: tuple[tuple[int | None, ...], ...], origin: int, target: int) -> int:
    leg = metres[origin][target]
    assert leg is not None
    return leg


_SPOT = st.tuples(st.integers(-8, 8), st.integers(-8, 8)).map(lambda at: (at[0] * 400, at[1] * 400))
_WINDOW = st.tuples(st.integers(4, 15), st.integers(0, 3)).map(lambda hours: Window(hours[0] * 3600, sum(hours) * 3600))
_STREAMS = st.sampled_from([["other"], ["other", "kitchen"], ["kitchen"]])


def _drawn_truck(draw: st.DrawFn, number: int) -> Truck:
    kg, dm3 = draw(st.integers(300, 1500)), draw(st.integers(300, 1500))
    return truck(f"T{number}", kg, dm3=dm3, shift=draw(_WINDOW) if number else DAY, streams=draw(_STREAMS))


@st.composite
def _towns(draw: st.DrawFn) -> tuple[Problem, Travel]:
    stops = [
        stop(
            f"P{number}",
            draw(_SPOT),
            draw(st.integers(0, 700)),
            dm3=draw(st.integers(0, 700)),
            service_s=draw(st.integers(0, 4000)),
            windows=draw(st.lists(_WINDOW, max_size=2)),
        )
        for number in range(draw(st.integers(1, 9)))
    ]
    trucks = [
        truck(
            f"T{n}",
            draw(st.integers(300, 1500)),
            dm3=draw(st.integers(300, 1500)),
            shift=draw(_WINDOW) if n else DAY,
            streams=draw(_STREAMS),
        )
        for n in range(draw(st.integers(1, 3)))
    ]
    sites = [site(f"S{n}", draw(_SPOT), streams=draw(_STREAMS)) for n in range(draw(st.integers(1, 3)))]
    asked = problem(stops, trucks, sites, vehicle_cost_m=draw(st.sampled_from([0, 20_000])))
    lost = draw(st.sets(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=12))
    return asked, travel(asked, closed=lambda origin, target: (origin, target) in lost)


@settings(max_examples=120)
@given(_towns())
def test_in_any_town_every_stop_is_served_or_has_a_reason(town: tuple[Problem, Travel]) -> None:
    """Whatever rules meet: the engine, the planner and the verifier agree, and nothing is dropped in silence."""
    asked, by = town
    plan, _ = planned(asked, by, solutions=8)
    assert sorted(served(plan) + list(unserved(plan))) == sorted(each.id for each in asked.stops)
    assert served(plan) or not admit(asked, by).stops  # what a truck could do alone is worth going out for


@settings(max_examples=40)
@given(_towns())
def test_a_problem_survives_its_way_through_json(town: tuple[Problem, Travel]) -> None:
    """What is written is read back as the same problem."""
    assert problem_json.read(problem_json.write(town[0])) == town[0]


def test_one_plan_and_its_matrices_are_judged_together() -> None:
    """The same plan on other matrices is refused: roads changed after the plan."""
    asked = problem([stop("P1", (500, 0)), stop("P2", (600, 0))])
    plan, _ = planned(asked)
    slower = travel(asked)
    slower = Travel(slower.distance_m, tuple(tuple((each or 0) * 2 for each in row) for row in slower.duration_s), TravelSource.GIVEN)
    assert {broken.rule for broken in verifier.faults(asked, slower, plan)} == {verifier.Rule.TRAVEL_TIME}


def test_the_clock_of_the_search_is_the_port() -> None:
    """A search ends by the clock that it is given, within the solutions it may take."""
    asked = problem([stop("P1", (500, 0))])
    plan, ended = work.planned(asked, travel(asked), SystemClock(), Quiet(), solutions=1)
    assert ended is Ended.TIME
    assert served(plan) == ["P1"]


SHUT_AT_NOON = (Window(SIX, 12 * 3600), Window(14 * 3600, 18 * 3600))


def _noon(last_start_s: int) -> Plan:
    """One stop whose service can only begin at that second, 10 minutes from a site that is shut from twelve to two; 300 s of service."""
    asked = problem(
        [stop("P1", (6000, 0), service_s=300, windows=[Window(last_start_s, last_start_s)])],
        [truck(shift=Window(SIX, 16 * 3600))],
        [site("S1", (0, 0), service_s=900, opening=SHUT_AT_NOON)],
    )
    return planned(asked)[0]


def test_story_6_an_unload_that_starts_before_noon_may_end_behind_it() -> None:
    """There at 11:55 with 900 s to go: the start counts, so it is tipped until 12:10."""
    unload = next(visit for visit in _noon(11 * 3600 + 40 * 60).routes[0].visits if visit.kind is VisitKind.UNLOAD)
    assert (unload.arrival_s, unload.start_s, unload.departure_s) == (42_900, 42_900, 43_800)


def test_story_6_no_unload_starts_while_the_site_is_shut() -> None:
    """There at 12:01: it waits until two."""
    unload = next(visit for visit in _noon(11 * 3600 + 46 * 60).routes[0].visits if visit.kind is VisitKind.UNLOAD)
    assert (unload.arrival_s, unload.start_s) == (43_260, 14 * 3600)


def test_a_thousand_stops_at_one_point_are_a_day_like_any_other() -> None:
    """No way between them, a service each; as many as the shift has time for, the rest with its reason, and no endless search."""
    stops = [stop(f"P{n:04}", (2000, 0), 5, service_s=20) for n in range(1000)]
    plan, _ = planned(problem(stops, [truck("T1", 2000), truck("T2", 2000)]), solutions=3)
    assert len(served(plan)) + len(unserved(plan)) == 1000
    assert len(served(plan)) >= 900
    assert set(unserved(plan).values()) <= {"not-reached"}


def test_a_first_plan_that_only_the_clock_on_the_wall_has_room_for_is_judged_by_it() -> None:
    """Free at 11:10 with a load, back by 11:30, lunch from 11:00: the clock without its lunch has no time left between; there is a plan."""
    out = truck("T1", shift=Window(SIX, 11 * 3600 + 1800))
    out = replace(out, underway=Underway(place((1500, 0)), 11 * 3600 + 600, 100, 0))
    asked = problem([stop("P1", (1200, 0))], [out], [site("S1", (1000, 0))], lunch=Lunch(11 * 3600, 11 * 3600 + 1800, 1800))
    plan, _ = planned(asked)
    assert plan.routes[0].visits[-1].load_kg == 0
