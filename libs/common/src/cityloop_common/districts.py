"""Districts: polygons of one GeoJSON file that all services read, and which of them a position lies in.

A position gets its district when it is stored; each published figure names the version of the polygons it was split by.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from shapely import STRtree, count_coordinates, is_valid_reason, to_geojson
from shapely.errors import ShapelyError
from shapely.geometry import Point, shape
from shapely.geometry.base import BaseGeometry

from cityloop_common import invented
from cityloop_common.geo import WORLD, Position
from cityloop_common.settings import Sample, SettingsError, SharedSettings

MOST_BYTES = 16_000_000
MOST_DISTRICTS = 2_000
MOST_VERTICES = 200_000
LONGEST_ID = 80
NO_VERSION = "none"


class BadDistricts(ValueError):
    """A file of districts that cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class District:
    """One district with its names; `name_en` where the file has one."""

    id: str
    name: str
    name_en: str | None = None


class Districts:
    """The city's districts, in the order of their ids. `version` changes with any byte of the file."""

    def __init__(self, known: Sequence[tuple[District, BaseGeometry]], *, version: str) -> None:
        self._known = sorted(known, key=lambda each: each[0].id)
        self._tree = STRtree([area for _, area in self._known])
        self._by_id = {district.id: district for district, _ in self._known}
        self.version = version

    def __iter__(self) -> Any:
        return iter([district for district, _ in self._known])

    def __len__(self) -> int:
        return len(self._known)

    def of(self, at: Position) -> str | None:
        """Id of the district that a position lies in; on a shared border the first by id. None outside all of them."""
        if not self._known or not (math.isfinite(at.lon) and math.isfinite(at.lat)):
            return None
        found = self._tree.query(Point(at.lon, at.lat), predicate="intersects")
        return self._known[min(found)][0].id if len(found) else None

    def get(self, district_id: str | None) -> District | None:
        """A district by id; None for one that is not (or no longer) in the file."""
        return None if district_id is None else self._by_id.get(district_id)

    def geojson(self) -> bytes:
        """A FeatureCollection of their polygons with `id`, `name` and `name_en`; nothing else of the file."""
        features = [
            {
                "type": "Feature",
                "properties": {"id": district.id, "name": district.name, "name_en": district.name_en},
                "geometry": orjson.Fragment(to_geojson(area)),
            }
            for district, area in self._known
        ]
        return orjson.dumps({"type": "FeatureCollection", "features": features})


NO_DISTRICTS = Districts((), version=NO_VERSION)


def read(raw: bytes) -> Districts:
    """Districts of a GeoJSON FeatureCollection of (Multi)Polygons in WGS-84 with properties `id`, `name` and perhaps `name_en`.

    Raises BadDistricts.
    """
    if len(raw) > MOST_BYTES:
        raise BadDistricts(f"a file has at most {MOST_BYTES // 1_000_000} MB")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadDistricts(f"not JSON: {error}") from error
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list) or not features:
        raise BadDistricts("not a GeoJSON FeatureCollection with features")
    if len(features) > MOST_DISTRICTS:
        raise BadDistricts(f"at most {MOST_DISTRICTS} districts")
    known = [_district(number, feature) for number, feature in enumerate(features, 1)]
    ids = [district.id for district, _ in known]
    if len(set(ids)) < len(ids):
        raise BadDistricts("two districts have the same id")
    if sum(count_coordinates(area) for _, area in known) > MOST_VERTICES:
        raise BadDistricts(f"at most {MOST_VERTICES} vertices")
    return Districts(known, version=hashlib.sha256(raw).hexdigest()[:16])


def _district(number: int, feature: object) -> tuple[District, BaseGeometry]:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(feature, dict) or not isinstance(properties, dict):
        raise BadDistricts(f"feature {number} has no properties")
    id_, name, english = _text(properties, "id"), _text(properties, "name"), _text(properties, "name_en")
    if id_ is None or name is None:
        raise BadDistricts(f"feature {number} needs the properties id and name, texts of 1 to {LONGEST_ID} characters")
    geometry: Any = feature.get("geometry")
    try:
        area = shape(geometry)
    except (ShapelyError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise BadDistricts(f"the geometry of feature {number} cannot be read") from error
    if area.geom_type not in {"Polygon", "MultiPolygon"} or area.is_empty:
        raise BadDistricts(f"feature {number} is no polygon")
    if not area.is_valid:
        raise BadDistricts(f"the polygon of feature {number} is not valid: {is_valid_reason(area)}")
    west, south, east, north = area.bounds
    if not (WORLD.contains(Position(west, south)) and WORLD.contains(Position(east, north))):
        raise BadDistricts(f"feature {number} is not in degrees of WGS-84")
    return District(id_, name, english), area


def _text(properties: Mapping[str, object], field: str) -> str | None:
    value = properties.get(field)
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isprintable() else None


def from_settings(shared: SharedSettings) -> Districts:
    """The districts by the settings: a file, else the invented city's grid while there is a sample, else none. Raises SettingsError."""
    if shared.districts is None:
        return _invented() if shared.sample is not Sample.OFF else NO_DISTRICTS
    try:
        return _of_file(shared.districts, shared.districts.stat().st_mtime_ns)
    except OSError as error:
        raise SettingsError(f"CITYLOOP_DISTRICTS: {error.strerror or error}") from error
    except BadDistricts as error:
        raise SettingsError(f"CITYLOOP_DISTRICTS: {error}") from error


@lru_cache(maxsize=4)
def _of_file(path: Path, _changed_ns: int) -> Districts:
    return read(path.read_bytes())


@lru_cache(maxsize=1)
def _invented() -> Districts:
    return read(orjson.dumps(invented.districts()))
