"""Roads cut where they meet or end: sections of straight pieces, from one junction to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cityloop_common.geo import EARTH_RADIUS_M, Position
from cityloop_waste.roads.domain import Road

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_UNITS = 10_000_000  # in a degree, a centimetre: digits beyond are noise of a conversion


@dataclass(frozen=True, slots=True)
class Plane:
    """Metres east and north of an origin. Within a city the error of this plane is far below that of the map."""

    origin: Position

    def flat(self, places: Sequence[Position]) -> Floats:
        """Positions as metres east and north."""
        return (np.array(places, dtype=np.float64).reshape(-1, 2) - self.origin) * self._scale()

    def position(self, at: Floats) -> Position:
        """The position of metres east and north."""
        east, north = self._scale()
        return Position(self.origin.lon + float(at[0]) / east, self.origin.lat + float(at[1]) / north)

    def _scale(self) -> tuple[float, float]:
        north = math.radians(1) * EARTH_RADIUS_M
        return north * math.cos(math.radians(self.origin.lat)), north


@dataclass(frozen=True, slots=True)
class Sections:
    """Sections of roads, and the straight pieces that they are made of, one section's after the other's.

    `node_at`: metres of each node on the plane; `degree`: how many pieces meet there. Of each piece: its nodes in the order of the
    road, the section, and how far its ends are along the section, in metres and in milliseconds. Of each section: its first piece
    (and one more number, that of all pieces), its road's number, and whether it is one-way.
    """

    plane: Plane
    roads: Sequence[Road]
    node_at: Floats
    degree: Ints
    node_key: Ints
    begin: Ints
    end: Ints
    section: Ints
    metres: Floats
    ms: Floats
    first: Ints
    road: Ints
    oneway: Flags

    def __len__(self) -> int:
        return len(self.road)

    def last(self) -> Ints:
        """The last piece of each section."""
        return self.first[1:] - 1

    def length_m(self) -> Floats:
        """The metres of each section."""
        length: Floats = self.metres[self.last(), 1]
        return length

    def node_of(self, at: Position) -> int | None:
        """The node of a vertex; None when no road has it."""
        key = int(_keys(np.array([at], dtype=np.float64))[0])
        found = int(np.searchsorted(self.node_key, key))
        return found if found < len(self.node_key) and self.node_key[found] == key else None


def sections(roads: Sequence[Road]) -> Sections | None:
    """The sections of roads; None when they have no length at all.

    Roads meet at vertices that are the same to the centimetre. A section ends with its road, and where another piece begins or ends.
    """
    vertices = np.array([vertex for road in roads for vertex in road.line], dtype=np.float64).reshape(-1, 2)
    of = np.repeat(np.arange(len(roads)), [len(road.line) for road in roads])
    key, where, node = np.unique(_keys(vertices), return_index=True, return_inverse=True)
    begin, end = node[:-1], node[1:]
    real = (of[:-1] == of[1:]) & (begin != end)
    if not real.any():
        return None
    begin, end, of = begin[real], end[real], of[:-1][real]
    degree = np.bincount(begin, minlength=len(key)) + np.bincount(end, minlength=len(key))
    starts = np.ones(len(begin), dtype=np.bool_)
    starts[1:] = (of[1:] != of[:-1]) | (degree[begin[1:]] != 2)
    first = np.flatnonzero(starts)
    plane = Plane(roads[0].line[0])
    node_at = plane.flat(vertices[where])  # type: ignore[arg-type]
    length = np.sqrt(((node_at[end] - node_at[begin]) ** 2).sum(axis=1))
    lasting = length * 3600 / np.array([road.speed_kmh for road in roads], dtype=np.float64)[of]
    section = np.cumsum(starts) - 1
    return Sections(
        plane, roads, node_at, degree, key, begin, end, section, _along(length, first, section), _along(lasting, first, section),
        np.append(first, len(begin)), of[first], np.array([road.oneway for road in roads], dtype=np.bool_)[of[first]],
    )  # fmt: skip


def _keys(vertices: Floats) -> Ints:
    """One whole number a vertex."""
    whole = np.rint(vertices * _UNITS).astype(np.int64)
    keys: Ints = whole[:, 0] * (1 << 32) + whole[:, 1]
    return keys


def _along(step: Floats, first: Ints, section: Ints) -> Floats:
    """Begin and end of each piece along its section, from the pieces' own lengths."""
    ends = np.cumsum(step)
    before = ends[first] - step[first]
    end = ends - before[section]
    return np.stack([np.maximum(end - step, 0.0), end], axis=1)
