"""Roads as a directed graph with places on it: what travel times are counted on, and what lines are drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from cityloop_common.geo import Position
from cityloop_waste.roads.domain import Closed, Road, Side
from cityloop_waste.roads.joining import BACKWARDS, EITHER, SAME_PLACE_M, Joined, Spot, closed_sections, join, point
from cityloop_waste.roads.sections import Flags, Floats, Ints, Plane, Sections, sections
from cityloop_waste.roads.turns import Arcs, Turns, turning

__all__ = ["DM", "SAME_PLACE_M", "TURNS", "Network", "Plane", "network"]

DM = 1 << 26
"""One number a road: milliseconds times 2^26 plus decimetres. The way of least time comes with its length, exactly, below 2^53."""
TURNS = Turns()


@dataclass(frozen=True, slots=True)
class Stretches:
    """Arcs with what it takes to drive along each (packed, see DM), and where on its section it begins and ends, in metres.

    A node of the search is the end of a stretch: where a truck is, and which way it heads.
    """

    arcs: Arcs
    cost: Floats
    from_m: Floats
    to_m: Floats
    from_cut: Ints
    to_cut: Ints


@dataclass(frozen=True, slots=True)
class Network:
    """Roads with the places that join them.

    Of each place: metres on the plane of `sections`, the nodes of the search where it is left and reached, and the metres to the
    road (infinite: no open road near). `graph[a, b]` is the packed number (see DM) of going on from node a to the end of stretch b:
    the turn, and the stretch. Nodes behind the stretches' are gates of places that may be served from either side; what leads into
    one is no way, nor what leads out of the first `cuts` of them.
    """

    sections: Sections
    stretches: Stretches
    graph: csr_matrix
    places: tuple[Position, ...]
    at: Floats
    leave: Ints
    reach: Ints
    off_m: Floats
    gate_at: Floats
    cuts: int

    @property
    def plane(self) -> Plane:
        """The plane of its metres."""
        return self.sections.plane


def network(
    roads: Sequence[Road],
    places: Sequence[Position],
    *,
    gross_mass_kg: int | None = None,
    sides: Sequence[Side] | None = None,
    turns: Turns = TURNS,
    closed: Sequence[Closed] = (),
) -> Network | None:
    """The roads with places joined to them; None when none bears `gross_mass_kg`.

    A place joins the nearest road that bears it; it is unreachable where that one is closed. `sides` says of each place from where it
    may be served (left out: any). Raises UnknownRoad for a road to be closed that is not there.
    """
    found = sections(roads) if roads else None
    if found is None:
        return None
    shut = closed_sections(found, closed)
    bears = np.array([_bears(road, gross_mass_kg) for road in roads], dtype=np.bool_)[found.road]
    if not bears.any():
        return None
    flat = found.plane.flat(places)
    joined = join(found, flat, sides or [Side.ANY] * len(places), bears=bears, shut=shut)
    stretches = _stretches(found, joined, bears & ~shut)
    gates = _Gates(found, joined, stretches)
    graph = _graph(found, stretches, turns, gates)
    leave, reach = gates.of(joined.spot)
    off_m = np.array(joined.off_m, dtype=np.float64)
    return Network(found, stretches, graph, tuple(places), flat, leave, reach, off_m, gates.at(), gates.cuts)


def _bears(road: Road, gross_mass_kg: int | None) -> bool:
    return road.max_mass_kg is None or gross_mass_kg is None or gross_mass_kg <= road.max_mass_kg


def _stretches(on: Sections, joined: Joined, open_: Flags) -> Stretches:
    """The open sections, cut where places join them, in each direction that may be driven."""
    every, count = np.arange(len(on)), len(on)
    section = np.concatenate([every, np.array(joined.section, dtype=np.int64), every])
    metres = np.concatenate([np.zeros(count), joined.metres, on.length_m()])
    ms = np.rint(np.concatenate([np.zeros(count), joined.ms, on.ms[on.last(), 1]]))
    cut = np.concatenate([np.full(count, -1), np.arange(len(joined.section)), np.full(count, -1)])
    node = np.concatenate([on.begin[on.first[:-1]], np.full(len(joined.section), -1), on.end[on.last()]])
    kind = np.repeat([0, 1, 2], [count, len(joined.section), count])
    order = np.lexsort((kind, metres, section))
    a, b = order[:-1], order[1:]
    same = (section[a] == section[b]) & open_[section[a]]
    a, b = a[same], b[same]
    packed = np.maximum(ms[b] - ms[a], 0) * DM + np.maximum(np.rint(metres[b] * 10) - np.rint(metres[a] * 10), 0)
    back = ~on.oneway[section[a]]
    begin, end = np.concatenate([a, b[back]]), np.concatenate([b, a[back]])
    against = np.repeat([False, True], [len(a), int(back.sum())])
    arcs = Arcs(node[begin], node[end], section[begin], against)
    return Stretches(arcs, np.concatenate([packed, packed[back]]), metres[begin], metres[end], cut[begin], cut[end])


class _Gates:
    """Nodes of the search for spots without a direction: one to leave, one to reach, joined to every stretch that leads there."""

    def __init__(self, on: Sections, joined: Joined, stretches: Stretches) -> None:
        self._on, self._joined, self._stretches = on, joined, stretches
        spots = dict.fromkeys(each for each in joined.spot if each is not None and each.direction == EITHER)
        self._at_cuts = [each for each in spots if each.node < 0]
        self._at_nodes = [each for each in spots if each.node >= 0]
        self.cuts = len(self._at_cuts)
        self._number = {each: number for number, each in enumerate([*self._at_cuts, *self._at_nodes])}
        self._ending = {back: self._by_cut(stretches.to_cut, back=back) for back in (False, True)}

    def _by_cut(self, cuts: Ints, *, back: bool) -> Ints:
        """The stretch of each cut in one direction; -1 when there is none."""
        found = np.full(len(self._joined.section), -1, dtype=np.int64)
        there = np.flatnonzero((cuts >= 0) & (self._stretches.arcs.back == back))
        found[cuts[there]] = there
        return found

    def __len__(self) -> int:
        return len(self._number)

    def of(self, spots: Sequence[Spot | None]) -> tuple[Ints, Ints]:
        """The nodes where places are left and reached; without a spot the first: it is never looked at."""
        stretches = len(self._stretches.cost)
        nodes = []
        for each in spots:
            if each is None:
                nodes.append((0, 0))
            elif each.direction == EITHER:
                nodes.append((stretches + self._number[each], stretches + len(self) + self._number[each]))
            else:
                nodes.append((int(self._ending[each.direction == BACKWARDS][each.cut]),) * 2)
        leave, reach = np.array(nodes, dtype=np.int64).reshape(-1, 2).T
        return leave, reach

    def at(self) -> Floats:
        """Metres on the plane of each gate."""
        joined = self._joined
        cuts = [point(self._on, joined.section[each.cut], joined.metres[each.cut]) for each in self._at_cuts]
        return np.array([*cuts, *(self._on.node_at[each.node] for each in self._at_nodes)], dtype=np.float64).reshape(-1, 2)

    def ways(self) -> tuple[Ints, Ints, Floats]:
        """From, to and packed number of what leads out of gates and into them, and straight on past each cut."""
        first, arcs = len(self._stretches.cost), self._stretches.arcs
        found: list[tuple[int, int, float]] = []
        for number, each in enumerate(self._at_cuts):
            standing = [int(self._ending[back][each.cut]) for back in (False, True)]
            found += [(first + number, there, 0.0) for there in standing]
            found += [(there, first + len(self) + number, 0.0) for there in standing]
        for number, each in enumerate(self._at_nodes, self.cuts):
            out, into = np.flatnonzero(arcs.tail == each.node), np.flatnonzero(arcs.head == each.node)
            found += [(first + number, int(there), float(self._stretches.cost[there])) for there in out]
            found += [(int(there), first + len(self) + number, 0.0) for there in into]
            found.append((first + number, first + len(self) + number, 0.0))
        for back in (False, True):
            beginning = self._by_cut(self._stretches.from_cut, back=back)
            found += [
                (before, on, float(self._stretches.cost[on]))
                for before, on in zip(self._ending[back].tolist(), beginning.tolist(), strict=True)
                if before >= 0
            ]
        begin, end, packed = np.array(found, dtype=np.float64).reshape(-1, 3).T
        return begin.astype(np.int64), end.astype(np.int64), packed


def _graph(on: Sections, stretches: Stretches, turns: Turns, gates: _Gates) -> csr_matrix:
    """The packed number of going on from each node of the search to each next one. No two are given twice: a matrix would add them up."""
    turned = turning(on, stretches.arcs, turns)
    begin, end, packed = gates.ways()
    begin, end = np.concatenate([turned.into, begin]), np.concatenate([turned.out, end])
    packed = np.concatenate([turned.ms * float(DM) + stretches.cost[turned.out], packed])
    size = max(1, len(stretches.cost) + 2 * len(gates))  # where every road is closed one looks at the first node all the same
    return csr_matrix((packed, (begin, end)), shape=(size, size))
