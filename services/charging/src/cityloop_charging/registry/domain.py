"""A charging station and its EVSEs, in OCPI's words: Location > Evse > Connector. An EVSE has one connector here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

import orjson

from cityloop_common import errors
from cityloop_common.geo import Bounds, Position

LocationId = NewType("LocationId", str)
EvseUid = NewType("EvseUid", str)
MOST_EVSES = 1_000  # of one station; the largest known has 508
MOST_POWER_W = 5_000_000
MOST_BAYS = 100_000
LONGEST_BAY_NO = 10  # T/CEC 102, ParkNo
_OPERATOR = r"[A-Z0-9]{9}"
_STATION = r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}"  # T/CEC 102: StationID has up to 20 characters, ConnectorID up to 26
_CONNECTOR = r"[A-Za-z0-9][A-Za-z0-9._-]{0,25}"
_LOCATION_ID = re.compile(rf"({_OPERATOR})\*({_STATION})", re.ASCII)
_EVSE_UID = re.compile(rf"({_OPERATOR})\*({_STATION})\*({_CONNECTOR})", re.ASCII)


class RegistryError(errors.CityLoopError):
    """Something about stations that the caller can understand; each is mixed with the shared class of its status::

    RegistryError
    ├── UnknownLocation 404     no such station
    ├── UnknownEvse 404         no such EVSE
    ├── ConnectorTaken 409      another station of the operator has a connector of this id
    ├── InvalidLocation 422     facts that cannot be true, or are too long
    ├── UnreadableFile 422      not the format that was named
    ├── FileElsewhere 422       every row lies outside the bounds
    └── FileTooLarge 413        more bytes or rows than an import takes
    """


class UnknownLocation(RegistryError, errors.NotFound):
    slug, title = "location-unknown", "No such charging station"


class UnknownEvse(RegistryError, errors.NotFound):
    slug, title = "evse-unknown", "No such EVSE"


class ConnectorTaken(RegistryError, errors.Conflict):
    slug, title = "connector-taken", "Another station has this connector"


class InvalidLocation(RegistryError, errors.Invalid):
    slug, title = "location-invalid", "The station's facts are not valid"


class UnreadableFile(RegistryError, errors.Invalid):
    slug, title = "file-unreadable", "The file cannot be read"


class FileElsewhere(RegistryError, errors.Invalid):
    slug, title = "file-elsewhere", "The file is of another place"


class FileTooLarge(RegistryError, errors.TooLarge):
    slug, title = "file-too-large", "The file is too large"


class Access(StrEnum):
    """Who may charge there: everybody, who lives or works in a compound, or its owner."""

    PUBLIC = "public"
    COMPOUND = "compound"
    PRIVATE = "private"


class LocationState(StrEnum):
    """Whether a station takes anybody."""

    OPEN = "open"
    CLOSED = "closed"


class Current(StrEnum):
    """What an EVSE delivers."""

    AC = "ac"
    DC = "dc"


class Lifecycle(StrEnum):
    """Whether an EVSE is there: not yet, now, no more. It is never deleted."""

    PLANNED = "planned"
    IN_SERVICE = "in_service"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class EvseFacts:
    """What is said of one EVSE (充电桩, by its gun). `standard`: it counts as a standard pile; `bay_no` is the bay in front of it."""

    connector_id: str
    power_w: int
    current: Current
    standard: bool = True
    bay_no: str | None = None
    lifecycle: Lifecycle = Lifecycle.IN_SERVICE


@dataclass(frozen=True, slots=True)
class LocationFacts:
    """What is said of one station; the position is WGS-84. EVSEs that it had and does not name are removed.

    `in_city`: it lies in the jurisdiction as that is set when it is stored.
    """

    operator_id: str
    station_id: str
    name: str
    position: Position
    evses: tuple[EvseFacts, ...] = ()
    name_en: str | None = None
    district: str | None = None
    access: Access = Access.PUBLIC
    bay_count: int | None = None
    state: LocationState = LocationState.OPEN
    invented: bool = False
    in_city: bool = True

    @property
    def id(self) -> LocationId:
        """The same id for the same operator and station, in every run."""
        return LocationId(f"{self.operator_id}*{self.station_id}")

    def uid(self, evse: EvseFacts) -> EvseUid:
        """The id of one of its EVSEs."""
        return EvseUid(f"{self.id}*{evse.connector_id}")

    def content_hash(self) -> str:
        """Equal for equal facts: an import that repeats them publishes nothing."""
        evses = sorted((asdict(each) for each in self.evses), key=lambda each: str(each["connector_id"]))
        content = asdict(self) | {"position": list(self.position), "evses": evses}
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True)
class Location:
    """A station as it is known now: `evses` without removed ones, `place_id` the car park that it is confirmed to stand in.

    `version` counts its changes, `event_id` published this one.
    """

    facts: LocationFacts
    place_id: str | None
    version: int
    event_id: str
    recorded_at: datetime
    updated_at: datetime

    @property
    def id(self) -> LocationId:
        return self.facts.id


@dataclass(frozen=True, slots=True)
class Evse:
    """One EVSE as it is known now, with the station that it stands in."""

    uid: EvseUid
    location_id: LocationId
    operator_id: str
    connector_id: str
    power_w: int
    current: Current
    standard: bool
    bay_no: str | None
    lifecycle: Lifecycle


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row of a file that can be stored; `row` counts from 1."""

    row: int
    facts: LocationFacts


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be stored, and why."""

    row: int
    id: str
    reason: str


Verdict = Accepted | Rejected


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file: read = accepted + unchanged + rejected; `evses` are those of the accepted rows."""

    read: int
    accepted: int
    unchanged: int
    evses: int
    rejected: tuple[Rejected, ...]


def is_location_id(text: str) -> bool:
    """Whether a station can have this id; what cannot is not worth a look in the database."""
    return _LOCATION_ID.fullmatch(text) is not None


def is_evse_uid(text: str) -> bool:
    """Whether an EVSE can have this id: operator, station and connector, joined by `*`."""
    return _EVSE_UID.fullmatch(text) is not None


def split_location_id(text: str) -> tuple[str, str]:
    """Operator and station of a location id. Raises InvalidLocation."""
    found = _LOCATION_ID.fullmatch(text)
    if found is None:
        raise InvalidLocation(
            "a station's id is its operator's 9 characters, `*`, and its own 1 to 20 letters, digits, dots, dashes, underscores"
        )
    return found[1], found[2]


def check(facts: LocationFacts, *, within: Bounds) -> LocationFacts:
    """The facts when they can be true. Raises InvalidLocation with the reason."""
    split_location_id(facts.id)
    if not facts.name.strip():
        raise InvalidLocation("it has no name")
    for field, longest in (("name", 200), ("name_en", 200), ("district", 80)):
        text = getattr(facts, field)
        if text is not None and (len(text) > longest or "\x00" in text):
            raise InvalidLocation(f"{field} has more than {longest} characters or holds a NUL character")
    if not within.contains(facts.position):
        raise InvalidLocation(f"its position {facts.position.lon:.6f} E, {facts.position.lat:.6f} N is outside the bounds")
    if facts.bay_count is not None and not 0 <= facts.bay_count <= MOST_BAYS:
        raise InvalidLocation(f"{facts.bay_count} is not a number of bays (0 to {MOST_BAYS})")
    _check_evses(facts, facts.evses)
    return facts


def _check_evses(facts: LocationFacts, evses: Sequence[EvseFacts]) -> None:
    if len(evses) > MOST_EVSES:
        raise InvalidLocation(f"a station has at most {MOST_EVSES} EVSEs")
    if len({each.connector_id for each in evses}) < len(evses):
        raise InvalidLocation("a connector is named twice")
    for each in evses:
        if not is_evse_uid(facts.uid(each)):
            raise InvalidLocation("a connector's id has 1 to 26 letters, digits, dots, dashes and underscores")
        if not 0 < each.power_w <= MOST_POWER_W:
            raise InvalidLocation(f"{each.power_w} W is not the power of an EVSE (1 to {MOST_POWER_W})")
        if each.bay_no is not None and not (0 < len(each.bay_no) <= LONGEST_BAY_NO and each.bay_no.isprintable() and each.bay_no.strip()):
            raise InvalidLocation(f"a bay number has 1 to {LONGEST_BAY_NO} printable characters")
        if each.lifecycle is Lifecycle.REMOVED:
            raise InvalidLocation("an EVSE is removed by leaving it out")
