"""SQL of the room `closures`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, exists, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import Tx, WriteTx
from cityloop_parking.closures.domain import Plan, PlanState, Window
from cityloop_parking.closures.tables import closure, collection_plan
from cityloop_parking.places.domain import PlaceKind
from cityloop_parking.places.tables import place

_P, _C = collection_plan.c, closure.c


async def plan_of(tx: Tx, stream: str, on_day: str) -> Plan | None:
    """The plan that decides for a stream and day."""
    row = await tx.first(select(_P.version, _P.plan_id, _P.state).where(_P.stream == stream, _P.on_day == on_day))
    return None if row is None else Plan(stream, on_day, row.version, row.plan_id, PlanState(row.state))


async def put_plan(tx: WriteTx, plan: Plan, windows: Mapping[str, Sequence[Window]]) -> set[str]:
    """Makes a plan decide, with its windows by place in the stead of those before; answers the places of both."""
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    changes = {"version": plan.version, "plan_id": plan.plan_id, "state": str(plan.state), "recorded_at": tx.recorded_at}
    row = {"stream": plan.stream, "on_day": plan.on_day, **changes}
    await tx.run(make(collection_plan).values(row).on_conflict_do_update(index_elements=[_P.stream, _P.on_day], set_=changes))
    before = await tx.all(delete(closure).where(_C.stream == plan.stream, _C.on_day == plan.on_day).returning(_C.place_id))
    rows = [
        {"stream": plan.stream, "on_day": plan.on_day, "place_id": place_id, "starts_at": each.starts_at, "ends_at": each.ends_at}
        for place_id, of_place in sorted(windows.items())
        for each in of_place
    ]
    if rows:
        await tx.run(insert(closure), rows)
    return {row.place_id for row in before} | windows.keys()


async def windows_of(tx: Tx, place_ids: Collection[str]) -> dict[str, list[Window]]:
    """Every window that is kept of these places, of all streams, whatever kind of place they are."""
    found: dict[str, list[Window]] = {}
    asked = select(_C.place_id, _C.starts_at, _C.ends_at).where(_C.place_id.in_(sorted(place_ids)))
    for row in await tx.all(asked.order_by(_C.place_id, _C.starts_at)):
        found.setdefault(row.place_id, []).append(Window(row.starts_at, row.ends_at))
    return found


async def closing(tx: Tx, place_id: str, *, starts_at: datetime, ends_at: datetime) -> list[Window]:
    """Windows that overlap a time and close the place: none unless it is a section of street."""
    on_street = exists(select(literal(1)).where(place.c.id == _C.place_id, place.c.kind == PlaceKind.ON_STREET.value))
    asked = select(_C.starts_at, _C.ends_at).where(_C.place_id == place_id, _C.starts_at < ends_at, _C.ends_at > starts_at, on_street)
    return [Window(row.starts_at, row.ends_at) for row in await tx.all(asked.order_by(_C.starts_at, _C.ends_at))]


async def prune(tx: WriteTx, *, before: datetime) -> int:
    """Forgets windows that were over before an instant; answers how many."""
    return await tx.run(delete(closure).where(_C.ends_at < before))
