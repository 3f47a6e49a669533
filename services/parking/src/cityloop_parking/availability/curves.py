"""Reads what a series was like: its profiles, its days, and today so far. Slots are numbered from 1970 on, local time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cityloop_parking.availability.calendar import KINDS, Calendar, types_of
from cityloop_parking.availability.memory import EMPTY, FINE, FULL, PROFILES, Flags, Floats, Ints, Memory

DAY_S = 86_400
ALL_DAYS = PROFILES - 1
_AROUND = np.arange(-1, 3)
_SHRINK = 1.0  # days of the coarser profile that a finer one starts with
_SHRINK_CITY = 0.5
_RATES = np.arange(EMPTY + 1) / np.float32(FULL)  # of the bytes of a kept day
_RATES[EMPTY] = np.nan


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

    def around(self, at: Floats) -> tuple[Ints, Floats]:
        """The two slots between whose middles an instant lies, as a last dimension, and how far the way is gone."""
        slot, way = self.between(at)
        return np.stack([slot, slot + 1], axis=-1), way


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual at an instant: by weekday, type of day and all days (each leans on the next), and how well it is known, 0..1.

    `sharp` is what is added to the weekday's where it jumps at the edge of two slots, and the straight line between their middles
    smooths the jump: by how much the step there goes beyond both steps beside it.
    """

    weekday: Floats
    kind: Floats
    every: Floats
    known: Floats
    sharp: Floats


class Curves:
    """The past of series, read at any instants: n rows x m instants. `city` is the mean profile of all series."""

    def __init__(self, grid: Grid, calendar: Calendar, memory: Memory, city: Floats) -> None:
        self.grid, self.calendar, self.memory, self.city = grid, calendar, memory, city

    def usual(self, rows: Ints, at: Floats) -> Usual:
        """The profiles at instants, between the middles of two slots."""
        slot, way = self.grid.between(at)
        slots = slot[..., None] + _AROUND
        day, part = np.divmod(slots, self.grid.slots)
        kinds = self.calendar.kinds(day)
        first = (rows[:, None, None] * self.grid.slots + part) * PROFILES
        means, weights = self.memory.mean.reshape(-1), self.memory.weight.reshape(-1)
        at_all, at_type, at_kind = first + ALL_DAYS, first + KINDS + types_of(kinds), first + kinds
        days = weights[at_all].astype(np.float64)
        every = _lean(means[at_all], days, self.city[part], _SHRINK_CITY)
        kind = _lean(means[at_type], weights[at_type].astype(np.float64), every, _SHRINK)
        weekday = _lean(means[at_kind], weights[at_kind].astype(np.float64), kind, _SHRINK)
        steps = np.diff(weekday, axis=-1)
        low, high = np.minimum(steps[..., 0], steps[..., 2]), np.maximum(steps[..., 0], steps[..., 2])
        sharp = (steps[..., 1] - np.clip(steps[..., 1], low, high)) * ((way >= 0.5) - way)
        smooth = [along(each[..., 1], each[..., 2], way) for each in (weekday, kind, every, days / (days + 1))]
        return Usual(smooth[0], smooth[1], smooth[2], smooth[3], sharp)

    def seen(self, rows: Ints, at: Floats) -> Floats:
        """The rate as it was, today or on a day that is kept; NaN where that is not known."""
        slots, way = self.grid.around(at)
        seen = self.seen_slots(rows[:, None, None], slots)
        return along(seen[..., 0], seen[..., 1], way)

    def seen_slots(self, rows: Ints, slots: Ints) -> Floats:
        """The rate in the middle of slots, NaN where it is not known; `rows` must broadcast to `slots`."""
        memory = self.memory
        day, part = np.divmod(slots, self.grid.slots)
        today = memory.day[rows]
        ago = today - day
        kept = _RATES[memory.curves[rows, part, day % memory.shape.days]]
        past = np.where((ago > 0) & (ago <= memory.shape.days), kept, np.nan)
        return np.where(ago == 0, memory.today[rows, part], past)

    def is_weekend(self, slot: Ints) -> Flags:
        """Whether a slot's day is lived as a Saturday or a Sunday."""
        return types_of(self.calendar.kinds(slot // self.grid.slots)) > 0

    def kept(self, rows: Ints, slots: Ints) -> Floats:
        """The rates of all kept days in the middle of the same times of the day: n x m slots x days, as they lie in memory."""
        return _RATES[self.memory.curves[rows[:, None], slots % self.grid.slots]]

    def ago(self, rows: Ints) -> Ints:
        """How many days before today each kept day was: n x days, as they lie in memory."""
        days = self.memory.shape.days
        return (self.memory.day[rows][:, None] - 1 - np.arange(days)) % days + 1


def along(first: Floats, second: Floats, way: Floats) -> Floats:
    """What lies between two values when so much of the way is gone, 0..1."""
    between: Floats = first + way * (second - first)
    return between


def _lean(own: Ints, days: Floats, coarser: Floats, shrink: float) -> Floats:
    leaning: Floats = (days * own * (1 / FINE) + shrink * coarser) / (days + shrink)
    return leaning
