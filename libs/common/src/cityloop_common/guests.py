"""People without an account: short-lived guest tokens, and links that open one reservation.

Both are signed with a secret of the service itself (HS256). Their issuer decides that they are verified here and never
against the identity provider's public keys, so neither kind can pass for the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from cityloop_common.auth import Identity, Role, check_claims, peek
from cityloop_common.clock import Clock
from cityloop_common.errors import Unauthenticated
from cityloop_common.rng import Rng

MIN_KEY_BYTES = 32
_ALGORITHM = "HS256"
_SUBJECT_BYTES = 16
_CLOCKS_DIFFER_BY_S = 5  # as much as `db` allows: another replica may be asked at once


@dataclass(frozen=True, slots=True)
class GuestConfig:
    """`keys`: secrets of at least 32 bytes; the first one signs, all are accepted, so that a key can be changed."""

    service: str
    keys: Sequence[bytes] = field(repr=False)
    guest_for: timedelta = timedelta(hours=2)

    def __post_init__(self) -> None:
        if not self.keys or any(len(key) < MIN_KEY_BYTES for key in self.keys):
            raise ValueError(f"a guest key needs at least {MIN_KEY_BYTES} bytes")

    @property
    def issuer(self) -> str:
        return f"urn:cityloop:guest:{self.service}"


@dataclass(frozen=True, slots=True)
class GuestToken:
    """A signed token, whom it names and for how long."""

    token: str = field(repr=False)
    subject: str
    expires_in_s: int


class Guests:
    """Issues and verifies guest tokens and links of one service."""

    def __init__(self, config: GuestConfig, *, clock: Clock, rng: Rng) -> None:
        self._config = config
        self._clock = clock
        self._random = rng.stream("guests")
        self._keys = {_key_id(key): OctKey.import_key(key) for key in config.keys}
        self._signing_id = _key_id(config.keys[0])
        self._registry = jws.JWSRegistry(algorithms=[_ALGORITHM])

    @property
    def issuer(self) -> str:
        """For `BearerVerifier(local={guests.issuer: guests})`."""
        return self._config.issuer

    def new_guest(self) -> GuestToken:
        """A token for someone we know nothing about. Rate-limit the endpoint that calls this."""
        subject = f"guest:{self._random.randbytes(_SUBJECT_BYTES).hex()}"
        return self._sign(subject, self._config.guest_for, {})

    def link(self, reservation_id: str, *, subject: str, lasts: timedelta) -> GuestToken:
        """A token for a link's fragment: its bearer acts as `subject`, on this one reservation only."""
        return self._sign(subject, lasts, {"res": reservation_id})

    def _sign(self, subject: str, lasts: timedelta, more: dict[str, str]) -> GuestToken:
        now = int(self._clock.now().timestamp())
        seconds = int(lasts.total_seconds())
        times = {"iat": now, "nbf": now - _CLOCKS_DIFFER_BY_S, "exp": now + seconds}
        claims = {"iss": self.issuer, "aud": self.issuer, "sub": subject, **times, **more}
        header = {"alg": _ALGORITHM, "kid": self._signing_id, "typ": "JWT"}
        token = jws.serialize_compact(header, orjson.dumps(claims), self._keys[self._signing_id], registry=self._registry)
        return GuestToken(token, subject, seconds)

    async def verify(self, token: str) -> Identity:
        """Raises Unauthenticated for anything but a token of ours that still holds."""
        header, _ = peek(token)
        key = self._keys.get(str(header.get("kid")))
        if key is None or header.get("alg") != _ALGORITHM:
            raise Unauthenticated("The token's algorithm or key id is not accepted.")
        try:
            claims = orjson.loads(jws.deserialize_compact(token.encode(), key, registry=self._registry).payload)
        except (JoseError, ValueError) as error:
            raise Unauthenticated("The token is not valid.") from error
        expires_at = check_claims(claims, issuer=self.issuer, audience=self.issuer, clock=self._clock, leeway_s=0)
        subject, scope = claims.get("sub"), claims.get("res")
        if not isinstance(subject, str) or not subject or not (scope is None or isinstance(scope, str)):
            raise Unauthenticated("The token names nobody.")
        return Identity(subject, frozenset({Role.GUEST}), expires_at, reservation_scope=scope)


def _key_id(key: bytes) -> str:
    return sha256(b"cityloop guest key id\0" + key).hexdigest()[:12]
