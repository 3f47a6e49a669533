"""Whether a plan keeps every rule, judged from the problem and the matrices alone.

It shares no arithmetic with the engine, the model or the schedule: times, loads and distances are followed visit by visit and
compared with what the plan says. A plan with a fault is never shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cityloop_waste.planning.domain import Plan, Problem, Reason, Route, Site, Stop, Truck, Visit, VisitKind
from cityloop_waste.roads.domain import Travel


class Rule(StrEnum):
    """What a plan can break."""

    TRUCK_UNKNOWN = "truck-unknown"
    TRUCK_TWICE = "truck-twice"
    TRUCK_STREAM = "truck-stream"
    DEPOT = "starts-and-ends-at-depot"
    STOP_UNKNOWN = "stop-unknown"
    STOP_TWICE = "stop-twice"
    STOP_MISSING = "stop-missing"
    STOP_LISTED = "stop-served-and-unserved"
    SITE_UNKNOWN = "site-unknown"
    SITE_STREAM = "site-stream"
    CAPACITY_KG = "capacity-kg"
    CAPACITY_DM3 = "capacity-dm3"
    LOAD = "load"
    EMPTY_END = "comes-back-empty"
    NO_ROAD = "no-road"
    TRAVEL_TIME = "travel-time"
    SERVICE_TIME = "service-time"
    WINDOW = "window"
    SHIFT = "shift"
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
    return [*judge.stops(plan), *judge.reasons(plan), *(broken for route in plan.routes for broken in judge.route(route, plan.routes))]


class _Judge:
    def __init__(self, problem: Problem, travel: Travel) -> None:
        self._problem, self._travel = problem, travel
        self._trucks: dict[str, Truck] = {truck.id: truck for truck in problem.trucks}
        self._stops: dict[str, tuple[int, Stop]] = {stop.id: (row, stop) for row, stop in enumerate(problem.stops, 1)}
        first_site = 1 + len(problem.stops)
        self._sites: dict[str, tuple[int, Site]] = {site.id: (row, site) for row, site in enumerate(problem.sites, first_site)}

    def stops(self, plan: Plan) -> Iterator[Broken]:
        """Each stop is served once, or listed once as unserved."""
        served = [visit.id or "" for route in plan.routes for visit in route.visits if visit.kind is VisitKind.STOP]
        listed = [each.stop for each in plan.unserved]
        for stop in dict.fromkeys([*served, *listed]):
            if stop not in self._stops:
                yield Broken(Rule.STOP_UNKNOWN, stop, "the problem has no such stop")
            if served.count(stop) > 1 or listed.count(stop) > 1:
                yield Broken(Rule.STOP_TWICE, stop, f"served {served.count(stop)} times, listed {listed.count(stop)} times")
            if stop in served and stop in listed:
                yield Broken(Rule.STOP_LISTED, stop, "it is served and listed as unserved")
        for stop in self._stops:
            if stop not in served and stop not in listed:
                yield Broken(Rule.STOP_MISSING, stop, "it is neither served nor listed as unserved")

    def reasons(self, plan: Plan) -> Iterator[Broken]:
        """A reason that is not the one that is true of its stop."""
        for each in plan.unserved:
            if each.stop in self._stops:
                true = self._reason(*self._stops[each.stop])
                if each.reason is not true:
                    yield Broken(Rule.REASON, each.stop, f"{each.reason} is told, {true} is true of it")

    def _reason(self, row: int, stop: Stop) -> Reason:
        """Why the stop can be unserved: what forbids it to every truck that does nothing else, else that the search left it out."""
        stream = self._problem.stream
        trucks = [truck for truck in self._problem.trucks if stream in truck.streams]
        sites = [(number, site) for number, site in self._sites.values() if stream in site.streams]
        bearing = [truck for truck in trucks if truck.capacity_kg >= stop.demand_kg and truck.capacity_dm3 >= stop.demand_dm3]
        for reason, holds in ((Reason.NO_VEHICLE, not trucks), (Reason.NO_SITE, not sites), (Reason.TOO_MUCH, not bearing)):
            if holds:
                return reason
        out_s, home_s = self._travel.duration_s[0][row], self._home_s(row, sites)
        if out_s is None or home_s is None:
            return Reason.UNREACHABLE
        arrivals = {(truck.shift.start_s + out_s, truck.shift.end_s) for truck in bearing}
        busy_s = stop.service_s + home_s
        if all(arrival_s + busy_s > until_s for arrival_s, until_s in arrivals):
            return Reason.NOT_ENOUGH_TIME
        begun = ((max(arrival_s, hours.start_s), hours.end_s, until_s) for arrival_s, until_s in arrivals for hours in stop.windows)
        in_hours = any(start_s <= closes_s and start_s + busy_s <= until_s for start_s, closes_s, until_s in begun)
        return Reason.NOT_REACHED if in_hours or not stop.windows else Reason.WINDOW

    def _home_s(self, row: int, sites: Sequence[tuple[int, Site]]) -> int | None:
        """Seconds from a stop to the depot over the site that is quickest, its service included; None without a road."""
        ways = self._travel.duration_s
        legs = ((ways[row][number], site.service_s, ways[number][0]) for number, site in sites)
        return min((there + service_s + back for there, service_s, back in legs if there is not None and back is not None), default=None)

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
        kinds = [visit.kind for visit in route.visits]
        inner = {VisitKind.STOP, VisitKind.UNLOAD}
        if len(kinds) < 3 or kinds[0] is not VisitKind.DEPOT_START or kinds[-1] is not VisitKind.DEPOT_END or not set(kinds[1:-1]) <= inner:
            yield Broken(Rule.DEPOT, route.truck, "a route leaves the depot, serves stops and comes back to it")
            return
        yield from self._loads(truck, route.visits)
        yield from self._clock(truck, route.visits)
        yield from self._length(route)

    def _loads(self, truck: Truck, visits: Sequence[Visit]) -> Iterator[Broken]:
        kg = dm3 = 0
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

    def _clock(self, truck: Truck, visits: Sequence[Visit]) -> Iterator[Broken]:
        for before, visit in zip((None, *visits[:-1]), visits, strict=True):
            at = _at(truck, visit)
            service_s, windows = 0, None
            if visit.kind is VisitKind.STOP and visit.id in self._stops:
                stop = self._stops[visit.id][1]
                service_s, windows = stop.service_s, stop.windows
            elif visit.kind is VisitKind.UNLOAD:
                if visit.id not in self._sites:
                    yield Broken(Rule.SITE_UNKNOWN, at, "the problem has no such site")
                    continue
                site = self._sites[visit.id][1]
                service_s = site.service_s
                if self._problem.stream not in site.streams:
                    yield Broken(Rule.SITE_STREAM, at, f"the site does not take {self._problem.stream}")
            if not visit.arrival_s <= visit.start_s or visit.departure_s != visit.start_s + service_s:
                yield Broken(
                    Rule.SERVICE_TIME, at, f"there {visit.arrival_s}, begun {visit.start_s}, left {visit.departure_s}: {service_s} s"
                )
            if windows and not any(window.start_s <= visit.start_s <= window.end_s for window in windows):
                yield Broken(Rule.WINDOW, at, f"the service starts at {visit.start_s}, outside its windows")
            if before is not None:
                yield from self._leg(at, before, visit)
        if visits[0].departure_s < truck.shift.start_s or visits[-1].arrival_s > truck.shift.end_s:
            told = f"out from {visits[0].departure_s} to {visits[-1].arrival_s}"
            yield Broken(Rule.SHIFT, truck.id, f"{told}, on duty from {truck.shift.start_s} to {truck.shift.end_s}")

    def _leg(self, at: str, before: Visit, visit: Visit) -> Iterator[Broken]:
        origin, target = self._row(before), self._row(visit)
        if origin is None or target is None:
            return
        seconds = self._travel.duration_s[origin][target]
        if seconds is None:
            yield Broken(Rule.NO_ROAD, at, "no road leads there from the visit before")
        elif visit.arrival_s != before.departure_s + seconds:
            yield Broken(Rule.TRAVEL_TIME, at, f"left {before.departure_s}, {seconds} s on the road, there {visit.arrival_s}")

    def _length(self, route: Route) -> Iterator[Broken]:
        metres = 0
        for before, visit in zip(route.visits, route.visits[1:], strict=False):
            origin, target = self._row(before), self._row(visit)
            if origin is None or target is None:
                return
            metres += self._travel.distance_m[origin][target] or 0
        if metres != route.distance_m:
            yield Broken(Rule.DISTANCE, route.truck, f"{route.distance_m} m are told, {metres} are driven")
        seconds = route.visits[-1].arrival_s - route.visits[0].departure_s
        if seconds != route.duration_s:
            yield Broken(Rule.DURATION, route.truck, f"{route.duration_s} s are told, it is out for {seconds}")

    def _row(self, visit: Visit) -> int | None:
        if visit.kind is VisitKind.STOP:
            return self._stops[visit.id][0] if visit.id in self._stops else None
        if visit.kind is VisitKind.UNLOAD:
            return self._sites[visit.id][0] if visit.id in self._sites else None
        return 0


def _at(truck: Truck, visit: Visit) -> str:
    return f"{truck.id} at {visit.id or 'the depot'}"
