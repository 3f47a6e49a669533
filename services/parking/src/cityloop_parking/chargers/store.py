"""SQL of the room `chargers`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import String, bindparam, select, text
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import HotStatement, Tx, WriteTx
from cityloop_parking.chargers.domain import Charger, Status
from cityloop_parking.chargers.tables import charger, charger_location, chargers_heard
from cityloop_parking.chargers.views import LocationView, StatusView

SERVICE = "charging"
_L, _C, _H = charger_location.c, charger.c, chargers_heard.c
_DIALECTS = ("sqlite", "postgresql")


def _put(dialect: str, table: Any) -> HotStatement:
    """Inserts a row, or overwrites the one of an older version; one of the same or a newer version stays."""
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(table).values({each.name: bindparam(each.name) for each in table.columns})
    key, *others = table.columns
    changes = {each.name: statement.excluded[each.name] for each in others}
    newer = table.c.version < statement.excluded.version
    return HotStatement(statement.on_conflict_do_update(index_elements=[key], set_=changes, where=newer).returning(key))


def _hear(dialect: str) -> HotStatement:
    """Moves the instant on, never back."""
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(chargers_heard).values(service=bindparam("service"), heard_at=bindparam("heard_at"))
    new = statement.excluded.heard_at
    return HotStatement(statement.on_conflict_do_update(index_elements=[_H.service], set_={"heard_at": new}, where=_H.heard_at < new))


def _of_places(dialect: str, sql: str, *columns: Any) -> HotStatement:
    """A statement over the places whose ids are the JSON array :ids."""
    keys = "SELECT json_array_elements_text(CAST(:ids AS json))" if dialect == "postgresql" else "SELECT value FROM json_each(:ids)"
    return HotStatement(text(f"{sql} ({keys})").bindparams(bindparam("ids", type_=String())).columns(*columns))


_PUT_LOCATION = {dialect: _put(dialect, charger_location) for dialect in _DIALECTS}
_PUT_STATUS = {dialect: _put(dialect, charger) for dialect in _DIALECTS}
_HEAR = {dialect: _hear(dialect) for dialect in _DIALECTS}
_PLACE_OF = HotStatement(select(_L.place_id).where(_L.location_id == bindparam("of_location", type_=String)))
_LOCATIONS = {
    dialect: _of_places(
        dialect,
        "SELECT place_id, location_id, evses FROM charger_location WHERE is_open AND place_id IN",
        _L.place_id,
        _L.location_id,
        _L.evses,
    )
    for dialect in _DIALECTS
}
_STATUSES = {
    dialect: _of_places(
        dialect,
        "SELECT c.location_id, c.evse_uid, c.status, c.since FROM charger c"
        " JOIN charger_location l ON l.location_id = c.location_id WHERE l.is_open AND l.place_id IN",
        _C.location_id,
        _C.evse_uid,
        _C.status,
        _C.since,
    )
    for dialect in _DIALECTS
}


async def put_location(tx: WriteTx, view: LocationView, *, version: int) -> set[str]:
    """Keeps a location's newest version; answers the places whose chargers may be others now, none for an older version."""
    before = await _place_of(tx, view.location_id)
    row = {
        "location_id": view.location_id,
        "version": version,
        "place_id": view.place_id,
        "is_open": view.state == "open",
        "evses": [[each.uid, each.bay_no] for each in view.evses],
        "updated_at": tx.recorded_at,
    }
    if await tx.hot.first(_PUT_LOCATION[tx.dialect_name], row) is None:
        return set()
    return {place_id for place_id in (before, view.place_id) if place_id is not None}


async def put_status(tx: WriteTx, view: StatusView, *, version: int) -> set[str]:
    """Keeps an EVSE's newest status; answers the place where it stands if that is known, nothing for an older version."""
    row = {
        "evse_uid": view.evse_uid,
        "location_id": view.location_id,
        "version": version,
        "status": str(view.status),
        "since": view.since,
        "updated_at": tx.recorded_at,
    }
    if await tx.hot.first(_PUT_STATUS[tx.dialect_name], row) is None:
        return set()
    place_id = await _place_of(tx, view.location_id)
    return set() if place_id is None else {place_id}


async def hear(tx: WriteTx, at: datetime) -> None:
    """Notes that charging said something at an instant."""
    await tx.hot.run(_HEAR[tx.dialect_name], {"service": SERVICE, "heard_at": at})


async def heard_at(tx: Tx) -> datetime | None:
    """When charging said something last; None when it never has."""
    found: datetime | None = await tx.scalar(select(_H.heard_at).where(_H.service == SERVICE))
    return found


async def chargers_of(tx: Tx, place_ids: Collection[str]) -> dict[str, list[Charger]]:
    """The EVSEs that open locations of these places list, with what each does; UNKNOWN until charging has said it."""
    ids = {"ids": orjson.dumps(sorted(place_ids)).decode()}
    locations = await tx.hot.all(_LOCATIONS[tx.dialect_name], ids)
    if not locations:
        return {}
    statuses = {(row[0], row[1]): (Status(row[2]), row[3]) for row in await tx.hot.all(_STATUSES[tx.dialect_name], ids)}
    found: dict[str, list[Charger]] = {}
    for place_id, location_id, evses in locations:
        listed = found.setdefault(place_id, [])
        for uid, bay_no in evses:
            listed.append(Charger(uid, bay_no, *statuses.get((location_id, uid), (Status.UNKNOWN, None))))
    return found


async def _place_of(tx: WriteTx, location_id: str) -> str | None:
    row = await tx.hot.first(_PLACE_OF, {"of_location": location_id})
    return None if row is None else row[0]
