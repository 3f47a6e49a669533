"""What T/CEC 102 says: the envelope, its answer codes, status numbers, and how far a sender's clock may be off."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import ClassVar

import orjson

from cityloop_charging.status.domain import Status
from cityloop_common import errors
from cityloop_common.clock import CITY_TZ

MOST_BODY_BYTES = 256 * 1024
MOST_CONNECTORS = 500
LONGEST_ID = 64
LATE_AFTER = timedelta(minutes=10)
EARLY_AFTER = timedelta(minutes=5)

_OPERATOR_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}", re.ASCII)
_STAMP = re.compile(r"[0-9]{14}", re.ASCII)
_SEQ = re.compile(r"[0-9]{4}", re.ASCII)


class Ret(IntEnum):
    """What became of a request, in the standard's numbers."""

    BUSY = -1  # not now: send the same again later
    OK = 0
    SIGNATURE = 4001
    TOKEN = 4002
    ENVELOPE = 4003  # a field of the envelope is missing or cannot be read
    BUSINESS = 4004  # the decrypted parameters are not right
    SYSTEM = 500


class Interface(StrEnum):
    """What operators may call."""

    QUERY_TOKEN = "query_token"  # noqa: S105 - a name
    STATION_STATUS = "notification_stationStatus"


class TcecRefusal(errors.Invalid):
    """A request that the standard has a number for; the detail is told to the sender, so it never quotes what was sent::

    TcecRefusal
    ├── BadSignature 4001   not signed by the operator that it names, or by one that is not known
    ├── BadToken 4002       no token, a forged one, an expired one, one from before the secrets changed
    ├── BadEnvelope 4003    a field of the envelope is missing or unreadable, or its Seq came before with other content
    ├── BadParameter 4004   the decrypted parameters are not right, or name a connector that the operator does not have
    └── Busy -1             too many wrong secrets: wait
    """

    slug, title = "tcec-refused", "The request is not in order"
    ret: ClassVar[Ret] = Ret.SYSTEM


class BadSignature(TcecRefusal):
    slug, title, ret = "tcec-signature", "The signature is not right", Ret.SIGNATURE


class BadToken(TcecRefusal):
    slug, title, ret = "tcec-token", "The token is not valid", Ret.TOKEN


class BadEnvelope(TcecRefusal):
    slug, title, ret = "tcec-envelope", "The envelope cannot be read", Ret.ENVELOPE


class BadParameter(TcecRefusal):
    slug, title, ret = "tcec-parameter", "A parameter is not right", Ret.BUSINESS


class Busy(TcecRefusal):
    slug, title, ret = "tcec-busy", "Try again later", Ret.BUSY


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed request as it came; nothing in it is believed before its signature is."""

    operator_id: str
    data: str
    time_stamp: str
    seq: str
    sig: str

    @property
    def signed_text(self) -> str:
        """What the signature is made over."""
        return f"{self.operator_id}{self.data}{self.time_stamp}{self.seq}"


_FIELDS = ("OperatorID", "Data", "TimeStamp", "Seq", "Sig")


def read_envelope(body: bytes) -> Envelope:
    """The envelope of a body. Raises BadEnvelope, which names the field; other members are ignored."""
    if len(body) > MOST_BODY_BYTES:
        raise BadEnvelope(f"a body has at most {MOST_BODY_BYTES} bytes")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadEnvelope("the body is not JSON") from error
    if not isinstance(found, dict):
        raise BadEnvelope("the body is not a JSON object")
    for name in _FIELDS:
        value = found.get(name)
        if not isinstance(value, str) or not value:
            raise BadEnvelope(f"{name} is missing or not a text")
    envelope = Envelope(found["OperatorID"], found["Data"], found["TimeStamp"], found["Seq"], found["Sig"])
    if not _OPERATOR_ID.fullmatch(envelope.operator_id):
        raise BadEnvelope("OperatorID cannot be one")
    if not _SEQ.fullmatch(envelope.seq):
        raise BadEnvelope("Seq is not four digits")
    if not _STAMP.fullmatch(envelope.time_stamp):
        raise BadEnvelope("TimeStamp is not yyyyMMddHHmmss")
    return envelope


def read_stamp(text: str) -> datetime:
    """The instant of a TimeStamp, which is local time of the city. Raises BadEnvelope for a date that does not exist."""
    if not _STAMP.fullmatch(text):
        raise BadEnvelope("TimeStamp is not yyyyMMddHHmmss")
    try:
        local = datetime(int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:12]), int(text[12:]), tzinfo=CITY_TZ)
        return local.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadEnvelope("TimeStamp is no date of the calendar") from error


def stamp_text(at: datetime) -> str:
    """An instant as senders write it."""
    return at.astimezone(CITY_TZ).strftime("%Y%m%d%H%M%S")


class Skew(StrEnum):
    """How a stamp that cannot be believed is off."""

    LATE = "late"
    EARLY = "early"


def skew(stamped_at: datetime, received_at: datetime) -> Skew | None:
    """More than 10 minutes old or more than 5 minutes ahead: kept, and never current. The limits themselves are fine."""
    if received_at - stamped_at > LATE_AFTER:
        return Skew.LATE
    return Skew.EARLY if stamped_at - received_at > EARLY_AFTER else None


# OCPI has no "plugged in, not charging": such a car keeps others from the EVSE, which is what OCPI calls BLOCKED. Offline says
# that nobody knows, not that it is broken.
STATUSES: Mapping[int, Status] = {
    0: Status.UNKNOWN,
    1: Status.AVAILABLE,
    2: Status.BLOCKED,
    3: Status.CHARGING,
    4: Status.RESERVED,
    255: Status.OUTOFORDER,
}


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """What an operator says of one connector; what `park_status` means differs between operators, so it is kept as it came."""

    connector_id: str
    status: Status
    park_status: int | None = None
    lock_status: int | None = None


class Taken(IntEnum):
    """What the answer to a status says in `Status`: taken, or put aside, which no repetition would change."""

    ACCEPTED = 0
    IGNORED = 1


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Who asks for a token and with which secret."""

    operator_id: str
    operator_secret: str

    def __repr__(self) -> str:
        return f"TokenRequest({self.operator_id!r})"


def read_parameters(plaintext: bytes) -> Mapping[str, object]:
    """The decrypted object. Raises BadParameter."""
    try:
        found = orjson.loads(plaintext)
    except orjson.JSONDecodeError as error:
        raise BadParameter("Data is not JSON") from error
    if not isinstance(found, dict):
        raise BadParameter("Data is not a JSON object")
    return found


def read_token_request(parameters: Mapping[str, object]) -> TokenRequest:
    """Raises BadParameter."""
    return TokenRequest(_text(parameters, "OperatorID"), _text(parameters, "OperatorSecret"))


def read_station_status(parameters: Mapping[str, object]) -> tuple[ConnectorStatus, ...]:
    """One connector as the standard says, or a list as several senders do. Raises BadParameter; a connector comes once."""
    found = parameters.get("ConnectorStatusInfo")
    listed: Sequence[object] = found if isinstance(found, list) else [found]
    if not 0 < len(listed) <= MOST_CONNECTORS:
        raise BadParameter(f"ConnectorStatusInfo has 1 to {MOST_CONNECTORS} entries")
    statuses = tuple(_connector_status(each) for each in listed)
    if len({each.connector_id for each in statuses}) < len(statuses):
        raise BadParameter("a ConnectorID comes twice")
    return statuses


def _connector_status(found: object) -> ConnectorStatus:
    if not isinstance(found, dict):
        raise BadParameter("ConnectorStatusInfo is missing or not an object")
    number = found.get("Status")
    if type(number) is not int or number not in STATUSES:  # True is an int, too
        raise BadParameter("Status is one of 0, 1, 2, 3, 4, 255")
    return ConnectorStatus(_text(found, "ConnectorID"), STATUSES[number], _byte(found, "ParkStatus"), _byte(found, "LockStatus"))


def _text(parameters: Mapping[str, object], name: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or not value.isascii() or not value.isprintable():
        raise BadParameter(f"{name} is missing or no text of 1 to {LONGEST_ID} ASCII characters")
    return value


def _byte(parameters: Mapping[str, object], name: str) -> int | None:
    value = parameters.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= 255:
        raise BadParameter(f"{name} is a number from 0 to 255")
    return value
