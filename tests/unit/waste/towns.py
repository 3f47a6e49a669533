"""Towns to plan in: places on a plane of metres, a truck drives 10 m/s along the grid unless a road is taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from cityloop_common.clock import SystemClock
from cityloop_common.geo import Position
from cityloop_waste.planning import verifier, work
from cityloop_waste.planning.domain import (
    Caps,
    Lunch,
    Options,
    Plan,
    Problem,
    Reason,
    Round,
    Route,
    Site,
    Stop,
    Truck,
    Underway,
    Unserved,
    Visit,
    VisitKind,
    Window,
)
from cityloop_waste.planning.searching import Ended
from cityloop_waste.roads.domain import Travel, TravelSource

SIX, SEVEN, TWO_PM = 6 * 3600, 7 * 3600, 14 * 3600
DAY = Window(SIX, TWO_PM)
Spot = tuple[int, int]


def stop(
    name: str,
    at: Spot,
    kg: int = 100,
    *,
    dm3: int = 0,
    service_s: int = 60,
    windows: Sequence[Window] = (),
    containers: int = 0,
    trucks: Sequence[str] = (),
    prize_m: int | None = None,
) -> Stop:
    """A stop at metres east and north of the depot."""
    return Stop(name, place(at), kg, dm3, service_s, tuple(windows), containers, tuple(trucks), prize_m)


def truck(
    name: str = "T1",
    kg: int = 1000,
    *,
    dm3: int = 100_000,
    shift: Window = DAY,
    streams: Sequence[str] = ("other",),
    day: Caps | None = None,
    overtime_s: int = 0,
    underway: Underway | None = None,
) -> Truck:
    """A truck on duty from six to two."""
    return Truck(name, kg, dm3, shift, tuple(streams), day=day or Caps(), overtime_s=overtime_s, underway=underway)


def underway(at: Spot, at_s: int, *, kg: int = 0, dm3: int = 0, taken: Caps | None = None) -> Underway:
    """A truck out already, free there from `at_s` on."""
    return Underway(place(at), at_s, kg, dm3, taken or Caps())


def site(
    name: str,
    at: Spot,
    *,
    streams: Sequence[str] = ("other",),
    service_s: int = 300,
    opening: Sequence[Window] = (),
    day_kg: int | None = None,
) -> Site:
    """A place to unload."""
    return Site(name, place(at), tuple(streams), service_s, tuple(opening), day_kg)


def problem(
    stops: Iterable[Stop],
    trucks: Iterable[Truck] | None = None,
    sites: Iterable[Site] | None = None,
    *,
    stream: str = "other",
    vehicle_cost_m: int = 0,
    lunch: Lunch | None = None,
    yesterday: Sequence[Round] = (),
    options: Options | None = None,
) -> Problem:
    """A day of one stream; one truck and one site 1 km east of the depot unless said otherwise."""
    return Problem(
        stream=stream,
        depot=place((0, 0)),
        stops=tuple(stops),
        trucks=tuple(trucks or [truck()]),
        sites=tuple(sites or [site("S1", (1000, 0))]),
        options=options or Options(seconds=2, vehicle_cost_m=vehicle_cost_m),
        lunch=lunch,
        yesterday=tuple(yesterday),
    )


def place(at: Spot) -> Position:
    """A position that carries metres exactly: a millionth of a degree each."""
    return Position(at[0] / 1e6, at[1] / 1e6)


def travel(of: Problem, *, closed: Callable[[int, int], bool] = lambda origin, target: False) -> Travel:
    """Metres along the grid and seconds at 10 m/s; pairs that are `closed` have no road."""
    spots = [(round(at.lon * 1e6), round(at.lat * 1e6)) for at in of.positions()]

    def metres_of(origin: int, target: int) -> int | None:
        (east, north), (to_east, to_north) = spots[origin], spots[target]
        return None if origin != target and closed(origin, target) else abs(east - to_east) + abs(north - to_north)

    rows = range(len(spots))
    metres = tuple(tuple(metres_of(origin, target) for target in rows) for origin in rows)
    seconds = tuple(tuple(None if each is None else -(-each // 10) for each in row) for row in metres)
    return Travel(metres, seconds, TravelSource.GIVEN)


def by_hand(
    of: Problem,
    by: Travel,
    ways: Mapping[str, Sequence[str]],
    *,
    leaves: Mapping[str, int] | None = None,
    eats: Mapping[str, int] | None = None,
    unserved: Mapping[str, Reason] | None = None,
) -> Plan:
    """A plan without an engine: each truck drives over the named stops and sites, and tells what it does truly, legal or not.

    It leaves as soon as it may (or when `leaves` says), begins each service as soon as a window opens (at once after the last), and
    eats at the second that `eats` names, or when the service that is under way then has ended.
    """
    routes = [_driven(of, by, name, way, (leaves or {}).get(name), (eats or {}).get(name)) for name, way in ways.items()]
    return Plan(tuple(routes), tuple(Unserved(stop, reason) for stop, reason in (unserved or {}).items()))


def _driven(of: Problem, by: Travel, name: str, way: Sequence[str], leaves_s: int | None, eats_s: int | None) -> Route:
    truck = next(each for each in of.trucks if each.id == name)
    begun, break_s = truck.underway, of.lunch.duration_s if of.lunch is not None else 0
    places = [_row(of, name) if begun else 0, *(_row(of, each) for each in way), 0]
    now = leaves_s if leaves_s is not None else max(truck.shift.start_s, begun.at_s if begun else 0)
    kg, dm3 = (begun.load_kg, begun.load_dm3) if begun else (0, 0)
    lunch: Window | None = None
    visits = [Visit(VisitKind.UNDERWAY if begun else VisitKind.DEPOT_START, None, now, now, now, kg, dm3)]
    for (origin, target), each in zip(pairwise(places), (*way, None), strict=True):
        left, now = now, now + (by.duration_s[origin][target] or 0)
        if eats_s is not None and lunch is None and now > eats_s:  # on the road
            lunch = Window(max(left, eats_s), max(left, eats_s) + break_s)
            now += break_s
        there, (kind, service_s, hours) = now, _work(of, each)
        now = _opens(hours, there)
        if eats_s is not None and lunch is None and now > eats_s:  # while it waits
            lunch = Window(eats_s, eats_s + break_s)
            now = _opens(hours, lunch.end_s)
        kg, dm3 = (0, 0) if kind is VisitKind.UNLOAD else (kg + _kg(of, each), dm3 + _dm3(of, each))
        visits.append(Visit(kind, each, there, now, now + service_s, kg, dm3))
        now += service_s
    metres = sum(by.distance_m[a][b] or 0 for a, b in pairwise(places))
    return Route(name, tuple(visits), metres, visits[-1].arrival_s - visits[0].departure_s, lunch)


def _row(of: Problem, name: str) -> int:
    """Where a stop, a site or a truck under way stands in the matrices."""
    begun = [each.id for each in of.trucks if each.underway is not None]
    return ["", *(each.id for each in of.stops), *(each.id for each in of.sites), *begun].index(name)


def _work(of: Problem, name: str | None) -> tuple[VisitKind, int, tuple[Window, ...]]:
    """What is done at a stop, a site or the depot, how long and when."""
    for stop in of.stops:
        if stop.id == name:
            return VisitKind.STOP, stop.service_s, stop.windows
    for site in of.sites:
        if site.id == name:
            return VisitKind.UNLOAD, site.service_s, site.opening
    return VisitKind.DEPOT_END, 0, ()


def _kg(of: Problem, name: str | None) -> int:
    return sum(each.demand_kg for each in of.stops if each.id == name)


def _dm3(of: Problem, name: str | None) -> int:
    return sum(each.demand_dm3 for each in of.stops if each.id == name)


def _opens(hours: Sequence[Window], there_s: int) -> int:
    return min((max(there_s, hour.start_s) for hour in hours if there_s <= hour.end_s), default=there_s)


class Quiet:
    """A progress that keeps what it hears and asks to stop after `stop_after` values."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.heard: list[object] = []
        self._stop_after = stop_after

    def __call__(self, value: object) -> bool:
        self.heard.append(value)
        return self.stopped()

    def stopped(self) -> bool:
        return self._stop_after is not None and len(self.heard) >= self._stop_after


def planned(of: Problem, by: Travel | None = None, *, solutions: int = 60, progress: Quiet | None = None) -> tuple[Plan, Ended]:
    """A plan after so many solutions, judged by the verifier once more."""
    by = by or travel(of)
    plan, ended = work.planned(of, by, SystemClock(), progress or Quiet(), solutions=solutions)
    assert verifier.faults(of, by, plan) == []
    return plan, ended


def visits(plan: Plan, kind: VisitKind) -> list[Visit]:
    """All visits of a kind, truck by truck."""
    return [visit for route in plan.routes for visit in route.visits if visit.kind is kind]


def served(plan: Plan) -> list[str]:
    """The stops that are served, in order of their names."""
    return sorted(visit.id or "" for visit in visits(plan, VisitKind.STOP))


def unserved(plan: Plan) -> dict[str, str]:
    """The reason of each stop that is not served."""
    return {each.stop: each.reason.value for each in plan.unserved}
