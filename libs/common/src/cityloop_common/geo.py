"""Positions: WGS-84 inside, every other datum converted at the edge, distances on a sphere.

At the first city GCJ-02 is 502 m away from WGS-84: a position without its datum is not a position.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from cityloop_common.errors import Invalid

EARTH_RADIUS_M = 6_371_008.8  # mean radius of WGS-84


class Datum(StrEnum):
    """What a pair of coordinates counts in; x is the longitude or the easting."""

    WGS84 = "wgs84"
    GCJ02 = "gcj02"
    BD09 = "bd09"
    TWD97 = "twd97"


class BadPosition(Invalid):
    """A position that nobody can use::

    BadPosition 422
    ├── DatumMissing      coordinates without their datum
    ├── DatumUnknown      a datum that we cannot convert
    └── OutOfBounds       outside the city, or in another datum than it says
    """

    slug, title = "bad-position", "The position cannot be used"


class DatumMissing(BadPosition):
    slug, title = "datum-missing", "Coordinates need their datum"


class DatumUnknown(BadPosition):
    slug, title = "datum-unknown", "The datum is not known"


class OutOfBounds(BadPosition):
    slug, title = "out-of-bounds", "The position is outside the bounds"


class Position(NamedTuple):
    """A WGS-84 position in degrees."""

    lon: float
    lat: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """A box in WGS-84 degrees."""

    west: float
    south: float
    east: float
    north: float

    def contains(self, at: Position) -> bool:
        """Whether a position lies in the box; NaN never does."""
        return self.west <= at.lon <= self.east and self.south <= at.lat <= self.north


WORLD = Bounds(-180.0, -90.0, 180.0, 90.0)


def datum(text: str | None) -> Datum:
    """Reads a datum's name. Raises DatumMissing, DatumUnknown."""
    if text is None or not text.strip():
        raise DatumMissing(f"Say which datum the coordinates are in: {_names()}.")
    try:
        return Datum(text.strip().lower().replace("-", ""))
    except ValueError as error:
        raise DatumUnknown(f"Known are {_names()}.") from error


def to_wgs84(x: float, y: float, source: Datum, *, within: Bounds = WORLD) -> Position:
    """The WGS-84 position of coordinates in `source`.

    Raises OutOfBounds when it lies outside `within`; the text names the datum that would fit, when one does.
    """
    at = _converted(x, y, source)
    if at is not None and within.contains(at):
        return at
    hint = _hint(x, y, source, within)
    box = f"{within.west:g}..{within.east:g} E, {within.south:g}..{within.north:g} N"
    raise OutOfBounds(f"{x:.10g}, {y:.10g} as {source} is not within {box}{hint}.")


def distance_m(a: Position, b: Position) -> float:
    """Great-circle distance in metres (haversine, mean radius)."""
    lat_a, lat_b = math.radians(a.lat), math.radians(b.lat)
    h = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(math.radians(b.lon - a.lon) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))


def _hint(x: float, y: float, source: Datum, within: Bounds) -> str:
    if source is not Datum.TWD97 and (swapped := _converted(y, x, source)) is not None and within.contains(swapped):
        return "; longitude and latitude may be swapped"
    if within is WORLD:
        return ""  # nearly any pair fits the world in some datum
    fits = [other for other in Datum if other is not source and (it := _converted(x, y, other)) is not None and within.contains(it)]
    return f"; it would be inside as {' or '.join(fits)}" if fits else ""


def _names() -> str:
    return ", ".join(Datum)


def _converted(x: float, y: float, source: Datum) -> Position | None:
    """None when the numbers are no coordinates of that datum at all."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return None
    if source is Datum.TWD97:
        lon, lat = _twd97()(x, y)
        return Position(lon, lat) if math.isfinite(lon) and math.isfinite(lat) else None
    if not WORLD.contains(Position(x, y)):
        return None
    if source is Datum.WGS84:
        return Position(x, y)
    return _from_china(x, y, source)


@cache
def _twd97() -> Callable[[float, float], tuple[float, float]]:
    from pyproj import Transformer  # loading its database takes 0.2 s: only for those who read TWD97

    transformer = Transformer.from_crs("EPSG:3826", "EPSG:4326", always_xy=True)

    def convert(x: float, y: float) -> tuple[float, float]:
        lon, lat = transformer.transform(x, y)
        return float(lon), float(lat)

    return convert


def _from_china(x: float, y: float, source: Datum) -> Position:
    import prcoords

    if not prcoords.sanity_in_china_p(prcoords.Coords(y, x)):  # outside China both are WGS-84
        return Position(x, y)
    convert = prcoords.gcj_wgs_bored if source is Datum.GCJ02 else prcoords.bd_wgs_bored
    lat, lon = convert((y, x), check_china=False)
    return Position(float(lon), float(lat))
