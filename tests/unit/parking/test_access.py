"""Endpoint × role × foreign object: who may call what, and that another's object is as unknown as none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import Message

from cityloop_common import issuer, problems
from cityloop_common.auth import Access, Guarded, Role, declared_access
from cityloop_common.clock import SystemClock
from cityloop_common.http import api_routes
from cityloop_common.issuer import DevIssuer
from cityloop_common.migrating import migrate
from cityloop_common.parts import build_api, build_ctx, close_ports, open_ports
from cityloop_common.rng import Rng
from cityloop_common.settings import SharedSettings
from cityloop_common.supervisor import supervised
from cityloop_parking.reservations.guest_desk import GuestDesk
from cityloop_parking.service import SERVICE
from tests.support import PATIENCE_S, wait_until

Body = Mapping[str, object]
PUBLIC: Literal["public"] = "public"
REPORTERS = frozenset({Role.LOT_OPERATOR, Role.CITY_ADMIN})
HOLDERS = frozenset({Role.CITIZEN, Role.GUEST})
V1 = "/parking/v1"
MINE, FOREIGN = "mine-1", "theirs-1"  # car parks of two operators; `mine` is the operator of the caller
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Row:
    """One endpoint: who may, what they get for their own object, and what for another's (None: it has no object).

    `{place}` and `{reservation}` in the path and the body are the object. `whole_city` may do it to every object.
    """

    method: str
    path: str
    access: Access
    own: int
    foreign: int | None = None
    body: Body | None = None
    query: str = ""
    whole_city: frozenset[Role] = frozenset()


def _soon(hours: float) -> str:
    return (CLOCK.now() + timedelta(hours=hours)).isoformat()


_OBSERVED: Body = {"observed_at": _soon(0), "source": "gate", "counts": [{"category": "standard", "occupied": 1}]}
_PLACE: Body = {
    "name": "a car park", "position": {"lon": 109.78, "lat": 39.56}, "datum": "wgs84", "pools": [{"category": "standard", "capacity": 90}],
}  # fmt: skip
_STAY: Body = {"place_id": "{place}", "category": "standard", "starts_at": _soon(2), "ends_at": _soon(3)}
ADMIN = frozenset({Role.CITY_ADMIN})
TABLE = (
    Row("GET", f"{V1}/places", PUBLIC, 200, query="near=109.78,39.56"),
    Row("GET", f"{V1}/overview", PUBLIC, 200),
    Row("GET", f"{V1}/stream", PUBLIC, 200),
    Row("GET", f"{V1}/places/{{place_id}}", PUBLIC, 200, foreign=200),  # a car park is no secret
    Row("GET", f"{V1}/places/{{place_id}}/availability", PUBLIC, 200, foreign=200),
    Row("PUT", f"{V1}/places/{{place_id}}", frozenset({Role.LOT_OPERATOR}), 200, foreign=403, body=_PLACE),  # nor who operates it
    Row("POST", f"{V1}/places/{{place_id}}/observations", REPORTERS, 201, foreign=404, body=_OBSERVED, whole_city=ADMIN),
    Row("POST", f"{V1}/observations", REPORTERS, 200, body={"observations": [{**_OBSERVED, "place_id": "{place}"}]}),
    Row("GET", f"{V1}/places/{{place_id}}/conflicts", REPORTERS, 200, foreign=404, whole_city=ADMIN),
    Row("POST", f"{V1}/guest-tokens", PUBLIC, 201),
    Row("POST", f"{V1}/reservations", HOLDERS, 201, body=_STAY),
    Row("GET", f"{V1}/reservations", HOLDERS | ADMIN, 200),
    Row("GET", f"{V1}/reservations/{{reservation_id}}", HOLDERS | ADMIN, 200, foreign=404, whole_city=ADMIN),
    Row("POST", f"{V1}/reservations/{{reservation_id}}/confirmation", HOLDERS, 200, foreign=404),
    Row("POST", f"{V1}/reservations/{{reservation_id}}/cancellation", HOLDERS, 200, foreign=404),
    Row("GET", f"{V1}/districts", PUBLIC, 200),
    Row("GET", f"{V1}/indicators", PUBLIC, 200),
    Row("GET", f"{V1}/indicators/{{name}}", PUBLIC, 200),
    Row("GET", f"{V1}/indicators/{{name}}/history", PUBLIC, 200),
    Row("GET", f"{V1}/indicators/{{name}}/rows", frozenset({Role.OFFICER, Role.CITY_ADMIN}), 200),
    Row("GET", "/issuer/jwks.json", PUBLIC, 200),
    Row("POST", "/issuer/token", PUBLIC, 200, body={"role": "citizen"}),
)
CITY_PAGES = {"/", "/{page}", "/assets/{name}"}  # the distributed form's pages: parking's API serves them
OPEN_PAGES = {"/healthz/live", "/healthz/ready", "/metrics", f"{V1}/openapi.json", f"{V1}/docs", f"{V1}/docs/{{name}}", *CITY_PAGES}
ROWS = pytest.mark.parametrize("row", TABLE, ids=[f"{row.method} {row.path}" for row in TABLE])


@dataclass
class Desk:
    """Parking's application and the development issuer's, in this process, with the objects of two parties."""

    app: FastAPI
    issuer_app: FastAPI
    own: DevIssuer
    forger: DevIssuer
    reservations: dict[str, str] = field(default_factory=dict)

    def headers(self, role: Role | None, *, subject: str = "me", operator: str = "mine", kind: str = "good") -> dict[str, str]:
        if role is None:
            return {}
        ttl = timedelta(hours=-1) if kind == "expired" else timedelta(hours=1)
        signer = self.forger if kind == "forged" else self.own
        return {"authorization": f"Bearer {signer.mint(role, subject=subject, operator_id=operator, ttl=ttl)}"}

    async def ask(self, row: Row, headers: Mapping[str, str], *, place: str = MINE, reservation: str = "none") -> httpx.Response:
        path = row.path.replace("{place_id}", place).replace("{reservation_id}", reservation).replace("{name}", "live-places")
        app = self.issuer_app if path.startswith("/issuer") else self.app
        if path.endswith("/stream"):
            return httpx.Response(await _first_status(app, path, headers))
        body = None if row.body is None else _filled(row.body, place)
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(row.method, f"{path}?{row.query}", json=body, headers=headers)

    async def reserved(self, subject: str) -> str:
        """A hold of somebody's own, made as it would be over HTTP."""
        row = next(row for row in TABLE if (row.method, row.path) == ("POST", f"{V1}/reservations"))
        made = await self.ask(row, self.headers(Role.CITIZEN, subject=subject))
        assert made.status_code == 201, made.text
        return str(made.json()["id"])


def _filled(value: object, place: str) -> object:
    if isinstance(value, Mapping):
        return {name: _filled(each, place) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, place) for each in value]
    return place if value == "{place}" else value


async def _first_status(app: FastAPI, path: str, headers: Mapping[str, str]) -> int:
    """The status of an answer that never ends; whoever asked then goes away."""
    status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def receive() -> Message:
        return {"type": "http.disconnect"} if status.done() else {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start" and not status.done():
            status.set_result(message["status"])

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": raw, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        asking = group.create_task(app(scope, receive, send))
        got = await status
        asking.cancel()
    return got


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """Both applications, a car park of each operator, and no limit that the table could reach."""
    for name in ("GUEST_TOKENS_PER_MIN", "HOLDS_PER_SUBJECT", "OPEN_PER_SUBJECT", "HOLDS_PER_NETWORK"):
        monkeypatch.setenv(f"CITYLOOP_PARKING_{name}", "1000")
    shared = SharedSettings(var=tmp_path / "var")
    ports = open_ports(shared)
    ctx = build_ctx(SERVICE, shared, ports)
    own, forger = (_issuer(shared, tmp_path / name) for name in ("own", "forger"))
    await migrate(ctx.db, SERVICE.migrations, SERVICE.metadata)
    api = build_api(SERVICE, ctx, own.key_source())
    issuer_app = FastAPI()
    problems.install(issuer_app)
    issuer_app.state.trusted_proxies = ()
    issuer_app.include_router(issuer.router(own))
    made = Desk(api.app, issuer_app, own, forger)

    async def none_failing() -> bool:
        return not await api.health.failing()

    keep = next(row for row in TABLE if row.method == "PUT")
    try:
        async with supervised(api.loops):
            for operator, place in (("mine", MINE), ("theirs", FOREIGN)):
                assert (await made.ask(keep, made.headers(Role.LOT_OPERATOR, operator=operator), place=place)).status_code == 201
            await wait_until(none_failing)
            yield made
    finally:
        await close_ports(ports)
        await ctx.db.close()


def _issuer(shared: SharedSettings, folder: Path) -> DevIssuer:
    return DevIssuer(folder, environment="development", issuer=shared.issuer, audience=shared.audience, clock=CLOCK, rng=Rng())


async def test_every_endpoint_is_in_the_table_as_it_declares_itself(desk: Desk) -> None:
    """A new endpoint, or another declaration of who may call it, fails here until the table says so too."""
    routes = [*api_routes(desk.app), *(found for found in api_routes(desk.issuer_app) if str(found.path).startswith("/issuer"))]
    declared = {
        (method, str(found.path)): declared_access(_guarded(found.original_route)) for found in routes for method in found.methods or ()
    }
    assert declared == {(row.method, row.path): row.access for row in TABLE}


async def test_what_is_no_api_is_open_and_reads_only(desk: Desk) -> None:
    """Probes, metrics, documentation and the pages: nothing else answers without a declaration."""
    others = [found for found in iter_route_contexts(desk.app.routes) if not isinstance(found.original_route, APIRoute)]
    assert {str(found.path) for found in others} == OPEN_PAGES
    assert {method for found in others for method in found.methods or ()} <= {"GET", "HEAD"}


def _guarded(route: object) -> Guarded:
    assert isinstance(route, APIRoute)
    return route


@ROWS
async def test_who_may_call_it(row: Row, desk: Desk) -> None:
    """Nobody, a forged or an expired token: 401; a role that is not named: 403; a public endpoint looks at no token."""
    unknown = row.own if row.access == PUBLIC else 401
    assert (await desk.ask(row, {})).status_code == unknown
    for role in Role:
        for kind in ("forged", "expired"):
            assert (await desk.ask(row, desk.headers(role, kind=kind))).status_code == unknown
        answer = await desk.ask(row, desk.headers(role), reservation=await desk.reserved("me"))
        allowed = row.access == PUBLIC or role in row.access
        assert answer.status_code == (row.own if allowed else 403), (role, answer.text)
        if not allowed:
            assert answer.headers["content-type"] == problems.MEDIA_TYPE


@pytest.mark.parametrize("row", [row for row in TABLE if row.foreign], ids=[f"{row.method} {row.path}" for row in TABLE if row.foreign])
async def test_what_belongs_to_another(row: Row, desk: Desk) -> None:
    """Each role that may call it, on another's object; one that does not exist is answered with the same words."""
    theirs = await desk.reserved("they")
    for role in Role if row.access == PUBLIC else row.access:
        answer = await desk.ask(row, desk.headers(role), place=FOREIGN, reservation=theirs)
        assert answer.status_code == (row.own if role in row.whole_city else row.foreign), (role, answer.text)
        if answer.status_code != 404:
            continue
        none = await desk.ask(row, desk.headers(role), place="theirs-none", reservation="none")
        assert _words(answer) == _words(none)


def _words(answer: httpx.Response) -> dict[str, object]:
    return {name: value for name, value in answer.json().items() if name != "request_id"}


async def test_a_batch_counts_no_foreign_car_park(desk: Desk) -> None:
    """In a batch another's car park is a rejected row, with the words of one that does not exist."""
    row = next(row for row in TABLE if row.path == f"{V1}/observations")
    operator = desk.headers(Role.LOT_OPERATOR)
    verdicts = [(await desk.ask(row, operator, place=place)).json()["rows"][0] for place in (MINE, FOREIGN, "theirs-none")]
    assert [verdict["outcome"] for verdict in verdicts] == ["current", "rejected", "rejected"]
    assert verdicts[1]["reason"] == verdicts[2]["reason"]


async def test_own_reservations_are_only_the_own(desk: Desk) -> None:
    """A list holds what is the caller's; the city's administration reads all."""
    mine, theirs = await desk.reserved("me"), await desk.reserved("they")
    row = next(row for row in TABLE if (row.method, row.path) == ("GET", f"{V1}/reservations"))
    seen = {}
    for role in (Role.CITIZEN, Role.GUEST, Role.CITY_ADMIN):
        listed = (await desk.ask(row, desk.headers(role))).json()["reservations"]
        seen[role] = {each["id"] for each in listed}
    assert seen == {Role.CITIZEN: {mine}, Role.GUEST: {mine}, Role.CITY_ADMIN: {mine, theirs}}


async def test_a_link_opens_one_reservation_and_nothing_else(desk: Desk) -> None:
    """Its bearer acts on that reservation; another of the same guest is unknown, every other endpoint closed."""
    guests = cast(GuestDesk, desk.app.state.guest_desk).guests
    guest = guests.new_guest()
    make = next(row for row in TABLE if (row.method, row.path) == ("POST", f"{V1}/reservations"))
    one, other = [(await desk.ask(make, {"authorization": f"Bearer {guest.token}"})).json() for _ in range(2)]
    link = {"authorization": f"Bearer {one['link_token']}"}
    for row in (row for row in TABLE if row.access != PUBLIC and Role.GUEST in row.access):
        if "{reservation_id}" in row.path:
            assert (await desk.ask(row, link, reservation=one["id"])).status_code == row.own
            assert (await desk.ask(row, link, reservation=other["id"])).status_code == 404
        else:
            assert (await desk.ask(row, link)).status_code == 403
