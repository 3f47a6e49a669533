"""Who collects and where it is tipped. A truck is dedicated to one stream and never changes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from cityloop_common import errors
from cityloop_common.geo import Position
from cityloop_waste import registry
from cityloop_waste.registry import LATER, Hours
from cityloop_waste.streams import COLOURS, Stream

TruckId = NewType("TruckId", str)
SiteId = NewType("SiteId", str)
DepotId = NewType("DepotId", str)
HEAVIEST_KG = 100_000
LARGEST_DM3 = 200_000
LONGEST_SERVICE_S = 8 * 3600
LARGEST_DAY = 10_000_000
LONGEST_OVERTIME_S = 8 * 3600


class FleetError(errors.CityLoopError):
    """Something about trucks and sites that the caller can understand::

    FleetError
    ├── SiteUnknown 422      no such site
    ├── TruckUnknown 422     no such truck in the registry
    └── DepotAmbiguous 422   trucks of the stream stand in several depots, and none was named (or one without trucks)
    """


class SiteUnknown(FleetError, errors.Invalid):
    slug, title = "site-unknown", "No such site"


class TruckUnknown(FleetError, errors.Invalid):
    slug, title = "truck-unknown", "No such truck"


class DepotAmbiguous(FleetError, errors.Invalid):
    slug, title = "depot-ambiguous", "Say from which depot"


class SiteKind(StrEnum):
    """What becomes of a load at a site. A transfer station only passes loads on: its loads are never counted."""

    RECYCLER = "recycler"
    BIOGAS = "biogas"
    INCINERATOR = "incinerator"
    LANDFILL = "landfill"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class Depot:
    """Where trucks stand at night."""

    id: DepotId
    name: str
    name_en: str | None
    position: Position
    active: bool = True
    invented: bool = False

    def content_hash(self) -> str:
        """Equal for equal facts."""
        return registry.content_hash(self)


@dataclass(frozen=True, slots=True)
class Truck:
    """A vehicle by its public number (no plate is kept); `max_mass_kg` is what it may weigh with its load, None = not known.

    `day_...` is the most that it takes in a day over all its trips, None = no cap; it may be back `overtime_s` after its shift.
    """

    id: TruckId
    operator_id: str
    stream: Stream
    depot_id: DepotId
    capacity_kg: int
    capacity_dm3: int
    shift: Hours
    max_mass_kg: int | None = None
    district: str | None = None
    active: bool = True
    invented: bool = False
    day_kg: int | None = field(default=None, metadata=LATER)
    day_dm3: int | None = field(default=None, metadata=LATER)
    day_stops: int | None = field(default=None, metadata=LATER)
    day_containers: int | None = field(default=None, metadata=LATER)
    overtime_s: int = field(default=0, metadata=LATER)

    @property
    def colour(self) -> str | None:
        """The regulated colour of its stream; construction waste has none."""
        return COLOURS[self.stream]

    def content_hash(self) -> str:
        """Equal for equal facts."""
        return registry.content_hash(self)


@dataclass(frozen=True, slots=True)
class Site:
    """Where loads are weighed and tipped. `haulers` are the operators whose trucks may come; none named: every truck's.

    An unload takes `queue_s` and `service_s` and starts within `opening` (none: at any time). It takes at most `day_kg` a day.
    """

    id: SiteId
    kind: SiteKind
    name: str
    name_en: str | None
    operator_id: str
    position: Position
    district: str | None
    streams: tuple[Stream, ...]
    service_s: int
    opening: tuple[Hours, ...] = ()
    haulers: tuple[str, ...] = ()
    active: bool = True
    invented: bool = False
    queue_s: int = field(default=0, metadata=LATER)
    day_kg: int | None = field(default=None, metadata=LATER)

    def admits(self, truck: Truck) -> bool:
        """Whether a truck's operator may unload here."""
        return not self.haulers or truck.operator_id in self.haulers

    def content_hash(self) -> str:
        """Equal for equal facts."""
        return registry.content_hash(self)
