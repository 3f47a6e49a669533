"""SQL of the room `ledger`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.clock import city_day, day_begins
from cityloop_common.db import Tx, WriteTx
from cityloop_waste.fleet.domain import SiteKind, Truck
from cityloop_waste.fleet.tables import site
from cityloop_waste.fleet.tables import truck as truck_table
from cityloop_waste.ledger.domain import Estimate, Flag, Load, Ticket
from cityloop_waste.ledger.scope import Scope, SitesOf
from cityloop_waste.ledger.tables import generation_estimate, load, ticket
from cityloop_waste.streams import Stream

_L, _T, _E = load.c, ticket.c, generation_estimate.c
_newer = load.alias("newer")


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a ticket number stands for."""

    load_id: str
    chain_id: str


async def lock_truck(tx: WriteTx, truck: Truck) -> None:
    """Weighings of one truck are looked at one after the other."""
    await tx.all(select(truck_table.c.id).where(truck_table.c.id == truck.id).with_for_update())


async def claimed(tx: Tx, site_id: str, ticket_no: str) -> Claimed | None:
    """What a ticket number of a site stands for."""
    row = await tx.first(select(_T.load_id, _T.chain_id).where(_T.site_id == site_id, _T.ticket_no == ticket_no))
    return None if row is None else Claimed(row.load_id, row.chain_id)


async def claim(tx: WriteTx, site_id: str, ticket_no: str, claimed: Claimed) -> bool:
    """Lets a ticket number stand for a load; False when it already stands for one. A concurrent claim is waited for."""
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    row = {"site_id": site_id, "ticket_no": ticket_no, "load_id": claimed.load_id, "chain_id": claimed.chain_id}
    return await tx.first(make(ticket).values(row).on_conflict_do_nothing().returning(_T.load_id)) is not None


async def append(tx: WriteTx, new: Load) -> bool:
    """Adds a version of a load to the journal; False when the row that it corrects was corrected before."""
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    return await tx.first(make(load).values(_load_row(new)).on_conflict_do_nothing().returning(_L.id)) is not None


async def get(tx: Tx, load_id: str, scope: Scope) -> Load | None:
    """One version of a load, as far as the reader may see it."""
    row = await tx.first(_seen(scope).where(_L.id == load_id))
    return None if row is None else _load(row)


async def newest(tx: Tx, chain_id: str) -> Load | None:
    """The newest version of a load."""
    row = await tx.first(_loads().where(_L.chain_id == chain_id).order_by(_L.version.desc()).limit(1))
    return None if row is None else _load(row)


async def chain(tx: Tx, chain_id: str) -> list[Load]:
    """Every version of a load, oldest first."""
    return [_load(row) for row in await tx.all(_loads().where(_L.chain_id == chain_id).order_by(_L.version))]


async def same_weighing(tx: Tx, of: Ticket, *, but_chain: str | None) -> Load | None:
    """Another load whose newest version says that the truck stood on this weighbridge in this minute with this gross.

    One that was taken back stands in nobody's way.
    """
    there = and_(_L.site_id == of.site_id, _L.truck_id == of.truck_id, _L.minute == of.minute, _L.gross_kg == of.gross_kg)
    asked = _loads().where(there, _newer.c.id.is_(None), _L.void_reason.is_(None))
    if but_chain is not None:
        asked = asked.where(_L.chain_id != but_chain)
    row = await tx.first(asked.order_by(_L.id).limit(1))
    return None if row is None else _load(row)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which loads: weighed in `[since, until)`, perhaps of one site, behind `before` in the order in which they were learnt."""

    since: datetime | None = None
    until: datetime | None = None
    site_id: str | None = None
    before: str | None = None


async def page(tx: Tx, wanted: Wanted, scope: Scope, *, most: int) -> list[Load]:
    """Versions of loads, the last learnt first."""
    asked = _seen(scope)
    if wanted.since is not None:
        asked = asked.where(_L.happened_at >= wanted.since)
    if wanted.until is not None:
        asked = asked.where(_L.happened_at < wanted.until)
    if wanted.site_id is not None:
        asked = asked.where(_L.site_id == wanted.site_id)
    if wanted.before is not None:
        asked = asked.where(_L.id < wanted.before)
    return [_load(row) for row in await tx.all(asked.order_by(_L.id.desc()).limit(most))]


async def told_page(tx: Tx, *, chain_id: str | None, after: str, most: int) -> list[Load]:
    """Versions of loads in the order in which they were learnt, behind `after`."""
    asked = _loads().where(_L.id > after)
    if chain_id is not None:
        asked = asked.where(_L.chain_id == chain_id)
    return [_load(row) for row in await tx.all(asked.order_by(_L.id).limit(most))]


async def newest_estimate(tx: Tx, district: str, on: date) -> Estimate | None:
    """What is estimated now for a district and day."""
    asked = select(generation_estimate).where(_E.district == district, _E.on_day == on).order_by(_E.version.desc()).limit(1)
    row = await tx.first(asked)
    return None if row is None else _estimate(row)


async def append_estimate(tx: WriteTx, new: Estimate, *, event_id: str) -> bool:
    """Adds a version of an estimate to the journal; False when somebody else was first."""
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    row = {
        "id": new.id,
        "happened_at": day_begins(new.on),
        "recorded_at": new.recorded_at,
        "source": "city",
        "event_id": event_id,
        "corrects": new.corrects,
        "district": new.district,
        "on_day": new.on,
        "version": new.version,
        "mass_kg": new.mass_kg,
        "method": new.method,
    }
    return await tx.first(make(generation_estimate).values(row).on_conflict_do_nothing().returning(_E.id)) is not None


async def estimates(tx: Tx, *, since: date, until: date, district: str | None) -> list[Estimate]:
    """The newest estimates of the days from `since` to `until`, by day and district."""
    later = generation_estimate.alias("later")
    asked = select(generation_estimate).where(_E.on_day.between(since, until), ~exists(select(later.c.id).where(later.c.corrects == _E.id)))
    if district is not None:
        asked = asked.where(_E.district == district)
    return [_estimate(row) for row in await tx.all(asked.order_by(_E.on_day, _E.district))]


def _loads() -> Select[Any]:
    return select(load, _newer.c.id.label("corrected_by")).select_from(load.outerjoin(_newer, _newer.c.corrects == _L.id))


def _seen(scope: Scope) -> Select[Any]:
    return _loads().where(_at_sites_of(scope.operator_id)) if isinstance(scope, SitesOf) else _loads()


def _at_sites_of(operator_id: str) -> ColumnElement[bool]:
    return _L.site_id.in_(select(site.c.id).where(site.c.operator_id == operator_id))


def _load(row: Row[Any]) -> Load:
    return Load(
        id=row.id,
        chain_id=row.chain_id,
        version=row.version,
        ticket=Ticket(
            site_id=row.site_id,
            truck_id=row.truck_id,
            stream=Stream(row.stream),
            ticket_no=row.ticket_no,
            gross_kg=row.gross_kg,
            tare_kg=row.tare_kg,
            weighed_at=row.happened_at,
            district=row.district_given,
            corrects=row.corrects,
        ),
        site_kind=SiteKind(row.site_kind),
        district=row.district,
        flags=tuple(Flag(each) for each in row.flags),
        event_id=row.event_id,
        recorded_at=row.recorded_at,
        corrected_by=row.corrected_by,
        void_reason=row.void_reason,
    )


def _load_row(of: Load) -> Mapping[str, object]:
    return {
        "id": of.id,
        "happened_at": of.ticket.weighed_at,
        "recorded_at": of.recorded_at,
        "source": of.ticket.site_id,
        "event_id": of.event_id,
        "corrects": of.ticket.corrects,
        "chain_id": of.chain_id,
        "version": of.version,
        "site_id": of.ticket.site_id,
        "site_kind": of.site_kind.value,
        "truck_id": of.ticket.truck_id,
        "stream": of.ticket.stream.value,
        "ticket_no": of.ticket.ticket_no,
        "gross_kg": of.ticket.gross_kg,
        "tare_kg": of.ticket.tare_kg,
        "net_kg": of.ticket.net_kg,
        "minute": of.ticket.minute,
        "on_day": city_day(of.ticket.weighed_at),
        "district_given": of.ticket.district,
        "district": of.district,
        "flags": [each.value for each in of.flags],
        "void_reason": of.void_reason,
    }


def _estimate(row: Row[Any]) -> Estimate:
    return Estimate(row.id, row.district, row.on_day, row.mass_kg, row.method, row.version, row.corrects, row.recorded_at)
