"""What a collection point is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from cityloop_common.geo import Position
from cityloop_waste import registry
from cityloop_waste.registry import Hours
from cityloop_waste.streams import Stream

PointId = NewType("PointId", str)
MOST_KG = 100_000
MOST_DM3 = 200_000
LONGEST_SERVICE_S = 8 * 3600


@dataclass(frozen=True, slots=True)
class Demand:
    """What usually stands at a point of one stream, and how long taking it lasts."""

    stream: Stream
    mass_kg: int
    volume_dm3: int
    service_s: int


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
