"""The forecast of a city: one pass over its counts, arithmetic only. docs/concepts/forecast.md tells it on one page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from cityloop_parking.availability.asking import ask, note_city, score
from cityloop_parking.availability.calendar import EVERY_DAY, Calendar
from cityloop_parking.availability.city import City
from cityloop_parking.availability.curves import DAY_S, Curves, Grid
from cityloop_parking.availability.domain import Forecast, Question, Reading
from cityloop_parking.availability.expecting import at_instants
from cityloop_parking.availability.memory import Flags, Floats, Ints, Memory, Shape
from cityloop_parking.availability.past import fold, note, rescale
from cityloop_parking.availability.terms import TERMS, Known, known_now
from cityloop_parking.availability.waiting import Waiting
from cityloop_parking.observations.domain import ABSURD_TIMES

HORIZONS_MIN = (15, 30, 60, 120, 180, 360, 1080, 3000, 9720)  # beyond six hours at no whole days: there the usual would have no step
LIGHT_HORIZONS_MIN = (30, 120, 360, 3000)
MOST_A_ROUND = 1000
_DAYS, _LIGHT_DAYS = 56, 8  # kept to be compared with today
_MOST_SPACES = 1_000_000
_NEVER_S = 7_258_118_400.0  # the year 2200: a stamp beyond it is no time


class Model:
    """Series of counts and what can be said of their future.

    `step_min` is the length of a slot, a divisor of a day. A `light` model keeps fewer days and learns at fewer horizons: half the size.
    Not for several threads.
    """

    def __init__(self, step_min: int, calendar: Calendar = EVERY_DAY, *, light: bool = False, shift_s: int = 0) -> None:
        if step_min < 1 or 1440 % step_min:
            raise ValueError("a slot is a whole part of a day")
        self.grid = Grid(step_min * 60, shift_s)
        horizons_min = tuple(each for each in (LIGHT_HORIZONS_MIN if light else HORIZONS_MIN) if each % step_min == 0)
        self._waiting = Waiting([each // step_min for each in horizons_min], self.grid.slots)
        days = _LIGHT_DAYS if light else _DAYS
        self.memory = Memory(Shape(self.grid.slots, days, len(horizons_min), self._waiting.size, TERMS))
        self._city = City(horizons_min, self.grid.slots)
        self._curves = Curves(self.grid, calendar, self.memory, self._city.profile)

    def observe(self, readings: Iterable[Reading]) -> set[str]:
        """Learns from counts, in the order of their stamps and names; answers the series that changed.

        A count that is not newer than the newest of its series is passed over, and so is one that is no number or of no spaces. One
        that cannot be, more than ten times what there is or far below none, is passed over when it comes alone; a series that goes
        on so is full, or empty.
        """
        first: dict[tuple[float, str], Reading] = {}
        for each in readings:
            if _is_count(each):
                first.setdefault((each.at, each.series), each)
        believed = [first[key] for key in sorted(first)]
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
        answers: list[Forecast | None] = [None] * len(questions)
        rows = np.array([memory.rows.get(each.series, -1) for each in questions], dtype=np.int64)
        counted = rows >= 0
        counted[counted] = ~np.isnan(memory.last_at[rows[counted]])
        known, rows = np.flatnonzero(counted).tolist(), rows[counted]
        if not known:
            return answers
        state, capacity = self._newest(rows, [questions[number].newest for number in known])
        at = np.array([questions[number].at for number in known])
        said = at_instants(self._curves, self._city, state, np.maximum(at, state.at)[:, None])
        demand = zip(*(each[:, 0].tolist() for each in (said.low, said.middle, said.high)), strict=True)
        table = zip(at.tolist(), state.at.tolist(), capacity.tolist(), demand, memory.days[rows].tolist(), strict=True)
        for number, line in zip(known, table, strict=True):
            answers[number] = Forecast(*line)
        return answers

    def _newest(self, rows: Ints, told: Sequence[Reading | None]) -> tuple[Known, Floats]:
        """What is known of series, and their capacities; a count that is told beside and is newer counts."""
        memory = self.memory
        known, capacity = known_now(memory, rows), memory.capacity[rows]
        for place, newest in enumerate(told):
            if newest is not None and newest.at > known.at[place] and _is_count(newest):
                rate = min(max(newest.occupied / newest.capacity, 0.0), 1.0)
                known.same_since[place] = known.same_since[place] if rate == known.rate[place] else newest.at
                known.at[place], known.rate[place], capacity[place] = newest.at, rate, newest.capacity
        return known, capacity

    def knows(self, series: str) -> bool:
        """Whether a series has ever been counted."""
        return series in self.memory.rows

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
        """Puts a series' state back. Raises ValueError for bytes of another layout, and then nothing has changed."""
        self.memory.check(past, past=True)
        self.memory.check(today, past=False)
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
        at, occupied, capacity = (np.array([each[column] for each in readings]) for column in (1, 2, 3))
        odd_at = memory.odd_at[rows]
        told_at = np.fmax(memory.last_at[rows], odd_at)
        newer, can_be = ~(at <= told_at), _can_be(occupied, capacity)
        believed = newer & (can_be | (odd_at == told_at))
        memory.odd_at[rows[newer & ~can_be]] = at[newer & ~can_be]
        changed = {each.series for each, is_newer in zip(readings, newer.tolist(), strict=True) if is_newer}
        if not believed.all():
            readings = [each for each, is_believed in zip(readings, believed.tolist(), strict=True) if is_believed]
            rows, at, occupied, capacity = rows[believed], at[believed], occupied[believed], capacity[believed]
        if not readings:
            return changed
        slot = grid.slot(at)
        self._city.turn_to(int(slot[-1]) // grid.slots)
        closed = rows[grid.slot(np.nan_to_num(memory.last_at[rows], nan=1e15)) < slot]
        if closed.size:
            ask(self._curves, self._city, self._waiting, closed)
            score(self._curves, self._city, self._waiting, closed)
        fold(self._curves, self._city, rows, slot // grid.slots)
        rescale(grid, memory, rows, at, capacity)
        rate = np.clip(occupied / capacity, 0.0, 1.0)
        note_city(self._curves, self._city, rows, at, rate)
        note(grid, memory, rows, at, rate, capacity)
        return changed


def _is_count(reading: Reading) -> bool:
    return math.isfinite(reading.occupied) and 1 <= reading.capacity <= _MOST_SPACES and DAY_S < reading.at < _NEVER_S


def _can_be(occupied: Floats, capacity: Floats) -> Flags:
    """Whether a count can be true; a few cars too many or less than none are a gate's mistake."""
    return (occupied >= -0.1 * capacity - 10) & (occupied <= ABSURD_TIMES * np.maximum(capacity, 10))
