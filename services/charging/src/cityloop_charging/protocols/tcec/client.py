"""An operator's side of T/CEC 102: takes a token, signs and sends, verifies and decrypts what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import orjson

from cityloop_charging.operators.domain import Secrets
from cityloop_charging.protocols.tcec.crypto import Keys, Undecryptable
from cityloop_charging.protocols.tcec.domain import Interface, Ret, stamp_text
from cityloop_charging.protocols.tcec.replies import reply_text
from cityloop_common.clock import Clock
from cityloop_common.errors import Unavailable

PATH = "/charging/tcec/v1"
ANSWER_WITHIN_S = 20.0
MOST_BYTES = 1_000_000


class NoAnswer(Unavailable):
    """What came back is no reply of the protocol, or nothing came back."""

    slug, title = "tcec-no-answer", "No T/CEC answer"


@dataclass(frozen=True, slots=True)
class Heard:
    """A reply. `verified`: its Sig is made with the operator's SigSecret; `parameters` is what was decrypted."""

    ret: int
    msg: str
    parameters: Mapping[str, object] | None
    verified: bool

    @property
    def accepted(self) -> bool:
        """Done, and said so by who knows the secret."""
        return self.ret == Ret.OK and self.verified


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is sent: time stamp and number may be given; `data` is a JSON object."""

    interface: str
    data: Mapping[str, object]
    time_stamp: str
    seq: str


class Client:
    """One operator at one address; `http` has the address as its base."""

    def __init__(self, http: httpx.AsyncClient, clock: Clock, *, operator_id: str, secrets: Secrets) -> None:
        self._http = http
        self._clock = clock
        self._operator_id = operator_id
        self._secrets = secrets
        self._keys = Keys(data_secret=secrets.data_secret, data_iv=secrets.data_iv, sig_secret=secrets.sig_secret)

    async def token(self) -> Heard:
        """`query_token`. Raises NoAnswer."""
        asked = {"OperatorID": self._operator_id, "OperatorSecret": self._secrets.operator_secret}
        return await self.send(self.envelope(Interface.QUERY_TOKEN, asked))

    def envelope(self, interface: str, data: Mapping[str, object], *, time_stamp: str | None = None, seq: str | None = None) -> Envelope:
        """An envelope of now, numbered by the millisecond: what is sent later is newer, also within a second."""
        now = self._clock.now()
        return Envelope(interface, data, time_stamp or stamp_text(now), seq or f"{now.microsecond // 1000 + 1:04d}")

    async def send(self, envelope: Envelope, *, token: str | None = None) -> Heard:
        """Signs and sends, then verifies and decrypts. Raises NoAnswer."""
        data = self._keys.encrypt(orjson.dumps(envelope.data))
        sig = self._keys.sign(f"{self._operator_id}{data}{envelope.time_stamp}{envelope.seq}")
        body = {"OperatorID": self._operator_id, "Data": data, "TimeStamp": envelope.time_stamp, "Seq": envelope.seq, "Sig": sig}
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        try:
            answer = await self._http.post(f"{PATH}/{envelope.interface}", json=body, headers=headers, timeout=ANSWER_WITHIN_S)
        except httpx.HTTPError as error:
            raise NoAnswer(f"{self._http.base_url} does not answer: {type(error).__name__}.") from error
        if answer.status_code != httpx.codes.OK or len(answer.content) > MOST_BYTES:
            raise NoAnswer(f"{self._http.base_url} answers HTTP {answer.status_code} with {len(answer.content)} bytes.")
        return self._heard(answer.content)

    def _heard(self, raw: bytes) -> Heard:
        try:
            said = orjson.loads(raw)
            ret, msg, data, sig = int(said["Ret"]), str(said["Msg"]), str(said.get("Data") or ""), str(said.get("Sig") or "")
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise NoAnswer("It is no JSON object with Ret and Msg.") from error
        verified = self._keys.signed(reply_text(ret, msg, data), sig)
        return Heard(ret, msg, self._decrypted(data) if verified and data else None, verified)

    def _decrypted(self, data: str) -> Mapping[str, object] | None:
        try:
            found = orjson.loads(self._keys.decrypt(data))
        except (Undecryptable, orjson.JSONDecodeError) as error:
            raise NoAnswer("Its Data is signed and cannot be decrypted.") from error
        return found if isinstance(found, dict) else None
