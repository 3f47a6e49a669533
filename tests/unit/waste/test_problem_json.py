"""The problem as JSON: what is refused, where and in which words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cityloop_common.geo import BadPosition, Bounds, Position
from cityloop_waste.planning import problem_json
from cityloop_waste.planning.checking import check
from cityloop_waste.planning.domain import InvalidProblem, Problem, Stop, Window
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


def test_positions_of_another_datum_are_converted() -> None:
    """GCJ-02 is some 500 m away at the first city; what is kept is WGS-84."""
    read = problem_json.read(changed(lambda each: each.update(datum="gcj02")), within=CITY)
    assert 0.001 < abs(read.depot.lon - 109.787) < 0.01


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
    ],
)
def test_a_problem_made_in_the_program_is_checked_alike(spoil: Callable[[Problem], Problem], told: str) -> None:
    """The registry's rows become a problem without JSON: the same rules."""
    with pytest.raises(InvalidProblem, match=told):
        check(spoil(problem([stop("P1", (0, 0))])))


def _numbered(number: int) -> Stop:
    return stop(f"P{number}", (0, 0))
