"""Search follows the service's own events, answers from memory, and can be made anew from the facts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import orjson

from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event
from cityloop_common.fanout import Change
from cityloop_parking.context import ParkingCtx
from cityloop_parking.places import store as places
from cityloop_parking.places.events import place_published
from cityloop_parking.search import store
from cityloop_parking.search.domain import CHANGE
from cityloop_parking.search.replica import Search
from cityloop_parking.search.views import CountsView, PlaceView

CHUNK = 200


async def apply_place(tx: WriteTx, ctx: ParkingCtx, event: Event, view: PlaceView) -> None:
    """A car park was published: its entry shows this version, unless a newer one."""
    _offer(tx, ctx, await store.put_place(tx, view, version=event.sequence))


async def apply_counts(tx: WriteTx, ctx: ParkingCtx, event: Event, view: CountsView) -> None:
    """A car park was counted: its entry shows these counts, unless newer ones."""
    _offer(tx, ctx, await store.put_counts(tx, view, version=event.sequence))


def open_search(ctx: ParkingCtx) -> Search:
    """The search of one API replica; `app.state.search` holds it."""
    return Search(ctx)


async def rebuild(ctx: ParkingCtx, progress: Callable[[int, int | None, str], None]) -> dict[str, int]:
    """Makes every entry anew from places and counts; safe beside the consumer and twice."""
    async with ctx.db.write() as tx:
        dropped = await store.drop_orphans(tx)
        total = await places.count(tx)
    done, after = 0, ""
    while True:
        async with ctx.db.write() as tx:
            chunk = await places.page(tx, after=after, most=CHUNK)
            counts = await store.counts_of(tx, [place.id for place in chunk])
            for place in chunk:
                view = PlaceView.model_validate_json(place_published(place, source=ctx.source).data)
                entry = await store.put_place(tx, view, version=place.version, again="accept")
                if place.id in counts:
                    version, counted = counts[place.id]
                    entry = await store.put_counts(tx, counted, version=version, again="accept") or entry
                _offer(tx, ctx, entry)
        if not chunk:
            return {"entries": done, "dropped": dropped}
        done, after = done + len(chunk), chunk[-1].id
        progress(done, total, "search")


def _offer(tx: WriteTx, ctx: ParkingCtx, entry: store.Entry | None) -> None:
    """Tells the replicas after the commit; what gets lost they find in the database."""
    if entry is not None:
        tx.after_commit(partial(ctx.fanout.offer, Change(CHANGE, entry.place_id, entry.version, orjson.dumps(entry.body()))))
