"""Roads of an OpenStreetMap extract (.osm.pbf), as a base map. pyosmium is loaded when one is read, and not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cityloop_common.geo import BadPosition, Bounds, Datum, Position, to_wgs84
from cityloop_waste.roads import osm_tags
from cityloop_waste.roads.domain import LONGEST_NAME, InvalidRoads
from cityloop_waste.roads.osm_tags import Direction, Tags

ATTRIBUTION = "© OpenStreetMap contributors, ODbL 1.0"
MOST_BYTES = 512_000_000
MOST_WAYS = 500_000
_MAGIC = b"\x0a\x09OSMHeader"  # of the first block: a field of nine letters
BEGINS = 4 + len(_MAGIC)  # bytes that tell an extract
_LONGEST_HEADER = 64 * 1024
_LARGEST_BLOCK = 32 * 1024 * 1024
_AT_ONCE = 1_000_000  # bytes of blocks that pyosmium is given at a time
_TAGS = (
    "highway", "area", "service", "oneway", "junction", "hgv", "goods", "motor_vehicle", "vehicle", "access", "maxspeed", "maxspeed:hgv",
    "maxweight", "maxweightrating", "maxweightrating:hgv", "lanes", "width", "name", "name:en",
)  # fmt: skip

Advance = Callable[[int, int | None, str], None]
Located = Mapping[int, Position]


@dataclass(frozen=True, slots=True)
class _Way:
    id: int
    nodes: tuple[int, ...]
    tags: Tags


@dataclass(frozen=True, slots=True)
class _Sign:
    """Who comes from a way in `comes` may at a node not turn into one of `goes`, or with `only` into those alone."""

    comes: tuple[int, ...]
    via: int
    goes: tuple[int, ...]
    only: bool


@dataclass(slots=True)
class _Found:
    ways: list[_Way] = field(default_factory=list)
    signs: list[_Sign] = field(default_factory=list)


def is_extract(begin: bytes) -> bool:
    """Whether a file that begins so is an extract in the PBF format."""
    return begin[4:BEGINS] == _MAGIC


def read(file: Path, *, within: Bounds, advance: Advance) -> dict[str, Any]:
    """The roads within the city that trucks may use, as GeoJSON; what lies outside is left out.

    `advance` hears how many bytes of both passes are read. Raises InvalidRoads: truncated, damaged, no road of the city.
    """
    found = _Found()
    located: dict[int, Position] = {}
    with _damage_told():
        for blocks in _passed(file, "roads", 0, advance):
            _collect(blocks, found)
            if len(found.ways) > MOST_WAYS:
                raise InvalidRoads(f"more than {MOST_WAYS} roads for trucks: cut the extract to the city first")
        if not found.ways:
            raise InvalidRoads("no road that a truck may use is in the extract")
        wanted = {node for way in found.ways for node in way.nodes}
        for blocks in _passed(file, "nodes", 1, advance):
            located.update(_located(blocks, wanted))
    return {"type": "FeatureCollection", "attribution": ATTRIBUTION, "features": _features(found, located, within)}


def _passed(file: Path, note: str, pass_: int, advance: Advance) -> Iterator[bytes]:
    """The file in parts that are extracts of their own, each with the header."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        blocks = _blocks(stream)
        header = next(blocks, b"")
        if not is_extract(header):
            raise InvalidRoads("not an OSM extract: it does not begin with its header")
        part = bytearray(header)
        for block in blocks:
            part += block
            if len(part) >= _AT_ONCE:
                yield bytes(part)
                part = bytearray(header)
                advance(pass_ * size + stream.tell(), 2 * size, note)
        yield bytes(part)
        advance((pass_ + 1) * size, 2 * size, note)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """Length, header and body of one block after the other, as they stand in the file. Raises InvalidRoads where it breaks off."""
    number = 0
    while prefix := stream.read(4):
        number += 1
        length = int.from_bytes(prefix, "big")
        header = _exactly(stream, length, number) if len(prefix) == 4 and length <= _LONGEST_HEADER else b""
        size = _body_size(header)
        if size is None:
            raise InvalidRoads(f"block {number} of the extract is damaged")
        yield prefix + header + _exactly(stream, size, number)


def _exactly(stream: IO[bytes], size: int, number: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise InvalidRoads(f"the extract ends within its block {number}: it was cut off, fetch it again")
    return found


def _body_size(header: bytes) -> int | None:
    """Field 3 of a block's header (protocol buffers); None where it is no such header."""
    at = 0
    try:
        while at < len(header):
            tag, at = header[at], at + 1
            value, at = _varint(header, at)
            if tag == 0x18:
                return value if value <= _LARGEST_BLOCK else None
            if tag not in {0x0A, 0x12}:
                return None
            at += value
    except IndexError:
        return None
    return None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _collect(blocks: bytes, found: _Found) -> None:
    """Ways that trucks may use, and signs that forbid turns."""
    import osmium

    ways, relations = osmium.osm.WAY, osmium.osm.RELATION
    highways, signs = osmium.filter.KeyFilter("highway"), osmium.filter.TagFilter(("type", "restriction"))
    highways.enable_for(ways)
    signs.enable_for(relations)
    for each in _objects(blocks, ways | relations, highways, signs):
        if each.is_way():
            tags = {key: value for key in _TAGS if (value := each.tags.get(key)) is not None}
            if osm_tags.for_trucks(tags) and len(each.nodes) > 1:
                found.ways.append(_Way(each.id, tuple(node.ref for node in each.nodes), tags))
        else:
            found.signs += _signs(each)


def _signs(relation: Any) -> Iterator[_Sign]:
    """A restriction at one node; those over a way in between are left out: they need more than a junction to say."""
    kind = osm_tags.restriction({tag.k: tag.v for tag in relation.tags})
    members = [(each.role, each.type, each.ref) for each in relation.members]
    via = [ref for role, type_, ref in members if role == "via" and type_ == "n"]
    comes, goes = (tuple(ref for role, type_, ref in members if role == wanted and type_ == "w") for wanted in ("from", "to"))
    if kind is not None and len(via) == 1 and comes and goes and not any(role == "via" and type_ != "n" for role, type_, _ in members):
        yield _Sign(comes, via[0], goes, kind == "only")


def _located(blocks: bytes, wanted: set[int]) -> Iterator[tuple[int, Position]]:
    """Where nodes are. osmium 4.3: its IdFilter takes 4 MB for each 33 million ids between the least and the greatest, 1.4 GB in all."""
    import osmium

    for each in _objects(blocks, osmium.osm.NODE):
        if each.id in wanted:  # a latitude of 109 is none, but tells that coordinates were swapped
            yield each.id, Position(round(each.location.lon_without_check(), 7), round(each.location.lat_without_check(), 7))


def _objects(blocks: bytes, entities: Any, *filters: Any) -> Iterator[Any]:
    """The objects of a part of the file that pass the filters."""
    import osmium

    processor = osmium.FileProcessor(osmium.io.FileBuffer(blocks, "osm.pbf"), entities)
    for each in filters:
        processor = processor.with_filter(each)
    yield from processor


@contextmanager
def _damage_told() -> Iterator[None]:
    """What pyosmium raises for what it cannot read, as InvalidRoads."""
    try:
        yield
    except (RuntimeError, ValueError, LookupError) as error:
        raise InvalidRoads(f"the extract is damaged: {error}") from error


def _features(found: _Found, located: Located, within: Bounds) -> list[dict[str, Any]]:
    """A feature a way, more where the city's bounds cut it. Raises InvalidRoads when none is left."""
    inside = {node: at for node, at in located.items() if within.contains(at)}
    bans = _bans(found, inside)
    features = [
        _feature(way, [inside[node] for node in run], [ban for node in run for ban in bans.get((way.id, node), ())])
        for way in found.ways
        for run in _runs(way.nodes, inside)
    ]
    if not features:
        raise InvalidRoads(f"no road of the extract is in the city{_elsewhere(located, within)}")
    return features


def _elsewhere(located: Located, within: Bounds) -> str:
    """Where the roads are instead."""
    for at in located.values():
        try:
            to_wgs84(at.lon, at.lat, Datum.WGS84, within=within)
        except BadPosition as error:
            return f": {error.detail}"
    return ": it has none of their nodes" if not located else ""


def _runs(nodes: Sequence[int], inside: Located) -> Iterator[list[int]]:
    """The parts of a way that lie within, two nodes or more."""
    run: list[int] = []
    for node in nodes:
        if node in inside:
            run.append(node)
            continue
        if len(run) > 1:
            yield run
        run = []
    if len(run) > 1:
        yield run


def _bans(found: _Found, inside: Located) -> dict[tuple[int, int], list[dict[str, object]]]:
    """The turns that are forbidden to who comes from a way to a node."""
    known = {way.id for way in found.ways}
    bans: dict[tuple[int, int], list[dict[str, object]]] = {}
    for sign in found.signs:
        if sign.via in inside:
            via = list(inside[sign.via])
            for way in sign.comes:
                bans.setdefault((way, sign.via), []).extend(
                    {"via": via, "to": f"w{to}", "only": sign.only} for to in sign.goes if to in known
                )
    return bans


def _feature(way: _Way, line: list[Position], bans: list[dict[str, object]]) -> dict[str, Any]:
    flows = osm_tags.direction(way.tags)
    said: dict[str, object] = {
        "id": f"w{way.id}",
        "name": way.tags.get("name", "")[:LONGEST_NAME],
        "name_en": way.tags.get("name:en", "")[:LONGEST_NAME],
        "class": way.tags["highway"],
        "oneway": flows is not Direction.BOTH,
        "speed_kmh": osm_tags.speed_kmh(way.tags),
        "max_mass_kg": osm_tags.max_mass_kg(way.tags),
        "narrow": osm_tags.narrow(way.tags),
        "bans": bans,
    }
    properties = {name: value for name, value in said.items() if value not in ("", None, [], False) or name in {"name", "oneway"}}
    coordinates = [list(at) for at in (reversed(line) if flows is Direction.AGAINST else line)]
    return {"type": "Feature", "properties": properties, "geometry": {"type": "LineString", "coordinates": coordinates}}
