"""The development issuer: one key file of the owner's, this machine only, never in production."""

import os
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from cityloop_common import issuer, problems
from cityloop_common.auth import Role
from cityloop_common.clock import ManualClock
from cityloop_common.network import Network, parse_networks
from cityloop_common.rng import Rng
from tests.unit.common.edge import START, Edge, client_of


def dev(folder: Path, environment: str = "development", seed: str = "x") -> issuer.DevIssuer:
    return issuer.DevIssuer(
        folder,
        environment="production" if environment == "production" else "development",
        issuer="urn:test:issuer",
        audience="cityloop",
        clock=ManualClock(START),
        rng=Rng(seed),
    )


def app_of(at_edge: Edge, *, reachable_from: tuple[Network, ...] = ()) -> FastAPI:
    app = FastAPI()
    problems.install(app)
    app.include_router(issuer.router(at_edge.issuer, reachable_from=reachable_from))
    return app


@pytest.fixture
async def client(at_edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app_of(at_edge), address="127.0.0.1") as made:
        made.base_url = httpx.URL("http://localhost:8080")
        yield made


def test_it_refuses_production(tmp_path: Path) -> None:
    """And leaves no key behind."""
    with pytest.raises(issuer.IssuerRefused, match="production"):
        dev(tmp_path, "production")
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """A second process has the same key."""
    first, second = dev(tmp_path, seed="a"), dev(tmp_path, seed="b")
    assert first.jwks() == second.jwks()
    assert [path.name for path in tmp_path.iterdir()] == [issuer.KEY_FILE]
    assert stat.S_IMODE((tmp_path / issuer.KEY_FILE).stat().st_mode) == 0o600


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Says what to do."""
    dev(tmp_path)
    os.chmod(tmp_path / issuer.KEY_FILE, 0o644)
    with pytest.raises(issuer.IssuerRefused, match="chmod 600"):
        dev(tmp_path)


async def test_a_minted_token_verifies(at_edge: Edge) -> None:
    """Role, subject, operator and time to live arrive."""
    token = at_edge.issuer.mint(Role.LOT_OPERATOR, subject="x", operator_id="op", ttl=timedelta(minutes=1))
    identity = await at_edge.verifier().verify(token)
    assert (identity.subject, identity.roles, identity.operator_id) == ("x", frozenset({Role.LOT_OPERATOR}), "op")
    assert identity.expires_at == START.timestamp() + 60 + 10


def test_the_key_set_has_no_private_part(at_edge: Edge) -> None:
    """Only what everybody may know."""
    assert b'"d"' not in at_edge.issuer.jwks()


async def test_the_endpoint_gives_tokens_to_this_machine(at_edge: Edge, client: httpx.AsyncClient) -> None:
    """A POST with a role."""
    answer = await client.post("/issuer/token", json={"role": "officer"})
    identity = await at_edge.verifier().verify(answer.json()["access_token"])
    assert identity.roles == {Role.OFFICER}
    assert (await client.get("/issuer/jwks.json")).json()["keys"][0]["kty"] == "OKP"


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}, {"host": "["}, {"origin": "http://["}],
)
async def test_web_pages_elsewhere_get_nothing(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Neither by their origin nor by a name of theirs that points here."""
    assert (await client.post("/issuer/token", json={"role": "officer"}, headers=headers)).status_code == 403


async def test_other_machines_get_nothing(at_edge: Edge) -> None:
    """The loopback only."""
    async with client_of(app_of(at_edge), address="203.0.113.9") as client:
        answer = await client.post("http://localhost/issuer/token", json={"role": "officer"})
    assert answer.status_code == 403


async def test_a_named_network_gets_tokens_by_any_name(at_edge: Edge) -> None:
    """Between containers the issuer has a name; a web page still gets nothing."""
    app = app_of(at_edge, reachable_from=parse_networks(["172.16.0.0/12"]))
    async with client_of(app, address="172.18.0.3") as client:
        assert (await client.post("http://issuer:8080/issuer/token", json={"role": "officer"})).status_code == 200
        headers = {"origin": "http://issuer:8080"}
        assert (await client.post("http://issuer:8080/issuer/token", json={"role": "officer"}, headers=headers)).status_code == 403
