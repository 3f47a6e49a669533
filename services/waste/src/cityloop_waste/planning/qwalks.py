"""Cheapest walks by load: what a trip could be if it might pass a stop twice, only not turn straight back (a - b - a).

Trips may not repeat a stop, and finding the cheapest of those is as hard as routing itself. Walks of a given load are found by
going through the loads once (Christofides, Mingozzi and Toth 1981: "q-routes"), and every trip is a walk: what holds of all walks
holds of all trips. Costs are whole numbers (int32, never beyond `FAR` / 2 in size), so nothing here is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Costs = NDArray[np.int32]
FAR = 1 << 30
_NEVER = np.int64(1 << 60)
_MOST_ROUNDS = 40


@dataclass(frozen=True, slots=True)
class Walks:
    """Walks from the beginning to each stop, by load (rows, the stop's own included) and stop (columns).

    Two labels each: the cheapest walk, and the cheapest that comes from another stop than the first. `via` is where they come
    from; the number of stops where they begin.
    """

    cost: tuple[Costs, Costs]
    via: tuple[NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class Crossing:
    """The cheapest walk in its load's share through each stop: its two halves by load and label, both with the stop itself."""

    share: Ints
    load: Ints
    first: tuple[Ints, Ints]
    second: tuple[Ints, Ints]


def walks(into: Costs, begin: Costs, demands: Ints, capacity: int) -> Walks:
    """All walks up to the capacity. `into[b, a]` is the cost from a to b (the diagonal FAR / 2), `begin` that to a first stop.

    Every stop asks for at least 1.
    """
    count, most, least = len(demands), int(demands.max()), int(demands.min())
    rows = most + capacity + 1  # the first `most` are loads below zero: nothing is there
    cost = np.full((2, rows, count), FAR, np.int32)
    via = np.full((2, rows, count), count, np.int32)
    returns = np.full((rows, count), -1, np.int64)  # at which load a walk would be back where it came from
    leaps = np.append(demands, -rows - 1)
    arcs = np.empty((count, count), np.int32)
    flat, each = arcs.ravel(), np.arange(count) * count
    for row in range(most + least, rows):
        np.take(cost[0], row - demands, axis=0, out=arcs, mode="clip")
        arcs += into
        turns = np.flatnonzero(returns[row - most : row - least + 1] == row)
        if len(turns):
            loads, stops = np.divmod(turns, count)
            loads += row - most
            back = via[0, loads, stops]
            arcs[back, stops] = cost[1, loads, stops] + into[back, stops]
        for label in (0, 1):
            origin = arcs.argmin(1)
            found = flat[each + origin]
            flat[each + origin] = FAR
            none = found >= FAR // 2
            found[none], origin[none] = FAR, count
            cost[label, row], via[label, row] = found, origin
        fresh = demands == row - most
        cost[0, row, fresh] = begin[fresh]
        returns[row] = row + leaps[via[0, row]]
    return Walks((cost[0, most:], cost[1, most:]), (via[0, most:], via[1, most:]))


class Middle:
    """Joins walks to a stop with walks from it, the stop's own demand counted once, within the capacity."""

    def __init__(self, demands: Ints, capacity: int) -> None:
        steps = np.arange(capacity - int(demands.min()) + 1)[:, None]
        self._demands, self._stops = demands, np.arange(len(demands))
        self._before = capacity - steps  # loads of the first half, falling: what the second may bear grows
        self._after = demands[None, :] + steps
        self._fits = self._after <= capacity
        self._at = np.where(self._fits, self._after, 0) * len(demands) + self._stops[None, :]

    def cheapest(self, to: Walks, on: Walks, guess: Ints) -> Crossing:
        """For each stop the least of `demand x cost / load` over the walks through it, rounded down, and the walk that has it.

        A ratio's minimum by Dinkelbach: the least of `demand x cost - share x load` is not negative once the share is right.
        """
        share = guess
        for _ in range(_MOST_ROUNDS):
            found, least = self._round(to, on, share)
            if np.all((least >= 0) & (least < found.load)):
                return found
            share = share + least // found.load
        found, least = self._round(to, on, share)
        lowered = np.where(least < 0, share + least // self._demands, share)
        return Crossing(lowered, found.load, found.first, found.second)

    def _round(self, to: Walks, on: Walks, share: Ints) -> tuple[Crossing, Ints]:
        """The walks that are cheapest when a unit of load is paid `share / demand`, and what they then cost times the demand."""
        demands, stops, steps = self._demands, self._stops, np.arange(len(self._before))[:, None]
        paid = share * self._before
        ahead = [self._priced(cost[::-1][: len(paid)], paid) for cost in to.cost]
        origin = [via[::-1][: len(paid)] for via in to.via]
        paid = share * (self._after - demands)
        behind = [np.where(self._fits, self._priced(cost.ravel()[self._at], paid), _NEVER) for cost in on.cost]
        target = [via.ravel()[self._at] for via in on.via]
        target[0] = np.where(target[0] == len(stops), -1, target[0])  # to end is not to turn back to the beginning
        best, label, other = _two_best(behind, target)
        joined = [mine + np.where(label != via, best, other) for mine, via in zip(ahead, origin, strict=True)]
        step = np.minimum(*joined).argmin(0)
        least = np.minimum(*joined)[step, stops]
        first = np.where(joined[0][step, stops] <= joined[1][step, stops], 0, 1)
        came = np.where(first == 0, origin[0][step, stops], origin[1][step, stops])
        allowed = [np.where((via != came) & (steps <= step), cost, _NEVER) for cost, via in zip(behind, target, strict=True)]
        beyond = np.minimum(*allowed).argmin(0)
        second = np.where(allowed[0][beyond, stops] <= allowed[1][beyond, stops], 0, 1)
        before, after = self._before[step, 0], demands + beyond
        return Crossing(share, before + after - demands, (before, first), (after, second)), least

    def _priced(self, cost: Costs, paid: Ints) -> Ints:
        return np.where(cost < FAR // 2, cost * self._demands - paid, _NEVER)


def _two_best(cost: list[Ints], label: list[NDArray[np.int32]]) -> tuple[Ints, NDArray[np.int32], Ints]:
    """Down the rows: the least of both labels so far, where it goes, and the least so far that goes elsewhere."""
    rows = np.arange(len(cost[0]))[:, None]
    best = np.minimum.accumulate(cost[0], axis=0)
    lower = np.ones(best.shape, bool)
    lower[1:] = cost[0][1:] < best[:-1]
    where = np.take_along_axis(label[0], np.maximum.accumulate(np.where(lower, rows, 0), axis=0), 0)
    other = np.where(label[0] != where, cost[0], cost[1])
    # where the best begins to go elsewhere, the one before it is the best of all others
    other[1:] = np.where(where[1:] != where[:-1], np.minimum(other[1:], best[:-1]), other[1:])
    return best, where, np.minimum.accumulate(other, axis=0)


def passed(found: Walks, demands: Ints, half: tuple[Ints, Ints], weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], Ints]:
    """Follows the half of each stop's walk to where it begins: how often it passes each stop (the stop itself not counted, each

    walk counted with its weight), and its first stop.
    """
    count = len(demands)
    times, at, (load, label) = np.zeros(count), np.arange(count), (half[0].copy(), half[1].copy())
    under_way = np.arange(count)
    while len(under_way):
        here, now = at[under_way], load[under_way]
        origin = np.where(label[under_way] == 0, found.via[0][now, here], found.via[1][now, here])
        goes_on = origin < count
        under_way, here, now, origin = under_way[goes_on], here[goes_on], now[goes_on], origin[goes_on]
        times += np.bincount(origin, weight[under_way], count)
        at[under_way], load[under_way] = origin, now - demands[here]
        label[under_way] = np.where(found.via[0][load[under_way], origin] != here, 0, 1)
    return times, at
