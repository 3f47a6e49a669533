"""Reader of collection points: CSV with a row a point and up to six columns a stream.

`id,name,name_en,lon,lat,district,windows,active` and, for each stream that stands somewhere, `<stream>_kg`, `<stream>_dm3` and
`<stream>_s` (service time); if wanted `<stream>_containers`, `<stream>_trucks` (the only ones that may come, with `;` between)
and `<stream>_prize_m`. Empty cells: that stream does not stand there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cityloop_common.geo import Bounds, Datum
from cityloop_waste.points.domain import (
    FARTHEST_PRIZE_M,
    LONGEST_SERVICE_S,
    MOST_CONTAINERS,
    MOST_DM3,
    MOST_KG,
    MOST_TRUCKS,
    CollectionPoint,
    Demand,
    PointId,
)
from cityloop_waste.registry import is_id
from cityloop_waste.rows import Accepted, Fields, InvalidRow, Rejected, read_csv
from cityloop_waste.streams import Stream

COLUMNS = ("id", "name", "lon", "lat")
USUAL_SERVICE_S = 180


def read(data: bytes, *, datum: Datum, within: Bounds) -> Sequence[Accepted[CollectionPoint] | Rejected]:
    """A verdict for each row. Raises UnreadableFile, FileTooLarge."""
    return read_csv(data, COLUMNS, lambda fields: _point(fields, datum, within))


def _point(fields: Fields, datum: Datum, within: Bounds) -> CollectionPoint:
    demands = tuple(_demands(fields))
    if not demands:
        raise InvalidRow("no stream stands there: give one of " + ", ".join(f"{stream}_kg" for stream in Stream))
    return CollectionPoint(
        id=PointId(fields.id("id")),
        name=fields.text("name", 200),
        name_en=fields.text("name_en", 200, default="") or None,
        position=fields.position(datum, within),
        district=fields.text("district", 80, default="") or None,
        demands=demands,
        windows=fields.hours("windows"),
        active=fields.yes("active", default=True),
        invented=fields.yes("invented", default=False),
    )


def _demands(fields: Fields) -> Iterator[Demand]:
    for stream in Stream:
        mass, volume, service = (f"{stream}_kg", f"{stream}_dm3", f"{stream}_s")
        more = (f"{stream}_containers", f"{stream}_trucks", f"{stream}_prize_m")
        if not any(fields.cells.get(name, "").strip() for name in (mass, volume, service, *more)):
            continue
        yield Demand(
            stream,
            fields.whole(mass, 0, MOST_KG),
            fields.whole(volume, 0, MOST_DM3, default=0),
            fields.whole(service, 0, LONGEST_SERVICE_S, default=USUAL_SERVICE_S),
            fields.whole(f"{stream}_containers", 0, MOST_CONTAINERS, default=0),
            _trucks(fields, f"{stream}_trucks"),
            fields.optional(f"{stream}_prize_m", 0, FARTHEST_PRIZE_M),
        )


def _trucks(fields: Fields, name: str) -> tuple[str, ...]:
    named = fields.words(name, longest=MOST_TRUCKS * 65)
    if len(named) > MOST_TRUCKS or not all(map(is_id, named)):
        raise InvalidRow(f"{name} names at most {MOST_TRUCKS} trucks by their ids, with ; between")
    return named
