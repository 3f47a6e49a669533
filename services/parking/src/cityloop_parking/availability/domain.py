"""What a forecast is asked, what it starts from, and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

LOW, HIGH = 0.1, 0.9  # the two quantiles of an 80 % interval
_LEAST_WIDTH = 1e-4  # of the rate: no interval is a point


class Reading(NamedTuple):
    """One count of a series: `at` is wall-clock seconds, that is Unix seconds plus the offset of the local time from UTC."""

    series: str
    at: float
    occupied: float
    capacity: float


class Question(NamedTuple):
    """What is asked of a series: the state at `at` (wall-clock seconds), from what is known, or from `newest` where that is newer."""

    series: str
    at: float
    newest: Reading | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """How full a series will be at `at`; rates are occupied / capacity in 0..1.

    `rate` is the value that is expected, `low` and `high` are the 10 % and 90 % quantiles, `since` is the stamp of the count
    that it starts from, `days` how many days of the series it has learnt from. `demand` are the same three values where there is no
    end at empty and full: how far they lie beyond says how sure "full" is.
    """

    at: float
    since: float
    capacity: float
    demand: tuple[float, float, float]
    days: int

    @property
    def rate(self) -> float:
        """The value that is expected."""
        return _cut(self.demand[1])

    @property
    def low(self) -> float:
        """The 10 % quantile."""
        return _cut(self.demand[0])

    @property
    def high(self) -> float:
        """The 90 % quantile."""
        return _cut(self.demand[2])

    def above(self, rate: float) -> float:
        """The chance that the rate is at least this one: exponential on both sides of the middle, through the quantiles."""
        low, middle, high = self.demand
        middle = min(max(middle, low), high)
        up, down = max(high - middle, _LEAST_WIDTH), max(middle - low, _LEAST_WIDTH)
        if rate >= middle:
            return _beyond((rate - middle) / up)
        return 1 - _beyond((middle - rate) / down)

    @property
    def chance(self) -> float:
        """The chance of at least one space: that fewer than capacity - 0.5 are taken; none where there is no space at all."""
        return 1 - self.above(1 - 0.5 / self.capacity) if self.capacity >= 1 else 0.0


def _cut(rate: float) -> float:
    return min(max(rate, 0.0), 1.0)


def _beyond(reach: float) -> float:
    """The chance of lying further off than `reach` half intervals on one side: 1/2 at 0, 1/10 at 1, falling exponentially."""
    return 0.5 * math.exp(-reach * math.log(5))
