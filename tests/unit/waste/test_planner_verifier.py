"""The verifier: a good plan is accepted, and every planted fault is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cityloop_waste.planning import verifier
from cityloop_waste.planning.domain import Plan, Problem, Reason, Route, Site, Unserved, Visit, VisitKind, Window
from cityloop_waste.planning.verifier import Rule
from tests.unit.waste.towns import SIX, TWO_PM, planned, problem, site, stop, travel, truck

STOP, UNLOAD = VisitKind.STOP, VisitKind.UNLOAD
Mutation = Callable[[Plan], Plan]


def _asked() -> Problem:
    """Two trucks that must both go out and unload on the way; stops that nobody can serve; a truck and a site of another stream.

    `early` opens before the shifts, `long` takes longer than a shift of the stream (not than that of the kitchen truck).
    """
    stops = [stop(f"P{n}", (300 * n, 100 * (n % 3)), 500, dm3=500, windows=[Window(SIX, 13 * 3600)]) for n in range(1, 9)]
    half_a_shift = Window(SIX, SIX + 2 * 3600)
    return problem(
        [
            *(replace(each, service_s=1200) for each in stops),
            stop("huge", (100, 100), 5000),
            stop("early", (100, 200), windows=[Window(0, SIX)]),
            stop("long", (100, 300), service_s=7200),
        ],
        [
            truck("T1", 1000, dm3=1000, shift=half_a_shift),
            truck("T2", 1000, dm3=1000, shift=half_a_shift),
            truck("K1", streams=["kitchen"]),
        ],
        [site("S1", (1000, 0)), site("K", (900, 0), streams=["kitchen"])],
    )


ASKED = _asked()
BY = travel(ASKED, closed=lambda origin, target: {origin, target} == {1, 9})
GOOD = planned(ASKED, BY)[0]


def _on(change: Callable[[Route], Route], number: int = 0) -> Mutation:
    def mutate(plan: Plan) -> Plan:
        return replace(plan, routes=tuple(change(route) if n == number else route for n, route in enumerate(plan.routes)))

    return mutate


def _visit(kind: VisitKind, change: Callable[[Visit], Visit], nth: int = 0) -> Mutation:
    def changed(route: Route) -> Route:
        at = [n for n, visit in enumerate(route.visits) if visit.kind is kind][nth]
        return replace(route, visits=(*route.visits[:at], change(route.visits[at]), *route.visits[at + 1 :]))

    return _on(changed)


def _without(kind: VisitKind, nth: int = 0) -> Mutation:
    def changed(route: Route) -> Route:
        at = [n for n, visit in enumerate(route.visits) if visit.kind is kind][nth]
        return replace(route, visits=(*route.visits[:at], *route.visits[at + 1 :]))

    return _on(changed)


def _doubled(route: Route) -> Route:
    return replace(route, visits=(*route.visits[:2], route.visits[1], *route.visits[2:]))


def _shifted(seconds: int) -> Callable[[Visit], Visit]:
    def change(visit: Visit) -> Visit:
        return replace(visit, arrival_s=visit.arrival_s + seconds, start_s=visit.start_s + seconds, departure_s=visit.departure_s + seconds)

    return change


def _whole_route_at(seconds: int) -> Mutation:
    return _on(lambda route: replace(route, visits=tuple(map(_shifted(seconds), route.visits))))


def _merged(plan: Plan) -> Plan:
    first, second = plan.routes
    return replace(plan, routes=(replace(first, visits=(*first.visits[:-1], *second.visits[1:])),))


def _told(stop: str, reason: Reason) -> Mutation:
    """The reason of a stop changed."""
    return lambda plan: replace(plan, unserved=tuple(replace(each, reason=reason) if each.stop == stop else each for each in plan.unserved))


def _left_out(stop: str, reason: Reason) -> Mutation:
    """A stop that is served taken out of its route and listed."""

    def change(plan: Plan) -> Plan:
        routes = tuple(replace(route, visits=tuple(visit for visit in route.visits if visit.id != stop)) for route in plan.routes)
        return replace(plan, routes=routes, unserved=(*plan.unserved, Unserved(stop, reason)))

    return change


def _through_the_closed_road(plan: Plan) -> Plan:
    """`huge` (row 9) served straight after P1 (row 1), between which no road leads."""

    def detour(route: Route) -> Route:
        at = [visit.id for visit in route.visits].index("P1")
        there = replace(route.visits[at], id="huge", start_s=route.visits[at].departure_s, arrival_s=route.visits[at].departure_s)
        return replace(route, visits=(*route.visits[: at + 1], there, *route.visits[at + 1 :]))

    number = next(n for n, route in enumerate(plan.routes) if "P1" in {visit.id for visit in route.visits})
    return _on(detour, number)(plan)


MUTATIONS: list[tuple[str, Mutation, set[Rule]]] = [
    ("a stop dropped", _without(STOP), {Rule.STOP_MISSING}),
    ("a stop twice in one route", _on(_doubled), {Rule.STOP_TWICE}),
    ("a stop of another day", _visit(STOP, lambda visit: replace(visit, id="P99")), {Rule.STOP_UNKNOWN, Rule.STOP_MISSING}),
    ("a served stop listed too", lambda plan: replace(plan, unserved=(*plan.unserved, Unserved("P1", Reason.WINDOW))), {Rule.STOP_LISTED}),
    ("an unserved stop forgotten", lambda plan: replace(plan, unserved=()), {Rule.STOP_MISSING}),
    ("an unserved stop listed twice", lambda plan: replace(plan, unserved=plan.unserved * 2), {Rule.STOP_TWICE}),
    *((f"a heavy stop told {reason}", _told("huge", reason), {Rule.REASON}) for reason in Reason if reason is not Reason.TOO_MUCH),
    *((f"an early stop told {reason}", _told("early", reason), {Rule.REASON}) for reason in Reason if reason is not Reason.WINDOW),
    *((f"a long stop told {reason}", _told("long", reason), {Rule.REASON}) for reason in Reason if reason is not Reason.NOT_ENOUGH_TIME),
    *((f"a good stop told {reason}", _left_out("P8", reason), {Rule.REASON}) for reason in Reason if reason is not Reason.NOT_REACHED),
    ("the last unload dropped", _without(UNLOAD, -1), {Rule.EMPTY_END}),
    ("an unload on the way dropped", _without(UNLOAD), {Rule.CAPACITY_KG, Rule.CAPACITY_DM3, Rule.LOAD}),
    ("two routes made one", _merged, {Rule.TRAVEL_TIME, Rule.DISTANCE}),
    ("a load told too small", _visit(STOP, lambda visit: replace(visit, load_kg=visit.load_kg - 1)), {Rule.LOAD}),
    ("a truck of another stream", _on(lambda route: replace(route, truck="K1")), {Rule.TRUCK_STREAM}),
    ("a truck that nobody has", _on(lambda route: replace(route, truck="T9")), {Rule.TRUCK_UNKNOWN}),
    ("one truck on two routes", _on(lambda route: replace(route, truck="T2")), {Rule.TRUCK_TWICE}),
    ("a site of another stream", _visit(UNLOAD, lambda visit: replace(visit, id="K")), {Rule.SITE_STREAM}),
    ("a site that nobody has", _visit(UNLOAD, lambda visit: replace(visit, id="S9")), {Rule.SITE_UNKNOWN}),
    ("a service begun a minute early", _visit(STOP, lambda visit: replace(visit, start_s=visit.start_s - 60)), {Rule.SERVICE_TIME}),
    ("a service cut short", _visit(STOP, lambda visit: replace(visit, departure_s=visit.departure_s - 60)), {Rule.SERVICE_TIME}),
    ("a visit moved by a minute", _visit(STOP, _shifted(60)), {Rule.TRAVEL_TIME}),
    ("the route before its shift", _whole_route_at(-3600), {Rule.SHIFT, Rule.WINDOW}),
    ("the route after its shift", _whole_route_at(2 * 3600), {Rule.SHIFT}),
    ("the route after the windows", _whole_route_at(TWO_PM - SIX), {Rule.WINDOW, Rule.SHIFT}),
    ("no depot at the end", _on(lambda route: replace(route, visits=route.visits[:-1])), {Rule.DEPOT}),
    ("no depot at the beginning", _on(lambda route: replace(route, visits=route.visits[1:])), {Rule.DEPOT}),
    ("the depot on the way", _on(lambda route: replace(route, visits=(route.visits[0], *route.visits))), {Rule.DEPOT}),
    ("a route that serves nothing", _on(lambda route: replace(route, visits=(route.visits[0], route.visits[-1]))), {Rule.DEPOT}),
    ("metres told too few", _on(lambda route: replace(route, distance_m=route.distance_m - 1)), {Rule.DISTANCE}),
    ("seconds told too few", _on(lambda route: replace(route, duration_s=route.duration_s - 1)), {Rule.DURATION}),
    ("a way where there is no road", _through_the_closed_road, {Rule.NO_ROAD}),
]


def test_the_good_plan_is_accepted_and_uses_what_the_table_needs() -> None:
    """Both trucks go out and unload on the way, and three stops are unserved: the mutations have something to break."""
    assert verifier.faults(ASKED, BY, GOOD) == []
    assert [sum(1 for visit in route.visits if visit.kind is UNLOAD) for route in GOOD.routes] == [2, 2]
    assert {each.stop: each.reason for each in GOOD.unserved} == {
        "huge": Reason.TOO_MUCH,
        "early": Reason.WINDOW,
        "long": Reason.NOT_ENOUGH_TIME,
    }


@pytest.mark.parametrize("what, mutate, rules", MUTATIONS, ids=[what for what, _, _ in MUTATIONS])
def test_each_planted_fault_is_named(what: str, mutate: Mutation, rules: set[Rule]) -> None:
    """The broken rule is among those that the verifier names, and each says where."""
    broken = verifier.faults(ASKED, BY, mutate(GOOD))
    assert rules <= {each.rule for each in broken}
    assert all(each.at and each.text for each in broken)


@pytest.mark.parametrize(
    "what, sites, closed, true",
    [
        ("the second site is quick", [site("S1", (500, 0), service_s=8 * 3600), site("S2", (3000, 0), service_s=900)], None, "not-reached"),
        (
            "no site is quick",
            [site("S1", (500, 0), service_s=8 * 3600), site("S2", (3000, 0), service_s=8 * 3600)],
            None,
            "not-enough-time",
        ),
        ("the quick site has no road", [site("S1", (500, 0), service_s=8 * 3600), site("S2", (3000, 0))], (1, 3), "not-enough-time"),
        ("no site has a road", [site("S1", (500, 0))], (1, 2), "unreachable"),
        ("no site takes the stream", [site("K", (500, 0), streams=["kitchen"])], None, "no-site-for-stream"),
    ],
)
def test_one_reason_only_is_true_of_a_stop(what: str, sites: list[Site], closed: tuple[int, int] | None, true: str) -> None:
    """Judged with every truck and every site of the stream: whatever else is told of it is a fault."""
    asked = problem([stop("P1", (400, 0))], sites=sites)
    by = travel(asked, closed=lambda origin, target: (origin, target) == closed)
    accepted = [reason.value for reason in Reason if not verifier.faults(asked, by, Plan((), (Unserved("P1", reason),)))]
    assert accepted == [true]


def test_every_rule_has_a_fault_that_breaks_it() -> None:
    """A rule without a planted fault might never fire."""
    assert {rule for _, _, rules in MUTATIONS for rule in rules} == set(Rule)
