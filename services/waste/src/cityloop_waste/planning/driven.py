"""An engine's routes as a plan: every unload written out at a site that is open and has room, every visit with its clock and load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cityloop_waste.planning.admission import DEPOT, Day, out_of
from cityloop_waste.planning.domain import Minimise, Plan, Route, Truck, Unserved, Visit, VisitKind


@dataclass(slots=True)
class _Way:
    """A truck's rows, all its unloads among them."""

    truck: Truck
    rows: list[int]


@dataclass(frozen=True, slots=True)
class _Unload:
    """What is tipped where: the visit number `at` of a way."""

    way: _Way
    at: int
    site: int
    kg: int


def plan(day: Day, routes: Sequence[Sequence[int]]) -> Plan:
    """Routes of rows, one a truck of the day and without its last unload, as a plan.

    Raises ValueError for a route that cannot be driven in time.
    """
    ways = [_whole(day, truck, rows) for truck, rows in zip(day.trucks, routes, strict=True)]
    _settle(day, ways)
    driven = [_route(day, way) for way in ways]
    served = {row for way in ways for row in way.rows}
    left = {day.stop(row).id: out_of(day.stop(row)) for row in day.stops if row not in served}
    reasons = {each.stop: each.reason for each in day.unserved} | left
    unserved = tuple(Unserved(stop.id, reasons[stop.id]) for stop in day.problem.stops if stop.id in reasons)
    return Plan(tuple(route for route in driven if route is not None), unserved)


def way(day: Day, plan: Plan) -> int:
    """What the ways of a plan cost: metres, or seconds on the road."""
    if day.problem.options.minimise is Minimise.DISTANCE:
        return plan.distance_m
    rows = {day.stop(row).id: row for row in day.stops}
    sites = {day.site(row).id: row for row in day.sites}
    begins = {truck.id: day.begin(truck) for truck in day.trucks}
    total = 0
    for route in plan.routes:
        inner = [rows[visit.id or ""] if visit.kind is VisitKind.STOP else sites[visit.id or ""] for visit in route.visits[1:-1]]
        total += sum(day.cost(a, b) or 0 for a, b in pairwise((begins[route.truck], *inner, DEPOT)))
    return total


def _whole(day: Day, truck: Truck, rows: Sequence[int]) -> _Way:
    """The rows with the last unload that the model has folded into the way home: the best of those that can be driven in time."""
    begin = day.begin(truck)
    loaded = truck.underway is not None and bool(truck.underway.load_kg or truck.underway.load_dm3)
    last = rows[-1] if rows else begin
    if day.is_site(last) or not (rows or loaded):
        return _Way(truck, list(rows))
    sites = sorted(day.sites, key=lambda site: (_detour(day, last, site, DEPOT), site))
    for site in sites:
        if day.drive(truck, [*rows, site]) is not None:
            return _Way(truck, [*rows, site])
    raise ValueError(f"{truck.id} cannot drive its route in its shift")


def _settle(day: Day, ways: Sequence[_Way]) -> None:
    """Moves unloads from sites that take no more today to others, where they cost least; what nobody takes is left out."""
    limits = {row: most for row in day.sites if (most := day.site(row).day_kg) is not None}
    while limits:
        unloads = [each for way in ways for each in _unloads(day, way)]
        taken = dict.fromkeys(day.sites, 0)
        for each in unloads:
            taken[each.site] += each.kg
        over = next((site for site in limits if taken[site] > limits[site]), None)
        if over is None:
            return
        here = [each for each in unloads if each.site == over and each.kg]
        room = {site: limits[site] - taken[site] if site in limits else None for site in day.sites if site != over}
        moves = [move for each in here for move in _moves(day, each, room)]
        if moves:
            _, each, site = min(moves, key=lambda move: (move[0], move[1].way.truck.id, move[1].at, move[2]))
            each.way.rows[each.at] = site
        else:
            _drop(day, here, taken[over] - limits[over])


def _unloads(day: Day, way: _Way) -> Iterator[_Unload]:
    kg = way.truck.underway.load_kg if way.truck.underway else 0
    for at, row in enumerate(way.rows):
        if day.is_site(row):
            yield _Unload(way, at, row, kg)
            kg = 0
        else:
            kg += day.stop(row).demand_kg


def _moves(day: Day, unload: _Unload, room: dict[int, int | None]) -> Iterator[tuple[int, _Unload, int]]:
    """Other sites for an unload, with what each adds to the way."""
    rows, at = unload.way.rows, unload.at
    before = rows[at - 1] if at else day.begin(unload.way.truck)
    after = rows[at + 1] if at + 1 < len(rows) else DEPOT
    for site, free in room.items():
        moved = [*rows[:at], site, *rows[at + 1 :]]
        if (free is None or free >= unload.kg) and day.drive(unload.way.truck, moved) is not None:
            yield _detour(day, before, site, after) - _detour(day, before, unload.site, after), unload, site


def _drop(day: Day, unloads: Sequence[_Unload], excess_kg: int) -> None:
    """Leaves out the stop that just frees the excess, else the heaviest; a load that was on board already cannot be left out."""
    stops = [(day.stop(row).demand_kg, row, each.way) for each in unloads for row in _trip(day, each) if day.stop(row).demand_kg]
    if not stops:
        raise ValueError("the loads that are on board already are more than the sites take today")
    enough = [each for each in stops if each[0] >= excess_kg]
    _, row, way = min(enough) if enough else max(stops, key=lambda each: each[:2])
    way.rows.remove(row)
    _tidy(day, way)


def _trip(day: Day, unload: _Unload) -> Iterator[int]:
    for row in reversed(unload.way.rows[: unload.at]):
        if day.is_site(row):
            return
        yield row


def _tidy(day: Day, way: _Way) -> None:
    """Drops unloads with nothing before them."""
    kept: list[int] = []
    loaded = way.truck.underway is not None and bool(way.truck.underway.load_kg or way.truck.underway.load_dm3)
    for row in way.rows:
        if not day.is_site(row):
            loaded = True
        elif not loaded:
            continue
        else:
            loaded = False
        kept.append(row)
    way.rows[:] = kept


def _route(day: Day, way: _Way) -> Route | None:
    """A truck's day; None when it stays at the depot."""
    truck, on_board = way.truck, way.truck.underway
    if not way.rows and on_board is None:
        return None
    tour = day.drive(truck, way.rows)
    if tour is None:
        raise ValueError(f"{truck.id} cannot drive its route in its shift")
    places = (day.begin(truck), *way.rows, DEPOT)
    visits: list[Visit] = []
    kg, dm3 = (on_board.load_kg, on_board.load_dm3) if on_board else (0, 0)
    for number, (row, at) in enumerate(zip(places, tour.times, strict=True)):
        kind, name = _named(day, row, number, len(places))
        if kind is VisitKind.STOP:
            kg, dm3 = kg + day.stop(row).demand_kg, dm3 + day.stop(row).demand_dm3
        elif kind is VisitKind.UNLOAD:
            kg = dm3 = 0
        visits.append(Visit(kind, name, at.arrival_s, at.start_s, at.departure_s, kg, dm3))
    distance = sum(day.travel.distance_m[a][b] or 0 for a, b in pairwise(places))
    return Route(truck.id, tuple(visits), distance, visits[-1].arrival_s - visits[0].departure_s, tour.lunch)


def _named(day: Day, row: int, number: int, visits: int) -> tuple[VisitKind, str | None]:
    if number == 0:
        return (VisitKind.UNDERWAY if row else VisitKind.DEPOT_START), None
    if number == visits - 1:
        return VisitKind.DEPOT_END, None
    return (VisitKind.STOP, day.stop(row).id) if day.is_stop(row) else (VisitKind.UNLOAD, day.site(row).id)


def _detour(day: Day, before: int, site: int, after: int) -> int:
    """What the way over a site costs; more than any way where no road leads."""
    there, back = day.cost(before, site), day.cost(site, after)
    return 10**12 if there is None or back is None else there + back
