"""SQL of the room `vehicles`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_charging.vehicles.domain import Drive, Statement, Stock, VehicleClass, VehicleCount
from cityloop_charging.vehicles.tables import vehicle_registration, vehicle_stock
from cityloop_common.clock import day_begins
from cityloop_common.db import Tx, WriteTx


@dataclass(frozen=True, slots=True)
class CountAsOf:
    """A count of the stock that held at an instant; `row_id` is the journal row that says so."""

    row_id: str
    on: date
    count: VehicleCount


async def take_turn(tx: WriteTx, on: date) -> Stock | None:
    """Holds a day until the unit ends; answers the stock that was stated for exactly this day, if one was."""
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    new = make(vehicle_stock).values(day=on, statement_id="", version=0, source="", recorded_at=tx.recorded_at)
    hold = new.on_conflict_do_update(index_elements=[vehicle_stock.c.day], set_={"version": vehicle_stock.c.version})
    row = await tx.first(hold.returning(*vehicle_stock.columns))
    assert row is not None
    return await _stock(tx, row) if row.version else None


async def note(tx: WriteTx, on: date, *, statement_id: str, source: str) -> int:
    """Makes a statement the newest of its day, whose turn was taken; answers its version."""
    changes = {"version": vehicle_stock.c.version + 1, "statement_id": statement_id, "source": source, "recorded_at": tx.recorded_at}
    statement = update(vehicle_stock).where(vehicle_stock.c.day == on).values(changes).returning(vehicle_stock.c.version)
    return int(await tx.scalar(statement))


async def newest(tx: Tx, on: date) -> Stock | None:
    """The newest stock of a day or, when none was stated for it, of the last day before it."""
    asked = (
        select(vehicle_stock).where(vehicle_stock.c.day <= on, vehicle_stock.c.version > 0).order_by(vehicle_stock.c.day.desc()).limit(1)
    )
    row = await tx.first(asked)
    return None if row is None else await _stock(tx, row)


async def rows_of(tx: Tx, on: date) -> Mapping[tuple[str, str, bool, str], str]:
    """The journal rows of a day's newest statement by what they count: what a correction points to."""
    statement = select(vehicle_stock.c.statement_id).where(vehicle_stock.c.day == on).scalar_subquery()
    found = await tx.all(select(vehicle_registration).where(vehicle_registration.c.event_id == statement))
    return {_count(row).key: row.id for row in found}


async def append(
    tx: WriteTx,
    statement: Statement,
    *,
    version: int,
    statement_id: str,
    corrects: Mapping[tuple[str, str, bool, str], str],
    new_id: Callable[[], str],
) -> None:
    """Writes the counts of a statement into the journal."""
    rows = [
        {
            "id": new_id(),
            "day": statement.on,
            "version": version,
            "vehicle_class": str(each.vehicle_class),
            "drive": str(each.drive),
            "standard": each.standard,
            "district": each.district,
            "vehicles": each.vehicles,
            "happened_at": day_begins(statement.on),
            "recorded_at": tx.recorded_at,
            "source": statement.source,
            "event_id": statement_id,
            "corrects": corrects.get(each.key),
        }
        for each in statement.counts
    ]
    await tx.run(insert(vehicle_registration), rows)


async def as_of(tx: Tx, at: datetime, known_at: datetime) -> list[CountAsOf]:
    """The stock that held at `at` as it was known at `known_at`: the newest statement of the newest stated day; empty when none was."""
    v = vehicle_registration.c
    known = (v.happened_at <= at) & (v.recorded_at <= known_at)
    newest = select(v.event_id).where(known).order_by(v.day.desc(), v.version.desc()).limit(1)
    statement = await tx.scalar(newest)
    if statement is None:
        return []
    rows = await tx.all(select(vehicle_registration).where(v.event_id == statement).order_by(v.id))
    return [CountAsOf(row.id, row.day, _count(row)) for row in rows]


async def _stock(tx: Tx, row: Row[Any]) -> Stock:
    v = vehicle_registration.c
    found = await tx.all(select(vehicle_registration).where(v.event_id == row.statement_id).order_by(v.id))
    counts: Sequence[VehicleCount] = [_count(each) for each in found]
    return Stock(Statement(row.day, row.source, tuple(counts)), row.version, row.recorded_at)


def _count(row: Row[Any]) -> VehicleCount:
    return VehicleCount(VehicleClass(row.vehicle_class), Drive(row.drive), row.standard, row.vehicles, row.district)
