"""Which weekday a local day is lived as."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

Days = npt.NDArray[np.integer[Any]]
KINDS = 7  # Monday 0 to Sunday 6
SATURDAY, SUNDAY = 5, 6
_FIRST_DAY = date(1970, 1, 1)
_FIRST_WEEKDAY = _FIRST_DAY.weekday()


def number_of(day: date) -> int:
    """The number of a local day, from 1970-01-01 on."""
    return (day - _FIRST_DAY).days


def day_of(number: int) -> date:
    """The local day of a number."""
    return _FIRST_DAY + timedelta(days=int(number))


class Calendar:
    """Days are numbered from 1970-01-01, local; `lived_as` names the days that are not what their weekday says.

    A public holiday is lived as a Sunday (6), a Saturday that is worked as a Friday (4), or as the weekday that it replaces.
    Raises ValueError for a kind outside 0..6.
    """

    def __init__(self, lived_as: Mapping[int, int] | None = None) -> None:
        named = sorted((lived_as or {}).items())
        if any(not 0 <= kind < KINDS for _, kind in named):
            raise ValueError("a day is lived as a weekday 0 (Monday) to 6 (Sunday)")
        self._days = np.array([day for day, _ in named], dtype=np.int64)
        self._kinds = np.array([kind for _, kind in named], dtype=np.int64)

    def kinds(self, days: Days) -> Days:
        """The weekday as which each day is lived."""
        kinds = (days + _FIRST_WEEKDAY) % KINDS
        if not self._days.size:
            return kinds
        place = np.minimum(np.searchsorted(self._days, days), self._days.size - 1)
        return np.where(self._days[place] == days, self._kinds[place], kinds)


def types_of(kinds: Days) -> Days:
    """0 for Monday to Friday, 1 for Saturday, 2 for Sunday."""
    return np.maximum(kinds - SATURDAY + 1, 0)


EVERY_DAY = Calendar()
