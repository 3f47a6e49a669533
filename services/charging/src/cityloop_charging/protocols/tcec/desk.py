"""Where T/CEC messages are answered: signature, token, decryption, and only then a unit of the database."""

from __future__ import annotations

import hmac
from contextlib import suppress
from datetime import datetime
from functools import partial

from cityloop_charging.context import ChargingCtx
from cityloop_charging.operators.domain import SecretsUnreadable
from cityloop_charging.operators.use_cases import open_vault, secret_key
from cityloop_charging.protocols.tcec.crypto import Undecryptable
from cityloop_charging.protocols.tcec.domain import (
    BadEnvelope,
    BadParameter,
    BadSignature,
    BadToken,
    Busy,
    Envelope,
    Interface,
    Ret,
    TcecRefusal,
    read_envelope,
    read_parameters,
    read_stamp,
    read_station_status,
    read_token_request,
)
from cityloop_charging.protocols.tcec.partners import RENEWED_S, Partner, Partners
from cityloop_charging.protocols.tcec.replies import reply
from cityloop_charging.protocols.tcec.tokens import AccessTokens
from cityloop_charging.protocols.tcec.use_cases import Push, Pusher, open_pusher
from cityloop_common import ratelimit, telemetry
from cityloop_common.cache import CacheUnavailable
from cityloop_common.errors import DeadlinePassed, TooManyRequests, Unavailable

FAILURES_PER_MINUTE = 5
STRANGERS_PER_MINUTE = 60  # of a network: reads of the database for who is not known, or not by this signature
WRONG_SECRET = 2  # FailReason
REQUESTS = telemetry.counter("tcec_requests_total", "T/CEC requests by the Ret that they were answered", ("service", "interface", "ret"))
log = telemetry.get_logger(__name__)


class Desk:
    """One API replica's side of the protocol; `app.state.tcec` holds it."""

    def __init__(self, ctx: ChargingCtx, *, partners: Partners, tokens: AccessTokens, pusher: Pusher) -> None:
        self._ctx = ctx
        self._partners = partners
        self._tokens = tokens
        self.pusher = pusher

    async def answer(self, interface: Interface, body: bytes, authorization: str | None, *, network: str) -> bytes:
        """The reply to a request, whatever it is; signed as soon as the operator is known. `network` is the sender's."""
        received_at = self._ctx.clock.now()
        partner: Partner | None = None
        try:
            envelope = read_envelope(body)
            stranger = partial(ratelimit.spend, self._ctx, "tcec-strangers", f"network/{network}", per_minute=STRANGERS_PER_MINUTE)
            partner = await self._partners.get(envelope.operator_id, stranger=stranger)
            if not _signed(partner, envelope):  # perhaps with newer secrets than are known here
                partner = await self._partners.get(envelope.operator_id, stranger=stranger, at_most_s=RENEWED_S)
            if partner is None or not _signed(partner, envelope):
                raise BadSignature
            if interface is Interface.QUERY_TOKEN:
                said = await self._issue(partner, envelope, received_at)
            else:
                said = await self._push(partner, envelope, authorization, received_at)
        except Exception as error:  # noqa: BLE001 - the standard has a number for everything, and a sender waits for it
            return self._refused(interface, partner, error)
        REQUESTS.add(self._ctx.service, interface.value, "0")
        return said

    def _refused(self, interface: Interface, partner: Partner | None, error: Exception) -> bytes:
        ret, msg = _told(error)
        REQUESTS.add(self._ctx.service, interface.value, str(int(ret)))
        if ret is Ret.SYSTEM:
            log.error("tcec-failed", interface=interface.value, error=type(error).__name__, exc_info=error)
        elif partner is not None:
            log.info("tcec-refused", interface=interface.value, operator_id=partner.operator_id, ret=int(ret), msg=msg)
        return reply(partner.keys if partner else None, ret, msg)

    async def _push(self, partner: Partner, envelope: Envelope, authorization: str | None, received_at: datetime) -> bytes:
        if not self._tokens.holds(_bearer(authorization), partner.operator_id, version=partner.version, now_s=received_at.timestamp()):
            raise BadToken
        stamped_at = read_stamp(envelope.time_stamp)
        statuses = read_station_status(read_parameters(_decrypted(partner, envelope)))
        push = Push(
            operator_id=partner.operator_id,
            version=partner.version,
            strict=partner.strict,
            time_stamp=envelope.time_stamp,
            seq=envelope.seq,
            sig=envelope.sig,
            stamped_at=stamped_at,
            received_at=received_at,
            statuses=statuses,
        )
        return partner.taken[await self.pusher.submit(push)]

    async def _issue(self, partner: Partner, envelope: Envelope, now: datetime) -> bytes:
        """A token. A wrong secret is answered as the standard says; after five a minute nothing is looked at any more.

        A try is counted before it is looked at, so that many at once learn no more than five. A right secret clears what was
        counted before it: failures are limited, not tokens.
        """
        read_stamp(envelope.time_stamp)
        asked = read_token_request(read_parameters(_decrypted(partner, envelope)))
        if asked.operator_id != partner.operator_id:
            raise BadParameter("OperatorID in Data is another than the envelope's")
        base = f"{self._ctx.service}:tcec-right:{partner.operator_id}:{int(now.timestamp()) // ratelimit.WINDOW_S}"
        number = await self._count_try(partner.operator_id, base)
        right = hmac.compare_digest(asked.operator_secret.encode(), partner.operator_secret)
        if right and number:
            with suppress(CacheUnavailable):
                await self._ctx.cache.set(base, str(number).encode(), ttl_s=2 * ratelimit.WINDOW_S)
        token = self._tokens.issue(partner.operator_id, version=partner.version, now_s=int(now.timestamp())) if right else ""
        parameters = {
            "OperatorID": partner.operator_id,
            "SuccStat": 0 if right else 1,
            "AccessToken": token,
            "TokenAvailableTime": self._tokens.lasts_s if right else 0,
            "FailReason": 0 if right else WRONG_SECRET,
        }
        return reply(partner.keys, Ret.OK, parameters=parameters)

    async def _count_try(self, operator_id: str, base: str) -> int:
        """Its number among this minute's; 0 without a cache, which allows. Raises Busy. Only a valid signature gets here."""
        try:
            number = await self._ctx.cache.count(f"{self._ctx.service}:tcec-tries:{operator_id}", window_s=ratelimit.WINDOW_S)
            cleared = int(await self._ctx.cache.get(base) or 0)
        except CacheUnavailable:
            return 0
        if number - cleared > FAILURES_PER_MINUTE:
            raise Busy("too many wrong secrets: wait a minute")
        return number


def open_desk(ctx: ChargingCtx) -> Desk:
    """The desk by the settings. Raises SettingsError when the key of operators' secrets is missing in production."""
    key = hmac.digest(secret_key(ctx), b"cityloop/charging/tcec-token", "sha256")
    tokens = AccessTokens(key, lasts_s=ctx.settings.tcec_token_for_s)
    return Desk(ctx, partners=Partners(ctx, open_vault(ctx)), tokens=tokens, pusher=open_pusher(ctx))


def _told(error: Exception) -> tuple[Ret, str]:
    """Number and words for an error; nothing of what nobody foresaw."""
    if isinstance(error, TcecRefusal):
        return error.ret, error.detail or error.title
    if isinstance(error, Unavailable | DeadlinePassed | TooManyRequests) and not isinstance(error, SecretsUnreadable):
        return Ret.BUSY, "try again later"
    return Ret.SYSTEM, "system error"


def _signed(partner: Partner | None, envelope: Envelope) -> bool:
    return partner is not None and partner.keys.signed(envelope.signed_text, envelope.sig)


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _decrypted(partner: Partner, envelope: Envelope) -> bytes:
    try:
        return partner.keys.decrypt(envelope.data)
    except Undecryptable as error:
        raise BadEnvelope("Data cannot be decrypted") from error
