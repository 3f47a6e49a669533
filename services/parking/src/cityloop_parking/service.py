"""Parking, put together: routes, consumers, sweeps and what the command line can do with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from cityloop_common.clock import rfc3339
from cityloop_common.service import ApiParts, Republish, Service
from cityloop_common.sweeps import Sweep
from cityloop_parking import cli, consumers, sample
from cityloop_parking.availability import api as availability_api
from cityloop_parking.availability import forecaster
from cityloop_parking.availability import use_cases as availability
from cityloop_parking.closures import use_cases as closures
from cityloop_parking.context import ParkingCtx
from cityloop_parking.indicators.figures import FIGURES
from cityloop_parking.observations import api as observations_api
from cityloop_parking.observations import use_cases as observations
from cityloop_parking.observations.events import OCCUPANCY_OBSERVED
from cityloop_parking.places import api as places_api
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.events import PLACE_PUBLISHED
from cityloop_parking.reservations import api as reservations_api
from cityloop_parking.reservations import events as reservation_events
from cityloop_parking.reservations import use_cases as reservations
from cityloop_parking.reservations.guest_desk import open_guest_desk
from cityloop_parking.schema import metadata
from cityloop_parking.search import api as search_api
from cityloop_parking.search import use_cases as search
from cityloop_parking.settings import ParkingSettings


def api_parts(ctx: ParkingCtx) -> ApiParts:
    """What a replica of parking's API holds: the search index, the stream, the desk of guests, the counts on their way in."""
    desk = open_guest_desk(ctx)
    answers = availability.open_answers(ctx)
    found = search.open_search(ctx, answers)
    counter = observations.open_counter(ctx)
    return ApiParts(
        state={"guest_desk": desk, "search": found, "counter": counter, "answers": answers},
        loops={"index": found.follow, "turns": found.turn, "outlooks": found.foresee, "counts": counter.run},
        close_first=(found.hub.close,),
        hub=found.hub,
        checks={"index": found.check},
        verifiers={desk.guests.issuer: desk.guests},
    )


async def rebuild(ctx: ParkingCtx, progress: Callable[[int, int | None, str], None]) -> object:
    """Makes the search entries anew from places and counts, and what the forecaster has learnt from the journal."""
    return {**await search.rebuild(ctx, progress), **await availability.rebuild(ctx, progress)}


def examples(base: str, now: datetime) -> Sequence[str]:
    """Search, take a token, hold a space, watch."""
    starts_at = (now + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
    body = (
        f'{{"place_id":"{sample.SOURCE}-001","category":"standard",'
        f'"starts_at":"{rfc3339(starts_at)}","ends_at":"{rfc3339(starts_at + timedelta(hours=2))}"}}'
    )
    return (
        f"curl '{base}/parking/v1/places?near=109.787,39.565&radius_m=3000&limit=3'",
        "TOKEN=$(.venv/bin/cityloop token --role citizen)",
        f"curl -X POST {base}/parking/v1/reservations -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{body}'",
        f"curl {base}/parking/v1/indicators/live-places",
        f"curl -N {base}/parking/v1/stream",
    )


SERVICE = Service(
    name="parking",
    title="CityLoop parking",
    settings=ParkingSettings,
    metadata=metadata,
    migrations="cityloop_parking.migrations",
    publishes=(PLACE_PUBLISHED, OCCUPANCY_OBSERVED, *reservation_events.PUBLISHED, *FIGURES.publishes),
    routers=(
        search_api.router,
        places_api.router,
        availability_api.router,
        observations_api.router,
        reservations_api.router,
        FIGURES.router,
    ),
    consumers=consumers.CONSUMERS,
    sweeps=(
        Sweep("reservations-expire", 1.0, reservations.expire_due),
        Sweep("reservations-complete", 5.0, reservations.complete_due),
        Sweep("reservations-prune", 600.0, reservations.prune),
        Sweep("closures-prune", 3600.0, closures.prune),
        Sweep("places-journal", 60.0, places.write_missing_journal),
        FIGURES.sweep,
    ),
    only_once={"forecaster": forecaster.run},
    api_parts=api_parts,
    republish=(
        Republish(PLACE_PUBLISHED.topic, places.republished),
        Republish(OCCUPANCY_OBSERVED.topic, observations.republished),
        Republish(reservation_events.TOPIC, reservations.republished),
        FIGURES.republish,
    ),
    indicators=FIGURES.indicators,
    rebuild=rebuild,
    sample=sample.seed,
    live_sample=sample.keep_alive,
    examples=examples,
    cli=cli.app,
    serves_pages=True,
)
