"""Sends a topic's events again while the service goes on; of a state topic never an older one after a newer one.

The publisher's rows are read first and the events are written to the outbox later. An aggregate that changes in between has told its
newer state by then: the older one behind it would be what a compacted topic keeps, and all that a consumer which comes late ever hears.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from cityloop_common import outbox
from cityloop_common.context import Ctx
from cityloop_common.envelope import Event, Kind
from cityloop_common.errors import Contention
from cityloop_common.service import Republish

BATCH = 200
MOST_TRIES, PAUSE_S = 30, 1.0


async def republish(ctx: Ctx[Any], each: Republish, kind: Kind, key: str | None, told: Callable[[int], None]) -> int:
    """Writes a topic's events, or those of one key, into the outbox again; answers how many, and `told` so far after each batch.

    Raises Contention when writers of events leave no gap for a minute; repeating it is safe.
    """
    mark = await _mark(ctx) if kind is Kind.STATE else None
    sent = 0
    batch: list[Event] = []
    async for event in each.events(ctx, key):
        batch.append(event)
        if len(batch) == BATCH:
            sent += await _append(ctx, batch, mark)
            told(sent)
            batch = []
    return sent + await _append(ctx, batch, mark)


async def _mark(ctx: Ctx[Any]) -> int:
    """A position of the outbox that every event of a later change lies behind."""

    async def mark() -> int:
        async with ctx.db.write() as tx:
            return await outbox.hold_still(tx)

    return await _patiently(ctx, mark)


async def _append(ctx: Ctx[Any], batch: Sequence[Event], mark: int | None) -> int:
    """A batch in a unit of its own, without what has been told otherwise since the mark."""

    async def append() -> int:
        kept = batch
        async with ctx.db.write() as tx:
            if mark is not None:
                await outbox.hold_still(tx)
                newest = await outbox.sequences_since(tx, batch[0].topic, {event.key for event in batch}, mark)
                kept = [event for event in batch if newest.get(event.key, event.sequence) <= event.sequence]
            await outbox.append_many(tx, kept)
        return len(kept)

    return await _patiently(ctx, append) if batch else 0


async def _patiently(ctx: Ctx[Any], unit: Callable[[], Awaitable[int]]) -> int:
    """Tries again while somebody's long unit (an import, say) is open. Raises Contention after MOST_TRIES."""
    for _ in range(MOST_TRIES - 1):
        with suppress(Contention):
            return await unit()
        await ctx.clock.sleep(PAUSE_S)
    return await unit()
