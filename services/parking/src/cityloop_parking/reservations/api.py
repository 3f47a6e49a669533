"""Reservations over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, cast

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from cityloop_common import auth, http, idempotency
from cityloop_common.auth import Principal, Role
from cityloop_common.clock import instant
from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.errors import Forbidden
from cityloop_common.idempotency import Answer
from cityloop_common.preconditions import etag, not_modified
from cityloop_common.ratelimit import By, limit
from cityloop_parking.context import ParkingCtx
from cityloop_parking.places.domain import ID_PATTERN, Category
from cityloop_parking.reservations import use_cases
from cityloop_parking.reservations.domain import Reason, Reservation, Stay
from cityloop_parking.reservations.guest_desk import GuestDesk
from cityloop_parking.reservations.scope import OwnedBy, Scope, WholeCity

router = APIRouter(tags=["reservations"])

Context = Annotated[ParkingCtx, Depends(http.current_ctx)]
Owner = Annotated[Principal, Depends(auth.allow(Role.CITIZEN, Role.GUEST))]
Reader = Annotated[Principal, Depends(auth.allow(Role.CITIZEN, Role.GUEST, Role.CITY_ADMIN))]
ReservationId = Annotated[str, Path(max_length=64)]
IdempotencyKey = Annotated[str | None, Header(description="Makes a repetition safe: the same key gets the first answer again.")]


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("an RFC 3339 text with a time zone")
    try:
        return instant(value)
    except (ValueError, OverflowError) as error:
        raise ValueError("an RFC 3339 instant with a time zone") from error


Instant = Annotated[datetime, BeforeValidator(_instant)]


class ReservationWanted(BaseModel):
    """One space of a category, for `[starts_at, ends_at)`."""

    model_config = ConfigDict(extra="forbid")

    place_id: Annotated[str, StringConstraints(pattern=ID_PATTERN)]
    category: Category = Category.STANDARD
    starts_at: Instant
    ends_at: Instant


class ReservationView(BaseModel):
    """A reservation as its holder sees it."""

    id: str
    state: str
    place_id: str
    category: str
    starts_at: datetime
    ends_at: datetime
    held_until: datetime = Field(description="Until when the hold can be confirmed.")
    created_at: datetime
    confirmed_at: datetime | None = None
    closed_at: datetime | None = Field(None, description="When it was cancelled, expired or completed.")


class ReservationMade(ReservationView):
    """The answer to a hold; a guest also gets the token of a link to this one reservation."""

    link_token: str | None = Field(None, description="Bearer token for this reservation alone, until a day after its end.")


class ReservationPage(BaseModel):
    """Own reservations, newest first."""

    reservations: list[ReservationView]
    next_cursor: str | None = None
    as_of: datetime


class ConflictView(BaseModel):
    """A quarter hour for which more spaces are promised than the car park has left to promise.

    `oversold`: a count or a change left less than is booked. `collection`: `booked` stays overlap a window in which waste collection
    needs this section of street.
    """

    category: str
    starts_at: datetime
    booked: int
    sellable: int
    reason: Reason


class Conflicts(BaseModel):
    """What the operator has to solve, soonest first."""

    conflicts: list[ConflictView]
    as_of: datetime


class GuestTokenView(BaseModel):
    """A short-lived token for somebody without an account."""

    token: str
    token_type: str = "Bearer"  # noqa: S105 - a scheme, not a secret
    expires_in_s: int


async def current_desk(request: Request) -> GuestDesk:
    """The replica's guest desk (`app.state.guest_desk`)."""
    desk: GuestDesk = request.app.state.guest_desk
    return desk


Desk = Annotated[GuestDesk, Depends(current_desk)]


async def asked_by(request: Request, caller: Owner, idempotency_key: IdempotencyKey = None) -> use_cases.Asked:
    """What makes this request the same one when it comes again."""
    fingerprint = idempotency.fingerprint(request.method, request.url.path, await request.body())
    return use_cases.Asked(caller.subject, idempotency_key, fingerprint)


Repeatable = Annotated[use_cases.Asked, Depends(asked_by)]


def _guest_tokens_per_min(ctx: object) -> int:
    assert isinstance(ctx, Ctx)
    return cast(ParkingCtx, ctx).settings.guest_tokens_per_min


@router.post("/reservations", status_code=201, responses={201: {"model": ReservationMade}})
async def hold(ctx: Context, caller: Owner, desk: Desk, asked: Repeatable, want: ReservationWanted) -> Response:
    """Holds a space until `held_until`; confirm it before then."""
    stay = Stay(want.place_id, want.category.value, want.starts_at, want.ends_at)
    holder = desk.holder(caller)

    async def effect(tx: WriteTx) -> Answer:
        made = await use_cases.hold_in(tx, ctx, stay, holder)
        link = desk.link(made, holder) if caller.has(Role.GUEST) else None
        headers = {"location": f"/{ctx.service}/v1/reservations/{made.id}", "etag": etag(made.version)}
        return Answer(201, _body(made, link_token=link), headers)

    return await _answer(ctx, asked, effect)


@router.post("/reservations/{reservation_id}/confirmation", responses={200: {"model": ReservationView}})
async def confirm(ctx: Context, caller: Owner, asked: Repeatable, reservation_id: ReservationId) -> Response:
    """Turns a hold into a promise. Confirming again answers the same."""

    async def effect(tx: WriteTx) -> Answer:
        return _as_answer(await use_cases.confirm_in(tx, ctx, reservation_id, OwnedBy(caller.subject)))

    return await _answer(ctx, asked, effect)


@router.post("/reservations/{reservation_id}/cancellation", responses={200: {"model": ReservationView}})
async def cancel(ctx: Context, caller: Owner, asked: Repeatable, reservation_id: ReservationId) -> Response:
    """Gives the space back. Cancelling again answers the same."""

    async def effect(tx: WriteTx) -> Answer:
        return _as_answer(await use_cases.cancel_in(tx, ctx, reservation_id, OwnedBy(caller.subject)))

    return await _answer(ctx, asked, effect)


@router.get("/reservations/{reservation_id}", responses={200: {"model": ReservationView}})
async def show(request: Request, ctx: Context, caller: Reader, reservation_id: ReservationId) -> Response:
    """One reservation; another's is as unknown as none."""
    found = await use_cases.find(ctx, reservation_id, _scope(caller))
    tag = etag(found.version)
    if not_modified(request, tag):
        return Response(status_code=304, headers={"etag": tag})
    return http.json_bytes_response(_body(found), headers={"etag": tag})


@router.get("/reservations", responses={200: {"model": ReservationPage}})
async def list_own(
    ctx: Context,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")] = None,
) -> Response:
    """The caller's reservations, newest first; the city's administration sees all."""
    as_of = ctx.clock.now()
    found = await use_cases.page(ctx, _scope(caller), before=cursor, limit=limit + 1)
    shown = found[:limit]
    body: dict[str, object] = {"reservations": [_fields(each) for each in shown], "as_of": as_of}
    if len(found) > limit:
        body["next_cursor"] = shown[-1].id
    return http.json_response(body)


@router.get("/places/{place_id}/conflicts", responses={200: {"model": Conflicts}})
async def conflicts(
    ctx: Context,
    caller: Annotated[Principal, Depends(auth.allow(Role.LOT_OPERATOR, Role.CITY_ADMIN))],
    place_id: Annotated[str, Path(max_length=64)],
) -> Response:
    """Where a count, a change or waste collection left less than is booked; bookings stay, new holds are refused."""
    as_of = ctx.clock.now()
    if caller.operator_id is None and not caller.has(Role.CITY_ADMIN):
        raise Forbidden("The token names no operator.")
    operator_id = None if caller.has(Role.CITY_ADMIN) else caller.operator_id
    found = await use_cases.conflicts(ctx, place_id, operator_id=operator_id)
    return http.json_response({"conflicts": found, "as_of": as_of})


@router.post(
    "/guest-tokens",
    status_code=201,
    responses={201: {"model": GuestTokenView}},
    dependencies=[Depends(limit("guest-tokens", per_minute=_guest_tokens_per_min, by=By.NETWORK))],
)
async def guest_token(_caller: Annotated[Principal, Depends(auth.public)], desk: Desk) -> Response:
    """A token for somebody without an account: to hold a space, and to see what was held with it."""
    issued = desk.guests.new_guest()
    return http.json_response(GuestTokenView(token=issued.token, expires_in_s=issued.expires_in_s).model_dump(), status=201)


async def _answer(ctx: ParkingCtx, asked: use_cases.Asked, effect: Callable[[WriteTx], Awaitable[Answer]]) -> Response:
    answer = await use_cases.once(ctx, asked, effect)
    return http.json_bytes_response(answer.body, status=answer.status, headers=answer.headers)


def _as_answer(changed: Reservation) -> Answer:
    return Answer(200, _body(changed), {"etag": etag(changed.version)})


def _scope(caller: Principal) -> Scope:
    return WholeCity() if caller.has(Role.CITY_ADMIN) else OwnedBy(caller.subject)


def _body(of: Reservation, *, link_token: str | None = None) -> bytes:
    fields = _fields(of)
    if link_token is not None:
        fields["link_token"] = link_token
    return orjson.dumps(fields, option=orjson.OPT_UTC_Z)


def _fields(of: Reservation) -> dict[str, object]:
    fields: dict[str, object] = {
        "id": of.id,
        "state": of.state.value,
        "place_id": of.place_id,
        "category": of.category,
        "starts_at": of.starts_at,
        "ends_at": of.ends_at,
        "held_until": of.held_until,
        "created_at": of.created_at,
    }
    if of.confirmed_at is not None:
        fields["confirmed_at"] = of.confirmed_at
    if of.closed_at is not None:
        fields["closed_at"] = of.closed_at
    return fields
