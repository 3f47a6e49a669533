"""Reader of collection points: CSV with a row a point and three columns a stream.

`id,name,name_en,lon,lat,district,windows,active` and, for each stream that stands somewhere, `<stream>_kg`, `<stream>_dm3` and
`<stream>_s` (service time). Empty cells: that stream does not stand there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cityloop_common.geo import Bounds, Datum
from cityloop_waste.points.domain import LONGEST_SERVICE_S, MOST_DM3, MOST_KG, CollectionPoint, Demand, PointId
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
        if not any(fields.cells.get(name, "").strip() for name in (mass, volume, service)):
            continue
        yield Demand(
            stream,
            fields.whole(mass, 0, MOST_KG),
            fields.whole(volume, 0, MOST_DM3, default=0),
            fields.whole(service, 0, LONGEST_SERVICE_S, default=USUAL_SERVICE_S),
        )
