"""What one does with forecasts: ask for one, make them anew from the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cityloop_common.db import Tx
from cityloop_parking.availability import forecaster, store
from cityloop_parking.availability.answers import Answers, Ask
from cityloop_parking.availability.freshness import Aged, Freshness, is_silent, of_counts
from cityloop_parking.availability.outlook import Outlook
from cityloop_parking.availability.store import Newest
from cityloop_parking.availability.totals import Counted, Counts, in_total, wall
from cityloop_parking.closures import store as closures
from cityloop_parking.context import ParkingCtx
from cityloop_parking.places import store as places
from cityloop_parking.places.domain import Place, PlaceKind, PlaceState, UnknownPlace, is_place_id


@dataclass(frozen=True, slots=True)
class Availability:
    """A place at an instant: how far its counts can be trusted now, and what is expected then; None where nothing was learnt."""

    place_id: str
    at: datetime
    freshness: Freshness
    counted_at: datetime | None
    capacity: int
    outlook: Outlook | None


def open_answers(ctx: ParkingCtx) -> Answers:
    """The forecasts of one API replica; `app.state.answers` holds them."""
    return Answers(ctx)


async def availability(ctx: ParkingCtx, answers: Answers, place_id: str, at: datetime | None) -> Availability:
    """How many spaces a place will have free at an instant, now when none is given. Raises UnknownPlace."""
    now = ctx.clock.now()
    then = at or now
    if not is_place_id(place_id):
        raise UnknownPlace
    async with ctx.db.read() as tx:
        place = await places.get(tx, place_id)
        if place is None:
            raise UnknownPlace
        newest = await store.newest_counts(tx, place_id)
        closed = await _is_closed(tx, place, then)
    counted_at = max((count.observed_at for count in newest), default=None)
    capacity = {pool.category.value: pool.capacity for pool in place.facts.pools}
    spaces = sum(capacity[category] for category in in_total({name: Counted(0, 0, 0) for name in capacity}))
    if closed:
        return Availability(place_id, then, Freshness.CLOSED, counted_at, spaces, None)
    (outlook,) = await answers.ask([Ask(place_id, then, counts_of(newest))])
    return Availability(place_id, then, _freshness(newest, now, outlook), counted_at, spaces, outlook)


async def rebuild(ctx: ParkingCtx, progress: Callable[[int, int | None, str], None]) -> dict[str, int]:
    """Learns the whole journal anew, beside the forecaster that runs; answers come from it when it has caught up."""

    async def alive() -> None:
        return

    course = await forecaster.rebuild(ctx, alive=alive, tell=lambda done, total: progress(done, total, "minutes of counts"))
    return {"forecast_places": len(course.learner)}


def counts_of(newest: Sequence[Newest]) -> Counts:
    """Counts as a forecast begins with them."""
    return {count.category: Counted(count.occupied, count.capacity, wall(count.observed_at)) for count in newest}


async def _is_closed(tx: Tx, place: Place, at: datetime) -> bool:
    if place.facts.state is not PlaceState.OPEN:
        return True
    if place.facts.kind is not PlaceKind.ON_STREET:
        return False
    found = await closures.windows_of(tx, [place.id])
    return any(window.starts_at <= at < window.ends_at for window in found.get(place.id, ()))


def _freshness(newest: Sequence[Newest], now: datetime, outlook: Outlook | None) -> Freshness:
    ages = [Aged((now - count.observed_at).total_seconds(), count.interval_s) for count in newest]
    return Freshness.FORECAST if outlook is not None and is_silent(ages) else of_counts(ages)
