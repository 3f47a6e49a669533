"""Travel over a directed road graph, and the estimate that stands in where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from cityloop_common.geo import EARTH_RADIUS_M, Position, distance_m
from cityloop_waste.roads.domain import Road, Travel, TravelSource

OFF_THE_ROAD_M = 500.0
"""A place farther from every road is unreachable: it is on another map, or in another datum."""
ACCESS_KMH = 10
"""Pace of the straight way between a place and the road beside it."""
SAME_PLACE_M = 0.5
DETOUR = 1.3
ESTIMATE_KMH = 25
_AT_ONCE = 32
"""Places searched from at a time: each holds a number for every node, so 1,051 at once would take 840 MB on 100,000 nodes."""
_LONGEST_MS = 86_400_000
_DM = 1 << 26
"""One number a road: milliseconds times 2^26 plus decimetres. The way of least time comes with its length, exactly, below 2^53."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def travel(roads: Sequence[Road], places: Sequence[Position], *, gross_mass_kg: int | None = None) -> Travel:
    """Metres and seconds of the quickest ways between places, in the direction of traffic.

    Roads that do not bear `gross_mass_kg` are closed. A place joins the nearest open road, within 500 m; the last metres count
    straight at 10 km/h. Two places that join it at the same spot are no farther apart than straight, and at one position there
    is no way between them. Turns cost nothing. Pairs without a way, and ways of more than a day, are None.
    """
    numbers = {place: number for number, place in enumerate(places)}
    one = _equal(np.array([numbers[place] for place in places]))
    pieces = _pieces([road for road in roads if _bears(road, gross_mass_kg)])
    if pieces is None:
        nowhere = np.full((len(places), len(places)), np.inf)
        return _table(nowhere, nowhere, one)
    joined = _Joining(pieces).join(places)
    return _table(_ways(joined), _beside(joined), one)


def estimate(places: Sequence[Position]) -> Travel:
    """Great-circle distances times 1.3 at 25 km/h: no road was asked, and the answer says so."""
    metres = tuple(tuple(round(distance_m(origin, target) * DETOUR) for target in places) for origin in places)
    seconds = tuple(tuple(math.ceil(each * 3.6 / ESTIMATE_KMH) for each in row) for row in metres)
    return Travel(metres, seconds, TravelSource.ESTIMATE)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Straight pieces of road between nodes, in metres east and north of the first vertex."""

    begin: Ints
    end: Ints
    at: Floats
    speed_kmh: Floats
    oneway: NDArray[np.bool_]
    origin: Position

    def flat(self, places: Sequence[Position]) -> Floats:
        """Metres east and north. Within a city the error of this plane is far below that of the map."""
        scale = math.radians(1) * EARTH_RADIUS_M
        east = scale * math.cos(math.radians(self.origin.lat))
        return np.array([((place.lon - self.origin.lon) * east, (place.lat - self.origin.lat) * scale) for place in places])


def _bears(road: Road, gross_mass_kg: int | None) -> bool:
    return road.max_mass_kg is None or gross_mass_kg is None or gross_mass_kg <= road.max_mass_kg


def _pieces(roads: Sequence[Road]) -> _Pieces | None:
    if not roads:
        return None
    nodes: dict[tuple[float, float], int] = {}
    places: list[Position] = []
    begin, end, speed, oneway = [], [], [], []
    for road in roads:
        numbers = []
        for vertex in road.line:
            key = (round(vertex.lon, 7), round(vertex.lat, 7))  # a centimetre: digits beyond are noise of a conversion
            if key not in nodes:
                nodes[key] = len(places)
                places.append(vertex)
            numbers.append(nodes[key])
        for a, b in pairwise(numbers):
            if a != b:
                begin.append(a)
                end.append(b)
                speed.append(road.speed_kmh)
                oneway.append(road.oneway)
    if not begin:
        return None
    pieces = _Pieces(np.array(begin), np.array(end), np.empty((0, 2)), np.array(speed, dtype=float), np.array(oneway), places[0])
    return replace(pieces, at=pieces.flat(places))


@dataclass(frozen=True, slots=True)
class _Joined:
    """Pieces of road cut where places join them; where each place is, its node, its way to the road (infinite: too far from all)."""

    pieces: _Pieces
    at: Floats
    node: Ints
    off_m: Floats


class _Joining:
    """Where places join the roads."""

    def __init__(self, pieces: _Pieces) -> None:
        self._pieces = pieces
        self._from = pieces.at[pieces.begin]
        self._along = pieces.at[pieces.end] - self._from
        self._squared = (self._along**2).sum(axis=1)
        self._added: list[Floats] = []
        self._cuts: dict[int, list[tuple[float, int]]] = {}

    def join(self, places: Sequence[Position]) -> _Joined:
        """Each place at its node: a crossing, or a cut of the piece beside it."""
        node, off_m, flat = [], [], self._pieces.flat(places)
        for at in flat:
            piece, share, off = self._nearest(at)
            if off > OFF_THE_ROAD_M:
                node.append(0)
                off_m.append(math.inf)
            else:
                node.append(self._node(piece, share))
                off_m.append(off)
        return _Joined(self._cut(), flat, np.array(node), np.array(off_m))

    def _nearest(self, at: Floats) -> tuple[int, float, float]:
        share = np.clip(((at - self._from) * self._along).sum(axis=1) / self._squared, 0.0, 1.0)
        off = ((self._from + share[:, None] * self._along - at) ** 2).sum(axis=1)
        piece = int(off.argmin())
        return piece, float(share[piece]), math.sqrt(off[piece])

    def _node(self, piece: int, share: float) -> int:
        """The crossing when it is as good as there, a cut that is there already (stops side by side), or a new one."""
        near = SAME_PLACE_M / math.sqrt(self._squared[piece])
        if share <= near:
            return int(self._pieces.begin[piece])
        if share >= 1 - near:
            return int(self._pieces.end[piece])
        cuts = self._cuts.setdefault(piece, [])
        for other, node in cuts:
            if abs(other - share) <= near:
                return node
        node = len(self._pieces.at) + len(self._added)
        self._added.append(self._from[piece] + share * self._along[piece])
        cuts.append((share, node))
        return node

    def _cut(self) -> _Pieces:
        pieces = self._pieces
        if not self._added:
            return pieces
        whole = np.ones(len(pieces.begin), dtype=bool)
        whole[list(self._cuts)] = False
        begin, end, of = [pieces.begin[whole]], [pieces.end[whole]], [np.flatnonzero(whole)]
        for piece, cuts in self._cuts.items():
            nodes = [int(pieces.begin[piece]), *(node for _, node in sorted(cuts)), int(pieces.end[piece])]
            begin.append(np.array(nodes[:-1]))
            end.append(np.array(nodes[1:]))
            of.append(np.full(len(nodes) - 1, piece))
        origin = np.concatenate(of)
        return replace(
            pieces,
            begin=np.concatenate(begin),
            end=np.concatenate(end),
            at=np.concatenate([pieces.at, np.array(self._added)]),
            speed_kmh=pieces.speed_kmh[origin],
            oneway=pieces.oneway[origin],
        )


def _ways(joined: _Joined) -> Floats:
    """The packed number of the quickest way between each two places; infinite without one."""
    pieces = joined.pieces
    metres = np.sqrt(((pieces.at[pieces.end] - pieces.at[pieces.begin]) ** 2).sum(axis=1))
    packed = np.rint(metres * 3600 / pieces.speed_kmh) * _DM + np.rint(metres * 10)
    packed = np.maximum(packed, 1)  # a stored zero would be no road
    back = ~pieces.oneway
    begin = np.concatenate([pieces.begin, pieces.end[back]])
    end = np.concatenate([pieces.end, pieces.begin[back]])
    weight = np.concatenate([packed, packed[back]])
    order = np.lexsort((weight, end, begin))  # of parallel roads the quickest: a sparse matrix would add them up
    begin, end, weight = begin[order], end[order], weight[order]
    first = np.ones(len(begin), dtype=bool)
    first[1:] = (begin[1:] != begin[:-1]) | (end[1:] != end[:-1])
    size = len(pieces.at)
    graph = csr_matrix((weight[first], (begin[first], end[first])), shape=(size, size))
    ends, of = np.unique(joined.node, return_inverse=True)
    found = np.empty((len(ends), len(ends)))
    for number in range(0, len(ends), _AT_ONCE):
        block = slice(number, number + _AT_ONCE)
        found[block] = dijkstra(graph, directed=True, indices=ends[block])[:, ends]
    return found[np.ix_(of, of)]


def _beside(joined: _Joined) -> Floats:
    """Metres off the road at both ends of each way; straight where that is shorter and both join the road at the same spot."""
    beside: Floats = joined.off_m[:, None] + joined.off_m[None, :]
    ahead, across = np.nonzero(_equal(joined.node) & np.isfinite(beside))
    straight = np.sqrt(((joined.at[ahead] - joined.at[across]) ** 2).sum(axis=1))
    beside[ahead, across] = np.minimum(beside[ahead, across], straight)
    return beside


def _equal(values: Ints) -> NDArray[np.bool_]:
    """Which of the values equal which."""
    equal: NDArray[np.bool_] = values[:, None] == values[None, :]
    return equal


def _table(ways: Floats, beside_m: Floats, one: NDArray[np.bool_]) -> Travel:
    """Whole metres and seconds from ways over roads and the metres beside them; what is `one` place is 0 from itself."""
    reached = np.isfinite(ways) & np.isfinite(beside_m) & (ways < _LONGEST_MS * _DM)
    packed = np.where(reached, ways, 0.0)
    beside = np.where(reached, beside_m, 0.0)
    metres = np.rint(np.mod(packed, _DM) / 10 + beside).astype(np.int64)
    seconds = np.ceil(np.floor(packed / _DM) / 1000 + beside * 3.6 / ACCESS_KMH - 1e-9).astype(np.int64)
    metres[one], seconds[one], reached[one] = 0, 0, True
    return Travel(_cells(metres, reached), _cells(seconds, reached), TravelSource.GRAPH)


def _cells(values: Ints, reached: NDArray[np.bool_]) -> tuple[tuple[int | None, ...], ...]:
    return tuple(
        tuple(value if known else None for value, known in zip(row, row_known, strict=True))
        for row, row_known in zip(values.tolist(), reached.tolist(), strict=True)
    )
