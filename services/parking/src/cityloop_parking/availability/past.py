"""How a count becomes part of the past: today's curve, the profiles when the day is over, another capacity."""

from __future__ import annotations

import numpy as np

from cityloop_parking.availability.calendar import KINDS, types_of
from cityloop_parking.availability.city import City
from cityloop_parking.availability.curves import ALL_DAYS, Curves, Grid, along
from cityloop_parking.availability.memory import EMPTY, FINE, FULL, NO_DAY, OWN_TERMS, Flags, Floats, Ints, Memory

_BRIDGED_S = 5400  # between two counts further apart nothing is known
_KEPT_A_WEEK = 0.8
_DAYS_OF_TYPE = (5, 1, 1)
_MOST_MOVE = 0.3  # of a profile by one day, once it is known
_KNOWN_DAYS = 2.0
_OWN_RIDGE = 0.05
_OWN_DOUBT = 100.0
_OWN_KEPT = 0.5 ** (1 / 20)
_CONFIRMED = 3  # readings in a row with another capacity before it is believed
_SAME_CAPACITY = 0.05
_MOST_TIMES = 5.0  # a capacity so many times as large or as small is another car park, or a mistake


def note(grid: Grid, memory: Memory, rows: Ints, at: Floats, rate: Floats, capacity: Floats) -> None:
    """Draws today's curve on to a count: through the middles of the slots since the count before, in a straight line."""
    before_at, before = memory.last_at[rows], memory.last_rate[rows]
    slot = grid.slot(at)
    day = slot // grid.slots
    gap = at - before_at
    bridged = (gap <= _BRIDGED_S) | ((gap <= 12 * 3600) & (np.abs(rate - before) <= np.maximum(0.03, 1.5 / capacity)))
    passed, _ = grid.between(at)  # the newest slot whose middle is over
    newest = np.where(np.isnan(before_at), passed, grid.between(np.nan_to_num(before_at))[0])
    first = np.where(bridged, newest + 1, passed + 1)
    first = np.maximum(first, day * grid.slots)
    for number in range(int(np.max(passed - first, initial=-1)) + 1):
        chosen = np.flatnonzero(first + number <= passed)
        where = (first + number)[chosen]
        way = (grid.middle(where) - before_at[chosen]) / gap[chosen]
        memory.today[rows[chosen], where % grid.slots] = along(before[chosen], rate[chosen], way)
    unknown = np.isnan(memory.today[rows, slot % grid.slots]) | (passed < slot)
    memory.today[rows[unknown], (slot % grid.slots)[unknown]] = rate[unknown]
    changed = ~(before == rate)
    memory.same_since[rows[changed]] = at[changed]
    memory.last_at[rows], memory.last_rate[rows] = at, rate


def fold(curves: Curves, city: City, rows: Ints, day: Ints) -> None:
    """Ends the days of series that are counted on a later one: today's curve joins the profiles and the kept days."""
    memory = curves.memory
    over = memory.day[rows] < day
    rows, day = rows[over], day[over]
    begun = memory.day[rows] != NO_DAY
    ended = rows[begun]
    if ended.size:
        kinds = curves.calendar.kinds(memory.day[ended].astype(np.int64))
        today = memory.today[ended].astype(np.float64)
        known = ~np.isnan(today)
        types = types_of(kinds)
        for index, kept in (
            (kinds, np.full(kinds.shape, _KEPT_A_WEEK)),
            (KINDS + types, _KEPT_A_WEEK ** (1 / np.array(_DAYS_OF_TYPE))[types]),
            (np.full_like(kinds, ALL_DAYS), np.full(kinds.shape, _KEPT_A_WEEK ** (1 / 7))),
        ):
            _learn_profile(memory, ended, index, today, known, kept)
        city.learn_day(today)
        _keep(memory, ended, np.where(known, np.round(np.nan_to_num(today) * FULL), EMPTY), day[begun])
        memory.days[ended] += 1
        _solve_own(memory, ended)
    memory.today[rows] = np.nan
    memory.today_sum[rows], memory.today_counts[rows] = 0.0, 0
    memory.day[rows] = day


def _keep(memory: Memory, rows: Ints, curves: Floats, day: Ints) -> None:
    """Keeps the days that are over at the place of their number, and empties the places of days until `day` that were missed."""
    days = memory.shape.days
    began = memory.day[rows]
    memory.curves[rows, :, began % days] = curves
    for missed in range(1, min(int((day - began).max()), days + 1)):
        later = np.flatnonzero(began + missed < day)
        memory.curves[rows[later], :, (began[later] + missed) % days] = EMPTY


def _learn_profile(memory: Memory, rows: Ints, index: Ints, today: Floats, known: Flags, kept: Floats) -> None:
    weight = memory.weight[rows, :, index].astype(np.float64)
    mean = memory.mean[rows, :, index] / FINE
    apart = today - mean
    apart = np.where(weight >= _KNOWN_DAYS, np.clip(apart, -_MOST_MOVE, _MOST_MOVE), apart)
    more = np.where(known, weight * kept[:, None] + 1, weight)
    moved = np.where(known, mean + apart / np.maximum(more, 1), mean)
    memory.weight[rows, :, index] = more
    memory.mean[rows, :, index] = np.round(moved * FINE)


def _solve_own(memory: Memory, rows: Ints) -> None:
    """Each series' own correction of the city's weights, held near none as long as little was seen."""
    squares = memory.own_squares[rows].astype(np.float64)
    diagonal = np.einsum("nkii->nki", squares)
    doubt = (_OWN_RIDGE + _OWN_DOUBT / np.maximum(memory.scored[rows], 1))[:, :, None] * diagonal + 1e-6
    solved = np.linalg.solve(squares + doubt[:, :, :, None] * np.eye(OWN_TERMS), memory.own_products[rows][..., None].astype(np.float64))
    memory.own[rows] = solved[..., 0]
    memory.own_squares[rows] *= _OWN_KEPT
    memory.own_products[rows] *= _OWN_KEPT


def rescale(grid: Grid, memory: Memory, rows: Ints, at: Floats, capacity: Floats) -> None:
    """Another capacity, once it was told often enough in a row: as many are taken as before, of another number.

    What was counted since it was told first is of it already. Where it is another car park altogether, rates stay what they are.
    """
    fresh = memory.capacity[rows] == 0
    memory.capacity[rows[fresh]] = capacity[fresh]
    known = memory.capacity[rows]
    other = capacity != known
    again = other & (memory.other_capacity[rows] == capacity)
    memory.other_times[rows] = np.where(other, np.where(again, memory.other_times[rows] + 1, 1), 0)
    memory.other_capacity[rows[other]] = capacity[other]
    first = other & (memory.other_times[rows] == 1)
    memory.other_since[rows[first]] = at[first]
    sure = other & (memory.other_times[rows] >= _CONFIRMED)
    for row, share in zip(rows[sure].tolist(), (known / capacity)[sure].tolist(), strict=True):
        if abs(share - 1) > _SAME_CAPACITY and 1 / _MOST_TIMES <= share <= _MOST_TIMES:
            _rescale(grid, memory, row, share)
    memory.capacity[rows[sure]] = capacity[sure]


def _rescale(grid: Grid, memory: Memory, row: int, share: float) -> None:
    memory.mean[row] = np.round(np.clip(memory.mean[row] * share, 0, FINE))
    kept = memory.curves[row]
    memory.curves[row] = np.where(kept == EMPTY, EMPTY, np.round(np.clip(kept * share, 0, FULL))).astype(np.uint8)
    day = int(memory.day[row])
    middles = grid.middle(np.arange(grid.slots) + day * grid.slots)
    before = middles < memory.other_since[row]
    memory.today[row, before] = np.clip(memory.today[row, before] * share, 0, 1)
