"""Search follows the service's own events, answers from memory, and can be made anew from the facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import orjson

from cityloop_common.clock import rfc3339
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event
from cityloop_common.fanout import Change
from cityloop_parking.availability import use_cases as availability
from cityloop_parking.availability.answers import Answers
from cityloop_parking.chargers import use_cases as chargers
from cityloop_parking.closures import use_cases as closures
from cityloop_parking.context import ParkingCtx
from cityloop_parking.places import store as places
from cityloop_parking.places.domain import Place
from cityloop_parking.places.events import place_published
from cityloop_parking.search import store
from cityloop_parking.search.domain import CHANGE, HEARD
from cityloop_parking.search.replica import Search
from cityloop_parking.search.views import CountsView, PlaceView

CHUNK = 200


async def apply_place(tx: WriteTx, ctx: ParkingCtx, event: Event, view: PlaceView) -> None:
    """A car park was published: its entry shows this version, unless a newer one."""

    async def work() -> None:
        _offer(tx, ctx, await store.put_place(tx, view, version=event.sequence))

    tx.at_end(_key(view.place_id, "place"), work)


async def apply_counts(tx: WriteTx, ctx: ParkingCtx, event: Event, view: CountsView) -> None:
    """A car park was counted: its entry shows these counts, unless newer ones."""

    async def work() -> None:
        _offer(tx, ctx, await store.put_counts(tx, view, version=event.sequence))

    tx.at_end(_key(view.place_id, "counts"), work)


def show_chargers_at_end(tx: WriteTx, ctx: ParkingCtx, touched: chargers.Touched, heard_at: datetime) -> None:
    """Charging bays are others now: at the unit's end each car park is counted, once, and its entry shows it."""
    for place_id in touched.place_ids:
        tx.at_end(_key(place_id, "chargers"), partial(_show_chargers, tx, ctx, chargers.Touched((place_id,), touched.turn), heard_at))


def show_closures_at_end(tx: WriteTx, ctx: ParkingCtx, touched: closures.Touched) -> None:
    """Collection needs places at other times: at the unit's end the entry of each shows it, once."""
    for place_id in touched.place_ids:
        tx.at_end(_key(place_id, "closures"), partial(_show_closures, tx, ctx, closures.Touched((place_id,), touched.turn)))


def open_search(ctx: ParkingCtx, answers: Answers | None = None) -> Search:
    """The search of one API replica; `app.state.search` holds it. `answers` are the replica's forecasts."""
    return Search(ctx, answers or availability.open_answers(ctx))


async def rebuild(ctx: ParkingCtx, progress: Callable[[int, int | None, str], None]) -> dict[str, int]:
    """Makes every entry anew from places, counts, chargers and closures; safe beside the consumers and twice."""
    async with ctx.db.write() as tx:
        dropped = await store.drop_orphans(tx)
        total = await places.count(tx)
    done, after = 0, ""
    while True:
        async with ctx.db.write() as tx:
            chunk = await places.page(tx, after=after, most=CHUNK)
            await _rebuild_chunk(tx, ctx, chunk)
        if not chunk:
            return {"entries": done, "dropped": dropped}
        done, after = done + len(chunk), chunk[-1].id
        progress(done, total, "search")


async def _rebuild_chunk(tx: WriteTx, ctx: ParkingCtx, chunk: Sequence[Place]) -> None:
    """The entries of some places. Turns first: a consumer that has one may wait for an entry, never the other way round."""
    ids = [place.id for place in chunk]
    bays = {each.place_id: each for each in await chargers.recount_all_in(tx, ids)}
    windows = {each.place_id: each for each in await closures.reclose_all_in(tx, ids)}
    counts = await store.counts_of(tx, ids)
    for place in sorted(chunk, key=lambda place: place.id):  # the database's collation may have another order than the consumers
        view = PlaceView.model_validate_json(place_published(place, source=ctx.source).data)
        parts = [await store.put_place(tx, view, version=place.version, again="accept")]
        if place.id in counts:
            version, counted = counts[place.id]
            parts.append(await store.put_counts(tx, counted, version=version, again="accept"))
        parts.append(await store.put_chargers(tx, bays[place.id]))
        parts.append(await store.put_closures(tx, windows[place.id]))
        _offer(tx, ctx, next((entry for entry in reversed(parts) if entry is not None), None))


async def _show_chargers(tx: WriteTx, ctx: ParkingCtx, touched: chargers.Touched, heard_at: datetime) -> None:
    for each in await chargers.recount_in(tx, touched):
        _offer(tx, ctx, await store.put_chargers(tx, each), heard_at)


async def _show_closures(tx: WriteTx, ctx: ParkingCtx, touched: closures.Touched) -> None:
    for each in await closures.reclose_in(tx, touched):
        _offer(tx, ctx, await store.put_closures(tx, each))


def _key(place_id: str, part: str) -> tuple[str, ...]:
    """Entries are written at the end of a unit and in the order of their places: several consumers write them, and the log's
    order would make them deadlock.
    """
    return ("search_entry", place_id, part)


def _offer(tx: WriteTx, ctx: ParkingCtx, entry: store.Entry | None, heard_at: datetime | None = None) -> None:
    """Tells the replicas after the commit, also when charging was heard for it; what gets lost they find in the database."""
    if entry is not None:
        body = orjson.dumps({**entry.body(), HEARD: None if heard_at is None else rfc3339(heard_at)})
        tx.after_commit(partial(ctx.fanout.offer, Change(CHANGE, entry.place_id, entry.version, body)))
