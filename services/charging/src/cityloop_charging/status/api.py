"""HTTP of the room `status`: stations with what their EVSEs do now, and the stream of changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel

from cityloop_charging.context import ChargingCtx
from cityloop_charging.registry.domain import Access, Current, LocationState, is_location_id
from cityloop_charging.status import reading
from cityloop_charging.status.domain import Freshness, Status
from cityloop_charging.status.reading import SeenEvse, SeenLocation
from cityloop_charging.status.replica import Watch
from cityloop_common import auth, compression, geo, http
from cityloop_common.errors import BadRequest, Invalid
from cityloop_common.preconditions import etag, not_modified
from cityloop_common.ratelimit import SHARED_PER_MINUTE, By, limit

router = APIRouter(tags=["status"])
PUBLIC = [Depends(auth.public)]
MOST_AT_ONCE = 100
MOST_RADIUS_M = 20_000
Context = Annotated[ChargingCtx, Depends(http.current_ctx)]
LocationIdPath = Annotated[str, Path(max_length=64, description="Operator and station, joined by `*`.", examples=["999000001*S001"])]
UidPath = Annotated[str, Path(max_length=64, description="Operator, station and connector, joined by `*`.")]
Near = Annotated[str | None, Query(max_length=64, description="Longitude and latitude, with a comma between.", examples=["109.787,39.565"])]
RadiusM = Annotated[int, Query(ge=1, le=MOST_RADIUS_M, description="How far around `near`, in metres.")]
Limit = Annotated[int, Query(ge=1, le=MOST_AT_ONCE, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before; not with `near`.")]


class PositionView(BaseModel):
    """WGS-84 degrees."""

    lon: float
    lat: float


class EvseView(BaseModel):
    """One EVSE. `status` is true since `since`; `as_of` is the stamp of its newest report.

    `freshness`: `live` within 30 minutes of a report, then `late`; not heard of for a day it is `unknown`, as is the status.
    """

    uid: str
    connector_id: str
    bay_no: str | None
    power_w: int
    current: Current
    standard: bool
    status: Status
    since: datetime | None
    as_of: datetime | None
    freshness: Freshness


class OneEvseView(EvseView):
    """One EVSE with the station that it stands in."""

    location_id: str


class LocationView(BaseModel):
    """A charging station. `place_id` is the car park that it is confirmed to stand in; `distance_m` is there with `near`."""

    id: str
    operator_id: str
    name: str
    name_en: str | None
    position: PositionView
    access: Access
    state: LocationState
    district: str | None
    bay_count: int | None
    place_id: str | None
    invented: bool
    version: int
    updated_at: datetime
    evses: list[EvseView]
    distance_m: int | None = None


class OneLocationView(LocationView):
    """One charging station, and the datum of its position."""

    datum: geo.Datum


class LocationsView(BaseModel):
    """Stations: the nearest first, or a page in the order of their ids. `as_of`: what was known at that instant is in it."""

    as_of: datetime
    datum: geo.Datum
    locations: list[LocationView]
    next_cursor: str | None = None


class EvseOnMap(BaseModel):
    """One EVSE: what it does. The members are those of an EVSE that is asked for alone."""

    uid: str
    status: Status
    since: datetime | None
    as_of: datetime | None
    freshness: Freshness


class LocationOnMap(BaseModel):
    """A charging station with what its EVSEs do. A closed one is listed and says so in `state`."""

    id: str
    name: str
    name_en: str | None
    position: PositionView
    operator_id: str
    access: Access
    state: LocationState
    district: str | None
    place_id: str | None
    invented: bool
    evses: list[EvseOnMap]


class OverviewAnswer(BaseModel):
    """Every station by its id, 5,000 at most: `truncated` says that there are more. `as_of`: what was known at that instant is in it."""

    as_of: datetime
    datum: geo.Datum
    truncated: bool
    locations: list[LocationOnMap]


@router.get("/locations", response_model=LocationsView, dependencies=PUBLIC, summary="Charging stations, near a point or page by page")
async def read_locations(
    ctx: Context,
    near: Near = None,
    radius_m: RadiusM = 1_000,
    limit: Limit = 20,
    datum: Annotated[geo.Datum, Query(description="Datum of `near`; answers are always WGS-84.")] = geo.Datum.WGS84,
    cursor: Cursor = None,
) -> Response:
    """Each with its EVSEs and what they do now. A closed station is listed and says so."""
    if near is not None:
        if cursor is not None:
            raise Invalid("Pages have no `near`.", errors=[{"pointer": "/query/cursor", "detail": "Leave it out, or `near`."}])
        as_of, found = await reading.near(ctx, _position(near, datum), radius_m=radius_m, most=limit)
        return http.json_response(_answer(as_of, found))
    if cursor is not None and not is_location_id(cursor):
        raise BadRequest("The cursor is none of ours.")
    as_of, found = await reading.page(ctx, after=cursor or "", most=limit + 1)
    shown = found[:limit]
    more = {"next_cursor": shown[-1].location.id} if len(found) > limit else {}
    return http.json_response({**_answer(as_of, shown), **more})


@router.get("/locations/{location_id}", response_model=OneLocationView, dependencies=PUBLIC, summary="One charging station")
async def read_location(ctx: Context, location_id: LocationIdPath) -> Response:
    """With its EVSEs and what they do now. ETag: the version of the station, which a change of it must name."""
    found = await reading.one_location(ctx, location_id)
    return http.json_response({**_location(found), "datum": geo.Datum.WGS84}, headers={"etag": etag(found.location.version)})


@router.get(
    "/evses/{uid}",
    response_model=OneEvseView,
    responses={304: {"description": "The caller has it"}},
    dependencies=PUBLIC,
    summary="One EVSE",
)
async def read_evse(ctx: Context, uid: UidPath, request: Request) -> Response:
    """What it does now. ETag: of everything that is said here."""
    location_id, found = await reading.one_evse(ctx, uid)
    answer = http.json_response({**_evse(found), "location_id": location_id})
    tag = f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:24]}"'
    if not_modified(request, tag):
        return Response(status_code=304, headers={"etag": tag})
    answer.headers["etag"] = tag
    return answer


@router.get(
    "/overview",
    response_model=OverviewAnswer,
    dependencies=[Depends(auth.public), Depends(limit("overview", per_minute=SHARED_PER_MINUTE, by=By.NETWORK))],
    summary="Every charging station of the city",
)
async def overview(request: Request) -> Response:
    """For a page that shows the whole city: read it once the stream of changes is open, then follow that. In gzip for whoever takes it."""
    watch: Watch = request.app.state.watch
    return await compression.respond(request, await watch.overview())


@router.get("/stream", dependencies=PUBLIC, summary="Changes of EVSEs as they come", response_class=Response)
async def stream(request: Request, last_event_id: Annotated[str | None, Header(max_length=64)] = None) -> Response:
    """Server-Sent Events: `evse.changed` with the EVSE's new status, `indicator.changed` with a figure as the list of figures shows
    it, `ping` at least every 10 s; `reset`: events may be missing, read again.
    """
    watch: Watch = request.app.state.watch
    return watch.stream(last_event_id)


def _position(near: str, datum: geo.Datum) -> geo.Position:
    lon, comma, lat = near.partition(",")
    try:
        if not comma:
            raise ValueError
        return geo.to_wgs84(float(lon), float(lat), datum)
    except ValueError as error:
        detail = "It is a longitude and a latitude with a comma between."
        raise Invalid("The search cannot be done like this.", errors=[{"pointer": "/query/near", "detail": detail}]) from error
    except Invalid as error:
        raise Invalid("The search cannot be done like this.", errors=[{"pointer": "/query/near", "detail": error.detail}]) from error


def _answer(as_of: datetime, found: list[SeenLocation]) -> Mapping[str, object]:
    return {"as_of": as_of, "datum": geo.Datum.WGS84, "locations": [_location(each) for each in found]}


def _location(seen: SeenLocation) -> Mapping[str, object]:
    facts = seen.location.facts
    answer = {
        "id": seen.location.id,
        "operator_id": facts.operator_id,
        "name": facts.name,
        "name_en": facts.name_en,
        "position": {"lon": facts.position.lon, "lat": facts.position.lat},
        "access": facts.access,
        "state": facts.state,
        "district": facts.district,
        "bay_count": facts.bay_count,
        "place_id": seen.location.place_id,
        "invented": facts.invented,
        "version": seen.location.version,
        "updated_at": seen.location.updated_at,
        "evses": [_evse(each) for each in seen.evses],
    }
    return answer if seen.distance_m is None else {**answer, "distance_m": seen.distance_m}


def _evse(seen: SeenEvse) -> Mapping[str, object]:
    return {
        "uid": seen.uid,
        "connector_id": seen.connector_id,
        "bay_no": seen.bay_no,
        "power_w": seen.power_w,
        "current": seen.current,
        "standard": seen.standard,
        "status": seen.shown.status,
        "since": seen.shown.since,
        "as_of": seen.shown.as_of,
        "freshness": seen.shown.freshness,
    }
