"""The ledger over HTTP: weighbridges tell of loads, officers read them and say what is estimated to be generated."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cityloop_common import auth, http
from cityloop_common.auth import Principal, Role
from cityloop_common.clock import city_day, day_begins, instant
from cityloop_common.db import WriteTx
from cityloop_common.errors import Forbidden, Invalid
from cityloop_common.idempotency import Answer
from cityloop_waste.edge import LAST_DAY, OLDEST_DAY, Context, Instant, Limit, Repeatable, answer_once
from cityloop_waste.ledger import store, use_cases
from cityloop_waste.ledger.domain import HEAVIEST_KG, LOAD_ID, MOST_GENERATED_KG, Estimate, Load, Ticket
from cityloop_waste.ledger.scope import Scope, SitesOf, WholeCity
from cityloop_waste.streams import Stream

router = APIRouter(tags=["ledger"])
MOST_DAYS = 400
Weigher = Annotated[Principal, Depends(auth.allow(Role.SITE_OPERATOR))]
Reader = Annotated[Principal, Depends(auth.allow(Role.SITE_OPERATOR, Role.OFFICER, Role.CITY_ADMIN))]
Officer = Annotated[Principal, Depends(auth.allow(Role.OFFICER, Role.CITY_ADMIN))]
RegistryId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
LoadId = Annotated[str, StringConstraints(pattern=LOAD_ID)]
DistrictId = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]*$")]
Mass = Annotated[int, Field(strict=True, ge=0, le=HEAVIEST_KG)]


class LoadBody(BaseModel):
    """A weighing ticket. A ticket number stands for one load of a site; `corrects` is the load that this one replaces."""

    model_config = ConfigDict(extra="forbid")

    site_id: RegistryId
    truck_id: RegistryId = Field(description="The truck's public number, never its plate.")
    stream: Stream
    ticket_no: str = Field(min_length=1, max_length=40)
    gross_kg: Mass
    tare_kg: Mass
    weighed_at: Instant
    district: DistrictId | None = Field(None, description="Where it was collected; the truck's district when left out.")
    corrects: LoadId | None = None


class LoadView(BaseModel):
    """One version of a load. `chain_id` is the same for all its versions, `corrected_by` the next one; `void`: it was taken back."""

    id: str
    chain_id: str
    version: int
    site_id: str
    site_kind: str
    truck_id: str
    stream: Stream
    ticket_no: str
    gross_kg: int
    tare_kg: int
    net_kg: int
    weighed_at: datetime
    district: str | None
    flags: list[str]
    corrects: str | None
    corrected_by: str | None
    void: bool
    void_reason: str | None
    recorded_at: datetime


class LoadTaken(LoadView):
    """The answer to a ticket; a duplicate is the load that it told of before."""

    duplicate: bool


class VoidingBody(BaseModel):
    """Why a load that was told of is none."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]


class LoadPage(BaseModel):
    """Versions of loads, the last learnt first."""

    loads: list[LoadView]
    next_cursor: str | None = None
    as_of: datetime


class LoadVersions(BaseModel):
    """Every version of a load, oldest first."""

    loads: list[LoadView]


class EstimateBody(BaseModel):
    """What a district is estimated to have generated on a local day; `method` says how one knows."""

    model_config = ConfigDict(extra="forbid")

    district: DistrictId
    on: Annotated[date, Field(ge=OLDEST_DAY)]
    mass_kg: int = Field(strict=True, ge=0, le=MOST_GENERATED_KG)
    method: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]*$")]


class EstimateView(BaseModel):
    """The newest version of an estimate."""

    id: str
    district: str
    on: date
    mass_kg: int
    method: str
    version: int
    corrects: str | None
    recorded_at: datetime


class EstimateList(BaseModel):
    """Estimates by day and district."""

    estimates: list[EstimateView]


@router.post("/loads", status_code=201, responses={201: {"model": LoadTaken}, 200: {"model": LoadTaken}}, summary="Tell of a load")
async def record(ctx: Context, caller: Weigher, asked: Repeatable, body: LoadBody) -> Response:
    """Takes a ticket of the caller's weighbridge. 201 when it is new, 200 when it was told of before: a load counts once."""
    operator_id = _operator(caller)
    ticket = Ticket(**body.model_dump())

    async def effect(tx: WriteTx) -> Answer:
        recorded = await use_cases.record_in(tx, ctx, ticket, operator_id=operator_id)
        content = {**_load(recorded.load), "duplicate": recorded.duplicate}
        headers = {"location": f"/{ctx.service}/v1/loads/{recorded.load.id}"}
        return Answer(200 if recorded.duplicate else 201, orjson.dumps(content, option=orjson.OPT_UTC_Z), headers)

    return await answer_once(ctx, asked, effect)


@router.post("/loads/{load_id}/voiding", response_model=LoadView, summary="Take a load back")
async def void(
    ctx: Context, caller: Weigher, asked: Repeatable, load_id: Annotated[str, Path(pattern=LOAD_ID)], body: VoidingBody
) -> Response:
    """A further version that counts for nothing: for a load that never was, or was told of twice. Its newest version is named.

    Taking it back again answers the same. It is corrected no more: what was tipped after all is told of under a new ticket number.
    """
    operator_id = _operator(caller)

    async def effect(tx: WriteTx) -> Answer:
        taken_back = await use_cases.void_in(tx, ctx, load_id, body.reason, operator_id=operator_id)
        return Answer(200, orjson.dumps(_load(taken_back), option=orjson.OPT_UTC_Z))

    return await answer_once(ctx, asked, effect)


@router.get("/loads", response_model=LoadPage, summary="Loads")
async def list_loads(
    ctx: Context,
    caller: Reader,
    since: Annotated[str | None, Query(alias="from", max_length=40, description="Local day, or instant; included.")] = None,
    until: Annotated[str | None, Query(alias="to", max_length=40, description="Local day, included, or instant, excluded.")] = None,
    site: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=36, description="`next_cursor` of the page before.")] = None,
    limit: Limit = 200,
) -> Response:
    """What was weighed; a site's operator sees its own sites."""
    as_of = ctx.clock.now()
    wanted = store.Wanted(_instant("from", since, days_on=0), _instant("to", until, days_on=1), site, cursor)
    found = await use_cases.page(ctx, wanted, _scope(caller), most=limit + 1)
    shown = found[:limit]
    body: dict[str, object] = {"loads": [_load(each) for each in shown], "as_of": as_of}
    if len(found) > limit:
        body["next_cursor"] = shown[-1].id
    return http.json_response(body)


@router.get("/loads/{load_id}", response_model=LoadVersions, summary="A load with its corrections")
async def show_load(ctx: Context, caller: Reader, load_id: Annotated[str, Path(max_length=36)]) -> Response:
    """Every version of one load; another operator's is as unknown as none."""
    return http.json_response({"loads": [_load(each) for each in await use_cases.find(ctx, load_id, _scope(caller))]})


@router.put("/generation-estimates", response_model=EstimateView, summary="Say what is estimated to be generated")
async def estimate(ctx: Context, _caller: Officer, body: EstimateBody) -> Response:
    """The newest word on a district and day counts; the ones before stay in the journal."""
    kept = await use_cases.estimate(ctx, body.district, body.on, mass_kg=body.mass_kg, method=body.method)
    return http.json_response(_estimate(kept))


@router.get("/generation-estimates", response_model=EstimateList, summary="What is estimated to be generated")
async def list_estimates(
    ctx: Context,
    _caller: Officer,
    since: Annotated[date | None, Query(alias="from", description="First local day; 30 days back when left out.")] = None,
    until: Annotated[date | None, Query(alias="to", description="Last local day; today when left out.")] = None,
    district: Annotated[str | None, Query(max_length=80)] = None,
) -> Response:
    """The newest estimates of some days."""
    last = until or city_day(ctx.clock.now())
    first = since or max(last, OLDEST_DAY) - timedelta(days=30)
    if not 0 <= (last - first).days <= MOST_DAYS:
        raise Invalid(f"`from` lies at most {MOST_DAYS} days before `to`.")
    found = await use_cases.estimates(ctx, since=first, until=last, district=district)
    return http.json_response({"estimates": [_estimate(each) for each in found]})


def _operator(caller: Principal) -> str:
    if caller.operator_id is None:
        raise Forbidden("The token names no operator.")
    return caller.operator_id


def _scope(caller: Principal) -> Scope:
    return WholeCity() if caller.has(Role.OFFICER, Role.CITY_ADMIN) else SitesOf(_operator(caller))


def _instant(name: str, text: str | None, *, days_on: int) -> datetime | None:
    """An instant, or the first one of the local day that lies `days_on` behind the one that is named."""
    if text is None:
        return None
    try:
        if len(text) > len("2026-11-26"):
            return instant(text)
        day = date.fromisoformat(text)
        if not OLDEST_DAY <= day <= LAST_DAY:
            raise ValueError("outside the calendar")
        return day_begins(day + timedelta(days=days_on))
    except (ValueError, OverflowError) as error:
        problem = {"pointer": f"/query/{name}", "detail": "It is a local day or an RFC 3339 instant."}
        raise Invalid("The time cannot be read.", errors=[problem]) from error


def _load(of: Load) -> Mapping[str, object]:
    ticket = of.ticket
    return {
        "id": of.id,
        "chain_id": of.chain_id,
        "version": of.version,
        "site_id": ticket.site_id,
        "site_kind": of.site_kind,
        "truck_id": ticket.truck_id,
        "stream": ticket.stream,
        "ticket_no": ticket.ticket_no,
        "gross_kg": ticket.gross_kg,
        "tare_kg": ticket.tare_kg,
        "net_kg": ticket.net_kg,
        "weighed_at": ticket.weighed_at,
        "district": of.district,
        "flags": of.flags,
        "corrects": ticket.corrects,
        "corrected_by": of.corrected_by,
        "void": of.void,
        "void_reason": of.void_reason,
        "recorded_at": of.recorded_at,
    }


def _estimate(of: Estimate) -> Mapping[str, object]:
    return {
        "id": of.id,
        "district": of.district,
        "on": of.on,
        "mass_kg": of.mass_kg,
        "method": of.method,
        "version": of.version,
        "corrects": of.corrects,
        "recorded_at": of.recorded_at,
    }
