"""Streets to measure on: a plane of hundreds of metres around the city's centre, roads at ten metres a second."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cityloop_common.geo import Position
from cityloop_waste.roads.domain import Ban, Road

LON, LAT = 109.787, 39.565
EAST, NORTH = 100 / (111_194.9 * math.cos(math.radians(LAT))), 100 / 111_194.9  # 100 m in degrees
SQUARE = ((0, 0), (10, 0), (10, 10), (0, 10), (0, 0))


def at(east: float, north: float) -> Position:
    """A position so many hundreds of metres from the centre."""
    return Position(LON + east * EAST, LAT + north * NORTH)


def road(
    *line: tuple[float, float],
    oneway: bool = False,
    speed_kmh: int = 36,
    max_mass_kg: int | None = None,
    id: str = "",
    narrow: bool = False,
    bans: Sequence[Ban] = (),
) -> Road:
    """A road at 10 m/s."""
    return Road(id or "road", tuple(at(*each) for each in line), oneway, speed_kmh, max_mass_kg, id=id, narrow=narrow, bans=tuple(bans))
