"""The edge of every service: headers, limits, probes, documentation pages, and where a request comes from."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from cityloop_common import auth, http, telemetry
from tests.support import PATIENCE_S, wait_until
from tests.unit.common.edge import Edge, client_of

routes = APIRouter()
Anyone = Annotated[auth.Principal, Depends(auth.public)]


@routes.post("/echo")
async def echo(request: Request, _: Anyone) -> int:
    return len(await request.body())


@routes.post("/json")
async def take(body: dict[str, str], _: Anyone) -> int:
    return len(body)


@routes.get("/network")
async def network(caller: Anyone) -> str:
    return caller.network


@routes.get("/page")
async def page(_: Anyone) -> Response:
    return Response("x", headers={"content-security-policy": "default-src 'self'", "cache-control": "max-age=5"})


@routes.get("/things/{thing_id}")
async def thing(thing_id: str, _: Anyone) -> Response:
    return http.json_response({"id": thing_id})


@pytest.fixture
async def client(at_edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(at_edge.app(routes)) as made:
        yield made


async def test_every_answer_has_the_headers(client: httpx.AsyncClient) -> None:
    """Answers, problems and unknown addresses alike."""
    for path in ("/tiny/v1/network", "/tiny/v1/none", "/healthz/live", "/tiny/v1/docs"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-request-id"]


async def test_a_routes_own_headers_win(client: httpx.AsyncClient) -> None:
    """A page that needs more says so itself."""
    headers = (await client.get("/tiny/v1/page", headers={"authorization": "Bearer x"})).headers
    assert (headers.get_list("content-security-policy"), headers["cache-control"]) == (["default-src 'self'"], "max-age=5")


async def test_answers_to_a_token_are_not_stored(client: httpx.AsyncClient) -> None:
    """What one caller may see is not kept for the next."""
    assert (await client.get("/tiny/v1/network", headers={"authorization": "Bearer x"})).headers["cache-control"] == "no-store"


async def _in_parts(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield b"x" * 1000


@pytest.mark.parametrize("path", ["/tiny/v1/echo", "/tiny/v1/json"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_body_over_the_limit_is_413(client: httpx.AsyncClient, path: str, streamed: bool) -> None:
    """With a length or without, and whoever reads it."""
    body = _in_parts(1_100_000) if streamed else b"x" * 1_100_000
    answer = await client.post(path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:cityloop:problem:too-large")


async def test_a_body_up_to_the_limit_passes(client: httpx.AsyncClient) -> None:
    """One mebibyte is allowed."""
    assert (await client.post("/tiny/v1/echo", content=b"x" * 1024 * 1024)).json() == 1024 * 1024


@pytest.mark.parametrize("path", ["/tiny/v1/things/a%00b", "/tiny/v1/things/a?near=%00"])
async def test_a_nul_character_is_the_callers_fault(client: httpx.AsyncClient, path: str) -> None:
    """PostgreSQL cannot hold it: it never gets there."""
    assert (await client.get(path)).status_code == 400


@pytest.mark.parametrize(
    "peer, forwarded, expected",
    [
        ("203.0.113.9", None, "203.0.113.0/24"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.0/24"),  # not a proxy of ours: its word does not count
        ("10.1.2.3", "198.51.100.1", "198.51.100.0/24"),
        ("10.1.2.3", "1.1.1.1, 198.51.100.1, 10.9.9.9", "198.51.100.0/24"),  # what stands left was written by the caller
        ("10.1.2.3", "rubbish", "10.1.2.0/24"),
        ("10.1.2.3", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", None, "203.0.113.0/24"),
        ("2001:db8::1", None, "2001:db8::/64"),
        ("fe80::1%eth0", None, "fe80::/64"),
        ("testclient", None, "unknown"),
    ],
)
async def test_the_network_is_told_by_trusted_proxies_only(at_edge: Edge, peer: str, forwarded: str | None, expected: str) -> None:
    """Nobody chooses the network that their limits are counted in."""
    app = at_edge.app(routes, config=http.HttpConfig(trusted_proxies=http.parse_networks(["10.0.0.0/8"])))
    async with client_of(app, address=peer) as client:
        answer = await client.get("/tiny/v1/network", headers={} if forwarded is None else {"x-forwarded-for": forwarded})
    assert answer.json() == expected


@pytest.mark.parametrize("peer, kept", [("10.1.2.3", True), ("203.0.113.9", False)])
async def test_a_request_id_is_kept_from_proxies_only(at_edge: Edge, peer: str, kept: bool) -> None:
    """One id through balancer and service, and no text of a caller in our logs."""
    app = at_edge.app(routes, config=http.HttpConfig(trusted_proxies=http.parse_networks(["10.0.0.0/8"])))
    async with client_of(app, address=peer) as client:
        answer = await client.get("/tiny/v1/network", headers={"x-request-id": "balancer-0001"})
    assert (answer.headers["x-request-id"] == "balancer-0001") is kept


async def test_the_access_line_tells_the_route_and_no_value(client: httpx.AsyncClient) -> None:
    """Neither path nor query values, which may be a plate, reach the log."""
    out = io.StringIO()
    telemetry.configure_logging(stream=out)
    await client.get("/tiny/v1/things/蒙KA1234?phone=13900001111")
    await client.get("/蒙KA1234")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["route"], line["status"]) for line in lines] == [("/tiny/v1/things/{thing_id}", 200), ("unmatched", 404)]
    assert "KA1234" not in out.getvalue()
    assert "13900001111" not in out.getvalue()


async def test_requests_are_measured_by_route(client: httpx.AsyncClient) -> None:
    """A million ids are one label."""
    before = http.REQUEST_SECONDS.count("tiny", "/tiny/v1/things/{thing_id}", "GET", "2xx")
    for number in range(3):
        await client.get(f"/tiny/v1/things/{number}")
    assert http.REQUEST_SECONDS.count("tiny", "/tiny/v1/things/{thing_id}", "GET", "2xx") == before + 3
    assert "http_request_seconds_bucket" in (await client.get("/metrics")).text


async def test_ready_means_every_check_passes(at_edge: Edge) -> None:
    """The failing part is named, its secrets are not."""
    broken = True

    async def database() -> None:
        if broken:
            raise ConnectionError("password=hunter2")

    at_edge.health.checks = {"database": database}
    async with client_of(at_edge.app(routes)) as client:
        answer = await client.get("/healthz/ready")
        assert (answer.status_code, answer.json()) == (503, {"status": "not-ready", "failing": {"database": "ConnectionError"}})
        broken = False
        assert (await client.get("/healthz/ready")).json() == {"status": "ready", "failing": {}}


async def test_a_draining_process_is_live_and_not_ready(at_edge: Edge) -> None:
    """The balancer goes elsewhere, the cluster does not kill it."""
    async with client_of(at_edge.app(routes)) as client:
        at_edge.health.drain()
        assert (await client.get("/healthz/ready")).status_code == 503
        assert (await client.get("/healthz/live")).status_code == 200


async def test_a_worker_serves_probes(at_edge: Edge) -> None:
    """The same addresses without an API."""
    async with client_of(http.create_probe_app(at_edge.health)) as client:
        assert (await client.get("/healthz/ready")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200


async def test_in_flight_requests_can_be_waited_for(at_edge: Edge) -> None:
    """A drain ends when the last answer is out."""
    held, release = asyncio.Event(), asyncio.Event()
    slow = APIRouter()

    @slow.get("/slow")
    async def wait(_: Anyone) -> None:
        held.set()
        await release.wait()

    app = at_edge.app(slow)
    async with client_of(app) as client, asyncio.TaskGroup() as tasks:
        tasks.create_task(client.get("/tiny/v1/slow"))
        await held.wait()
        assert app.state.in_flight.count == 1
        release.set()
        async with asyncio.timeout(PATIENCE_S):
            await app.state.in_flight.idle()
    await wait_until(lambda: app.state.in_flight.count == 0)


async def test_the_docs_load_nothing_from_another_host(client: httpx.AsyncClient) -> None:
    """Page, script, style and start code come from us, and the policy allows nothing else."""
    page = await client.get("/tiny/v1/docs")
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    assert "https:" not in page.headers["content-security-policy"]
    assert "'unsafe-inline'" not in page.headers["content-security-policy"].split("style-src")[0]
    for name in re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text):
        answer = await client.get(f"/tiny/v1/{name}")
        assert answer.status_code == 200
        assert len(answer.content) > 50
    assert (await client.get("/tiny/v1/docs/../http.py")).status_code == 404
    assert (await client.get("/tiny/v1/docs/core.py")).status_code == 404


async def test_the_description_names_the_roles(at_edge: Edge) -> None:
    """Who may call what is in the OpenAPI document."""
    guarded = APIRouter()

    @guarded.get("/guarded")
    async def route(_: Annotated[auth.Principal, Depends(auth.allow(auth.Role.CREW))]) -> None: ...

    async with client_of(at_edge.app(guarded, routes)) as client:
        document = (await client.get("/tiny/v1/openapi.json")).json()
    operation = document["paths"]["/tiny/v1/guarded"]["get"]
    assert (operation["security"], operation["x-roles"]) == ([{"bearer": []}], ["crew"])
    assert "security" not in document["paths"]["/tiny/v1/network"]["get"]
    assert "/healthz/live" not in document["paths"]
