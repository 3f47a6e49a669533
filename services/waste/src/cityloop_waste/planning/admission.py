"""What can be planned at all: which trucks and sites take the stream, and which stops no plan can serve, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from cityloop_waste.planning.domain import Caps, Minimise, Problem, Reason, Site, Stop, Truck, Unserved, Window
from cityloop_waste.planning.lunch import ANY_TIME, Axis, meet
from cityloop_waste.planning.schedule import Call, Tour, tour
from cityloop_waste.roads.domain import Travel

DEPOT = 0
NEVER = (Window(-1, -2),)


@dataclass(frozen=True, slots=True)
class Day:
    """A problem with what can take part in its plan. Stops, sites and where trucks begin are named by their rows in the matrices.

    `closing` gives for each admitted stop (and for where a truck under way is) the site where a tour that ends with it unloads: of
    those where some truck can tip it in time when it serves nothing else, the one with the shortest way to the depot, before all
    others one that is open all day. `starts` says when a service may start there on the axis, the day without its lunch.
    """

    problem: Problem
    travel: Travel
    trucks: tuple[Truck, ...]
    stops: tuple[int, ...]
    sites: tuple[int, ...]
    closing: Mapping[int, int]
    unserved: tuple[Unserved, ...]
    axis: Axis
    starts: Mapping[int, tuple[Window, ...]]

    def stop(self, row: int) -> Stop:
        """The stop of a row."""
        return self.problem.stops[row - 1]

    def site(self, row: int) -> Site:
        """The site of a row."""
        return self.problem.sites[row - 1 - len(self.problem.stops)]

    def is_stop(self, row: int) -> bool:
        """Whether a row is a stop's."""
        return 0 < row <= len(self.problem.stops)

    def is_site(self, row: int) -> bool:
        """Whether a row is a site's."""
        return 0 <= row - 1 - len(self.problem.stops) < len(self.problem.sites)

    def service_s(self, row: int) -> int:
        """Seconds of the service at a row."""
        return self.stop(row).service_s if self.is_stop(row) else self.site(row).service_s if self.is_site(row) else 0

    def windows(self, row: int) -> tuple[Window, ...]:
        """When a service may start at a row by the clock on the wall; none: at any time."""
        return self.stop(row).windows if self.is_stop(row) else self.site(row).opening if self.is_site(row) else ()

    def call(self, row: int) -> Call:
        """A row as a call of a tour."""
        return Call(row, self.service_s(row), self.windows(row))

    def begin(self, truck: Truck) -> int:
        """The row where a truck begins."""
        if truck.underway is None:
            return DEPOT
        first = 1 + len(self.problem.stops) + len(self.problem.sites)
        underway = [each.id for each in self.problem.trucks if each.underway is not None]
        return first + underway.index(truck.id)

    def drive(self, truck: Truck, rows: Sequence[int]) -> Tour | None:
        """The clock of a truck's way over rows, all its unloads among them, and home; None when it cannot be driven in time."""
        calls = [Call(self.begin(truck), 0), *(self.call(row) for row in rows), Call(DEPOT, 0)]
        return tour(calls, self.travel.duration_s, on_duty(truck), lunch=self.problem.lunch, waits=truck.underway is None)

    def last(self, row: int) -> tuple[Window, ...] | None:
        """When on the axis the service of a stop may start if its unload comes last and does not wait; None: no matter when."""
        site = self.closing[row]
        if self.starts[site] == ANY_TIME:
            return None
        ahead = self.service_s(row) + (self.travel.duration_s[row][site] or 0)
        early = [Window(max(0, each.start_s - ahead), each.end_s - ahead) for each in self.starts[site] if each.end_s >= ahead]
        return meet(self.starts.get(row, ANY_TIME), early) or NEVER

    def cost(self, origin: int, target: int) -> int | None:
        """What the way between two rows costs: metres, or seconds."""
        return _cost(self.problem, self.travel, origin, target)


def on_duty(truck: Truck) -> Window:
    """From when a truck can leave to when it must be back, overtime included."""
    from_s = truck.shift.start_s if truck.underway is None else max(truck.shift.start_s, truck.underway.at_s)
    return Window(from_s, truck.shift.end_s + truck.overtime_s)


def kind(truck: Truck) -> tuple[object, ...]:
    """Equal for trucks that do the same day alike, where no stop names one of them."""
    return truck.capacity_kg, truck.capacity_dm3, on_duty(truck), truck.overtime_s, truck.day, truck.underway


def left_of_day(truck: Truck) -> Caps:
    """What a truck may still take today."""
    taken = truck.underway.taken if truck.underway else Caps()

    def left(cap: int | None, gone: int | None) -> int | None:
        return None if cap is None else max(0, cap - (gone or 0))

    return Caps(
        left(truck.day.kg, taken.kg),
        left(truck.day.dm3, taken.dm3),
        left(truck.day.stops, taken.stops),
        left(truck.day.containers, taken.containers),
    )


def admit(problem: Problem, travel: Travel) -> Day:
    """Sorts out what no plan can serve. A stop is admitted when some truck can serve it and nothing else that day, at some site."""
    trucks = tuple(truck for truck in problem.trucks if problem.stream in truck.streams)
    first = 1 + len(problem.stops)
    sites = tuple(first + number for number, site in enumerate(problem.sites) if problem.stream in site.streams)
    axis = Axis(problem.lunch)
    starts = {row: _all_day(axis, problem.sites[row - first], trucks) for row in sites}
    day = Day(problem, travel, trucks, (), sites, {}, (), axis, starts)
    door = _Door(day)
    closing: dict[int, int] = {}
    unserved: list[Unserved] = []
    for row, stop in enumerate(problem.stops, 1):
        found = door.of(row, stop)
        begun = axis.starts(stop.windows, stop.service_s)
        if isinstance(found, Reason):
            unserved.append(Unserved(stop.id, found))
        elif not begun:  # only by eating later than the others
            unserved.append(Unserved(stop.id, out_of(stop)))
        else:
            closing[row], starts[row] = found, begun
    stops = tuple(closing)
    for truck in trucks:
        if truck.underway is not None and (home := door.home(day.begin(truck), truck)) is not None:
            closing[day.begin(truck)] = home
    return replace(day, stops=stops, closing=closing, unserved=tuple(unserved))


def _all_day(axis: Axis, site: Site, trucks: Sequence[Truck]) -> tuple[Window, ...]:
    """When on the axis an unload may start at a site; at any time where its hours leave out none that a truck is on duty."""
    starts = axis.starts(site.opening, site.service_s)
    duties = [axis.shift(on_duty(truck)) for truck in trucks]
    open_s = all(any(each.start_s <= duty.start_s and duty.end_s <= each.end_s for each in starts) for duty in duties)
    return ANY_TIME if open_s else starts


def out_of(stop: Stop) -> Reason:
    """Why a stop that a truck could serve is in no route."""
    return Reason.NOT_REACHED if stop.prize_m is None else Reason.NOT_WORTH_IT


class _Door:
    """Asks of each stop whether a truck could serve it alone."""

    def __init__(self, day: Day) -> None:
        self._day = day
        classes: dict[tuple[object, ...], Truck] = {}
        for truck in day.trucks:
            classes.setdefault(kind(truck), truck)
        self._classes = list(classes.values())

    def of(self, row: int, stop: Stop) -> int | Reason:
        """The site where a tour that ends with the stop unloads, or why nobody can serve the stop."""
        day = self._day
        trucks = [truck for truck in day.trucks if truck.id in stop.trucks] if stop.trucks else self._classes
        if not trucks:
            return Reason.NO_VEHICLE
        if not day.sites:
            return Reason.NO_SITE
        fitting = [truck for truck in trucks if _fits(stop, truck)]
        if not fitting:
            return Reason.TOO_MUCH
        known = False
        for site in sorted(day.sites, key=lambda site: self._closing(row, site)):
            for truck, way in self._ways(row, stop, fitting, site):
                known = True
                if day.drive(truck, way):
                    return site
        if not known:
            return Reason.UNREACHABLE
        ways = (pair for site in day.sites for pair in self._ways(row, stop, fitting, site))
        return Reason.WINDOW if any(self._timeless(truck, way) for truck, way in ways) else Reason.NOT_ENOUGH_TIME

    def home(self, row: int, truck: Truck) -> int | None:
        """The site where a truck that is at a row tips what it has on board."""
        day = self._day
        ways = [site for site in day.sites if _legs(day, row, (site,))]
        in_time = [site for site in ways if day.drive(truck, (site,))]
        return min(in_time or ways, key=lambda site: self._closing(row, site), default=None)

    def _ways(self, row: int, stop: Stop, trucks: Sequence[Truck], site: int) -> Iterator[tuple[Truck, tuple[int, ...]]]:
        """Trucks with rows on the ways to a stop and a site that have roads: over a site first where what is on board leaves no room."""
        day = self._day
        for truck in trucks:
            on_board = truck.underway
            full = on_board is not None and (
                on_board.load_kg + stop.demand_kg > truck.capacity_kg or on_board.load_dm3 + stop.demand_dm3 > truck.capacity_dm3
            )
            for before in ((first,) for first in day.sites) if full else ((),):
                way = (*before, row, site)
                if _legs(day, day.begin(truck), way):
                    yield truck, way

    def _timeless(self, truck: Truck, rows: Sequence[int]) -> bool:
        """Whether the way could be driven if everything were open at any time."""
        day = self._day
        calls = [Call(day.begin(truck), 0), *(Call(row, day.service_s(row)) for row in rows), Call(DEPOT, 0)]
        return tour(calls, day.travel.duration_s, on_duty(truck), lunch=day.problem.lunch) is not None

    def _closing(self, row: int, site: int) -> tuple[bool, int, int]:
        day = self._day
        return day.starts[site] != ANY_TIME, (day.cost(row, site) or 0) + (day.cost(site, DEPOT) or 0), site


def _fits(stop: Stop, truck: Truck) -> bool:
    left = left_of_day(truck)
    asked = ((stop.demand_kg, left.kg), (stop.demand_dm3, left.dm3), (1, left.stops), (stop.containers, left.containers))
    return (
        stop.demand_kg <= truck.capacity_kg
        and stop.demand_dm3 <= truck.capacity_dm3
        and all(most is None or wanted <= most for wanted, most in asked)
    )


def _legs(day: Day, begin: int, rows: Sequence[int]) -> bool:
    places = (begin, *rows, DEPOT)
    return all(day.travel.duration_s[a][b] is not None for a, b in pairwise(places))


def _cost(problem: Problem, travel: Travel, origin: int, target: int) -> int | None:
    table = travel.distance_m if problem.options.minimise is Minimise.DISTANCE else travel.duration_s
    return table[origin][target]
