"""A small service at the edge: an application with a clock that stands still, an issuer of its own and a cache in memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
from fastapi import APIRouter, FastAPI

from cityloop_common import http
from cityloop_common.auth import AuthConfig, BearerVerifier, TokenVerifier
from cityloop_common.cache import Cache, open_cache
from cityloop_common.clock import Clock, ManualClock
from cityloop_common.guests import GuestConfig, Guests
from cityloop_common.ids import Ids
from cityloop_common.issuer import DevIssuer
from cityloop_common.jwks import KeySource
from cityloop_common.rng import Rng
from cityloop_common.routes import SpokenProtocol

START = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
ISSUER, AUDIENCE = "urn:test:issuer", "cityloop"
GUEST_KEY = b"k" * 32


@dataclass(frozen=True, slots=True)
class TinyCtx:
    """What the edge uses of a context."""

    clock: Clock
    ids: Ids
    rng: Rng
    cache: Cache
    service: str = "tiny"


@dataclass(slots=True)
class Edge:
    """Everything a test needs to make requests as anybody."""

    clock: ManualClock
    rng: Rng
    issuer: DevIssuer
    guests: Guests
    ctx: TinyCtx
    health: http.Health = field(default_factory=http.Health)

    def verifier(self, keys: KeySource | None = None) -> BearerVerifier:
        """The verifier that a service builds from its settings."""
        local: Mapping[str, TokenVerifier] = {self.guests.issuer: self.guests}
        return BearerVerifier(AuthConfig(ISSUER, AUDIENCE), keys=keys or self.issuer.key_source(), clock=self.clock, local=local)

    def app(self, *routers: APIRouter, protocols: Sequence[SpokenProtocol] = (), config: http.HttpConfig | None = None) -> FastAPI:
        """The service's application with these routes."""
        return http.create_app(
            self.ctx,
            title="Tiny",
            version="1",
            routers=routers,
            verifier=self.verifier(),
            health=self.health,
            protocols=protocols,
            config=config,
        )


def edge(folder: Path, *, seed: str = "edge") -> Edge:
    """A fresh edge whose key file is in `folder`."""
    clock, rng = ManualClock(START), Rng(seed)
    issuer = DevIssuer(folder, environment="development", issuer=ISSUER, audience=AUDIENCE, clock=clock, rng=rng)
    guests = Guests(GuestConfig("tiny", [GUEST_KEY]), clock=clock, rng=rng)
    ctx = TinyCtx(clock, Ids(clock, rng.stream("ids")), rng, open_cache("memory:", clock=clock))
    return Edge(clock, rng, issuer, guests, ctx)


@asynccontextmanager
async def client_of(app: FastAPI, *, address: str = "203.0.113.9", raise_errors: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """Requests to the application without a socket, from an address."""
    transport = httpx.ASGITransport(app=app, client=(address, os.getpid()), raise_app_exceptions=raise_errors)
    async with httpx.AsyncClient(transport=transport, base_url="http://tiny", trust_env=False) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"authorization": f"Bearer {token}"}


def names(values: Sequence[Mapping[str, object]], key: str) -> list[object]:
    """One member of each of a list of objects."""
    return [value[key] for value in values]
