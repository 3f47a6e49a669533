"""What one does with base maps: import one, show the present one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cityloop_common.db import WriteTx
from cityloop_common.errors import NotFound
from cityloop_common.geo import BadPosition, Bounds, Datum, to_wgs84
from cityloop_waste.context import WasteCtx
from cityloop_waste.roads import store
from cityloop_waste.roads.domain import InvalidRoads, read_roads
from cityloop_waste.rows import FileTooLarge

MOST_BYTES = 64_000_000
_PROPERTIES = ("id", "name", "name_en", "oneway", "speed_kmh", "max_mass_kg", "invented")


class NoBaseMap(NotFound):
    slug, title = "base-map-missing", "No base map has been imported"


@dataclass(frozen=True, slots=True)
class BaseMap:
    """Roads in WGS-84 as GeoJSON; `version` changes with any of its bytes."""

    version: str
    geojson: bytes
    roads: int


def read(data: bytes, *, datum: Datum, within: Bounds) -> BaseMap:
    """A base map of a GeoJSON file, converted to WGS-84. Raises InvalidRoads with the feature, FileTooLarge."""
    if len(data) > MOST_BYTES:
        raise FileTooLarge(f"A file has at most {MOST_BYTES // 1_000_000} MB.")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidRoads(f"not JSON: {error}") from error
    roads = read_roads(document)
    features = [_feature(number, each, datum, within) for number, each in enumerate(document["features"], 1)]
    geojson = orjson.dumps({"type": "FeatureCollection", "features": features})
    return BaseMap(hashlib.sha256(geojson).hexdigest()[:16], geojson, len(roads))


async def import_map(ctx: WasteCtx, base_map: BaseMap) -> bool:
    """Makes a base map the present one: plans that are asked for from now on drive on it. False when it was that already."""
    async with ctx.db.write() as tx:
        return await import_map_in(tx, base_map)


async def import_map_in(tx: WriteTx, base_map: BaseMap) -> bool:
    """`import_map` in an open unit."""
    if await store.present_version(tx) == base_map.version:
        return False
    await store.put(tx, base_map.version, base_map.geojson.decode(), base_map.roads)
    return True


async def present_version(ctx: WasteCtx) -> str:
    """The version of the present base map. Raises NoBaseMap."""
    async with ctx.db.read() as tx:
        version = await store.present_version(tx)
    if version is None:
        raise NoBaseMap
    return version


async def present(ctx: WasteCtx) -> tuple[str, bytes]:
    """Version and text of the present base map. Raises NoBaseMap."""
    async with ctx.db.read() as tx:
        version = await store.present_version(tx)
        geojson = None if version is None else await store.geojson(tx, version)
    if version is None or geojson is None:
        raise NoBaseMap
    return version, geojson.encode()


def _feature(number: int, feature: Mapping[str, Any], datum: Datum, within: Bounds) -> dict[str, object]:
    try:
        line = [list(to_wgs84(float(x), float(y), datum, within=within)) for x, y, *_ in feature["geometry"]["coordinates"]]
    except BadPosition as error:
        raise InvalidRoads(f"feature {number}: {error.detail}") from error
    given = feature["properties"]
    properties = {name: given[name] for name in _PROPERTIES if isinstance(given.get(name), str | int)}
    return {"type": "Feature", "properties": properties, "geometry": {"type": "LineString", "coordinates": line}}
