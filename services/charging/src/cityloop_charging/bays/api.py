"""Links between stations and car parks over HTTP: an operator claims, a person of the city decides."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cityloop_charging.bays import use_cases
from cityloop_charging.bays.domain import MOST_BAY_NOS, By, Decider, Link, LinkState
from cityloop_charging.bays.store import ListedLink, Unlinked
from cityloop_charging.bays.use_cases import Asked, Claim
from cityloop_charging.context import ChargingCtx
from cityloop_charging.registry.domain import UnknownLocation, is_location_id, split_location_id
from cityloop_common import auth, http, idempotency
from cityloop_common.auth import Principal, Role
from cityloop_common.db import WriteTx
from cityloop_common.errors import BadRequest, Forbidden
from cityloop_common.geo import Datum
from cityloop_common.idempotency import Answer
from cityloop_common.keys import key_for

router = APIRouter(tags=["place links"])
Context = Annotated[ChargingCtx, Depends(http.current_ctx)]
Operator = Annotated[Principal, Depends(auth.allow(Role.CHARGING_OPERATOR))]
Official = Annotated[Principal, Depends(auth.allow(Role.OFFICER, Role.CITY_ADMIN))]
LocationIdPath = Annotated[str, Path(max_length=64, description="Operator's 9 characters, `*`, its own id of the station.")]
IdempotencyKey = Annotated[str | None, Header(description="Makes a repetition safe: the same key gets the first answer again.")]
PlaceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=500)]


class ClaimBody(BaseModel):
    """The car park that the station stands in, and the numbers of the bays that it serves, for the person who decides."""

    model_config = ConfigDict(extra="forbid")

    place_id: PlaceId
    bay_nos: list[str] = Field([], max_length=MOST_BAY_NOS)


class DecisionBody(BaseModel):
    """The car park that the decision is about."""

    model_config = ConfigDict(extra="forbid")

    place_id: PlaceId


class LinkView(BaseModel):
    """Where the link of a station stands. `by`: who moved it last; `evidence`: what it rests on."""

    location_id: str
    place_id: str
    state: LinkState
    by: Decider
    evidence: dict[str, object]
    since: datetime


class ListedLinkView(LinkView):
    """A link with the names of both; `place_name` is absent for a car park that was not heard of."""

    location_name: str
    place_name: str | None = None


class LinkPage(BaseModel):
    """Links in the order of their stations."""

    links: list[ListedLinkView]
    next_cursor: str | None = None
    as_of: datetime


class PositionView(BaseModel):
    """WGS-84 degrees."""

    lon: float
    lat: float


class UnlinkedView(BaseModel):
    """A station without a confirmed car park; `proposed_place_id` waits for a decision."""

    location_id: str
    name: str
    position: PositionView
    datum: Datum
    district: str | None = None
    access: str
    state: str
    evses: int
    link_state: LinkState | None = None
    proposed_place_id: str | None = None


class UnlinkedPage(BaseModel):
    """Stations whose bays count for nobody yet."""

    locations: list[UnlinkedView]
    next_cursor: str | None = None
    as_of: datetime


async def asked_by(request: Request, idempotency_key: IdempotencyKey = None) -> Asked:
    """What makes this request the same one when it comes again."""
    caller = await auth.caller(request)
    fingerprint = idempotency.fingerprint(request.method, request.url.path, await request.body())
    return Asked(caller.subject, idempotency_key, fingerprint)


async def official(request: Request, caller: Official) -> By:
    """Who decides, as the journal keeps it: the role, and a keyed hash that is the same for the same person."""
    key: bytes = request.app.state.subject_key
    role = Decider.CITY_ADMIN if caller.has(Role.CITY_ADMIN) else Decider.OFFICER
    return By(role, hmac.digest(key, caller.subject.encode(), "sha256").hex()[:32])


Repeatable = Annotated[Asked, Depends(asked_by)]
Decided = Annotated[By, Depends(official)]


def subject_key(ctx: ChargingCtx) -> bytes:
    """The key that persons are hashed with, for `app.state.subject_key`. Raises SettingsError when it is missing in production."""
    given = ctx.settings.shared.hash_key
    return key_for("hash", given.get_secret_value() if given else None, ctx.settings.shared, ctx.rng)


@router.post("/locations/{location_id}/place-claims", status_code=201, responses={201: {"model": LinkView}}, summary="Claim a car park")
async def claim(ctx: Context, caller: Operator, asked: Repeatable, location_id: LocationIdPath, body: ClaimBody) -> Response:
    """An operator says which car park its station stands in. It counts once a person of the city has confirmed it."""
    if not is_location_id(location_id):
        raise UnknownLocation
    if caller.operator_id != split_location_id(location_id)[0]:
        raise Forbidden("The station belongs to another operator.")

    async def effect(tx: WriteTx) -> Answer:
        return Answer(201, _body(await use_cases.claim_in(tx, ctx, Claim(location_id, body.place_id, tuple(body.bay_nos)))))

    return await _answer(ctx, asked, effect)


@router.post("/place-links/{location_id}/confirmation", responses={200: {"model": LinkView}}, summary="Confirm a car park")
async def confirm(ctx: Context, by: Decided, asked: Repeatable, location_id: LocationIdPath, body: DecisionBody) -> Response:
    """The station stands in this car park: its bays count from now on. Confirming again answers the same."""

    async def effect(tx: WriteTx) -> Answer:
        return Answer(200, _body(await use_cases.confirm_in(tx, ctx, location_id, body.place_id, by)))

    return await _answer(ctx, asked, effect)


@router.post("/place-links/{location_id}/rejection", responses={200: {"model": LinkView}}, summary="Reject a proposal")
async def reject(ctx: Context, by: Decided, asked: Repeatable, location_id: LocationIdPath, body: DecisionBody) -> Response:
    """The station does not stand in this car park; it is not proposed again. Rejecting again answers the same."""

    async def effect(tx: WriteTx) -> Answer:
        return Answer(200, _body(await use_cases.reject_in(tx, ctx, location_id, body.place_id, by)))

    return await _answer(ctx, asked, effect)


@router.post("/place-links/{location_id}/withdrawal", responses={200: {"model": LinkView}}, summary="Withdraw a confirmation")
async def withdraw(ctx: Context, by: Decided, asked: Repeatable, location_id: LocationIdPath, body: DecisionBody) -> Response:
    """The confirmation was wrong, or holds no more: the bays do not count from now on. Withdrawing again answers the same."""

    async def effect(tx: WriteTx) -> Answer:
        return Answer(200, _body(await use_cases.withdraw_in(tx, ctx, location_id, body.place_id, by)))

    return await _answer(ctx, asked, effect)


@router.get("/place-links", responses={200: {"model": LinkPage}}, summary="Links")
async def list_links(
    ctx: Context, _caller: Official, state: LinkState | None = None, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """Proposals that wait for a decision, and what was decided."""
    as_of = ctx.clock.now()
    found = await use_cases.links(ctx, state=state, after=_behind(cursor), most=limit + 1)
    body: dict[str, object] = {"links": [_listed(each) for each in found[:limit]], "as_of": as_of}
    if len(found) > limit:
        body["next_cursor"] = found[limit - 1].link.location_id
    return http.json_response(body)


@router.get("/unlinked-locations", responses={200: {"model": UnlinkedPage}}, summary="Stations without a car park")
async def list_unlinked(ctx: Context, _caller: Official, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Stations that no person has confirmed to stand in a car park."""
    as_of = ctx.clock.now()
    found = await use_cases.unlinked(ctx, after=_behind(cursor), most=limit + 1)
    body: dict[str, object] = {"locations": [_unlinked(each) for each in found[:limit]], "as_of": as_of}
    if len(found) > limit:
        body["next_cursor"] = found[limit - 1].location_id
    return http.json_response(body)


def _behind(cursor: str | None) -> str:
    if cursor is not None and not is_location_id(cursor):
        raise BadRequest("The cursor is none of ours.")
    return cursor or ""


async def _answer(ctx: ChargingCtx, asked: Asked, effect: Callable[[WriteTx], Awaitable[Answer]]) -> Response:
    answer = await use_cases.once(ctx, asked, effect)
    return http.json_bytes_response(answer.body, status=answer.status, headers=answer.headers)


def _body(link: Link) -> bytes:
    return orjson.dumps(_fields(link), option=orjson.OPT_UTC_Z)


def _fields(link: Link) -> dict[str, object]:
    return {
        "location_id": link.location_id,
        "place_id": link.place_id,
        "state": link.state,
        "by": link.by.decider,
        "evidence": link.evidence,
        "since": link.happened_at,
    }


def _listed(each: ListedLink) -> dict[str, object]:
    named = {} if each.place_name is None else {"place_name": each.place_name}
    return _fields(each.link) | {"location_name": each.location_name} | named


def _unlinked(each: Unlinked) -> dict[str, object]:
    fields: dict[str, object] = {
        "location_id": each.location_id,
        "name": each.name,
        "position": {"lon": each.position.lon, "lat": each.position.lat},
        "datum": Datum.WGS84,
        "district": each.district,
        "access": each.access,
        "state": each.state,
        "evses": each.evses,
        "link_state": each.link_state,
        "proposed_place_id": each.proposed_place_id,
    }
    return {name: value for name, value in fields.items() if value is not None}
