"""A charging operator of T/CEC 102: its id, how its dialect reads, and the four secrets it shares with the city."""

from __future__ import annotations

import random
import re
import string
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from cityloop_common import errors

OperatorId = NewType("OperatorId", str)
NOBODY = OperatorId("000000000")
"""Whose stations are that come from a file without a word on who runs them."""

AES_BYTES = 16
_ID = re.compile(r"[A-Z0-9]{9}", re.ASCII)
_ALPHABET = string.ascii_letters + string.digits
_LONG = 32


class OperatorError(errors.CityLoopError):
    """Something about operators that the caller can understand; each is mixed with the shared class of its status::

    OperatorError
    ├── UnknownOperator 404     no such operator
    ├── OperatorExists 409      there is one with this id
    ├── SecretsRotated 409      somebody else gave it new secrets at the same time
    ├── InvalidOperator 422     an id, name or secret that cannot be one
    └── SecretsUnreadable 503   sealed under another key than the one that is set
    """


class UnknownOperator(OperatorError, errors.NotFound):
    slug, title = "operator-unknown", "No such operator"


class OperatorExists(OperatorError, errors.Conflict):
    slug, title = "operator-exists", "There is an operator with this id"


class SecretsRotated(OperatorError, errors.Conflict):
    slug, title = "secrets-rotated", "The operator has got new secrets in the meantime"


class InvalidOperator(OperatorError, errors.Invalid):
    slug, title = "operator-invalid", "The operator's facts are not valid"


class SecretsUnreadable(OperatorError, errors.Unavailable):
    slug, title = "secrets-unreadable", "The operator's secrets cannot be opened"


class ParkStatus(StrEnum):
    """What an operator means by ParkStatus 50: code bases disagree, so nobody is believed unless its profile says so."""

    UNKNOWN = "unknown"
    OCCUPIED = "occupied"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class Profile:
    """How an operator's messages are to be read. `strict_replay`: it promises never to use a TimeStamp and Seq twice."""

    strict_replay: bool = False
    park_status: ParkStatus = ParkStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class Secrets:
    """The four secrets of T/CEC 102, printable ASCII; the two of AES-128 have 16 bytes. They show in no repr."""

    operator_secret: str = field(repr=False)
    data_secret: bytes = field(repr=False)
    data_iv: bytes = field(repr=False)
    sig_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator as the city knows it, without its secrets; `version` counts the times that they were issued."""

    id: OperatorId
    name: str
    profile: Profile
    key_id: str
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is needed to believe an operator's message and to answer it."""

    operator_id: OperatorId
    operator_secret: str = field(repr=False)
    data_secret: bytes = field(repr=False)
    data_iv: bytes = field(repr=False)
    sig_secret: bytes = field(repr=False)
    strict_replay: bool
    park_status: ParkStatus
    version: int


def is_operator_id(text: str) -> bool:
    """Whether an operator can have this id: 9 capital letters and digits (T/CEC 102, OperatorID)."""
    return _ID.fullmatch(text) is not None


def check_operator(id: str, name: str) -> OperatorId:
    """The id when both can be true. Raises InvalidOperator."""
    if not is_operator_id(id):
        raise InvalidOperator("an operator's id has 9 capital letters and digits")
    if id == NOBODY:
        raise InvalidOperator(f"{NOBODY} stands for stations whose operator is not known")
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise InvalidOperator("a name has 1 to 200 printable characters")
    return OperatorId(id)


def check_secrets(secrets: Secrets) -> Secrets:
    """The secrets when they can be used. Raises InvalidOperator; the text never shows one."""
    for name, value in (("DataSecret", secrets.data_secret), ("DataSecretIV", secrets.data_iv)):
        if len(value) != AES_BYTES or not _plain(value):
            raise InvalidOperator(f"{name} has {AES_BYTES} printable ASCII characters")
    for name, value in (("OperatorSecret", secrets.operator_secret.encode()), ("SigSecret", secrets.sig_secret)):
        if not 8 <= len(value) <= 128 or not _plain(value):
            raise InvalidOperator(f"{name} has 8 to 128 printable ASCII characters")
    return secrets


def draw_secrets(chance: random.Random) -> Secrets:
    """New secrets: letters and digits, so that every operator's software can hold them as text."""
    return Secrets(
        operator_secret=_drawn(chance, _LONG),
        data_secret=_drawn(chance, AES_BYTES).encode(),
        data_iv=_drawn(chance, AES_BYTES).encode(),
        sig_secret=_drawn(chance, _LONG).encode(),
    )


def _drawn(chance: random.Random, length: int) -> str:
    return "".join(chance.choice(_ALPHABET) for _ in range(length))


def _plain(value: bytes) -> bool:
    return all(0x21 <= byte <= 0x7E for byte in value)
