"""The ways behind the figures of travel: from vertex to vertex, as a truck drives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from cityloop_common.geo import Position
from cityloop_waste.roads.joining import point
from cityloop_waste.roads.network import DM, Network
from cityloop_waste.roads.sections import Floats

_AT_THE_END_M = 0.001  # a vertex that near to where a stretch ends is the end


@dataclass(frozen=True, slots=True)
class Leg:
    """From one place of a network to another, by their numbers; it is driven `within_s` where that is known, and searched no further."""

    origin: int
    target: int
    within_s: int | None = None

    def limit(self) -> float:
        """The packed number (see DM) that its way does not exceed."""
        return np.inf if self.within_s is None else (self.within_s * 1000.0 + 1) * DM


def ways(on: Network, legs: Sequence[Leg]) -> list[tuple[Position, ...] | None]:
    """The quickest way of each leg, the one whose metres and seconds `graph.travel` tells; None where no road leads.

    It begins and ends at the places themselves, goes straight to the road and along its vertices in the direction of traffic. Of
    ways that take the same time the shorter is taken. Two places that join the road at the same spot have a straight piece
    between them. One search for all legs that begin at the same spot.
    """
    found: list[tuple[Position, ...] | None] = [None] * len(legs)
    from_node: dict[int, list[int]] = {}
    for number, leg in enumerate(legs):
        origin, target = on.places[leg.origin], on.places[leg.target]
        if origin == target:
            found[number] = (origin,)
        elif np.isfinite(on.off_m[[leg.origin, leg.target]]).all():
            if on.leave[leg.origin] == on.leave[leg.target]:
                found[number] = (origin, target)
            else:
                from_node.setdefault(int(on.leave[leg.origin]), []).append(number)
    for node, numbers in from_node.items():
        limit = max(legs[number].limit() for number in numbers)
        _, before = dijkstra(on.graph, directed=True, indices=node, limit=limit, return_predecessors=True)
        for number in numbers:
            leg = legs[number]
            nodes = _traced(before, node, int(on.reach[leg.target]))
            if nodes is not None:
                between = (on.plane.position(at) for at in _driven(on, nodes))
                found[number] = (on.places[leg.origin], *between, on.places[leg.target])
    return found


def _traced(before: NDArray[np.int32], origin: int, target: int) -> list[int] | None:
    """The nodes of a way, from each node's predecessor on the way from `origin`; None when the search has not reached `target`."""
    nodes = [target]
    while nodes[-1] != origin:
        nodes.append(int(before[nodes[-1]]))
        if nodes[-1] < 0:
            return None
    return nodes[::-1]


def _driven(on: Network, nodes: Sequence[int]) -> Iterator[Floats]:
    """The vertices of a way, from the spot of its first node on; what leads out of a cut's gate, and into any, is no way."""
    stretches = len(on.stretches.cost)
    standing = stretches + on.cuts
    yield on.gate_at[nodes[0] - stretches] if nodes[0] >= stretches else _end(on, nodes[0])
    for before, node in pairwise(nodes):
        if node < stretches and not stretches <= before < standing:
            yield from _along(on, node)
            yield _end(on, node)


def _end(on: Network, stretch: int) -> Floats:
    """Where a stretch ends."""
    node = int(on.stretches.arcs.head[stretch])
    if node >= 0:
        at: Floats = on.sections.node_at[node]
        return at
    return point(on.sections, int(on.stretches.arcs.section[stretch]), float(on.stretches.to_m[stretch]))


def _along(on: Network, stretch: int) -> Iterator[Floats]:
    """The vertices within a stretch, in its direction."""
    section = int(on.stretches.arcs.section[stretch])
    first, last = int(on.sections.first[section]), int(on.sections.first[section + 1]) - 1
    least, most = sorted((float(on.stretches.from_m[stretch]), float(on.stretches.to_m[stretch])))
    ends = on.sections.metres[first:last, 1]
    begin, beyond = np.searchsorted(ends, [least + _AT_THE_END_M, most - _AT_THE_END_M])
    pieces = range(first + int(begin), first + int(beyond))
    for piece in reversed(pieces) if on.stretches.arcs.back[stretch] else pieces:
        yield on.sections.node_at[on.sections.end[piece]]
