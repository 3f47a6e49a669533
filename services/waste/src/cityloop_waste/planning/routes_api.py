"""Routes of the day over HTTP, for everybody."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from cityloop_common import auth, compression
from cityloop_common.clock import city_day
from cityloop_common.ratelimit import SHARED_PER_MINUTE, By, limit
from cityloop_waste.edge import LAST_DAY, OLDEST_DAY, Context
from cityloop_waste.planning.published import PublishedRoutes
from cityloop_waste.roads.domain import TravelSource
from cityloop_waste.streams import Stream

router = APIRouter(tags=["plans"])


class LineView(BaseModel):
    """Where a truck drives, in WGS-84 with five decimals."""

    travel: TravelSource = Field(description="graph: the line follows the roads; else it is straight from visit to visit.")
    line: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        description="Longitude and latitude of each vertex, as in a GeoJSON LineString; one vertex when it drives nowhere."
    )


class PublicRoute(LineView):
    """What a truck does on the day: when it leaves the depot and is back, stops it serves, times it unloads."""

    truck: str = Field(description="Its public number.")
    starts_at: datetime
    ends_at: datetime
    stops: int
    trips: int
    distance_m: int


class PublicPlan(BaseModel):
    """The plan that holds for a stream and the day. `stops` are served, `unserved` are not."""

    plan_id: str
    stream: Stream
    version: int
    published_at: datetime
    trucks: int
    stops: int
    unserved: int
    distance_m: int
    routes: list[PublicRoute]


class PublicRoutes(BaseModel):
    """Published plans of a local day by stream, one a stream at most; what was withdrawn is not among them."""

    on: date
    as_of: datetime
    datum: Literal["wgs84"]
    plans: list[PublicPlan]


@router.get(
    "/routes",
    response_model=PublicRoutes,
    responses={304: {"description": "The caller has it"}},
    dependencies=[Depends(auth.public), Depends(limit("routes", per_minute=SHARED_PER_MINUTE, by=By.NETWORK))],
    summary="Routes of the day",
)
async def routes(
    ctx: Context,
    request: Request,
    on: Annotated[date | None, Query(ge=OLDEST_DAY, le=LAST_DAY, description="Local day; today when left out.")] = None,
) -> Response:
    """For a page that shows them: read it, then again when the stream says `plan.changed`. In gzip for whoever takes it, with an ETag."""
    day = on or city_day(ctx.clock.now())
    shown: PublishedRoutes = request.app.state.routes
    answer = await shown.of(day)
    headers = {"etag": answer.tag, "cache-control": "public, no-cache"}  # kept, but asked for again: the next change may be a second away
    return await compression.respond(request, answer.body, headers=headers)
