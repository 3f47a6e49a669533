"""HTTP of the room `fleet`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from cityloop_common import auth, geo, http
from cityloop_common.auth import Role
from cityloop_waste.edge import Context, Cursor, Limit, PositionView, shown_position
from cityloop_waste.fleet import use_cases
from cityloop_waste.fleet.domain import Depot, Site, SiteKind, Truck
from cityloop_waste.streams import Stream

router = APIRouter(tags=["registry"], dependencies=[Depends(auth.allow(Role.DISPATCHER, Role.CITY_ADMIN))])


class TruckView(BaseModel):
    """A truck by its public number; `colour` is the regulated one of its stream, `day_...` its caps over all trips of a day."""

    id: str
    operator_id: str
    stream: Stream
    colour: str | None
    depot_id: str
    capacity_kg: int
    capacity_dm3: int
    shift: str
    max_mass_kg: int | None
    district: str | None
    active: bool
    invented: bool
    day_kg: int | None
    day_dm3: int | None
    day_stops: int | None
    day_containers: int | None
    overtime_s: int


class TruckPage(BaseModel):
    """Trucks by number."""

    trucks: list[TruckView]
    next_cursor: str | None = None
    as_of: datetime


class DepotView(BaseModel):
    """Where trucks stand at night."""

    id: str
    name: str
    name_en: str | None
    position: PositionView
    active: bool
    invented: bool


class SiteView(BaseModel):
    """Where loads are weighed and tipped; no `haulers`: every truck may come."""

    id: str
    kind: SiteKind
    name: str
    name_en: str | None
    operator_id: str
    position: PositionView
    district: str | None
    streams: list[Stream]
    service_s: int
    opening: list[str]
    haulers: list[str]
    active: bool
    invented: bool
    queue_s: int
    day_kg: int | None


class SiteList(BaseModel):
    """Every site and every depot."""

    sites: list[SiteView]
    depots: list[DepotView]
    datum: str
    as_of: datetime


@router.get("/trucks", response_model=TruckPage, summary="Trucks")
async def list_trucks(ctx: Context, stream: Stream | None = None, cursor: Cursor = "", limit: Limit = 200) -> Response:
    """Who collects; with `stream` only the trucks that are dedicated to it."""
    as_of = ctx.clock.now()
    found = await use_cases.trucks(ctx, after=cursor, most=limit + 1, stream=stream)
    shown = found[:limit]
    body: dict[str, object] = {"trucks": [_truck(each) for each in shown], "as_of": as_of}
    if len(found) > limit:
        body["next_cursor"] = shown[-1].id
    return http.json_response(body)


@router.get("/sites", response_model=SiteList, summary="Sites and depots")
async def list_sites(ctx: Context) -> Response:
    """Where trucks unload, and where they come from."""
    as_of = ctx.clock.now()
    sites, depots = await use_cases.sites(ctx), await use_cases.depots(ctx)
    body = {"sites": [_site(each) for each in sites], "depots": [_depot(each) for each in depots]}
    return http.json_response({**body, "datum": geo.Datum.WGS84, "as_of": as_of})


def _truck(truck: Truck) -> Mapping[str, object]:
    return {
        "id": truck.id,
        "operator_id": truck.operator_id,
        "stream": truck.stream,
        "colour": truck.colour,
        "depot_id": truck.depot_id,
        "capacity_kg": truck.capacity_kg,
        "capacity_dm3": truck.capacity_dm3,
        "shift": str(truck.shift),
        "max_mass_kg": truck.max_mass_kg,
        "district": truck.district,
        "active": truck.active,
        "invented": truck.invented,
        "day_kg": truck.day_kg,
        "day_dm3": truck.day_dm3,
        "day_stops": truck.day_stops,
        "day_containers": truck.day_containers,
        "overtime_s": truck.overtime_s,
    }


def _depot(depot: Depot) -> Mapping[str, object]:
    return {
        "id": depot.id,
        "name": depot.name,
        "name_en": depot.name_en,
        "position": shown_position(depot.position),
        "active": depot.active,
        "invented": depot.invented,
    }


def _site(site: Site) -> Mapping[str, object]:
    return {
        "id": site.id,
        "kind": site.kind,
        "name": site.name,
        "name_en": site.name_en,
        "operator_id": site.operator_id,
        "position": shown_position(site.position),
        "district": site.district,
        "streams": site.streams,
        "service_s": site.service_s,
        "opening": [str(each) for each in site.opening],
        "haulers": site.haulers,
        "active": site.active,
        "invented": site.invented,
        "queue_s": site.queue_s,
        "day_kg": site.day_kg,
    }
