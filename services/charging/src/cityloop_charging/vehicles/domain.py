"""The registered stock of new-energy vehicles on a day: what chargers are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from cityloop_common import errors

MOST_COUNTS = 500
MOST_VEHICLES = 10_000_000
EARLIEST = date(2000, 1, 1)


class VehiclesError(errors.CityLoopError):
    """Something about registered vehicles that the caller can understand::

    VehiclesError
    ├── UnknownStock 404     nothing is known for that day or before
    └── InvalidStock 422     counts that cannot be true
    """


class UnknownStock(VehiclesError, errors.NotFound):
    slug, title = "vehicle-registrations-unknown", "No registered vehicles are known"


class InvalidStock(VehiclesError, errors.Invalid):
    slug, title = "vehicle-registrations-invalid", "The registered vehicles are not valid"


class VehicleClass(StrEnum):
    """What kind of vehicle is registered."""

    PASSENGER = "passenger"
    BUS = "bus"
    TRUCK = "truck"
    OTHER = "other"


class Drive(StrEnum):
    """Battery electric, or plug-in hybrid."""

    BEV = "bev"
    PHEV = "phev"


@dataclass(frozen=True, slots=True)
class VehicleCount:
    """Registered vehicles of one class and drive, in one district or where no district is said. `standard`: standard vehicles."""

    vehicle_class: VehicleClass
    drive: Drive
    standard: bool
    vehicles: int
    district: str | None = None

    @property
    def key(self) -> tuple[str, str, bool, str]:
        """What is counted once in a statement; also the order in which counts are listed."""
        return (self.vehicle_class, self.drive, self.standard, self.district or "")


@dataclass(frozen=True, slots=True)
class Statement:
    """The whole stock on a day, by one source."""

    on: date
    source: str
    counts: tuple[VehicleCount, ...]


@dataclass(frozen=True, slots=True)
class Stock:
    """A statement as it was recorded; `version` counts the statements on its day, so 2 and more are corrections."""

    statement: Statement
    version: int
    recorded_at: datetime


def check(statement: Statement, *, today: date, districts: Sequence[str] = ()) -> Statement:
    """The statement when it can be true, its counts in order. Raises InvalidStock. No `districts`: any name will do."""
    if not EARLIEST <= statement.on <= today:
        raise InvalidStock(f"a stock is of a day from {EARLIEST} to today")
    if not 0 < len(statement.counts) <= MOST_COUNTS:
        raise InvalidStock(f"1 to {MOST_COUNTS} counts")
    if len({each.key for each in statement.counts}) < len(statement.counts):
        raise InvalidStock("a class, drive and district is counted twice")
    whole = {each.key[:3] for each in statement.counts if each.district is None}
    if any(each.key[:3] in whole for each in statement.counts if each.district is not None):
        raise InvalidStock("a class and drive is counted for the whole city and by district: the same vehicles would count twice")
    for each in statement.counts:
        if not 0 <= each.vehicles <= MOST_VEHICLES:
            raise InvalidStock(f"{each.vehicles} is not a number of vehicles (0 to {MOST_VEHICLES})")
        if each.district is not None and (not each.district or len(each.district) > 80 or not each.district.isprintable()):
            raise InvalidStock("a district has 1 to 80 printable characters")
        if each.district is not None and districts and each.district not in districts:
            raise InvalidStock(f"there is no district {each.district}")
    return Statement(statement.on, statement.source, tuple(sorted(statement.counts, key=lambda each: each.key)))


def with_dropped(new: Iterable[VehicleCount], known: Iterable[VehicleCount]) -> list[VehicleCount]:
    """The counts of a correction: what was counted before and is not named any more is corrected to 0."""
    listed = list(new)
    named = {each.key for each in listed}
    dropped = [
        VehicleCount(each.vehicle_class, each.drive, each.standard, 0, each.district)
        for each in known
        if each.key not in named and each.vehicles
    ]
    return sorted(listed + dropped, key=lambda each: each.key)
