"""What is kept of each series: a row in arrays over all series, and the bytes in which a row is stored."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Flags = npt.NDArray[np.bool_]

PROFILES = 11  # seven weekdays, three types of day, all days
OWN_TERMS = 7
EMPTY = 255  # in a day's curve: nothing is known of this slot
FULL = 254.0  # in a day's curve: rate 1
FINE = 65535.0  # in a profile: rate 1
NO_DAY = -1_000_000
_LAYOUT = 1  # of the stored bytes


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a row: slots of a day, day curves kept, horizons learnt, forecasts waiting for their truth, terms of each."""

    slots: int
    days: int
    horizons: int
    waiting: int
    terms: int


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: str
    sizes: tuple[int, ...]
    start: float
    past: bool = False

    @property
    def count(self) -> int:
        """How many numbers a row has."""
        return math.prod(self.sizes)

    @property
    def bytes(self) -> int:
        """How many bytes a row takes."""
        return self.count * np.dtype(self.kind).itemsize


def _fields(of: Shape) -> list[_Field]:
    k, own = of.horizons, OWN_TERMS
    return [
        _Field("curves", "u1", (of.slots, of.days), EMPTY, past=True),
        _Field("mean", "<u2", (of.slots, PROFILES), 0, past=True),
        _Field("weight", "<f2", (of.slots, PROFILES), 0, past=True),
        _Field("own", "<f4", (k, own), 0, past=True),  # what is added to the city's weights of some terms
        _Field("own_squares", "<f4", (k, own, own), 0),
        _Field("own_products", "<f4", (k, own), 0),
        _Field("today", "<f4", (of.slots,), np.nan),
        _Field("day", "<i4", (), NO_DAY),
        _Field("days", "<i4", (), 0),
        _Field("last_at", "<f8", (), np.nan),
        _Field("last_rate", "<f8", (), np.nan),
        _Field("capacity", "<f8", (), 0),
        _Field("other_capacity", "<f8", (), 0),  # another capacity that was told, and how often in a row
        _Field("other_times", "<i4", (), 0),
        _Field("other_since", "<f8", (), np.nan),  # when it was told first
        _Field("odd_at", "<f8", (), np.nan),  # the newest count that could not be
        _Field("same_since", "<f8", (), np.nan),
        _Field("deviation", "<f8", (), 0),
        _Field("beside", "<f4", (2,), 0),  # how the others deviated at the last count, and its change in an hour
        _Field("today_sum", "<f8", (), 0),  # of the deviations so far today
        _Field("today_counts", "<i4", (), 0),
        _Field("spread", "<f4", (k,), 0),  # log of the series' errors beside the city's
        _Field("spread_then", "<f4", (48,), 0),  # log of its errors by the hour that is asked for, on working days and on others
        _Field("missed", "<f4", (k, 2), 0),  # what is added to the city's two multipliers
        _Field("scored", "<f4", (k,), 0),
        _Field("asked_slot", "<i4", (of.waiting,), NO_DAY),
        _Field("asked_terms", "<f2", (of.waiting, of.terms), 0),
        _Field("asked_said", "<f4", (of.waiting, 4), 0),  # the rate that was expected, its scale, low and high
    ]


class Memory:
    """Rows of series by their name; arrays grow in steps and are reached as attributes, `memory.curves[rows]`."""

    curves: npt.NDArray[np.uint8]
    mean: npt.NDArray[np.uint16]
    weight: npt.NDArray[np.float16]
    own: npt.NDArray[np.float32]
    own_squares: npt.NDArray[np.float32]
    own_products: npt.NDArray[np.float32]
    today: npt.NDArray[np.float32]
    day: npt.NDArray[np.int32]
    days: npt.NDArray[np.int32]
    last_at: Floats
    last_rate: Floats
    capacity: Floats
    other_capacity: Floats
    other_times: npt.NDArray[np.int32]
    other_since: Floats
    odd_at: Floats
    same_since: Floats
    deviation: Floats
    beside: npt.NDArray[np.float32]
    today_sum: Floats
    today_counts: npt.NDArray[np.int32]
    spread: npt.NDArray[np.float32]
    spread_then: npt.NDArray[np.float32]
    missed: npt.NDArray[np.float32]
    scored: npt.NDArray[np.float32]
    asked_slot: npt.NDArray[np.int32]
    asked_terms: npt.NDArray[np.float16]
    asked_said: npt.NDArray[np.float32]

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.rows: dict[str, int] = {}
        self._free: list[int] = []
        self._fields = _fields(shape)
        for each in self._fields:
            setattr(self, each.name, np.full((0, *each.sizes), each.start, dtype=each.kind))

    def __len__(self) -> int:
        return len(self.rows)

    def rows_of(self, names: Iterable[str]) -> Ints:
        """Rows of series; a new one gets an empty row."""
        return np.array([self.rows[name] if name in self.rows else self._new(name) for name in names], dtype=np.int64)

    def forget(self, name: str) -> None:
        """Frees the row of a series; nothing is wrong where there is none."""
        row = self.rows.pop(name, None)
        if row is not None:
            self._clear(row)
            self._free.append(row)

    def pack(self, name: str, *, past: bool) -> bytes:
        """One of the two parts of a series' row. Raises KeyError for a series never seen."""
        row = self.rows[name]
        parts = [getattr(self, each.name)[row].tobytes() for each in self._fields if each.past is past]
        return bytes([_LAYOUT]) + b"".join(parts)

    def unpack(self, name: str, body: bytes, *, past: bool) -> None:
        """Puts a stored part back. Raises ValueError for bytes of another layout or other sizes."""
        self.check(body, past=past)
        row, start = int(self.rows_of([name])[0]), 1
        for each in self._fields:
            if each.past is past:
                values = np.frombuffer(body, dtype=each.kind, count=each.count, offset=start)
                getattr(self, each.name)[row] = values.reshape(each.sizes)
                start += values.nbytes

    def check(self, body: bytes, *, past: bool) -> None:
        """Raises ValueError where bytes are no stored part: of another layout or other sizes."""
        if len(body) != 1 + sum(each.bytes for each in self._fields if each.past is past) or body[0] != _LAYOUT:
            raise ValueError("a stored forecast has another layout")

    @property
    def bytes_a_row(self) -> int:
        """How many bytes the two parts of a series take when they are stored."""
        return 2 + sum(each.bytes for each in self._fields)

    def _new(self, name: str) -> int:
        if not self._free:
            had = self.last_at.size
            more = max(64, had // 2)
            for each in self._fields:
                array: npt.NDArray[Any] = getattr(self, each.name)
                setattr(self, each.name, np.concatenate([array, np.full((more, *each.sizes), each.start, dtype=each.kind)]))
            self._free = list(range(had + more - 1, had - 1, -1))
        self.rows[name] = self._free.pop()
        return self.rows[name]

    def _clear(self, row: int) -> None:
        for each in self._fields:
            getattr(self, each.name)[row] = each.start
