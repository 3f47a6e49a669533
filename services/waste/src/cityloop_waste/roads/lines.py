"""Lines as they are shown: WGS-84 with five decimals, and no vertex that changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cityloop_common.geo import Position

UNITS = 100_000  # in a degree: a metre of the map, the fifth decimal

Line = list[list[float]]
"""Longitude and latitude of each vertex, as GeoJSON has them."""


def drawn(places: Iterable[Position]) -> Line:
    """The line through positions. Vertices that are the same, or lie straight between their neighbours, once rounded, are left out.

    What it looks like does not change by that. A way that leads nowhere is one vertex.
    """
    return [[round(east / UNITS, 5), round(north / UNITS, 5)] for east, north in _bends(_apart(places))]


def _apart(places: Iterable[Position]) -> Iterator[tuple[int, int]]:
    """In whole units, without repetitions."""
    before: tuple[int, int] | None = None
    for place in places:
        at = round(place.lon * UNITS), round(place.lat * UNITS)
        if at != before:
            yield at
        before = at


def _bends(vertices: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ends and vertices where the direction changes; where a way turns back is such a vertex."""
    kept: list[tuple[int, int]] = []
    for at in vertices:
        if len(kept) >= 2 and _straight(kept[-2], kept[-1], at):
            kept.pop()
        kept.append(at)
    return kept


def _straight(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    """Whether one drives straight on from a over b to c; whole numbers, so exactly."""
    east, north, on_east, on_north = b[0] - a[0], b[1] - a[1], c[0] - b[0], c[1] - b[1]
    return east * on_north == north * on_east and east * on_east + north * on_north > 0
