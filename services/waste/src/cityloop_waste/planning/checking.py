"""What no city can mean: a problem is checked before anything is planned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cityloop_common.geo import WORLD, Position
from cityloop_waste.planning.domain import (
    FARTHEST_PRIZE_M,
    FARTHEST_VEHICLE_COST_M,
    FAULTS_TOLD,
    HEAVIEST_KG,
    LARGEST_DAY,
    LARGEST_DM3,
    LATEST_S,
    LONGEST_ID,
    LONGEST_SERVICE_S,
    MOST_CONTAINERS,
    MOST_EVEN_PERCENT,
    MOST_SECONDS,
    MOST_SITES,
    MOST_STOPS,
    MOST_TRUCKS,
    MOST_WINDOWS,
    Caps,
    Fault,
    InvalidProblem,
    Lunch,
    Problem,
    Round,
    Site,
    Stop,
    Truck,
    Underway,
    Window,
    told,
)


def check(problem: Problem) -> None:
    """Refuses what no city can mean. Raises InvalidProblem with every fault (the first 20) and its place."""
    faults = list(_faults(problem))
    if faults:
        raise InvalidProblem("; ".join(str(fault) for fault in faults[:FAULTS_TOLD]), faults=told(faults))


def _faults(problem: Problem) -> Iterator[Fault]:
    yield from _identifier("stream", problem.stream)
    yield from _position("depot", problem.depot)
    yield from _number("options.seconds", problem.options.seconds, 1, MOST_SECONDS)
    yield from _number("options.vehicle_cost_m", problem.options.vehicle_cost_m, 0, FARTHEST_VEHICLE_COST_M)
    yield from _number("options.overtime_m", problem.options.overtime_m, 0, FARTHEST_VEHICLE_COST_M)
    yield from _number("options.even_percent", problem.options.even_percent, 0, MOST_EVEN_PERCENT)
    yield from _listed("stops", [stop.id for stop in problem.stops], MOST_STOPS)
    yield from _listed("trucks", [truck.id for truck in problem.trucks], MOST_TRUCKS)
    yield from _listed("sites", [site.id for site in problem.sites], MOST_SITES)
    if problem.lunch is not None:
        yield from _lunch(problem.lunch)
    known = {truck.id for truck in problem.trucks}
    for number, stop in enumerate(problem.stops):
        yield from _stop(f"stops[{number}]", stop, known)
    for number, truck in enumerate(problem.trucks):
        yield from _truck(f"trucks[{number}]", truck)
    for number, site in enumerate(problem.sites):
        yield from _site(f"sites[{number}]", site)
    yield from _rounds(problem.yesterday)


def _stop(at: str, stop: Stop, known: set[str]) -> Iterator[Fault]:
    yield from _position(at, stop.position)
    yield from _number(f"{at}.demand_kg", stop.demand_kg, 0, HEAVIEST_KG)
    yield from _number(f"{at}.demand_dm3", stop.demand_dm3, 0, LARGEST_DM3)
    yield from _number(f"{at}.service_s", stop.service_s, 0, LONGEST_SERVICE_S)
    yield from _number(f"{at}.containers", stop.containers, 0, MOST_CONTAINERS)
    if stop.prize_m is not None:
        yield from _number(f"{at}.prize_m", stop.prize_m, 0, FARTHEST_PRIZE_M)
    yield from _windows(f"{at}.windows", stop.windows)
    for number, truck in enumerate(stop.trucks):
        if truck not in known:
            yield Fault(f"{at}.trucks[{number}]", f"the problem has no truck {truck[:LONGEST_ID]}")


def _truck(at: str, truck: Truck) -> Iterator[Fault]:
    yield from _number(f"{at}.capacity_kg", truck.capacity_kg, 1, HEAVIEST_KG)
    yield from _number(f"{at}.capacity_dm3", truck.capacity_dm3, 1, LARGEST_DM3)
    yield from _window(f"{at}.shift", truck.shift)
    yield from _streams(at, truck.streams)
    if truck.gross_mass_kg is not None:
        yield from _number(f"{at}.gross_mass_kg", truck.gross_mass_kg, 1, HEAVIEST_KG)
    yield from _number(f"{at}.overtime_s", truck.overtime_s, 0, LATEST_S)
    yield from _caps(f"{at}.day", truck.day)
    if truck.underway is not None:
        yield from _underway(f"{at}.underway", truck.underway, truck)


def _underway(at: str, underway: Underway, truck: Truck) -> Iterator[Fault]:
    yield from _position(f"{at}.position", underway.position)
    yield from _number(f"{at}.at_s", underway.at_s, 0, LATEST_S)
    yield from _number(f"{at}.load_kg", underway.load_kg, 0, truck.capacity_kg)
    yield from _number(f"{at}.load_dm3", underway.load_dm3, 0, truck.capacity_dm3)
    yield from _caps(f"{at}.taken", underway.taken)


def _caps(at: str, caps: Caps) -> Iterator[Fault]:
    for name, value in (("kg", caps.kg), ("dm3", caps.dm3), ("stops", caps.stops), ("containers", caps.containers)):
        if value is not None:
            yield from _number(f"{at}.{name}", value, 0, LARGEST_DAY)


def _site(at: str, site: Site) -> Iterator[Fault]:
    yield from _position(at, site.position)
    yield from _number(f"{at}.service_s", site.service_s, 0, LONGEST_SERVICE_S)
    yield from _streams(at, site.streams)
    yield from _windows(f"{at}.opening", site.opening)
    if site.day_kg is not None:
        yield from _number(f"{at}.day_kg", site.day_kg, 0, LARGEST_DAY)


def _lunch(lunch: Lunch) -> Iterator[Fault]:
    yield from _window("lunch", Window(lunch.earliest_s, lunch.latest_s))
    yield from _number("lunch.duration_s", lunch.duration_s, 1, LONGEST_SERVICE_S)


def _rounds(rounds: Sequence[Round]) -> Iterator[Fault]:
    """What the problem does not have may be named: it is passed over. A round needs a printable truck and bounded lists."""
    if len(rounds) > MOST_TRUCKS:
        yield Fault("yesterday", f"{len(rounds)} rounds, at most {MOST_TRUCKS}")
    for number, each in enumerate(rounds):
        yield from _identifier(f"yesterday[{number}].truck", each.truck)
        if len(each.stops) > MOST_STOPS:
            yield Fault(f"yesterday[{number}].stops", f"{len(each.stops)} stops, at most {MOST_STOPS}")
        for place, stop in enumerate(each.stops):
            yield from _identifier(f"yesterday[{number}].stops[{place}]", stop)


def _windows(at: str, windows: Sequence[Window]) -> Iterator[Fault]:
    if len(windows) > MOST_WINDOWS:
        yield Fault(at, f"{len(windows)} windows, at most {MOST_WINDOWS}")
    for number, window in enumerate(windows):
        yield from _window(f"{at}[{number}]", window)


def _window(at: str, window: Window) -> Iterator[Fault]:
    yield from _number(f"{at}.start_s", window.start_s, 0, LATEST_S)
    yield from _number(f"{at}.end_s", window.end_s, 0, LATEST_S)
    if window.end_s < window.start_s:
        yield Fault(at, f"it ends at {window.end_s}, before it starts at {window.start_s}")


def _position(at: str, position: Position) -> Iterator[Fault]:
    if not (math.isfinite(position.lon) and math.isfinite(position.lat)):
        yield Fault(at, "longitude and latitude are not both numbers")
    elif not WORLD.contains(position):
        swapped = "; longitude and latitude may be swapped" if WORLD.contains(Position(position.lat, position.lon)) else ""
        yield Fault(at, f"{position.lon:.10g}, {position.lat:.10g} is no WGS-84 position{swapped}")


def _number(at: str, value: object, least: int, most: int) -> Iterator[Fault]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield Fault(at, f"{value!r} is not a whole number")
    elif not least <= value <= most:
        yield Fault(at, f"{value} is not within {least}..{most}")


def _streams(at: str, streams: Sequence[str]) -> Iterator[Fault]:
    if not streams:
        yield Fault(f"{at}.streams", "it accepts no stream")


def _identifier(at: str, value: str) -> Iterator[Fault]:
    if not (value.isprintable() and 0 < len(value) <= LONGEST_ID):
        yield Fault(at, f"a text of 1 to {LONGEST_ID} printable characters is needed")


def _listed(at: str, ids: Sequence[str], most: int) -> Iterator[Fault]:
    if not 0 < len(ids) <= most:
        yield Fault(at, f"{len(ids)} of them; 1 to {most} are needed")
    first: dict[str, int] = {}
    for number, each in enumerate(ids):
        yield from _identifier(f"{at}[{number}].id", each)
        if each in first:
            yield Fault(f"{at}[{number}].id", f"{each} is also the id of {at}[{first[each]}]")
        first.setdefault(each, number)
