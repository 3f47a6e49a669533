"""Reads `birmingham`: occupancy of 30 car parks, about every 30 minutes, in local time, without positions.

Columns SystemCodeNumber, Capacity, Occupancy, LastUpdated; published by Birmingham City Council (UCI "Parking Birmingham").
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cityloop_common.geo import Position
from cityloop_parking.observations.domain import Count, InvalidObservation, resolve
from cityloop_parking.places.domain import Category, FileTooLarge, UnreadableFile

SOURCE = "birmingham"
INTERVAL_S = 1800
MOST_BYTES = 20_000_000
MOST_ROWS = 500_000
CENTRE = Position(109.787, 39.565)
SPREAD_LON, SPREAD_LAT = 0.025, 0.015  # about 2 km each way: the built-up area of the first city
_TZ = ZoneInfo("Europe/London")
_COLUMNS = ("SystemCodeNumber", "Capacity", "Occupancy", "LastUpdated")
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class CountRow:
    """One count of the file that can be true; more taken than there is stays as it is."""

    row: int
    code: str
    observed_at: datetime
    occupied: int
    capacity: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not taken, and why; `row` counts from 1."""

    row: int
    reason: str


def read(raw: bytes) -> tuple[list[CountRow], list[BadRow]]:
    """Counts in the order of time, and the rows that cannot be read or cannot be true. Raises UnreadableFile, FileTooLarge."""
    if len(raw) > MOST_BYTES:
        raise FileTooLarge(f"A file has at most {MOST_BYTES // 1_000_000} MB.")
    try:
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
        if not set(_COLUMNS) <= set(reader.fieldnames or ()):
            raise UnreadableFile(f"It needs the columns {', '.join(_COLUMNS)}.")
        good: list[CountRow] = []
        bad: list[BadRow] = []
        for number, fields in enumerate(reader, 1):
            if number > MOST_ROWS:
                raise FileTooLarge(f"A file has at most {MOST_ROWS} rows.")
            verdict = _verdict(number, [(fields[name] or "").strip() for name in _COLUMNS])
            if isinstance(verdict, CountRow):
                good.append(verdict)
            else:
                bad.append(verdict)
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"It is not UTF-8: {error.reason} at byte {error.start}.") from error
    except csv.Error as error:
        raise UnreadableFile(f"It is not CSV: {error}.") from error
    return sorted(good, key=lambda row: (row.observed_at, row.row)), bad


def _verdict(number: int, fields: Sequence[str]) -> CountRow | BadRow:
    code, capacity, occupied, updated = fields
    if not place_number(code):
        return BadRow(number, "no car park is named")
    try:
        stamp = datetime.fromisoformat(updated)
        at = (stamp if stamp.tzinfo else stamp.replace(tzinfo=_TZ)).astimezone(UTC)
    except (ValueError, OverflowError):
        return BadRow(number, "the stamp cannot be read")
    try:
        row = CountRow(number, code, at, int(occupied), int(capacity))
    except ValueError:
        return BadRow(number, "capacity or occupancy is no whole number")
    if row.occupied < 0 or row.capacity < 0:
        return BadRow(number, "capacity or occupancy is below zero")
    try:
        resolve([Count(Category.STANDARD, row.occupied, capacity=row.capacity)], {})
    except InvalidObservation as error:
        return BadRow(number, error.title)
    return row


def place_number(code: str) -> str:
    """The car park's number within its operator's: the file's code without what an id may not hold."""
    return _NOT_IN_IDS.sub("-", code).strip("-._")[:40]


def invented_position(code: str) -> Position:
    """A position in the built-up area, always the same for a code; the file has none."""
    digest = hashlib.sha256(f"{SOURCE}/{code}".encode()).digest()
    east, north = (int.from_bytes(part, "big") / 2**32 * 2 - 1 for part in (digest[:4], digest[4:8]))
    return Position(round(CENTRE.lon + east * SPREAD_LON, 6), round(CENTRE.lat + north * SPREAD_LAT, 6))
