"""A truck's day over HTTP: on paper, for a navigation device, for a map, for a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from cityloop_common import auth
from cityloop_common.auth import Role
from cityloop_common.network import Network, from_trusted
from cityloop_waste.context import WasteCtx
from cityloop_waste.edge import Context
from cityloop_waste.planning import manifests
from cityloop_waste.planning.domain import LONGEST_ID
from cityloop_waste.planning.manifest import Manifest, to_csv, to_geojson, to_gpx
from cityloop_waste.planning.manifest_html import CSP, Language, to_html
from cityloop_waste.planning.plans import PLAN_ID_LENGTH

router = APIRouter(tags=["plans"])


class Format(StrEnum):
    """What a manifest is shown as."""

    HTML = "html"
    GPX = "gpx"
    GEOJSON = "geojson"
    CSV = "csv"


_MEDIA: Mapping[Format, str] = {
    Format.HTML: "text/html; charset=utf-8",
    Format.GPX: "application/gpx+xml",
    Format.GEOJSON: "application/geo+json",
    Format.CSV: "text/csv; charset=utf-8",
}
_CONTENT = {
    media.partition(";")[0]: {"schema": {"type": "object" if kind is Format.GEOJSON else "string"}}  # GeoJSON is read as JSON
    for kind, media in _MEDIA.items()
}


_RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": _CONTENT, "description": "The truck's day"}}
_READER = Depends(auth.allow(Role.DISPATCHER, Role.CREW, Role.CITY_ADMIN))
_BASE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,253}", re.ASCII)
PlanId = Annotated[str, Path(max_length=PLAN_ID_LENGTH)]
Wanted = Annotated[Format | None, Query(alias="format", description="Left out: as Accept says, else html.")]
Lang = Annotated[Language, Query(alias="lang", description="Of the paper.")]


@router.get(
    "/plans/{plan_id}/manifests/{truck}",
    response_class=Response,
    responses=_RESPONSES,
    dependencies=[_READER],
    summary="A truck's day for its crew",
)
async def manifest(
    ctx: Context,
    request: Request,
    plan_id: PlanId,
    truck: Annotated[str, Path(max_length=LONGEST_ID)],
    wanted: Wanted = None,
    lang: Lang = Language.ZH,
) -> Response:
    """Stops with times, loads and windows, unloads, lunch: HTML for A4 with a QR code, GPX 1.1, GeoJSON, or CSV in local time."""
    return await _answer(ctx, request, plan_id, truck, wanted, lang)


@router.get(
    "/plans/{plan_id}/manifests",
    response_class=Response,
    responses=_RESPONSES,
    dependencies=[_READER],
    summary="A truck's day, of a truck by any name",
)
async def manifest_of(
    ctx: Context,
    request: Request,
    plan_id: PlanId,
    truck: Annotated[str, Query(max_length=LONGEST_ID)],
    wanted: Wanted = None,
    lang: Lang = Language.ZH,
) -> Response:
    """As `/manifests/{truck}`, for names that a path does not hold, such as `a/b` or `..`."""
    return await _answer(ctx, request, plan_id, truck, wanted, lang)


async def _answer(ctx: WasteCtx, request: Request, plan_id: str, truck: str, wanted: Format | None, lang: Language) -> Response:
    shown = wanted or _accepted(request.headers.get("accept", ""))
    found = await manifests.manifest(ctx, plan_id, truck)
    makers: Mapping[Format, Callable[[Manifest], bytes]] = {
        Format.HTML: partial(to_html, language=lang, base=ctx.settings.public_url or _base(request)),
        Format.GPX: to_gpx,
        Format.GEOJSON: to_geojson,
        Format.CSV: to_csv,
    }
    name = re.sub(r"[^A-Za-z0-9._-]", "_", f"{found.on}-{found.stream}-{found.truck}.{shown.value}")
    headers = {"content-disposition": f'inline; filename="{name}"', "vary": "Accept", "cache-control": "private, no-cache"}
    if shown is Format.HTML:
        headers["content-security-policy"] = CSP
    return Response(makers[shown](found), media_type=_MEDIA[shown], headers=headers)


def _base(request: Request) -> str:
    """The address under which the caller sees the city: its Host, or what a trusted proxy says of it; nothing where that is none."""
    scheme, host = request.url.scheme, request.headers.get("host", "")
    trusted: Sequence[Network] = getattr(request.app.state, "trusted_proxies", ())
    if trusted and from_trusted(request.scope, trusted):
        scheme = request.headers.get("x-forwarded-proto", scheme)
        host = request.headers.get("x-forwarded-host", host)
    base = f"{scheme}://{host}"
    return base if _BASE.fullmatch(base) else ""


def _accepted(accept: str) -> Format:
    """The format that a client likes best; HTML where it likes none of them."""
    by_media = {media.partition(";")[0]: kind for kind, media in _MEDIA.items()}
    liked: list[tuple[float, Format]] = []
    for part in accept.split(","):
        media, _, parameters = part.partition(";")
        weight = re.search(r"q=([01](?:\.\d{1,3})?)", parameters)
        if (kind := by_media.get(media.strip().lower())) is not None:
            liked.append((float(weight[1]) if weight else 1.0, kind))
    return max(liked, key=lambda each: each[0])[1] if liked else Format.HTML
