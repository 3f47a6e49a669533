"""Who asks: bearer tokens against a JWKS, roles, and the declaration that every route must make."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol

import orjson
from fastapi import Request
from fastapi.dependencies.models import Dependant
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from starlette.requests import HTTPConnection

from cityloop_common.clock import Clock
from cityloop_common.errors import Forbidden, NotFound, Unauthenticated
from cityloop_common.jwks import Jwks, KeySource
from cityloop_common.network import Network, client_network
from cityloop_common.telemetry import get_logger

_log = get_logger(__name__)

if TYPE_CHECKING:
    from joserfc._rfc7515.model import JWSAlgModel


class Role(StrEnum):
    """What a caller is in the city."""

    CITIZEN = "citizen"
    GUEST = "guest"
    LOT_OPERATOR = "lot_operator"
    CHARGING_OPERATOR = "charging_operator"
    SITE_OPERATOR = "site_operator"
    DISPATCHER = "dispatcher"
    CREW = "crew"
    INSPECTOR = "inspector"
    OFFICER = "officer"
    CITY_ADMIN = "city_admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one request.

    `network` is the /24 or /64 it comes from. `reservation_scope` is set by a signed link: such a caller may only use
    routes with a `{reservation_id}` equal to it. Without a token there are no roles and no subject.
    """

    subject: str
    roles: frozenset[Role]
    network: str
    operator_id: str | None = None
    reservation_scope: str | None = None

    def has(self, *roles: Role) -> bool:
        """Whether the caller has at least one of these roles."""
        return not self.roles.isdisjoint(roles)

    @property
    def anonymous(self) -> bool:
        return not self.roles


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says, and until when it may be believed (seconds since the epoch)."""

    subject: str
    roles: frozenset[Role]
    expires_at: float
    operator_id: str | None = None
    reservation_scope: str | None = None


class TokenVerifier(Protocol):
    """Turns a bearer token into an identity. Raises Unauthenticated, or Unavailable when the keys cannot be had."""

    async def verify(self, token: str) -> Identity: ...


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """What a valid token of the identity provider looks like."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ("EdDSA", "Ed25519", "ES256", "RS256")
    leeway_s: int = 10
    role_claim: str = "roles"  # a dotted path: "realm_access.roles"
    role_map: Mapping[str, Role] = field(default_factory=dict)  # the provider's name > ours; our own names always count
    operator_claim: str = "operator_id"

    def __post_init__(self) -> None:
        allowed = {"EdDSA", "Ed25519", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
        if not self.algorithms or not allowed.issuperset(self.algorithms):
            raise ValueError(f"only signatures by public keys are accepted: {sorted(allowed)}")

    def accepted(self) -> frozenset[str]:
        """RFC 9864 gives EdDSA's common case the name Ed25519: whoever accepts the old name accepts the new one."""
        return frozenset(self.algorithms) | ({"Ed25519"} if "EdDSA" in self.algorithms else set())


_KEPT_IDENTITIES = 4096
_KEPT_FOR_S = 600.0
_TOKEN_LIMIT_CHARS = 8192
_SUBJECT_LIMIT_CHARS = 200  # what every table keeps of a caller


class SignatureRegistry(jws.JWSRegistry):
    """joserfc's algorithms, only those that are named, without its warning for EdDSA: providers still say that name."""

    def get_alg(self, name: str) -> "JWSAlgModel":
        if name not in (self.allowed or ()) or name not in self.algorithms:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


class BearerVerifier:
    """Signature, issuer, audience and times of a token. Answers are kept while they hold."""

    def __init__(self, config: AuthConfig, *, keys: KeySource, clock: Clock, local: Mapping[str, TokenVerifier] | None = None) -> None:
        """`local`: issuers that are verified in another way, such as the service's own guests."""
        self._config = config
        self._clock = clock
        self._jwks = Jwks(keys, clock)
        self._local = dict(local or {})
        self._kept: dict[bytes, tuple[int, float, Identity]] = {}
        self._accepted = config.accepted()
        self._registry = SignatureRegistry(algorithms=sorted(self._accepted))

    async def verify(self, token: str) -> Identity:
        if len(token) > _TOKEN_LIMIT_CHARS:
            raise Unauthenticated("The token is too long.")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        kept = self._kept.get(digest)
        now = self._clock.now().timestamp()
        if kept is not None and kept[0] == self._jwks.generation and now < kept[1]:
            return kept[2]
        issuer = peek(token)[1].get("iss")
        if isinstance(issuer, str) and issuer in self._local:
            return await self._local[issuer].verify(token)
        identity = await self._verify_public(token)
        if len(self._kept) >= _KEPT_IDENTITIES:
            self._kept.pop(next(iter(self._kept)))
        # looked at again now and then: only that asks whether the provider has withdrawn the key
        self._kept[digest] = (self._jwks.generation, min(identity.expires_at, now + _KEPT_FOR_S), identity)
        return identity

    async def _verify_public(self, token: str) -> Identity:
        header, _ = peek(token)
        kid, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._accepted or not isinstance(kid, str):
            raise Unauthenticated("The token's algorithm or key id is not accepted.")
        keys = await self._jwks.keys_for(kid)
        try:
            signed = jws.deserialize_compact(token.encode(), keys, registry=self._registry)
            claims = orjson.loads(signed.payload)
        except (JoseError, ValueError) as error:
            raise Unauthenticated("The token is not valid.") from error
        config = self._config
        expires_at = check_claims(claims, issuer=config.issuer, audience=config.audience, clock=self._clock, leeway_s=config.leeway_s)
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_LIMIT_CHARS or not subject.isprintable():
            raise Unauthenticated("The token names nobody.")
        operator = claims.get(config.operator_claim)
        return Identity(subject, self._roles(claims), expires_at, operator_id=operator if isinstance(operator, str) else None)

    def _roles(self, claims: Mapping[str, object]) -> frozenset[Role]:
        value: object = claims
        for part in self._config.role_claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        names = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
        own = {role.value: role for role in Role}
        found = (self._config.role_map.get(name) or own.get(name) for name in names if isinstance(name, str))
        return frozenset(role for role in found if role is not None)


def peek(token: str) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Header and claims, not verified: only to choose who verifies. Raises Unauthenticated for what is no token."""
    try:
        signature = jws.extract_compact(token.encode())
        claims = orjson.loads(signature.payload)
        header = signature.protected
    except (JoseError, ValueError, UnicodeError) as error:
        raise Unauthenticated("The token cannot be read.") from error
    if not isinstance(claims, dict) or not isinstance(header, dict):
        raise Unauthenticated("The token cannot be read.")
    return header, claims


def check_claims(claims: Mapping[str, object], *, issuer: str, audience: str, clock: Clock, leeway_s: int) -> float:
    """Issuer, audience and times of a verified token; the instant from which it is no longer believed."""
    if claims.get("iss") != issuer:
        raise Unauthenticated("The token is from another issuer.")
    audiences = claims.get("aud")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise Unauthenticated("The token is for someone else.")
    now = clock.now().timestamp()
    expires_at = _numeric_date(claims.get("exp"))
    if expires_at is None or now >= expires_at + leeway_s:
        raise Unauthenticated("The token has expired.")
    if "nbf" in claims:
        not_before = _numeric_date(claims["nbf"])
        if not_before is None or now < not_before - leeway_s:
            raise Unauthenticated("The token is not valid yet.")
    return expires_at + leeway_s


def _numeric_date(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e11:  # NaN compares false
        return None
    return float(value)


_STATE_KEY = "principal"


async def caller(request: HTTPConnection) -> Principal:
    """The request's principal, verified once a request; anonymous without a token, 401 with a bad one."""
    known = getattr(request.state, _STATE_KEY, None)
    if isinstance(known, Principal):
        return known
    header = request.headers.get("authorization")
    network = network_of(request)
    if header is None:
        principal = Principal("", frozenset(), network)
    else:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("Send `Authorization: Bearer <token>`.")
        verifier: TokenVerifier = request.app.state.verifier
        identity = await verifier.verify(token.strip())
        principal = Principal(identity.subject, identity.roles, network, identity.operator_id, identity.reservation_scope)
    setattr(request.state, _STATE_KEY, principal)
    return principal


def network_of(request: HTTPConnection) -> str:
    """The caller's /24 or /64, behind the proxies of the settings."""
    trusted: Sequence[Network] = getattr(request.app.state, "trusted_proxies", ())
    return client_network(request, trusted)


@dataclass(frozen=True, slots=True)
class Allow:
    """Dependency: a valid token with at least one of the roles; 401 without, 403 with others.

    A signed link opens only routes with a `{reservation_id}` that is its own; another id is 404, as any foreign object.
    """

    roles: frozenset[Role]

    async def __call__(self, request: Request) -> Principal:
        principal = await caller(request)
        if principal.anonymous and "authorization" not in request.headers:
            raise Unauthenticated
        if not principal.has(*self.roles):
            raise Forbidden("The caller's role does not allow this.")
        if principal.reservation_scope is not None:
            asked = request.path_params.get("reservation_id")
            if asked is None:
                raise Forbidden("A link is for one reservation only.")
            if asked != principal.reservation_scope:
                raise NotFound
        return principal


@lru_cache(maxsize=256)
def _allow(roles: frozenset[Role]) -> Allow:
    return Allow(roles)


def allow(*roles: Role) -> Allow:
    """`caller: Annotated[Principal, Depends(auth.allow(Role.CITIZEN, Role.GUEST))]`."""
    if not roles:
        raise ValueError("name at least one role; `public` is for everybody")
    return _allow(frozenset(roles))


async def public(request: Request) -> Principal:
    """Dependency: anyone; a token is not looked at. The principal has no roles, only its network."""
    return Principal("", frozenset(), network_of(request))


async def optional(request: Request) -> Principal:
    """Dependency: anyone; a token that is given must be valid. A signed link counts as nobody here."""
    principal = await caller(request)
    if principal.reservation_scope is not None:
        return replace(principal, subject="", roles=frozenset(), reservation_scope=None)
    return principal


class NoAccessDeclared(RuntimeError):
    """A route says neither who may call it nor that everybody may: the application must not start."""


class Guarded(Protocol):
    """A FastAPI route, as far as its declaration goes."""

    @property
    def dependant(self) -> Dependant: ...


Access = frozenset[Role] | Literal["public"]


def declared_access(route: Guarded) -> Access:
    """Who may call a route, as it declares itself. Raises NoAccessDeclared when it does not, or says two things."""
    found: set[Access] = set()
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting += dependant.dependencies
        if isinstance(dependant.call, Allow):
            found.add(dependant.call.roles)
        elif dependant.call in (public, optional):
            found.add("public")
    if len(found) != 1:
        raise NoAccessDeclared(f"{getattr(route, 'path', route)}: {sorted(map(str, found))}")
    return found.pop()
