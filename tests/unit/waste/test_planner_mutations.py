"""Every fault that a plan can have, planted in a plan that was made by hand: the verifier names the rule, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cityloop_waste.planning import verifier
from cityloop_waste.planning.domain import Caps, Lunch, Plan, Problem, Reason, Route, Truck, Unserved, Visit, VisitKind, Window
from cityloop_waste.planning.verifier import Rule
from cityloop_waste.roads.domain import Travel
from tests.unit.waste.towns import SIX, by_hand, place, problem, site, stop, travel, truck, underway

HOUR = 3600
NOON = 12 * HOUR
HALF_PAST_NOON = Window(NOON + HOUR // 2, 14 * HOUR)
LUNCH = Lunch(11 * HOUR, NOON, HOUR)


def _asked() -> Problem:
    """Two trucks that unload on the way, one that is out already and one that stays; a stop for each reason to be unserved.

    Loads are 900 and 600 kg (T1, in a day of 1,550), 900 and 500 kg (T2); T3 has 600 kg on board. S1 takes the 1,500 kg of T1 and
    not more, and is shut from ten to one.
    """
    return problem(
        [
            stop("P1", (1000, 200), 400, dm3=400, containers=2, service_s=120, windows=[Window(SIX, 8 * HOUR)]),
            stop("P2", (2000, -200), 500, dm3=500, containers=2),
            stop("P3", (3000, 200), 600, dm3=600, containers=2),
            stop("P4", (200, 1000), 500, dm3=500, containers=1, trucks=["T2"]),
            stop("P5", (-200, 2000), 400, dm3=400, containers=1),
            stop("P6", (200, 3000), 500, dm3=500, containers=1, service_s=2400, windows=[Window(SIX, SIX + 300), HALF_PAST_NOON]),
            stop("U1", (5000, 200), 300, dm3=300, containers=1),
            stop("iron", (2800, 0), 150),
            stop("foam", (2800, 10), 0, dm3=150),
            stop("bins", (2800, 20), 0, containers=3),
            stop("look", (2800, 30), 0, service_s=0),
            stop("glance", (2800, 40), 0, service_s=0),
            stop("huge", (100, 100), 5000),
            stop("early", (100, 200), windows=[Window(0, SIX)]),
            stop("long", (100, 20_000), service_s=8 * HOUR),
            stop("cheap", (300, 300), prize_m=10),
            stop("green", (100, 0), trucks=["K1"]),
            stop("island", (0, 500)),
        ],
        [
            truck("T1", dm3=1000, shift=Window(SIX, NOON), day=Caps(kg=1550, dm3=1550, stops=4, containers=7)),
            truck("T2", dm3=1000, overtime_s=HOUR // 2),
            truck(
                "T3",
                dm3=1000,
                day=Caps(kg=1000),
                underway=underway((4500, 0), 10 * HOUR + 2400, kg=600, dm3=600, taken=Caps(kg=600, dm3=600, stops=2, containers=3)),
            ),
            truck("T4"),
            truck("K1", streams=["kitchen"]),
        ],
        [
            site("S1", (4000, 0), opening=[Window(SIX, 10 * HOUR), Window(13 * HOUR, 14 * HOUR)], day_kg=1500),
            site("S2", (0, 4000)),
            site("K", (900, 0), streams=["kitchen"]),
        ],
        lunch=LUNCH,
    )


ASKED = _asked()
ISLAND = [each.id for each in ASKED.stops].index("island") + 1
BY = travel(ASKED, closed=lambda origin, target: ISLAND in {origin, target})
WAYS = {"T1": "P1 P2 S1 P3 S1", "T2": "P4 P5 S2 P6 S2", "T3": "U1 S2"}
TRUE = {
    "huge": Reason.TOO_MUCH,
    "early": Reason.WINDOW,
    "long": Reason.NOT_ENOUGH_TIME,
    "cheap": Reason.NOT_WORTH_IT,
    "green": Reason.NO_VEHICLE,
    "island": Reason.UNREACHABLE,
}


def _plan(
    ways: Mapping[str, str | None] | None = None,
    *,
    asked: Problem = ASKED,
    by: Travel = BY,
    leaves: Mapping[str, int] | None = None,
    eats: Mapping[str, int] | None = None,
) -> Plan:
    """The good plan with the ways of some trucks changed (None: it stays), driven truly, its unserved stops told truly."""
    driven = {name: way.split() for name, way in (WAYS | dict(ways or {})).items() if way is not None}
    served = {name for way in driven.values() for name in way}
    unserved = {each.id: TRUE.get(each.id, Reason.NOT_REACHED) for each in ASKED.stops if each.id not in served}
    eats = {"T2": LUNCH.earliest_s} if eats is None else eats
    return by_hand(asked, by, driven, leaves=leaves, eats=eats, unserved=unserved)


GOOD = _plan()


def _of(name: str, change: Callable[[Route], Route], plan: Plan = GOOD) -> Plan:
    return replace(plan, routes=tuple(change(route) if route.truck == name else route for route in plan.routes))


def _visit(name: str, at: int, plan: Plan = GOOD, **change: Any) -> Plan:
    """One visit of a truck changed."""

    def changed(route: Route) -> Route:
        visits = list(route.visits)
        visits[at] = replace(visits[at], **change)
        return replace(route, visits=tuple(visits))

    return _of(name, changed, plan)


def _visits(name: str, change: Callable[[tuple[Visit, ...]], Sequence[Visit]], plan: Plan = GOOD) -> Plan:
    return _of(name, lambda route: replace(route, visits=tuple(change(route.visits))), plan)


def _eating(name: str, start_s: int, plan: Plan = GOOD, *, for_s: int = HOUR) -> Plan:
    """Another lunch told, nothing else changed."""
    return _of(name, lambda route: replace(route, lunch=Window(start_s, start_s + for_s)), plan)


def _later(visit: Visit, seconds: int) -> Visit:
    return replace(visit, arrival_s=visit.arrival_s + seconds, start_s=visit.start_s + seconds, departure_s=visit.departure_s + seconds)


def _renamed(names: Mapping[str, str], plan: Plan = GOOD) -> Plan:
    return replace(plan, routes=tuple(replace(route, truck=names.get(route.truck, route.truck)) for route in plan.routes))


def _merged(plan: Plan) -> Plan:
    first, second, *rest = plan.routes
    return replace(plan, routes=(replace(first, visits=(*first.visits[:-1], *second.visits[1:])), *rest))


def _listed(*listed: Unserved) -> Plan:
    return replace(GOOD, unserved=(*GOOD.unserved, *listed))


def _told(name: str, reason: Reason) -> Plan:
    """Another reason for a stop."""
    return replace(GOOD, unserved=tuple(replace(each, reason=reason) if each.stop == name else each for each in GOOD.unserved))


def _of_stops(change: Callable[[Any], Any]) -> Problem:
    return replace(ASKED, stops=tuple(map(change, ASKED.stops)))


def _truck(name: str, **change: Any) -> Problem:
    """The day with a truck changed."""
    trucks: tuple[Truck, ...] = tuple(replace(each, **change) if each.id == name else each for each in ASKED.trucks)
    return replace(ASKED, trucks=trucks)


ALWAYS = _of_stops(lambda each: replace(each, windows=()))
"""The same town without hours: who drives in it is at closed doors in the real one."""
ALL_DAY = replace(ASKED, sites=tuple(replace(each, opening=()) for each in ASKED.sites))
QUICK = _of_stops(lambda each: replace(each, service_s=each.service_s // 2))
FAST = replace(BY, duration_s=tuple(tuple(each and each // 2 for each in row) for row in BY.duration_s))
T3 = next(each for each in ASKED.trucks if each.id == "T3")
assert T3.underway is not None
ELSEWHERE = _truck("T3", underway=replace(T3.underway, position=place((4700, 0))))
EMPTY = _truck("T3", underway=replace(T3.underway, load_kg=0, load_dm3=0))
NO_LUNCH = replace(ASKED, lunch=None)
ON_THE_ROAD = _plan(leaves={"T2": LUNCH.earliest_s - 400})
"""T2 leaves P5 at 10:59:40 and would be at S2 at 11:03:20."""


@dataclass(frozen=True)
class Row:
    """A fault, the plan that has it, the rules that it breaks, and the day where it is not the common one."""

    what: str
    plan: Plan
    rules: set[Rule]
    asked: Problem = ASKED


LEGAL = [
    Row("the good plan", GOOD, set()),
    Row("nobody goes out but for the load on board", _plan({"T1": None, "T2": None, "T3": "S2"}), set()),
    Row("lunch on the road", ON_THE_ROAD, set()),
    Row("lunch at the last moment", _plan(eats={"T2": LUNCH.latest_s}), set()),
    Row("lunch although it would be back in time", _plan(eats={"T2": LUNCH.earliest_s, "T3": LUNCH.earliest_s}), set()),
    Row("no lunch for who leaves when it begins", _plan(leaves={"T2": LUNCH.earliest_s}, eats={}), set()),
    Row("no lunch for who is back when it must have begun", _plan({"T2": "P4 P5 S2"}, leaves={"T2": NOON - 1280}, eats={}), set()),
    Row("back in its overtime", _plan({"T2": "P4 P5 S2"}, leaves={"T2": 14 * HOUR}, eats={}), set()),
    Row("an unload that starts when the site opens", _plan({"T1": "P1 P2 S2", "T3": "U1 S1"}, eats={"T2": NOON, "T3": NOON}), set()),
    Row("a stop with a prize is served", _plan({"T2": "P4 cheap S2 P6 S2"}), set()),
    Row("an empty truck stays where it is", _plan({"T3": None}), set(), EMPTY),
    Row(
        "a load that nobody can bring to a site in time stays on board",
        _plan({"T3": None}),
        set(),
        _truck("T3", shift=Window(SIX, 10 * HOUR + 2500)),
    ),
    Row("a load of another stream stays on board", _plan({"T3": None}), set(), _truck("T3", streams=("kitchen",))),
]


FAULTS = [
    # stops and reasons
    Row(
        "a stop dropped from the way",
        _visits("T1", lambda visits: (*visits[:2], *visits[3:])),
        {Rule.STOP_MISSING, Rule.TRAVEL_TIME, Rule.DISTANCE},
    ),
    Row("a stop driven past and not listed", replace(_plan({"T2": "P4 S2 P6 S2"}), unserved=GOOD.unserved), {Rule.STOP_MISSING}),
    Row("a stop twice in one route", _plan({"T2": "P4 P5 S2 P5 S2 P6 S2"}), {Rule.STOP_TWICE}),
    Row("a stop of two routes", _plan({"T4": "P5 S2"}), {Rule.STOP_TWICE}),
    Row("a stop of another day", _visit("T2", 2, id="P99"), {Rule.STOP_UNKNOWN, Rule.STOP_MISSING, Rule.LOAD, Rule.SERVICE_TIME}),
    Row("a stop of another day is listed", _listed(Unserved("P99", Reason.NOT_REACHED)), {Rule.STOP_UNKNOWN}),
    Row("a served stop listed too", _listed(Unserved("P1", Reason.NOT_REACHED)), {Rule.STOP_LISTED}),
    Row("an unserved stop forgotten", replace(GOOD, unserved=GOOD.unserved[1:]), {Rule.STOP_MISSING}),
    Row("an unserved stop listed twice", _listed(GOOD.unserved[0]), {Rule.STOP_TWICE}),
    *(
        Row(f"{name} told {told}", _told(name, told), {Rule.REASON})
        for name, true in (TRUE | {"look": Reason.NOT_REACHED}).items()
        for told in Reason
        if told is not true
    ),
    Row("a stop by a truck that it does not name", _plan({"T2": "P5 S2 P6 S2", "T4": "P4 S2"}), {Rule.STOP_TRUCK}),
    # trucks
    Row("a truck of another town", _renamed({"T1": "T9"}), {Rule.TRUCK_UNKNOWN}),
    Row("a truck of another stream", _plan({"T2": "P4 S2 P6 S2", "K1": "P5 S2"}), {Rule.TRUCK_STREAM}),
    Row("a truck with two routes", _renamed({"T4": "T2"}, _plan({"T2": "P4 S2 P6 S2", "T4": "P5 S2"})), {Rule.TRUCK_TWICE}),
    Row("two trucks swapped", _renamed({"T1": "T2", "T2": "T1"}), {Rule.STOP_TRUCK, Rule.SHIFT}),
    Row(
        "two routes made one",
        _merged(GOOD),
        {
            Rule.STOP_TRUCK,
            Rule.DAY_KG,
            Rule.DAY_DM3,
            Rule.DAY_STOPS,
            Rule.DAY_CONTAINERS,
            Rule.SHIFT,
            Rule.LUNCH_MISSING,
            Rule.TRAVEL_TIME,
            Rule.DISTANCE,
            Rule.DURATION,
        },
    ),
    Row("a route that serves nothing", _plan({"T4": ""}), {Rule.DEPOT}),
    Row("a route without a visit", _visits("T1", lambda visits: ()), {Rule.DEPOT, Rule.STOP_MISSING}),
    Row("a route that does not come back", _visits("T1", lambda visits: visits[:-1]), {Rule.DEPOT}),
    Row("a route that begins at a stop", _visits("T1", lambda visits: visits[1:]), {Rule.DEPOT}),
    Row("the depot on the way", _visits("T1", lambda visits: (*visits[:3], visits[-1], *visits[3:])), {Rule.DEPOT}),
    Row("a truck at the depot told under way", _visit("T1", 0, kind=VisitKind.UNDERWAY), {Rule.DEPOT}),
    # loads
    Row("the last unload dropped", _plan({"T2": "P4 P5 S2 P6"}), {Rule.EMPTY_END}),
    Row(
        "the last unload erased",
        _visits("T2", lambda visits: (*visits[:-2], visits[-1])),
        {Rule.EMPTY_END, Rule.LOAD, Rule.TRAVEL_TIME, Rule.DISTANCE},
    ),
    Row(
        "an unload on the way erased",
        _visits("T1", lambda visits: (*visits[:3], *visits[4:])),
        {Rule.CAPACITY_KG, Rule.CAPACITY_DM3, Rule.LOAD, Rule.TRAVEL_TIME, Rule.DISTANCE},
    ),
    Row("the trip too heavy, the day kept: no reload", _plan({"T1": "P1 P2 P3 S1"}), {Rule.CAPACITY_KG, Rule.CAPACITY_DM3}),
    Row("a trip too heavy", _plan({"T2": "P4 P5 iron S2 P6 S2"}), {Rule.CAPACITY_KG}),
    Row("a trip too bulky", _plan({"T2": "P4 P5 foam S2 P6 S2"}), {Rule.CAPACITY_DM3}),
    Row(
        "the load on board at first forgotten",
        _plan({"T2": "P4 P5 S2", "T3": "P6 S2"}, asked=EMPTY, eats={"T3": LUNCH.earliest_s}),
        {Rule.CAPACITY_KG, Rule.CAPACITY_DM3, Rule.DAY_KG, Rule.LOAD},
    ),
    Row("a load told too small", _visit("T1", 2, load_kg=800), {Rule.LOAD}),
    Row("a volume told too small", _visit("T1", 2, load_dm3=800), {Rule.LOAD}),
    Row("the load on board at first told too small", _visit("T3", 0, load_kg=0), {Rule.LOAD}),
    Row("a truck under way stays, its load on board", _plan({"T3": None}), {Rule.LOAD_LEFT}),
    Row("a truck under way brings its load to the depot", _plan({"T3": "U1"}), {Rule.EMPTY_END}),
    # the day of a truck
    Row("the day too heavy, each trip kept", _plan({"T1": "P1 P2 S1 P3 iron S2"}), {Rule.DAY_KG}),
    Row("the day too bulky, each trip kept", _plan({"T1": "P1 P2 S1 P3 foam S1"}), {Rule.DAY_DM3}),
    Row("too many containers", _plan({"T1": "P1 P2 S1 P3 bins S1"}), {Rule.DAY_CONTAINERS}),
    Row("too many stops", _plan({"T1": "P1 P2 S1 P3 look glance S1"}), {Rule.DAY_STOPS}),
    Row("what was taken before is forgotten", _plan({"T3": "U1 iron S2"}), {Rule.CAPACITY_KG, Rule.DAY_KG}),
    # sites
    Row("a site of another town", _visit("T2", 3, id="S9"), {Rule.SITE_UNKNOWN}),
    Row("a site of another stream", _plan({"T2": "P4 P5 K P6 S2"}), {Rule.SITE_STREAM}),
    Row("a site that is shut", _plan({"T1": "P1 P2 S2 P3 S1", "T3": "U1 S1"}, asked=ALL_DAY), {Rule.SITE_OPENING}),
    Row("more than a site takes a day", _plan({"T2": "P4 P5 S1 P6 S2"}), {Rule.SITE_DAY_KG}),
    Row(
        "more than a site takes, the load on board at first counted",
        _plan({"T1": "P1 P2 S1", "T3": "S1"}, eats={"T2": NOON, "T3": NOON}),
        {Rule.SITE_DAY_KG},
        replace(ASKED, sites=(replace(ASKED.sites[0], day_kg=1499), *ASKED.sites[1:])),
    ),
    # the clock
    Row("a way where there is no road", _plan({"T2": "P4 island S2 P6 S2"}), {Rule.NO_ROAD}),
    Row("faster than the roads are", _plan(by=FAST), {Rule.TRAVEL_TIME}),
    Row("one visit a minute later", _visits("T2", lambda visits: (*visits[:2], _later(visits[2], 60), *visits[3:])), {Rule.TRAVEL_TIME}),
    Row("services half as long", _plan(asked=QUICK), {Rule.SERVICE_TIME}),
    Row(
        "a service begun before the truck is there",
        _visit("T2", 2, arrival_s=GOOD.routes[1].visits[2].start_s + 1),
        {Rule.SERVICE_TIME, Rule.TRAVEL_TIME},
    ),
    Row("a stop after its hours", _plan(asked=ALWAYS, leaves={"T1": 8 * HOUR - 100}), {Rule.WINDOW}),
    Row("a stop between its hours", _plan(asked=ALWAYS, eats={}), {Rule.WINDOW}),
    Row("out before the shift", _plan(leaves={"T1": SIX - 1}), {Rule.SHIFT}),
    Row("back after the shift", _plan({"T2": "P4 S2 P6 S2", "T4": "P5 S2"}, leaves={"T4": 14 * HOUR - 900}), {Rule.SHIFT}),
    Row("back after the overtime", _plan({"T2": "P4 P5 S2"}, leaves={"T2": 14 * HOUR + 900}, eats={}), {Rule.SHIFT}),
    Row("metres told too few", _of("T1", lambda route: replace(route, distance_m=route.distance_m - 1)), {Rule.DISTANCE}),
    Row("seconds told too few", _of("T1", lambda route: replace(route, duration_s=route.duration_s - 1)), {Rule.DURATION}),
    # under way
    Row("a truck under way begins at the depot", _visit("T3", 0, kind=VisitKind.DEPOT_START), {Rule.UNDERWAY}),
    Row("a truck under way leaves before it is free", _plan(leaves={"T3": 10 * HOUR + 2399}), {Rule.UNDERWAY}),
    Row("a truck under way begins elsewhere", _plan(asked=ELSEWHERE, by=travel(ELSEWHERE)), {Rule.TRAVEL_TIME, Rule.DISTANCE}),
    Row("a truck under way without a visit", _visits("T3", lambda visits: ()), {Rule.UNDERWAY, Rule.STOP_MISSING}),
    Row("a truck under way that ends on the road", _visits("T3", lambda visits: visits[:1]), {Rule.DEPOT, Rule.STOP_MISSING}),
    # lunch
    Row("no lunch", _plan(eats={}), {Rule.LUNCH_MISSING}),
    Row("lunch forgotten", _of("T2", lambda route: replace(route, lunch=None), ON_THE_ROAD), {Rule.LUNCH_MISSING, Rule.TRAVEL_TIME}),
    Row("a truck under way waits lunch away", _plan(leaves={"T3": LUNCH.earliest_s + 3000}), {Rule.LUNCH_MISSING}),
    Row("lunch too early", _plan(eats={"T2": LUNCH.earliest_s - 1}), {Rule.LUNCH_HOURS}),
    Row("lunch too late", _plan(eats={"T2": LUNCH.latest_s + 1}), {Rule.LUNCH_HOURS}),
    Row("lunch after it is back", _eating("T1", LUNCH.earliest_s), {Rule.LUNCH_HOURS}),
    Row("lunch before it leaves", _eating("T2", LUNCH.earliest_s, _plan(leaves={"T2": NOON + 600}, eats={})), {Rule.LUNCH_HOURS}),
    Row("lunch on a day without one", GOOD, {Rule.LUNCH_HOURS}, NO_LUNCH),
    Row("lunch too short", _plan(asked=replace(ASKED, lunch=replace(LUNCH, duration_s=HOUR - 1))), {Rule.LUNCH_LENGTH}),
    Row("lunch too long", _plan(asked=replace(ASKED, lunch=replace(LUNCH, duration_s=HOUR + 1))), {Rule.LUNCH_LENGTH}),
    Row(
        "lunch told on the road, and driven through",
        _eating("T2", LUNCH.earliest_s, _plan(leaves={"T2": LUNCH.earliest_s - 400}, eats={})),
        {Rule.TRAVEL_TIME, Rule.LUNCH_SERVICE},
    ),
    Row(
        "lunch moved into a service",
        _eating("T2", LUNCH.earliest_s, _plan(leaves={"T2": LUNCH.earliest_s - 350})),
        {Rule.LUNCH_SERVICE, Rule.TRAVEL_TIME},
    ),
    Row(
        "lunch moved into an unload",
        _eating("T2", LUNCH.earliest_s, _plan(leaves={"T2": LUNCH.earliest_s - 700})),
        {Rule.LUNCH_SERVICE, Rule.TRAVEL_TIME},
    ),
    Row("lunch that lasts into a service", _eating("T2", NOON), {Rule.LUNCH_SERVICE}),
]


@pytest.mark.parametrize("row", LEGAL, ids=lambda row: row.what)
def test_a_legal_plan_has_no_fault(row: Row) -> None:
    """What a crew can drive is accepted, at the edge of each rule too."""
    assert [str(each) for each in verifier.faults(row.asked, BY, row.plan)] == []


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row.what)
def test_each_planted_fault_is_named(row: Row) -> None:
    """The broken rules are told, these and no others, and each says where and how."""
    broken = verifier.faults(row.asked, BY, row.plan)
    assert {each.rule for each in broken} == row.rules, "\n".join(map(str, broken))
    assert all(each.at and each.text for each in broken)


def test_every_rule_has_a_fault_that_breaks_it() -> None:
    """A rule without a planted fault might never fire."""
    assert {rule for row in FAULTS for rule in row.rules} == set(Rule)


def test_every_rule_is_broken_alone_too() -> None:
    """No rule stands in for another."""
    assert {rule for row in FAULTS if len(row.rules) == 1 for rule in row.rules} == set(Rule)
