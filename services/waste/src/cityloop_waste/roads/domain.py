"""Roads as trucks see them: directions, speeds, limits; and what it takes to drive from each place to each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cityloop_common import errors
from cityloop_common.geo import WORLD, Position

MOST_ROADS = 50_000
MOST_VERTICES = 500_000
FASTEST_KMH = 130
HEAVIEST_LIMIT_KG = 1_000_000
LONGEST_NAME = 200
MOST_BANS = 100
MOST_CLOSED = 1_000
UNREACHABLE = "unreachable"
DETOUR = 1.3
"""How much longer than straight a way is taken to be where no road was asked."""
"""A pair without a way, as JSON: not null, because that is what JSON makes of NaN."""


class InvalidRoads(errors.Invalid):
    """A base map that cannot be used; the text says which feature and why."""

    slug, title = "roads-invalid", "The road map cannot be used"


class UnknownRoad(errors.Invalid):
    """A road that is to be closed, and is not on the map: a typing mistake must not leave it open in silence."""

    slug, title = "road-unknown", "There is no such road"


class InvalidTravel(errors.Invalid):
    """A matrix that cannot be used."""

    slug, title = "matrix-invalid", "The matrix cannot be used"


@dataclass(frozen=True, slots=True)
class Ban:
    """A turn that signs forbid to who comes from the road that carries it: at `via`, into the road with the id `to`.

    With `only` it is the other way round: at `via` one may go on into such roads and no other.
    """

    via: Position
    to: str
    only: bool = False


@dataclass(frozen=True, slots=True)
class Road:
    """A street or a part of one; roads meet where they share a vertex. One-way roads run in the order of their vertices.

    `max_mass_kg` is the heaviest vehicle allowed, None = no limit. On a `narrow` road the crew takes containers from both sides.
    """

    name: str
    line: tuple[Position, ...]
    oneway: bool
    speed_kmh: int
    max_mass_kg: int | None = None
    id: str = ""
    name_en: str = ""
    narrow: bool = False
    bans: tuple[Ban, ...] = ()


class Side(StrEnum):
    """From where a place may be served; where traffic keeps right, the kerb is on the right.

    At `ANY` a truck may come from either side and turn round: a depot, a site. A place at the `KERB` lies on the truck's right, and it
    goes on in the direction in which it came; on a narrow road it is as `ANY`. `RIGHT`: on the right on narrow roads too.
    """

    ANY = "any"
    KERB = "kerb"
    RIGHT = "right"


Closed = str | Position
"""A road that is closed: by its id, its name, or a position on it."""


class TravelSource(StrEnum):
    """Where figures of travel come from; an estimate is always told as one."""

    GRAPH = "graph"
    ESTIMATE = "estimate"
    GIVEN = "given"


@dataclass(frozen=True, slots=True)
class Travel:
    """Metres and seconds from each place (row) to each other (column); None where no road leads."""

    distance_m: tuple[tuple[int | None, ...], ...]
    duration_s: tuple[tuple[int | None, ...], ...]
    source: TravelSource


def outdated(planned_on: str | None, present: str | None) -> bool:
    """Whether a plan was made on another map than the present one: its times hold no longer, it must be checked anew.

    None is the version of no map at all: a plan of estimates is outdated once there are roads.
    """
    return planned_on != present


def read_roads(document: object) -> tuple[Road, ...]:
    """Roads of a GeoJSON FeatureCollection of LineStrings in WGS-84; docs/concepts/roads.md lists the properties.

    Only `speed_kmh` is needed; the others may be left out or null. Raises InvalidRoads.
    """
    features = document.get("features") if isinstance(document, Mapping) else None
    if not isinstance(features, Sequence) or isinstance(features, str) or not features:
        raise InvalidRoads("not a GeoJSON FeatureCollection with features")
    if len(features) > MOST_ROADS:
        raise InvalidRoads(f"{len(features)} roads, at most {MOST_ROADS}")
    roads = tuple(_road(number, feature) for number, feature in enumerate(features, 1))
    if (vertices := sum(len(road.line) for road in roads)) > MOST_VERTICES:
        raise InvalidRoads(f"{vertices} vertices, at most {MOST_VERTICES}")
    return roads


def read_closed(document: object) -> tuple[Closed, ...]:
    """Closed roads of a document: a list of names or ids, and of `[lon, lat]` in WGS-84; None is none. Raises InvalidRoads."""
    if document is None:
        return ()
    if not isinstance(document, list | tuple) or len(document) > MOST_CLOSED:
        raise InvalidRoads(f"closed roads are a list of at most {MOST_CLOSED}")
    return tuple(each if isinstance(each, str) else _position(f"closed[{number}]", each) for number, each in enumerate(document))


def read_travel(document: object, places: int) -> Travel:
    """A matrix that somebody else made: `{distance_m, duration_s}`, each `places` rows of whole numbers or "unreachable".

    Raises InvalidTravel; NaN, infinity, null, fractions and negatives are faults, not numbers.
    """
    if not isinstance(document, Mapping) or not {"distance_m", "duration_s"} <= document.keys():
        raise InvalidTravel("it needs distance_m and duration_s")
    distance, duration = (_table(name, document[name], places) for name in ("distance_m", "duration_s"))
    for origin, (metres, seconds) in enumerate(zip(distance, duration, strict=True)):
        for target, pair in enumerate(zip(metres, seconds, strict=True)):
            if (pair[0] is None) != (pair[1] is None):
                raise InvalidTravel(f"from {origin} to {target} is unreachable in one of the two tables only")
    return Travel(distance, duration, TravelSource.GIVEN)


def _table(name: str, rows: object, places: int) -> tuple[tuple[int | None, ...], ...]:
    if not _is_list(rows, places):
        raise InvalidTravel(f"{name} needs {places} rows")
    table = []
    for number, row in enumerate(rows):  # type: ignore[arg-type, var-annotated]
        if not _is_list(row, places):
            raise InvalidTravel(f"{name}[{number}] needs {places} columns")
        table.append(tuple(_cell(f"{name}[{number}][{column}]", value, number == column) for column, value in enumerate(row)))
    return tuple(table)


def _cell(at: str, value: object, diagonal: bool) -> int | None:  # noqa: FBT001 - one place, called by position
    if value == UNREACHABLE and not diagonal:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise InvalidTravel(f"{at} is {value!r}: a whole number from 0 to 10^9, or {UNREACHABLE!r}, is needed")
    if diagonal and value != 0:
        raise InvalidTravel(f"{at} is {value}: from a place to itself is 0")
    return value


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == length


def _road(number: int, feature: object) -> Road:
    properties = feature.get("properties") if isinstance(feature, Mapping) else None
    geometry = feature.get("geometry") if isinstance(feature, Mapping) else None
    if not isinstance(properties, Mapping) or not isinstance(geometry, Mapping):
        raise InvalidRoads(f"feature {number} needs properties and a geometry")
    mass, at = properties.get("max_mass_kg"), f"feature {number}"
    return Road(
        name=_text(at, properties, "name"),
        line=tuple(_line(number, geometry)),
        oneway=_flag(at, properties, "oneway"),
        speed_kmh=_whole(f"{at}: speed_kmh", properties.get("speed_kmh"), FASTEST_KMH),
        max_mass_kg=None if mass is None else _whole(f"{at}: max_mass_kg", mass, HEAVIEST_LIMIT_KG),
        id=_id(at, properties.get("id")),
        name_en=_text(at, properties, "name_en"),
        narrow=_flag(at, properties, "narrow"),
        bans=tuple(_bans(at, properties.get("bans"))),
    )


def _text(at: str, properties: Mapping[str, object], name: str) -> str:
    value = properties.get(name) or ""
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        raise InvalidRoads(f"{at}: {name} is a text of at most {LONGEST_NAME} characters")
    return value


def _flag(at: str, properties: Mapping[str, object], name: str) -> bool:
    value = properties.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRoads(f"{at}: {name} is true or false")
    return bool(value)


def _id(at: str, value: object) -> str:
    """An id may be a number, as in files of surveyors."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > LONGEST_NAME:
        raise InvalidRoads(f"{at}: id is a text of at most {LONGEST_NAME} characters, or a whole number")
    return str(value)


def _bans(at: str, value: object) -> Iterator[Ban]:
    if value is None:
        return
    if not isinstance(value, list | tuple) or len(value) > MOST_BANS:
        raise InvalidRoads(f"{at}: bans is a list of at most {MOST_BANS} turns")
    for each in value:
        if not isinstance(each, Mapping) or not each.keys() >= {"via", "to"}:
            raise InvalidRoads(f"{at}: a ban needs via and to")
        if each["to"] in (None, ""):
            raise InvalidRoads(f"{at}: a ban names the road that it leads to")
        yield Ban(_position(at, each["via"]), _id(f"{at}: bans", each["to"]), _flag(f"{at}: bans", each, "only"))


def _line(number: int, geometry: Mapping[str, object]) -> Iterator[Position]:
    coordinates = geometry.get("coordinates")
    if geometry.get("type") != "LineString" or not isinstance(coordinates, list | tuple) or len(coordinates) < 2:
        raise InvalidRoads(f"feature {number} is no LineString of two or more vertices")
    yield from (_position(f"feature {number}", pair) for pair in coordinates)


def _position(feature: str, pair: object) -> Position:
    if not isinstance(pair, list | tuple) or len(pair) < 2 or not all(_finite(value) for value in pair[:2]):
        raise InvalidRoads(f"{feature} has a vertex that is no pair of numbers")
    at = Position(float(pair[0]), float(pair[1]))
    if not WORLD.contains(at):
        swapped = "; longitude and latitude may be swapped" if WORLD.contains(Position(at.lat, at.lon)) else ""
        raise InvalidRoads(f"{feature}: {at.lon:.10g}, {at.lat:.10g} is no WGS-84 position{swapped}")
    return at


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(what: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidRoads(f"{what} is {value!r}: a whole number from 1 to {most} is needed")
    return value
