"""A bound that no plan can beat: q-routes with dual ascent (Christofides, Mingozzi and Toth 1981), for days with unloads on the way.

**What is left of the rules.** Each stop is served once or its prize is lost; a trip carries what the largest vehicle carries; a
vehicle that is used leaves its start once and comes to the end once; as many trips begin at a site as end there. Windows, shifts,
breaks, hours of sites, which vehicle may go where, and that a trip passes a stop only once are forgotten. Every plan of the model
keeps what is left, so its least cost is not above any plan's.

**Why the figure is a bound.** Give each stop i a price u_i, each site s a price p_s, and each use of a vehicle a price v. A trip is
charged its arcs, plus p of the site where it ends, less p of the site where it begins, less v if it begins where a vehicle does.
Over a plan the p cancel, and v comes off once for each used vehicle: the plan's way = the charges of its trips + v x vehicles. If no
trip is charged less than the prices of its stops, and no prize (less v) is less than the stop's price, the plan's way and lost
prizes come to at least sum(u) + v x (the fewest vehicles) (for v < 0: x the most vehicles). A stop left out can make one vehicle
unnecessary, no more: that is why its prize counts less v.

**How prices are found.** For any multipliers l, let r be the charge of a walk less the l of its stops, and b_i = q_i x the least of
r / load over the walks through i. On a walk of load q the b of its stops come to at most sum(q_i) x r / q = r, so u = l + b (at most
the prize) are prices as above, whatever l is. The l, p and v move along the visits of the walks that decide (a subgradient).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cityloop_common.clock import Clock
from cityloop_waste.planning.fewest import needs
from cityloop_waste.planning.model import Model
from cityloop_waste.planning.qwalks import FAR, Ints, Middle, passed, walks

WEAK_STOPS = 15
"""Trips with more stops than this: a walk that may repeat stops is then much cheaper than a trip."""
_MOST_UNITS, _FEW_UNITS, _FEWEST_UNITS = 1_000, 150, 100
_MOST_WORK, _SHORT_WORK = 160_000_000, 5_000_000
_LARGEST = 1 << 28
_NO_PRIZE = 1 << 50
_FIRST_STEP, _COARSE_STEP, _SECOND_STEP, _LAST_STEP = 0.5, 0.02, 0.1, 0.001
_SHORTER, _PATIENCE, _WORTH = 0.6, 10, 2e-4
_KEPT, _AHEAD = 0.7, 0.05
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bound:
    """No plan drives less, lost prizes and penalties counted, vehicles not. `weak` where trips have many stops: it is then far below."""

    value: int
    steps: int
    weak: bool


@dataclass(frozen=True, slots=True)
class Trips:
    """What the relaxation keeps of a model: `stops` are the nodes that have a demand, all else goes by their number there.

    `begins` and `ends` have a row for where vehicles begin and end, then one a site. A demand is at least 1: stops without are
    passed on the way where that is cheaper, and not asked for.
    """

    stops: Ints
    arcs: Ints
    begins: Ints
    ends: Ints
    demands: Ints
    capacity: int
    prizes: Ints
    fewest: int
    most: int


def q_route_bound(
    model: Model,
    seconds: float,
    clock: Clock,
    *,
    stopped: Callable[[], bool] = lambda: False,
    left_out: Collection[int] = (),
) -> Bound:
    """The best bound found in the time, or earlier when nothing moves any more or `stopped()` says so.

    It holds for the way of every plan with the prizes (else the penalty) of its unserved stops added; for a model without either,
    of every plan that serves all. Stops that are `left_out` are not asked for at all: it then holds for plans that serve the others.
    """
    ends_at = clock.monotonic() + seconds
    trips = relaxed(model, left_out)
    weak = len(trips.demands) > WEAK_STOPS * max(1, -(-int(trips.demands.sum()) // trips.capacity))
    best, steps = 0, 0
    for value in _values(model, trips, left_out):
        best, steps = max(best, value), steps + 1
        if stopped() or clock.monotonic() >= ends_at:
            break
    return Bound(best, steps, weak)


def _values(model: Model, trips: Trips, left_out: Collection[int]) -> Iterator[int]:
    """The bound at each step: where a step takes long, with coarse units first, whose prices are a good beginning."""
    learnt: Mapping[int, float] = {}
    if trips.capacity > 2 * _FEW_UNITS and trips.capacity * len(trips.demands) ** 2 > _SHORT_WORK:
        coarse = relaxed(model, left_out, most_units=_FEW_UNITS)
        if len(coarse.demands):
            ascent = _Ascent(coarse, learnt)
            yield from ascent.values(_FIRST_STEP, _COARSE_STEP)
            learnt = ascent.learnt()
    if len(trips.demands):
        yield from _Ascent(trips, learnt).values(_SECOND_STEP if learnt else _FIRST_STEP, _LAST_STEP)


def relaxed(model: Model, left_out: Collection[int] = (), *, most_units: int = _MOST_UNITS) -> Trips:
    """The model with what the bound forgets taken away, loads in so many units at most."""
    stops = np.array([node for node in range(1, model.copies_from) if node not in left_out], np.int64)
    fewest = max((need.all_as_the_largest() for need in needs(model, stops.tolist())), default=0)
    demands, capacity = _coarse(*_tightest(model, stops), most=min(most_units, max(_FEWEST_UNITS, _MOST_WORK // max(1, len(stops)) ** 2)))
    stops, demands = stops[demands > 0], demands[demands > 0]
    sites = np.array(sorted({model.places[node]: node for node in range(model.copies_from, model.starts_from)}.values()), np.int64)
    starts = np.array(sorted({model.start(vehicle) for vehicle in range(model.vehicles)}), np.int64)
    ways = _over(np.array(model.cost, np.int64), np.setdiff1d(np.arange(1, model.copies_from), stops))
    calling = _over(ways, sites)
    begins = np.vstack([calling[np.ix_(starts, stops)].min(0), calling[np.ix_(sites, stops)]])
    ends = np.vstack([calling[stops, model.end], calling[np.ix_(stops, sites)].T])
    # an arc that costs more than two trips is cut down to that: this can only lower the bound, and keeps the numbers small
    far = 2 * int((begins.min(0) + ends.min(0)).max(initial=1)) + 1
    lost = _NO_PRIZE if model.penalty is None else model.penalty
    prizes = np.array([min(model.prizes.get(node, lost), _NO_PRIZE) for node in stops.tolist()], np.int64)
    arcs, begins, ends = (np.minimum(part, far) for part in (ways[np.ix_(stops, stops)], begins, ends))
    return Trips(stops, arcs, begins, ends, demands, capacity, prizes, min(fewest, model.vehicles), model.vehicles)


def _over(ways: Ints, nodes: Ints) -> Ints:
    """The ways with calls at these nodes on them where that is cheaper."""
    for node in nodes.tolist():
        ways = np.minimum(ways, ways[:, node, None] + ways[None, node, :])
    return ways


def _tightest(model: Model, stops: Ints) -> tuple[Ints, int]:
    """The load or cap that makes the most trips: what each stop adds, and the most of a trip. Where nothing is limited, stops count."""
    kinds = [(loads.added, max(loads.capacity)) for loads in model.loads]
    kinds += [(cap.added, max(most for most in cap.most if most is not None)) for cap in model.caps if None not in cap.most]
    found = [(np.minimum(np.array(added, np.int64)[stops], most), most) for added, most in kinds if most > 0]
    found = [(added, most) for added, most in found if added.sum() > 0]
    return max(found, key=lambda each: float(each[0].sum()) / each[1], default=(np.ones(len(stops), np.int64), max(1, len(stops))))


def _coarse(loads: Ints, capacity: int, *, most: int) -> tuple[Ints, int]:
    """Loads in units so large that a pass over them is short, everything rounded down.

    What fits together still fits together then: sum(floor(q / g)) <= floor(sum(q) / g) <= floor(Q / g). Of the units that are large
    enough, the one that loses the least.
    """
    unit = max(1, int(np.gcd.reduce(loads, initial=0)))
    if capacity // unit > most:
        least = -(-capacity // most)
        sizes = sorted(set(np.linspace(least, 2 * least, 200, dtype=np.int64).tolist()))
        unit = max(sizes, key=lambda size: float((loads // size).sum()) / (capacity // size))
    return loads // unit, capacity // unit


class _Ascent:
    """Moves the prices. Inside they are whole numbers in units of 2^-bits of the cost, those that arcs share in halves."""

    def __init__(self, trips: Trips, begin: Mapping[int, float]) -> None:
        self._trips = trips
        others = range(-1, -len(trips.begins) - 1, -1)  # the sites, and what a vehicle costs
        self._names = [*trips.stops.tolist(), *others]
        self._top = np.array([begin.get(name, 0.0) for name in self._names])
        self._reach = max(1, *(int(part.max(initial=1)) for part in (trips.arcs, trips.begins, trips.ends)))
        longest = trips.capacity // int(trips.demands.min()) + 2
        self._bits = math.floor(math.log2(_LARGEST / (4 * self._reach * longest)))
        self._arcs = self._scaled(trips.arcs.T)
        np.fill_diagonal(self._arcs, FAR // 2)
        self._begins, self._ends = self._scaled(trips.begins), self._scaled(trips.ends)
        self._prizes = np.minimum(np.floor(np.ldexp(trips.prizes.astype(float), self._bits)), 2.0**60).astype(np.int64)
        self._even = bool(np.array_equal(trips.arcs, trips.arcs.T))
        self._middle = Middle(trips.demands, trips.capacity)
        self._guess = np.zeros(len(trips.demands), np.int64)

    def learnt(self) -> Mapping[int, float]:
        """The best prices, those of stops by their nodes."""
        return dict(zip(self._names, self._top.tolist(), strict=True))

    def values(self, first_step: float, last_step: float) -> Iterator[int]:
        """The bound at each step, as long as steps change anything."""
        direction = np.zeros_like(self._top)
        prices, best, step, idle = self._top, -math.inf, first_step, 0
        while step > last_step:
            value, slope = self._judged(prices)
            yield -int(-np.ldexp(float(value), -self._bits) // 1)
            idle = 0 if value > best + abs(best) * _WORTH else idle + 1
            if value > best:
                best, self._top = value, prices
            if idle >= _PATIENCE:
                step, idle, prices, direction = step * _SHORTER, 0, self._top, np.zeros_like(slope)
            direction = _KEPT * direction + (1 - _KEPT) * slope
            length = float(direction @ direction)
            if length < 1e-9:
                return
            ahead = np.ldexp(best - value + _AHEAD * abs(best) + 1, -self._bits)
            prices = np.clip(prices + step * ahead / length * direction, -self._reach, self._reach)

    def _judged(self, prices: Reals) -> tuple[int, Reals]:
        """The bound at these prices, in units, and along which prices it would rise."""
        trips, count = self._trips, len(self._trips.demands)
        whole = np.rint(np.ldexp(prices, self._bits - 1)).astype(np.int64)
        stop, site, use = whole[:count], 2 * whole[count:-1, None], int(whole[-1])
        into = (self._arcs - stop[:, None] - stop[None, :]).astype(np.int32)
        from_each = self._begins - stop - np.vstack([[[use]], site])
        to_each = self._ends - stop + np.vstack([[[-use]], site])
        begin, end = from_each.min(0).astype(np.int32), to_each.min(0).astype(np.int32)
        to = walks(into, begin, trips.demands, trips.capacity)
        even = self._even and np.array_equal(begin, end)
        on = to if even else walks(np.ascontiguousarray(into.T), end, trips.demands, trips.capacity)
        found = self._middle.cheapest(to, on, self._guess)
        self._guess = found.share
        worth, lost = 2 * stop + found.share, self._prizes - max(0, 2 * use)
        served = worth <= lost
        value = int(np.minimum(worth, lost).sum()) + 2 * use * (trips.fewest if use > 0 else trips.most)
        weight = np.where(served, trips.demands / found.load, 0.0)
        before, first = passed(to, trips.demands, found.first, weight)
        after, last = passed(on, trips.demands, found.second, weight)
        rows = len(self._begins)
        leaving = np.bincount(from_each.argmin(0)[first], weight, rows)
        coming = np.bincount(to_each.argmin(0)[last], weight, rows)
        used = (leaving[0] + coming[0]) / 2 + (len(served) - served.sum() if use > 0 else 0)
        short, over = trips.fewest - used, trips.most - used
        more = short if use > 0 else over if use < 0 else max(short, 0.0) + min(over, 0.0)
        return value, np.concatenate([served - before - after - weight, (coming - leaving)[1:], [more]])

    def _scaled(self, cost: Ints) -> Ints:
        """Rounded down where units are larger than 1."""
        return cost << self._bits if self._bits >= 0 else cost >> -self._bits
