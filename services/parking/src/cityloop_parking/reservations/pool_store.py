"""Quarter hours of pools in the database: made, sold by the newest count, and listed where more is promised than there is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import HotStatement, Tx, WriteTx
from cityloop_parking.observations.tables import live_count
from cityloop_parking.places.domain import PlaceState
from cityloop_parking.places.tables import place, place_pool
from cityloop_parking.reservations.domain import BUCKET, Conflict, Count, Pool, Reason
from cityloop_parking.reservations.tables import pool_bucket

_MAKE = {
    name: HotStatement(
        make(pool_bucket)
        .values(
            place_id=bindparam("place_id"),
            category=bindparam("category"),
            starts_at=bindparam("starts_at"),
            booked=0,
            sellable=bindparam("sellable"),
        )
        .on_conflict_do_nothing()
    )
    for name, make in (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
}


async def make_buckets(tx: WriteTx, place_id: str, category: str, *, sellable_at: Sequence[tuple[datetime, int]]) -> None:
    """Makes the buckets that are not there yet, ascending; one that another unit makes first stays as that made it."""
    rows = [{"place_id": place_id, "category": category, "starts_at": at, "sellable": sellable} for at, sellable in sellable_at]
    await tx.hot.many(_MAKE[tx.dialect_name], rows)


async def oversold(tx: Tx, place_id: str, *, now: datetime) -> list[Conflict]:
    """Quarter hours of a place, not over yet, with `booked > sellable`."""
    b = pool_bucket.c
    found = select(b.category, b.starts_at, b.booked, b.sellable).where(
        b.place_id == place_id, b.starts_at > now - BUCKET, b.booked > b.sellable
    )
    rows: Sequence[Any] = await tx.all(found.order_by(b.starts_at, b.category))
    return [Conflict(row.category, row.starts_at, row.booked, row.sellable, Reason.OVERSOLD) for row in rows]


_changing = (
    select(pool_bucket.c.starts_at)
    .where(
        pool_bucket.c.place_id == bindparam("of_place"),
        pool_bucket.c.category == bindparam("of_category"),
        pool_bucket.c.starts_at >= bindparam("first"),
        pool_bucket.c.starts_at < bindparam("end"),
        pool_bucket.c.sellable != bindparam("to"),
    )
    .order_by(pool_bucket.c.starts_at)
    .with_for_update()
    .cte("changing")
)
_SET_SELLABLE = HotStatement(
    update(pool_bucket)
    .values(sellable=bindparam("to"))
    .where(
        pool_bucket.c.place_id == bindparam("of_place"),
        pool_bucket.c.category == bindparam("of_category"),
        pool_bucket.c.starts_at == _changing.c.starts_at,
    )
)


async def set_sellable(tx: WriteTx, place_id: str, category: str, *, first: datetime, end: datetime, sellable: int) -> int:
    """Changes what new holds may take of the existing buckets in `[first, end)`; what is booked stays booked."""
    return await tx.hot.run(_SET_SELLABLE, {"of_place": place_id, "of_category": category, "first": first, "end": end, "to": sellable})


async def sell_nothing_else(tx: WriteTx, place_id: str, *, categories: Sequence[str], first: datetime) -> None:
    """Ends the sale of categories that a place no longer has."""
    b = pool_bucket.c
    gone = (b.place_id == place_id) & (b.starts_at >= first) & b.category.not_in(categories) & (b.sellable > 0)
    await tx.run(update(pool_bucket).where(gone).values(sellable=0))


async def lock_pools(tx: WriteTx, place_id: str) -> dict[str, Pool]:
    """The pools of a place by category; nobody makes quarter hours of them until the unit ends."""
    return await _pools(tx, select(place_pool).where(place_pool.c.place_id == place_id).order_by(place_pool.c.category).with_for_update())


async def share_pool(tx: WriteTx, place_id: str, category: str) -> Pool | None:
    """One pool; a unit that changes what it sells waits until this one ends."""
    one = select(place_pool).where(place_pool.c.place_id == place_id, place_pool.c.category == category)
    return (await _pools(tx, one.with_for_update(read=True))).get(category)


async def _pools(tx: WriteTx, statement: Select[Any]) -> dict[str, Pool]:
    return {row.category: Pool(row.capacity, row.walk_in_reserve, row.out_of_service) for row in await tx.all(statement)}


async def counts(tx: Tx, place_id: str) -> dict[str, Count]:
    """The newest count of each category of a place."""
    rows = await tx.all(select(live_count).where(live_count.c.place_id == place_id))
    return {row.category: Count(row.occupied, row.capacity, row.observed_at) for row in rows}


async def state_of(tx: Tx, place_id: str) -> PlaceState | None:
    """Whether a car park takes anybody; None when there is no such one."""
    state = await tx.scalar(select(place.c.state).where(place.c.id == place_id))
    return None if state is None else PlaceState(state)


async def operates(tx: Tx, operator_id: str, place_id: str) -> bool:
    """Whether a car park is this operator's."""
    return await tx.scalar(select(place.c.id).where(place.c.id == place_id, place.c.operator_id == operator_id)) is not None
