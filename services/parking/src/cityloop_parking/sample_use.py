"""How full the invented car parks are at any instant: a day's rhythm by what stands around, and chance that moves slowly.

A function of place and time alone, so that what was counted weeks ago and what is counted now are of one city.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache

from cityloop_common.clock import CITY_TZ
from cityloop_common.rng import Rng
from cityloop_parking.places.domain import Category, PlaceFacts, PlaceKind

_SEED = "sample"
_HOUR_S = 3600.0
# How far apart the turns of chance are, and how far it goes from the rhythm: the town's weather, a place's day, its quarter hours.
_TOWN = (6 * _HOUR_S, 0.05)
_DAY = (3 * _HOUR_S, 0.11)
_QUARTERS = (0.5 * _HOUR_S, 0.035)
_MOST_TAKEN = {Category.STANDARD: 1.0, Category.EV: 0.95, Category.ACCESSIBLE: 0.7}


class Rhythm(Enum):
    """Peaks of a weekday and of a weekend day: local hour, how wide in hours, how high; and what is taken at any time."""

    WORK = (0.12, ((9.8, 2.4, 0.55), (15.0, 2.6, 0.60)), ((11.0, 3.0, 0.18), (16.0, 3.0, 0.20)))
    HOME = (0.30, ((1.5, 4.5, 0.58), (22.8, 3.2, 0.58)), ((1.5, 5.0, 0.60), (12.5, 3.0, 0.25), (22.5, 3.5, 0.55)))
    TOWN = (0.10, ((12.2, 1.8, 0.45), (19.0, 2.3, 0.66)), ((12.8, 2.5, 0.66), (19.2, 2.6, 0.80)))

    def share(self, at: datetime) -> float:
        """How much of a place is taken at a local time, without chance."""
        base, weekday, weekend = self.value
        hour = at.hour + at.minute / 60 + at.second / 3600
        peaks = weekend if at.weekday() >= 5 else weekday
        return float(base + sum(height * math.exp(-((_around(hour, middle) / width) ** 2)) for middle, width, height in peaks))


def rhythm_of(facts: PlaceFacts) -> Rhythm:
    """Homes fill in the evening, streets at meals and in the evening, all else by day."""
    if "小区" in facts.name:
        return Rhythm.HOME
    return Rhythm.TOWN if facts.kind is PlaceKind.ON_STREET or int(facts.source_id) % 4 == 0 else Rhythm.WORK


def taken(facts: PlaceFacts, at: datetime) -> Mapping[Category, int]:
    """How many spaces of each category are taken."""
    at_s = at.timestamp()
    rhythm = rhythm_of(facts).share(at.astimezone(CITY_TZ))
    share = rhythm + _chance("town", at_s, *_TOWN) + _chance(facts.id, at_s, *_DAY)
    return {pool.category: _spaces(facts, pool.category, pool.capacity, share, at_s) for pool in facts.pools}


def _spaces(facts: PlaceFacts, category: Category, capacity: int, share: float, at_s: float) -> int:
    own = share + _chance(f"{facts.id}/{category}", at_s, *_QUARTERS)
    return min(capacity, max(0, round(capacity * own * _MOST_TAKEN.get(category, 1.0))))


def _around(hour: float, middle: float) -> float:
    """Hours between two times of day, round the clock."""
    apart = abs(hour - middle) % 24
    return min(apart, 24 - apart)


def _chance(of: str, at_s: float, every_s: float, most: float) -> float:
    """A smooth way through random turns, `every_s` apart and at most `most` off."""
    turn, way = divmod(at_s / every_s, 1.0)
    before, after = _turn(of, every_s, int(turn)), _turn(of, every_s, int(turn) + 1)
    return most * (before + (after - before) * way * way * (3 - 2 * way))


@lru_cache(maxsize=20_000)
def _turn(of: str, every_s: float, number: int) -> float:
    return Rng(_SEED).stream(f"{of}/{every_s:.0f}/{number}").uniform(-1.0, 1.0)
