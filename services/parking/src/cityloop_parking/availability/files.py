"""Files of counts that a forecast is judged on: `birmingham`, and `csv` with place, capacity, occupied, at.

A row that cannot be read is told with its number and its reason, the others are used; what was counted is never corrected here.
"""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from cityloop_parking.availability.curves import Grid
from cityloop_parking.places.domain import MOST_SPACES, FileTooLarge, UnreadableFile

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_BYTES = 1_000_000_000
MOST_ROWS = 10_000_000
MOST_PLACES = 20_000
MOST_LETTERS = 200  # of a place's name
ABSURD = 10 * MOST_SPACES  # a larger number is no count: 2147483647 stands for "unknown" in more than one feed
LISTED = 20  # refused rows that are told one by one
FIRST_YEAR, LAST_YEAR = 2000, 2099  # a clock that was never set says 1970
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall-clock time has no zone
_TOLD_EVERY = 20_000


class Format(StrEnum):
    """Files that a forecast can be judged on."""

    BIRMINGHAM = "birmingham"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a format names its columns and cuts the day: slot = floor((stamp + shift_s) / step_s), wall clock as stamped.

    `zoned` stamps are RFC 3339 and carry their offset from UTC. Where a feed `carries`, it may send changes only: a slot without a
    row has the value of the row before it.
    """

    place: str
    capacity: str
    occupied: str
    at: str
    step_s: int
    shift_s: int
    zoned: bool
    carries: bool

    @property
    def grid(self) -> Grid:
        """Its slots."""
        return Grid(self.step_s, self.shift_s)


LAYOUTS: Mapping[Format, Layout] = {
    Format.BIRMINGHAM: Layout("SystemCodeNumber", "Capacity", "Occupancy", "LastUpdated", 1800, 900, zoned=False, carries=False),
    Format.CSV: Layout("place", "capacity", "occupied", "at", 900, 0, zoned=True, carries=True),
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be used, and why; `row` counts from 1 and leaves out the header."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """The readings of a file in the order of time, one array a column; `at` is wall-clock seconds (Unix seconds plus the offset).

    `own` is false for a value that no row says and that stands for a slot without one.
    """

    places: tuple[str, ...]
    place: Ints
    at: Floats
    occupied: Floats
    capacity: Floats
    own: npt.NDArray[np.bool_]
    rows: int
    refused: int
    listed: tuple[Refused, ...]
    reasons: Mapping[str, int]

    @property
    def rate(self) -> Floats:
        """Occupied / capacity, in 0..1: what is counted below zero is empty, what is counted above the capacity is full."""
        return np.clip(self.occupied / self.capacity, 0.0, 1.0)


def read(raw: BinaryIO, layout: Layout, progress: Callable[[int], object] = lambda _: None) -> Table:
    """The file's readings. `progress` is told how many bytes were read.

    Raises UnreadableFile where it is not UTF-8, lacks a column or has no row that can be used, FileTooLarge beyond the limits.
    """
    rows = _Rows(layout)
    text = io.TextIOWrapper(raw, "utf-8-sig")
    try:
        rows.head(next(text, ""))
        for number, line in enumerate(text, 1):
            rows.take(line)
            if number % _TOLD_EVERY == 0:
                progress(raw.tell())
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"It is not UTF-8: {error.reason}.") from error
    finally:
        text.detach()
    return rows.table()


class _Rows:
    """Collects the rows of one file. A row is one line: a stray quotation mark costs its own row and none of the next."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._columns = (0, 0, 0, 0)
        self._width = 0
        self._places: dict[str, int] = {}
        self._place, self._at, self._instant = array("l"), array("d"), array("d")
        self._occupied, self._capacity = array("d"), array("d")
        self._rows = 0
        self._listed: list[Refused] = []
        self._reasons: Counter[str] = Counter()

    def head(self, line: str) -> None:
        """Finds the columns, in whatever order they stand."""
        layout = self._layout
        wanted = (layout.place, layout.capacity, layout.occupied, layout.at)
        found = [name.strip().lower() for name in _fields(line) or ()]
        missing = [name for name in wanted if name.lower() not in found]
        if missing:
            raise UnreadableFile(f"It needs the columns {', '.join(wanted)}; missing: {', '.join(missing)}.")
        place, capacity, occupied, at = (found.index(name.lower()) for name in wanted)
        self._columns, self._width = (place, capacity, occupied, at), max(place, capacity, occupied, at) + 1

    def take(self, line: str) -> None:
        """Keeps the line's reading, or says why not; an empty line is no row."""
        if not line.strip():
            return
        self._rows += 1
        if self._rows > MOST_ROWS:
            raise FileTooLarge(f"A file has at most {MOST_ROWS:,} rows.")
        reason = self._kept(_fields(line))
        if reason:
            self._reasons[reason] += 1
            if len(self._listed) < LISTED:
                self._listed.append(Refused(self._rows, reason))

    def _kept(self, fields: list[str] | None) -> str:
        """Keeps a row; the reason why not, where it cannot be."""
        if fields is None or len(fields) < self._width:
            return "the row is no row of this table"
        name, capacity, occupied, at = (fields[column].strip() for column in self._columns)
        if not name or len(name) > MOST_LETTERS or not name.isprintable():
            return "no place is named"
        spaces, taken, stamp = _number(capacity), _number(occupied), _stamp(at, self._layout.zoned)
        if isinstance(spaces, str) or spaces <= 0:
            return f"capacity {spaces}" if isinstance(spaces, str) else "capacity is not above zero"
        if isinstance(taken, str):
            return f"occupied {taken}"
        if isinstance(stamp, str):
            return f"the stamp {stamp}"
        place = self._places.setdefault(name, len(self._places))
        if place >= MOST_PLACES:
            raise FileTooLarge(f"A file has at most {MOST_PLACES:,} places.")
        self._place.append(place)
        self._capacity.append(spaces)
        self._occupied.append(taken)
        self._at.append(stamp[0])
        self._instant.append(stamp[1])
        return ""

    def table(self) -> Table:
        """What was kept, in the order of instants and, at one instant, of the file."""
        if not self._place:
            most = self._reasons.most_common(1)
            raise UnreadableFile(f"None of its {self._rows} rows can be used{f': {most[0][0]}' if most else ''}.")
        order = np.argsort(np.frombuffer(self._instant), kind="stable")
        return Table(
            places=tuple(self._places),
            place=np.asarray(self._place, np.int64)[order],
            at=np.frombuffer(self._at)[order],
            occupied=np.frombuffer(self._occupied)[order],
            capacity=np.frombuffer(self._capacity)[order],
            own=np.ones(len(order), np.bool_),
            rows=self._rows,
            refused=self._reasons.total(),
            listed=tuple(self._listed),
            reasons=dict(self._reasons.most_common()),
        )


def _fields(line: str) -> list[str] | None:
    """The fields of one line; None where its quotation marks do not close."""
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line.rstrip("\n")], strict=True), None)
    except csv.Error:
        return None


def _number(text: str) -> float | str:
    """The number that a cell says, or what is wrong with it."""
    try:
        value = float(text)
    except ValueError:
        return "is no number" if text else "is empty"
    if not math.isfinite(value):
        return "is no number"
    return value if abs(value) <= ABSURD else "is larger than any car park"


@lru_cache(maxsize=100_000)  # the places of a feed share their stamps
def _stamp(text: str, zoned: bool) -> tuple[float, float] | str:  # noqa: FBT001 - a property of the layout
    """Wall-clock seconds as stamped, and the instant in Unix seconds (the same where stamps have no zone), or what is wrong."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return "cannot be read"
    offset = at.utcoffset()
    if zoned and offset is None:
        return "has no offset from UTC"
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        return f"lies outside the years {FIRST_YEAR} to {LAST_YEAR}"
    wall = (at.replace(tzinfo=None) - _EPOCH).total_seconds()
    return wall, wall - offset.total_seconds() if zoned and offset is not None else wall
