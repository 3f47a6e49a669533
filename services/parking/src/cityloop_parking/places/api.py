"""HTTP of the room `places`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from cityloop_common import auth, geo, http
from cityloop_common.auth import Principal, Role
from cityloop_common.errors import Forbidden
from cityloop_common.preconditions import etag, if_match, not_modified
from cityloop_parking.context import ParkingCtx
from cityloop_parking.places import use_cases
from cityloop_parking.places.domain import MOST_SPACES, Access, Category, InvalidPlace, Place, PlaceFacts, PlaceKind, PlaceState, Pool

router = APIRouter(tags=["places"])
Context = Annotated[ParkingCtx, Depends(http.current_ctx)]
PlaceIdPath = Annotated[str, Path(max_length=64, description="Id of the car park.")]
Spaces = Annotated[int, Field(strict=True, ge=0, le=MOST_SPACES)]


class PositionBody(BaseModel):
    """Longitude and latitude in degrees; easting and northing in metres for `twd97`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    lon: float
    lat: float


class PoolBody(BaseModel):
    """Equal spaces; `walk_in_reserve` and `out_of_service` are never sold ahead."""

    model_config = ConfigDict(extra="forbid")

    category: Category
    capacity: Spaces
    walk_in_reserve: Spaces = 0
    out_of_service: Spaces = 0


class PlaceBody(BaseModel):
    """A car park as its operator describes it. `datum` is needed: wgs84, gcj02, bd09 or twd97."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    name_en: str | None = Field(None, max_length=200)
    position: PositionBody
    datum: str | None = Field(None, max_length=20, examples=["gcj02"])
    pools: list[PoolBody] = Field(max_length=len(Category))
    address: str = Field("", max_length=400)
    kind: PlaceKind = PlaceKind.UNKNOWN
    access: Access = Access.PUBLIC
    state: PlaceState = PlaceState.OPEN
    jurisdiction: str | None = Field(None, max_length=80)
    district: str | None = Field(None, max_length=80)
    charging_stations: Spaces | None = None
    accessible_bays: Spaces | None = None
    tariff_text: str | None = Field(None, max_length=4000)
    service_hours: str | None = Field(None, max_length=200)
    phone: str | None = Field(None, max_length=80)
    invented: bool = False


class PlaceAnswer(PlaceBody):
    """A car park as the city knows it; positions are WGS-84."""

    model_config = ConfigDict(extra="forbid", title="Place")

    id: str
    source: str
    source_id: str
    operator_id: str | None = None
    position_from: str
    fares: Mapping[str, object] | None = None
    version: int
    updated_at: str


@router.get("/places/{place_id}", response_model=PlaceAnswer, dependencies=[Depends(auth.public)], summary="One car park")
async def read_place(place_id: PlaceIdPath, ctx: Context, request: Request) -> Response:
    """What is known of a car park that seldom changes; counts come with the search and the observations. ETag: its version."""
    place = await use_cases.read_place(ctx, place_id)
    tag = etag(place.version)
    if not_modified(request, tag):
        return Response(status_code=304, headers={"etag": tag})
    return http.json_response(_answer(place), headers={"etag": tag, "cache-control": "public, max-age=60"})


@router.put(
    "/places/{place_id}", response_model=PlaceAnswer, responses={201: {"model": PlaceAnswer}}, summary="Create or change a car park"
)
async def keep_place(
    place_id: PlaceIdPath,
    body: PlaceBody,
    ctx: Context,
    request: Request,
    caller: Annotated[Principal, Depends(auth.allow(Role.LOT_OPERATOR))],
) -> Response:
    """The id is the operator's own, a dash, and its own number. A change needs If-Match with the ETag that was seen."""
    if caller.operator_id is None:
        raise Forbidden("The token names no operator.")
    prefix, dash, source_id = place_id.partition(f"{caller.operator_id}-")
    if prefix or not dash:
        raise Forbidden(f"Ids of this operator's car parks begin with {caller.operator_id}-.")
    facts = _facts(body, source=caller.operator_id, source_id=source_id, within=use_cases.city_bounds(ctx))
    seen = await if_match(request) if "if-match" in request.headers else None
    kept = await use_cases.keep_place(ctx, facts, operator_id=caller.operator_id, seen_version=seen)
    headers = {"etag": etag(kept.place.version)}
    if kept.created:
        headers["location"] = request.url.path
    return http.json_response(_answer(kept.place), status=201 if kept.created else 200, headers=headers)


def _facts(body: PlaceBody, *, source: str, source_id: str, within: geo.Bounds) -> PlaceFacts:
    if len({pool.category for pool in body.pools}) < len(body.pools):
        raise InvalidPlace("A category is named twice.")
    return PlaceFacts(
        source=source,
        source_id=source_id,
        name=body.name,
        position=geo.to_wgs84(body.position.lon, body.position.lat, geo.datum(body.datum), within=within),
        pools=tuple(
            Pool(pool.category, pool.capacity, pool.walk_in_reserve, pool.out_of_service)
            for pool in sorted(body.pools, key=lambda pool: pool.category)
        ),
        name_en=body.name_en,
        address=body.address,
        kind=body.kind,
        access=body.access,
        jurisdiction=body.jurisdiction,
        district=body.district,
        charging_stations=body.charging_stations,
        accessible_bays=body.accessible_bays,
        tariff_text=body.tariff_text,
        service_hours=body.service_hours,
        phone=body.phone,
        invented=body.invented,
        state=body.state,
    )


def _answer(place: Place) -> Mapping[str, object]:
    facts = place.facts
    return {
        "id": place.id,
        "source": facts.source,
        "source_id": facts.source_id,
        "operator_id": place.operator_id,
        "name": facts.name,
        "name_en": facts.name_en,
        "address": facts.address,
        "kind": facts.kind,
        "access": facts.access,
        "state": facts.state,
        "position": {"lon": facts.position.lon, "lat": facts.position.lat},
        "datum": geo.Datum.WGS84,
        "position_from": facts.position_from,
        "pools": facts.pools,
        "jurisdiction": facts.jurisdiction,
        "district": facts.district,
        "charging_stations": facts.charging_stations,
        "accessible_bays": facts.accessible_bays,
        "tariff_text": facts.tariff_text,
        "fares": facts.fares,
        "service_hours": facts.service_hours,
        "phone": facts.phone,
        "invented": facts.invented,
        "version": place.version,
        "updated_at": place.updated_at,
    }
