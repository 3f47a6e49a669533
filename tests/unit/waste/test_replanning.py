"""A day made anew: what is done stays, what is begun stays, loads stay on their trucks, and the day is whole again."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from cityloop_waste.planning import problem_json
from cityloop_waste.planning.absent import ABSENT
from cityloop_waste.planning.checking import check
from cityloop_waste.planning.domain import Caps, InvalidProblem, Lunch, Plan, Problem, Round, Underway, VisitKind, Window
from cityloop_waste.planning.replanning import Happened, InvalidReplan, Replan, Seen, Stranded, joined, merged, replan
from cityloop_waste.roads.domain import TravelSource
from tests.unit.waste.towns import SIX, TWO_PM, by_hand, place, planned, problem, site, stop, travel, truck, underway

ELEVEN = 11 * 3600
TOWN = problem(
    [stop(f"A{n}", (1000 * n, 100), 400) for n in range(1, 5)] + [stop(f"B{n}", (-3000 * n, 100), 300) for n in range(1, 4)],
    [truck("T1", 1000), truck("T2", 1000), truck("T3", 1000)],
    [site("S1", (500, 500))],
)
WAYS = {"T1": ["A1", "A2", "S1", "A3", "A4", "S1"], "T2": ["B1", "B2", "B3", "S1"]}


def routes(of: Problem, ways: dict[str, list[str]], *, eats: dict[str, int] | None = None) -> list[dict[str, Any]]:
    """A plan as it is kept."""
    return document(by_hand(of, travel(of), ways, leaves=dict.fromkeys(ways, SIX), eats=eats))["routes"]  # type: ignore[no-any-return]


def document(plan: Plan) -> dict[str, Any]:
    return problem_json.write_plan(plan, stream="other", travel=TravelSource.GIVEN)


def after(found: Sequence[dict[str, Any]], truck_id: str, stop_id: str) -> int:
    """When a truck leaves a stop."""
    return next(int(v["departure_s"]) for r in found if r["truck"] == truck_id for v in r["visits"] if v["id"] == stop_id)


def ids(visits: Sequence[Any]) -> list[Any]:
    return [visit["id"] or visit["kind"] for visit in visits]


def solved(made: Replan, metres: dict[str, int] | None = None) -> dict[str, Any]:
    """The rest planned by the engines, judged by the verifier, joined with what was driven."""
    plan, _ = planned(made.rest)
    return merged(made, document(plan), metres or {})


def test_story_5_done_stops_stay_the_load_stays_and_others_take_the_rest() -> None:
    """T1 breaks down with 800 kg on board: nobody loses a stop, its load is told with it, T2 drives on where it was going."""
    found = routes(TOWN, WAYS)
    at_s = after(found, "T1", "A2") + 1
    made = replan(TOWN, found, Happened(at_s, broken=("T1",)), seconds=1)
    assert made.stranded == (Stranded("T1", 800, 0),)
    assert {each.id for each in made.rest.stops} == {"A3", "A4", "B2", "B3"}, "A1 and A2 are done, T2 drives to B1"
    assert [each.id for each in made.rest.trucks] == ["T2", "T3"]
    result = solved(made)
    assert joined(made, result) == []
    by_truck = {route["truck"]: route for route in result["routes"]}
    assert ids(by_truck["T1"]["visits"]) == ["depot-start", "A1", "A2"]
    assert ids(by_truck["T2"]["visits"])[:3] == ["depot-start", "B1", "B2"], "what was driven is whole in the crew's manifest"
    assert by_truck["T2"]["visits"][:2] == found[1]["visits"][:2]
    served = {visit["id"] for route in result["routes"] for visit in route["visits"] if visit["kind"] == "stop"}
    assert (served, result["unserved"]) == ({each.id for each in TOWN.stops}, [])
    assert result["stranded"] == [{"truck": "T1", "load_kg": 800, "load_dm3": 0}]


@pytest.mark.parametrize("stage, locked", [("drives", "B2"), ("serves", "B2"), ("left", "B3")])
def test_the_visit_that_is_begun_or_driven_to_stays(stage: str, locked: str) -> None:
    """The truck is free after it, there, with its load and what it has taken so far."""
    found = routes(TOWN, WAYS)
    visit = next(v for v in found[1]["visits"] if v["id"] == "B2")
    at_s = {"drives": visit["arrival_s"] - 1, "serves": visit["start_s"], "left": visit["departure_s"]}[stage]
    made = replan(TOWN, found, Happened(at_s), seconds=1)
    behind = next(each for each in made.driven if each.truck == "T2")
    assert behind.visits[-1]["id"] == locked
    last = behind.visits[-1]
    count = len(behind.visits) - 1
    taken = Caps(kg=300 * count, dm3=0, stops=count, containers=0)
    where = next(each.position for each in TOWN.stops if each.id == locked)
    assert behind.underway == Underway(where, last["departure_s"], 300 * count, 0, taken)


def test_a_truck_that_has_not_left_leaves_later() -> None:
    """Not before the instant; its day is not over."""
    made = replan(TOWN, routes(TOWN, WAYS), Happened(SIX + 100), seconds=1)
    assert {each.id: (each.shift, each.underway is None) for each in made.rest.trucks}["T3"] == (Window(SIX + 100, TWO_PM), True)


def test_before_anybody_has_left_everything_is_left() -> None:
    """Nothing is driven: the rest is the day."""
    made = replan(TOWN, routes(TOWN, WAYS), Happened(SIX - 100), seconds=1)
    assert (made.driven, made.rest.stops) == ((), TOWN.stops)


def test_who_drives_home_is_free_there() -> None:
    """And may be sent out again; the day then goes on behind its first return."""
    found = routes(TOWN, WAYS)
    home = found[1]["visits"][-1]["arrival_s"]
    made = replan(TOWN, found, Happened(home - 1, broken=("T1", "T3"), urgent=(stop("U1", (-500, 0)),)), seconds=1)
    free = next(each.underway for each in made.rest.trucks if each.id == "T2")
    assert free is not None
    assert (free.position, free.at_s, free.load_kg) == (TOWN.depot, home, 0)
    result = solved(made)
    assert joined(made, result) == []
    way = ids(next(route for route in result["routes"] if route["truck"] == "T2")["visits"])
    assert way[:6] == ["depot-start", "B1", "B2", "B3", "S1", "depot-end"]
    assert "U1" in way[6:]


def test_a_truck_is_where_it_was_seen_with_what_the_scale_said() -> None:
    """It need not go where it was going, and its real load counts."""
    found = routes(TOWN, WAYS)
    at_s = after(found, "T2", "B1") + 1
    made = replan(TOWN, found, Happened(at_s, seen={"T2": Seen(place((-300, 700)), load_kg=550)}), seconds=1)
    free = next(each.underway for each in made.rest.trucks if each.id == "T2")
    assert free is not None
    assert (free.position, free.at_s, free.load_kg) == (place((-300, 700)), at_s, 550)
    result = solved(made)
    assert joined(made, result) == []
    visits = next(route for route in result["routes"] if route["truck"] == "T2")["visits"]
    seen = next(visit for visit in visits if visit["kind"] == "underway")
    assert (seen["position"], seen["load_kg"]) == ({"lon": -300 / 1e6, "lat": 700 / 1e6}, 550)


def test_a_truck_that_is_out_before_the_plan_says_so_is_out() -> None:
    """Whether it has a route or none: it goes on from where it was seen, and its way from the depot is in its day."""
    found = routes(TOWN, WAYS)
    spot = place((300, 300))
    for at_s, name in ((SIX - 50, "T1"), (SIX + 50, "T3")):
        made = replan(TOWN, found, Happened(at_s, seen={name: Seen(spot, load_kg=150)}), seconds=1)
        free = next(each.underway for each in made.rest.trucks if each.id == name)
        assert free == Underway(spot, at_s, 150, 0, Caps(kg=0, dm3=0, stops=0, containers=0))
        result = solved(made)
        assert joined(made, result) == []
        visits = next(route for route in result["routes"] if route["truck"] == name)["visits"]
        assert [visit["kind"] for visit in visits[:2]] == ["depot-start", "underway"]


def test_what_the_scale_said_is_added_to_while_a_stop_is_served() -> None:
    """The stop that is served stays, and its load comes on top; more than the truck bears is refused, never lost."""
    found = routes(TOWN, WAYS)
    visit = next(v for v in found[1]["visits"] if v["id"] == "B2")
    happened = Happened(visit["start_s"], seen={"T2": Seen(place((0, 0)), load_kg=700)})
    made = replan(TOWN, found, happened, seconds=1)
    free = next(each.underway for each in made.rest.trucks if each.id == "T2")
    assert free is not None
    assert (free.position, free.load_kg) == (place((-6000, 100)), 1000)
    with pytest.raises(InvalidReplan, match="T2 has 701 kg on board and cannot carry what it takes at B2"):
        replan(TOWN, found, replace(happened, seen={"T2": Seen(place((0, 0)), load_kg=701)}), seconds=1)


def test_an_urgent_stop_is_taken_in() -> None:
    """New, or one of the plan with another load; one that is done is refused."""
    found = routes(TOWN, WAYS)
    at_s = after(found, "T1", "A2") + 1
    lighter = replace(TOWN.stops[3], demand_kg=50)
    made = replan(TOWN, found, Happened(at_s, urgent=(stop("U1", (0, 2000), 100), lighter)), seconds=1)
    assert {each.id: each.demand_kg for each in made.rest.stops} == {"A3": 400, "A4": 50, "B2": 300, "B3": 300, "U1": 100}
    assert joined(made, solved(made)) == []
    with pytest.raises(InvalidReplan, match="A1 is done"):
        replan(TOWN, found, Happened(at_s, urgent=(TOWN.stops[0],)), seconds=1)


def test_the_rest_begins_with_the_plan_that_it_replaces() -> None:
    """What each truck was still to serve: crews keep what they can keep."""
    found = routes(TOWN, WAYS)
    made = replan(TOWN, found, Happened(after(found, "T1", "A1") + 1), seconds=1)
    assert Round("T2", ("B2", "B3")) in made.rest.yesterday


def test_a_second_replan_goes_on_where_the_first_led() -> None:
    """A truck stays broken until it is seen elsewhere; then it goes on with what it has on board."""
    found = routes(TOWN, WAYS)
    first = replan(TOWN, found, Happened(after(found, "T1", "A2") + 1, broken=("T1",)), seconds=1)
    held = solved(first)
    later = max(visit["departure_s"] for route in held["routes"] for visit in route["visits"][:-2])
    wish = Happened(later - 1, urgent=(stop("U1", (700, 0), 50),))
    second = replan(first.whole, held["routes"], wish, stranded=[Stranded("T1", 800, 0)], seconds=1)
    assert (second.stranded, "T1" in {each.id for each in second.rest.trucks}) == ((Stranded("T1", 800, 0),), False)
    mended = replan(
        first.whole, held["routes"], replace(wish, seen={"T1": Seen(place((1000, 0)))}), stranded=[Stranded("T1", 800, 0)], seconds=1
    )
    again = next(each.underway for each in mended.rest.trucks if each.id == "T1")
    assert again is not None
    assert (mended.stranded, again.load_kg, again.at_s) == ((), 800, later - 1)
    for made in (second, mended):
        assert joined(made, solved(made)) == []


def test_with_every_truck_broken_the_plan_says_that_nobody_comes() -> None:
    """No stop is dropped in silence; a stop that only a broken truck may serve neither."""
    found = routes(TOWN, WAYS)
    at_s = after(found, "T1", "A2") + 1
    made = replan(TOWN, found, Happened(at_s, broken=("T1", "T2", "T3")), seconds=1)
    assert made.rest.trucks == (ABSENT,)
    assert {each["reason"] for each in solved(made)["unserved"]} == {"no-vehicle-for-stream"}
    only = replace(TOWN, stops=tuple(replace(each, trucks=("T1",)) if each.id == "A4" else each for each in TOWN.stops))
    narrow = replan(only, found, Happened(at_s, broken=("T1",)), seconds=1)
    assert ABSENT in narrow.rest.trucks
    assert [each["stop"] for each in solved(narrow)["unserved"]] == ["A4"]


def test_what_a_site_has_taken_today_it_does_not_take_again() -> None:
    """Its day's kilograms are those that are left."""
    capped = replace(TOWN, sites=(replace(TOWN.sites[0], day_kg=3000),))
    found = routes(capped, WAYS)
    unload = next(visit for visit in found[0]["visits"] if visit["kind"] == "unload")
    made = replan(capped, found, Happened(unload["departure_s"] + 1), seconds=1)
    driven_t2 = next(each for each in made.driven if each.truck == "T2").visits
    taken = 800 + (900 if driven_t2[-1]["kind"] != "stop" else 0)
    assert made.rest.sites[0].day_kg == 3000 - taken


def test_a_truck_that_is_home_when_its_shift_is_over_stays_there() -> None:
    """It keeps what it has driven and asks for no overtime; one with time left stands at the depot, what it has taken counted."""
    short = replace(TOWN, trucks=(replace(TOWN.trucks[0], shift=Window(SIX, SIX + 3 * 3600)), *TOWN.trucks[1:]))
    found = routes(short, WAYS)
    home_s = found[0]["visits"][-1]["arrival_s"]
    assert home_s < SIX + 3 * 3600
    urgent = (stop("U1", (-500, 0), 100),)
    for at_s, overtime_s, there in ((home_s + 60, None, True), (SIX + 3 * 3600 + 1, None, False), (SIX + 3 * 3600 + 1, 3600, True)):
        made = replan(short, found, Happened(at_s, urgent=urgent, overtime_s=overtime_s), seconds=1)
        begun = {each.id: each.underway for each in made.rest.trucks}
        assert ("T1" in begun) is there
        if there:
            assert begun["T1"] == Underway(TOWN.depot, at_s, 0, 0, Caps(kg=1600, dm3=0, stops=4, containers=0))
        result = solved(made)
        assert joined(made, result) == []
        assert ids(next(route for route in result["routes"] if route["truck"] == "T1")["visits"])[:7] == ids(found[0]["visits"])[:7]


def test_what_trucks_do_until_the_plan_can_be_with_them_stays() -> None:
    """The visit that is driven to then, not the one at the instant; who is seen elsewhere waits; who has not left leaves later."""
    found = routes(TOWN, WAYS)
    at_s = after(found, "T2", "B1") - 1
    margin_s = after(found, "T2", "B2") + 1 - at_s
    made = replan(TOWN, found, Happened(at_s, margin_s=margin_s), seconds=1)
    behind = next(each for each in made.driven if each.truck == "T2")
    assert ids(behind.visits) == ["depot-start", "B1", "B2", "B3"]
    assert next(each.shift.start_s for each in made.rest.trucks if each.id == "T3") == at_s + margin_s
    spot = place((-300, 700))
    seen = replan(TOWN, found, Happened(at_s + 2, seen={"T2": Seen(spot)}, margin_s=margin_s), seconds=1)
    free = next(each.underway for each in seen.rest.trucks if each.id == "T2")
    assert free is not None
    assert (free.position, free.at_s) == (spot, at_s + 2 + margin_s)
    lost = replan(TOWN, found, Happened(at_s + 2, broken=("T2",), margin_s=margin_s), seconds=1)
    assert lost.stranded == (Stranded("T2", 300, 0),), "a truck that broke down drives nowhere"


def test_a_broken_truck_may_tell_where_it_stands() -> None:
    """And what its scale says; one that was out when the day began has its load on board, whatever it has passed."""
    found = routes(TOWN, WAYS)
    spot = place((700, 100))
    happened = Happened(after(found, "T1", "A1") + 1, broken=("T1",), seen={"T1": Seen(spot, load_kg=450)})
    made = replan(TOWN, found, happened, seconds=1)
    assert made.stranded == (Stranded("T1", 450, 0, spot),)
    assert solved(made)["stranded"] == [{"truck": "T1", "load_kg": 450, "load_dm3": 0, "position": {"lon": spot.lon, "lat": spot.lat}}]
    out = replace(TOWN, trucks=(replace(TOWN.trucks[0], underway=underway((100, 0), SIX + 600, kg=350)), *TOWN.trucks[1:]))
    begun = routes(out, {"T2": WAYS["T2"]})
    assert replan(out, begun, Happened(SIX + 60, broken=("T1",)), seconds=1).stranded == (Stranded("T1", 350, 0),)


def test_the_evidence_says_that_it_is_of_the_rest() -> None:
    """Its bound is of what was left to plan, never of the whole day."""
    found = routes(TOWN, WAYS)
    made = replan(TOWN, found, Happened(after(found, "T1", "A2") + 1), seconds=1)
    answer = {**document(planned(made.rest)[0]), "evidence": {"gap_percent": 1.0}}
    assert merged(made, answer, {})["evidence"] == {"gap_percent": 1.0, "of": "rest"}
    assert merged(made, {**answer, "evidence": None}, {})["evidence"] is None


LATE = problem(
    [stop(f"A{n}", (1000 * n, 100), 400, service_s=600) for n in range(1, 4)] + [stop("FAR", (30_000, 0), 100, service_s=600)],
    [truck("T1", 4000, shift=Window(9 * 3600, 18 * 3600)), truck("T2", 4000, shift=Window(9 * 3600, 18 * 3600))],
    [site("S1", (500, 500))],
    lunch=Lunch(ELEVEN, ELEVEN + 1800, 3600),
)


def lunchless(urgent_at: str, *, shift_end_s: int = 18 * 3600) -> tuple[Problem, Replan, list[dict[str, Any]]]:
    """T1 was to be home before lunch had to begin; when it leaves a stop within the hours of lunch, T2 breaks down before FAR."""
    trucks = (replace(LATE.trucks[0], shift=Window(9 * 3600, shift_end_s)), LATE.trucks[1])
    day = replace(LATE, trucks=trucks)
    ways = {"T1": ["A1", "A2", "A3", "S1"], "T2": ["FAR", "S1"]}
    plan = by_hand(day, travel(day), ways, leaves={"T1": ELEVEN - 1400, "T2": ELEVEN - 1400}, eats={"T2": ELEVEN})
    found = document(plan)["routes"]
    assert (found[0]["lunch"], found[0]["visits"][-1]["arrival_s"] <= ELEVEN + 1800) == (None, True)
    at_s = after(found, "T1", urgent_at) - 1
    return day, replan(day, found, Happened(at_s, broken=("T2",)), seconds=1), found


def test_a_crew_that_was_to_be_home_for_lunch_eats_before_it_takes_more() -> None:
    """Free within the hours of lunch, with stops to serve: it eats there, and its day says so."""
    day, made, found = lunchless("A2")
    assert ELEVEN <= after(found, "T1", "A2") <= ELEVEN + 1800
    (behind,) = (each for each in made.driven if each.truck == "T1")
    free_s = after(found, "T1", "A2")
    assert behind.underway is not None
    assert (behind.lunch, behind.underway.at_s) == ({"start_s": free_s, "end_s": free_s + 3600}, free_s + 3600)
    result = solved(made)
    assert joined(made, result) == []
    route = next(route for route in result["routes"] if route["truck"] == "T1")
    assert (route["lunch"], route["visits"][-1]["arrival_s"] > ELEVEN + 1800) == (behind.lunch, True)
    hungry = [{**each, "lunch": None} for each in result["routes"]]
    assert [each.text for each in joined(made, {**result, "routes": hungry})] == ["its crew has no lunch"]
    assert day.lunch is not None


@pytest.mark.parametrize("at, shift_end_s", [("A3", 18 * 3600), ("A2", ELEVEN + 1800)])
def test_a_crew_that_eats_at_home_is_home_for_lunch(at: str, shift_end_s: int) -> None:
    """With nothing left but its way home, or no time to eat before: it ends its round, and takes more after lunch at home."""
    _, made, found = lunchless(at, shift_end_s=shift_end_s)
    (behind,) = (each for each in made.driven if each.truck == "T1")
    home_s = found[0]["visits"][-1]["arrival_s"]
    assert behind.visits == tuple(found[0]["visits"])
    assert behind.lunch == {"start_s": home_s, "end_s": home_s + 3600}
    begun = {each.id: each.underway for each in made.rest.trucks}
    result = solved(made)
    assert joined(made, result) == []
    route = next(route for route in result["routes"] if route["truck"] == "T1")
    if shift_end_s > ELEVEN + 1800:
        assert begun["T1"] == behind.underway
        assert (route["lunch"], "FAR" in ids(route["visits"])) == (behind.lunch, True)
    else:
        assert "T1" not in begun
        assert (route["lunch"], route["visits"]) == (None, found[0]["visits"])


@pytest.mark.parametrize("minutes, at", [(-20, "later"), (20, "taken"), (90, "taken")])
def test_lunch_is_eaten_once(minutes: int, at: str) -> None:
    """Before its hour it is still to come; who is at table is free after it; who has eaten does not eat again."""
    lunch = Lunch(ELEVEN, ELEVEN + 3600, 3600)
    late = problem(
        [stop(f"A{n}", (1000 * n, 100), 400, service_s=1500) for n in range(1, 7)],
        [truck("T1", 4000, shift=Window(10 * 3600, 18 * 3600))],
        [site("S1", (500, 500))],
        lunch=lunch,
    )
    found = document(
        by_hand(late, travel(late), {"T1": ["A1", "A2", "A3", "A4", "A5", "A6", "S1"]}, leaves={"T1": 36_000}, eats={"T1": ELEVEN})
    )
    at_s = ELEVEN + 60 * minutes
    made = replan(late, found["routes"], Happened(at_s), seconds=1)
    (behind,) = made.driven
    assert behind.underway is not None
    if at == "later":
        assert behind.lunch is None
        assert behind.underway.at_s < ELEVEN
    else:
        assert behind.lunch is not None
        assert behind.lunch == found["routes"][0]["lunch"]
        assert behind.underway.at_s >= behind.lunch["end_s"]
    result = solved(made)
    assert joined(made, result) == []
    assert result["routes"][0]["lunch"] is not None


def test_the_instant_of_a_plan_that_nobody_can_keep_is_refused() -> None:
    """Unknown trucks, one that is broken and goes on, a load that no truck bears, nothing left."""
    found = routes(TOWN, WAYS)
    for happened in (
        Happened(SIX, broken=("T9",)),
        Happened(SIX, seen={"T9": Seen(place((0, 0)))}),
        Happened(SIX, urgent=(stop("U1", (0, 2000)), stop("U1", (0, 3000)))),
        Happened(SIX, seen={"T1": Seen(place((0, 0)), load_kg=1001)}),
        Happened(TWO_PM),
    ):
        with pytest.raises(InvalidReplan):
            replan(TOWN, found, happened, seconds=1)


def test_the_driven_way_counts() -> None:
    """Metres of what was driven and of what comes; hours from leaving to being back."""
    found = routes(TOWN, WAYS)
    made = replan(TOWN, found, Happened(after(found, "T1", "A2") + 1), seconds=1)
    bare, whole = solved(made), solved(made, {"T1": 3000})
    assert whole["cost"]["distance_m"] - bare["cost"]["distance_m"] == 3000
    first = next(route for route in whole["routes"] if route["truck"] == "T1")
    assert first["duration_s"] == first["visits"][-1]["arrival_s"] - SIX


def test_parts_that_do_not_fit_are_found() -> None:
    """A time that goes back, a load from nowhere, a stop too many or too few, a truck that stays out."""
    found = routes(TOWN, WAYS)
    made = replan(TOWN, found, Happened(after(found, "T1", "A2") + 1), seconds=1)
    result = solved(made)

    def broken(change: Any) -> list[str]:
        other = copy.deepcopy(result)
        change(next(route for route in other["routes"] if route["truck"] == "T1")["visits"], other)
        return [each.text for each in joined(made, other)]

    assert broken(lambda visits, _: visits[-1].update(arrival_s=0))
    assert broken(lambda visits, _: visits[2].update(load_kg=5))
    assert broken(lambda visits, _: visits.pop(1))
    assert broken(lambda visits, _: visits.pop())
    assert broken(lambda _, other: other["unserved"].append({"stop": "A1", "reason": "window"}))


def test_kinds_are_those_of_the_domain() -> None:
    """The words of documents are the domain's."""
    assert {each.value for each in VisitKind} == {"depot-start", "underway", "stop", "unload", "depot-end"}


def any_town(chance: random.Random) -> Problem:
    """A small town with every rule switched on or off."""
    stops = [
        stop(
            f"P{number}",
            (chance.randint(-4000, 4000), chance.randint(-4000, 4000)),
            chance.randint(50, 450),
            service_s=chance.choice([60, 300, 900]),
            containers=chance.randint(0, 4),
            windows=[Window(SIX + chance.randint(0, 7000), SIX + chance.randint(7000, 20_000))] if chance.random() < 0.3 else [],
            trucks=["T1"] if chance.random() < 0.1 else [],
            prize_m=chance.randint(100, 9000) if chance.random() < 0.1 else None,
        )
        for number in range(chance.randint(3, 9))
    ]
    trucks = [
        truck(
            f"T{number}",
            chance.choice([700, 1000]),
            overtime_s=chance.choice([0, 1800]),
            day=Caps(kg=chance.choice([None, 2000])),
            shift=Window(SIX + chance.choice([0, 1800]), chance.choice([TWO_PM, SIX + 7200])),
        )
        for number in range(1, chance.randint(2, 4))
    ]
    hours = [Window(0, SIX + 5000), Window(SIX + 6000, 80_000)] if chance.random() < 0.3 else []
    sites = [site("S1", (500, 500), day_kg=chance.choice([None, 2500]), opening=hours), site("S2", (-3000, 0))]
    return problem(stops, trucks, sites, lunch=Lunch(SIX + 1800, SIX + 5400, 1800) if chance.random() < 0.5 else None)


def anything(chance: random.Random, of: Problem, found: Sequence[Any], number: int) -> Happened:
    """Whatever may happen in the course of a day."""
    begins, ends = min(r["visits"][0]["departure_s"] for r in found), max(r["visits"][-1]["arrival_s"] for r in found)
    names = [each.id for each in of.trucks if each.id != ABSENT.id]
    broken = tuple(name for name in names if chance.random() < 0.25)
    spots = {name: place((chance.randint(-4000, 4000), chance.randint(-4000, 4000))) for name in names if name not in broken}
    seen = {name: Seen(at, chance.choice([None, 300])) for name, at in spots.items() if chance.random() < 0.2}
    urgent = (stop(f"U{number}", (chance.randint(-3000, 3000), 500), 100),) if chance.random() < 0.4 else ()
    return Happened(chance.randint(begins - 300, ends + 60), broken, urgent, seen, chance.choice([None, 7200]), chance.choice([0, 90, 900]))


@hypothesis.settings(max_examples=30)
@hypothesis.given(strategies.integers(0, 10**9))
def test_whatever_happens_the_day_stays_whole(seed: int) -> None:
    """Random towns, made anew twice: the verifier accepts the rest, what was driven joins it, every stop is once in the day.

    Unless nothing is left, or a truck cannot come home in time: then that is said, and no plan made.
    """
    chance = random.Random(seed)
    whole = any_town(chance)
    result = document(planned(whole, solutions=5)[0])
    for number in range(2):
        if not result["routes"]:
            return
        lost = [Stranded(each["truck"], each["load_kg"], each["load_dm3"]) for each in result.get("stranded", ())]
        said = ""
        try:
            made = replan(whole, result["routes"], anything(chance, whole, result["routes"], number), stranded=lost, seconds=1)
            check(made.whole)
            plan, _ = planned(made.rest, solutions=5)
        except (InvalidReplan, InvalidProblem) as refused:
            said = refused.detail
        if said:
            assert any(each in said for each in ("nothing is left to be collected", "cannot be back in its shift", "and cannot carry"))
            return
        result = merged(made, document(plan), {})
        assert joined(made, result) == []
        assert {stop.id for stop in whole.stops} <= {stop.id for stop in made.whole.stops}
        whole = made.whole
