"""The waste collection instances of Kim, Kim and Sahoo (2006): windows, unloads on the way, day caps, a lunch.

A file has five header lines whose first word counts (truck volume and volume of a truck and day in yd3, stops of a truck and day,
lunch in seconds, speed in mph), a line that names the columns, then rows `id x y early late service load type`: feet, HHMM, seconds,
yd3, type 0 = depot, 1 = stop, 2 = unload site. Distances are Manhattan; a cost is in miles of 5,280 ft.

Rules, as the authors' page has them: one depot, equal trucks that leave and return empty (so an unload is the last visit); an unload
as often as needed at any site; volume of a trip, volume and stops of a day; services of stops and sites begin within their windows,
a truck is out within the depot's; who is not back at 12:00 has a lunch that starts between 11:00 and 12:00, on the road or on arrival.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from cityloop_waste.planning.instances import MOST_PLACES, FilePlan, Spot, SpotKind, at, missing_or_double, numbered, real, shown, whole

FEET_A_MILE = 5280
LUNCH_FROM_S, LUNCH_UNTIL_S = 11 * 3600, 12 * 3600
TOLERANCE_S = 1.0
"""A plan made in whole seconds may be so much late."""
_COST_TOLERANCE = 0.006  # miles: printed results have two decimals
_HEADER = ("the truck's volume", "the volume of a truck and day", "the stops of a truck and day", "the lunch", "the speed")
_FIELDS = 8
_VOLUME = re.compile(r"(\d{1,7})(?:\.(\d{1,9}))?", re.ASCII)
_CLOCK = re.compile(r"\d{1,4}", re.ASCII)
_TYPES = {"0": SpotKind.DEPOT, "1": SpotKind.STOP, "2": SpotKind.SITE}
_LONGEST_S = 86_400
_FASTEST_MPH = 200
_FINEST = 3  # decimals of a volume


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the file; `volume` counts in parts of a yd3, of a stop only."""

    id: int
    kind: SpotKind
    x_ft: float
    y_ft: float
    earliest_s: int
    latest_s: int
    service_s: int
    volume: int = 0


@dataclass(frozen=True, slots=True)
class Kim2006:
    """A day of a file. Volumes are whole numbers of which `parts` make a yd3: ten, as the files have at most one decimal, or more."""

    parts: int
    truck_volume: int
    day_volume: int
    day_stops: int
    lunch_s: int
    speed_mph: float
    depot: Place
    stops: tuple[Place, ...]
    sites: tuple[Place, ...]
    by_id: dict[int, Place] = field(repr=False)

    @property
    def name(self) -> str:
        """These files do not name themselves."""
        return ""

    @property
    def unit(self) -> str:
        """See Instance."""
        return "miles"

    def feet(self, a: Place, b: Place) -> float:
        """The way from one place to the other."""
        return abs(a.x_ft - b.x_ft) + abs(a.y_ft - b.y_ft)

    def seconds(self, feet: float) -> float:
        """The time that a way takes."""
        return feet / FEET_A_MILE * 3600 / self.speed_mph

    def cost(self, routes: Sequence[Sequence[int]]) -> float:
        """The miles of the routes."""
        feet = sum(self.feet(a, b) for route in routes if route for a, b in pairwise(self._calls(route)))
        return feet / FEET_A_MILE

    def faults(self, plan: FilePlan) -> list[str]:
        """Every broken rule, counted from the file with fractions of feet and seconds, whoever made the plan."""
        unknown = sorted({place for route in plan.routes for place in route} - self.by_id.keys())
        if unknown:
            return [f"{place} is not in the file" for place in unknown]
        if any(self.depot.id in route for route in plan.routes):
            return [f"{self.depot.id} is the depot: routes name what lies between"]
        found = missing_or_double("stop", [stop.id for stop in self.stops], plan)
        for number, route in enumerate(plan.routes, 1):
            if route:
                calls = self._calls(route)[1:-1]
                found += [f"route {number} {fault}" for fault in (*self._loads(calls), *self._day(calls), *_clock(self, calls))]
        total = self.cost(plan.routes)
        if plan.cost is not None and abs(plan.cost - total) > _COST_TOLERANCE:
            found.append(f"the cost is told as {plan.cost:.10g}, it is {total:.2f}")
        return found

    def spots(self) -> tuple[Spot, ...]:
        """See Instance."""
        return tuple(Spot(place.id, place.kind, place.x_ft, place.y_ft) for place in (self.depot, *self.stops, *self.sites))

    def _calls(self, route: Sequence[int]) -> list[Place]:
        return [self.depot, *(self.by_id[place] for place in route), self.depot]

    def _loads(self, calls: Sequence[Place]) -> Iterator[str]:
        """What of a route breaks the truck's volume, or leaves something on it."""
        load, told = 0, False
        for place in calls:
            load = 0 if place.kind is SpotKind.SITE else load + place.volume
            told = told and load > 0
            if load > self.truck_volume and not told:
                told = True  # once a trip
                yield f"carries {self._yd3(load)} yd3 after stop {place.id}, {self._yd3(self.truck_volume)} allowed"
        if calls[-1].kind is not SpotKind.SITE:
            yield f"returns without an unload after stop {calls[-1].id}"

    def _day(self, calls: Sequence[Place]) -> Iterator[str]:
        """What of a route breaks a cap of the day."""
        volume = sum(place.volume for place in calls)
        if volume > self.day_volume:
            yield f"takes {self._yd3(volume)} yd3 in the day, {self._yd3(self.day_volume)} allowed"
        stops = sum(1 for place in calls if place.kind is SpotKind.STOP)
        if stops > self.day_stops:
            yield f"has {stops} stops in the day, {self.day_stops} allowed"

    def _yd3(self, volume: int) -> str:
        return f"{Decimal(volume) / self.parts:f}"


@dataclass(frozen=True, slots=True)
class _At:
    """The earliest times at which a truck can be somewhere: with its lunch still to come, and after it. None: it cannot."""

    hungry: float | None
    fed: float | None

    def onward(self, leg_s: float, lunch_s: int) -> _At:
        """After a leg. Lunch may start on it or on arrival, by 12:00."""
        fed = [self.fed + leg_s] if self.fed is not None else []
        if self.hungry is not None and self.hungry <= LUNCH_UNTIL_S + TOLERANCE_S:
            fed.append(max(self.hungry + leg_s, LUNCH_FROM_S) + lunch_s)
        return _At(None if self.hungry is None else self.hungry + leg_s, min(fed, default=None))

    def begun(self, place: Place) -> _At:
        """When a service begins: what comes after its window falls away."""
        return _At(_begun(self.hungry, place), _begun(self.fed, place))

    def served(self, place: Place) -> _At:
        """When it is over."""
        hungry, fed = self.hungry, self.fed
        return _At(None if hungry is None else hungry + place.service_s, None if fed is None else fed + place.service_s)


def _begun(at_s: float | None, place: Place) -> float | None:
    if at_s is None or at_s > place.latest_s + TOLERANCE_S:
        return None
    return max(at_s, place.earliest_s)


def _clock(day: Kim2006, calls: Sequence[Place]) -> Iterator[str]:
    """The first place of a route that no clock can keep, with the lunch wherever it costs least.

    To start as early as possible loses nothing: no later start opens a window. So two times a place are enough.
    """
    opens, closes = day.depot.earliest_s, day.depot.latest_s
    here = _At(opens, None) if day.lunch_s else _At(None, opens)
    alone, before = float(opens), day.depot  # the clock of who needs no lunch
    for place in calls:
        leg_s = day.seconds(day.feet(before, place))
        arrived, alone = here.onward(leg_s, day.lunch_s), max(alone + leg_s, place.earliest_s)
        begun = arrived.begun(place)
        if begun.hungry is None and begun.fed is None:
            if alone > place.latest_s + TOLERANCE_S:
                yield f"cannot begin at {place.id} before {_hms(alone)}, its window ends at {_hms(place.latest_s)}"
            else:
                times = [each for each in (arrived.hungry, arrived.fed) if each is not None]
                why = f"it begins at {_hms(max(min(times), place.earliest_s))}" if times else "none can start by 12:00"
                yield f"has no time for lunch before {place.id}: {why}, the window ends at {_hms(place.latest_s)}"
            return
        here, alone, before = begun.served(place), alone + place.service_s, place
    leg_s = day.seconds(day.feet(before, day.depot))
    alone += leg_s
    back = here.onward(leg_s, day.lunch_s)
    in_time = back.fed is not None and back.fed <= closes + TOLERANCE_S
    if in_time or (back.hungry is not None and back.hungry <= min(closes, LUNCH_UNTIL_S) + TOLERANCE_S):
        return
    if alone > closes + TOLERANCE_S:
        yield f"is back at {_hms(alone)}, the depot closes at {_hms(closes)}"
    elif back.fed is None:
        yield f"has no lunch: none can start between 11:00 and 12:00, and it is back at {_hms(alone)}"
    else:
        yield f"has no time for lunch: with it the truck is back at {_hms(back.fed)}, the depot closes at {_hms(closes)}"


def _hms(at_s: float) -> str:
    seconds = round(at_s)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def read(text: str) -> Kim2006:
    """A file. Raises UnreadableInstance with the line where it stops making sense.

    Leading zeros of HHMM may be missing, minutes beyond 59 count as 59 (a file says 1675), and 2400 is the day's end.
    """
    lines = list(numbered(text))
    head = [(number, line.split()[0]) for number, line in lines[: len(_HEADER)]]
    for (number, word), what in zip(head, _HEADER, strict=False):
        if real(number, word, what) < 0:
            raise at(number, f"{what} is {word}")
    if len(lines) <= len(_HEADER):
        raise at(lines[-1][0] if lines else 0, f"the file ends before its rows: {len(_HEADER)} header lines and one of columns are needed")
    if re.match(r"[-+.\d]", lines[len(_HEADER)][1]):
        raise at(lines[len(_HEADER)][0], "a row where the line that names the columns is expected")
    rows = [(number, line.split()) for number, line in lines[len(_HEADER) + 1 :]]
    for number, words in rows:
        if len(words) != _FIELDS:
            raise at(number, f"{len(words)} fields, a row has {_FIELDS}: id x y early late service load type")
    if len(rows) > MOST_PLACES:
        raise at(rows[MOST_PLACES][0], f"more than {MOST_PLACES} rows are not read")
    volumes = [(number, word, what) for (number, word), what in zip(head[:2], _HEADER, strict=False)]
    volumes += [(number, words[6], "the load") for number, words in rows]
    parts = 10 ** max(1, *(_decimals(*each) for each in volumes))
    return _assembled(head, _places(rows, parts), parts, last=lines[-1][0])


def _assembled(head: Sequence[tuple[int, str]], places: Sequence[Place], parts: int, *, last: int) -> Kim2006:
    kinds = Counter(place.kind for place in places)
    for kind, what in (
        (SpotKind.DEPOT, "a depot (type 0)"),
        (SpotKind.SITE, "an unload site (type 2)"),
        (SpotKind.STOP, "a stop (type 1)"),
    ):
        if not kinds[kind]:
            raise at(last, f"the file ends before the row of {what}")
    (capacity_line, capacity), (day_line, day), stops, lunch, (speed_line, speed) = head
    if real(speed_line, speed, _HEADER[4]) == 0 or float(speed) > _FASTEST_MPH:
        raise at(speed_line, f"{_HEADER[4]} is {speed} mph")
    return Kim2006(
        parts=parts,
        truck_volume=_least_one(capacity_line, _HEADER[0], _volume(capacity, parts)),
        day_volume=_least_one(day_line, _HEADER[1], _volume(day, parts)),
        day_stops=_least_one(stops[0], _HEADER[2], whole(*stops, _HEADER[2])),
        lunch_s=_seconds(*lunch, _HEADER[3]),
        speed_mph=float(speed),
        depot=next(place for place in places if place.kind is SpotKind.DEPOT),
        stops=tuple(place for place in places if place.kind is SpotKind.STOP),
        sites=tuple(place for place in places if place.kind is SpotKind.SITE),
        by_id={place.id: place for place in places},
    )


def _places(rows: Sequence[tuple[int, Sequence[str]]], parts: int) -> list[Place]:
    first: dict[int, int] = {}
    places: list[Place] = []
    for number, words in rows:
        place = _place(number, words, parts)
        if place.id in first:
            raise at(number, f"the id {place.id} comes twice, first in line {first[place.id]}")
        first[place.id] = number
        if place.kind is SpotKind.DEPOT and any(other.kind is SpotKind.DEPOT for other in places):
            raise at(number, "a second depot, only one is read")
        places.append(place)
    return places


def _place(number: int, words: Sequence[str], parts: int) -> Place:
    if (kind := _TYPES.get(words[7])) is None:
        raise at(number, f"the type is {shown(words[7])}: 0 (depot), 1 (stop) or 2 (unload site)")
    identity = whole(number, words[0], "the id")
    early, late = _day_time(number, words[3], "the window's begin"), _day_time(number, words[4], "the window's end")
    if late < early:
        raise at(number, f"the window ends at {words[4]}, before it begins at {words[3]}")
    service_s = _seconds(number, words[5], "the service")
    if kind is SpotKind.DEPOT and service_s:
        raise at(number, f"a service of {service_s} s at the depot is not read")
    volume = _volume(words[6], parts) if kind is SpotKind.STOP else 0  # of depot and sites the files say 9999
    x_ft, y_ft = real(number, words[1], "x"), real(number, words[2], "y")
    return Place(identity, kind, x_ft, y_ft, early, late, service_s, volume)


def _day_time(number: int, word: str, what: str) -> int:
    if not _CLOCK.fullmatch(word) or int(word) > 2400:
        raise at(number, f"{what} is {shown(word)}, not HHMM from 0000 to 2400")
    return int(word) // 100 * 3600 + min(59, int(word) % 100) * 60


def _seconds(number: int, word: str, what: str) -> int:
    seconds = whole(number, word, what)
    if not 0 <= seconds <= _LONGEST_S // 2:
        raise at(number, f"{what} is {seconds} s")
    return seconds


def _decimals(number: int, word: str, what: str) -> int:
    """Decimals that a volume has, zeros at its end aside."""
    matched = _VOLUME.fullmatch(word)
    if matched is None or len(decimals := (matched[2] or "").rstrip("0")) > _FINEST:
        raise at(number, f"{what} is {shown(word)}, not a number of yd3 with at most {_FINEST} decimals")
    return len(decimals)


def _volume(word: str, parts: int) -> int:
    return int(Decimal(word) * parts)


def _least_one(number: int, what: str, value: int) -> int:
    if value < 1:
        raise at(number, f"{what} is nothing")
    return value
