"""Roads as a directed graph with places on it: what travel times are counted on, and what lines are drawn on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cityloop_common.geo import EARTH_RADIUS_M, Position
from cityloop_waste.roads.domain import Road

OFF_THE_ROAD_M = 500.0
"""A place farther from every road is unreachable: it is on another map, or in another datum."""
SAME_PLACE_M = 0.5
DM = 1 << 26
"""One number a road: milliseconds times 2^26 plus decimetres. The way of least time comes with its length, exactly, below 2^53."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Network:
    """Roads with the places that join them.

    Of each node of the roads, `nodes_at`, and of each place, `at`: metres on a plane of `plane`. Of each place: the node where it
    joins, and the metres to it (infinite: too far from every road). `graph[a, b]` is the packed number (see DM) of the quickest
    straight piece from node a to node b in the direction of traffic.
    """

    plane: Plane
    graph: csr_matrix
    nodes_at: Floats
    places: tuple[Position, ...]
    at: Floats
    node: Ints
    off_m: Floats


def network(roads: Sequence[Road], places: Sequence[Position], *, gross_mass_kg: int | None = None) -> Network | None:
    """The roads that bear `gross_mass_kg` with places joined to them; None when no road does.

    A place joins the nearest open road, at a crossing when that is as near.
    """
    pieces = _pieces([road for road in roads if _bears(road, gross_mass_kg)])
    if pieces is None:
        return None
    flat = pieces.plane.flat(places)
    cut, node, off_m = _Joining(pieces).join(flat)
    return Network(pieces.plane, _graph(cut), cut.at, tuple(places), flat, node, off_m)


@dataclass(frozen=True, slots=True)
class Plane:
    """Metres east and north of an origin. Within a city the error of this plane is far below that of the map."""

    origin: Position

    def flat(self, places: Sequence[Position]) -> Floats:
        """Positions as metres east and north."""
        east, north = self._scale()
        return np.array([((place.lon - self.origin.lon) * east, (place.lat - self.origin.lat) * north) for place in places])

    def position(self, at: Floats) -> Position:
        """The position of metres east and north."""
        east, north = self._scale()
        return Position(self.origin.lon + float(at[0]) / east, self.origin.lat + float(at[1]) / north)

    def _scale(self) -> tuple[float, float]:
        north = math.radians(1) * EARTH_RADIUS_M
        return north * math.cos(math.radians(self.origin.lat)), north


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Straight pieces of road between nodes, in the order of their vertices."""

    begin: Ints
    end: Ints
    at: Floats
    speed_kmh: Floats
    oneway: NDArray[np.bool_]
    plane: Plane


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
    plane = Plane(places[0])
    return _Pieces(np.array(begin), np.array(end), plane.flat(places), np.array(speed, dtype=float), np.array(oneway), plane)


class _Joining:
    """Where places join the roads."""

    def __init__(self, pieces: _Pieces) -> None:
        self._pieces = pieces
        self._from = pieces.at[pieces.begin]
        self._along = pieces.at[pieces.end] - self._from
        self._squared = (self._along**2).sum(axis=1)
        self._added: list[Floats] = []
        self._cuts: dict[int, list[tuple[float, int]]] = {}

    def join(self, places: Floats) -> tuple[_Pieces, Ints, Floats]:
        """The pieces cut where places join them; each place's node (a crossing, or a cut of the piece beside it) and metres to it."""
        node, off_m = [], []
        for at in places:
            piece, share, off = self._nearest(at)
            if off > OFF_THE_ROAD_M:
                node.append(0)
                off_m.append(math.inf)
            else:
                node.append(self._node(piece, share))
                off_m.append(off)
        return self._cut(), np.array(node, dtype=np.int64), np.array(off_m, dtype=np.float64)

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


def _graph(pieces: _Pieces) -> csr_matrix:
    """The packed number of the quickest piece between each two nodes that one leads to the other."""
    metres = np.sqrt(((pieces.at[pieces.end] - pieces.at[pieces.begin]) ** 2).sum(axis=1))
    packed = np.rint(metres * 3600 / pieces.speed_kmh) * DM + np.rint(metres * 10)
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
    return csr_matrix((weight[first], (begin[first], end[first])), shape=(size, size))
