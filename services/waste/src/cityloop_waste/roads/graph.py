"""Travel over a directed road graph, and the estimate that stands in where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from cityloop_common.geo import Position, distance_m
from cityloop_waste.roads.domain import DETOUR, Road, Travel, TravelSource
from cityloop_waste.roads.network import DM, Network, network
from cityloop_waste.roads.sections import Floats, Ints

ACCESS_KMH = 10
"""Pace of the straight way between a place and the road beside it."""
ESTIMATE_KMH = 25
_AT_ONCE = 32
"""Places searched from at a time: each holds a number for every node, so 1,051 at once would take 840 MB on 100,000 nodes."""
_LONGEST_MS = 86_400_000


def travel(roads: Sequence[Road], places: Sequence[Position], *, gross_mass_kg: int | None = None) -> Travel:
    """Metres and seconds of the quickest ways between places, in the direction of traffic.

    Roads that do not bear `gross_mass_kg` are closed. A place joins the nearest open road, within 500 m; the last metres count
    straight at 10 km/h. Two places that join it at the same spot are no farther apart than straight, and at one position there
    is no way between them. Turns cost what `Turns` says. Pairs without a way, and ways of more than a day, are None.
    """
    return travel_on(network(roads, places, gross_mass_kg=gross_mass_kg), places)


def travel_on(joined: Network | None, places: Sequence[Position]) -> Travel:
    """`travel` between the places of a network; without one there is no way between any two."""
    numbers = {place: number for number, place in enumerate(places)}
    one = _equal(np.array([numbers[place] for place in places]))
    if joined is None:
        nowhere = np.full((len(places), len(places)), np.inf)
        return _table(nowhere, nowhere, one)
    return _table(_ways(joined), _beside(joined), one)


def estimate(places: Sequence[Position]) -> Travel:
    """Great-circle distances times 1.3 at 25 km/h: no road was asked, and the answer says so."""
    metres = tuple(tuple(round(distance_m(origin, target) * DETOUR) for target in places) for origin in places)
    seconds = tuple(tuple(math.ceil(each * 3.6 / ESTIMATE_KMH) for each in row) for row in metres)
    return Travel(metres, seconds, TravelSource.ESTIMATE)


def _ways(joined: Network) -> Floats:
    """The packed number of the quickest way between each two places; infinite without one."""
    leave, one, of = np.unique(joined.leave, return_index=True, return_inverse=True)
    reach = joined.reach[one]
    found = np.empty((len(leave), len(leave)))
    for number in range(0, len(leave), _AT_ONCE):
        block = slice(number, number + _AT_ONCE)
        found[block] = dijkstra(joined.graph, directed=True, indices=leave[block])[:, reach]
    return found[np.ix_(of, of)]


def _beside(joined: Network) -> Floats:
    """Metres off the road at both ends of each way; straight where that is shorter and both join the road at the same spot."""
    beside: Floats = joined.off_m[:, None] + joined.off_m[None, :]
    ahead, across = np.nonzero(_equal(joined.leave) & np.isfinite(beside))
    straight = np.sqrt(((joined.at[ahead] - joined.at[across]) ** 2).sum(axis=1))
    beside[ahead, across] = np.minimum(beside[ahead, across], straight)
    return beside


def _equal(values: Ints) -> NDArray[np.bool_]:
    """Which of the values equal which."""
    equal: NDArray[np.bool_] = values[:, None] == values[None, :]
    return equal


def _table(ways: Floats, beside_m: Floats, one: NDArray[np.bool_]) -> Travel:
    """Whole metres and seconds from ways over roads and the metres beside them; what is `one` place is 0 from itself."""
    reached = np.isfinite(ways) & np.isfinite(beside_m) & (ways < _LONGEST_MS * DM)
    packed = np.where(reached, ways, 0.0)
    beside = np.where(reached, beside_m, 0.0)
    metres = np.rint(np.mod(packed, DM) / 10 + beside).astype(np.int64)
    seconds = np.ceil(np.floor(packed / DM) / 1000 + beside * 3.6 / ACCESS_KMH - 1e-9).astype(np.int64)
    metres[one], seconds[one], reached[one] = 0, 0, True
    return Travel(cells(metres, reached), cells(seconds, reached), TravelSource.GRAPH)


def cells(values: Ints, reached: NDArray[np.bool_]) -> tuple[tuple[int | None, ...], ...]:
    """A table of Python's numbers, None where nothing was reached."""
    return tuple(
        tuple(value if known else None for value, known in zip(row, row_known, strict=True))
        for row, row_known in zip(values.tolist(), reached.tolist(), strict=True)
    )
