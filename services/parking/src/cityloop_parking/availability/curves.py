"""Reads what a series was like: its profiles, its days, and today so far. Slots are numbered from 1970 on, local time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cityloop_parking.availability.calendar import KINDS, Calendar, types_of
from cityloop_parking.availability.memory import EMPTY, FINE, FULL, Floats, Ints, Memory

DAY_S = 86_400
_SHRINK = 1.0  # days of the coarser profile that a finer one starts with
_SHRINK_CITY = 0.5


@dataclass(frozen=True, slots=True)
class Grid:
    """Slots of `step_s` seconds; the first of a day begins `shift_s` before local midnight."""

    step_s: int
    shift_s: int = 0

    @property
    def slots(self) -> int:
        """Slots of a day."""
        return DAY_S // self.step_s

    def slot(self, at: Floats) -> Ints:
        """The slot in which an instant lies."""
        return np.floor((at + self.shift_s) / self.step_s).astype(np.int64)

    def middle(self, slot: Ints) -> Floats:
        """The instant in the middle of a slot."""
        return (slot + 0.5) * self.step_s - self.shift_s

    def between(self, at: Floats) -> tuple[Ints, Floats]:
        """The slot whose middle was last, and how far the way to the next middle is gone, 0..1."""
        place = (at + self.shift_s) / self.step_s - 0.5
        slot = np.floor(place)
        return slot.astype(np.int64), place - slot


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual at an instant: by weekday, type of day and all days (each leans on the next), and how well it is known, 0..1."""

    weekday: Floats
    kind: Floats
    every: Floats
    known: Floats


class Curves:
    """The past of series, read at any instants; `city` is the mean profile of all series."""

    def __init__(self, grid: Grid, calendar: Calendar, memory: Memory, city: Floats) -> None:
        self.grid, self.calendar, self.memory, self.city = grid, calendar, memory, city

    def usual(self, rows: Ints, at: Floats) -> Usual:
        """The profiles at an instant, between the middles of two slots; `rows` must broadcast to `at`."""
        slot, way = self.grid.between(at)
        first, second = self._usual_slot(rows, slot), self._usual_slot(rows, slot + 1)
        return Usual(*(one + way * (two - one) for one, two in zip(first, second, strict=True)))

    def seen(self, rows: Ints, at: Floats) -> Floats:
        """The rate as it was at an instant, NaN where that is not known."""
        slot, way = self.grid.between(at)
        first, second = self.seen_slot(rows, slot), self.seen_slot(rows, slot + 1)
        return first + way * (second - first)

    def seen_slot(self, rows: Ints, slot: Ints) -> Floats:
        """The rate in the middle of a slot of today or of a day that is kept, NaN where that is not known."""
        day, part = np.divmod(slot, self.grid.slots)
        past = self.kept_slot(rows, slot, np.zeros_like(slot))
        return np.where(self.memory.day[rows] == day, self.memory.today[rows, part], past)

    def kept(self, rows: Ints, at: Floats, back: Ints) -> Floats:
        """The rate `back` days before an instant, at the same time of the day, NaN where no such day is kept."""
        slot, way = self.grid.between(at)
        first, second = self.kept_slot(rows, slot, back), self.kept_slot(rows, slot + 1, back)
        return first + way * (second - first)

    def kept_slot(self, rows: Ints, slot: Ints, back: Ints) -> Floats:
        """The rate in the middle of the same slot `back` days before, of the days that are kept."""
        day, part = np.divmod(slot, self.grid.slots)
        day = day - back
        place = day % self.memory.shape.days
        kept = self.memory.curves[rows, place, part]
        return np.where((self.memory.curve_day[rows, place] == day) & (kept != EMPTY), kept / FULL, np.nan)

    def _usual_slot(self, rows: Ints, slot: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        day, part = np.divmod(slot, self.grid.slots)
        kinds = self.calendar.kinds(day)
        weight, mean = self.memory.weight, self.memory.mean
        every_weight = weight[rows, KINDS + 3, part].astype(np.float64)
        type_index = KINDS + types_of(kinds)
        every = _lean(mean[rows, KINDS + 3, part] / FINE, every_weight, self.city[part], _SHRINK_CITY)
        kind = _lean(mean[rows, type_index, part] / FINE, weight[rows, type_index, part], every, _SHRINK)
        weekday = _lean(mean[rows, kinds, part] / FINE, weight[rows, kinds, part], kind, _SHRINK)
        return weekday, kind, every, every_weight / (every_weight + 1)


def _lean(own: Floats, weight: Floats, coarser: Floats, shrink: float) -> Floats:
    days = weight.astype(np.float64)
    leaning: Floats = (days * own + shrink * coarser) / (days + shrink)
    return leaning
