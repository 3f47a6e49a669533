"""Stations over HTTP: their operator keeps them. Reading them, with their live status, is the room `status`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, Strict

from cityloop_charging.context import ChargingCtx
from cityloop_charging.registry import use_cases
from cityloop_charging.registry.domain import (
    LONGEST_BAY_NO,
    MOST_BAYS,
    MOST_EVSES,
    MOST_POWER_W,
    Access,
    Current,
    EvseFacts,
    Lifecycle,
    Location,
    LocationFacts,
    LocationState,
    split_location_id,
)
from cityloop_common import auth, geo, http
from cityloop_common.auth import Principal, Role
from cityloop_common.errors import Forbidden
from cityloop_common.preconditions import etag, if_match

router = APIRouter(tags=["locations"])
Context = Annotated[ChargingCtx, Depends(http.current_ctx)]
LocationIdPath = Annotated[str, Path(max_length=64, description="Operator's 9 characters, `*`, its own id of the station.")]


class PositionBody(BaseModel):
    """Longitude and latitude in degrees; easting and northing in metres for `twd97`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    lon: float
    lat: float


class EvseBody(BaseModel):
    """One EVSE (充电桩). `connector_id` is unique among the operator's; `bay_no` is the number of the bay in front of it."""

    model_config = ConfigDict(extra="forbid")

    connector_id: str = Field(max_length=26)
    power_w: int = Field(strict=True, ge=1, le=MOST_POWER_W)
    current: Current
    standard: Annotated[bool, Strict()] = True
    bay_no: str | None = Field(None, min_length=1, max_length=LONGEST_BAY_NO)
    lifecycle: Lifecycle = Lifecycle.IN_SERVICE


class LocationBody(BaseModel):
    """A station as its operator describes it. `datum` is needed: wgs84, gcj02, bd09 or twd97. EVSEs left out are removed."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    name_en: str | None = Field(None, max_length=200)
    position: PositionBody
    datum: str | None = Field(None, max_length=20, examples=["gcj02"])
    access: Access = Access.PUBLIC
    bay_count: int | None = Field(None, strict=True, ge=0, le=MOST_BAYS)
    state: LocationState = LocationState.OPEN
    district: str | None = Field(None, max_length=80)
    invented: Annotated[bool, Strict()] = False
    evses: list[EvseBody] = Field(max_length=MOST_EVSES)


class KeptEvse(EvseBody):
    """An EVSE as the city knows it."""

    uid: str


class LocationAnswer(LocationBody):
    """A station as the city knows it; positions are WGS-84. `place_id` is the car park of its confirmed link."""

    model_config = ConfigDict(extra="forbid", title="KeptLocation")

    id: str
    operator_id: str
    evses: list[KeptEvse]  # type: ignore[assignment]
    place_id: str | None = None
    version: int
    updated_at: str


@router.put(
    "/locations/{location_id}",
    response_model=LocationAnswer,
    responses={201: {"model": LocationAnswer}},
    summary="Create or change a station",
)
async def keep_location(
    location_id: LocationIdPath,
    body: LocationBody,
    ctx: Context,
    request: Request,
    caller: Annotated[Principal, Depends(auth.allow(Role.CHARGING_OPERATOR))],
) -> Response:
    """The id is the operator's 9 characters, `*`, and its own id of the station. A change needs If-Match with the ETag that was seen."""
    if caller.operator_id is None:
        raise Forbidden("The token names no operator.")
    operator_id, station_id = split_location_id(location_id)
    if operator_id != caller.operator_id:
        raise Forbidden(f"Ids of this operator's stations begin with {caller.operator_id}*.")
    facts = _facts(body, operator_id=operator_id, station_id=station_id, within=use_cases.city_bounds(ctx))
    seen = await if_match(request) if "if-match" in request.headers else None
    kept = await use_cases.keep_location(ctx, facts, seen_version=seen)
    headers = {"etag": etag(kept.location.version)}
    if kept.created:
        headers["location"] = request.url.path
    return http.json_response(_answer(kept.location), status=201 if kept.created else 200, headers=headers)


def _facts(body: LocationBody, *, operator_id: str, station_id: str, within: geo.Bounds) -> LocationFacts:
    return LocationFacts(
        operator_id=operator_id,
        station_id=station_id,
        name=body.name,
        position=geo.to_wgs84(body.position.lon, body.position.lat, geo.datum(body.datum), within=within),
        evses=tuple(
            EvseFacts(each.connector_id, each.power_w, each.current, each.standard, each.bay_no, each.lifecycle) for each in body.evses
        ),
        name_en=body.name_en,
        district=body.district,
        access=body.access,
        bay_count=body.bay_count,
        state=body.state,
        invented=body.invented,
    )


def _answer(location: Location) -> Mapping[str, object]:
    facts = location.facts
    return {
        "id": location.id,
        "operator_id": facts.operator_id,
        "name": facts.name,
        "name_en": facts.name_en,
        "position": {"lon": facts.position.lon, "lat": facts.position.lat},
        "datum": geo.Datum.WGS84,
        "access": facts.access,
        "bay_count": facts.bay_count,
        "state": facts.state,
        "district": facts.district,
        "invented": facts.invented,
        "evses": [
            {
                "uid": facts.uid(each),
                "connector_id": each.connector_id,
                "power_w": each.power_w,
                "current": each.current,
                "standard": each.standard,
                "bay_no": each.bay_no,
                "lifecycle": each.lifecycle,
            }
            for each in sorted(facts.evses, key=lambda each: each.connector_id)
        ],
        "place_id": location.place_id,
        "version": location.version,
        "updated_at": location.updated_at,
    }
