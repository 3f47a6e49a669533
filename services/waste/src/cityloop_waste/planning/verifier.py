"""Whether a plan keeps every rule, judged from the problem and the matrices alone.

It shares no arithmetic with the engines, the model or the schedule: times, loads and distances are followed visit by visit and
compared with what the plan says. A plan with a fault is never shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cityloop_waste.planning.domain import Lunch, Plan, Problem, Route, Site, Stop, Truck, Visit, VisitKind, Window
from cityloop_waste.planning.verifier_reasons import Alone, earliest_s, taken
from cityloop_waste.roads.domain import Travel


class Rule(StrEnum):
    """What a plan can break."""

    TRUCK_UNKNOWN = "truck-unknown"
    TRUCK_TWICE = "truck-twice"
    TRUCK_STREAM = "truck-stream"
    DEPOT = "starts-and-ends-at-depot"
    UNDERWAY = "starts-where-it-is"
    STOP_UNKNOWN = "stop-unknown"
    STOP_TWICE = "stop-twice"
    STOP_MISSING = "stop-missing"
    STOP_LISTED = "stop-served-and-unserved"
    STOP_TRUCK = "stop-truck"
    SITE_UNKNOWN = "site-unknown"
    SITE_STREAM = "site-stream"
    SITE_OPENING = "site-opening"
    SITE_DAY_KG = "site-day-kg"
    CAPACITY_KG = "capacity-kg"
    CAPACITY_DM3 = "capacity-dm3"
    LOAD = "load"
    EMPTY_END = "comes-back-empty"
    LOAD_LEFT = "load-left-on-board"
    DAY_KG = "day-kg"
    DAY_DM3 = "day-dm3"
    DAY_STOPS = "day-stops"
    DAY_CONTAINERS = "day-containers"
    NO_ROAD = "no-road"
    TRAVEL_TIME = "travel-time"
    SERVICE_TIME = "service-time"
    WINDOW = "window"
    SHIFT = "shift"
    LUNCH_MISSING = "lunch-missing"
    LUNCH_HOURS = "lunch-hours"
    LUNCH_LENGTH = "lunch-length"
    LUNCH_SERVICE = "lunch-in-a-service"
    DISTANCE = "distance"
    DURATION = "duration"
    REASON = "reason"


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that is broken, by whom and how."""

    rule: Rule
    at: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule} ({self.at}): {self.text}"


def faults(problem: Problem, travel: Travel, plan: Plan) -> list[Broken]:
    """Every broken rule; none for a plan that a crew can drive."""
    judge = _Judge(problem, travel)
    whole = (*judge.stops(plan), *judge.reasons(plan), *judge.left_on_board(plan), *judge.sites(plan))
    return [*whole, *(broken for route in plan.routes for broken in judge.route(route, plan.routes))]


class _Judge:
    def __init__(self, problem: Problem, travel: Travel) -> None:
        self._problem, self._travel = problem, travel
        self._alone = Alone(problem, travel)
        self._trucks: dict[str, Truck] = {truck.id: truck for truck in problem.trucks}
        self._stops: dict[str, tuple[int, Stop]] = {stop.id: (row, stop) for row, stop in enumerate(problem.stops, 1)}
        first_site = 1 + len(problem.stops)
        self._sites: dict[str, tuple[int, Site]] = {site.id: (row, site) for row, site in enumerate(problem.sites, first_site)}
        underway = [truck.id for truck in problem.trucks if truck.underway is not None]
        self._begins = {truck: row for row, truck in enumerate(underway, first_site + len(problem.sites))}

    def stops(self, plan: Plan) -> Iterator[Broken]:
        """Each stop is served once, or listed once as unserved."""
        served = Counter(visit.id or "" for route in plan.routes for visit in route.visits if visit.kind is VisitKind.STOP)
        listed = Counter(each.stop for each in plan.unserved)
        for stop in dict.fromkeys([*served, *listed]):
            if stop not in self._stops:
                yield Broken(Rule.STOP_UNKNOWN, stop, "the problem has no such stop")
            if served[stop] > 1 or listed[stop] > 1:
                yield Broken(Rule.STOP_TWICE, stop, f"served {served[stop]} times, listed {listed[stop]} times")
            if served[stop] and listed[stop]:
                yield Broken(Rule.STOP_LISTED, stop, "it is served and listed as unserved")
        for stop in self._stops:
            if not served[stop] and not listed[stop]:
                yield Broken(Rule.STOP_MISSING, stop, "it is neither served nor listed as unserved")

    def reasons(self, plan: Plan) -> Iterator[Broken]:
        """A reason that is not the one that is true of its stop: see verifier_reasons."""
        for each in plan.unserved:
            if each.stop in self._stops:
                true = self._alone.reason(*self._stops[each.stop])
                if each.reason is not true:
                    yield Broken(Rule.REASON, each.stop, f"{each.reason} is told, {true} is true of it")

    def left_on_board(self, plan: Plan) -> Iterator[Broken]:
        """A truck under way that could bring its load to a site, and is in no route."""
        out = {route.truck for route in plan.routes}
        for truck in self._problem.trucks:
            loaded = truck.underway is not None and (truck.underway.load_kg or truck.underway.load_dm3)
            if loaded and truck.id not in out and self._problem.stream in truck.streams and self._alone.comes_home(truck):
                yield Broken(Rule.LOAD_LEFT, truck.id, "it is under way with a load on board and has no route")

    def sites(self, plan: Plan) -> Iterator[Broken]:
        """What all routes together bring to a site within its day."""
        brought: Counter[str] = Counter()
        for route in plan.routes:
            kg = _on_board(self._trucks.get(route.truck))[0]
            for visit in route.visits:
                if visit.kind is VisitKind.STOP and visit.id in self._stops:
                    kg += self._stops[visit.id][1].demand_kg
                elif visit.kind is VisitKind.UNLOAD:
                    brought[visit.id or ""] += kg
                    kg = 0
        for name, (_, site) in self._sites.items():
            if site.day_kg is not None and brought[name] > site.day_kg:
                yield Broken(Rule.SITE_DAY_KG, name, f"{brought[name]} kg are brought to it, {site.day_kg} allowed")

    def route(self, route: Route, routes: Sequence[Route]) -> Iterator[Broken]:
        """One truck's day."""
        truck = self._trucks.get(route.truck)
        if truck is None:
            yield Broken(Rule.TRUCK_UNKNOWN, route.truck, "the problem has no such truck")
            return
        if sum(1 for other in routes if other.truck == route.truck) > 1:
            yield Broken(Rule.TRUCK_TWICE, route.truck, "it drives two routes")
        if self._problem.stream not in truck.streams:
            yield Broken(Rule.TRUCK_STREAM, route.truck, f"it does not take {self._problem.stream}")
        wrong = _ends(truck, [visit.kind for visit in route.visits])
        if wrong is not None:
            yield wrong
            return
        yield from self._loads(truck, route.visits)
        yield from self._day(truck, route.visits)
        yield from self._clock(truck, route)
        yield from self._lunch(truck, route)
        yield from self._length(route)

    def _loads(self, truck: Truck, visits: Sequence[Visit]) -> Iterator[Broken]:
        kg, dm3 = _on_board(truck)
        for visit in visits:
            at = _at(truck, visit)
            if visit.kind is VisitKind.STOP and visit.id in self._stops:
                stop = self._stops[visit.id][1]
                kg, dm3 = kg + stop.demand_kg, dm3 + stop.demand_dm3
            elif visit.kind is VisitKind.UNLOAD:
                kg = dm3 = 0
            if kg > truck.capacity_kg:
                yield Broken(Rule.CAPACITY_KG, at, f"{kg} kg on board, {truck.capacity_kg} allowed")
            if dm3 > truck.capacity_dm3:
                yield Broken(Rule.CAPACITY_DM3, at, f"{dm3} dm3 on board, {truck.capacity_dm3} allowed")
            if (visit.load_kg, visit.load_dm3) != (kg, dm3):
                yield Broken(Rule.LOAD, at, f"{visit.load_kg} kg and {visit.load_dm3} dm3 are told, {kg} and {dm3} are on board")
        if kg or dm3:
            yield Broken(Rule.EMPTY_END, truck.id, f"it comes back with {kg} kg, {dm3} dm3")

    def _day(self, truck: Truck, visits: Sequence[Visit]) -> Iterator[Broken]:
        """What the truck takes over all its trips, and who may serve its stops."""
        stops = [self._stops[visit.id][1] for visit in visits if visit.kind is VisitKind.STOP and visit.id in self._stops]
        for stop in stops:
            if stop.trucks and truck.id not in stop.trucks:
                yield Broken(Rule.STOP_TRUCK, f"{truck.id} at {stop.id}", f"only {', '.join(stop.trucks)} may serve it")
        day, before = truck.day, taken(truck)
        for rule, unit, added, already, most in (
            (Rule.DAY_KG, "kg", sum(stop.demand_kg for stop in stops), before.kg, day.kg),
            (Rule.DAY_DM3, "dm3", sum(stop.demand_dm3 for stop in stops), before.dm3, day.dm3),
            (Rule.DAY_STOPS, "stops", len(stops), before.stops, day.stops),
            (Rule.DAY_CONTAINERS, "containers", sum(stop.containers for stop in stops), before.containers, day.containers),
        ):
            if most is not None and added and added + (already or 0) > most:
                yield Broken(rule, truck.id, f"{added + (already or 0)} {unit} in the day, {most} allowed")

    def _clock(self, truck: Truck, route: Route) -> Iterator[Broken]:
        visits = route.visits
        for before, visit in zip((None, *visits[:-1]), visits, strict=True):
            at = _at(truck, visit)
            if visit.kind is VisitKind.UNLOAD and visit.id not in self._sites:
                yield Broken(Rule.SITE_UNKNOWN, at, "the problem has no such site")
                continue
            yield from self._service(at, visit)
            if before is not None:
                yield from self._leg(truck, before, visit, route.lunch)
        out_s, back_s, until_s = visits[0].departure_s, visits[-1].arrival_s, truck.shift.end_s + truck.overtime_s
        if truck.underway is not None and visits[0].departure_s < truck.underway.at_s:
            yield Broken(Rule.UNDERWAY, truck.id, f"it leaves at {out_s}, it is free at {truck.underway.at_s}")
        if out_s < truck.shift.start_s or back_s > until_s:
            yield Broken(Rule.SHIFT, truck.id, f"out from {out_s} to {back_s}, on duty from {truck.shift.start_s} to {until_s}")

    def _service(self, at: str, visit: Visit) -> Iterator[Broken]:
        """How long it lasts, and when it may start."""
        service_s, rule = 0, Rule.WINDOW
        hours: tuple[Window, ...] = ()
        if visit.kind is VisitKind.STOP and visit.id in self._stops:
            stop = self._stops[visit.id][1]
            service_s, hours = stop.service_s, stop.windows
        elif visit.kind is VisitKind.UNLOAD and visit.id in self._sites:
            site = self._sites[visit.id][1]
            service_s, hours, rule = site.service_s, site.opening, Rule.SITE_OPENING
            if self._problem.stream not in site.streams:
                yield Broken(Rule.SITE_STREAM, at, f"the site does not take {self._problem.stream}")
        if not visit.arrival_s <= visit.start_s or visit.departure_s != visit.start_s + service_s:
            told = f"there {visit.arrival_s}, begun {visit.start_s}, left {visit.departure_s}"
            yield Broken(Rule.SERVICE_TIME, at, f"{told}: {service_s} s")
        if hours and not any(window.start_s <= visit.start_s <= window.end_s for window in hours):
            yield Broken(rule, at, f"the {'service' if rule is Rule.WINDOW else 'unload'} starts at {visit.start_s}, outside its hours")

    def _leg(self, truck: Truck, before: Visit, visit: Visit, lunch: Window | None) -> Iterator[Broken]:
        """The way from one visit to the next; who eats on it arrives so much later."""
        at, origin, target = _at(truck, visit), self._row(before, truck.id), self._row(visit, truck.id)
        if origin is None or target is None:
            return
        seconds = self._travel.duration_s[origin][target]
        if seconds is None:
            yield Broken(Rule.NO_ROAD, at, "no road leads there from the visit before")
            return
        left_s, there_s, eats_s = before.departure_s, visit.arrival_s, 0
        if lunch is not None and lunch.start_s < there_s and left_s < lunch.end_s:
            eats_s = lunch.end_s - lunch.start_s
            if lunch.start_s < left_s or there_s < lunch.end_s:
                yield Broken(Rule.TRAVEL_TIME, at, f"on the road from {left_s} to {there_s}, part of a lunch from {lunch.start_s}")
        if there_s != left_s + seconds + eats_s:
            told = f"left {left_s}, {seconds} s on the road" + (f" and {eats_s} s of lunch" if eats_s else "")
            yield Broken(Rule.TRAVEL_TIME, at, f"{told}, there {there_s}")

    def _lunch(self, truck: Truck, route: Route) -> Iterator[Broken]:
        """The break of a truck that is out while all eat: where it is told, and whether it is."""
        common, taken_at, visits = self._problem.lunch, route.lunch, route.visits
        out_s = visits[0].departure_s if truck.underway is None else earliest_s(truck)
        back_s = visits[-1].arrival_s
        if taken_at is None:
            if common is not None and out_s < common.earliest_s and back_s > common.latest_s:
                yield Broken(Rule.LUNCH_MISSING, truck.id, f"it is out from {out_s} to {back_s} and does not eat")
            return
        yield from _lunch_told(truck, taken_at, common)
        if taken_at.start_s < out_s or taken_at.end_s > back_s:
            yield Broken(
                Rule.LUNCH_HOURS, truck.id, f"it eats from {taken_at.start_s} to {taken_at.end_s}, it is out from {out_s} to {back_s}"
            )
        for visit in visits:
            if visit.kind not in _AT_DEPOT and visit.start_s < taken_at.end_s and taken_at.start_s < visit.departure_s:
                yield Broken(Rule.LUNCH_SERVICE, _at(truck, visit), f"it works from {visit.start_s}, it eats from {taken_at.start_s}")

    def _length(self, route: Route) -> Iterator[Broken]:
        metres = 0
        for before, visit in zip(route.visits, route.visits[1:], strict=False):
            origin, target = self._row(before, route.truck), self._row(visit, route.truck)
            if origin is None or target is None:
                return
            metres += self._travel.distance_m[origin][target] or 0
        if metres != route.distance_m:
            yield Broken(Rule.DISTANCE, route.truck, f"{route.distance_m} m are told, {metres} are driven")
        seconds = route.visits[-1].arrival_s - route.visits[0].departure_s
        if seconds != route.duration_s:
            yield Broken(Rule.DURATION, route.truck, f"{route.duration_s} s are told, it is out for {seconds}")

    def _row(self, visit: Visit, truck: str) -> int | None:
        if visit.kind is VisitKind.STOP:
            return self._stops[visit.id][0] if visit.id in self._stops else None
        if visit.kind is VisitKind.UNLOAD:
            return self._sites[visit.id][0] if visit.id in self._sites else None
        return self._begins[truck] if visit.kind is VisitKind.UNDERWAY else 0


_AT_DEPOT = {VisitKind.DEPOT_START, VisitKind.DEPOT_END}


def _ends(truck: Truck, kinds: Sequence[VisitKind]) -> Broken | None:
    """A route that does not begin where its truck is, or does not end at the depot."""
    begin = VisitKind.DEPOT_START if truck.underway is None else VisitKind.UNDERWAY
    if not kinds or kinds[0] is not begin:
        rule = Rule.DEPOT if truck.underway is None else Rule.UNDERWAY
        return Broken(rule, truck.id, f"its route begins with {kinds[0] if kinds else 'nothing'}, not with {begin}")
    least = 3 if truck.underway is None else 2  # who is out already may just come home
    if len(kinds) < least or kinds[-1] is not VisitKind.DEPOT_END or not set(kinds[1:-1]) <= {VisitKind.STOP, VisitKind.UNLOAD}:
        return Broken(Rule.DEPOT, truck.id, "a route serves stops and comes back to the depot, once")
    return None


def _lunch_told(truck: Truck, told: Window, common: Lunch | None) -> Iterator[Broken]:
    if common is None:
        yield Broken(Rule.LUNCH_HOURS, truck.id, f"it eats at {told.start_s}, the day has no lunch")
        return
    if not common.earliest_s <= told.start_s <= common.latest_s:
        yield Broken(Rule.LUNCH_HOURS, truck.id, f"it eats at {told.start_s}, not from {common.earliest_s} to {common.latest_s}")
    if told.end_s - told.start_s != common.duration_s:
        yield Broken(Rule.LUNCH_LENGTH, truck.id, f"it eats for {told.end_s - told.start_s} s, {common.duration_s} are lunch")


def _on_board(truck: Truck | None) -> tuple[int, int]:
    """Kilograms and dm3 that a truck begins with."""
    return (truck.underway.load_kg, truck.underway.load_dm3) if truck is not None and truck.underway is not None else (0, 0)


def _at(truck: Truck, visit: Visit) -> str:
    where = "its beginning" if visit.kind is VisitKind.UNDERWAY else "the depot"
    return f"{truck.id} at {visit.id or where}"
