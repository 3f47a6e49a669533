"""A day of Kim's files as a problem of the planner: the same rules in whole numbers, none of them looser than the file's.

Seconds are rounded up, so that what is planned is in time; feet are rounded down and stand for the metres, so that a bound on the
planner's way is one on the file's. Parts of a yd3 stand for dm3; kg mean nothing. Positions keep the shape of the map, not its place.
"""

from __future__ import annotations

import math
from dataclasses import replace

from cityloop_common.geo import Position
from cityloop_waste.planning.domain import Caps, Lunch, Options, Problem, Site, Stop, Truck, Window
from cityloop_waste.planning.kim2006 import LUNCH_FROM_S, LUNCH_UNTIL_S, Kim2006, Place
from cityloop_waste.roads.domain import Travel, TravelSource

STREAM = "file"
_FEET_A_DEGREE = 1_000_000
_NO_KG = 1


def problem(day: Kim2006, *, trucks: int, vehicle_cost_m: int) -> Problem:
    """So many equal trucks for all stops; a stop's and a site's id is its number in the file."""
    depot = Window(day.depot.earliest_s, day.depot.latest_s)
    return Problem(
        stream=STREAM,
        depot=_position(day, day.depot),
        stops=tuple(_stop(day, place) for place in day.stops),
        trucks=tuple(_truck(day, number, depot) for number in range(1, trucks + 1)),
        sites=tuple(Site(str(place.id), _position(day, place), (STREAM,), place.service_s, _hours(day, place)) for place in day.sites),
        options=Options(vehicle_cost_m=vehicle_cost_m),
        lunch=Lunch(LUNCH_FROM_S, LUNCH_UNTIL_S, day.lunch_s) if day.lunch_s else None,
    )


def with_trucks(given: Problem, count: int, *, vehicle_cost_m: int) -> Problem:
    """The problem with the first `count` of its trucks, each at this cost."""
    return replace(given, trucks=given.trucks[:count], options=replace(given.options, vehicle_cost_m=vehicle_cost_m))


def travel(day: Kim2006) -> Travel:
    """Feet, rounded down, and seconds, rounded up, between all places in the order of the problem's rows."""
    places = (day.depot, *day.stops, *day.sites)
    feet = [[0] * len(places) for _ in places]
    seconds = [[0] * len(places) for _ in places]
    for row, a in enumerate(places):
        for column in range(row):
            way = day.feet(a, places[column])
            feet[row][column] = feet[column][row] = math.floor(way)
            seconds[row][column] = seconds[column][row] = math.ceil(day.seconds(way) - 1e-9)  # a whole second may be a hair more
    return Travel(tuple(map(tuple, feet)), tuple(map(tuple, seconds)), TravelSource.GIVEN)


def fewest_trucks(day: Kim2006, given: Travel) -> int:
    """Trucks without which the day's caps, or its hours, are too few: each stop takes its service and the shortest way on from it."""
    volume = sum(stop.volume for stop in day.stops)
    rows = given.duration_s[1 : 1 + len(day.stops)]
    ways_on_s = (min(leg for column, leg in enumerate(row) if column != stop and leg is not None) for stop, row in enumerate(rows, 1))
    unloads_s = -(-volume // day.truck_volume) * min(site.service_s for site in day.sites)
    hours_s = max(1, day.depot.latest_s - day.depot.earliest_s)
    work_s = sum(stop.service_s for stop in day.stops) + sum(ways_on_s) + unloads_s
    return max(1, -(-volume // day.day_volume), -(-len(day.stops) // day.day_stops), -(-work_s // hours_s))


def _truck(day: Kim2006, number: int, depot: Window) -> Truck:
    caps = Caps(dm3=day.day_volume, stops=day.day_stops if day.day_stops < len(day.stops) else None)
    return Truck(f"T{number:02}", _NO_KG, day.truck_volume, depot, (STREAM,), day=caps)


def _stop(day: Kim2006, place: Place) -> Stop:
    return Stop(str(place.id), _position(day, place), 0, place.volume, place.service_s, _hours(day, place))


def _hours(day: Kim2006, place: Place) -> tuple[Window, ...]:
    """When a service may begin; none where it may at any time that a truck is out."""
    always = place.earliest_s <= day.depot.earliest_s and place.latest_s >= day.depot.latest_s
    return () if always else (Window(place.earliest_s, place.latest_s),)


def _position(day: Kim2006, place: Place) -> Position:
    return Position((place.x_ft - day.depot.x_ft) / _FEET_A_DEGREE, (place.y_ft - day.depot.y_ft) / _FEET_A_DEGREE)
