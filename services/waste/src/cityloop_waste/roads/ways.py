"""The ways behind the figures of travel: from vertex to vertex, as a truck drives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from cityloop_common.geo import Position
from cityloop_waste.roads.network import DM, Network


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
        if on.places[leg.origin] == on.places[leg.target]:
            found[number] = (on.places[leg.origin],)
        elif np.isfinite(on.off_m[[leg.origin, leg.target]]).all():
            from_node.setdefault(int(on.node[leg.origin]), []).append(number)
    for node, numbers in from_node.items():
        limit = max(legs[number].limit() for number in numbers)
        _, before = dijkstra(on.graph, directed=True, indices=node, limit=limit, return_predecessors=True)
        for number in numbers:
            leg = legs[number]
            nodes = _traced(before, node, int(on.node[leg.target]))
            if nodes is not None:
                between = nodes if len(nodes) > 1 else ()
                found[number] = (on.places[leg.origin], *(on.plane.position(on.nodes_at[each]) for each in between), on.places[leg.target])
    return found


def _traced(before: NDArray[np.int32], origin: int, target: int) -> list[int] | None:
    """The nodes of a way, from each node's predecessor on the way from `origin`; None when the search has not reached `target`."""
    nodes = [target]
    while nodes[-1] != origin:
        nodes.append(int(before[nodes[-1]]))
        if nodes[-1] < 0:
            return None
    return nodes[::-1]
