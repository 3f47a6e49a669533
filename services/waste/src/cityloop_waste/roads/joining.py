"""Where places join the roads: the piece that is nearest, and the side of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely

from cityloop_waste.roads.domain import Closed, Side, UnknownRoad
from cityloop_waste.roads.sections import Flags, Floats, Ints, Sections

OFF_THE_ROAD_M = 500.0
"""A place farther from every road is unreachable: it is on another map, or in another datum."""
OFF_A_CLOSED_ROAD_M = 30.0
"""A road is closed at a position that somebody draws on it, not beside it."""
SAME_PLACE_M = 0.5
SIDELESS_M = 0.5
"""A place nearer to the middle of the road than that has no side."""
CORNER_M = 1.0
"""A place at the kerb of a corner is on the road by so much: nobody turns round there for nothing."""

FORWARDS, BACKWARDS, EITHER = 1, -1, 0


class Nearest:
    """The nearest of some pieces of roads, found by an index of them."""

    def __init__(self, sections: Sections, pieces: Ints) -> None:
        self._sections = sections
        self._pieces = pieces
        ends = np.stack([sections.node_at[sections.begin[pieces]], sections.node_at[sections.end[pieces]]], axis=1)
        self._index = shapely.STRtree(np.asarray(shapely.linestrings(ends)))

    def of(self, at: Floats, within_m: float) -> Ints:
        """The nearest piece of each place, the first of several; -1 when it is farther than `within_m`."""
        place, near = self._index.query_nearest(shapely.points(at), max_distance=within_m)
        order = np.lexsort((near, place))
        place, first = np.unique(place[order], return_index=True)
        found = np.full(len(at), -1, dtype=np.int64)
        found[place] = self._pieces[near[order][first]]
        return found


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a place joins: at a node, or at a cut of a section in a direction (FORWARDS: that of its vertices)."""

    node: int = -1
    cut: int = -1
    direction: int = EITHER


@dataclass(slots=True)
class Joined:
    """The spots of places (None: off every open road) and the metres to them, and where sections are cut for them.

    Of each cut: its section, and how far along it is in metres and milliseconds.
    """

    spot: list[Spot | None] = field(default_factory=list)
    off_m: list[float] = field(default_factory=list)
    section: list[int] = field(default_factory=list)
    metres: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)


def closed_sections(sections: Sections, closed: Sequence[Closed]) -> Flags:
    """Which sections are closed: all of a road by its id or name, the one between two junctions by a position. Raises UnknownRoad."""
    shut = np.zeros(len(sections), dtype=np.bool_)
    for word in (each for each in closed if isinstance(each, str)):
        named = [number for number, road in enumerate(sections.roads) if word and word in (road.id, road.name, road.name_en)]
        if not named:
            raise UnknownRoad(f"{word!r} is neither the id nor the name of a road")
        shut |= np.isin(sections.road, named)
    drawn = [each for each in closed if not isinstance(each, str)]
    if drawn:
        near = Nearest(sections, np.arange(len(sections.begin))).of(sections.plane.flat(drawn), OFF_A_CLOSED_ROAD_M)
        for at, piece in zip(drawn, near.tolist(), strict=True):
            if piece < 0:
                raise UnknownRoad(f"{at.lon:.10g}, {at.lat:.10g} has no road within {OFF_A_CLOSED_ROAD_M:g} m")
            shut[sections.section[piece]] = True
    return shut


def join(sections: Sections, places: Floats, sides: Sequence[Side], *, bears: Flags, shut: Flags) -> Joined:
    """Joins places to the nearest sections that bear the truck; who stands at a closed one is off the roads."""
    joining = _Joining(sections)
    open_ = bears & ~shut
    near = Nearest(sections, np.flatnonzero(bears[sections.section])).of(places, OFF_THE_ROAD_M)
    if shut.any():
        near = _open(sections, places, near, Nearest(sections, np.flatnonzero(open_[sections.section])).of(places, OFF_THE_ROAD_M), shut)
    for at, piece, side in zip(places, near.tolist(), sides, strict=True):
        if piece < 0:
            joining.leave_out()
        else:
            joining.put(at, piece, side)
    return joining.joined


def _open(sections: Sections, places: Floats, near: Ints, open_: Ints, shut: Flags) -> Ints:
    """The nearest pieces, or open ones that are as near (a corner); -1 for who stands at a closed one."""
    at_closed = (near >= 0) & shut[sections.section[near]]
    as_near = (open_ >= 0) & (_off_m(sections, places, open_) <= _off_m(sections, places, near) + SAME_PLACE_M)
    return np.where(at_closed, np.where(as_near, open_, -1), near)


def _off_m(sections: Sections, places: Floats, pieces: Ints) -> Floats:
    """Metres from each place to its piece."""
    begin = sections.node_at[sections.begin[pieces]]
    along, beside = sections.node_at[sections.end[pieces]] - begin, places - begin
    share = np.clip((beside * along).sum(axis=1) / (along**2).sum(axis=1), 0.0, 1.0)
    off: Floats = np.sqrt(((beside - share[:, None] * along) ** 2).sum(axis=1))
    return off


class _Joining:
    """Puts one place after the other on the roads."""

    def __init__(self, sections: Sections) -> None:
        self.joined = Joined()
        self._sections = sections
        self._cuts: dict[int, list[tuple[float, int]]] = {}

    def leave_out(self) -> None:
        self.joined.spot.append(None)
        self.joined.off_m.append(math.inf)

    def put(self, at: Floats, piece: int, side: Side) -> None:
        on = self._sections
        begin, along = on.node_at[on.begin[piece]], on.node_at[on.end[piece]] - on.node_at[on.begin[piece]]
        length, beside = math.hypot(*along), at - begin
        share = min(1.0, max(0.0, float(beside @ along) / length**2))
        left_m = float(along[0] * beside[1] - along[1] * beside[0]) / length
        section = int(on.section[piece])
        metres = float(on.metres[piece, 0]) + share * length
        direction, at_kerb = self._direction(section, left_m, side)
        first, last = int(on.first[section]), int(on.first[section + 1]) - 1
        whole = float(on.metres[last, 1])
        if not at_kerb and metres <= SAME_PLACE_M:
            self._stand(at, Spot(node=int(on.begin[first])), on.node_at[on.begin[first]])
        elif not at_kerb and metres >= whole - SAME_PLACE_M:
            self._stand(at, Spot(node=int(on.end[last])), on.node_at[on.end[last]])
        else:
            corner = min(CORNER_M, whole / 2) if at_kerb else 0.0
            metres = min(max(metres, corner), whole - corner)
            self._stand(at, Spot(cut=self._cut(section, metres), direction=direction), point(on, section, metres))

    def _stand(self, at: Floats, spot: Spot, there: Floats) -> None:
        self.joined.spot.append(spot)
        self.joined.off_m.append(math.hypot(*(at - there)))

    def _direction(self, section: int, left_m: float, side: Side) -> tuple[int, bool]:
        """In which direction a truck stands there, and whether it must."""
        narrow = self._sections.roads[self._sections.road[section]].narrow
        sided = side is Side.RIGHT or (side is Side.KERB and not narrow)
        if self._sections.oneway[section]:
            return FORWARDS, sided
        if not sided or abs(left_m) < SIDELESS_M:
            return EITHER, False
        return (BACKWARDS if left_m > 0 else FORWARDS), True

    def _cut(self, section: int, metres: float) -> int:
        """A cut that is there already (stops side by side), or a new one."""
        cuts = self._cuts.setdefault(section, [])
        for other, cut in cuts:
            if abs(other - metres) <= SAME_PLACE_M:
                return cut
        cut = len(self.joined.section)
        piece, share = _piece(self._sections, section, metres)
        begin_ms, end_ms = self._sections.ms[piece].tolist()
        self.joined.section.append(section)
        self.joined.metres.append(metres)
        self.joined.ms.append(begin_ms + share * (end_ms - begin_ms))
        cuts.append((metres, cut))
        return cut


def point(on: Sections, section: int, metres: float) -> Floats:
    """Where one is so many metres along a section, on the plane."""
    piece, share = _piece(on, section, metres)
    begin, end = on.node_at[on.begin[piece]], on.node_at[on.end[piece]]
    at: Floats = begin + share * (end - begin)
    return at


def _piece(on: Sections, section: int, metres: float) -> tuple[int, float]:
    """The piece that is so many metres along a section, and the share of it that is before there."""
    first, beyond = int(on.first[section]), int(on.first[section + 1])
    piece = min(first + int(np.searchsorted(on.metres[first:beyond, 1], metres)), beyond - 1)
    begin, end = on.metres[piece].tolist()
    return piece, min(1.0, max(0.0, (metres - begin) / (end - begin)))
