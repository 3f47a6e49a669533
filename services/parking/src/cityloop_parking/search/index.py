"""Places by where they are, in memory: nearest first, answers already serialised.

Two grids, 250 m and 4 km. The fine one is searched ring by ring and left as soon as no unseen place can be nearer; where
places are sparse the coarse one goes on. Positions are points on the sphere, so that the straight chord orders exactly as
the great circle does and costs three multiplications. It does not look across the 180th meridian.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from cityloop_common.geo import EARTH_RADIUS_M, Position
from cityloop_parking.availability.freshness import Freshness
from cityloop_parking.availability.outlook import Outlook
from cityloop_parking.search.domain import NEVER, Shown, class_of, continues, is_silent_at, render, silences, turned, turns

FINE_M = 250.0
COARSE_M = 4_000.0
FINE_RINGS = 10
UNCOUNTED = "uncounted"
DEGREE_M = math.radians(1) * EARTH_RADIUS_M


class Entry:
    """A place in the index with its JSON as of now; the same object through all versions at one spot."""

    __slots__ = ("_body", "_valid_until_s", "outlook", "place")

    def __init__(self, place: Shown) -> None:
        self.outlook: Outlook | None = None
        self.show(place)

    def show(self, place: Shown) -> None:
        """From now on this version."""
        self.place = place
        self._body = b""
        self._valid_until_s = -math.inf

    def body(self, now_s: float, heard_s: float) -> bytes:
        """The JSON without its closing brace; made anew only when it says something else by now."""
        if now_s > self._valid_until_s:
            rendered = render(self.place, now_s, heard_s=heard_s, outlook=self.outlook)
            self._body, self._valid_until_s = rendered.body, rendered.valid_until_s
        return self._body


_Cell = tuple[int, int]
_Spot = tuple[float, float, float, str, Entry]  # where on the sphere, whose


class _Grid:
    """Spots by square of a given height; squares are as wide as high at 40 degrees."""

    __slots__ = ("cells", "lat_step", "lon_step")

    def __init__(self, size_m: float) -> None:
        self.lat_step = size_m / DEGREE_M
        self.lon_step = self.lat_step / math.cos(math.radians(40))
        self.cells: dict[_Cell, list[_Spot]] = {}

    def cell(self, lon: float, lat: float) -> _Cell:
        return math.floor(lon / self.lon_step), math.floor(lat / self.lat_step)

    def ring_m(self, lat: float) -> float:
        """How far one more ring reaches at least."""
        return DEGREE_M * min(self.lat_step, self.lon_step * math.cos(math.radians(min(89.9, abs(lat) + 1))))

    def put(self, entry: Entry) -> None:
        place = entry.place
        spot = (*_on_sphere(place.lon, place.lat), place.id, entry)
        self.cells.setdefault(self.cell(place.lon, place.lat), []).append(spot)

    def drop(self, entry: Entry) -> None:
        cell = self.cell(entry.place.lon, entry.place.lat)
        left = [spot for spot in self.cells[cell] if spot[4] is not entry]
        if left:
            self.cells[cell] = left
        else:
            del self.cells[cell]


class _Turns:
    """Places by the seconds in which the clock alone changes something of them: a look costs what lies in its seconds.

    What is past stays until the place is another: a client that comes back asks for it.
    """

    __slots__ = ("_at", "_of")

    def __init__(self, of: Callable[[Shown], Iterable[float]]) -> None:
        self._of = of
        self._at: dict[int, dict[str, None]] = {}

    def put(self, place: Shown) -> None:
        for turn in self._of(place):
            self._at.setdefault(math.floor(turn), {})[place.id] = None

    def drop(self, place: Shown) -> None:
        for turn in self._of(place):
            at = self._at.get(math.floor(turn), {})
            at.pop(place.id, None)
            if not at:
                self._at.pop(math.floor(turn), None)

    def between(self, since_s: float, now_s: float) -> list[str]:
        """Each place that may have turned, once."""
        seconds: Iterable[int] = range(math.floor(since_s), math.floor(now_s) + 1)
        if now_s - since_s > len(self._at):
            first, last = math.floor(since_s), math.floor(now_s)
            seconds = sorted(second for second in self._at if first <= second <= last)
        return list(dict.fromkeys(place_id for second in seconds for place_id in self._at.get(second, ())))


@dataclass(frozen=True, slots=True)
class Near:
    """A question: the nearest places around a point."""

    at: Position
    radius_m: float
    limit: int


class SearchIndex:
    """Every place of the city, nearest first."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._fine = _Grid(FINE_M)
        self._coarse = _Grid(COARSE_M)
        self._turns = _Turns(turns)
        self._silences = _Turns(silences)
        self.heard_s = NEVER
        self.revision = 0  # counts what became otherwise

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, place_id: str) -> Shown | None:
        """A place as it is known."""
        entry = self._entries.get(place_id)
        return None if entry is None else entry.place

    def entry(self, place_id: str) -> Entry | None:
        """A place with its JSON."""
        return self._entries.get(place_id)

    def silent(self, now_s: float) -> list[Shown]:
        """Places of which a forecast says more than their counts do."""
        return [entry.place for entry in self._entries.values() if is_silent_at(entry.place, now_s)]

    def fallen_silent(self, since_s: float, now_s: float) -> list[Shown]:
        """Those that have become so between two instants, by the clock alone."""
        found = [self._entries[place_id].place for place_id in self._silences.between(since_s, now_s)]
        return [place for place in found if is_silent_at(place, now_s)]

    def foresee(self, place_id: str, outlook: Outlook | None) -> bool:
        """What is expected of a place now; False when the same numbers are shown of it already, or the place is not known."""
        entry = self._entries.get(place_id)
        if entry is None or entry.outlook == outlook:
            return False
        before, entry.outlook = entry.outlook, outlook
        entry.show(entry.place)
        self.revision += 1
        return before is None or outlook is None or not continues(before, outlook)

    def version(self, place_id: str) -> int:
        """The version that is known of a place; 0 when it is not."""
        entry = self._entries.get(place_id)
        return 0 if entry is None else entry.place.version

    def put(self, place: Shown) -> Entry | None:
        """Takes a newer version of a place; None when it is not newer."""
        entry = self._entries.get(place.id)
        if entry is not None:
            if entry.place.version >= place.version:
                return None
            self._turns.drop(entry.place)
            self._silences.drop(entry.place)
            if (entry.place.lon, entry.place.lat) == (place.lon, place.lat):
                entry.show(place)
                self._note(place)
                return entry
            self._fine.drop(entry)
            self._coarse.drop(entry)
        entry = Entry(place)
        self._entries[place.id] = entry
        self._fine.put(entry)
        self._coarse.put(entry)
        self._note(place)
        return entry

    def _note(self, place: Shown) -> None:
        self.revision += 1
        self._turns.put(place)
        self._silences.put(place)

    def hear(self, heard_s: float) -> None:
        """Charging said something at that time: what is shown of chargers is as fresh as that."""
        if heard_s > self.heard_s:
            self.heard_s = heard_s
            self.revision += 1
            for entry in self._entries.values():
                if entry.place.charging is not None:
                    entry.show(entry.place)

    def classes(self, now_s: float) -> Counter[str]:
        """How many places are shown live, late, forecast, unknown or closed. Open ones without any count (no counter) are `uncounted`."""
        found: Counter[str] = Counter()
        for entry in self._entries.values():
            shown_as = class_of(entry.place, now_s, entry.outlook)
            found[UNCOUNTED if shown_as is Freshness.UNKNOWN and not entry.place.counts else shown_as.value] += 1
        return found

    def written_since(self, version: int) -> list[Shown]:
        """Places whose entries were written at a microsecond or later: a version begins there."""
        return [entry.place for entry in self._entries.values() if entry.place.version >= version]

    def with_chargers(self) -> list[Shown]:
        """Places where a charger is known."""
        return [entry.place for entry in self._entries.values() if entry.place.charging is not None]

    def turned(self, since_s: float, now_s: float) -> list[Shown]:
        """Places of which something else is shown at `now_s` than at `since_s`, by the clock alone: counts' classes, windows."""
        found = [self._entries[place_id].place for place_id in self._turns.between(since_s, now_s)]
        return [place for place in found if turned(place, since_s, now_s)]

    def in_order(self) -> list[Entry]:
        """Every place by its id."""
        return [self._entries[place_id] for place_id in sorted(self._entries)]

    def nearest(self, ask: Near) -> list[tuple[int, Entry]]:
        """Places within the radius with their distance in metres, nearest first, ids deciding between equals."""
        reach = (2 * math.sin(min(ask.radius_m / (2 * EARTH_RADIUS_M), math.pi / 2))) ** 2
        found = _search(self._fine, ask, reach, rings=FINE_RINGS)
        if found is None:
            found = _search(self._coarse, ask, reach, rings=None)
        assert found is not None
        twice = 2 * EARTH_RADIUS_M
        return [(round(twice * math.asin(math.sqrt(chord) / 2)), entry) for chord, _, entry in found[: ask.limit]]

    def answer(self, ask: Near, now_s: float) -> bytes:
        """The JSON list of the nearest places."""
        heard_s, found = self.heard_s, self.nearest(ask)
        return b"[" + b",".join([b'%b,"distance_m":%d}' % (entry.body(now_s, heard_s), metres) for metres, entry in found]) + b"]"


_Found = list[tuple[float, str, Entry]]  # squared chord on the unit sphere, id, whose


def _search(grid: _Grid, ask: Near, reach: float, *, rings: int | None) -> _Found | None:
    """What lies within the radius, nearest first, as far as the nearest `limit` need; None when `rings` did not suffice to tell."""
    x, y, z = _on_sphere(ask.at.lon, ask.at.lat)
    ring_m = grid.ring_m(ask.at.lat)
    last = math.ceil(ask.radius_m / ring_m)
    column, row = grid.cell(ask.at.lon, ask.at.lat)
    get, limit = grid.cells.get, ask.limit
    found: _Found = []
    for ring in range(last + 1 if rings is None else min(rings, last) + 1):
        for right, up in _ring(ring):
            for spot_x, spot_y, spot_z, place_id, entry in get((column + right, row + up), ()):
                dx, dy, dz = spot_x - x, spot_y - y, spot_z - z
                chord = dx * dx + dy * dy + dz * dz
                if chord <= reach:
                    found.append((chord, place_id, entry))
        if len(found) >= limit:
            found.sort()
            if found[limit - 1][0] <= (ring * ring_m / EARTH_RADIUS_M) ** 2 * 0.999:  # the chord is a little shorter than the arc
                return found
    found.sort()
    return found if rings is None or last <= rings else None


@lru_cache(maxsize=256)
def _ring(ring: int) -> tuple[_Cell, ...]:
    """The steps to the squares that are exactly `ring` away."""
    if ring == 0:
        return ((0, 0),)
    rows = [(step, side) for step in range(-ring, ring + 1) for side in (-ring, ring)]
    columns = [(side, step) for step in range(-ring + 1, ring) for side in (-ring, ring)]
    return tuple(rows + columns)


def _on_sphere(lon: float, lat: float) -> tuple[float, float, float]:
    """The point on the unit sphere."""
    turn, height = math.radians(lon), math.radians(lat)
    return math.cos(height) * math.cos(turn), math.cos(height) * math.sin(turn), math.sin(height)
