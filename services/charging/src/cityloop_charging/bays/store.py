"""SQL of the room `bays`: what was heard of car parks, and which station stands in which."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, func, insert, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_charging.bays.domain import By, Decider, Link, LinkState, Place
from cityloop_charging.bays.tables import link, link_version, place, place_version
from cityloop_charging.registry.domain import Lifecycle, LocationState, is_location_id
from cityloop_charging.registry.store import METRES_A_DEGREE
from cityloop_charging.registry.tables import evse, location
from cityloop_common.db import HotStatement, Tx, WriteTx
from cityloop_common.geo import Position, distance_m

_PLACE = tuple(column.name for column in place.columns)
_OPEN_TO_SCORING = or_(
    link.c.state.in_([LinkState.REJECTED.value, LinkState.WITHDRAWN.value]),
    and_(link.c.state == LinkState.PROPOSED.value, link.c.decider == Decider.SCORE.value),
)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a journal row is written: its own id, the event behind it, and in whose words."""

    row_id: str
    event_id: str
    source: str


@dataclass(frozen=True, slots=True)
class ListedLink:
    """A link with the names that a person knows the two by; none for a car park that was not heard of."""

    link: Link
    location_name: str
    place_name: str | None


@dataclass(frozen=True, slots=True)
class Unlinked:
    """A station without a confirmed car park, and where its link stands."""

    location_id: str
    name: str
    position: Position
    district: str | None
    access: str
    state: str
    evses: int
    link_state: LinkState | None
    proposed_place_id: str | None


def _put_place(dialect: str) -> HotStatement:
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(place).values({name: bindparam(name) for name in _PLACE})
    changes = {name: statement.excluded[name] for name in _PLACE if name != "id"}
    newer = place.c.sequence < statement.excluded.sequence
    return HotStatement(statement.on_conflict_do_update(index_elements=[place.c.id], set_=changes, where=newer).returning(place.c.id))


def _tell_place(dialect: str) -> HotStatement:
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    columns: dict[str, Any] = {column.name: bindparam(column.name) for column in place_version.columns}
    return HotStatement(make(place_version).values(columns).on_conflict_do_nothing())


_PUT_PLACE = {dialect: _put_place(dialect) for dialect in ("sqlite", "postgresql")}
_TELL_PLACE = {dialect: _tell_place(dialect) for dialect in ("sqlite", "postgresql")}


async def put_place(tx: WriteTx, one: Place, *, happened_at: datetime, cause: Cause) -> bool:
    """Stores what an event says of a car park, and journals it; False when something as new is known."""
    described = {
        "name": one.name,
        "lon": one.position.lon,
        "lat": one.position.lat,
        "access": one.access,
        "state": one.state,
        "kind": one.kind,
        "district": one.district,
        "in_city": one.in_city,
        "total_bays": one.total_bays,
        "ev_bays": one.ev_bays,
        "sequence": one.sequence,
        "recorded_at": tx.recorded_at,
    }
    stored = await tx.hot.first(_PUT_PLACE[tx.dialect_name], {**described, "id": one.id, "name_en": one.name_en})
    if stored is None:
        return False
    row = {**described, "id": cause.row_id, "place_id": one.id, "happened_at": happened_at, "corrects": None}
    await tx.hot.run(_TELL_PLACE[tx.dialect_name], {**row, "source": cause.source, "event_id": cause.event_id})
    return True


async def get_place(tx: Tx, place_id: str) -> Place | None:
    """One car park as it was heard of last."""
    row = await tx.first(select(place).where(place.c.id == place_id))
    return None if row is None else _place(row)


async def places_near(tx: Tx, at: Position, *, radius_m: float) -> list[Place]:
    """Car parks within a radius, in the order of their ids."""
    high = radius_m / METRES_A_DEGREE
    wide = min(180.0, high / max(0.01, math.cos(math.radians(min(89.0, abs(at.lat) + high)))))
    box = and_(place.c.lat.between(at.lat - high, at.lat + high), place.c.lon.between(at.lon - wide, at.lon + wide))
    found = [_place(row) for row in await tx.all(select(place).where(box).order_by(place.c.id))]
    return [each for each in found if distance_m(each.position, at) <= radius_m]


async def hold_link(tx: WriteTx, location_id: str) -> Link | None:
    """The newest word on a station's car park; it stays so until the unit ends."""
    row = await tx.first(select(link).where(link.c.location_id == location_id).with_for_update())
    return None if row is None else _link(row)


async def last_of_pair(tx: Tx, location_id: str, place_id: str) -> Link | None:
    """The newest word on this station and this car park, also when the station has another proposal by now."""
    v = link_version.c
    asked = select(link_version).where(v.location_id == location_id, v.place_id == place_id)
    row = await tx.first(asked.order_by(v.version.desc()).limit(1))
    return None if row is None else _link(row)


async def proposed_for(tx: Tx, place_id: str) -> list[str]:
    """Stations that the scoring proposes for a car park."""
    asked = select(link.c.location_id).where(
        link.c.place_id == place_id, link.c.state == LinkState.PROPOSED.value, link.c.decider == Decider.SCORE.value
    )
    return [row.location_id for row in await tx.all(asked.order_by(link.c.location_id))]


async def refused(tx: Tx, location_id: str) -> set[str]:
    """Car parks that somebody has rejected for a station, or taken away from it."""
    v = link_version.c
    taken = v.state.in_([LinkState.REJECTED.value, LinkState.WITHDRAWN.value])
    asked = select(v.place_id).where(v.location_id == location_id, taken, v.decider != Decider.SCORE.value).distinct()
    return {row.place_id for row in await tx.all(asked)}


async def decide(tx: WriteTx, new: Link, cause: Cause) -> None:
    """Writes what somebody decided, over whatever stood there."""
    await _write(tx, new, cause, only_open=False)


async def propose(tx: WriteTx, new: Link, cause: Cause) -> bool:
    """Writes what the scoring says, never over a confirmed link or an operator's claim; False when there is one by now."""
    return await _write(tx, new, cause, only_open=True)


async def page(tx: Tx, *, state: LinkState | None, after: str, most: int) -> list[ListedLink]:
    """Links in the order of their stations, behind `after`."""
    joined = link.join(location, location.c.id == link.c.location_id).outerjoin(place, place.c.id == link.c.place_id)
    names = (location.c.name.label("location_name"), place.c.name.label("place_name"))
    asked = select(*link.columns, *names).select_from(joined).where(link.c.location_id > after)
    if state is not None:
        asked = asked.where(link.c.state == state.value)
    rows = await tx.all(asked.order_by(link.c.location_id).limit(most))
    return [ListedLink(_link(row), row.location_name, row.place_name) for row in rows]


async def unlinked(tx: Tx, *, after: str, most: int) -> list[Unlinked]:
    """Stations without a confirmed car park, in the order of their ids, behind `after`."""
    present = (
        select(func.count())
        .where(evse.c.location_id == location.c.id, evse.c.lifecycle != Lifecycle.REMOVED.value)
        .correlate(location)
        .scalar_subquery()
    )
    asked = (
        select(location, link.c.state.label("link_state"), link.c.place_id.label("link_place_id"), present.label("evses"))
        .select_from(location.outerjoin(link, link.c.location_id == location.c.id))
        .where(location.c.id > after, or_(link.c.state.is_(None), link.c.state != LinkState.CONFIRMED.value))
    )
    return [_unlinked(row) for row in await tx.all(asked.order_by(location.c.id).limit(most))]


async def never_linked(tx: Tx, *, after: str, most: int) -> list[str]:
    """Open stations that nobody has said anything of where they stand, in the order of their ids, behind `after`."""
    asked = (
        select(location.c.id)
        .select_from(location.outerjoin(link, link.c.location_id == location.c.id))
        .where(location.c.id > after, location.c.state == LocationState.OPEN.value, link.c.location_id.is_(None))
    )
    return [row.id for row in await tx.all(asked.order_by(location.c.id).limit(most))]


async def _write(tx: WriteTx, new: Link, cause: Cause, *, only_open: bool) -> bool:
    assert is_location_id(new.location_id)
    row = {
        "location_id": new.location_id,
        "place_id": new.place_id,
        "state": new.state.value,
        "decider": new.by.decider.value,
        "subject": new.by.subject,
        "evidence": dict(new.evidence),
        "happened_at": new.happened_at,
        "recorded_at": new.recorded_at,
    }
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    statement = make(link).values(version=1, **row)
    changes: dict[str, ColumnElement[Any]] = {name: statement.excluded[name] for name in row if name != "location_id"}
    changes["version"] = link.c.version + 1
    condition = _OPEN_TO_SCORING if only_open else None
    upsert = statement.on_conflict_do_update(index_elements=[link.c.location_id], set_=changes, where=condition)
    written = await tx.first(upsert.returning(link.c.version))
    if written is None:
        return False
    journal = {**row, "id": cause.row_id, "version": written.version, "source": cause.source, "event_id": cause.event_id, "corrects": None}
    await tx.run(insert(link_version), journal)
    return True


def _place(row: Row[Any]) -> Place:
    return Place(
        id=row.id,
        name=row.name,
        name_en=row.name_en,
        position=Position(row.lon, row.lat),
        access=row.access,
        state=row.state,
        kind=row.kind,
        district=row.district,
        total_bays=row.total_bays,
        ev_bays=row.ev_bays,
        sequence=row.sequence,
        in_city=row.in_city,
    )


def _link(row: Row[Any]) -> Link:
    evidence: Mapping[str, object] = row.evidence
    by = By(Decider(row.decider), row.subject)
    return Link(row.location_id, row.place_id, LinkState(row.state), by, evidence, row.happened_at, row.recorded_at)


def _unlinked(row: Row[Any]) -> Unlinked:
    state = None if row.link_state is None else LinkState(row.link_state)
    return Unlinked(
        location_id=row.id,
        name=row.name,
        position=Position(row.lon, row.lat),
        district=row.district,
        access=row.access,
        state=row.state,
        evses=row.evses,
        link_state=state,
        proposed_place_id=row.link_place_id if state is LinkState.PROPOSED else None,
    )
