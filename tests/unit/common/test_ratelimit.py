"""Limits count callers or networks, end with the minute, and never stop the city with the cache."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends

from cityloop_common import auth
from cityloop_common.auth import Principal, Role
from cityloop_common.cache import open_cache
from cityloop_common.ratelimit import By, limit
from tests.unit.common.edge import Edge, bearer, client_of

routes = APIRouter()
Citizen = Annotated[Principal, Depends(auth.allow(Role.CITIZEN))]


@routes.get("/mine", dependencies=[Depends(limit("mine", per_minute=2, by=By.SUBJECT))])
async def mine(_: Citizen) -> None: ...


@routes.get("/ours", dependencies=[Depends(limit("ours", per_minute=lambda _: 2, by=By.NETWORK))])
async def ours(_: Annotated[Principal, Depends(auth.public)]) -> None: ...


@pytest.fixture
async def client(at_edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(at_edge.app(routes)) as made:
        yield made


async def statuses(client: httpx.AsyncClient, path: str, times: int, **headers: str) -> list[int]:
    return [(await client.get(path, headers=headers)).status_code for _ in range(times)]


async def test_a_caller_has_a_limit_of_its_own(at_edge: Edge, client: httpx.AsyncClient) -> None:
    """One who asks too often does not stop another."""
    one, other = (bearer(at_edge.issuer.mint(Role.CITIZEN, subject=name)) for name in ("a", "b"))
    assert await statuses(client, "/tiny/v1/mine", 3, **one) == [200, 200, 429]
    assert await statuses(client, "/tiny/v1/mine", 1, **other) == [200]


async def test_a_limit_ends_with_the_minute_and_says_so(at_edge: Edge, client: httpx.AsyncClient) -> None:
    """Retry-After is the rest of the window."""
    at_edge.clock.advance(18)
    await statuses(client, "/tiny/v1/ours", 2)
    refused = await client.get("/tiny/v1/ours")
    assert (refused.status_code, refused.headers["retry-after"], refused.json()["limit"]) == (429, "42", "ours")
    at_edge.clock.advance(42)
    assert await statuses(client, "/tiny/v1/ours", 1) == [200]


async def test_a_network_shares_its_limit(at_edge: Edge) -> None:
    """Neighbours in one /24 count together, others do not."""
    app = at_edge.app(routes)
    for address, expected in (("198.51.100.1", 200), ("198.51.100.2", 200), ("198.51.100.3", 429), ("198.51.101.1", 200)):
        async with client_of(app, address=address) as client:
            assert await statuses(client, "/tiny/v1/ours", 1) == [expected]


async def test_a_lost_cache_allows(at_edge: Edge) -> None:
    """Redis away: everyone passes."""
    at_edge.ctx = replace(at_edge.ctx, cache=open_cache("redis://127.0.0.1:1", clock=at_edge.clock))
    async with client_of(at_edge.app(routes)) as client:
        assert await statuses(client, "/tiny/v1/ours", 4) == [200] * 4
