"""Reader of Taipei City's car parks (`data.park[]`, TCMSV_alldesc): TWD97 survey points and WGS-84 entrances.

The file's traps: `Xcod` is the latitude and `Ycod` the longitude; numbers come as integers, texts and blanks; 23 entrances
belong to another car park (0.6 to 12 km away), so an entrance counts only within 500 m of the survey point.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import orjson

from cityloop_common.geo import BadPosition, Bounds, Datum, Position, distance_m, to_wgs84
from cityloop_parking.places.domain import (
    Accepted,
    Category,
    DatumContradicts,
    FileTooLarge,
    InvalidPlace,
    PlaceFacts,
    PlaceKind,
    Pool,
    PositionFrom,
    Rejected,
    UnreadableFile,
    Verdict,
    check,
)

SOURCE = "taipei"
DATUM = Datum.TWD97
BOUNDS = Bounds(121.40, 24.90, 121.72, 25.25)
MOST_BYTES = 64_000_000
MOST_ROWS = 100_000
ENTRANCE_WITHIN_M = 500.0


def read(data: bytes, *, datum: Datum = DATUM) -> list[Verdict]:
    """A verdict for each row, in the order of the file.

    Raises UnreadableFile (not this format), FileTooLarge, DatumContradicts.
    """
    if datum is not DATUM:
        raise DatumContradicts(f"The points of this format, tw97x and tw97y, are in {DATUM}; {datum} contradicts the file.")
    rows = _rows(data)
    if rows and not any(isinstance(row, dict) and {"id", "tw97x", "tw97y"} <= row.keys() for row in rows):
        raise UnreadableFile("It has a list `data.park`, but no row has id, tw97x and tw97y.")
    seen: dict[str, int] = {}
    return [_verdict(number, row, seen) for number, row in enumerate(rows, 1)]


def _rows(data: bytes) -> list[object]:
    if len(data) > MOST_BYTES:
        raise FileTooLarge(f"A file has at most {MOST_BYTES // 1_000_000} MB.")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UnreadableFile(f"It is not JSON: {error}.") from error
    inner = document.get("data") if isinstance(document, dict) else None
    rows = inner.get("park") if isinstance(inner, dict) else None
    if not isinstance(rows, list):
        raise UnreadableFile("It is JSON, but has no list `data.park`.")
    if len(rows) > MOST_ROWS:
        raise FileTooLarge(f"A file has at most {MOST_ROWS} rows.")
    return rows


def _verdict(number: int, row: object, seen: dict[str, int]) -> Verdict:
    if not isinstance(row, dict):
        return Rejected(number, "", "the row is not an object")
    row_id = str(row.get("id", ""))[:64]
    try:
        if row_id and row_id in seen:
            raise InvalidPlace(f"row {seen[row_id]} has the same id")
        facts = check(_facts(row), within=BOUNDS)
    except (InvalidPlace, BadPosition) as error:
        return Rejected(number, row_id, error.detail)
    seen[row_id] = number
    return Accepted(number, facts)


def _facts(row: Mapping[str, object]) -> PlaceFacts:
    position, position_from = _position(row)
    pools = [Pool(Category.STANDARD, _count(row, "totalcar") or 0)]
    for field, category in (("totalmotor", Category.MOTORCYCLE), ("totalbus", Category.LARGE)):
        if capacity := _count(row, field):
            pools.append(Pool(category, capacity))
    fares = row.get("FareInfo")
    return PlaceFacts(
        source=SOURCE,
        source_id=_text(row, "id") or "",
        name=_text(row, "name") or "",
        position=position,
        pools=tuple(pools),
        address=_text(row, "address") or "",
        kind=_kind(row),
        position_from=position_from,
        jurisdiction="臺北市",
        district=_text(row, "area"),
        charging_stations=_count(row, "ChargingStation"),
        accessible_bays=_count(row, "Handicap_First"),
        tariff_text=_text(row, "payex"),
        fares=fares if isinstance(fares, dict) and fares else None,
        service_hours=_text(row, "serviceTime"),
        phone=_text(row, "tel"),
    )


def _position(row: Mapping[str, object]) -> tuple[Position, PositionFrom]:
    """The first entrance near the survey point, else the survey point; a wrong survey point leaves the entrance alone."""
    entrances = list(_entrances(row))
    try:
        survey = to_wgs84(_number(row, "tw97x"), _number(row, "tw97y"), DATUM, within=BOUNDS)
    except (BadPosition, InvalidPlace):
        if entrances:
            return entrances[0], PositionFrom.ENTRANCE_ALONE
        raise
    for entrance in entrances:
        if distance_m(entrance, survey) <= ENTRANCE_WITHIN_M:
            return entrance, PositionFrom.ENTRANCE
    return survey, PositionFrom.SURVEY


def _entrances(row: Mapping[str, object]) -> Iterator[Position]:
    outer = row.get("EntranceCoord")
    listed = outer.get("EntrancecoordInfo") if isinstance(outer, dict) else None
    for each in listed if isinstance(listed, list) else ():
        if not isinstance(each, dict):
            continue
        try:
            yield to_wgs84(_number(each, "Ycod"), _number(each, "Xcod"), Datum.WGS84, within=BOUNDS)
        except (BadPosition, InvalidPlace):
            continue  # "0", "0": nobody filled it in


def _kind(row: Mapping[str, object]) -> PlaceKind:
    text = "".join(str(row.get(field) or "") for field in ("name", "address", "summary"))
    if "立體" in text or "地下" in text or "機械" in text:
        return PlaceKind.GARAGE
    return PlaceKind.SURFACE if "平面" in text else PlaceKind.UNKNOWN


def _text(row: Mapping[str, object], field: str) -> str | None:
    value = row.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise InvalidPlace(f"{field} is not a text")
    return str(value).strip() or None


def _count(row: Mapping[str, object], field: str) -> int | None:
    value = row.get(field)
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None
        if not (value.isascii() and value.lstrip("-").isdigit() and len(value) <= 12):
            raise InvalidPlace(f"{field} is not a whole number")
        value = int(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidPlace(f"{field} is not a whole number")
    if value < 0:
        raise InvalidPlace(f"{field} is negative")
    return value


def _number(row: Mapping[str, object], field: str) -> float:
    value = row.get(field)
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        number = float(value)
    except ValueError as error:
        raise InvalidPlace(f"{field} is not a number") from error
    if not math.isfinite(number):
        raise InvalidPlace(f"{field} is not a number")
    return number
