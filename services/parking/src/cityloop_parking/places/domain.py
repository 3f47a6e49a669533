"""What a car park is: where it lies, how many spaces of which kind it has, and whether a source's row can be believed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

import orjson

from cityloop_common import errors
from cityloop_common.geo import Bounds, Position

PlaceId = NewType("PlaceId", str)
MOST_SPACES = 100_000
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_ID = re.compile(ID_PATTERN, re.ASCII)


class PlaceError(errors.CityLoopError):
    """Something about car parks that the caller can understand; each is mixed with the shared class of its status::

    PlaceError
    ├── UnknownPlace 404     no such car park
    ├── InvalidPlace 422     facts that cannot be true, or are too long
    ├── UnreadableFile 422   not the format that was named
    ├── DatumContradicts 422 the file counts in another datum than was said
    └── FileTooLarge 413     more bytes or rows than an import takes
    """


class UnknownPlace(PlaceError, errors.NotFound):
    slug, title = "place-unknown", "No such car park"


class InvalidPlace(PlaceError, errors.Invalid):
    slug, title = "place-invalid", "The car park's facts are not valid"


class UnreadableFile(PlaceError, errors.Invalid):
    slug, title = "file-unreadable", "The file cannot be read"


class DatumContradicts(PlaceError, errors.Invalid):
    slug, title = "datum-contradicts", "The datum contradicts the file"


class FileTooLarge(PlaceError, errors.TooLarge):
    slug, title = "file-too-large", "The file is too large"


class Category(StrEnum):
    """Kinds of spaces that are counted and sold apart."""

    STANDARD = "standard"
    EV = "ev"
    ACCESSIBLE = "accessible"
    LARGE = "large"
    MOTORCYCLE = "motorcycle"


class PlaceKind(StrEnum):
    """How a car park is built."""

    GARAGE = "garage"
    SURFACE = "surface"
    ON_STREET = "on_street"
    UNKNOWN = "unknown"


class Access(StrEnum):
    """Who may park there."""

    PUBLIC = "public"
    PRIVATE = "private"
    PERMIT = "permit"


class PlaceState(StrEnum):
    """Whether a car park takes anybody now."""

    OPEN = "open"
    CLOSED = "closed"


class PositionFrom(StrEnum):
    """What a position rests on; an entrance alone could not be checked against the survey."""

    GIVEN = "given"
    SURVEY = "survey"
    ENTRANCE = "entrance"
    ENTRANCE_ALONE = "entrance_alone"


@dataclass(frozen=True, slots=True)
class Pool:
    """Equal spaces of one category, and those that are not sold ahead."""

    category: Category
    capacity: int
    walk_in_reserve: int = 0
    out_of_service: int = 0


@dataclass(frozen=True, slots=True)
class PlaceFacts:
    """What a source says of one car park; positions are WGS-84.

    `charging_stations` and `accessible_bays` are counted within the pools: the source does not say which bays they are.
    """

    source: str
    source_id: str
    name: str
    position: Position
    pools: tuple[Pool, ...]
    name_en: str | None = None
    address: str = ""
    kind: PlaceKind = PlaceKind.UNKNOWN
    access: Access = Access.PUBLIC
    position_from: PositionFrom = PositionFrom.GIVEN
    jurisdiction: str | None = None
    district: str | None = None
    charging_stations: int | None = None
    accessible_bays: int | None = None
    tariff_text: str | None = None
    fares: Mapping[str, object] | None = None
    service_hours: str | None = None
    phone: str | None = None
    invented: bool = False
    state: PlaceState = PlaceState.OPEN

    @property
    def id(self) -> PlaceId:
        """The same id for the same source and number, in every run."""
        return PlaceId(f"{self.source}-{self.source_id}")

    @property
    def total_bays(self) -> int:
        """Every space but those of motorcycles."""
        return sum(pool.capacity for pool in self.pools if pool.category != Category.MOTORCYCLE)

    def content_hash(self) -> str:
        """Equal for equal facts: an import that repeats them publishes nothing."""
        pools = sorted((asdict(pool) for pool in self.pools), key=lambda pool: str(pool["category"]))
        content = asdict(self) | {"position": list(self.position), "pools": pools}
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True)
class Place:
    """A car park as it is known now; `version` counts its changes, `event_id` published this one."""

    facts: PlaceFacts
    operator_id: str | None
    version: int
    event_id: str
    recorded_at: datetime
    updated_at: datetime

    @property
    def id(self) -> PlaceId:
        return self.facts.id


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row of a file that can be stored; `row` counts from 1."""

    row: int
    facts: PlaceFacts


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be stored, and why."""

    row: int
    id: str
    reason: str


Verdict = Accepted | Rejected


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file: read = accepted + unchanged + rejected."""

    read: int
    accepted: int
    unchanged: int
    rejected: tuple[Rejected, ...]


_LONGEST = {
    "name": 200, "name_en": 200, "address": 400, "jurisdiction": 80, "district": 80, "tariff_text": 4000, "service_hours": 200, "phone": 80,
}  # fmt: skip


def is_place_id(text: str) -> bool:
    """Whether a car park can have this id; what cannot is not worth a look in the database."""
    return _ID.fullmatch(text) is not None


def check(facts: PlaceFacts, *, within: Bounds) -> PlaceFacts:
    """The facts when they can be true. Raises InvalidPlace with the reason."""
    if not is_place_id(facts.source_id) or not is_place_id(facts.id):
        raise InvalidPlace("an id has letters, digits, dot, dash and underscore, with its source at most 64")
    if not facts.name.strip():
        raise InvalidPlace("it has no name")
    for field, longest in _LONGEST.items():
        text = getattr(facts, field)
        if text is not None and len(text) > longest:
            raise InvalidPlace(f"{field} has more than {longest} characters")
        if text is not None and "\x00" in text:
            raise InvalidPlace(f"{field} holds a NUL character")
    if not within.contains(facts.position):
        raise InvalidPlace(f"its position {facts.position.lon:.6f} E, {facts.position.lat:.6f} N is outside the bounds")
    _check_pools(facts.pools)
    for count in (facts.charging_stations, facts.accessible_bays):
        if count is not None and not 0 <= count <= MOST_SPACES:
            raise InvalidPlace(f"{count} is not a number of bays")
    return facts


def _check_pools(pools: Sequence[Pool]) -> None:
    if len({pool.category for pool in pools}) < len(pools):
        raise InvalidPlace("a category is named twice")
    for pool in pools:
        if not 0 <= pool.capacity <= MOST_SPACES:
            raise InvalidPlace(f"{pool.capacity} is not a number of {pool.category} spaces (0 to {MOST_SPACES})")
        if pool.walk_in_reserve < 0 or pool.out_of_service < 0 or pool.walk_in_reserve + pool.out_of_service > pool.capacity:
            raise InvalidPlace(f"more {pool.category} spaces are kept back than there are")
