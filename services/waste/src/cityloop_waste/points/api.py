"""HTTP of the room `points`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from cityloop_common import auth, geo, http
from cityloop_common.auth import Role
from cityloop_waste.edge import Context, Cursor, Limit, PositionView, shown_position
from cityloop_waste.points import use_cases
from cityloop_waste.points.domain import CollectionPoint
from cityloop_waste.streams import Stream

router = APIRouter(tags=["registry"])


class DemandView(BaseModel):
    """What usually stands there of a stream; no `trucks`: all of the stream may come."""

    stream: Stream
    mass_kg: int
    volume_dm3: int
    service_s: int
    containers: int
    trucks: list[str]
    prize_m: int | None


class PointView(BaseModel):
    """A collection point; `windows` are hours of the local day."""

    id: str
    name: str
    name_en: str | None
    position: PositionView
    district: str | None
    demands: list[DemandView]
    windows: list[str]
    active: bool
    invented: bool


class PointPage(BaseModel):
    """Collection points by id."""

    points: list[PointView]
    next_cursor: str | None = None
    datum: str
    as_of: datetime


@router.get(
    "/points",
    response_model=PointPage,
    dependencies=[Depends(auth.allow(Role.DISPATCHER, Role.CITY_ADMIN))],
    summary="Collection points",
)
async def list_points(ctx: Context, stream: Stream | None = None, cursor: Cursor = "", limit: Limit = 200) -> Response:
    """Where waste waits; with `stream` only where that one stands."""
    as_of = ctx.clock.now()
    found = await use_cases.page(ctx, after=cursor, most=limit + 1, stream=stream)
    shown = found[:limit]
    body: dict[str, object] = {"points": [_view(each) for each in shown], "datum": geo.Datum.WGS84, "as_of": as_of}
    if len(found) > limit:
        body["next_cursor"] = shown[-1].id
    return http.json_response(body)


def _view(point: CollectionPoint) -> Mapping[str, object]:
    return {
        "id": point.id,
        "name": point.name,
        "name_en": point.name_en,
        "position": shown_position(point.position),
        "district": point.district,
        "demands": point.demands,
        "windows": [str(each) for each in point.windows],
        "active": point.active,
        "invented": point.invented,
    }
