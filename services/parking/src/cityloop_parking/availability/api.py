"""HTTP of the room `availability`: how many spaces there will be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel

from cityloop_common import auth, http
from cityloop_common.clock import rfc3339
from cityloop_common.ratelimit import By, limit
from cityloop_parking.availability import use_cases
from cityloop_parking.availability.answers import Answers
from cityloop_parking.availability.freshness import Freshness
from cityloop_parking.availability.outlook import instant_asked
from cityloop_parking.availability.shapes import FreeAnswer, SpacesAnswer
from cityloop_parking.availability.use_cases import Availability
from cityloop_parking.context import ParkingCtx

router = APIRouter(tags=["availability"])
Context = Annotated[ParkingCtx, Depends(http.current_ctx)]
PlaceIdPath = Annotated[str, Path(max_length=64, description="Id of the car park.")]
CACHED_FOR_S = 15
PER_MINUTE = 1_200  # of a network: a carrier's customers are one


class AvailabilityAnswer(BaseModel):
    """A car park at an instant.

    `freshness` is `closed` where it takes nobody at `at`, with the chance 0; else it says how far its counts can be trusted now. `since`
    is the instant of the count that the forecast starts from, so the bounds are the wider the longer ago that was. `free` and `chance`
    are null where nothing has been learnt yet, or nobody has counted for a week. The whole is what a car driver looks for: without
    motorcycles' spaces.
    """

    place_id: str
    at: str
    freshness: Freshness
    since: str | None
    capacity: int
    free: FreeAnswer | None
    chance: float | None
    categories: dict[str, SpacesAnswer]


@router.get(
    "/places/{place_id}/availability",
    response_model=AvailabilityAnswer,
    dependencies=[Depends(auth.public), Depends(limit("forecasts", per_minute=PER_MINUTE, by=By.NETWORK))],
    summary="How many spaces there will be",
)
async def availability(
    place_id: PlaceIdPath,
    ctx: Context,
    request: Request,
    at: Annotated[str | None, Query(max_length=40, description="RFC 3339, up to 7 days ahead; now when left out.")] = None,
) -> Response:
    """What is expected at an instant, with an 80 % interval and the chance of a space."""
    answers: Answers = request.app.state.answers
    found = await use_cases.availability(ctx, answers, place_id, None if at is None else instant_asked(at, ctx.clock.now(), "at"))
    return http.json_response(_answer(found), headers={"cache-control": f"public, max-age={CACHED_FOR_S}"})


def _answer(found: Availability) -> Mapping[str, object]:
    answer: dict[str, object] = {
        "place_id": found.place_id,
        "at": rfc3339(found.at),
        "freshness": found.freshness,
        "since": None if found.counted_at is None else rfc3339(found.counted_at),
        "capacity": found.capacity,
        "free": None,
        "chance": 0.0 if found.freshness is Freshness.CLOSED else None,
        "categories": {},
    }
    return answer if found.outlook is None else {**answer, **found.outlook.body(), "at": answer["at"]}
