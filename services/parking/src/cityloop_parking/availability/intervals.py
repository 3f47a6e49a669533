"""How far off a forecast may be: scales that follow the errors, and multipliers that keep one miss in ten on each side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cityloop_parking.availability.domain import LOW
from cityloop_parking.availability.memory import Flags, Floats, Ints

MISSED = LOW  # wanted on each side
_LEVELS = np.array([0.02, 0.1, 0.5, 0.9, 0.98])
_STEPS = np.array([0.005, 0.02, 0.05, 0.1])
_HOURS = 12
_REACH_RATE = 0.03  # per slot in which every series is scored
_SCALE_RATE = 0.01
_FACTOR_RATE = 0.02
_LEAST_REACH = 0.05
WORST = 4.0  # an error counts at most as so many scales
_START_SCALE = np.log(0.02)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a forecast lies in the city's tables of factors."""

    hour: Ints
    level: Ints
    step: Ints


class Intervals:
    """The city's part; each series' own part is in its row."""

    def __init__(self, horizons_min: tuple[int, ...]) -> None:
        many = len(horizons_min)
        minutes = np.array(horizons_min, dtype=np.float64)
        self.scale = _START_SCALE + 0.5 * np.log(np.minimum(minutes, 360) / 30)
        self.hours = np.zeros((many, 2 * _HOURS))
        self.levels = np.zeros((many, len(_LEVELS) + 1))
        self.steps = np.zeros((many, len(_STEPS) + 1))
        self.reach = np.full((many, 2), 1.3)

    @staticmethod
    def place(hour_of_day: Floats, weekend: Flags, level: Floats, step: Floats) -> Place:
        """Where forecasts lie: two-hour spans of working days and of weekends, by the level expected, by the size of the step."""
        hour = np.minimum((hour_of_day / 2).astype(np.int64), _HOURS - 1) + _HOURS * weekend.astype(np.int64)
        return Place(hour, np.searchsorted(_LEVELS, level), np.searchsorted(_STEPS, np.abs(step)))

    def log_scale(self, horizon: Ints, place: Place) -> Floats:
        """Log of the city's mean absolute error at such a place."""
        factors = self.hours[horizon, place.hour] + self.levels[horizon, place.level] + self.steps[horizon, place.step]
        found: Floats = self.scale[horizon] + factors
        return found

    def learn(self, horizon: Ints, place: Place, pull: Floats, missed: Floats, alive: int) -> None:
        """Moves the city's factors by n forecasts whose truth is known.

        `pull` is the error in scales less 1, `missed` is n x 2: 0.9 where the truth lay below, or above, the interval, else -0.1;
        `alive` counts the series of the city: a slot in which each of them is scored is one full step.
        """
        share = 1 / max(alive, 1)
        self.scale += _SCALE_RATE * share * np.bincount(horizon, pull, minlength=len(self.scale))
        for table, where in ((self.hours, place.hour), (self.levels, place.level), (self.steps, place.step)):
            sums = np.bincount(horizon * table.shape[1] + where, pull, minlength=table.size)
            np.add(table, _FACTOR_RATE * share * sums.reshape(table.shape), out=table)
        sides = [np.bincount(horizon, missed[:, side], minlength=len(self.scale)) for side in (0, 1)]
        self.reach += _REACH_RATE * share * np.stack(sides, axis=1)
        np.maximum(self.reach, _LEAST_REACH, out=self.reach)
