"""Districts over HTTP: the polygons that this service's figures are split by, for a map. Every service has the route."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from cityloop_common import auth, compression, http
from cityloop_common.compression import Body
from cityloop_common.context import Ctx
from cityloop_common.ratelimit import SHARED_PER_MINUTE, By, limit

router = APIRouter(tags=["districts"])
MEDIA_TYPE = "application/geo+json"


class DistrictNames(BaseModel):
    """A district; `name_en` is null where the file has none."""

    id: str
    name: str
    name_en: str | None


class Area(BaseModel):
    """A polygon or several, in WGS-84 degrees."""

    type: Literal["Polygon", "MultiPolygon"]
    coordinates: list[Any]


class DistrictFeature(BaseModel):
    """A district and its area."""

    type: Literal["Feature"]
    properties: DistrictNames
    geometry: Area


class DistrictCollection(BaseModel):
    """A GeoJSON FeatureCollection of the districts by id; without any where none are set."""

    type: Literal["FeatureCollection"]
    features: list[DistrictFeature]


@router.get(
    "/districts",
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/DistrictCollection"}}}, "model": DistrictCollection},
        304: {"description": "The caller has them"},
    },
    dependencies=[Depends(auth.public), Depends(limit("districts", per_minute=SHARED_PER_MINUTE, by=By.NETWORK))],
    summary="Districts",
)
async def districts(ctx: Annotated[Ctx[Any], Depends(http.current_ctx)], request: Request) -> Response:
    """GeoJSON polygons with id and names. ETag: the version of the districts, which each published figure names too."""
    known, state = ctx.districts, request.app.state
    kept: tuple[str, Body] | None = getattr(state, "districts", None)
    if kept is None or kept[0] != known.version:
        kept = state.districts = (known.version, Body(known.geojson()))
    headers = {"etag": f'"{known.version}"', "cache-control": "public, max-age=300"}
    return await compression.respond(request, kept[1], media_type=MEDIA_TYPE, headers=headers)
