"""The forecast of a city: one pass over its counts, arithmetic only. docs/concepts/forecast.md tells it on one page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from cityloop_parking.availability.calendar import EVERY_DAY, Calendar, types_of
from cityloop_parking.availability.city import City
from cityloop_parking.availability.curves import DAY_S, Curves, Grid
from cityloop_parking.availability.domain import Forecast, Question, Reading
from cityloop_parking.availability.intervals import MISSED, WORST, Intervals, Place
from cityloop_parking.availability.memory import Floats, Ints, Memory, Shape
from cityloop_parking.availability.past import fold, note, rescale
from cityloop_parking.availability.terms import OWN, TERMS, Known, terms
from cityloop_parking.availability.waiting import Waiting

HORIZONS_MIN = (15, 30, 60, 120, 180, 360, 1440, 10_080)
MOST_A_ROUND = 1000
ABSURD_TIMES = 10
_CONFIRMED = 3  # readings in a row with another capacity before it is believed
_LEAST_DAY_CURVES = 8
_OWN_LEAST_ERROR = 0.004
_TRUSTED_DAYS = 28.0  # a series that is known for less teaches the city less
_SPREAD_RATE = 0.02
_MISSED_RATE = 0.02


class Model:
    """Series of counts and what can be said of their future.

    `step_min` is the length of a slot, a divisor of a day; `day_curves` how many days are kept to be compared with today.
    Not for several threads.
    """

    def __init__(self, step_min: int, calendar: Calendar = EVERY_DAY, *, day_curves: int = 56, shift_s: int = 0) -> None:
        if step_min < 1 or 1440 % step_min:
            raise ValueError("a slot is a whole part of a day")
        self.grid = Grid(step_min * 60, shift_s)
        self.calendar = calendar
        self.horizons_min = tuple(each for each in HORIZONS_MIN if each % step_min == 0)
        self._waiting = Waiting(tuple(each // step_min for each in self.horizons_min))
        days = max(day_curves, _LEAST_DAY_CURVES)
        self.memory = Memory(Shape(self.grid.slots, days, len(self.horizons_min), self._waiting.size, TERMS))
        self._city = City(self.horizons_min, self.grid.slots)
        self._curves = Curves(self.grid, calendar, self.memory, self._city.profile)

    def observe(self, readings: Iterable[Reading]) -> set[str]:
        """Learns from counts, in the order of their stamps; answers the series that changed.

        A count that is not newer than the newest of its series is passed over, and so is one that cannot be: not finite, of no
        spaces, more than ten times as many as there are, or far below none.
        """
        believed = sorted((each for each in readings if _can_be(each)), key=lambda each: each.at)
        changed: set[str] = set()
        start = 0
        while start < len(believed):
            end, names = start, set[str]()
            while end < len(believed) and end - start < MOST_A_ROUND:
                each = believed[end]
                if each.series in names or each.at - believed[start].at > self.grid.step_s:
                    break
                names.add(each.series)
                end += 1
            changed |= self._round(believed[start:end])
            start = end
        return changed

    def forecast(self, questions: Sequence[Question]) -> list[Forecast | None]:
        """Answers in the order of the questions; None for a series that was never counted."""
        memory = self.memory
        known = [number for number, each in enumerate(questions) if each.series in memory.rows]
        answers: list[Forecast | None] = [None] * len(questions)
        if not known:
            return answers
        rows = np.array([memory.rows[questions[number].series] for number in known], dtype=np.int64)
        at = np.array([questions[number].at for number in known])
        since, rate, capacity, same = (each[rows] for each in (memory.last_at, memory.last_rate, memory.capacity, memory.same_since))
        for place, number in enumerate(known):
            newest = questions[number].newest
            if newest is not None and newest.at > since[place] and _can_be(newest):
                fresh = min(max(newest.occupied / newest.capacity, 0.0), 1.0)
                same[place] = same[place] if fresh == rate[place] else newest.at
                since[place], rate[place], capacity[place] = newest.at, fresh, newest.capacity
        state = Known(rows, since, rate, same, *self._city.beside(memory.deviation[rows], since, self.grid))
        _, step, scale = self._expected(state, np.maximum(at, since)[:, None])
        minutes = (np.maximum(at, since) - since) / 60
        low, high = self._reach(rows, minutes)
        middle = rate + step[:, 0]
        table = zip(
            at.tolist(), since.tolist(), capacity.tolist(), np.clip(middle, 0, 1).tolist(),
            np.clip(middle - low * scale[:, 0], 0, 1).tolist(), np.clip(middle + high * scale[:, 0], 0, 1).tolist(),
            memory.days[rows].tolist(), strict=True,
        )  # fmt: skip
        for number, line in zip(known, table, strict=True):
            answers[number] = Forecast(*line)
        return answers

    def city(self) -> bytes:
        """The part of the state that all series share."""
        return self._city.pack()

    def past(self, series: str) -> bytes:
        """The part of a series' state that changes once a day. Raises KeyError for one never counted."""
        return self.memory.pack(series, past=True)

    def today(self, series: str) -> bytes:
        """The part of a series' state that changes with each count. Raises KeyError for one never counted."""
        return self.memory.pack(series, past=False)

    def take_city(self, body: bytes) -> None:
        """Puts the shared state back. Raises ValueError for bytes of another layout."""
        self._city.unpack(body)

    def take(self, series: str, past: bytes, today: bytes) -> None:
        """Puts a series' state back. Raises ValueError for bytes of another layout."""
        self.memory.unpack(series, past, past=True)
        self.memory.unpack(series, today, past=False)

    def forget(self, series: str) -> None:
        """Drops a series; one never counted is no error."""
        self.memory.forget(series)

    @property
    def bytes_per_place(self) -> int:
        """How many bytes the stored state of a series has."""
        return self.memory.bytes_a_row

    def _round(self, readings: Sequence[Reading]) -> set[str]:
        """Counts of different series, close in time, in the order of their stamps."""
        memory, grid = self.memory, self.grid
        rows = memory.rows_of(each.series for each in readings)
        at = np.array([each.at for each in readings])
        newer = ~(at <= memory.last_at[rows])
        if not newer.all():
            readings = [each for each, is_newer in zip(readings, newer.tolist(), strict=True) if is_newer]
            rows, at = rows[newer], at[newer]
        if not readings:
            return set()
        occupied, capacity = np.array([each.occupied for each in readings]), np.array([each.capacity for each in readings])
        self._city.turn_to(int(grid.slot(at[-1:])[0]) // grid.slots)
        fold(self._curves, self._city, rows, grid.slot(at) // grid.slots)
        self._mature(rows, at)
        rescale(memory, rows, capacity, _CONFIRMED)
        rate = np.clip(occupied / capacity, 0.0, 1.0)
        note(grid, memory, rows, at, rate, capacity)
        self._ask(rows, at, rate)
        return {each.series for each in readings}

    def _ask(self, rows: Ints, at: Floats, rate: Floats) -> None:
        """Forecasts from these counts on, which wait for their truth: the errors and the truth are what is learnt from."""
        memory, grid = self.memory, self.grid
        usual = self._curves.usual(rows, at)
        deviation = usual.known * (rate - usual.weekday)
        beside = self._city.count(memory, rows, at, deviation, grid)
        slot = grid.slot(at)
        for horizons, chosen in self._waiting.due(slot):
            own = rows[chosen]
            target = slot[chosen][:, None] + np.array([self._waiting.ahead[each] for each in horizons])
            then = np.maximum(grid.middle(target) + self._city.phase_s, at[chosen][:, None])
            known = Known(own, at[chosen], rate[chosen], memory.same_since[own], beside[0][chosen], beside[1][chosen])
            values, step, scale = self._expected(known, then, np.array(horizons))
            for number, horizon in enumerate(horizons):
                place = self._waiting.place(horizon, slot[chosen])
                memory.asked_slot[own, place] = target[:, number]
                memory.asked_terms[own, place] = values[:, number]
                reach = self._city.intervals.reach[horizon] + memory.missed[own, horizon]
                middle, half = rate[chosen] + step[:, number], scale[:, number]
                said = (middle, half, middle - reach[:, 0] * half, middle + reach[:, 1] * half)
                memory.asked_said[own, place] = np.stack(said, axis=1)

    def _expected(self, known: Known, at: Floats, horizons: Ints | None = None) -> tuple[Floats, Floats, Floats]:
        """Terms, the step that is expected and the scale of its error, for n series and h instants each."""
        values, rows, memory = terms(self._curves, known, at), known.rows[:, None], self.memory
        weights: Floats
        own: Floats
        if horizons is not None:
            weights, own = self._city.weights.solved[horizons][None], memory.own[rows, horizons]
        else:
            minutes = (at - known.at[:, None]) / 60
            weights = self._city.weights.at(minutes)
            low, way = self._city.weights.place(minutes)
            below = np.where((low > 0)[..., None], memory.own[rows, np.maximum(low - 1, 0)], 0.0)
            own = below + way[..., None] * (memory.own[rows, low] - below)
        step = (values * weights).sum(axis=2) + (values[:, :, OWN] * own).sum(axis=2)
        expected = np.clip(known.rate[:, None] + step, 0.0, 1.0)
        step = expected - known.rate[:, None]
        place = self._place(known.at[:, None], expected, step)
        if horizons is not None:
            return values, step, np.exp(self._log_scale(rows, np.broadcast_to(horizons, step.shape), place))
        upper = np.exp(self._log_scale(rows, low, place))
        lower = np.where(low > 0, np.exp(self._log_scale(rows, np.maximum(low - 1, 0), place)), 0.3 * upper)
        return values, step, lower + way * (upper - lower)

    def _place(self, at: Floats, expected: Floats, step: Floats) -> Place:
        slot = self.grid.slot(at)
        hour = slot % self.grid.slots * (24 / self.grid.slots)
        weekend = types_of(self.calendar.kinds(slot // self.grid.slots)) > 0
        return Intervals.place(hour, weekend, expected, step)

    def _log_scale(self, rows: Ints, horizon: Ints, place: Place) -> Floats:
        memory = self.memory
        scored = memory.scored[rows, horizon]
        own = memory.spread[rows, horizon] * (scored / (scored + 20.0))
        return self._city.intervals.log_scale(horizon, place) + own

    def _reach(self, rows: Ints, minutes: Floats) -> tuple[Floats, Floats]:
        low, way = self._city.weights.place(minutes)
        upper = self._city.intervals.reach[low] + self.memory.missed[rows, low]
        under = np.maximum(low - 1, 0)
        lower = np.where((low > 0)[:, None], self._city.intervals.reach[under] + self.memory.missed[rows, under], upper)
        reach = np.maximum(lower + way[:, None] * (upper - lower), 0.05)
        return reach[:, 0], reach[:, 1]

    def _mature(self, rows: Ints, at: Floats) -> None:
        """Slots that are over: what was said of them is compared with their last count, and learnt from."""
        memory, grid = self.memory, self.grid
        closed = grid.slot(np.nan_to_num(memory.last_at[rows], nan=-1e9))
        over = (closed < grid.slot(at)) & ~np.isnan(memory.last_at[rows])
        rows, closed = rows[over], closed[over]
        self._city.note_phase(memory.last_at[rows] - grid.middle(closed))
        for horizon, ahead in enumerate(self._waiting.ahead):
            place = self._waiting.place(horizon, closed - ahead)
            told = memory.asked_slot[rows, place] == closed
            own, where = rows[told], place[told]
            if own.size:
                self._learn(horizon, own, where, memory.last_rate[own])
                memory.asked_slot[own, where] = -1

    def _learn(self, horizon: int, rows: Ints, where: Ints, truth: Floats) -> None:
        memory, city = self.memory, self._city
        values = memory.asked_terms[rows, where].astype(np.float64)
        middle, scale, low, high = memory.asked_said[rows, where].astype(np.float64).T
        step = truth - self._base(values)
        error = truth - middle
        trust = np.minimum((memory.days[rows] + 0.5) / _TRUSTED_DAYS, 1.0) ** 2
        city.weights.learn(horizon, values, step, error, trust)
        self._learn_own(horizon, rows, values, error)
        asked_at = self.grid.middle(memory.asked_slot[rows, where] - self._waiting.ahead[horizon])
        place = self._place(asked_at, np.clip(middle, 0, 1), middle - self._base(values))
        in_scales = np.abs(error) / np.maximum(scale, 1e-5)
        missed = np.stack([truth < np.clip(low, 0, 1), truth > np.clip(high, 0, 1)], axis=1).astype(np.float64)
        city.intervals.learn(horizon, place, in_scales, missed, city.alive)
        memory.scored[rows, horizon] = np.minimum(memory.scored[rows, horizon] + 1, 1000)
        memory.spread[rows, horizon] += _SPREAD_RATE * (np.minimum(in_scales, WORST) - 1)
        memory.missed[rows, horizon] += _MISSED_RATE * (missed - MISSED)

    @staticmethod
    def _base(values: Floats) -> Floats:
        """The rate from which a forecast started, which its terms tell."""
        return values[:, -2] + 0.5

    def _learn_own(self, horizon: int, rows: Ints, values: Floats, error: Floats) -> None:
        """Each series' sums for its own correction; solved when its day is over."""
        memory = self.memory
        weight = 1 / np.maximum(np.abs(error), _OWN_LEAST_ERROR)
        some = values[:, OWN]
        target = error + (some * memory.own[rows, horizon]).sum(axis=1)
        memory.own_squares[rows, horizon] += weight[:, None, None] * some[:, :, None] * some[:, None, :]
        memory.own_products[rows, horizon] += weight[:, None] * some * target[:, None]


def _can_be(reading: Reading) -> bool:
    occupied, capacity = reading.occupied, reading.capacity
    if not (math.isfinite(occupied) and math.isfinite(capacity) and math.isfinite(reading.at)) or capacity < 1:
        return False
    return -0.1 * capacity - 10 <= occupied <= ABSURD_TIMES * max(capacity, 10) and reading.at > DAY_S
