"""What a truck could do alone: why a stop may be unserved, and whether a load on board could be brought to a site.

The verifier judges reasons from the problem and the matrices; no arithmetic is shared with what planned.

A truck of the stream *could serve a stop alone* when its day can be driven if it does nothing else:

- Ways: from where it begins to the stop, to any site of the stream, to the depot. A truck under way whose load on board leaves no
  room for the stop tips it at any site of the stream first. Totals of sites (`day_kg`) are not asked: they are the plan's.
- Clock: it leaves when it first may (its shift's start; under way not before it is free), begins each service as soon as a window
  opens, and is back at most `overtime_s` after its shift.
- Lunch: none when it is so back by `latest_s`, when it may not leave before `earliest_s`, or when leaving the depot at `earliest_s`
  brings it back no later. Else it eats as soon as it may: from `earliest_s` on, on the road or waiting; what it began until then,
  `earliest_s` included, ends first if that is by `latest_s`, and is not begun if not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cityloop_waste.planning.domain import Caps, Lunch, Problem, Reason, Stop, Truck, Window
from cityloop_waste.roads.domain import Travel

DEPOT = 0


@dataclass(frozen=True, slots=True)
class _Call:
    """A place on a way and what is done there; without hours it may begin at any time."""

    row: int
    service_s: int = 0
    hours: tuple[Window, ...] = ()


class Alone:
    """A problem's trucks, each as if it were alone that day."""

    def __init__(self, problem: Problem, travel: Travel) -> None:
        self._problem, self._ways = problem, travel.duration_s
        first_site = 1 + len(problem.stops)
        sites = list(enumerate(problem.sites, first_site))
        self._sites = [(_Call(row, site.service_s, site.opening), site) for row, site in sites if problem.stream in site.streams]
        first_begin = first_site + len(problem.sites)
        underway = [truck.id for truck in problem.trucks if truck.underway is not None]
        self._begins = {truck: row for row, truck in enumerate(underway, first_begin)}
        self._trucks = [truck for truck in problem.trucks if problem.stream in truck.streams]

    def reason(self, row: int, stop: Stop) -> Reason:
        """Why the stop may be unserved: the first in Reason's order that is true.

        `no-vehicle-for-stream` also when none of the trucks that may come is of the stream; `exceeds-capacity-of-all-vehicles` also
        when no day of a truck has room for it, what was taken today counted; `window` when a truck could serve it alone if the stop
        and the sites were open at any time. A stop that a truck could serve alone is `not-worth-it` with a prize, else
        `not-reached`.
        """
        trucks = [truck for truck in self._trucks if not stop.trucks or truck.id in stop.trucks]
        bearing = [truck for truck in trucks if _bears(truck, stop)]
        for reason, holds in (
            (Reason.NO_VEHICLE, not trucks),
            (Reason.NO_SITE, not self._sites),
            (Reason.TOO_MUCH, not bearing),
        ):
            if holds:
                return reason
        has_roads = timeless = False
        for truck in _kinds(bearing):
            for way in self._over(truck, row, stop):
                if self._in_time(truck, way):
                    return Reason.NOT_REACHED if stop.prize_m is None else Reason.NOT_WORTH_IT
                has_roads = True
                timeless = timeless or self._in_time(truck, [_Call(call.row, call.service_s) for call in way])
        return Reason.WINDOW if timeless else Reason.NOT_ENOUGH_TIME if has_roads else Reason.UNREACHABLE

    def comes_home(self, truck: Truck) -> bool:
        """Whether a truck under way could come home in time if it did nothing else but tip its load, at a site that takes as much a day."""
        load = truck.underway
        ways: list[list[_Call]] = [[]]
        if load is not None and (load.load_kg or load.load_dm3):
            ways = [[call] for call, site in self._sites if site.day_kg is None or load.load_kg <= site.day_kg]
        return any(self._has_roads(truck, way) and self._in_time(truck, way) for way in ways)

    def _over(self, truck: Truck, row: int, stop: Stop) -> Iterator[list[_Call]]:
        """The ways to the stop and home that have roads, over each site that may come before and each that comes after."""
        there, sites = _Call(row, stop.service_s, stop.windows), [call for call, _ in self._sites]
        for before in [[site] for site in sites] if _must_tip_first(truck, stop) else [[]]:
            for after in sites:
                if self._has_roads(truck, way := [*before, there, after]):
                    yield way

    def _has_roads(self, truck: Truck, way: Sequence[_Call]) -> bool:
        rows = [self._begins.get(truck.id, DEPOT), *(call.row for call in way), DEPOT]
        return all(self._ways[a][b] is not None for a, b in pairwise(rows))

    def _in_time(self, truck: Truck, way: Sequence[_Call]) -> bool:
        """Whether the truck is back in time; the way has roads."""
        begin, from_s, until_s = self._begins.get(truck.id, DEPOT), earliest_s(truck), truck.shift.end_s + truck.overtime_s
        back_s, lunch = self._back(begin, from_s, way), self._problem.lunch
        if back_s is None or back_s > until_s:
            return False  # lunch would make it later still
        if lunch is None or back_s <= lunch.latest_s or from_s >= lunch.earliest_s:
            return True
        if truck.underway is None and self._back(begin, lunch.earliest_s, way) == back_s:
            return True
        back_s = self._back_having_eaten(begin, from_s, way, lunch)
        return back_s is not None and back_s <= until_s

    def _back(self, begin: int, from_s: int, way: Sequence[_Call]) -> int | None:
        """When a truck that eats nothing is back; None after the last window of a call."""
        place, now_s = begin, from_s
        for call in way:
            start_s = _opens(call.hours, now_s + (self._ways[place][call.row] or 0))
            if start_s is None:
                return None
            place, now_s = call.row, start_s + call.service_s
        return now_s + (self._ways[place][DEPOT] or 0)

    def _back_having_eaten(self, begin: int, from_s: int, way: Sequence[_Call], lunch: Lunch) -> int | None:
        """When a truck that eats as soon as it may is back; None after the last window of a call."""
        place, now_s, eaten = begin, from_s, False
        for call in [*way, _Call(DEPOT)]:
            now_s += self._ways[place][call.row] or 0
            if not eaten and now_s > lunch.earliest_s:  # on the road
                now_s, eaten = now_s + lunch.duration_s, True
            start_s = _opens(call.hours, now_s)
            if not eaten and (start_s is None or start_s > lunch.earliest_s or start_s + call.service_s > lunch.latest_s):
                eaten = True  # while it waits
                start_s = _opens(call.hours, lunch.earliest_s + lunch.duration_s)
            if start_s is None:
                return None
            place, now_s = call.row, start_s + call.service_s
        return now_s


def earliest_s(truck: Truck) -> int:
    """When a truck may first leave the depot, or where it is."""
    return truck.shift.start_s if truck.underway is None else max(truck.shift.start_s, truck.underway.at_s)


def taken(truck: Truck) -> Caps:
    """What a truck has taken today already."""
    return truck.underway.taken if truck.underway is not None else Caps()


def _opens(hours: Sequence[Window], arrival_s: int) -> int | None:
    """When a service begins for who is there at `arrival_s`; None after the last window."""
    if not hours:
        return arrival_s
    return min((max(arrival_s, window.start_s) for window in hours if arrival_s <= window.end_s), default=None)


def _bears(truck: Truck, stop: Stop) -> bool:
    """Whether the stop alone fits into the truck and into what is left of its day."""
    day, gone = truck.day, taken(truck)
    amounts = (
        (stop.demand_kg, day.kg, gone.kg),
        (stop.demand_dm3, day.dm3, gone.dm3),
        (1, day.stops, gone.stops),
        (stop.containers, day.containers, gone.containers),
    )
    fits = stop.demand_kg <= truck.capacity_kg and stop.demand_dm3 <= truck.capacity_dm3
    return fits and all(most is None or not added or added + (before or 0) <= most for added, most, before in amounts)


def _must_tip_first(truck: Truck, stop: Stop) -> bool:
    """Whether the load on board leaves no room for the stop."""
    if truck.underway is None:
        return False
    kg, dm3 = truck.underway.load_kg + stop.demand_kg, truck.underway.load_dm3 + stop.demand_dm3
    return kg > truck.capacity_kg or dm3 > truck.capacity_dm3


def _kinds(trucks: Sequence[Truck]) -> list[Truck]:
    """One truck of each kind: what one of them can do alone, all can."""
    kinds = {(earliest_s(each), each.shift.end_s + each.overtime_s, each.underway and each.id): each for each in reversed(trucks)}
    return list(kinds.values())
