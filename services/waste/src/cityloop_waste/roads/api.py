"""HTTP of the room `roads`: the base map, for everybody."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from cityloop_common import auth, compression
from cityloop_common.compression import Body
from cityloop_common.preconditions import not_modified
from cityloop_common.ratelimit import SHARED_PER_MINUTE, By, limit
from cityloop_waste.edge import Context
from cityloop_waste.roads import use_cases

router = APIRouter(tags=["roads"])
MEDIA_TYPE = "application/geo+json"


@router.get(
    "/base-map",
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}, 304: {"description": "The caller has it"}},
    dependencies=[Depends(auth.public), Depends(limit("base-map", per_minute=SHARED_PER_MINUTE, by=By.NETWORK))],
    summary="Roads",
)
async def base_map(ctx: Context, request: Request) -> Response:
    """GeoJSON LineStrings in WGS-84 with `id, name, oneway, speed_kmh, max_mass_kg, bans`. ETag: the version of the map."""
    version = await use_cases.present_version(ctx)
    headers = {"etag": f'"{version}"', "cache-control": "public, max-age=300"}
    if not_modified(request, headers["etag"]):
        return compression.unchanged(headers)
    kept: tuple[str, Body] | None = getattr(request.app.state, "base_map", None)
    if kept is None or kept[0] != version:
        version, geojson = await use_cases.present(ctx)
        kept = request.app.state.base_map = (version, Body(geojson))
    return await compression.respond(request, kept[1], media_type=MEDIA_TYPE, headers={**headers, "etag": f'"{version}"'})
