"""What one does with registered vehicles: state a day's stock, correct it, read the newest."""

from __future__ import annotations

from datetime import date

from cityloop_charging.context import ChargingCtx
from cityloop_charging.vehicles import store
from cityloop_charging.vehicles.domain import Statement, Stock, UnknownStock, VehicleCount, check, with_dropped
from cityloop_common.clock import city_day
from cityloop_common.db import WriteTx


async def state(ctx: ChargingCtx, statement: Statement) -> Stock:
    """States the stock of a day. A second statement for the same day corrects the first; the same again changes nothing.

    Raises InvalidStock.
    """
    async with ctx.db.write() as tx:
        return await state_in(tx, ctx, statement)


async def state_in(tx: WriteTx, ctx: ChargingCtx, statement: Statement) -> Stock:
    """`state` in an open unit."""
    new = check(statement, today=city_day(ctx.clock.now()), districts=[each.id for each in ctx.districts])
    known = await store.take_turn(tx, new.on)
    if known is not None and known.statement.source == new.source and _told(known.statement.counts) == _told(new.counts):
        return known
    corrects = await store.rows_of(tx, new.on)
    statement_id = ctx.ids.new()
    version = await store.note(tx, new.on, statement_id=statement_id, source=new.source)
    whole = Statement(new.on, new.source, tuple(with_dropped(new.counts, known.statement.counts if known else ())))
    await store.append(tx, whole, version=version, statement_id=statement_id, corrects=corrects, new_id=ctx.ids.new)
    return Stock(whole, version, tx.recorded_at)


async def newest(ctx: ChargingCtx, on: date | None) -> Stock:
    """The newest stock of a day (today unless another is asked for) or of the last day before it. Raises UnknownStock."""
    async with ctx.db.read() as tx:
        found = await store.newest(tx, on or city_day(ctx.clock.now()))
    if found is None:
        raise UnknownStock
    return found


def _told(counts: tuple[VehicleCount, ...]) -> list[VehicleCount]:
    """What a statement says: one that was corrected to 0 is as one that is not named."""
    return [each for each in counts if each.vehicles]
