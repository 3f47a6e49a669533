"""What one does with base maps: import one, show the present one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cityloop_common import geo
from cityloop_common.db import WriteTx
from cityloop_common.errors import NotFound
from cityloop_common.geo import BadPosition, Bounds, Datum, to_wgs84
from cityloop_waste.context import WasteCtx
from cityloop_waste.roads import osm, store
from cityloop_waste.roads.domain import InvalidRoads, read_roads
from cityloop_waste.rows import FileTooLarge

MOST_BYTES = 64_000_000
_PROPERTIES = ("id", "name", "name_en", "class", "oneway", "speed_kmh", "max_mass_kg", "narrow", "invented")


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
        raise InvalidRoads(f"neither an OSM extract (.osm.pbf) nor GeoJSON{_looks_like(data)}: {error}") from error
    roads = read_roads(document)
    features = [_feature(number, each, datum, within) for number, each in enumerate(document["features"], 1)]
    return _stored({"type": "FeatureCollection", "features": features}, len(roads))


def is_extract(file: Path) -> bool:
    """Whether a file is an OSM extract, by its first bytes; False for what cannot be read."""
    try:
        with file.open("rb") as stream:
            return osm.is_extract(stream.read(osm.BEGINS))
    except OSError:
        return False


def read_extract(file: Path, *, datum: str | None, within: Bounds, advance: osm.Advance) -> BaseMap:
    """A base map of an OSM extract. Raises InvalidRoads, FileTooLarge; it is in WGS-84, and refused as anything else."""
    if file.stat().st_size > osm.MOST_BYTES:
        raise FileTooLarge(f"An extract has at most {osm.MOST_BYTES // 1_000_000} MB: cut it to the city first.")
    if datum is not None and geo.datum(datum) is not Datum.WGS84:
        raise InvalidRoads(f"an OSM extract is in WGS-84, not in {geo.datum(datum)}")
    document = osm.read(file, within=within, advance=advance)
    return _stored(document, len(read_roads(document)))


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


def _stored(document: Mapping[str, Any], roads: int) -> BaseMap:
    geojson = orjson.dumps(document)
    return BaseMap(hashlib.sha256(geojson).hexdigest()[:16], geojson, roads)


def _feature(number: int, feature: Mapping[str, Any], datum: Datum, within: Bounds) -> dict[str, object]:
    given = feature["properties"]
    try:
        line = [_converted(vertex, datum, within) for vertex in feature["geometry"]["coordinates"]]
        bans = [{**each, "via": _converted(each["via"], datum, within)} for each in given.get("bans") or ()]
    except BadPosition as error:
        raise InvalidRoads(f"feature {number}: {error.detail}") from error
    properties = {name: given[name] for name in _PROPERTIES if isinstance(given.get(name), str | int)}
    if bans:
        properties["bans"] = [{name: each[name] for name in ("via", "to", "only") if name in each} for each in bans]
    return {"type": "Feature", "properties": properties, "geometry": {"type": "LineString", "coordinates": line}}


def _looks_like(data: bytes) -> str:
    """What a foreign file is, where its first bytes tell."""
    known = {b"\x1f\x8b": "packed: unpack it first", b"BZh": "packed: unpack it first", b"PK": "a zip or an office file", b"<": "XML"}
    return next((f" ({name})" for begin, name in known.items() if data.startswith(begin)), "")


def _converted(vertex: Sequence[float], datum: Datum, within: Bounds) -> list[float]:
    return list(to_wgs84(float(vertex[0]), float(vertex[1]), datum, within=within))
