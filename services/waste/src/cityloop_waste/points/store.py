"""SQL of the room `points`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, bindparam, delete, exists, insert, select

from cityloop_common.db import HotStatement, Tx, WriteTx
from cityloop_common.geo import Position
from cityloop_waste.keeping import Keep
from cityloop_waste.points.domain import CollectionPoint, Demand, PointId
from cityloop_waste.points.tables import collection_point, point_demand
from cityloop_waste.registry import Hours
from cityloop_waste.streams import Stream

_P, _D = collection_point.c, point_demand.c
_KEEP = Keep(collection_point)
_FORGET_DEMANDS = HotStatement(delete(point_demand).where(_D.point_id == bindparam("of_point")))
_ADD_DEMAND = HotStatement(insert(point_demand).values({column.name: bindparam(column.name) for column in point_demand.columns}))


async def put(tx: WriteTx, points: Sequence[CollectionPoint]) -> list[str]:
    """Stores points; answers the ids of those that were new or other than before."""
    by_id = {point.id: point for point in points}
    changed = await _KEEP.put(tx, [_row(point) for point in points])
    if changed:
        await tx.hot.many(_FORGET_DEMANDS, [{"of_point": point_id} for point_id in changed])
        demands = [_demand_row(point_id, demand) for point_id in changed for demand in by_id[PointId(point_id)].demands]
        if demands:
            await tx.hot.many(_ADD_DEMAND, demands)
    return changed


async def page(tx: Tx, *, after: str, most: int, stream: Stream | None = None) -> list[CollectionPoint]:
    """Points in the order of their ids, behind `after`; with a stream only where it stands."""
    asked = select(collection_point).where(_P.id > after)
    if stream is not None:
        asked = asked.where(_stands(stream))
    return await _with_demands(tx, await tx.all(asked.order_by(_P.id).limit(most)))


async def due(tx: Tx, stream: Stream, *, most: int) -> list[CollectionPoint]:
    """The points in use where a stream stands, in the order of their ids."""
    rows = await tx.all(select(collection_point).where(_P.active, _stands(stream)).order_by(_P.id).limit(most))
    return await _with_demands(tx, rows)


async def streams_due(tx: Tx) -> list[Stream]:
    """The streams that stand at a point in use, in the order of their names."""
    rows = await tx.all(select(_D.stream).join(collection_point, _P.id == _D.point_id).where(_P.active).distinct().order_by(_D.stream))
    return [Stream(row.stream) for row in rows]


async def names(tx: Tx, ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Name and English name of the points that are known."""
    rows = await tx.all(select(_P.id, _P.name, _P.name_en).where(_P.id.in_(ids)))
    return {row.id: (row.name, row.name_en) for row in rows}


async def by_ids(tx: Tx, ids: Sequence[str]) -> list[CollectionPoint]:
    """The points that are known, in the order of their ids."""
    return await _with_demands(tx, await tx.all(select(collection_point).where(_P.id.in_(ids)).order_by(_P.id)))


def _stands(stream: Stream) -> Any:
    return exists(select(_D.point_id).where(_D.point_id == _P.id, _D.stream == stream.value))


async def _with_demands(tx: Tx, rows: Sequence[Row[Any]]) -> list[CollectionPoint]:
    if not rows:
        return []
    demands: dict[str, list[Demand]] = {row.id: [] for row in rows}
    between = select(point_demand).where(_D.point_id.between(rows[0].id, rows[-1].id)).order_by(_D.point_id, _D.stream)
    for row in await tx.all(between):
        if row.point_id in demands:
            demands[row.point_id].append(_demand(row))
    return [_point(row, tuple(demands[row.id])) for row in rows]


def _demand(row: Row[Any]) -> Demand:
    more = (row.containers or 0, tuple(row.trucks or ()), row.prize_m)
    return Demand(Stream(row.stream), row.mass_kg, row.volume_dm3, row.service_s, *more)


def _point(row: Row[Any], demands: tuple[Demand, ...]) -> CollectionPoint:
    return CollectionPoint(
        id=row.id,
        name=row.name,
        name_en=row.name_en,
        position=Position(row.lon, row.lat),
        district=row.district,
        demands=demands,
        windows=tuple(Hours(start_s, end_s) for start_s, end_s in row.windows),
        active=row.active,
        invented=row.invented,
    )


def _row(point: CollectionPoint) -> Mapping[str, object]:
    return {
        "id": point.id,
        "name": point.name,
        "name_en": point.name_en,
        "lon": point.position.lon,
        "lat": point.position.lat,
        "district": point.district,
        "windows": [[each.start_s, each.end_s] for each in point.windows],
        "active": point.active,
        "invented": point.invented,
        "content_hash": point.content_hash(),
    }


def _demand_row(point_id: str, demand: Demand) -> Mapping[str, object]:
    return {
        "point_id": point_id,
        "stream": demand.stream.value,
        "mass_kg": demand.mass_kg,
        "volume_dm3": demand.volume_dm3,
        "service_s": demand.service_s,
        "containers": demand.containers,
        "trucks": list(demand.trucks),
        "prize_m": demand.prize_m,
    }
