"""SQL of the room `places`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, func, insert, literal, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import HotStatement, Tx, WriteTx
from cityloop_common.geo import Bounds, Position
from cityloop_parking.places.domain import (
    Access,
    Category,
    Place,
    PlaceFacts,
    PlaceId,
    PlaceKind,
    PlaceState,
    Pool,
    PositionFrom,
)
from cityloop_parking.places.tables import place, place_pool, place_version

_COLUMNS = tuple(column.name for column in place.columns)
_KEPT = ("id", "source", "source_id", "version", "recorded_at")


class Expect(IntEnum):
    """What a writer expects of the row besides a version number; below 0, which no If-Match can name."""

    ANYTHING = -2
    NOTHING = -1


def _upsert(dialect: str) -> HotStatement:
    """Inserts or changes in one statement; unchanged content, or another version than expected, touches nothing."""
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(place).values({name: bindparam(name) for name in _COLUMNS})
    new = statement.excluded
    changes: dict[str, ColumnElement[Any]] = {name: new[name] for name in _COLUMNS if name not in _KEPT}
    changes["version"] = place.c.version + 1
    changes["operator_id"] = func.coalesce(new.operator_id, place.c.operator_id)
    other_operator = and_(new.operator_id.is_not(None), place.c.operator_id.is_distinct_from(new.operator_id))
    expected = bindparam("expected_version", type_=place.c.version.type)
    condition = and_(
        or_(place.c.content_hash != new.content_hash, other_operator),
        or_(expected == int(Expect.ANYTHING), place.c.version == expected),
    )
    upsert = statement.on_conflict_do_update(index_elements=[place.c.id], set_=changes, where=condition)
    return HotStatement(upsert.returning(place.c.version, place.c.operator_id, place.c.recorded_at))


_UPSERT = {dialect: _upsert(dialect) for dialect in ("sqlite", "postgresql")}
_FORGET_POOLS = HotStatement(delete(place_pool).where(place_pool.c.place_id == bindparam("of_place")))
_ADD_POOL = HotStatement(insert(place_pool).values({column.name: bindparam(column.name) for column in place_pool.columns}))
_JOURNAL = HotStatement(insert(place_version).values({column.name: bindparam(column.name) for column in place_version.columns}))


@dataclass(frozen=True, slots=True)
class NewVersion:
    """Facts about to be stored, with the id of the event that will tell of them."""

    facts: PlaceFacts
    operator_id: str | None
    event_id: str
    expected_version: int = Expect.ANYTHING


async def put(tx: WriteTx, new: Sequence[NewVersion]) -> list[Place]:
    """Stores places by id, in ascending order; answers those that were new or changed."""
    changed: list[Place] = []
    for each in sorted(new, key=lambda one: one.facts.id):
        row = await tx.hot.first(_UPSERT[tx.dialect_name], _row(each, tx.recorded_at))
        if row is not None:
            version, operator_id, recorded_at = row
            changed.append(Place(each.facts, operator_id, version, each.event_id, recorded_at, tx.recorded_at))
    if changed:
        await tx.hot.many(_FORGET_POOLS, [{"of_place": one.id} for one in changed])
        pools = [_pool_row(one.id, pool) for one in changed for pool in one.facts.pools]
        if pools:
            await tx.hot.many(_ADD_POOL, pools)
    return changed


async def write_journal(tx: WriteTx, changed: Sequence[Place], *, city: Bounds) -> None:
    """Appends the versions that places have just got, and whether they lie in the city's bounds."""
    if changed:
        await tx.hot.many(_JOURNAL, [_version_row(each, city) for each in changed])


async def write_missing_journal(tx: WriteTx, *, city: Bounds, most: int) -> int:
    """Appends the present version of places that have no row of it; answers how many got one.

    Who wrote them did not know the journal: the first release, which may still run while this one takes over. Such a version
    happened when it was written and is known from now on, so that a figure that was published before does not change.
    """
    p, v, pool = place.c, place_version.c, place_pool.c
    there = select(v.id).where(v.place_id == p.id, v.version == p.version).exists()
    bays = select(func.coalesce(func.sum(pool.capacity), 0)).where(pool.place_id == p.id, pool.category != Category.MOTORCYCLE.value)
    in_city = and_(p.lon.between(city.west, city.east), p.lat.between(city.south, city.north))
    row = {
        v.id: p.event_id, v.place_id: p.id, v.version: p.version, v.happened_at: p.updated_at,
        v.recorded_at: literal(tx.recorded_at, v.recorded_at.type), v.source: p.source, v.event_id: p.event_id, v.access: p.access,
        v.state: p.state, v.kind: p.kind, v.district: p.district, v.in_city: in_city, v.total_bays: bays.scalar_subquery(), v.name: p.name,
    }  # fmt: skip
    missing = select(*row.values()).where(~there).order_by(p.id).limit(most)
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    return await tx.run(make(place_version).from_select([column.name for column in row], missing).on_conflict_do_nothing())


async def get(tx: Tx, place_id: str) -> Place | None:
    """One place with its pools."""
    row = await tx.first(select(place).where(place.c.id == place_id))
    return None if row is None else (await _with_pools(tx, [row]))[0]


async def page(tx: Tx, *, after: str, most: int) -> list[Place]:
    """Places in the order of their ids, behind `after`."""
    return await _with_pools(tx, await tx.all(select(place).where(place.c.id > after).order_by(place.c.id).limit(most)))


async def count(tx: Tx) -> int:
    """How many places there are."""
    return int(await tx.scalar(select(func.count()).select_from(place)))


async def _with_pools(tx: Tx, rows: Sequence[Row[Any]]) -> list[Place]:
    if not rows:
        return []
    ids = [row.id for row in rows]
    statement = select(place_pool).where(place_pool.c.place_id.in_(ids)).order_by(place_pool.c.place_id, place_pool.c.category)
    pools: dict[str, list[Pool]] = {id_: [] for id_ in ids}
    for row in await tx.all(statement):
        pools[row.place_id].append(Pool(Category(row.category), row.capacity, row.walk_in_reserve, row.out_of_service))
    return [_place(row, tuple(pools[row.id])) for row in rows]


def _place(row: Row[Any], pools: tuple[Pool, ...]) -> Place:
    facts = PlaceFacts(
        source=row.source,
        source_id=row.source_id,
        name=row.name,
        position=Position(row.lon, row.lat),
        pools=pools,
        name_en=row.name_en,
        address=row.address,
        kind=PlaceKind(row.kind),
        access=Access(row.access),
        position_from=PositionFrom(row.position_from),
        jurisdiction=row.jurisdiction,
        district=row.district,
        charging_stations=row.charging_stations,
        accessible_bays=row.accessible_bays,
        tariff_text=row.tariff_text,
        fares=row.fares,
        service_hours=row.service_hours,
        phone=row.phone,
        invented=row.invented,
        state=PlaceState(row.state),
    )
    return Place(facts, row.operator_id, row.version, row.event_id, row.recorded_at, row.updated_at)


def _row(new: NewVersion, at: datetime) -> Mapping[str, object]:
    facts = new.facts
    return {
        "id": facts.id,
        "source": facts.source,
        "source_id": facts.source_id,
        "name": facts.name,
        "name_en": facts.name_en,
        "address": facts.address,
        "kind": str(facts.kind),
        "access": str(facts.access),
        "operator_id": new.operator_id,
        "lon": facts.position.lon,
        "lat": facts.position.lat,
        "position_from": str(facts.position_from),
        "jurisdiction": facts.jurisdiction,
        "district": facts.district,
        "charging_stations": facts.charging_stations,
        "accessible_bays": facts.accessible_bays,
        "tariff_text": facts.tariff_text,
        "fares": facts.fares,
        "service_hours": facts.service_hours,
        "phone": facts.phone,
        "invented": facts.invented,
        "state": str(facts.state),
        "version": 1,
        "content_hash": facts.content_hash(),
        "event_id": new.event_id,
        "recorded_at": at,
        "updated_at": at,
        "expected_version": int(new.expected_version),
    }


def _pool_row(place_id: PlaceId, pool: Pool) -> Mapping[str, object]:
    return {
        "place_id": place_id,
        "category": str(pool.category),
        "capacity": pool.capacity,
        "walk_in_reserve": pool.walk_in_reserve,
        "out_of_service": pool.out_of_service,
    }


def _version_row(of: Place, city: Bounds) -> Mapping[str, object]:
    facts = of.facts
    return {
        "id": of.event_id,
        "place_id": of.id,
        "version": of.version,
        "happened_at": of.updated_at,
        "recorded_at": of.updated_at,
        "source": facts.source,
        "event_id": of.event_id,
        "corrects": None,
        "access": str(facts.access),
        "state": str(facts.state),
        "kind": str(facts.kind),
        "district": facts.district,
        "in_city": city.contains(facts.position),
        "total_bays": facts.total_bays,
        "name": facts.name,
    }
