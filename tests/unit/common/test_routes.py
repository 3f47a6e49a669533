"""A standard that a service speaks tells every refusal in its own words; a direct route declares that it is public."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from cityloop_common import auth, http, problems
from cityloop_common.auth import NoAccessDeclared
from cityloop_common.errors import CityLoopError, Conflict
from cityloop_common.routes import DirectRoute, SpokenProtocol
from tests.unit.common.edge import Edge, client_of

LIMIT = 1000
standard = APIRouter()
own = APIRouter()
PUBLIC = [Depends(auth.public)]


@standard.post("/echo", dependencies=PUBLIC)
async def echo(body: dict[str, str]) -> dict[str, str]:
    return body


@standard.post("/direct", dependencies=PUBLIC)
async def direct(request: Request) -> Response:
    return Response(await request.body())


@standard.post("/conflict", dependencies=PUBLIC)
async def conflict() -> None:
    raise Conflict


@standard.post("/broken", dependencies=PUBLIC)
async def broken() -> None:
    raise RuntimeError("nobody foresaw it")


@own.post("/conflict", dependencies=PUBLIC)
async def own_conflict() -> None:
    raise Conflict


def said(_request: Request, error: Exception) -> Response:
    return http.json_response({"Ret": error.status if isinstance(error, CityLoopError) else type(error).__name__})


SPOKEN = SpokenProtocol("/std/v1", standard, said)


@pytest.fixture
async def client(at_edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    app = at_edge.app(own, protocols=[SPOKEN], config=http.HttpConfig(body_limit_bytes=LIMIT))
    async with client_of(app) as made:
        yield made


async def test_a_protocol_answers_below_its_own_prefix(client: httpx.AsyncClient) -> None:
    """Beside `/v1`, not below it."""
    assert (await client.post("/tiny/std/v1/echo", json={"a": "b"})).json() == {"a": "b"}
    assert (await client.post("/tiny/v1/std/v1/echo", json={})).status_code == 404


@pytest.mark.parametrize(
    "method, path, body, ret",
    [
        ("POST", "/conflict", b"", 409),
        ("POST", "/broken", b"", "RuntimeError"),
        ("POST", "/echo", b"{", "RequestValidationError"),
        ("POST", "/echo", b"[1]", "RequestValidationError"),
        ("POST", "/none", b"", "HTTPException"),
        ("GET", "/echo", b"", "HTTPException"),
        ("POST", "/echo", b"x" * (LIMIT + 1), 413),
        ("POST", "/echo?a=%00", b"", 400),
    ],
)
async def test_every_refusal_is_told_in_the_standards_words(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, ret: object
) -> None:
    """What handlers raise, what nobody foresaw, what the framework and the edge refuse."""
    answer = await client.request(method, f"/tiny/std/v1{path}", content=body)
    assert (answer.status_code, answer.json()) == (200, {"Ret": ret})
    assert answer.headers["x-request-id"]


async def test_a_body_of_unknown_length_stops_at_the_limit_in_the_standards_words(client: httpx.AsyncClient) -> None:
    """Also where the handler itself reads the body."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * (LIMIT // 2)

    answer = await client.post("/tiny/std/v1/direct", content=endless())
    assert answer.json() == {"Ret": "HTTPException"}


@pytest.mark.parametrize("path", ["/tiny/v1/conflict", "/tiny/std", "/tiny/std/v10/echo", "/elsewhere"])
async def test_other_addresses_keep_their_problems(client: httpx.AsyncClient, path: str) -> None:
    """Only what lies below the prefix is the standard's."""
    answer = await client.post(path)
    assert answer.headers["content-type"] == problems.MEDIA_TYPE


def test_a_protocols_route_declares_who_may_call_it(at_edge: Edge) -> None:
    """As every route does."""
    silent = APIRouter()
    silent.add_api_route("/silent", echo, methods=["POST"])
    with pytest.raises(NoAccessDeclared):
        at_edge.app(protocols=[SpokenProtocol("/std/v1", silent, said)])


async def test_a_direct_route_has_nothing_for_the_framework_to_resolve() -> None:
    """Parameters and other dependencies would be ignored in silence: they are refused."""

    async def asks(request: Request, limit: int = 1) -> Response:
        return Response()

    async def needs(request: Request, _: Annotated[auth.Principal, Depends(auth.allow(auth.Role.CREW))]) -> Response:
        return Response()

    for endpoint in (asks, needs):
        router = APIRouter()
        with pytest.raises(TypeError):
            router.add_api_route("/x", endpoint, dependencies=PUBLIC, route_class_override=DirectRoute)
