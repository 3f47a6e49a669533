"""SQL of the room `registry`: what is known now, and the journal of how it became so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_charging.registry.domain import (
    Access,
    Current,
    Evse,
    EvseFacts,
    EvseUid,
    Lifecycle,
    Location,
    LocationFacts,
    LocationId,
    LocationState,
    is_evse_uid,
    is_location_id,
)
from cityloop_charging.registry.tables import evse, evse_version, location, location_version
from cityloop_common.db import HotStatement, Tx, WriteTx
from cityloop_common.geo import Position, distance_m

METRES_A_DEGREE = 111_000.0  # of latitude, rounded down: a box made with it is never too small
_LOCATION = tuple(column.name for column in location.columns)
_LOCATION_KEPT = ("id", "operator_id", "station_id", "place_id", "version", "recorded_at", "updated_at")
_EVSE = tuple(column.name for column in evse.columns)
_EVSE_STATE = ("connector_id", "power_w", "current", "standard", "bay_no", "lifecycle")


class Expect(IntEnum):
    """What a writer expects of the row besides a version number; below 0, which no If-Match can name."""

    ANYTHING = -2
    NOTHING = -1


@dataclass(frozen=True, slots=True)
class NewVersion:
    """Facts about to be stored, with who says so and the id of the event that will tell of them."""

    facts: LocationFacts
    event_id: str
    source: str
    expected_version: int = Expect.ANYTHING


def _put_location(dialect: str) -> HotStatement:
    """Inserts or changes in one statement; unchanged content, or another version than expected, touches nothing."""
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(location).values({name: bindparam(name) for name in _LOCATION})
    new = statement.excluded
    changes: dict[str, ColumnElement[Any]] = {name: new[name] for name in _LOCATION if name not in _LOCATION_KEPT}
    changes["version"] = location.c.version + 1
    expected = bindparam("expected_version", type_=location.c.version.type)
    condition = and_(
        location.c.content_hash != new.content_hash,
        or_(expected == int(Expect.ANYTHING), location.c.version == expected),
    )
    upsert = statement.on_conflict_do_update(index_elements=[location.c.id], set_=changes, where=condition)
    return HotStatement(upsert.returning(location.c.version, location.c.place_id, location.c.recorded_at, location.c.updated_at))


def _put_evse(dialect: str) -> HotStatement:
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(evse).values({name: bindparam(name) for name in _EVSE})
    changes = {name: statement.excluded[name] for name in (*_EVSE_STATE, "updated_at")}
    return HotStatement(statement.on_conflict_do_update(index_elements=[evse.c.uid], set_=changes))


_PUT_LOCATION = {dialect: _put_location(dialect) for dialect in ("sqlite", "postgresql")}
_PUT_EVSE = {dialect: _put_evse(dialect) for dialect in ("sqlite", "postgresql")}
_STAMP = HotStatement(
    update(location).where(location.c.id == bindparam("of_id")).values(updated_at=bindparam("at", type_=location.c.updated_at.type))
)
_TELL_LOCATION = HotStatement(insert(location_version).values({column.name: bindparam(column.name) for column in location_version.columns}))
_TELL_EVSE = HotStatement(insert(evse_version).values({column.name: bindparam(column.name) for column in evse_version.columns}))


async def put(tx: WriteTx, new: Sequence[NewVersion], *, new_id: Callable[[], str]) -> list[Location]:
    """Stores stations by id, in ascending order, with their EVSEs and the journal; answers those that were new or changed.

    EVSEs that a station had and that are not named become REMOVED. Raises UniqueViolation for a connector of another station.
    """
    changed: list[tuple[NewVersion, Location]] = []
    for each in sorted(new, key=lambda one: one.facts.id):
        row = await tx.hot.first(_PUT_LOCATION[tx.dialect_name], _location_row(each, tx.recorded_at))
        if row is not None:
            version, place_id, recorded_at, before = row
            stamp = tx.recorded_at if version == 1 else _after(before, tx)
            changed.append((each, Location(each.facts, place_id, version, each.event_id, recorded_at, stamp)))
    if not changed:
        return []
    await _stamp(tx, [one for _, one in changed if one.version > 1])
    await tx.hot.many(_TELL_LOCATION, [_journal_row(one, tx, new_id(), each.source) for each, one in changed])
    moved = await _moved_evses(tx, changed)
    if moved:
        await tx.hot.many(_PUT_EVSE[tx.dialect_name], [row for row, _, _ in moved])
        await tx.hot.many(_TELL_EVSE, [_evse_journal_row(row, one, tx, new_id(), each.source) for row, each, one in moved])
    return [one for _, one in changed]


async def set_place(tx: WriteTx, location_id: str, place_id: str | None, *, event_id: str, source: str, row_id: str) -> Location | None:
    """Notes the car park of a station's confirmed link; None when nothing changes or there is no such station."""
    statement = (
        update(location)
        .where(location.c.id == location_id, location.c.place_id.is_distinct_from(place_id))
        .values(place_id=place_id, version=location.c.version + 1, event_id=event_id)
    )
    if not await tx.run(statement):
        return None
    noted = await get(tx, location_id)
    assert noted is not None
    changed = replace(noted, updated_at=_after(noted.updated_at, tx))
    await _stamp(tx, [changed])
    await tx.hot.many(_TELL_LOCATION, [_journal_row(changed, tx, row_id, source)])
    return changed


async def lock(tx: WriteTx, location_id: str) -> bool:
    """Holds a station's row until the unit ends; False when there is no such station."""
    if not is_location_id(location_id):
        return False
    return await tx.first(select(location.c.id).where(location.c.id == location_id).with_for_update()) is not None


async def get(tx: Tx, location_id: str) -> Location | None:
    """One station with its EVSEs."""
    if not is_location_id(location_id):
        return None
    found = await _with_evses(tx, await tx.all(select(location).where(location.c.id == location_id)))
    return found[0] if found else None


async def page(tx: Tx, *, after: str, most: int, operator_id: str | None = None) -> list[Location]:
    """Stations in the order of their ids, behind `after`."""
    asked = select(location).where(location.c.id > after)
    if operator_id is not None:
        asked = asked.where(location.c.operator_id == operator_id)
    return await _with_evses(tx, await tx.all(asked.order_by(location.c.id).limit(most)))


async def versions(tx: Tx, *, most: int) -> list[tuple[str, int]]:
    """The first stations by id, each with its version, which is another one whenever it or an EVSE of it changed."""
    rows = await tx.all(select(location.c.id, location.c.version).order_by(location.c.id).limit(most))
    return [(row.id, row.version) for row in rows]


async def some(tx: Tx, ids: Sequence[str]) -> list[Location]:
    """Stations by their ids, with their EVSEs."""
    return await _with_evses(tx, await tx.all(select(location).where(location.c.id.in_(ids))))


async def near(tx: Tx, at: Position, *, radius_m: float, most: int, operator_id: str | None = None) -> list[tuple[int, Location]]:
    """Stations within a radius with their distance in metres, the nearest first."""
    lat, lon = location.c.lat, location.c.lon
    high = radius_m / METRES_A_DEGREE
    wide = min(180.0, high / max(0.01, math.cos(math.radians(min(89.0, abs(at.lat) + high)))))
    asked = select(location).where(lat.between(at.lat - high, at.lat + high), lon.between(at.lon - wide, at.lon + wide))
    if operator_id is not None:
        asked = asked.where(location.c.operator_id == operator_id)
    rows = [(distance_m(at, Position(row.lon, row.lat)), row) for row in await tx.all(asked)]
    chosen = sorted(((metres, row) for metres, row in rows if metres <= radius_m), key=lambda pair: (pair[0], pair[1].id))[:most]
    found = {each.id: each for each in await _with_evses(tx, [row for _, row in chosen])}
    return [(round(metres), found[row.id]) for metres, row in chosen]


async def one_evse(tx: Tx, uid: str) -> Evse | None:
    """One EVSE, also a removed one."""
    if not is_evse_uid(uid):
        return None
    row = await tx.first(select(evse).where(evse.c.uid == uid))
    return None if row is None else _evse(row)


async def by_connector(tx: Tx, operator_id: str, connector_ids: Iterable[str]) -> dict[str, Evse]:
    """An operator's EVSEs that are not removed, by their connector's id: what a T/CEC message names."""
    asked = sorted({each for each in connector_ids if is_evse_uid(f"{operator_id}*0*{each}")})
    if not asked:
        return {}
    statement = select(evse).where(
        evse.c.operator_id == operator_id, evse.c.connector_id.in_(asked), evse.c.lifecycle != Lifecycle.REMOVED.value
    )
    return {row.connector_id: _evse(row) for row in await tx.all(statement)}


async def _moved_evses(
    tx: WriteTx, changed: Sequence[tuple[NewVersion, Location]]
) -> list[tuple[Mapping[str, object], NewVersion, Location]]:
    """Rows of EVSEs that are new, other or gone; those that are gone first, so that their connectors are free."""
    known: dict[str, dict[str, Row[Any]]] = {one.id: {} for _, one in changed}
    for row in await tx.all(select(evse).where(evse.c.location_id.in_(list(known)))):
        known[row.location_id][row.uid] = row
    moved: list[tuple[Mapping[str, object], NewVersion, Location]] = []
    for each, one in changed:
        wanted = {one.facts.uid(fact): _evse_row(one.facts, fact) for fact in one.facts.evses}
        for uid, row in known[one.id].items():
            if uid not in wanted and row.lifecycle != Lifecycle.REMOVED:
                gone = {name: row._mapping[name] for name in _EVSE} | {"lifecycle": Lifecycle.REMOVED.value}
                moved.append((gone | {"updated_at": one.updated_at}, each, one))
        for uid, new in wanted.items():
            old = known[one.id].get(uid)
            if old is None or any(old._mapping[name] != new[name] for name in _EVSE_STATE):
                moved.append((new | {"updated_at": one.updated_at}, each, one))
    return sorted(moved, key=lambda each: (each[0]["lifecycle"] != Lifecycle.REMOVED, str(each[0]["uid"])))


def _after(before: datetime, tx: WriteTx) -> datetime:
    """When a change of a station happened whose row is held: after the one before, whatever the clocks of two replicas say."""
    return max(tx.recorded_at, before + timedelta(microseconds=1))


async def _stamp(tx: WriteTx, changed: Sequence[Location]) -> None:
    """Writes when stations changed, once it is known when they changed before."""
    if changed:
        await tx.hot.many(_STAMP, [{"of_id": one.id, "at": one.updated_at} for one in changed])


async def _with_evses(tx: Tx, rows: Sequence[Row[Any]]) -> list[Location]:
    if not rows:
        return []
    present = evse.c.lifecycle != Lifecycle.REMOVED.value
    statement = select(evse).where(evse.c.location_id.in_([row.id for row in rows]), present).order_by(evse.c.location_id, evse.c.uid)
    evses: dict[str, list[EvseFacts]] = {row.id: [] for row in rows}
    for row in await tx.all(statement):
        evses[row.location_id].append(
            EvseFacts(row.connector_id, row.power_w, Current(row.current), row.standard, row.bay_no, Lifecycle(row.lifecycle))
        )
    return [_holding(_location(row), tuple(evses[row.id])) for row in rows]


def _holding(one: Location, evses: tuple[EvseFacts, ...]) -> Location:
    """A station with these EVSEs."""
    return replace(one, facts=replace(one.facts, evses=evses))


def _location(row: Row[Any]) -> Location:
    facts = LocationFacts(
        operator_id=row.operator_id,
        station_id=row.station_id,
        name=row.name,
        position=Position(row.lon, row.lat),
        name_en=row.name_en,
        district=row.district,
        access=Access(row.access),
        bay_count=row.bay_count,
        state=LocationState(row.state),
        invented=row.invented,
        in_city=row.in_city,
    )
    return Location(facts, row.place_id, row.version, row.event_id, row.recorded_at, row.updated_at)


def _evse(row: Row[Any]) -> Evse:
    return Evse(
        EvseUid(row.uid),
        LocationId(row.location_id),
        row.operator_id,
        row.connector_id,
        row.power_w,
        Current(row.current),
        row.standard,
        row.bay_no,
        Lifecycle(row.lifecycle),
    )


def _described(facts: LocationFacts) -> dict[str, object]:
    return {
        "operator_id": facts.operator_id,
        "name": facts.name,
        "lon": facts.position.lon,
        "lat": facts.position.lat,
        "district": facts.district,
        "in_city": facts.in_city,
        "access": str(facts.access),
        "bay_count": facts.bay_count,
        "state": str(facts.state),
        "invented": facts.invented,
    }


def _location_row(new: NewVersion, at: datetime) -> Mapping[str, object]:
    facts = new.facts
    return _described(facts) | {
        "id": facts.id,
        "station_id": facts.station_id,
        "name_en": facts.name_en,
        "place_id": None,
        "version": 1,
        "content_hash": facts.content_hash(),
        "event_id": new.event_id,
        "recorded_at": at,
        "updated_at": at,
        "expected_version": int(new.expected_version),
    }


def _journal_row(one: Location, tx: WriteTx, id: str, source: str) -> Mapping[str, object]:
    return _described(one.facts) | {
        "id": id,
        "location_id": one.id,
        "version": one.version,
        "place_id": one.place_id,
        "happened_at": one.updated_at,
        "recorded_at": tx.recorded_at,
        "source": source,
        "event_id": one.event_id,
        "corrects": None,
    }


def _evse_row(facts: LocationFacts, fact: EvseFacts) -> dict[str, object]:
    return {
        "uid": facts.uid(fact),
        "location_id": facts.id,
        "operator_id": facts.operator_id,
        "connector_id": fact.connector_id,
        "power_w": fact.power_w,
        "current": str(fact.current),
        "standard": fact.standard,
        "bay_no": fact.bay_no,
        "lifecycle": str(fact.lifecycle),
    }


def _evse_journal_row(row: Mapping[str, object], of: Location, tx: WriteTx, id: str, source: str) -> Mapping[str, object]:
    state = {name: row[name] for name in ("location_id", "operator_id", *_EVSE_STATE)}
    return state | {
        "id": id,
        "evse_uid": row["uid"],
        "version": of.version,
        "happened_at": of.updated_at,
        "recorded_at": tx.recorded_at,
        "source": source,
        "event_id": of.event_id,
        "corrects": None,
    }
