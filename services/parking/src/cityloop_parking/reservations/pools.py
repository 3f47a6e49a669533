"""What may be sold of a pool: made for a quarter hour at the first wish, changed when a count or the car park changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event
from cityloop_parking.context import ParkingCtx
from cityloop_parking.reservations import pool_store
from cityloop_parking.reservations.domain import (
    Buckets,
    Count,
    Pool,
    Stay,
    UnknownCategory,
    bucket_ceil,
    bucket_floor,
    sellable,
)

_FAR = timedelta(days=400)


class Happened(BaseModel):
    """All that this room needs of such an event is its key, the place: what is true now stands in the tables."""


async def on_counts(tx: WriteTx, ctx: Ctx[Any], event: Event, _view: Happened) -> None:
    """Consumes `parking.occupancy.observed`: the quarter hours that a new count speaks for are sold by it."""
    await reshrink_in(tx, ctx, event.key)


async def on_place(tx: WriteTx, ctx: Ctx[Any], event: Event, _view: Happened) -> None:
    """Consumes `parking.place.published`: every quarter hour to come follows the new capacity."""
    pools = await pool_store.lock_pools(tx, event.key)
    first = bucket_floor(ctx.clock.now())
    await pool_store.sell_nothing_else(tx, event.key, categories=list(pools), first=first)
    for category, pool in pools.items():
        nominal = sellable(pool, None, first, shrinks_for=timedelta())
        await pool_store.set_sellable(tx, event.key, category, first=first, end=first + _FAR, sellable=nominal)
    await _shrink(tx, ctx, event.key, pools)


async def reshrink_in(tx: WriteTx, ctx: ParkingCtx, place_id: str) -> None:
    """Applies a place's newest counts to the quarter hours that exist; what is booked stays booked."""
    await _shrink(tx, ctx, place_id, await pool_store.lock_pools(tx, place_id))


async def make_missing(tx: WriteTx, ctx: ParkingCtx, want: Stay, buckets: Buckets) -> None:
    """Makes the quarter hours of a stay. Raises UnknownCategory when the place has no such pool.

    The pool's row is shared-locked first: a count applied at the same time waits, and then finds these.
    """
    pool = await pool_store.share_pool(tx, want.place_id, want.category)
    if pool is None:  # a place that changes has its pools deleted and inserted: whoever waited for the old row looks again
        pool = await pool_store.share_pool(tx, want.place_id, want.category)
    if pool is None:
        raise UnknownCategory
    count = (await pool_store.counts(tx, want.place_id)).get(want.category)
    shrinks_for = _shrinks_for(ctx)
    sellable_at = [(start, sellable(pool, count, start, shrinks_for=shrinks_for)) for start in buckets.starts()]
    await pool_store.make_buckets(tx, want.place_id, want.category, sellable_at=sellable_at)


async def _shrink(tx: WriteTx, ctx: ParkingCtx, place_id: str, pools: Mapping[str, Pool]) -> None:
    shrinks_for = _shrinks_for(ctx)
    counts = await pool_store.counts(tx, place_id)
    for category, pool in sorted(pools.items()):
        count = counts.get(category)
        if count is None:
            continue
        first, end = _spoken_for(count, shrinks_for)
        if end > first:
            left = sellable(pool, count, first, shrinks_for=shrinks_for)
            await pool_store.set_sellable(tx, place_id, category, first=first, end=end, sellable=left)


def _spoken_for(count: Count, shrinks_for: timedelta) -> tuple[datetime, datetime]:
    """The quarter hours that a count speaks for, half-open."""
    first = bucket_floor(count.observed_at)
    return first, max(first, bucket_ceil(count.observed_at + shrinks_for))


def _shrinks_for(ctx: ParkingCtx) -> timedelta:
    return timedelta(seconds=ctx.settings.live_shrinks_for_s)
