"""What one does with forecasts: ask for one, make them anew from the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cityloop_common import telemetry
from cityloop_common.clock import CITY_TZ
from cityloop_common.db import Tx
from cityloop_parking.availability import forecaster
from cityloop_parking.availability.answers import Answers, Ask
from cityloop_parking.availability.calendars import covers
from cityloop_parking.availability.freshness import Aged, Freshness, is_closed, is_silent, of_counts
from cityloop_parking.availability.outlook import Outlook
from cityloop_parking.availability.totals import Counted, Counts, in_total, wall
from cityloop_parking.closures import store as closures
from cityloop_parking.context import ParkingCtx
from cityloop_parking.observations import store as observations
from cityloop_parking.observations.events import LiveCount
from cityloop_parking.places import store as places
from cityloop_parking.places.domain import Place, PlaceKind, PlaceState, UnknownPlace, is_place_id

log = telemetry.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Availability:
    """A place at an instant: closed then, or how far its counts can be trusted now, and what is expected then; None where nothing is."""

    place_id: str
    at: datetime
    freshness: Freshness
    counted_at: datetime | None
    capacity: int
    outlook: Outlook | None


def open_answers(ctx: ParkingCtx) -> Answers:
    """The forecasts of one API replica; `app.state.answers` holds them. Says when no holiday of this year is known."""
    year = ctx.clock.now().astimezone(CITY_TZ).year
    if not covers(ctx.settings, year):
        log.warning("calendar_ends", year=year, setting="CITYLOOP_PARKING_CALENDAR")
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
        newest = (await observations.counts(tx, {place_id})).get(place_id, [])
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


def counts_of(newest: Sequence[LiveCount]) -> Counts:
    """Counts as a forecast begins with them."""
    return {count.category: Counted(count.occupied, count.capacity, wall(count.observed_at)) for count in newest}


async def _is_closed(tx: Tx, place: Place, at: datetime) -> bool:
    on_street = place.facts.kind is PlaceKind.ON_STREET
    found = (await closures.windows_of(tx, [place.id])).get(place.id, ()) if on_street else ()
    windows = [(window.starts_at.timestamp(), window.ends_at.timestamp()) for window in found]
    return is_closed(windows, at.timestamp(), is_open=place.facts.state is PlaceState.OPEN)


def _freshness(newest: Sequence[LiveCount], now: datetime, outlook: Outlook | None) -> Freshness:
    ages = [Aged((now - count.observed_at).total_seconds(), count.interval_s) for count in newest]
    return Freshness.FORECAST if outlook is not None and is_silent(ages) else of_counts(ages)
