"""The truth that forecasts are judged by: the rate of each place in each slot, and the points that join two slots of a day."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cityloop_parking.availability.calendar import EVERY_DAY, KINDS
from cityloop_parking.availability.curves import DAY_S
from cityloop_parking.availability.files import Floats, Ints, Layout, Table
from cityloop_parking.places.domain import FileTooLarge

MOST_CELLS = 20_000_000
HORIZONS_MIN = (30, 60, 120, 180)
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cells:
    """The slots that have a value, by place and slot. `row` is the table's row that it comes from, the last one of the slot.

    `own` is false where the value was carried from an earlier slot; `day` is the local day of the row's stamp, in days since 1970.
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
        day, part = np.divmod(self.slot[chosen], self.per_day)
        number: Ints = (self.place[chosen] * KINDS + EVERY_DAY.kinds(day)) * self.per_day + part
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


def carried(table: Table, layout: Layout) -> Table:
    """The table with a reading at the end of each slot that has none: the place's last value before it, until the file ends.

    A feed may send changes only; so a count that is not told again still stands, for who judges and for who forecasts. From its
    first reading on a place has a value in every slot. Raises FileTooLarge.
    """
    place, slot, row = _last_of_slots(table, layout)
    following = np.append(np.where(place[1:] == place[:-1], slot[1:], slot.max() + 1), slot.max() + 1)
    times = following - slot - 1
    if len(slot) + times.sum() > MOST_CELLS:
        raise FileTooLarge(f"Its places and days have more than {MOST_CELLS:,} slots.")
    row = np.repeat(row, times)
    number = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times) + 1
    ends = (np.repeat(slot, times) + number + 1) * layout.step_s - layout.shift_s
    at = np.concatenate([table.at, ends - 1.0])
    order = np.argsort(at, kind="stable")
    return replace(
        table,
        place=np.concatenate([table.place, table.place[row]])[order],
        at=at[order],
        occupied=np.concatenate([table.occupied, table.occupied[row]])[order],
        capacity=np.concatenate([table.capacity, table.capacity[row]])[order],
        own=np.concatenate([table.own, np.zeros(len(row), np.bool_)])[order],
    )


def cells(table: Table, layout: Layout) -> Cells:
    """The slots of a file that have a reading; of several in a slot the last counts."""
    place, slot, row = _last_of_slots(table, layout)
    day = np.floor(table.at[row] / DAY_S).astype(np.int64)
    return Cells(layout.step_s, len(table.places), place, slot, day, table.rate[row], table.capacity[row], row, table.own[row])


def _last_of_slots(table: Table, layout: Layout) -> tuple[Ints, Ints, Ints]:
    """Place, slot and row of the last reading of each slot, by place and slot."""
    slot = layout.grid.slot(table.at)
    order = np.lexsort((np.arange(len(slot)), slot, table.place))
    place, slot = table.place[order], slot[order]
    last = np.append((place[1:] != place[:-1]) | (slot[1:] != slot[:-1]), True)
    return place[last], slot[last], order[last]


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
