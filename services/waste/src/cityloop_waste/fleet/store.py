"""SQL of the room `fleet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, exists, select

from cityloop_common.db import Tx, WriteTx
from cityloop_common.geo import Position
from cityloop_waste.fleet.domain import Depot, DepotId, Site, SiteId, SiteKind, Truck, TruckId
from cityloop_waste.fleet.tables import depot, site, truck
from cityloop_waste.keeping import Keep
from cityloop_waste.registry import Hours
from cityloop_waste.streams import Stream

_KEEP_DEPOTS, _KEEP_TRUCKS, _KEEP_SITES = Keep(depot), Keep(truck, fixed=("stream",)), Keep(site)


async def put_depots(tx: WriteTx, depots: Sequence[Depot]) -> list[str]:
    """Stores depots; answers the ids of those that were new or other than before."""
    return await _KEEP_DEPOTS.put(tx, [_depot_row(each) for each in depots])


async def put_trucks(tx: WriteTx, trucks: Sequence[Truck]) -> list[str]:
    """Stores trucks; answers the ids of those that were new or other than before. One of another stream stays as it was."""
    return await _KEEP_TRUCKS.put(tx, [_truck_row(each) for each in trucks])


async def put_sites(tx: WriteTx, sites: Sequence[Site]) -> list[str]:
    """Stores sites; answers the ids of those that were new or other than before."""
    return await _KEEP_SITES.put(tx, [_site_row(each) for each in sites])


async def depots(tx: Tx) -> list[Depot]:
    """Every depot, by id."""
    return [_depot(row) for row in await tx.all(select(depot).order_by(depot.c.id))]


async def trucks(tx: Tx, *, after: str, most: int, stream: Stream | None = None) -> list[Truck]:
    """Trucks in the order of their ids, behind `after`."""
    asked = select(truck).where(truck.c.id > after)
    if stream is not None:
        asked = asked.where(truck.c.stream == stream.value)
    return [_truck(row) for row in await tx.all(asked.order_by(truck.c.id).limit(most))]


async def trucks_on_duty(tx: Tx, depot_id: DepotId, *, most: int, stream: Stream | None = None) -> list[Truck]:
    """The trucks of a depot that are in use, by id; with a stream only those dedicated to it."""
    asked = select(truck).where(truck.c.active, truck.c.depot_id == depot_id, *_dedicated(stream))
    return [_truck(row) for row in await tx.all(asked.order_by(truck.c.id).limit(most))]


async def depots_on_duty(tx: Tx, stream: Stream | None = None) -> list[Depot]:
    """The depots in use with a truck in use, by id; with a stream only those with trucks dedicated to it."""
    there = exists(select(truck.c.id).where(truck.c.active, truck.c.depot_id == depot.c.id, *_dedicated(stream)))
    return [_depot(row) for row in await tx.all(select(depot).where(depot.c.active, there).order_by(depot.c.id))]


async def streams_on_duty(tx: Tx) -> list[Stream]:
    """The streams that a truck in use, at a depot in use, is dedicated to."""
    asked = select(truck.c.stream).join(depot, depot.c.id == truck.c.depot_id).where(truck.c.active, depot.c.active)
    return [Stream(row.stream) for row in await tx.all(asked.distinct().order_by(truck.c.stream))]


async def sites(tx: Tx) -> list[Site]:
    """Every site, by id: a city has few."""
    return [_site(row) for row in await tx.all(select(site).order_by(site.c.id))]


async def truck_by_id(tx: Tx, truck_id: str) -> Truck | None:
    """One truck."""
    row = await tx.first(select(truck).where(truck.c.id == truck_id))
    return None if row is None else _truck(row)


async def site_by_id(tx: Tx, site_id: str) -> Site | None:
    """One site."""
    row = await tx.first(select(site).where(site.c.id == site_id))
    return None if row is None else _site(row)


async def streams_of(tx: Tx, truck_ids: Sequence[str]) -> dict[str, Stream]:
    """The streams that known trucks are dedicated to."""
    rows = await tx.all(select(truck.c.id, truck.c.stream).where(truck.c.id.in_(truck_ids)))
    return {row.id: Stream(row.stream) for row in rows}


def _dedicated(stream: Stream | None) -> Sequence[ColumnElement[bool]]:
    return () if stream is None else (truck.c.stream == stream.value,)


def _depot(row: Row[Any]) -> Depot:
    return Depot(DepotId(row.id), row.name, row.name_en, Position(row.lon, row.lat), row.active, row.invented)


def _truck(row: Row[Any]) -> Truck:
    return Truck(
        id=TruckId(row.id),
        operator_id=row.operator_id,
        stream=Stream(row.stream),
        depot_id=DepotId(row.depot_id),
        capacity_kg=row.capacity_kg,
        capacity_dm3=row.capacity_dm3,
        shift=Hours(row.shift_start_s, row.shift_end_s),
        max_mass_kg=row.max_mass_kg,
        district=row.district,
        active=row.active,
        invented=row.invented,
        day_kg=row.day_kg,
        day_dm3=row.day_dm3,
        day_stops=row.day_stops,
        day_containers=row.day_containers,
        overtime_s=row.overtime_s or 0,
    )


def _site(row: Row[Any]) -> Site:
    return Site(
        id=SiteId(row.id),
        kind=SiteKind(row.kind),
        name=row.name,
        name_en=row.name_en,
        operator_id=row.operator_id,
        position=Position(row.lon, row.lat),
        district=row.district,
        streams=tuple(Stream(each) for each in row.streams),
        service_s=row.service_s,
        opening=tuple(Hours(start_s, end_s) for start_s, end_s in row.opening),
        haulers=tuple(row.haulers),
        active=row.active,
        invented=row.invented,
        queue_s=row.queue_s or 0,
        day_kg=row.day_kg,
    )


def _depot_row(of: Depot) -> Mapping[str, object]:
    return {
        "id": of.id,
        "name": of.name,
        "name_en": of.name_en,
        "lon": of.position.lon,
        "lat": of.position.lat,
        "active": of.active,
        "invented": of.invented,
        "content_hash": of.content_hash(),
    }


def _truck_row(of: Truck) -> Mapping[str, object]:
    return {
        "id": of.id,
        "operator_id": of.operator_id,
        "stream": of.stream.value,
        "depot_id": of.depot_id,
        "capacity_kg": of.capacity_kg,
        "capacity_dm3": of.capacity_dm3,
        "shift_start_s": of.shift.start_s,
        "shift_end_s": of.shift.end_s,
        "max_mass_kg": of.max_mass_kg,
        "district": of.district,
        "active": of.active,
        "invented": of.invented,
        "day_kg": of.day_kg,
        "day_dm3": of.day_dm3,
        "day_stops": of.day_stops,
        "day_containers": of.day_containers,
        "overtime_s": of.overtime_s,
        "content_hash": of.content_hash(),
    }


def _site_row(of: Site) -> Mapping[str, object]:
    return {
        "id": of.id,
        "kind": of.kind.value,
        "name": of.name,
        "name_en": of.name_en,
        "operator_id": of.operator_id,
        "lon": of.position.lon,
        "lat": of.position.lat,
        "district": of.district,
        "streams": [each.value for each in of.streams],
        "service_s": of.service_s,
        "opening": [[each.start_s, each.end_s] for each in of.opening],
        "haulers": list(of.haulers),
        "active": of.active,
        "invented": of.invented,
        "queue_s": of.queue_s,
        "day_kg": of.day_kg,
        "content_hash": of.content_hash(),
    }
