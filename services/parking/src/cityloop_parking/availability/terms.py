"""The terms of the linear forecast: what is known at a count, and what is usual until an instant asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cityloop_parking.availability.calendar import types_of
from cityloop_parking.availability.curves import DAY_S, Curves
from cityloop_parking.availability.memory import OWN_TERMS, Floats, Ints

NAMES = (
    "one",
    "deviation", "step",
    "kind_step", "kind_level", "every_step", "every_level",
    "change_15", "change_30", "change_60", "change_120",
    "yesterday_step", "yesterday_level", "week_step", "week_level",
    "today", "city", "city_change",
    "alike_step", "alike_level",
    "sin", "cos", "sin_2", "cos_2", "deviation_sin", "deviation_cos",
    "same_15_deviation", "same_15_step", "same_45_deviation", "same_45_step", "same_120_deviation", "same_120_step",
    "weekend_deviation", "weekend_step",
    "level", "level_square",
)  # fmt: skip
TERMS = len(NAMES)
OWN = tuple(NAMES.index(name) for name in ("one", "deviation", "step", "change_30", "today", "city", "alike_step"))
STEPS = tuple(NAMES.index(name) for name in NAMES if name.endswith("step"))  # these grow with the time that is bridged by themselves
assert len(OWN) == OWN_TERMS
_CHANGES_S = (900, 1800, 3600, 7200)
_SAME_S = (900, 2700, 7200)
_ALIKE_SLOTS = 8
_ALIKE_HALF_LIFE_S = 3600
_OTHER_TYPE, _OTHER_WEEKDAY, _WEEK_OLDER, _FLOOR = 0.004, 0.0008, 0.0003, 0.0002


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of n series when each is counted: rows in memory, stamp, rate, since when the count is the same, the city."""

    rows: Ints
    at: Floats
    rate: Floats
    same_since: Floats
    city: Floats  # mean deviation of the others
    city_change: Floats  # of the last hour


def terms(curves: Curves, known: Known, at: Floats) -> Floats:
    """Terms of n series for h instants each, none before the count: n x h x terms."""
    rows = known.rows[:, None]
    now, then = curves.usual(known.rows, known.at), curves.usual(rows, at)
    deviation = now.known * (now.weekday - known.rate)
    step = then.weekday - now.weekday[:, None]
    kind_step, every_step = then.kind - now.kind[:, None] - step, then.every - now.every[:, None] - step
    once = [deviation, now.known * (now.kind - now.weekday), now.known * (now.every - now.weekday)]
    changes = _changes(curves, known, now.weekday)
    lags = [lag for days in (1, 7) for lag in _lag(curves, known, at, now.weekday, step, days)]
    alike_step, alike_level = _alike(curves, known, at, then.weekday, step)
    angle = 2 * np.pi * known.at / DAY_S
    waves = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    same = [(known.at - known.same_since >= age).astype(np.float64) for age in _SAME_S]
    weekend = (types_of(curves.calendar.kinds(curves.grid.slot(known.at) // curves.grid.slots)) > 0).astype(np.float64)
    level = known.rate - 0.5
    columns = [
        np.ones_like(known.rate), deviation, step, kind_step, once[1], every_step, once[2], *changes, *lags,
        _today(curves, known), known.city, known.city_change, alike_step, alike_level,
        *waves, deviation * waves[0], deviation * waves[1],
        *(column for gate in same for column in (gate * deviation, gate[:, None] * step)),
        weekend * deviation, weekend[:, None] * step, level, level * level,
    ]  # fmt: skip
    values = np.empty((*at.shape, TERMS))
    for number, column in enumerate(columns):
        values[:, :, number] = column if column.ndim == 2 else column[:, None]
    return values


def _changes(curves: Curves, known: Known, usual: Floats) -> list[Floats]:
    """How the deviation has changed in the last 15, 30, 60 and 120 minutes; none where that is not known."""
    before = known.at[:, None] - np.array(_CHANGES_S)
    rows = known.rows[:, None]
    was = curves.seen(rows, before) - curves.usual(rows, before).weekday
    change = _or(((known.rate - usual)[:, None] - was), 0.0)
    return [change[:, number] for number in range(len(_CHANGES_S))]


def _lag(curves: Curves, known: Known, at: Floats, usual: Floats, step: Floats, days: int) -> tuple[Floats, Floats]:
    """What an earlier day did from here on beyond what is usual, and how it stood then."""
    rows = known.rows
    back = days * DAY_S
    while_asked = np.ceil(np.maximum(at - known.at[:, None], 1) / back).astype(np.int64) * back  # the last such day that is over then
    stood = curves.seen(rows, known.at - back)
    from_there = curves.seen(rows[:, None], known.at[:, None] - while_asked)
    went = curves.seen(rows[:, None], at - while_asked) - from_there
    return _or(went - step, 0.0), _or(stood - usual, 0.0)


def _today(curves: Curves, known: Known) -> Floats:
    """The mean deviation from the usual so far today."""
    grid, memory = curves.grid, curves.memory
    slot = grid.slot(known.at)
    first = slot // grid.slots * grid.slots
    is_today = memory.day[known.rows] == slot // grid.slots
    slots = first[:, None] + np.arange(grid.slots)
    past = is_today[:, None] & (grid.middle(slots) <= known.at[:, None]) & ~np.isnan(memory.today[known.rows])
    rows, _ = np.nonzero(past)
    chosen = slots[past]
    usual = curves.usual(known.rows[rows], grid.middle(chosen)).weekday
    sums = np.bincount(rows, memory.today[known.rows][past] - usual, minlength=known.rows.size)
    mean: Floats = sums / np.maximum(past.sum(axis=1), 1)
    return mean


def _alike(curves: Curves, known: Known, at: Floats, usual_then: Floats, step: Floats) -> tuple[Floats, Floats]:
    """What the days did that were like today so far: their step and their level, both beyond what is usual."""
    grid = curves.grid
    began = curves.memory.curve_day[known.rows].astype(np.int64)
    back = (grid.slot(known.at) // grid.slots)[:, None] - began
    back = np.where(began > 0, back, 0)  # an empty place stands for today itself, which is not among the days
    rows = known.rows[:, None]
    stood = curves.kept(rows, known.at[:, None], back)
    weight = _likeness(curves, known, back, stood)
    levels = curves.kept(rows[:, :, None], at[:, :, None], back[:, None, :])
    went = levels - stood[:, None, :]
    is_known = ~np.isnan(went)
    weights = np.where(is_known, weight[:, None, :], 0.0)
    total = weights.sum(axis=2)
    found = total > 0
    share = weights / np.where(found, total, 1.0)[:, :, None]
    mean_step = (share * np.where(is_known, went, 0.0)).sum(axis=2)
    mean_level = (share * np.where(is_known, levels, 0.0)).sum(axis=2)
    return np.where(found, mean_step - step, 0.0), np.where(found, mean_level - usual_then, 0.0)


def _likeness(curves: Curves, known: Known, back: Ints, stood: Floats) -> Floats:
    """Weight of each kept day by how like today it was until now: the near past counts most, and so do days of the same kind."""
    grid, calendar = curves.grid, curves.calendar
    slot, _ = grid.between(known.at)
    day = grid.slot(known.at) // grid.slots
    slots = slot[:, None] - np.arange(_ALIKE_SLOTS)
    today = np.where(slots // grid.slots == day[:, None], curves.seen_slot(known.rows[:, None], slots), np.nan)
    then = curves.kept_slot(known.rows[:, None, None], slots[:, None, :], back[:, :, None])
    age = known.at[:, None] - grid.middle(slots)
    fading = (0.5 ** (age / _ALIKE_HALF_LIFE_S))[:, None, :]
    apart = (then - today[:, None, :]) ** 2
    both = ~np.isnan(apart)
    fade = np.where(both, fading, 0.0)
    now = (stood - known.rate[:, None]) ** 2
    is_now = ~np.isnan(now)
    total = fade.sum(axis=2) + is_now
    distance = (fade * np.where(both, apart, 0.0)).sum(axis=2) + np.where(is_now, now, 0.0)
    kinds, kind = calendar.kinds(day[:, None] - back), calendar.kinds(day)[:, None]
    distance = distance / np.where(total > 0, total, 1.0) + _OTHER_TYPE * (types_of(kinds) != types_of(kind))
    distance += _OTHER_WEEKDAY * (kinds != kind) + _WEEK_OLDER * back / 7
    return np.where((total > 0) & (back > 0), 1 / (distance + _FLOOR) ** 2, 0.0)


def _or(values: Floats, other: float) -> Floats:
    return np.where(np.isnan(values), other, values)
