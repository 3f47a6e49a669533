"""The identity provider's public keys, fetched when needed and kept."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping

import httpx
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cityloop_common.clock import Clock
from cityloop_common.errors import Unauthenticated, Unavailable
from cityloop_common.telemetry import get_logger

_log = get_logger(__name__)

KeySource = Callable[[], Awaitable[bytes]]
"""Fetches the JWKS document; raises Unavailable."""

_JWKS_LIMIT_BYTES = 256 * 1024
_JWKS_TIMEOUT_S = 5.0
_JWKS_REFRESH_S = 600.0
_UNKNOWN_KID_EVERY_S = 60.0
_COLD_RETRY_S = 1.0


def jwks_over_http(url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> KeySource:
    """A JWKS URL: no redirects, no proxy, at most 256 KiB within 5 s."""

    async def fetch() -> bytes:
        try:
            async with (
                asyncio.timeout(_JWKS_TIMEOUT_S),
                httpx.AsyncClient(transport=transport, trust_env=False) as client,
                client.stream("GET", url, headers={"accept": "application/json"}) as response,
            ):
                response.raise_for_status()
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _JWKS_LIMIT_BYTES:
                        raise Unavailable("The identity provider's key set is too large.")
                return bytes(body)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise Unavailable("The identity provider's keys cannot be fetched.") from error

    return fetch


class Jwks:
    """The provider's public keys, fetched when needed and kept: a lost provider stops nobody whose key is known."""

    def __init__(self, source: KeySource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._keys: Mapping[str, KeySet] = {}
        self._tried_at = -math.inf
        self._looked_at = -math.inf
        self._fetching = asyncio.Lock()
        self.generation = 0

    async def keys_for(self, kid: str) -> KeySet:
        """The key with this id. Unknown ids cause at most one fetch a minute."""
        if not self._keys:
            await self._fetch_first()
        elif self._clock.monotonic() - self._tried_at >= _JWKS_REFRESH_S:
            self._tried_at = self._clock.monotonic()  # before the wait: one caller fetches, the others go on
            async with self._fetching:
                await self._fetch_again()
        if kid not in self._keys:
            await self._look_for(kid)
        found = self._keys.get(kid)
        if found is None:
            raise Unauthenticated("The token's key is not known.")
        return found

    async def _fetch_first(self) -> None:
        async with self._fetching:
            if self._keys:
                return
            if self._clock.monotonic() - self._tried_at < _COLD_RETRY_S:
                raise Unavailable("The identity provider's keys cannot be fetched.")
            self._tried_at = self._clock.monotonic()
            self._take(await self._source())
            self._looked_at = self._clock.monotonic()

    async def _look_for(self, kid: str) -> None:
        async with self._fetching:
            if kid in self._keys or self._clock.monotonic() - self._looked_at < _UNKNOWN_KID_EVERY_S:
                return
            self._looked_at = self._clock.monotonic()
            await self._fetch_again()

    async def _fetch_again(self) -> None:
        try:
            self._take(await self._source())
        except Unavailable as error:
            _log.warning("jwks-not-refreshed", reason=error.detail)  # the keys we have go on

    def _take(self, document: bytes) -> None:
        try:
            listed = orjson.loads(document)["keys"]
            usable = [key for key in listed if key.get("kty") in {"OKP", "EC", "RSA"} and isinstance(key.get("kid"), str)]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Unavailable("The identity provider's key set cannot be read.") from error
        keys: dict[str, KeySet] = {}
        for key in usable:
            try:
                keys[key["kid"]] = KeySet.import_key_set({"keys": [key]})
            except (JoseError, ValueError, TypeError, KeyError):
                _log.warning("jwks-key-not-usable", kid=key["kid"])
        if keys != self._keys:
            self.generation += 1
        self._keys = keys
