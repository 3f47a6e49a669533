"""The truth that forecasts are judged by: the rate of each place in each slot, and the points that join two slots of a day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cityloop_parking.availability.files import Floats, Ints, Layout, Table
from cityloop_parking.places.domain import FileTooLarge

DAY_S = 86_400
MOST_CELLS = 20_000_000
HORIZONS_MIN = (30, 60, 120, 180)
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cells:
    """The slots that have a value, by place and slot. `row` is the table's row that it comes from, the last one of the slot.

    `own` is false where the value was carried from an earlier slot of the day; `day` is the local day of the row's own stamp,
    in days since 1970.
    """

    step_s: int
    places: int
    place: Ints
    slot: Ints
    day: Ints
    rate: Floats
    capacity: Floats
    row: Ints
    own: Flags

    @property
    def per_day(self) -> int:
        """Slots of a day."""
        return DAY_S // self.step_s

    def of_week(self, chosen: Ints | Flags) -> Ints:
        """Which slot of which weekday of which place, of the chosen cells: a number of its own for each."""
        slot = self.slot[chosen]
        weekday = (slot // self.per_day + 3) % 7  # 1970 began on a Thursday
        number: Ints = (self.place[chosen] * 7 + weekday) * self.per_day + slot % self.per_day
        return number


@dataclass(frozen=True, slots=True)
class Points:
    """Pairs of cells of one place and one day, `minutes` apart: from which, and for which, a forecast is made."""

    minutes: int
    origin: Ints
    target: Ints

    def where(self, chosen: Flags) -> Points:
        """Those that were chosen."""
        return Points(self.minutes, self.origin[chosen], self.target[chosen])


def cells(table: Table, layout: Layout) -> Cells:
    """The slots of a file. Of several rows in a slot the last counts; an empty one stays empty, or carries the day's last value.

    A value is carried to the end of its own day and no further than the file goes: a pair of slots counts where both values were
    stamped on the same day, and a sensor that is dead for a week is no week of truth. Raises FileTooLarge.
    """
    slot = np.floor((table.at + layout.shift_s) / layout.step_s).astype(np.int64)
    order = np.lexsort((np.arange(len(slot)), slot, table.place))
    place, slot = table.place[order], slot[order]
    last = np.append((place[1:] != place[:-1]) | (slot[1:] != slot[:-1]), True)
    place, slot, row = place[last], slot[last], order[last]
    own = np.ones(len(row), np.bool_)
    if layout.carries:
        times = _lengths(place, slot, DAY_S // layout.step_s)
        if times.sum() > MOST_CELLS:
            raise FileTooLarge(f"Its places and days have more than {MOST_CELLS:,} slots.")
        first = np.cumsum(times) - times
        own = np.zeros(int(times.sum()), np.bool_)
        own[first] = True
        slot = np.repeat(slot - first, times) + np.arange(len(own))
        place, row = np.repeat(place, times), np.repeat(row, times)
    day = np.floor(table.at[row] / DAY_S).astype(np.int64)
    return Cells(layout.step_s, len(table.places), place, slot, day, table.rate[row], table.capacity[row], row, own)


def _lengths(place: Ints, slot: Ints, per_day: int) -> Ints:
    """For how many slots each value stands: to the place's next one, the end of the day, or the file's last slot."""
    ends = np.minimum((slot // per_day + 1) * per_day, slot.max() + 1)
    following = np.append(np.where(place[1:] == place[:-1], slot[1:], ends[:-1]), ends[-1:])
    stands: Ints = np.minimum(ends, following) - slot
    return stands


def points(truth: Cells, minutes: int) -> Points:
    """Every pair of cells of one place and one day that lie `minutes` apart."""
    apart = minutes * 60 // truth.step_s
    first = truth.slot.min()
    span = truth.slot.max() - first + 1 + apart
    key = truth.place * span + truth.slot - first
    found = np.minimum(np.searchsorted(key, key + apart), len(key) - 1)
    paired = (key[found] == key + apart) & (truth.day[found] == truth.day)
    origin = np.flatnonzero(paired)
    return Points(minutes, origin, found[origin])
