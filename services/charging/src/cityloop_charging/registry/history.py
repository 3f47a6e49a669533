"""The registry as it was: the state of every station and EVSE at an instant, as it was known at another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Float, FromClause, Select, Table, bindparam, select, type_coerce
from sqlalchemy.types import NullType

from cityloop_charging.registry.domain import Access, Current, EvseUid, Lifecycle, LocationId, LocationState
from cityloop_charging.registry.tables import evse, evse_version, location, location_version
from cityloop_common.db import HotStatement, Tx, UtcDateTime
from cityloop_common.geo import Position


@dataclass(frozen=True, slots=True)
class LocationAsOf:
    """A station as it was; `row_id` is the journal row that says so."""

    row_id: str
    location_id: LocationId
    version: int
    operator_id: str
    name: str
    position: Position
    district: str | None
    access: Access
    bay_count: int | None
    state: LocationState
    place_id: str | None
    in_city: bool


@dataclass(frozen=True, slots=True)
class EvseAsOf:
    """An EVSE as it was; `row_id` is the journal row that says so."""

    row_id: str
    uid: EvseUid
    location_id: LocationId
    operator_id: str
    connector_id: str
    power_w: int
    current: Current
    standard: bool
    bay_no: str | None
    lifecycle: Lifecycle


def as_of(journal: Table, object_id: Any, of: FromClause, key: Any, columns: Sequence[str], *, by: str = "version") -> Select[Any]:
    """The highest version of each object of `of` that had happened by :at and was known by :known_at.

    The version and no clock says which row is newer: replicas' clocks differ. One seek an object in the journal's index
    (object, version), backwards from its newest row.
    """
    older = journal.alias("older")
    newest = (
        select(older.c.id)
        .where(
            older.c[object_id.name] == key,
            older.c.happened_at <= bindparam("at", type_=UtcDateTime()),
            older.c.recorded_at <= bindparam("known_at", type_=UtcDateTime()),
        )
        .order_by(older.c[by].desc())
        .limit(1)
        .correlate(of)
        .scalar_subquery()
    )
    return select(*(_plain(journal.c[name]) for name in columns)).select_from(of.join(journal, journal.c.id == newest)).order_by(key)


def _plain(column: Any) -> Any:
    """A float as the driver gives it: SQLAlchemy's own conversion for asyncpg wants a result that hot statements do not have."""
    return type_coerce(column, NullType()) if isinstance(column.type, Float) else column


_LOCATION = (
    "id", "location_id", "version", "operator_id", "name", "lon", "lat", "district", "access", "bay_count", "state", "place_id",
    "in_city",
)  # fmt: skip
_EVSE = ("id", "evse_uid", "location_id", "operator_id", "connector_id", "power_w", "current", "standard", "bay_no", "lifecycle")
LOCATIONS = HotStatement(as_of(location_version, location_version.c.location_id, location, location.c.id, _LOCATION))
EVSES = HotStatement(as_of(evse_version, evse_version.c.evse_uid, evse, evse.c.uid, _EVSE))


async def locations(tx: Tx, at: datetime, known_at: datetime) -> list[LocationAsOf]:
    """Every station that there was at `at`, as known at `known_at`, in the order of their ids."""
    found = []
    for row in await tx.hot.all(LOCATIONS, {"at": at, "known_at": known_at}):
        row_id, location_id, version, operator_id, name, lon, lat, district, access, bay_count, state, place_id, in_city = row
        found.append(
            LocationAsOf(
                row_id, LocationId(location_id), version, operator_id, name, Position(lon, lat), district, Access(access), bay_count,
                LocationState(state), place_id, in_city,
            )
        )  # fmt: skip
    return found


async def evses(tx: Tx, at: datetime, known_at: datetime) -> list[EvseAsOf]:
    """Every EVSE of whatever lifecycle that was known of at `at`, as known at `known_at`, in the order of their uids."""
    found = []
    for row in await tx.hot.all(EVSES, {"at": at, "known_at": known_at}):
        row_id, uid, location_id, operator_id, connector_id, power_w, current, standard, bay_no, lifecycle = row
        found.append(
            EvseAsOf(
                row_id, EvseUid(uid), LocationId(location_id), operator_id, connector_id, power_w, Current(current), standard, bay_no,
                Lifecycle(lifecycle),
            )
        )  # fmt: skip
    return found
