"""Readers of the fleet's files, CSV with a row a thing.

depots: `id,name,name_en,lon,lat,active`; trucks: `id,operator_id,stream,depot,capacity_kg,capacity_dm3,shift,max_mass_kg,district,active`
and what it takes in a day at most, `day_kg,day_dm3,day_stops,day_containers`, and `overtime_s`; sites: `id,kind,name,name_en,operator_id,
lon,lat,district,streams,service_s,queue_s,opening,day_kg,haulers,active` (lists with `;` between).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

from cityloop_common.geo import Bounds, Datum
from cityloop_waste.fleet.domain import (
    HEAVIEST_KG,
    LARGEST_DAY,
    LARGEST_DM3,
    LONGEST_OVERTIME_S,
    LONGEST_SERVICE_S,
    Depot,
    DepotId,
    Site,
    SiteId,
    SiteKind,
    Truck,
    TruckId,
)
from cityloop_waste.rows import Accepted, Fields, InvalidRow, Rejected, read_csv
from cityloop_waste.streams import Stream

E = TypeVar("E", bound=StrEnum)
USUAL_SERVICE_S = 900


def read_depots(data: bytes, *, datum: Datum, within: Bounds) -> Sequence[Accepted[Depot] | Rejected]:
    """A verdict for each row. Raises UnreadableFile, FileTooLarge."""
    return read_csv(data, ("id", "name", "lon", "lat"), lambda fields: _depot(fields, datum, within))


def read_trucks(data: bytes) -> Sequence[Accepted[Truck] | Rejected]:
    """A verdict for each row. Raises UnreadableFile, FileTooLarge."""
    return read_csv(data, ("id", "operator_id", "stream", "depot", "capacity_kg", "capacity_dm3", "shift"), _truck)


def read_sites(data: bytes, *, datum: Datum, within: Bounds) -> Sequence[Accepted[Site] | Rejected]:
    """A verdict for each row. Raises UnreadableFile, FileTooLarge."""
    return read_csv(data, ("id", "kind", "name", "operator_id", "lon", "lat", "streams"), lambda fields: _site(fields, datum, within))


def _depot(fields: Fields, datum: Datum, within: Bounds) -> Depot:
    return Depot(
        id=DepotId(fields.id("id")),
        name=fields.text("name", 200),
        name_en=fields.text("name_en", 200, default="") or None,
        position=fields.position(datum, within),
        active=fields.yes("active", default=True),
        invented=fields.yes("invented", default=False),
    )


def _truck(fields: Fields) -> Truck:
    shift = fields.hours("shift")
    if len(shift) != 1:
        raise InvalidRow("shift is one span of hours, such as 05:30-13:30")
    return Truck(
        id=TruckId(fields.id("id")),
        operator_id=fields.id("operator_id"),
        stream=_one_of(Stream, "stream", fields.text("stream", 20)),
        depot_id=DepotId(fields.id("depot")),
        capacity_kg=fields.whole("capacity_kg", 1, HEAVIEST_KG),
        capacity_dm3=fields.whole("capacity_dm3", 1, LARGEST_DM3),
        shift=shift[0],
        max_mass_kg=fields.whole("max_mass_kg", 0, HEAVIEST_KG, default=0) or None,
        district=fields.text("district", 80, default="") or None,
        active=fields.yes("active", default=True),
        invented=fields.yes("invented", default=False),
        day_kg=fields.optional("day_kg", 1, LARGEST_DAY),
        day_dm3=fields.optional("day_dm3", 1, LARGEST_DAY),
        day_stops=fields.optional("day_stops", 1, LARGEST_DAY),
        day_containers=fields.optional("day_containers", 1, LARGEST_DAY),
        overtime_s=fields.whole("overtime_s", 0, LONGEST_OVERTIME_S, default=0),
    )


def _site(fields: Fields, datum: Datum, within: Bounds) -> Site:
    streams = tuple(dict.fromkeys(_one_of(Stream, "streams", word) for word in fields.words("streams")))
    if not streams:
        raise InvalidRow("streams is empty: it would take nothing")
    service_s = fields.whole("service_s", 0, LONGEST_SERVICE_S, default=USUAL_SERVICE_S)
    queue_s = fields.whole("queue_s", 0, LONGEST_SERVICE_S, default=0)
    if service_s + queue_s > LONGEST_SERVICE_S:
        raise InvalidRow(f"service_s and queue_s are more than {LONGEST_SERVICE_S} together")
    return Site(
        id=SiteId(fields.id("id")),
        kind=_one_of(SiteKind, "kind", fields.text("kind", 20)),
        name=fields.text("name", 200),
        name_en=fields.text("name_en", 200, default="") or None,
        operator_id=fields.id("operator_id"),
        position=fields.position(datum, within),
        district=fields.text("district", 80, default="") or None,
        streams=streams,
        service_s=service_s,
        opening=fields.hours("opening"),
        haulers=fields.words("haulers"),
        active=fields.yes("active", default=True),
        invented=fields.yes("invented", default=False),
        queue_s=queue_s,
        day_kg=fields.optional("day_kg", 0, LARGEST_DAY),
    )


def _one_of(kind: type[E], name: str, text: str) -> E:
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidRow(f"{name} is one of {', '.join(kind)}") from error
