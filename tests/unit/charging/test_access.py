"""Endpoint × role × foreign object, for charging: who may call what, and whose stations an operator may speak for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from cityloop_charging.service import SERVICE
from cityloop_common import problems
from cityloop_common.auth import Access, Role, declared_access
from cityloop_common.clock import SystemClock, city_day
from cityloop_common.http import api_routes
from cityloop_common.issuer import DevIssuer
from cityloop_common.migrating import migrate
from cityloop_common.parts import build_api, build_ctx, close_ports, open_ports
from cityloop_common.rng import Rng
from cityloop_common.settings import SharedSettings
from cityloop_common.supervisor import supervised
from tests.support import wait_until

Body = Mapping[str, object]
PUBLIC: Literal["public"] = "public"
OPERATOR = frozenset({Role.CHARGING_OPERATOR})
OFFICIALS = frozenset({Role.OFFICER, Role.CITY_ADMIN})
V1 = "/charging/v1"
MINE, THEIRS = "999000001", "888000001"
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Row:
    """One endpoint: who may, what they get for their own station, and what for another operator's (None: it is nobody's own)."""

    method: str
    path: str
    access: Access
    own: int
    foreign: int | None = None
    body: Body | None = None
    query: str = ""


_STATION: Body = {
    "name": "a station", "position": {"lon": 109.78, "lat": 39.56}, "datum": "wgs84",
    "evses": [{"connector_id": "C1", "power_w": 7000, "current": "ac"}],
}  # fmt: skip
_STOCK: Body = {
    "on": city_day(CLOCK.now()).isoformat(), "source": "police",
    "counts": [{"vehicle_class": "bus", "drive": "bev", "standard": True, "vehicles": 3}],
}  # fmt: skip
_PLACE: Body = {"place_id": "lot-1"}
TABLE = (
    Row("GET", f"{V1}/locations", PUBLIC, 200, query="near=109.78,39.56"),
    Row("GET", f"{V1}/locations/{{location_id}}", PUBLIC, 200, foreign=200),  # a station is no secret
    Row("PUT", f"{V1}/locations/{{location_id}}", OPERATOR, 200, foreign=403, body=_STATION),  # nor who operates it
    Row("POST", f"{V1}/locations/{{location_id}}/place-claims", OPERATOR, 201, foreign=403, body=_PLACE),
    Row("GET", f"{V1}/evses/{{uid}}", PUBLIC, 200, foreign=200),
    Row("GET", f"{V1}/overview", PUBLIC, 200),
    Row("GET", f"{V1}/stream", PUBLIC, 200),
    Row("GET", f"{V1}/place-links", OFFICIALS, 200),
    Row("GET", f"{V1}/unlinked-locations", OFFICIALS, 200),
    Row("POST", f"{V1}/place-links/{{location_id}}/rejection", OFFICIALS, 404, body=_PLACE),  # nothing is proposed yet
    Row("POST", f"{V1}/place-links/{{location_id}}/withdrawal", OFFICIALS, 404, body=_PLACE),
    Row("POST", f"{V1}/place-links/{{location_id}}/confirmation", OFFICIALS, 200, body=_PLACE),
    Row("PUT", f"{V1}/vehicle-registrations", OFFICIALS, 200, body=_STOCK),
    Row("GET", f"{V1}/vehicle-registrations", OFFICIALS, 404),  # none was stated yet
    Row("GET", f"{V1}/districts", PUBLIC, 200),
    Row("GET", f"{V1}/indicators", PUBLIC, 200),
    Row("GET", f"{V1}/indicators/{{name}}", PUBLIC, 200),
    Row("GET", f"{V1}/indicators/{{name}}/history", PUBLIC, 200),
    Row("GET", f"{V1}/indicators/{{name}}/rows", OFFICIALS, 200),
)
STREAMS = {f"{V1}/stream"}  # its answer never ends: a suite of its own reads it
ASKED = [row for row in TABLE if row.path not in STREAMS]
ROWS = pytest.mark.parametrize("row", ASKED, ids=[f"{row.method} {row.path}" for row in ASKED])


@dataclass(frozen=True)
class Desk:
    """Charging's application in this process, with a station of each of two operators."""

    app: FastAPI
    own: DevIssuer
    forger: DevIssuer

    def headers(self, role: Role | None, *, operator: str = MINE, kind: str = "good") -> dict[str, str]:
        if role is None:
            return {}
        ttl = timedelta(hours=-1) if kind == "expired" else timedelta(hours=1)
        signer = self.forger if kind == "forged" else self.own
        return {"authorization": f"Bearer {signer.mint(role, subject='me', operator_id=operator, ttl=ttl)}"}

    async def ask(self, row: Row, headers: Mapping[str, str], *, operator: str = MINE) -> httpx.Response:
        path = row.path.replace("{location_id}", f"{operator}*S1").replace("{uid}", f"{operator}*S1*C1").replace("{name}", "facilities")
        transport = httpx.ASGITransport(app=self.app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(row.method, f"{path}?{row.query}", json=row.body, headers=headers)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """The application with its loops, migrated."""
    shared = SharedSettings(var=tmp_path / "var")
    ports = open_ports(shared)
    ctx = build_ctx(SERVICE, shared, ports)
    own, forger = (_issuer(shared, tmp_path / name) for name in ("own", "forger"))
    await migrate(ctx.db, SERVICE.migrations, SERVICE.metadata)
    api = build_api(SERVICE, ctx, own.key_source())
    made = Desk(api.app, own, forger)

    async def none_failing() -> bool:
        return not await api.health.failing()

    keep = next(row for row in TABLE if row.body is _STATION)
    try:
        async with supervised(api.loops):
            for operator in (MINE, THEIRS):
                answer = await made.ask(keep, made.headers(Role.CHARGING_OPERATOR, operator=operator), operator=operator)
                assert answer.status_code == 201, answer.text
            await wait_until(none_failing)
            yield made
    finally:
        await close_ports(ports)
        await ctx.db.close()


def _issuer(shared: SharedSettings, folder: Path) -> DevIssuer:
    return DevIssuer(folder, environment="development", issuer=shared.issuer, audience=shared.audience, clock=CLOCK, rng=Rng())


async def test_every_endpoint_is_in_the_table_as_it_declares_itself(desk: Desk) -> None:
    """A new endpoint, or another declaration of who may call it, fails here until the table says so too."""
    declared: dict[tuple[str, str], Access] = {}
    for found in api_routes(desk.app):
        if str(found.path).startswith(V1):
            assert isinstance(found.original_route, APIRoute)
            declared |= {(method, str(found.path)): declared_access(found.original_route) for method in found.methods or ()}
    assert declared == {(row.method, row.path): row.access for row in TABLE}


@ROWS
async def test_who_may_call_it(row: Row, desk: Desk) -> None:
    """Nobody, a forged or an expired token: 401; a role that is not named: 403; a public endpoint looks at no token."""
    unknown = row.own if row.access == PUBLIC else 401
    assert (await desk.ask(row, {})).status_code == unknown
    for role in Role:
        for kind in ("forged", "expired"):
            assert (await desk.ask(row, desk.headers(role, kind=kind))).status_code == unknown
        answer = await desk.ask(row, desk.headers(role))
        allowed = row.access == PUBLIC or role in row.access
        assert answer.status_code == (row.own if allowed else 403), (role, answer.text)
        if not allowed:
            assert answer.headers["content-type"] == problems.MEDIA_TYPE


@pytest.mark.parametrize("row", [row for row in ASKED if row.foreign], ids=[f"{row.method} {row.path}" for row in ASKED if row.foreign])
async def test_what_belongs_to_another(row: Row, desk: Desk) -> None:
    """Each role that may call it, on a station of another operator."""
    for role in Role if row.access == PUBLIC else row.access:
        answer = await desk.ask(row, desk.headers(role), operator=THEIRS)
        assert answer.status_code == row.foreign, (role, answer.text)
