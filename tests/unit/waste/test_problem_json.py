"""The problem as JSON: what is refused, where and in which words."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cityloop_common.geo import BadPosition, Bounds, Position
from cityloop_waste.planning import problem_json
from cityloop_waste.planning.checking import check
from cityloop_waste.planning.domain import (
    Caps,
    Engine,
    InvalidProblem,
    Lunch,
    Minimise,
    Options,
    Plan,
    Problem,
    Reason,
    Round,
    Route,
    Site,
    Stop,
    Truck,
    Underway,
    Unserved,
    Visit,
    VisitKind,
    Window,
)
from cityloop_waste.roads.domain import TravelSource
from tests.unit.waste.towns import problem, site, stop, truck

CITY = Bounds(109.5, 39.3, 110.1, 39.8)
GOOD: dict[str, Any] = {
    "stream": "kitchen",
    "datum": "wgs84",
    "depot": {"lon": 109.787, "lat": 39.565},
    "stops": [
        {
            "id": "P1",
            "position": {"lon": 109.79, "lat": 39.56},
            "demand_kg": 120,
            "demand_dm3": 480,
            "service_s": 90,
            "windows": [{"start_s": 21600, "end_s": 28800}],
        },
        {"id": "P2", "position": {"lon": 109.78, "lat": 39.57}, "demand_kg": 0, "demand_dm3": 0, "service_s": 0},
    ],
    "trucks": [
        {"id": "T1", "capacity_kg": 5000, "capacity_dm3": 12000, "shift": {"start_s": 18000, "end_s": 46800}, "streams": ["kitchen"]}
    ],
    "sites": [{"id": "S1", "position": {"lon": 109.8, "lat": 39.5}, "streams": ["kitchen"], "service_s": 600}],
}


EVERYTHING: dict[str, Any] = {
    **GOOD,
    "stops": [
        GOOD["stops"][0] | {"containers": 3, "container_s": 20, "trucks": ["T1"], "prize_m": 900},
        GOOD["stops"][1],
    ],
    "trucks": [
        GOOD["trucks"][0]
        | {
            "day": {"kg": 20000, "dm3": None, "stops": 100},
            "overtime_s": 1800,
            "underway": {
                "position": {"lon": 109.8, "lat": 39.55},
                "at_s": 38400,
                "load_kg": 2300,
                "taken": {"kg": 2300, "stops": 12, "containers": 40},
            },
        }
    ],
    "sites": [GOOD["sites"][0] | {"queue_s": 120, "opening": [{"start_s": 21600, "end_s": 43200}], "day_kg": 50000}],
    "lunch": {"earliest_s": 39600, "latest_s": 43200, "duration_s": 3600},
    "yesterday": [{"truck": "T1", "stops": ["P2", "gone"]}, {"truck": "sold", "stops": []}],
    "options": {"minimise": "time", "overtime_m": 5000, "even_percent": 3, "engine": "pyvrp"},
}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The good document with one change."""
    document = copy.deepcopy(GOOD)
    change(document)
    return document


def test_a_document_is_read_with_its_defaults() -> None:
    """Options and windows may be left out."""
    read = problem_json.read(GOOD, within=CITY)
    assert (read.options.seconds, read.stops[0].windows, read.stops[1].windows) == (30, (Window(21600, 28800),), ())
    assert read.positions() == (Position(109.787, 39.565), Position(109.79, 39.56), Position(109.78, 39.57), Position(109.8, 39.5))


def test_all_that_a_day_can_say_is_read() -> None:
    """A service of containers is summed up, a queue counts to the service of its site, what is left out is without a rule."""
    read = problem_json.read(EVERYTHING, within=CITY)
    first, truck, site = read.stops[0], read.trucks[0], read.sites[0]
    assert (first.service_s, first.containers, first.trucks, first.prize_m) == (90 + 3 * 20, 3, ("T1",), 900)
    assert (truck.day, truck.overtime_s) == (Caps(20000, None, 100, None), 1800)
    assert truck.underway == Underway(Position(109.8, 39.55), 38400, 2300, 0, Caps(kg=2300, stops=12, containers=40))
    assert (site.service_s, site.opening, site.day_kg) == (720, (Window(21600, 43200),), 50000)
    assert read.lunch == Lunch(39600, 43200, 3600)
    assert read.yesterday == (Round("T1", ("P2", "gone")), Round("sold", ()))
    assert read.options == Options(30, Options().vehicle_cost_m, Minimise.TIME, 5000, 3, Engine.PYVRP)
    assert read.positions()[-1] == Position(109.8, 39.55)


def test_where_a_truck_is_has_the_datum_of_the_document() -> None:
    """It is converted with all other positions."""
    read = problem_json.read(EVERYTHING | {"datum": "gcj02"}, within=CITY)
    assert read.trucks[0].underway is not None
    assert 0.001 < abs(read.trucks[0].underway.position.lon - 109.8) < 0.01


def test_positions_of_another_datum_are_converted() -> None:
    """GCJ-02 is some 500 m away at the first city; what is kept is WGS-84."""
    read = problem_json.read(changed(lambda each: each.update(datum="gcj02")), within=CITY)
    assert 0.001 < abs(read.depot.lon - 109.787) < 0.01


SPOILT: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda each: each["stops"][0].update(containers=-1), "stops[0].containers: "),
    (lambda each: each["stops"][0].update(containers=201), "stops[0].containers: "),
    (lambda each: each["stops"][0].update(container_s=-1), "stops[0].container_s: "),
    (lambda each: each["stops"][0].update(container_s=20_000), "stops[0].service_s: 60090 is not within"),
    (lambda each: each["stops"][0].update(trucks=["T1", "T9"]), "stops[0].trucks[1]: the problem has no truck T9"),
    (lambda each: each["stops"][0].update(trucks="T1"), "stops[0].trucks: "),
    (lambda each: each["stops"][0].update(trucks=["T1"] * 101), "stops[0].trucks: "),
    (lambda each: each["stops"][0].update(prize_m=-1), "stops[0].prize_m: "),
    (lambda each: each["stops"][0].update(prize_m=float("nan")), "stops[0].prize_m: "),
    (lambda each: each["trucks"][0]["day"].update(kg=-1), "trucks[0].day.kg: "),
    (lambda each: each["trucks"][0]["day"].update(litres=1), "trucks[0].day.litres: "),
    (lambda each: each["trucks"][0].update(overtime_s=-1), "trucks[0].overtime_s: "),
    (lambda each: each["trucks"][0]["underway"].pop("position"), "trucks[0].underway.position: "),
    (lambda each: each["trucks"][0]["underway"].update(position={"lon": 39.55, "lat": 109.8}), "trucks[0].underway.position: 39.55, 109.8"),
    (lambda each: each["trucks"][0]["underway"].update(at_s=200_000), "trucks[0].underway.at_s: "),
    (lambda each: each["trucks"][0]["underway"].update(load_kg=5001), "trucks[0].underway.load_kg: 5001 is not within 0..5000"),
    (lambda each: each["trucks"][0]["underway"]["taken"].update(stops=1.5), "trucks[0].underway.taken.stops: "),
    (lambda each: each["sites"][0].update(queue_s=-1), "sites[0].queue_s: "),
    (lambda each: each["sites"][0].update(queue_s=28_800), "sites[0].service_s: 29400 is not within"),
    (lambda each: each["sites"][0]["opening"][0].update(end_s=3), "sites[0].opening[0]: it ends at 3"),
    (lambda each: each["sites"][0].update(opening=each["sites"][0]["opening"] * 9), "sites[0].opening: "),
    (lambda each: each["sites"][0].update(day_kg=-1), "sites[0].day_kg: "),
    (lambda each: each["lunch"].update(duration_s=0), "lunch.duration_s: "),
    (lambda each: each["lunch"].update(latest_s=5), "lunch: it ends at 5"),
    (lambda each: each["lunch"].pop("earliest_s"), "lunch.earliest_s: "),
    (lambda each: each["yesterday"][0].update(truck=""), "yesterday[0].truck: "),
    (lambda each: each["yesterday"][0].update(truck="a\x00b"), "yesterday[0].truck: "),
    (lambda each: each["yesterday"][0].update(stops=["P2"] * 1001), "yesterday[0].stops: "),
    (lambda each: each["yesterday"][0].update(stops=["P2", 7]), "yesterday[0].stops[1]: "),
    (lambda each: each.update(yesterday=each["yesterday"] * 51), "yesterday: "),
    (lambda each: each["options"].update(minimise="money"), "options.minimise: "),
    (lambda each: each["options"].update(engine="cplex"), "options.engine: "),
    (lambda each: each["options"].update(even_percent=21), "options.even_percent: "),
    (lambda each: each["options"].update(overtime_m=-1), "options.overtime_m: "),
]


@pytest.mark.parametrize("change, told", SPOILT)
def test_a_full_day_is_refused_with_the_place_of_its_fault(change: Callable[[dict[str, Any]], object], told: str) -> None:
    """Each field that says more than the least has its bounds, and its own path."""
    document = copy.deepcopy(EVERYTHING)
    change(document)
    with pytest.raises(InvalidProblem) as refused:
        problem_json.read(document, within=CITY)
    assert told in refused.value.detail


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda each: each.pop("depot"), "depot: "),
        (lambda each: each.update(stops=[]), "stops: "),
        (lambda each: each.update(trucks=[]), "trucks: "),
        (lambda each: each.update(sites=[]), "sites: "),
        (lambda each: each.update(stopps=[]), "stopps: "),
        (lambda each: each["trucks"][0].update(streams=[]), "trucks[0].streams: "),
        (lambda each: each["stops"][1].update(demand_kg=-1), "stops[1].demand_kg: "),
        (lambda each: each["stops"][1].update(demand_kg=1.0), "stops[1].demand_kg: "),
        (lambda each: each["stops"][1].update(demand_kg="7"), "stops[1].demand_kg: "),
        (lambda each: each["stops"][1].update(demand_kg=True), "stops[1].demand_kg: "),
        (lambda each: each["stops"][1].update(demand_kg=float("nan")), "stops[1].demand_kg: "),
        (lambda each: each["stops"][1].update(service_s=10**9), "stops[1].service_s: "),
        (lambda each: each["stops"][1]["position"].update(lon=float("nan")), "stops[1].position.lon: "),
        (lambda each: each["stops"][1]["position"].update(lat=float("inf")), "stops[1].position.lat: "),
        (lambda each: each["stops"][1]["position"].update(lat=None), "stops[1].position.lat: "),
        (lambda each: each["stops"][1].update(id="P1"), "stops[1].id: P1 is also the id of stops[0]"),
        (lambda each: each["stops"][1].update(id="a\x00b"), "stops[1].id: "),
        (lambda each: each["stops"][0]["windows"][0].update(end_s=3), "stops[0].windows[0]: it ends at 3"),
        (lambda each: each["trucks"][0]["shift"].update(start_s=50000), "trucks[0].shift: it ends at 46800"),
        (lambda each: each["trucks"][0].update(capacity_kg=0), "trucks[0].capacity_kg: "),
        (lambda each: each.update(options={"seconds": 0}), "options.seconds: "),
        (lambda each: each.update(options={"seconds": 10**6}), "options.seconds: "),
        (lambda each: each["stops"][1].update(position={"lon": 39.57, "lat": 109.78}), "stops[1].position: 39.57, 109.78"),
        (lambda each: each["depot"].update(lon=121.5, lat=25.0), "depot: 121.5, 25"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(change: Callable[[dict[str, Any]], object], told: str) -> None:
    """Nothing is planned, and the message says where the fault is."""
    with pytest.raises(InvalidProblem) as refused:
        problem_json.read(changed(change), within=CITY)
    assert told in refused.value.detail
    assert refused.value.members["faults"]


def test_swapped_coordinates_are_called_that() -> None:
    """39 E, 109 N is no place; the other way round it is in the city."""
    with pytest.raises(InvalidProblem, match="may be swapped"):
        problem_json.read(changed(lambda each: each["stops"][1].update(position={"lon": 39.57, "lat": 109.78})), within=CITY)


@pytest.mark.parametrize("datum", [None, "", "gps"])
def test_coordinates_need_their_datum(datum: str | None) -> None:
    """A position without its datum is not a position."""
    with pytest.raises(BadPosition):
        problem_json.read(changed(lambda each: each.update(datum=datum)))


@pytest.mark.parametrize("document", [None, 7, "problem", [], [GOOD]])
def test_what_is_no_document_is_refused(document: object) -> None:
    """Not even an object."""
    with pytest.raises(InvalidProblem, match="problem: "):
        problem_json.read(document)


def test_all_faults_are_told_at_once() -> None:
    """Two stops and the depot: three faults, each with its place."""

    def spoil(document: dict[str, Any]) -> None:
        document["depot"]["lat"] = -91
        for each in document["stops"]:
            each["position"]["lon"] = 200

    with pytest.raises(InvalidProblem) as refused:
        problem_json.read(changed(spoil))
    faults: Any = refused.value.members["faults"]
    assert [fault["at"] for fault in faults] == ["depot", "stops[0].position", "stops[1].position"]


@pytest.mark.parametrize(
    "spoil, told",
    [
        (lambda each: replace(each, stops=()), "stops: 0 of them"),
        (lambda each: replace(each, trucks=()), "trucks: 0 of them"),
        (lambda each: replace(each, sites=()), "sites: 0 of them"),
        (lambda each: replace(each, stops=each.stops * 2), r"stops\[1\].id: P1 is also"),
        (lambda each: replace(each, depot=Position(float("nan"), 0)), "depot: longitude and latitude are not both numbers"),
        (lambda each: replace(each, depot=Position(39.5, 109.7)), "may be swapped"),
        (lambda each: replace(each, stops=(replace(each.stops[0], demand_kg=float("inf")),)), "inf is not a whole number"),
        (lambda each: replace(each, stops=(replace(each.stops[0], windows=(Window(5, 3),)),)), "it ends at 3, before it starts at 5"),
        (lambda each: replace(each, stops=(replace(each.stops[0], windows=(Window(0, 9),) * 9),)), "9 windows, at most 8"),
        (lambda each: replace(each, trucks=(truck(streams=[]),)), "it accepts no stream"),
        (lambda each: replace(each, sites=(site("S1", (0, 0), service_s=-1),)), "-1 is not within"),
        (lambda each: replace(each, stops=tuple(_numbered(n) for n in range(1001))), "1001 of them; 1 to 1000"),
        (lambda each: replace(each, yesterday=(Round("T1", ()),) * 101), "yesterday: 101 rounds, at most 100"),
        (lambda each: replace(each, yesterday=(Round("T1", ("P1",) * 1001),)), r"yesterday\[0\].stops: 1001 stops"),
        (lambda each: replace(each, yesterday=(Round("T1", ("P\n",)),)), r"yesterday\[0\].stops\[0\]: a text of"),
        (lambda each: replace(each, lunch=Lunch(5, 3, 60)), "lunch: it ends at 3"),
    ],
)
def test_a_problem_made_in_the_program_is_checked_alike(spoil: Callable[[Problem], Problem], told: str) -> None:
    """The registry's rows become a problem without JSON: the same rules."""
    with pytest.raises(InvalidProblem, match=told):
        check(spoil(problem([stop("P1", (0, 0))])))


def _numbered(number: int) -> Stop:
    return stop(f"P{number}", (0, 0))


WHOLE = st.integers(0, 1000)
SECONDS = st.integers(0, 2 * 86_400)
NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
PLACES = st.builds(Position, st.floats(-180, 180), st.floats(-90, 90))
WINDOWS = st.tuples(SECONDS, SECONDS).map(lambda both: Window(min(both), max(both)))
HOURS = st.lists(WINDOWS, max_size=3).map(tuple)
TOTAL = st.none() | WHOLE
CAPS = st.builds(Caps, TOTAL, TOTAL, TOTAL, TOTAL)
STREAMS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
LUNCHES = st.builds(lambda hours, seconds: Lunch(hours.start_s, hours.end_s, seconds), WINDOWS, st.integers(1, 7200))
OPTIONS = st.builds(Options, st.integers(1, 600), WHOLE, st.sampled_from(Minimise), WHOLE, st.integers(0, 20), st.sampled_from(Engine))
ROUNDS = st.builds(Round, NAMES, st.lists(NAMES, max_size=4).map(tuple))


Named = TypeVar("Named", Stop, Truck, Site)


def _named(kind: st.SearchStrategy[Named]) -> st.SearchStrategy[tuple[Named, ...]]:
    """One to four of a kind, each with an id of its own."""
    return st.lists(kind, min_size=1, max_size=4, unique_by=lambda each: each.id).map(tuple)


@st.composite
def _problems(draw: st.DrawFn) -> Problem:
    underway = st.none() | st.builds(Underway, PLACES, SECONDS, WHOLE, WHOLE, CAPS)
    masses = st.none() | st.integers(1, 50_000)
    loads = st.integers(1000, 9000)
    trucks = draw(_named(st.builds(Truck, NAMES, loads, loads, WINDOWS, STREAMS, masses, CAPS, SECONDS, underway)))
    only = st.lists(st.sampled_from([each.id for each in trucks]), max_size=3).map(tuple)
    stops = draw(_named(st.builds(Stop, NAMES, PLACES, WHOLE, WHOLE, WHOLE, HOURS, st.integers(0, 200), only, TOTAL)))
    sites = draw(_named(st.builds(Site, NAMES, PLACES, STREAMS, WHOLE, HOURS, TOTAL)))
    yesterday = draw(st.lists(ROUNDS, max_size=3).map(tuple))
    return Problem(draw(NAMES), draw(PLACES), stops, trucks, sites, draw(OPTIONS), draw(st.none() | LUNCHES), yesterday)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(_problems())
def test_what_is_written_is_read_as_the_same_problem(asked: Problem) -> None:
    """Through JSON text too: the solver's process gets every field as it was."""
    assert problem_json.read(json.loads(json.dumps(problem_json.write(asked)))) == asked


def test_a_plan_is_written_with_its_lunch() -> None:
    """A route without one says null."""
    visits = (Visit(VisitKind.DEPOT_START, None, 1, 1, 1, 0, 0), Visit(VisitKind.STOP, "P1", 2, 3, 4, 5, 6))
    plan = Plan((Route("T1", visits, 7, 8, Window(9, 10)), Route("T2", (), 1, 2)), (Unserved("P2", Reason.NOT_WORTH_IT),))
    written = problem_json.write_plan(plan, stream="other", travel=TravelSource.GIVEN)
    assert [each["lunch"] for each in written["routes"]] == [{"start_s": 9, "end_s": 10}, None]
    assert written["routes"][0]["visits"][1] == {
        "kind": "stop",
        "id": "P1",
        "arrival_s": 2,
        "start_s": 3,
        "departure_s": 4,
        "load_kg": 5,
        "load_dm3": 6,
    }
    assert written["unserved"] == [{"stop": "P2", "reason": "not-worth-it"}]
    assert (written["vehicles"], written["cost"]) == (2, {"distance_m": 8, "duration_s": 10})
