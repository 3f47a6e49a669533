"""The development issuer: tokens for any role, for whoever can reach this machine's loopback. Never in production."""

import os
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from fastapi import APIRouter, Depends, Request
from joserfc import jws
from joserfc.jwk import OKPKey
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cityloop_common import auth
from cityloop_common.auth import Principal, Role
from cityloop_common.clock import Clock
from cityloop_common.errors import Forbidden
from cityloop_common.jwks import KeySource
from cityloop_common.network import Network, from_trusted
from cityloop_common.rng import Rng

KEY_FILE = "issuer-key.pem"
MAX_TTL = timedelta(days=7)
_KEY_BYTES = 32


class IssuerRefused(Exception):
    """The development issuer was asked to run where it must not, or its key file is open to others."""


class DevIssuer:
    """Signs tokens with an Ed25519 key that lives in one file, made once, readable by its owner only."""

    def __init__(
        self, folder: Path, *, environment: Literal["development", "production"], issuer: str, audience: str, clock: Clock, rng: Rng
    ) -> None:
        """Raises IssuerRefused in production, and for a key file that others may read."""
        if environment == "production":
            raise IssuerRefused("the development issuer does not run in production: set CITYLOOP_JWKS_URL to an identity provider")
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._random = rng.stream("issuer")
        self._key = OKPKey.import_key(self._load_or_make(folder / KEY_FILE), {"use": "sig"})
        self._kid = self._key.thumbprint()
        self._registry = jws.JWSRegistry(algorithms=["Ed25519"])

    def _load_or_make(self, path: Path) -> bytes:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Ed25519PrivateKey.from_private_bytes(self._random.randbytes(_KEY_BYTES))
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        draft = path.with_suffix(f".{os.getpid()}")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        try:
            os.link(draft, path)  # fails when another process was first: then its key counts
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        if path.stat().st_mode & 0o077:
            raise IssuerRefused(f"{path} can be read by others: chmod 600, or delete it")
        found = path.read_bytes()
        if not isinstance(load_pem_private_key(found, None), Ed25519PrivateKey):
            raise IssuerRefused(f"{path} is not an Ed25519 key: delete it")
        return found

    def mint(self, role: Role, *, subject: str = "", operator_id: str | None = None, ttl: timedelta = timedelta(hours=12)) -> str:
        """A token for one role; without a subject, one is invented."""
        now = int(self._clock.now().timestamp())
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject or f"dev-{role.value}",
            "iat": now,
            "nbf": now,
            "exp": now + int(min(ttl, MAX_TTL).total_seconds()),
            "jti": self._random.randbytes(8).hex(),
            "roles": [role.value],
        }
        if operator_id:
            claims["operator_id"] = operator_id
        header = {"alg": "Ed25519", "kid": self._kid, "typ": "JWT"}
        return jws.serialize_compact(header, orjson.dumps(claims), self._key, registry=self._registry)

    def jwks(self) -> bytes:
        """The public half, as services fetch it."""
        public = self._key.as_dict(private=False)
        return orjson.dumps({"keys": [{**public, "kid": self._kid, "alg": "Ed25519", "use": "sig"}]})

    def key_source(self) -> KeySource:
        """For a verifier in the same process."""

        async def keys() -> bytes:
            return self.jwks()

        return keys


class TokenRequest(BaseModel):
    """What a development token should say."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    subject: Annotated[str, Field(max_length=80)] = ""
    operator_id: Annotated[str, Field(max_length=80)] | None = None
    ttl_s: Annotated[int, Field(ge=1, le=int(MAX_TTL.total_seconds()))] = 12 * 3600


class TokenAnswer(BaseModel):
    """OAuth 2.0's shape of a token answer."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme, not a secret
    expires_in: int


def router(dev: DevIssuer, *, reachable_from: tuple[Network, ...] = ()) -> APIRouter:
    """`/issuer/jwks.json` for services, `/issuer/token` for the loopback (and the compose network, when it is named)."""
    routes = APIRouter(prefix="/issuer", tags=["development issuer"])

    async def nearby(request: Request) -> None:
        near = _from_loopback(request) and not _from_foreign_page(request)
        if not near and not (from_trusted(request.scope, reachable_from) and "origin" not in request.headers):
            raise Forbidden("The development issuer answers this machine only.")

    @routes.get("/jwks.json", include_in_schema=False)
    async def keys(_: Annotated[Principal, Depends(auth.public)]) -> Response:
        return Response(dev.jwks(), media_type="application/jwk-set+json")

    @routes.post("/token", dependencies=[Depends(nearby)])
    async def token(wanted: TokenRequest, _: Annotated[Principal, Depends(auth.public)]) -> TokenAnswer:
        """A development token."""
        signed = dev.mint(wanted.role, subject=wanted.subject, operator_id=wanted.operator_id, ttl=timedelta(seconds=wanted.ttl_s))
        return TokenAnswer(access_token=signed, expires_in=wanted.ttl_s)

    return routes


def _from_loopback(request: Request) -> bool:
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _from_foreign_page(request: Request) -> bool:
    """A web page elsewhere that makes this machine's browser ask, also under a name of its own that points here."""
    origin = request.headers.get("origin")
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        return not _names_this_machine(host) or (origin is not None and urlsplit(origin).hostname != host)
    except ValueError:
        return True


def _names_this_machine(host: str) -> bool:
    """`localhost` or an address: what no foreign name can be."""
    try:
        return host == "localhost" or ip_address(host) is not None
    except ValueError:
        return False
