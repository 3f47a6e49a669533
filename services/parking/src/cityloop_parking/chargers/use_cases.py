"""Parking learns of chargers, in whatever order charging's two topics are heard, and adds up the charging bays of car parks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from cityloop_common.clock import rfc3339
from cityloop_common.db import WriteTx
from cityloop_parking import turns
from cityloop_parking.chargers import store
from cityloop_parking.chargers.domain import EvBays, ev_bays
from cityloop_parking.chargers.views import LocationView, StatusView
from cityloop_parking.context import ParkingCtx

TURN = "chargers"


@dataclass(frozen=True, slots=True)
class Touched:
    """Car parks whose charging bays are others now, and the turn of the unit that made them so."""

    place_ids: Collection[str]
    turn: int


@dataclass(frozen=True, slots=True)
class Recount:
    """The charging bays of a car park as they are now; of two recounts the one with the greater version is right."""

    place_id: str
    bays: EvBays | None
    version: int


async def learn_location_in(tx: WriteTx, view: LocationView, *, version: int) -> Touched:
    """A location was published: it touches its car park, and the one where it stood before."""
    turn = await turns.take(tx, TURN)
    return Touched(await store.put_location(tx, view, version=version), turn)


async def learn_status_in(tx: WriteTx, view: StatusView, *, version: int) -> Touched:
    """An EVSE does something else: it touches its car park, when its location is known and stands in one."""
    turn = await turns.take(tx, TURN)
    return Touched(await store.put_status(tx, view, version=version), turn)


def hear_at_end(tx: WriteTx, ctx: ParkingCtx, said_at: datetime) -> datetime:
    """Charging said something: noted to the minute, once a minute that a unit has heard of. Answers what is noted.

    What it said in the future counts as said now: a clock that is ahead keeps nothing fresh.
    """
    at = min(said_at, ctx.clock.now()).replace(second=0, microsecond=0)
    tx.at_end(("chargers_heard", rfc3339(at)), partial(store.hear, tx, at))
    return at


async def recount_in(tx: WriteTx, touched: Touched) -> list[Recount]:
    """Counts car parks from what is known, in a unit that has the turn."""
    if not touched.place_ids:
        return []
    chargers = await store.chargers_of(tx, touched.place_ids)
    return [Recount(place_id, ev_bays(chargers.get(place_id, ())), touched.turn) for place_id in sorted(touched.place_ids)]


async def recount_all_in(tx: WriteTx, place_ids: Collection[str]) -> list[Recount]:
    """Takes the turn, and counts these car parks from what is known."""
    return await recount_in(tx, Touched(place_ids, await turns.take(tx, TURN)))
