"""A first plan by cheapest insertion: where the engine's search begins, within a second for a thousand stops.

OR-Tools' own first solutions took 14 s or served half of a town of 400 stops where a third of the stops had windows
(ortools 9.15), and until its first solution a search can be neither shown nor stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cityloop_common.geo import Position
from cityloop_waste.planning.admission import DEPOT, Day, kind, left_of_day, on_duty
from cityloop_waste.planning.domain import LATEST_S, Caps, Truck, Window
from cityloop_waste.planning.schedule import service_start

SWEPT_TWICE = 500
NEAR_SITES = 3


def first_routes(day: Day) -> list[list[int]]:
    """Rows that each truck of the day visits, unloads on the way included, the last one (folded into the way home) not.

    Yesterday's routes go first, as far as they still hold. Then stops with little room in time, the others as a hand sweeps the
    map, each where it costs least; what fits nowhere is left out. Swept around the sites, then (not with very many stops) around
    the depot; the cheaper is taken.
    """
    centres: list[Mapping[int, int]] = [day.closing]
    if len(day.stops) <= SWEPT_TWICE:
        centres.append(dict.fromkeys(day.stops, DEPOT))
    swept = [_swept(day, around, ()) for around in centres]
    if day.problem.yesterday:
        swept.insert(0, _swept(day, day.closing, _yesterday(day)))
    return min(swept, key=lambda each: each[0])[1]


def _yesterday(day: Day) -> list[tuple[str, list[int]]]:
    """Yesterday's rounds as far as their stops are admitted today."""
    rows = {day.stop(row).id: row for row in day.stops}
    return [(each.truck, [rows[stop] for stop in each.stops if stop in rows]) for each in day.problem.yesterday]


def _swept(day: Day, around: Mapping[int, int], rounds: Sequence[tuple[str, Sequence[int]]]) -> tuple[tuple[int, int], list[list[int]]]:
    """Stops left out and what the routes cost, and the routes."""
    tours = [Tour(day, truck) for truck in day.trucks]
    placed = _repeated(tours, rounds)
    places = day.problem.positions()
    rest = [row for row in day.stops if row not in placed]
    order = sorted(rest, key=lambda row: (*_room(day, row), _direction(places[around[row]], places[row]), row))
    left = [row for row in order if not _insert(tours, row, day.problem.options.vehicle_cost_m)]
    left = [row for row in left if not _insert(tours, row, day.problem.options.vehicle_cost_m)]  # unloads since then have made room
    used = [tour for tour in tours if tour.rows]
    return (len(left), sum(tour.cost() for tour in used) + len(used) * day.problem.options.vehicle_cost_m), [tour.rows for tour in tours]


def _repeated(tours: Sequence[Tour], rounds: Sequence[tuple[str, Sequence[int]]]) -> set[int]:
    """Lets trucks drive their rounds again, unloading where they are full; answers the rows that found their place."""
    placed: set[int] = set()
    by_id = {tour.truck.id: tour for tour in tours}
    for truck, rows in rounds:
        tour = by_id.get(truck)
        for row in rows if tour is not None else ():
            assert tour is not None
            if not tour.takes(row):
                continue
            end = len(tour.rows)
            ways = [each for each in tour.between(row) if each[1] == end]
            if ways:
                tour.put(end, (row,))
            elif found := min((each for each in tour.with_unload(row, tour.near(row)) if each[1] == end), default=None):
                tour.put(end, found[2])
            else:
                continue
            placed.add(row)
    return placed


def _room(day: Day, row: int) -> tuple[int, int]:
    windows = day.starts[row]
    prized = day.stop(row).prize_m is not None  # it can be left out: last
    return prized * LATEST_S + min(LATEST_S, sum(window.end_s - window.start_s for window in windows)), windows[0].start_s


def _direction(centre: Position, at: Position) -> float:
    return math.atan2(at.lat - centre.lat, (at.lon - centre.lon) * math.cos(math.radians(centre.lat)))


def _insert(tours: Sequence[Tour], row: int, open_cost: int) -> bool:
    """Puts a stop where it costs least: on a trip that there is, else on a new one of a truck that is out or goes out for it."""
    fitting = [tour for tour in tours if tour.takes(row)]
    used = [tour for tour in fitting if tour.out]
    found: list[tuple[int, int, int, tuple[int, ...]]]
    found = [(cost, at, number, (row,)) for number, tour in enumerate(used) for cost, at in tour.between(row)]
    if not found:
        found = [(cost, at, number, rows) for number, tour in enumerate(used) for cost, at, rows in tour.with_unload(row, tour.near(row))]
        resting = list({kind(tour.truck): tour for tour in reversed(fitting) if not tour.out}.values())  # of equal trucks the first
        found += [
            (cost + open_cost, at, len(used) + number, (row,)) for number, tour in enumerate(resting) for cost, at in tour.between(row)
        ]
        if not found:  # a short shift may have time for another site than the stop's own
            found = [
                (cost + open_cost, at, len(used) + number, rows)
                for number, tour in enumerate(resting)
                for cost, at, rows in tour.with_unload(row, tour.day.sites)
            ]
        used += resting
    if found:
        _, at, number, rows = min(found)
        used[number].put(at, rows)
    return bool(found)


@dataclass(slots=True)
class Tour:
    """A truck's visits so far. `earliest[i]` is when the i-th place (0 = where it begins) is left at the earliest, `latest[i]` when it

    must be reached at the latest for all that follows; `loads[i]` is on board after it, `rest[i]` what its trip still adds after it.
    Times are of the day's axis.
    """

    day: Day
    truck: Truck
    rows: list[int] = field(default_factory=list)
    earliest: list[int] = field(default_factory=list)
    latest: list[int] = field(default_factory=list)
    loads: list[tuple[int, int]] = field(default_factory=list)
    rest: list[tuple[int, int]] = field(default_factory=list)
    begin: int = DEPOT
    duty: Window = field(default_factory=lambda: Window(0, 0))
    left: Caps = field(default_factory=Caps)

    def __post_init__(self) -> None:
        self.begin = self.day.begin(self.truck)
        self.duty = self.day.axis.shift(on_duty(self.truck))
        self.left = left_of_day(self.truck)
        self._follow()

    @property
    def out(self) -> bool:
        """Whether it is out anyway."""
        return bool(self.rows) or self.truck.underway is not None

    def takes(self, row: int) -> bool:
        """Whether it may serve a stop, and its day has room for it."""
        stop = self.day.stop(row)
        stops = [self.day.stop(each) for each in self.rows if self.day.is_stop(each)]
        taken = ((self.left.kg, "demand_kg"), (self.left.dm3, "demand_dm3"), (self.left.containers, "containers"))
        return (
            (not stop.trucks or self.truck.id in stop.trucks)
            and (self.left.stops is None or len(stops) < self.left.stops)
            and all(most is None or sum(getattr(each, what) for each in (*stops, stop)) <= most for most, what in taken)
        )

    def cost(self) -> int:
        """What its way costs, home included."""
        places = (self.begin, *self.rows)
        legs = [*(self._leg(a, b) for a, b in pairwise(places)), self._onward(places[-1], None)]
        return sum(leg[1] for leg in legs if leg is not None)

    def hours_s(self) -> int:
        """Seconds from leaving to being back, lunch aside, when it leaves as early as it can."""
        last = self.rows[-1] if self.rows else self.begin
        onward = self._onward(last, None)
        return self.earliest[-1] + (onward[0] if onward else 0) - self.duty.start_s

    def set(self, rows: list[int]) -> None:
        """Lets it drive these rows; it must be able to."""
        self.rows = rows
        self._follow()

    def without(self, at: int) -> Tour | None:
        """The tour without its visit number `at`; None when that leaves an unload with nothing to tip, or nothing to do."""
        rows = [*self.rows[:at], *self.rows[at + 1 :]]
        around = [*(self.rows[at - 1 : at] if at else ()), *self.rows[at + 1 : at + 2]]
        if not rows or self.day.is_site(self.rows[at]) or all(self.day.is_site(row) for row in around):
            return None
        try:
            return Tour(self.day, self.truck, rows)
        except ValueError:  # no road between its neighbours
            return None

    def with_stop(self, at: int, row: int) -> Tour:
        """The tour with a stop before its visit number `at`, where `between` says that it fits."""
        return Tour(self.day, self.truck, [*self.rows[:at], row, *self.rows[at:]])

    def put(self, at: int, rows: Sequence[int]) -> None:
        """Inserts rows before the visit number `at`."""
        self.rows[at:at] = rows
        self._follow()

    def between(self, row: int) -> Iterator[tuple[int, int]]:
        """Cost and place of each way to take a stop along on a trip that there is."""
        kg, dm3 = self._demand(row)
        for at in range(len(self.rows) + 1):
            on_board, later = self.loads[at], self.rest[at]
            if on_board[0] + later[0] + kg <= self.truck.capacity_kg and on_board[1] + later[1] + dm3 <= self.truck.capacity_dm3:
                cost = self._cost(at, (row,))
                if cost is not None:
                    yield cost, at

    def with_unload(self, row: int, sites: Sequence[int]) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """Cost and place of each way to take it along with an unload at one of the sites before or behind it."""
        kg, dm3 = self._demand(row)
        for at in range(len(self.rows) + 1):
            for site in sites:
                for rows, share in (((site, row), self.rest[at]), ((row, site), self.loads[at])):
                    if share[0] + kg <= self.truck.capacity_kg and share[1] + dm3 <= self.truck.capacity_dm3:
                        cost = self._cost(at, rows)
                        if cost is not None:
                            yield cost, at, rows

    def near(self, row: int) -> list[int]:
        """The sites nearest to a stop."""
        legs = [(leg[1], site) for site in self.day.sites if (leg := self._leg(row, site)) is not None]
        return [site for _, site in sorted(legs)[:NEAR_SITES]]

    def _cost(self, at: int, rows: Sequence[int]) -> int | None:
        """Metres that rows before visit number `at` add; None when time or roads do not allow it, or nothing would be unloaded."""
        before = self.rows[at - 1] if at else self.begin
        if self.day.is_site(rows[0]) and not (self.day.is_stop(before) or self.loads[at] != (0, 0)):
            return None
        if at < len(self.rows) and self.day.is_site(rows[-1]) and self.day.is_site(self.rows[at]):
            return None
        clock, cost, place = self.earliest[at], 0, before
        for number, row in enumerate(rows, 1):
            leg = self._leg(place, row)
            ends = at == len(self.rows) and number == len(rows)
            start = None if leg is None else service_start(self._windows(row, ends=ends), clock + leg[0])
            if leg is None or start is None:
                return None
            clock, cost, place = start + self._service(row), cost + leg[1], row
        after = self.rows[at] if at < len(self.rows) else None
        onward, direct = self._onward(place, after), self._onward(before, after)
        if onward is None or direct is None or clock + onward[0] > self.latest[at + 1]:
            return None
        return cost + onward[1] - direct[1]

    def _follow(self) -> None:
        """Counts the clock and the loads of the visits anew, forwards and back."""
        on_board = self.truck.underway
        earliest, loads = [self.duty.start_s], [(on_board.load_kg, on_board.load_dm3) if on_board else (0, 0)]
        place = self.begin
        for number, row in enumerate(self.rows, 1):
            leg = self._leg(place, row)
            start = None if leg is None else service_start(self._windows(row, ends=number == len(self.rows)), earliest[-1] + leg[0])
            if start is None:
                raise ValueError(f"{self.truck.id} cannot drive this tour")
            earliest.append(start + self._service(row))
            kg, dm3 = self._demand(row)
            loads.append((0, 0) if self.day.is_site(row) else (loads[-1][0] + kg, loads[-1][1] + dm3))
            place = row
        self.loads = loads  # the way home from a site depends on them
        latest, rest = [self.duty.end_s], [(0, 0)]
        after: int | None = None
        for row in reversed(self.rows):
            onward = self._onward(row, after)
            if onward is None:
                raise ValueError(f"{self.truck.id} cannot drive home from there")
            latest.append(_latest(self._windows(row, ends=after is None), latest[-1] - onward[0] - self._service(row)))
            kg, dm3 = self._demand(row)
            rest.append((0, 0) if self.day.is_site(row) else (rest[-1][0] + kg, rest[-1][1] + dm3))
            after = row
        self.earliest, self.loads = earliest, loads
        self.latest, self.rest = [0, *reversed(latest)], list(reversed(rest))

    def _leg(self, origin: int, target: int) -> tuple[int, int] | None:
        seconds, cost = self.day.travel.duration_s[origin][target], self.day.cost(origin, target)
        return None if seconds is None or cost is None else (seconds, cost)

    def _onward(self, row: int, after: int | None) -> tuple[int, int] | None:
        """Seconds and cost from a place to the next one, or home by way of the last unload."""
        if after is not None:
            return self._leg(row, after)
        if row == DEPOT:
            return 0, 0
        if not self.day.is_stop(row) and self.loads[-1] == (0, 0):
            return self._leg(row, DEPOT)
        site = self.day.closing.get(row)
        there, back = (self._leg(row, site), self._leg(site, DEPOT)) if site is not None else (None, None)
        return None if site is None or there is None or back is None else (there[0] + self._service(site) + back[0], there[1] + back[1])

    def _demand(self, row: int) -> tuple[int, int]:
        if not self.day.is_stop(row):
            return (0, 0)
        stop = self.day.stop(row)
        return stop.demand_kg, stop.demand_dm3

    def _service(self, row: int) -> int:
        return self.day.service_s(row)

    def _windows(self, row: int, *, ends: bool) -> Sequence[Window]:
        """When its service may start; as the last visit before the folded unload, that one's hours count too."""
        last = self.day.last(row) if ends and self.day.is_stop(row) else None
        return self.day.starts[row] if last is None else last or (Window(-1, -1),)


def _latest(windows: Sequence[Window], until_s: int) -> int:
    """The latest start within the windows that is not after `until_s`."""
    return max((min(window.end_s, until_s) for window in windows if window.start_s <= until_s), default=-1)
