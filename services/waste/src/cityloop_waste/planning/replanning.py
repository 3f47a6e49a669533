"""A published plan and what happened since: what is left to be planned, and the day as a whole again. Pure arithmetic.

What a truck has left behind when the new plan can be with it is done. The visit that it then serves, or drives to, stays: it is free
again after that one. Who has not left the depot leaves it later; a truck that broke down stays where it is, with what is on board;
one that is home when its shift is over stays there.
Documents are those of `problem_json` (`routes` of `write_plan`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from cityloop_common import errors
from cityloop_common.geo import Position
from cityloop_waste.planning.absent import ABSENT, allowed
from cityloop_waste.planning.domain import (
    Caps,
    Fault,
    PlanningError,
    Problem,
    Round,
    Stop,
    Truck,
    Underway,
    VisitKind,
    Window,
)

Document = Mapping[str, Any]
_HOME = VisitKind.DEPOT_END.value
_STOP, _UNLOAD, _UNDERWAY = VisitKind.STOP.value, VisitKind.UNLOAD.value, VisitKind.UNDERWAY.value


class InvalidReplan(PlanningError, errors.Invalid):
    """It names what the plan does not have, or nothing is left to be collected."""

    slug, title = "replan-invalid", "The plan cannot be made anew like that"


@dataclass(frozen=True, slots=True)
class Seen:
    """Where a truck really is, and what its scale says; None: what the plan says."""

    position: Position
    load_kg: int | None = None
    load_dm3: int | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """What became of the day by `at_s`. `urgent` stops are new, or those of the plan with another load.

    The new plan is with the trucks `margin_s` later: until then all drive as planned, but for who is seen elsewhere, which waits.
    All trucks may be back `overtime_s` after their shifts; None: as late as they may anyway.
    """

    at_s: int
    broken: tuple[str, ...] = ()
    urgent: tuple[Stop, ...] = ()
    seen: Mapping[str, Seen] = field(default_factory=dict)
    overtime_s: int | None = None
    margin_s: int = 0

    @property
    def until_s(self) -> int:
        """When the new plan is with the trucks."""
        return self.at_s + self.margin_s


@dataclass(frozen=True, slots=True)
class Driven:
    """What a truck has behind it (documents of visits), the locked one included; `underway` None: it goes on no more.

    `lunch` is the break it has taken, or takes before it goes on; `elsewhere`: it is not where, or not with what, the plan said.
    """

    truck: str
    visits: tuple[Document, ...]
    underway: Underway | None = None
    lunch: Document | None = None
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Stranded:
    """A truck that broke down, and what stays on board; `position` where somebody said it."""

    truck: str
    load_kg: int
    load_dm3: int
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Replan:
    """`whole` is the day with what is urgent, `rest` what is left of it to be planned."""

    whole: Problem
    rest: Problem
    driven: tuple[Driven, ...]
    stranded: tuple[Stranded, ...]


def replan(problem: Problem, routes: Sequence[Document], happened: Happened, *, stranded: Sequence[Stranded] = (), seconds: int) -> Replan:
    """What is left of a day. `stranded` are the trucks that broke down before; one that is seen elsewhere goes again.

    Raises InvalidReplan: an unknown truck, an urgent stop that is done, more on board than a truck bears, nothing left to collect.
    """
    _known(problem, happened)
    happened = replace(happened, seen=_loaded(happened.seen, stranded))
    still = {each.truck: each for each in stranded if each.truck not in happened.seen and each.truck not in happened.broken}
    broken = (*happened.broken, *still)
    by_truck = {str(route["truck"]): route for route in routes}
    moved = by_truck.keys() | happened.seen.keys()
    driven = tuple(_driven(problem, each, by_truck.get(each.id), happened, broken) for each in problem.trucks if each.id in moved)
    out = {each.truck: each for each in driven if each.visits}
    done = {str(visit["id"]) for each in driven for visit in each.visits if visit["kind"] == _STOP}
    if late := next((stop.id for stop in happened.urgent if stop.id in done), None):
        raise InvalidReplan(f"{late} is done already, or a truck drives to it")
    whole = _whole(problem, happened.urgent, seconds)
    left = tuple(stop for stop in whole.stops if stop.id not in done)
    if not left:
        raise InvalidReplan("nothing is left to be collected")
    going = (each for each in problem.trucks if each.id not in broken and each != ABSENT)
    trucks = tuple(truck for each in going if (truck := _truck(each, out.get(each.id), happened)) is not None)
    rest = replace(
        whole,
        stops=_allowed(left, trucks),
        trucks=trucks,
        sites=tuple(replace(site, day_kg=_room(site.id, site.day_kg, driven)) for site in problem.sites),
        yesterday=tuple(_rounds(routes, {stop.id for stop in left}, broken)),
    )
    if not trucks or any(ABSENT.id in stop.trucks for stop in rest.stops):
        rest = replace(rest, trucks=(*trucks, ABSENT))
    lost = {each.id: _stranded(each, out.get(each.id), happened.seen.get(each.id)) for each in problem.trucks if each.id in broken}
    return Replan(whole, rest, tuple(out.values()), tuple((lost | still)[name] for name in broken))


def merged(made: Replan, answer: Document, metres: Mapping[str, int]) -> dict[str, Any]:
    """The day as a whole: what was driven (`metres` of each truck), and the solver's answer for the rest. See `joined` for its check."""
    rests = {str(route["truck"]): route for route in answer["routes"]}
    before = {each.truck: each for each in made.driven}
    routes = [
        _merged(before.get(truck.id), rests.get(truck.id), metres.get(truck.id, 0))
        for truck in made.whole.trucks
        if truck.id in before or truck.id in rests
    ]
    cost = {name: sum(route[name] for route in routes) for name in ("distance_m", "duration_s")}
    found = {"vehicles": len(routes), "cost": cost, "routes": routes, "stranded": [_told(each) for each in made.stranded]}
    if answer.get("evidence"):
        found["evidence"] = {**answer["evidence"], "of": "rest"}  # its figures are of what was left to plan
    return {**answer, **found}


def joined(made: Replan, result: Document) -> list[Fault]:
    """Whether what was driven and what comes fit together: times, loads and lunch of each truck, every stop once, nobody left outside."""
    return [*_each_once(made.whole, result), *(fault for route in result["routes"] for fault in _fits(made, route))]


def _known(problem: Problem, happened: Happened) -> None:
    trucks = {each.id for each in problem.trucks if problem.stream in each.streams}
    for name in (*happened.broken, *happened.seen):
        if name not in trucks:
            raise InvalidReplan(f"the plan has no truck {name}")
    urgent = [stop.id for stop in happened.urgent]
    if twice := next((name for name in urgent if urgent.count(name) > 1), None):
        raise InvalidReplan(f"{twice} is urgent twice: which of them is meant?")
    for truck in problem.trucks:
        seen = happened.seen.get(truck.id)
        if seen and ((seen.load_kg or 0) > truck.capacity_kg or (seen.load_dm3 or 0) > truck.capacity_dm3):
            raise InvalidReplan(f"{truck.id} cannot carry that much")


def _loaded(seen: Mapping[str, Seen], stranded: Sequence[Stranded]) -> dict[str, Seen]:
    """A truck that goes again has on board what it broke down with, unless its scale says otherwise."""
    found = dict(seen)
    for each in stranded:
        if (now := found.get(each.truck)) is not None:
            kg, dm3 = (told if told is not None else had for told, had in ((now.load_kg, each.load_kg), (now.load_dm3, each.load_dm3)))
            found[each.truck] = Seen(now.position, kg, dm3)
    return found


def _driven(problem: Problem, truck: Truck, route: Document | None, happened: Happened, broken: Sequence[str]) -> Driven:
    seen, is_broken = happened.seen.get(truck.id), truck.id in broken
    now_s = happened.at_s if seen or is_broken else happened.until_s
    visits: Sequence[Document] = () if route is None else route["visits"]
    passed = sum(1 for visit in visits if visit["departure_s"] <= now_s)
    lunch = None if route is None else route.get("lunch")
    if is_broken:
        had = lunch if lunch and lunch["end_s"] <= now_s else None
        return Driven(truck.id, tuple(visits[:passed]), lunch=had)
    if not passed and seen is None:
        return Driven(truck.id, ())
    if not passed:  # it has left before the plan said so
        visits, passed = (_left(now_s),), 1
    ahead = visits[passed] if passed < len(visits) else None
    stays = ahead is not None and (seen is None or ahead["start_s"] <= now_s)  # it is driven to, or served
    kept = passed + stays
    if seen is None and _eats_at_home(problem, truck, visits, lunch, kept):
        kept, stays = len(visits), True
    behind = tuple(visits[:kept])
    last = behind[-1]
    place = place_of(problem, last, truck)
    position = seen.position if seen and not stays else place
    load = _load(truck, behind, seen, stays=stays)
    elsewhere = position != place or load != (last["load_kg"], last["load_dm3"])
    idle_s = last["departure_s"] if stays or ahead is None else max(now_s, last["departure_s"])  # home, or mended: it has stood since
    free_s = max(idle_s, happened.until_s)
    taken = _lunch(problem, lunch, behind, idle_s, free_s)
    underway = Underway(position, max(free_s, taken["end_s"] if taken else 0), *load, _taken(problem, truck, behind))
    return Driven(truck.id, behind, underway, taken, elsewhere)


def _left(at_s: int) -> Document:
    """A truck leaves the depot, empty."""
    times = {"arrival_s": at_s, "start_s": at_s, "departure_s": at_s}
    return {"kind": VisitKind.DEPOT_START.value, "id": None, **times, "load_kg": 0, "load_dm3": 0}


def _lunch(problem: Problem, planned: Document | None, behind: Sequence[Document], idle_s: int, free_s: int) -> Document | None:
    """The break a truck has taken, or takes as soon as it has nothing to do; None when it is still to be planned, or none is due.

    Who leaves within its hours needs none; who is home then eats there.
    """
    lunch = problem.lunch
    if lunch is None or free_s < lunch.earliest_s:
        return None
    if planned is not None and planned["start_s"] <= free_s:
        return planned
    start_s = max(idle_s, lunch.earliest_s)
    if behind[0]["departure_s"] >= lunch.earliest_s or start_s > lunch.latest_s:
        return None
    return {"start_s": start_s, "end_s": start_s + lunch.duration_s}


def _eats_at_home(problem: Problem, truck: Truck, visits: Sequence[Document], planned: Document | None, kept: int) -> bool:
    """Whether a truck ends its round before it takes more: it was to be home for lunch, and has only its way there left to drive.

    Or it could not be back in its shift if it ate first.
    """
    lunch, free_s, home_s = problem.lunch, int(visits[kept - 1]["departure_s"]), int(visits[-1]["arrival_s"])
    if lunch is None or planned is not None or not lunch.earliest_s <= free_s <= home_s <= lunch.latest_s:
        return False
    idle = all(visit["kind"] != _STOP for visit in visits[kept:])
    return visits[-1]["kind"] == _HOME and (idle or home_s + lunch.duration_s > truck.shift.end_s + truck.overtime_s)


def place_of(problem: Problem, visit: Document, truck: Truck) -> Position:
    """Where a visit of a truck is."""
    if visit.get("position"):
        return Position(visit["position"]["lon"], visit["position"]["lat"])
    if visit["kind"] == _STOP:
        return next(stop.position for stop in problem.stops if stop.id == visit["id"])
    if visit["kind"] == _UNLOAD:
        return next(site.position for site in problem.sites if site.id == visit["id"])
    if visit["kind"] == _UNDERWAY and truck.underway is not None:
        return truck.underway.position
    return problem.depot


def _load(truck: Truck, behind: Sequence[Document], seen: Seen | None, *, stays: bool) -> tuple[int, int]:
    """What is on board when the truck is free: what the scale said, with what it takes at the visit that stays; else the plan's word."""
    last, before = behind[-1], behind[-2] if stays else behind[-1]
    found = []
    for name, most in (("load_kg", truck.capacity_kg), ("load_dm3", truck.capacity_dm3)):
        told = getattr(seen, name) if seen else None
        empties = stays and last["kind"] != _STOP
        found.append(int(last[name]) if told is None or empties else int(told + last[name] - before[name]))
        if found[-1] > most:
            raise InvalidReplan(f"{truck.id} has {told} {name[5:]} on board and cannot carry what it takes at {last['id']}")
    return found[0], found[1]


def _taken(problem: Problem, truck: Truck, visits: Sequence[Document]) -> Caps:
    """What a truck has taken today."""
    stops = {stop.id: stop for stop in problem.stops}
    served = [stops[visit["id"]] for visit in visits if visit["kind"] == _STOP]
    before = truck.underway.taken if truck.underway else Caps()
    return Caps(
        kg=(before.kg or 0) + sum(stop.demand_kg for stop in served),
        dm3=(before.dm3 or 0) + sum(stop.demand_dm3 for stop in served),
        stops=(before.stops or 0) + len(served),
        containers=(before.containers or 0) + sum(stop.containers for stop in served),
    )


def _truck(truck: Truck, driven: Driven | None, happened: Happened) -> Truck | None:
    """A truck for the rest of the day; None when it is home and its day is over."""
    if happened.overtime_s is not None:
        truck = replace(truck, overtime_s=happened.overtime_s)
    if driven is not None and driven.underway is not None:
        at_home = driven.visits[-1]["kind"] == _HOME and not driven.elsewhere
        is_over = driven.underway.at_s > truck.shift.end_s + truck.overtime_s
        return None if at_home and is_over else replace(truck, underway=driven.underway)
    if truck.underway is not None:  # it is to be free later, as it was
        return truck
    return replace(truck, shift=Window(min(max(truck.shift.start_s, happened.until_s), truck.shift.end_s), truck.shift.end_s))


def _allowed(stops: Sequence[Stop], trucks: Sequence[Truck]) -> tuple[Stop, ...]:
    on_duty = {truck.id for truck in trucks}
    return tuple(replace(stop, trucks=allowed(stop.trucks, on_duty)) for stop in stops)


def _room(site: str, day_kg: int | None, driven: Sequence[Driven]) -> int | None:
    """What a site still takes today."""
    if day_kg is None:
        return None
    pairs = (pair for each in driven for pair in pairwise(each.visits))
    return max(0, day_kg - sum(int(before["load_kg"]) for before, visit in pairs if visit["kind"] == _UNLOAD and visit["id"] == site))


def _whole(problem: Problem, urgent: Sequence[Stop], seconds: int) -> Problem:
    named = {stop.id: stop for stop in urgent}
    stops = (*(named.pop(stop.id, stop) for stop in problem.stops), *named.values())
    nobody = any(ABSENT.id in stop.trucks for stop in stops) and ABSENT not in problem.trucks
    trucks = (*problem.trucks, ABSENT) if nobody else problem.trucks
    return replace(problem, stops=stops, trucks=trucks, options=replace(problem.options, seconds=seconds))


def _rounds(routes: Sequence[Document], left: set[str], broken: Sequence[str]) -> Iterator[Round]:
    """What each truck was to serve: the new plan begins with it, and is compared with it."""
    for route in routes:
        stops = tuple(str(visit["id"]) for visit in route["visits"] if visit["kind"] == _STOP and visit["id"] in left)
        if stops and route["truck"] not in broken:
            yield Round(str(route["truck"]), stops)


def _stranded(truck: Truck, driven: Driven | None, seen: Seen | None) -> Stranded:
    """What stays on board: what its scale said, else what the plan says, or what it began its day with."""
    begun = truck.underway
    kg, dm3 = (begun.load_kg, begun.load_dm3) if begun else (0, 0)
    if driven is not None:
        kg, dm3 = int(driven.visits[-1]["load_kg"]), int(driven.visits[-1]["load_dm3"])
    if seen is None:
        return Stranded(truck.id, kg, dm3)
    return Stranded(truck.id, kg if seen.load_kg is None else seen.load_kg, dm3 if seen.load_dm3 is None else seen.load_dm3, seen.position)


def _told(stranded: Stranded) -> dict[str, Any]:
    told = {"truck": stranded.truck, "load_kg": stranded.load_kg, "load_dm3": stranded.load_dm3}
    return told if stranded.position is None else {**told, "position": stranded.position._asdict()}


def _merged(before: Driven | None, rest: Document | None, metres: int) -> dict[str, Any]:
    if before is None:
        assert rest is not None
        return dict(rest)
    visits = [*before.visits]
    more: Sequence[Document] = () if rest is None else rest["visits"]
    goes_on = before.underway is not None and len(more) > 1 and not (visits[-1]["kind"] == _HOME and len(more) == 2)
    if before.underway is not None and goes_on:
        begins, *coming = more
        visits += [{**begins, "position": before.underway.position._asdict()}] if before.elsewhere else []
        visits += coming
    driven_m = metres + (0 if rest is None else int(rest["distance_m"]))
    lunch = before.lunch or (rest.get("lunch") if rest is not None else None)
    if not goes_on and lunch is not None and visits[-1]["kind"] == _HOME and visits[-1]["arrival_s"] <= lunch["start_s"]:
        lunch = None  # it is home, and nobody asks when its crew eats
    duration_s = max(0, visits[-1]["arrival_s"] - visits[0]["departure_s"])
    return {"truck": before.truck, "visits": visits, "distance_m": driven_m, "duration_s": duration_s, "lunch": lunch}


def _each_once(whole: Problem, result: Document) -> Iterator[Fault]:
    counted = dict.fromkeys((stop.id for stop in whole.stops), 0)
    served = [str(visit["id"]) for route in result["routes"] for visit in route["visits"] if visit["kind"] == _STOP]
    for name in (*served, *(str(each["stop"]) for each in result["unserved"])):
        counted[name] = counted.get(name, 0) + 1
    for name, times in counted.items():
        if times != 1:
            yield Fault(name, f"it is {times} times in the day")


def _fits(made: Replan, route: Document) -> Iterator[Fault]:
    """Times that never go back, loads that only a stop or a seen scale adds to, a lunch, an end at the depot but for who is stranded."""
    stops = {stop.id: stop for stop in made.whole.stops}
    truck = str(route["truck"])
    for number, (before, visit) in enumerate(pairwise(route["visits"]), 1):
        at = f"{truck}, visit {number}"
        if visit["arrival_s"] < before["departure_s"]:
            yield Fault(at, f"it arrives at {visit['arrival_s']} and has left the place before at {before['departure_s']}")
        if visit["kind"] == _STOP and visit["id"] in stops:
            kg = before["load_kg"] + stops[visit["id"]].demand_kg
            if visit["load_kg"] != kg:
                yield Fault(at, f"{visit['load_kg']} kg on board instead of {kg}")
    if route["visits"][-1]["kind"] != _HOME and truck not in {each.truck for each in made.stranded}:
        yield Fault(truck, "it does not come home")
    lunch, first, last = made.whole.lunch, route["visits"][0], route["visits"][-1]
    late = lunch is not None and last["kind"] == _HOME and last["arrival_s"] > lunch.latest_s
    if lunch is not None and late and first["departure_s"] < lunch.earliest_s and not route.get("lunch"):
        yield Fault(truck, "its crew has no lunch")
