"""What a collection point is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NewType

from cityloop_common.geo import Position
from cityloop_waste import registry
from cityloop_waste.registry import LATER, Hours
from cityloop_waste.streams import Stream

PointId = NewType("PointId", str)
MOST_KG = 100_000
MOST_DM3 = 200_000
LONGEST_SERVICE_S = 8 * 3600
MOST_CONTAINERS = 200
MOST_TRUCKS = 100
FARTHEST_PRIZE_M = 100_000_000


@dataclass(frozen=True, slots=True)
class Demand:
    """What usually stands at a point of one stream, and how long taking it lasts, that of all `containers` together.

    `trucks` names the only ones that may come (a narrow lane, a bin that not all can lift); none named: all of the stream. With
    a `prize_m` it is left standing when taking it would lengthen the day by more metres; None: only when no room is left.
    """

    stream: Stream
    mass_kg: int
    volume_dm3: int
    service_s: int
    containers: int = field(default=0, metadata=LATER)
    trucks: tuple[str, ...] = field(default=(), metadata=LATER)
    prize_m: int | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True)
class CollectionPoint:
    """A place where containers stand; without windows it may be served at any time of a shift."""

    id: PointId
    name: str
    name_en: str | None
    position: Position
    district: str | None
    demands: tuple[Demand, ...]
    windows: tuple[Hours, ...] = ()
    active: bool = True
    invented: bool = False

    def content_hash(self) -> str:
        """Equal for equal facts."""
        return registry.content_hash(self)
