"""Reader of stations as CSV: `station_id,latitude,longitude,fast,slow,count` as ST-EVCDP publishes Shenzhen, and a few columns more.

A fast point is DC of 60 kW, a slow one AC of 7 kW: the project's assumption, the file says no power. A row lies in the city, or,
in ST-EVCDP's own layout, in the city that layout is of.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence

from cityloop_charging.registry.domain import (
    MOST_BAYS,
    MOST_EVSES,
    Accepted,
    Access,
    Current,
    EvseFacts,
    FileElsewhere,
    FileTooLarge,
    InvalidLocation,
    LocationFacts,
    Rejected,
    UnreadableFile,
    Verdict,
    check,
)
from cityloop_common.geo import BadPosition, Bounds, Datum, OutOfBounds, to_wgs84

MOST_BYTES = 16_000_000
MOST_ROWS = 50_000
MOST_POINTS = 500_000
FAST_W, SLOW_W = 60_000, 7_000
STEVCDP = ("station_id", "latitude", "longitude", "fast", "slow", "count")
SHENZHEN = Bounds(113.70, 22.40, 114.70, 22.90)
REQUIRED = frozenset(("station_id", "latitude", "longitude", "fast", "slow"))
OPTIONAL = frozenset(("count", "name", "name_en", "access", "district", "bay_count", "bay_nos"))


def read(data: bytes, *, datum: Datum, operator_id: str, city: Bounds, bounds: Bounds | None = None) -> list[Verdict]:
    """A verdict for each row, in the order of the file; `bounds` are those of another city, when its file is meant.

    Raises UnreadableFile (not this format), FileTooLarge, FileElsewhere (no row lies where the file should be of).
    """
    header, rows = _rows(data)
    within = bounds or _of_file(header, rows, datum, city)
    seen: dict[str, int] = {}
    verdicts: list[Verdict] = []
    points = 0
    for number, row in enumerate(rows, 1):
        verdict = _verdict(number, row, operator_id, datum, within, seen)
        points += len(verdict.facts.evses) if isinstance(verdict, Accepted) else 0
        if points > MOST_POINTS:
            raise FileTooLarge(f"A file has at most {MOST_POINTS} charging points.")
        verdicts.append(verdict)
    _refuse_elsewhere(rows, verdicts, datum, within)
    return verdicts


def _rows(data: bytes) -> tuple[Sequence[str], list[Mapping[str, str | None]]]:
    if len(data) > MOST_BYTES:
        raise FileTooLarge(f"A file has at most {MOST_BYTES // 1_000_000} MB.")
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = [name.strip() for name in reader.fieldnames or ()]
        _check_header(header)
        reader.fieldnames = header
        rows: list[Mapping[str, str | None]] = []
        for row in reader:
            if len(rows) == MOST_ROWS:
                raise FileTooLarge(f"A file has at most {MOST_ROWS} rows.")
            rows.append(row)
    except UnicodeDecodeError as error:
        raise UnreadableFile("It is not UTF-8.") from error
    except csv.Error as error:
        raise UnreadableFile(f"It is not CSV: {error}.") from error
    return header, rows


def _check_header(header: Sequence[str]) -> None:
    if missing := sorted(REQUIRED - set(header)):
        raise UnreadableFile(f"Its header lacks {', '.join(missing)}; known is {','.join(STEVCDP)}.")
    if unknown := sorted(set(header) - REQUIRED - OPTIONAL):
        raise UnreadableFile(f"Its header names {', '.join(unknown)}; known besides are {', '.join(sorted(OPTIONAL))}.")
    if len(set(header)) < len(header):
        raise UnreadableFile("Its header names a column twice.")


def _of_file(header: Sequence[str], rows: Sequence[Mapping[str, str | None]], datum: Datum, city: Bounds) -> Bounds:
    """The city whose file it is: ours when any row lies there, or when the layout is of no other."""
    if tuple(header) != STEVCDP or any(_lies(row, datum, city) for row in rows):
        return city
    return SHENZHEN if any(_lies(row, datum, SHENZHEN) for row in rows) else city


def _lies(row: Mapping[str, str | None], datum: Datum, within: Bounds) -> bool:
    try:
        to_wgs84(_number(row, "longitude"), _number(row, "latitude"), datum, within=within)
    except (InvalidLocation, BadPosition):
        return False
    return True


def _refuse_elsewhere(rows: Sequence[Mapping[str, str | None]], verdicts: Sequence[Verdict], datum: Datum, within: Bounds) -> None:
    """One clear refusal instead of a list, when every row says the same. Raises FileElsewhere."""
    outside: OutOfBounds | None = None
    for row, verdict in zip(rows, verdicts, strict=True):
        if isinstance(verdict, Accepted):
            return
        try:
            to_wgs84(_number(row, "longitude"), _number(row, "latitude"), datum, within=within)
        except OutOfBounds as error:
            outside = outside or error
        except InvalidLocation:
            return
        else:
            return
    if outside is not None:
        raise FileElsewhere(
            f"None of its {len(rows)} rows lies within the bounds; the first: {outside.detail}"
            " For another city's file give its box: --bounds W,S,E,N."
        )


def _verdict(number: int, row: Mapping[str, str | None], operator_id: str, datum: Datum, within: Bounds, seen: dict[str, int]) -> Verdict:
    row_id = (row.get("station_id") or "").strip()[:64]
    try:
        if row_id and row_id in seen:
            raise InvalidLocation(f"row {seen[row_id]} has the same station_id")
        if None in row or None in row.values():
            raise InvalidLocation("it has another number of fields than the header")
        facts = check(_facts(row, operator_id, datum, within), within=within)
    except (InvalidLocation, BadPosition) as error:
        return Rejected(number, row_id, error.detail)
    seen[row_id] = number
    return Accepted(number, facts)


def _facts(row: Mapping[str, str | None], operator_id: str, datum: Datum, within: Bounds) -> LocationFacts:
    station_id = _text(row, "station_id") or ""
    fast, slow = _count(row, "fast", MOST_EVSES), _count(row, "slow", MOST_EVSES)
    if fast is None or slow is None:
        raise InvalidLocation("fast and slow are numbers of charging points")
    said = _count(row, "count", 2 * MOST_EVSES)
    if said is not None and said != fast + slow:
        raise InvalidLocation(f"count is {said}, but fast and slow are {fast} and {slow}")
    return LocationFacts(
        operator_id=operator_id,
        station_id=station_id,
        name=_text(row, "name") or f"充电站 {station_id}",
        name_en=_text(row, "name_en") or (None if _text(row, "name") else f"Station {station_id}"),
        position=to_wgs84(_number(row, "longitude"), _number(row, "latitude"), datum, within=within),
        evses=tuple(_evses(station_id, fast, slow, _bay_nos(row))),
        access=_access(row),
        district=_text(row, "district"),
        bay_count=_count(row, "bay_count", MOST_BAYS),
    )


def _evses(station_id: str, fast: int, slow: int, bay_nos: Sequence[str]) -> Iterator[EvseFacts]:
    """Fast ones first; a connector's id is its station's with a number, as an operator's connectors need different ids."""
    if len(bay_nos) > fast + slow:
        raise InvalidLocation("bay_nos names more bays than there are charging points")
    for index in range(fast + slow):
        is_fast = index < fast
        number = index + 1 if is_fast else index + 1 - fast
        yield EvseFacts(
            connector_id=f"{station_id}{'DC' if is_fast else 'AC'}{number:02d}",
            power_w=FAST_W if is_fast else SLOW_W,
            current=Current.DC if is_fast else Current.AC,
            bay_no=bay_nos[index] if index < len(bay_nos) else None,
        )


def _access(row: Mapping[str, str | None]) -> Access:
    text = _text(row, "access")
    try:
        return Access(text.lower()) if text else Access.PUBLIC
    except ValueError as error:
        raise InvalidLocation(f"access is one of {', '.join(Access)}") from error


def _bay_nos(row: Mapping[str, str | None]) -> Sequence[str]:
    return [each.strip() for each in (_text(row, "bay_nos") or "").split(";") if each.strip()]


def _text(row: Mapping[str, str | None], field: str) -> str | None:
    return (row.get(field) or "").strip() or None


def _count(row: Mapping[str, str | None], field: str, most: int) -> int | None:
    text = _text(row, field)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) <= most):
        raise InvalidLocation(f"{field} is not a whole number from 0 to {most}")
    return int(text)


def _number(row: Mapping[str, str | None], field: str) -> float:
    try:
        number = float(_text(row, field) or "")
    except ValueError as error:
        raise InvalidLocation(f"{field} is not a number") from error
    if not math.isfinite(number):
        raise InvalidLocation(f"{field} is not a number")
    return number
