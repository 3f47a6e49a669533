"""The terms of the linear forecast: what is known at a count, and what is usual until an instant asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cityloop_parking.availability.calendar import types_of
from cityloop_parking.availability.curves import DAY_S, Curves, Usual, along
from cityloop_parking.availability.memory import OWN_TERMS, Floats, Ints, Memory

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
    "level", "level_square", "sharp_now", "sharp_then",
)  # fmt: skip
TERMS = len(NAMES)
OWN = tuple(NAMES.index(name) for name in ("one", "deviation", "step", "change_30", "today", "city", "alike_step"))
LEVEL = NAMES.index("level")  # the rate from which a forecast starts, less 0.5
STEPS = tuple(NAMES.index(name) for name in NAMES if name.endswith("step"))  # these grow with the time that is bridged by themselves
assert len(OWN) == OWN_TERMS
_CHANGES_S = np.array((900, 1800, 3600, 7200))
_LAGS_S = (DAY_S, 7 * DAY_S)
_SAME_S = (900, 2700, 7200)
_ALIKE_SLOTS = 8
_ALIKE_HALF_LIFE_S = 3600
_OTHER_TYPE, _OTHER_WEEKDAY, _WEEK_OLDER, _FLOOR = 0.004, 0.0008, 0.0005, 0.0002


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of n series when each is counted: rows in memory, stamp, rate, since when the count is the same.

    `today` is the mean deviation from the usual so far that day, `city` that of the other series just now, `city_change` its
    change in an hour.
    """

    rows: Ints
    at: Floats
    rate: Floats
    same_since: Floats
    today: Floats
    city: Floats
    city_change: Floats


def known_now(memory: Memory, rows: Ints) -> Known:
    """What is known at the newest counts."""
    today = memory.today_sum[rows] / np.maximum(memory.today_counts[rows], 1)
    city, change = memory.beside[rows].astype(np.float64).T
    return Known(rows, memory.last_at[rows], memory.last_rate[rows], memory.same_since[rows], today, city, change)


def terms(curves: Curves, known: Known, at: Floats) -> Floats:
    """Terms of n series for h instants each, none before the count: n x h x terms."""
    since = known.at[:, None]
    usual = curves.usual(known.rows, np.concatenate([since, at, since - _CHANGES_S], axis=1))
    now, then = slice(0, 1), slice(1, 1 + at.shape[1])
    weekday, kind, every = usual.weekday, usual.kind, usual.every
    sure = usual.known[:, 0]
    deviation = sure * (weekday[:, 0] - known.rate)
    step = weekday[:, then] - weekday[:, now]
    changes, lags = _before(curves, known, at, usual, step)
    alike_step, alike_level = _alike(curves, known, at)
    angle = 2 * np.pi / DAY_S * known.at
    waves = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    same = [(known.at - known.same_since >= age) for age in _SAME_S]
    weekend = curves.is_weekend(curves.grid.slot(known.at))
    level = known.rate - 0.5
    values = np.empty((*at.shape, TERMS))
    columns = [
        1.0, deviation, step,
        kind[:, then] - kind[:, now] - step, sure * (kind[:, 0] - weekday[:, 0]),
        every[:, then] - every[:, now] - step, sure * (every[:, 0] - weekday[:, 0]),
        *changes, *lags, known.today, known.city, known.city_change,
        _or_none(alike_step - step), _or_none(alike_level - weekday[:, then]),
        *waves, deviation * waves[0], deviation * waves[1],
        *(column for gate in same for column in (gate * deviation, gate[:, None] * step)),
        weekend * deviation, weekend[:, None] * step, level, level * level,
        usual.sharp[:, 0], usual.sharp[:, then],
    ]  # fmt: skip
    for number, column in enumerate(columns):
        values[:, :, number] = column[:, None] if isinstance(column, np.ndarray) and column.ndim == 1 else column
    return values


def _before(curves: Curves, known: Known, at: Floats, usual: Usual, step: Floats) -> tuple[list[Floats], list[Floats]]:
    """Changes of the deviation in the last two hours; what yesterday and a week ago went on to do, and how they stood.

    All beyond what is usual, and none where it is not known. Where more than such a day is asked for, the last one that is over.
    """
    since, many = known.at[:, None], at.shape[1]
    asked = [since - _CHANGES_S]
    for back in _LAGS_S:
        over = np.ceil(np.maximum(at - since, 1) / back) * back
        asked += [since - back, since - over, at - over]
    seen = curves.seen(known.rows, np.concatenate(asked, axis=1))
    weekday = usual.weekday
    first = len(_CHANGES_S)
    changes = _or_none((known.rate - weekday[:, 0])[:, None] - seen[:, :first] + weekday[:, 1 + many :])
    lags: list[Floats] = []
    for number in range(len(_LAGS_S)):
        start = first + number * (1 + 2 * many)
        stood, began, ended = seen[:, start], seen[:, start + 1 : start + 1 + many], seen[:, start + 1 + many : start + 1 + 2 * many]
        lags += [_or_none(ended - began - step), _or_none(stood - weekday[:, 0])]
    return [changes[:, number] for number in range(first)], lags


def _alike(curves: Curves, known: Known, at: Floats) -> tuple[Floats, Floats]:
    """What the days did that were like today so far: their step and their level, NaN where there are none."""
    grid, rows = curves.grid, known.rows
    now, way_now = grid.around(known.at)
    then, way_then = grid.around(at)
    before = now[:, :1] - np.arange(1, _ALIKE_SLOTS)
    many = at.shape[1]
    kept = curves.kept(rows, np.concatenate([now, before, then.reshape(len(rows), 2 * many)], axis=1))
    stood = along(kept[:, 0], kept[:, 1], way_now[:, None])
    ago = curves.ago(rows)
    weight = _likeness(curves, known, np.concatenate([now[:, :1], before], axis=1), kept, stood, ago)
    ends = kept[:, 1 + _ALIKE_SLOTS :].reshape(len(rows), many, 2, -1)
    levels = along(ends[:, :, 0], ends[:, :, 1], way_then[:, :, None])
    ahead = grid.slot(at) // grid.slots - (grid.slot(known.at) // grid.slots)[:, None]
    if ahead.any():
        levels = _days_on(levels, ago, ahead)
    went = levels - stood[:, None]
    is_known = ~np.isnan(went)
    weights = np.where(is_known, weight[:, None], 0)
    total = weights.sum(axis=2)
    share = 1 / np.where(total > 0, total, np.nan)
    return (weights * np.where(is_known, went, 0)).sum(axis=2) * share, (weights * np.where(is_known, levels, 0)).sum(axis=2) * share


def _days_on(levels: Floats, ago: Ints, ahead: Ints) -> Floats:
    """Levels of n x h x days, each taken from `ahead` days later; NaN where that day is today or is still to come."""
    days = levels.shape[2]
    moved = np.take_along_axis(levels, (np.arange(days) + ahead[:, :, None]) % days, axis=2)
    return np.where(ago[:, None] > ahead[:, :, None], moved, np.float32(np.nan))


def _likeness(curves: Curves, known: Known, slots: Ints, kept: Floats, stood: Floats, ago: Ints) -> Floats:
    """Weight of each kept day by how like today it was until now: the near past counts most, and so do days of the same kind.

    The first slot of `slots` is that whose middle was last; in `kept` the slots are those around now and then those before.
    """
    grid, calendar = curves.grid, curves.calendar
    day = grid.slot(known.at) // grid.slots
    is_today = (slots >= (day * grid.slots)[:, None]) & (curves.memory.day[known.rows] == day)[:, None]
    today = np.where(is_today, curves.memory.today[known.rows[:, None], slots % grid.slots], np.float32(np.nan))
    then = np.concatenate([kept[:, :1], kept[:, 2 : 1 + _ALIKE_SLOTS]], axis=1)
    apart = (then - today[:, :, None]) ** 2
    both = ~np.isnan(apart)
    fading = (0.5 ** ((known.at[:, None] - grid.middle(slots)) / _ALIKE_HALF_LIFE_S)).astype(np.float32)[:, :, None]
    fade = np.where(both, fading, np.float32(0))
    now = (stood - known.rate.astype(np.float32)[:, None]) ** 2
    is_now = ~np.isnan(now)
    total = fade.sum(axis=1) + is_now
    distance = (fade * np.where(both, apart, 0)).sum(axis=1) + np.where(is_now, now, 0)
    kinds, kind = calendar.kinds(curves.memory.day[known.rows][:, None] - ago), calendar.kinds(day)[:, None]
    distance = distance / np.maximum(total, 1e-6) + _OTHER_TYPE * (types_of(kinds) != types_of(kind))
    distance += _OTHER_WEEKDAY * (kinds != kind) + _WEEK_OLDER / 7 * ago
    weight: Floats = np.where(total > 0, (distance + _FLOOR) ** -2.0, 0.0)
    return weight


def _or_none(values: Floats) -> Floats:
    return np.where(np.isnan(values), 0.0, values)
