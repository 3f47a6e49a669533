"""What the invented city is made of, and the plane in metres that it is drawn on.

Only arithmetic and square roots: the same city to the last digit on every machine and Python.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from cityloop_common.geo import Position

CENTRE = Position(109.787, 39.565)
METRES_A_DEGREE_LON = 85_720.6  # at the centre's latitude, on the sphere of geo.distance_m
METRES_A_DEGREE_LAT = 111_195.1
MARK, MARK_EN = "（虚构）", " (invented)"


class SpotKind(StrEnum):
    """What a spot is to the three services."""

    CAR_PARK = "car_park"
    STATION = "station"
    COLLECTION = "collection"
    DEPOT = "depot"
    RECYCLER = "recycler"
    BIOGAS = "biogas"
    INCINERATOR = "incinerator"
    LANDFILL = "landfill"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class Street:
    """A piece of a street from crossing to crossing; a one-way piece is driven in the direction of its line.

    Pieces that meet share a vertex exactly. `max_mass_kg`: heavier vehicles may not enter; None: everybody may.
    """

    id: str
    name: str
    name_en: str
    line: tuple[Position, ...]
    oneway: bool
    speed_kmh: int
    max_mass_kg: int | None


@dataclass(frozen=True, slots=True)
class Spot:
    """A place with a name; `number` counts within its kind, `street` is the id of the street it stands at.

    `kerbside`: parking along the street itself. `car_park`: number of the car park that a charging station stands in.
    """

    number: int
    kind: SpotKind
    name: str
    name_en: str
    position: Position
    street: str
    kerbside: bool = False
    car_park: int | None = None


class Metres(NamedTuple):
    """A point of the plane: metres east and north of the centre."""

    x: float
    y: float


def position(at: Metres) -> Position:
    """The WGS-84 position of a point, to 6 decimals (0.1 m)."""
    return Position(round(CENTRE.lon + at.x / METRES_A_DEGREE_LON, 6), round(CENTRE.lat + at.y / METRES_A_DEGREE_LAT, 6))


def metres(at: Position) -> Metres:
    """The point of the plane that a position is."""
    return Metres((at.lon - CENTRE.lon) * METRES_A_DEGREE_LON, (at.lat - CENTRE.lat) * METRES_A_DEGREE_LAT)


def chance(name: str) -> float:
    """A number in [0, 1) that is always the same for the same name."""
    return int.from_bytes(hashlib.sha256(f"invented city/{name}".encode()).digest()[:6], "big") / 2**48


def apart_m(a: Metres, b: Metres) -> float:
    """Distance in the plane."""
    return math.sqrt((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y))


def between(a: Metres, b: Metres, share: float) -> Metres:
    """The point at a share of the way from one point to another."""
    return Metres(a.x + (b.x - a.x) * share, a.y + (b.y - a.y) * share)


def path(street: Street) -> tuple[Metres, ...]:
    """A street's vertices in the plane."""
    return tuple(metres(at) for at in street.line)


def length_m(points: Sequence[Metres]) -> float:
    """Length of a path."""
    return sum(apart_m(a, b) for a, b in pairwise(points))


def along(points: Sequence[Metres], distance_m: float, *, left_m: float = 0.0) -> Metres:
    """The point after a distance along a path (not beyond its end), moved to its left; a negative number moves right."""
    for a, b in pairwise(points):
        step_m = apart_m(a, b)
        if distance_m <= step_m or b is points[-1]:
            on = between(a, b, min(1.0, distance_m / step_m))
            return Metres(on.x - (b.y - a.y) / step_m * left_m, on.y + (b.x - a.x) / step_m * left_m)
        distance_m -= step_m
    raise ValueError("a path has two points or more")


def from_line_m(at: Metres, points: Sequence[Metres]) -> float:
    """Distance of a point from a path."""
    return min(apart_m(at, between(a, b, _share(at, a, b))) for a, b in pairwise(points))


def along_m(at: Metres, points: Sequence[Metres]) -> float:
    """Distance along a path to the place on it that is nearest to a point."""
    reached_m, best = 0.0, (float("inf"), 0.0)
    for a, b in pairwise(points):
        share, step_m = _share(at, a, b), apart_m(a, b)
        best = min(best, (apart_m(at, between(a, b, share)), reached_m + share * step_m))
        reached_m += step_m
    return best[1]


def _share(at: Metres, a: Metres, b: Metres) -> float:
    """How much of the way from a to b the place on it that is nearest to a point lies at."""
    dx, dy = b.x - a.x, b.y - a.y
    return min(1.0, max(0.0, ((at.x - a.x) * dx + (at.y - a.y) * dy) / (dx * dx + dy * dy)))


def around(at: Metres, name: str, *, nearest_m: float, farthest_m: float) -> Iterator[Metres]:
    """Points around a point in ever the same order, without end."""
    attempt = 0
    while True:
        t = 2 * chance(f"{name}/turn/{attempt}") - 1  # a turn without sines: half of the circle by t, the other half mirrored
        distance = nearest_m + (farthest_m - nearest_m) * chance(f"{name}/distance/{attempt}")
        side = distance if attempt % 2 else -distance
        yield Metres(at.x + side * (1 - t * t) / (1 + t * t), at.y + side * 2 * t / (1 + t * t))
        attempt += 1
