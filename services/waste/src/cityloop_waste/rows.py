"""Files of rows: CSV in, a verdict for each row out. A row that cannot be used is a result and stops no other."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from cityloop_common import errors
from cityloop_common.geo import BadPosition, Bounds, Datum, Position, to_wgs84
from cityloop_waste.registry import Hours, is_id, read_hours

T = TypeVar("T")
MOST_BYTES = 16_000_000
MOST_ROWS = 50_000


class FileError(errors.CityLoopError):
    """A file or a row that cannot be used::

    FileError
    ├── UnreadableFile 422   not the format that was named
    ├── FileTooLarge 413     more bytes or rows than an import takes
    └── InvalidRow 422       a row's facts cannot be true; its verdict carries the reason
    """


class UnreadableFile(FileError, errors.Invalid):
    slug, title = "file-unreadable", "The file cannot be read"


class FileTooLarge(FileError, errors.TooLarge):
    slug, title = "file-too-large", "The file is too large"


class InvalidRow(FileError, errors.Invalid):
    slug, title = "row-invalid", "The row cannot be used"


@dataclass(frozen=True, slots=True)
class Accepted(Generic[T]):
    """A row that can be stored; `row` counts from 1 behind the header."""

    row: int
    facts: T


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be stored, and why."""

    row: int
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file: read = accepted + unchanged + rejected."""

    read: int
    accepted: int
    unchanged: int
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True, slots=True)
class Fields:
    """The cells of one row by column; every way to read one raises InvalidRow with the column's name."""

    cells: Mapping[str, str]

    def text(self, name: str, longest: int, *, default: str | None = None) -> str:
        """A text; an empty cell is the default, or a fault without one."""
        value = self.cells.get(name, "").strip()
        if not value:
            if default is None:
                raise InvalidRow(f"{name} is empty")
            return default
        if len(value) > longest or not value.isprintable():
            raise InvalidRow(f"{name} has 1 to {longest} printable characters")
        return value

    def id(self, name: str) -> str:
        """An id of the registry."""
        value = self.text(name, 64)
        if not is_id(value):
            raise InvalidRow(f"{name} has letters, digits, dot, dash and underscore, 64 at most")
        return value

    def whole(self, name: str, least: int, most: int, *, default: int | None = None) -> int:
        """A whole number."""
        value = self.cells.get(name, "").strip()
        if not value and default is not None:
            return default
        if not (value.isascii() and value.removeprefix("-").isdigit() and len(value) <= 12 and least <= int(value) <= most):
            raise InvalidRow(f"{name} is a whole number from {least} to {most}")
        return int(value)

    def optional(self, name: str, least: int, most: int) -> int | None:
        """A whole number; None when the cell is empty."""
        return self.whole(name, least, most) if self.cells.get(name, "").strip() else None

    def yes(self, name: str, *, default: bool) -> bool:
        """`yes` or `no`."""
        value = self.text(name, 5, default="yes" if default else "no").lower()
        if value not in {"yes", "no"}:
            raise InvalidRow(f"{name} is yes or no")
        return value == "yes"

    def hours(self, name: str) -> tuple[Hours, ...]:
        """Hours such as `06:00-09:30;20:00-28:00`; none when the cell is empty."""
        try:
            return read_hours(self.text(name, 200, default=""))
        except ValueError as error:
            raise InvalidRow(f"{name}: {error}") from error

    def words(self, name: str, *, longest: int = 1000) -> tuple[str, ...]:
        """Words with `;` between."""
        return tuple(dict.fromkeys(word.strip() for word in self.text(name, longest, default="").split(";") if word.strip()))

    def position(self, datum: Datum, within: Bounds) -> Position:
        """`lon` and `lat` as WGS-84."""
        try:
            return to_wgs84(self._number("lon"), self._number("lat"), datum, within=within)
        except BadPosition as error:
            raise InvalidRow(error.detail) from error

    def _number(self, name: str) -> float:
        try:
            value = float(self.text(name, 40))
        except ValueError as error:
            raise InvalidRow(f"{name} is not a number") from error
        if not math.isfinite(value):
            raise InvalidRow(f"{name} is not a number")
        return value


def read_csv(data: bytes, columns: Sequence[str], parse: Callable[[Fields], T]) -> list[Accepted[T] | Rejected]:
    """A verdict for each row, in the order of the file; `columns` must be in the header, the first is the id.

    Raises UnreadableFile, FileTooLarge.
    """
    if len(data) > MOST_BYTES:
        raise FileTooLarge(f"A file has at most {MOST_BYTES // 1_000_000} MB.")
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = reader.fieldnames or []
        if missing := [name for name in columns if name not in header]:
            raise UnreadableFile(f"The header lacks {', '.join(missing)}.")
        rows = [row for row, _ in zip(reader, range(MOST_ROWS + 1), strict=False)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableFile(f"It is no CSV in UTF-8: {error}.") from error
    if len(rows) > MOST_ROWS:
        raise FileTooLarge(f"A file has at most {MOST_ROWS} rows.")
    seen: dict[str, int] = {}
    return [_verdict(number, row, columns[0], parse, seen) for number, row in enumerate(rows, 1)]


def _verdict(number: int, row: Mapping[str, str], key: str, parse: Callable[[Fields], T], seen: dict[str, int]) -> Accepted[T] | Rejected:
    row_id = (row.get(key) or "").strip()[:64]
    try:
        if None in row or None in row.values():
            raise InvalidRow("it has more or fewer cells than the header")
        if row_id and row_id in seen:
            raise InvalidRow(f"row {seen[row_id]} has the same id")
        facts = parse(Fields(row))
    except InvalidRow as error:
        return Rejected(number, row_id if row_id.isprintable() else "", error.detail)
    seen[row_id] = number
    return Accepted(number, facts)
