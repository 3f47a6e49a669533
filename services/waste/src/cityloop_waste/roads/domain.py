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
UNREACHABLE = "unreachable"
"""A pair without a way, as JSON: not null, because that is what JSON makes of NaN."""


class InvalidRoads(errors.Invalid):
    """A base map that cannot be used; the text says which feature and why."""

    slug, title = "roads-invalid", "The road map cannot be used"


class InvalidTravel(errors.Invalid):
    """A matrix that cannot be used."""

    slug, title = "matrix-invalid", "The matrix cannot be used"


@dataclass(frozen=True, slots=True)
class Road:
    """A street or a part of one; roads meet where they share a vertex. One-way roads run in the order of their vertices.

    `max_mass_kg` is the heaviest vehicle allowed, None = no limit.
    """

    name: str
    line: tuple[Position, ...]
    oneway: bool
    speed_kmh: int
    max_mass_kg: int | None = None


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


def read_roads(document: object) -> tuple[Road, ...]:
    """Roads of a GeoJSON FeatureCollection of LineStrings in WGS-84 with `name, oneway, speed_kmh, max_mass_kg`.

    `oneway` and `max_mass_kg` may be left out or null. Raises InvalidRoads.
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
    oneway, mass = properties.get("oneway"), properties.get("max_mass_kg")
    if oneway is not None and not isinstance(oneway, bool):
        raise InvalidRoads(f"feature {number}: oneway is true or false")
    name = properties.get("name") or ""
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise InvalidRoads(f"feature {number}: name is a text of at most {LONGEST_NAME} characters")
    return Road(
        name=name,
        line=tuple(_line(number, geometry)),
        oneway=bool(oneway),
        speed_kmh=_whole(f"feature {number}: speed_kmh", properties.get("speed_kmh"), FASTEST_KMH),
        max_mass_kg=None if mass is None else _whole(f"feature {number}: max_mass_kg", mass, HEAVIEST_LIMIT_KG),
    )


def _line(number: int, geometry: Mapping[str, object]) -> Iterator[Position]:
    coordinates = geometry.get("coordinates")
    if geometry.get("type") != "LineString" or not isinstance(coordinates, list | tuple) or len(coordinates) < 2:
        raise InvalidRoads(f"feature {number} is no LineString of two or more vertices")
    for pair in coordinates:
        if not isinstance(pair, list | tuple) or len(pair) < 2 or not all(_finite(value) for value in pair[:2]):
            raise InvalidRoads(f"feature {number} has a vertex that is no pair of numbers")
        at = Position(float(pair[0]), float(pair[1]))
        if not WORLD.contains(at):
            swapped = "; longitude and latitude may be swapped" if WORLD.contains(Position(at.lat, at.lon)) else ""
            raise InvalidRoads(f"feature {number}: {at.lon:.10g}, {at.lat:.10g} is no WGS-84 position{swapped}")
        yield at


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(what: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidRoads(f"{what} is {value!r}: a whole number from 1 to {most} is needed")
    return value
