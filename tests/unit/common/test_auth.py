"""Who may call what: tokens, roles, links, and the declaration of every route."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from cityloop_common import auth, http, jwks
from cityloop_common.auth import AuthConfig, Principal, Role, allow
from cityloop_common.clock import ManualClock
from cityloop_common.errors import Unauthenticated, Unavailable
from tests.unit.common.edge import AUDIENCE, ISSUER, START, Edge, bearer, client_of, edge

NOW = int(START.timestamp())
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "exp": NOW + 60, "roles": ["citizen"]}
routes = APIRouter()


@routes.get("/me")
async def me(caller: Annotated[Principal, Depends(allow(Role.CITIZEN, Role.LOT_OPERATOR, Role.GUEST))]) -> dict[str, object]:
    return {"subject": caller.subject, "operator": caller.operator_id, "network": caller.network}


@routes.get("/reservations/{reservation_id}")
async def reservation(reservation_id: str, caller: Annotated[Principal, Depends(allow(Role.GUEST))]) -> str:
    return caller.subject


@routes.get("/places")
async def places(caller: Annotated[Principal, Depends(auth.public)]) -> str:
    return caller.subject


@routes.get("/maybe")
async def maybe(caller: Annotated[Principal, Depends(auth.optional)]) -> str:
    return caller.subject


@pytest.fixture
async def client(at_edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(at_edge.app(routes)) as made:
        yield made


class Provider:
    """An identity provider with keys of several kinds, that can be away."""

    def __init__(self) -> None:
        self.keys: dict[str, ECKey | RSAKey] = {
            "e": ECKey.generate_key("P-256", {"kid": "e"}),
            "r": RSAKey.generate_key(2048, {"kid": "r"}),
        }
        self.fetches = 0
        self.away = False

    async def fetch(self) -> bytes:
        self.fetches += 1
        if self.away:
            raise Unavailable
        listed = [key.as_dict(private=False) for key in self.keys.values()]
        return json.dumps({"keys": [*listed, {"kty": "oct", "kid": "o", "k": "c2VjcmV0"}, {"kty": "EC", "kid": "broken"}]}).encode()

    def sign(self, kid: str, algorithm: str, **claims: object) -> str:
        return jws.serialize_compact({"alg": algorithm, "kid": kid}, json.dumps({**CLAIMS, **claims}), self.keys[kid], [algorithm])


@pytest.fixture(scope="module")
def provider_keys() -> Provider:
    return Provider()


@pytest.fixture
def provider(provider_keys: Provider) -> Provider:
    fresh = Provider.__new__(Provider)
    fresh.keys, fresh.fetches, fresh.away = dict(provider_keys.keys), 0, False
    return fresh


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def verifier(provider: Provider, clock: ManualClock) -> auth.BearerVerifier:
    return auth.BearerVerifier(AuthConfig(ISSUER, AUDIENCE), keys=provider.fetch, clock=clock)


async def test_a_token_of_the_issuer_names_its_bearer(at_edge: Edge, client: httpx.AsyncClient) -> None:
    """Subject, operator and network reach the handler."""
    token = at_edge.issuer.mint(Role.LOT_OPERATOR, subject="lee", operator_id="op-1")
    answer = await client.get("/tiny/v1/me", headers=bearer(token))
    assert answer.json() == {"subject": "lee", "operator": "op-1", "network": "203.0.113.0/24"}


@pytest.mark.parametrize("kid, algorithm", [("e", "ES256"), ("r", "RS256")])
async def test_public_key_signatures_are_accepted(verifier: auth.BearerVerifier, provider: Provider, kid: str, algorithm: str) -> None:
    """ES256 and RS256 tokens of the provider verify."""
    assert (await verifier.verify(provider.sign(kid, algorithm))).roles == {Role.CITIZEN}


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "urn:other"},
        {"aud": "other"},
        {"aud": ["x", "y"]},
        {"aud": None},
        {"exp": NOW - 11},
        {"exp": None},
        {"exp": "soon"},
        {"exp": float("nan")},
        {"exp": 1e30},
        {"exp": True},
        {"nbf": NOW + 60},
        {"nbf": None},
        {"sub": ""},
        {"sub": 7},
        {"iss": ["urn:test:issuer"]},
    ],
)
async def test_wrong_claims_are_refused(verifier: auth.BearerVerifier, provider: Provider, claims: dict[str, object]) -> None:
    """Issuer, audience, times and subject must all be right."""
    with pytest.raises(Unauthenticated):
        await verifier.verify(provider.sign("e", "ES256", **claims))


def _b64(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def forged(provider: Provider) -> dict[str, str]:
    good = provider.sign("e", "ES256")
    head, body, signature = good.split(".")
    public = json.dumps(provider.keys["r"].as_dict(private=False)).encode()
    return {
        "none": f"{_b64({'alg': 'none', 'kid': 'e'})}.{body}.",
        "unsigned": f"{head}.{body}.",
        "other body": f"{head}.{_b64({**CLAIMS, 'roles': ['city_admin']})}.{signature}",
        "public key as secret": jws.serialize_compact(
            {"alg": "HS256", "kid": "r"}, json.dumps(CLAIMS), OctKey.import_key(public), ["HS256"]
        ),
        "symmetric key of the set": jws.serialize_compact(
            {"alg": "HS256", "kid": "o"}, json.dumps(CLAIMS), OctKey.import_key("c2VjcmV0" * 8), ["HS256"]
        ),
        "other key": jws.serialize_compact({"alg": "ES256", "kid": "e"}, json.dumps(CLAIMS), ECKey.generate_key("P-256"), ["ES256"]),
        "key inside": jws.serialize_compact(
            {"alg": "ES256", "jwk": {"kty": "EC"}}, json.dumps(CLAIMS), ECKey.generate_key("P-256"), ["ES256"]
        ),
        "wrong kind of key": jws.serialize_compact({"alg": "RS256", "kid": "e"}, json.dumps(CLAIMS), provider.keys["r"], ["RS256"]),
        "claims are a list": jws.serialize_compact({"alg": "ES256", "kid": "e"}, "[1]", provider.keys["e"], ["ES256"]),
        "algorithm is a list": f"{_b64({'alg': ['ES256'], 'kid': 'e'})}.{body}.{signature}",
        "algorithm is an object": f"{_b64({'alg': {}, 'kid': 'e'})}.{body}.{signature}",
        "key id is a list": f"{_b64({'alg': 'ES256', 'kid': ['e']})}.{body}.{signature}",
        "rubbish": "a.b.c",
        "one part": "abc",
        "empty": "",
        "not ascii": "é.é.é",
        "huge": "a" * 100_000,
    }


@pytest.mark.parametrize("kind", forged(Provider()))
async def test_forged_tokens_are_refused(verifier: auth.BearerVerifier, provider: Provider, kind: str) -> None:
    """Whatever is not signed by a public key of the set is 401, never a 500."""
    with pytest.raises(Unauthenticated):
        await verifier.verify(forged(provider)[kind])


async def test_a_token_is_believed_until_it_expires(verifier: auth.BearerVerifier, provider: Provider, clock: ManualClock) -> None:
    """A remembered token expires like any other."""
    token = provider.sign("e", "ES256")
    await verifier.verify(token)
    clock.advance(69)
    await verifier.verify(token)
    clock.advance(2)
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_unknown_keys_are_asked_for_once_a_minute(verifier: auth.BearerVerifier, provider: Provider, clock: ManualClock) -> None:
    """A flood of forged key ids costs the provider one request a minute."""
    token = provider.sign("e", "ES256", exp=NOW + 9999)
    await verifier.verify(token)
    stranger = jws.serialize_compact({"alg": "ES256", "kid": "new"}, json.dumps(CLAIMS), provider.keys["e"], ["ES256"])
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            await verifier.verify(stranger)
    assert provider.fetches == 1
    clock.advance(60)
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            await verifier.verify(stranger)
    assert provider.fetches == 2


async def test_a_new_key_is_found(verifier: auth.BearerVerifier, provider: Provider, clock: ManualClock) -> None:
    """A key that the provider has changed works after at most a minute."""
    await verifier.verify(provider.sign("e", "ES256"))
    provider.keys["n"] = ECKey.generate_key("P-256", {"kid": "n"})
    clock.advance(60)
    token = provider.sign("n", "ES256", exp=NOW + 999)
    assert (await verifier.verify(token)).subject == "s"


async def test_a_withdrawn_key_ends_its_tokens(verifier: auth.BearerVerifier, provider: Provider, clock: ManualClock) -> None:
    """Once the set without the key has been fetched, remembered tokens of it are no longer believed."""
    token = provider.sign("e", "ES256", exp=NOW + 9999)
    await verifier.verify(token)
    del provider.keys["e"]
    clock.advance(601)
    await verifier.verify(provider.sign("r", "RS256", exp=NOW + 9999))
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_a_withdrawn_key_is_noticed_without_other_tokens(
    verifier: auth.BearerVerifier, provider: Provider, clock: ManualClock
) -> None:
    """A token that is remembered is looked at again within ten minutes, though nobody else asks for the keys."""
    token = provider.sign("e", "ES256", exp=NOW + 9999)
    await verifier.verify(token)
    del provider.keys["e"]
    for _ in range(12):
        clock.advance(100)
        with suppress(Unauthenticated):
            await verifier.verify(token)
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_a_lost_provider_stops_nobody_whose_key_is_known(
    verifier: auth.BearerVerifier, provider: Provider, clock: ManualClock
) -> None:
    """The keys that were fetched go on."""
    await verifier.verify(provider.sign("e", "ES256"))
    provider.away = True
    clock.advance(3600)
    assert await verifier.verify(provider.sign("r", "RS256", exp=NOW + 9999))


async def test_without_any_key_the_answer_is_try_again(verifier: auth.BearerVerifier, provider: Provider, clock: ManualClock) -> None:
    """Cold and without a provider: 503, one attempt a second, and right as soon as the provider is back."""
    provider.away = True
    for _ in range(5):
        with pytest.raises(Unavailable):
            await verifier.verify(provider.sign("e", "ES256"))
    assert provider.fetches == 1
    provider.away = False
    clock.advance(1)
    assert await verifier.verify(provider.sign("e", "ES256"))


@pytest.mark.parametrize(
    "answer", [httpx.Response(500), httpx.Response(302, headers={"location": "/x"}), httpx.Response(200, content=b" " * 300_000)]
)
async def test_a_bad_key_set_answer_is_unavailable(answer: httpx.Response) -> None:
    """Errors, redirects and floods of bytes are not followed."""

    async def answered(_: httpx.Request) -> httpx.Response:
        return answer

    with pytest.raises(Unavailable):
        await jwks.jwks_over_http("https://idp.example/keys", transport=httpx.MockTransport(answered))()


async def test_roles_come_from_the_configured_claim(provider: Provider, clock: ManualClock) -> None:
    """A dotted claim and a map of names; names that are no role are ignored."""
    config = AuthConfig(ISSUER, AUDIENCE, role_claim="realm.roles", role_map={"staff": Role.OFFICER}, operator_claim="org")
    verifier = auth.BearerVerifier(config, keys=provider.fetch, clock=clock)
    identity = await verifier.verify(provider.sign("e", "ES256", realm={"roles": ["staff", "crew", "root", 7]}, org="o1"))
    assert (identity.roles, identity.operator_id) == (frozenset({Role.OFFICER, Role.CREW}), "o1")


@pytest.mark.parametrize("algorithms", [("HS256",), ("none",), ("ES256", "HS256"), ()])
def test_only_public_key_algorithms_can_be_configured(algorithms: tuple[str, ...]) -> None:
    """A setting cannot open the door to forged tokens."""
    with pytest.raises(ValueError, match="public keys"):
        AuthConfig(ISSUER, AUDIENCE, algorithms=algorithms)


@pytest.mark.parametrize("header", [None, "", "Basic abc", "Bearer", "Bearer ", "Bearer x y"])
async def test_no_token_is_401(client: httpx.AsyncClient, header: str | None) -> None:
    """And it says how to come."""
    answer = await client.get("/tiny/v1/me", headers={} if header is None else {"authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_another_role_is_403(at_edge: Edge, client: httpx.AsyncClient) -> None:
    """A known caller who may not."""
    assert (await client.get("/tiny/v1/me", headers=bearer(at_edge.issuer.mint(Role.CREW)))).status_code == 403


async def test_public_routes_do_not_look_at_tokens(client: httpx.AsyncClient) -> None:
    """Even a broken token cannot keep anyone from public data."""
    answer = await client.get("/tiny/v1/places", headers=bearer("rubbish"))
    assert (answer.status_code, answer.json()) == (200, "")


async def test_optional_routes_refuse_bad_tokens(at_edge: Edge, client: httpx.AsyncClient) -> None:
    """Nobody, somebody, and a 401 rather than a silent nobody."""
    assert (await client.get("/tiny/v1/maybe")).json() == ""
    assert (await client.get("/tiny/v1/maybe", headers=bearer(at_edge.issuer.mint(Role.CITIZEN, subject="c")))).json() == "c"
    assert (await client.get("/tiny/v1/maybe", headers=bearer("rubbish"))).status_code == 401


async def test_a_link_opens_its_own_reservation_only(at_edge: Edge, client: httpx.AsyncClient) -> None:
    """Another reservation is not found, and everything else is forbidden."""
    guest = at_edge.guests.new_guest()
    link = bearer(at_edge.guests.link("r1", subject=guest.subject, lasts=timedelta(days=1)).token)
    assert (await client.get("/tiny/v1/reservations/r1", headers=link)).json() == guest.subject
    assert (await client.get("/tiny/v1/reservations/r2", headers=link)).status_code == 404
    assert (await client.get("/tiny/v1/me", headers=link)).status_code == 403
    assert (await client.get("/tiny/v1/maybe", headers=link)).json() == ""


async def test_every_route_says_who_may_call_it(at_edge: Edge) -> None:
    """The application does not start with a route that says nothing."""
    silent = APIRouter()

    @silent.get("/open")
    async def opened() -> None: ...

    with pytest.raises(auth.NoAccessDeclared, match="/open"):
        at_edge.app(silent)


async def test_a_route_cannot_say_two_things(at_edge: Edge) -> None:
    """Public and guarded at once is a mistake."""
    torn = APIRouter()

    @torn.get("/torn", dependencies=[Depends(auth.public)])
    async def torn_route(_: Annotated[Principal, Depends(allow(Role.CREW))]) -> None: ...

    with pytest.raises(auth.NoAccessDeclared, match="/torn"):
        at_edge.app(torn)


async def test_declarations_can_be_listed(at_edge: Edge) -> None:
    """The table of routes and roles is read from the routes themselves."""
    found = {(route.path, *sorted(route.methods or ())): auth.declared_access(route) for route in http.api_routes(at_edge.app(routes))}
    assert found == {
        ("/tiny/v1/me", "GET"): {Role.CITIZEN, Role.LOT_OPERATOR, Role.GUEST},
        ("/tiny/v1/reservations/{reservation_id}", "GET"): {Role.GUEST},
        ("/tiny/v1/places", "GET"): "public",
        ("/tiny/v1/maybe", "GET"): "public",
    }


async def test_two_services_keep_their_guests_apart(at_edge: Edge, tmp_path: Path) -> None:
    """A guest of one service is nobody in another, even with the same key."""
    other = edge(tmp_path / "other")
    verifier = auth.BearerVerifier(AuthConfig(ISSUER, AUDIENCE), keys=other.issuer.key_source(), clock=other.clock)
    with pytest.raises(Unauthenticated):
        await verifier.verify(at_edge.guests.new_guest().token)
