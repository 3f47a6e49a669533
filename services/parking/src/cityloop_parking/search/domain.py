"""What a driver is told of a car park, and how old the numbers may be before they are called old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import orjson

from cityloop_common.clock import rfc3339

CHANGE = "place"  # the kind of our entries in the fan-out stream
LIVE_INTERVALS = 2
UNKNOWN_AFTER_S = 24 * 3600.0
FOR_EVER = float("inf")


class Freshness(StrEnum):
    """How much a count can be trusted: `live` is younger than two of its source's intervals, `unknown` older than a day or none."""

    LIVE = "live"
    LATE = "late"
    UNKNOWN = "unknown"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LiveCount:
    """The newest count of one category; `observed_at_s` is seconds since the epoch."""

    category: str
    occupied: int
    capacity: int
    observed_at_s: float
    source: str
    interval_s: int


@dataclass(frozen=True, slots=True)
class Shown:
    """What search knows of one place, at one version of its entry."""

    id: str
    version: int
    lon: float
    lat: float
    is_open: bool
    capacity: Mapping[str, int]
    fixed: bytes  # the JSON of what does not change with time, without its closing brace
    counts: tuple[LiveCount, ...]


def shown(place: Mapping[str, object], counts: Sequence[LiveCount], *, version: int) -> Shown:
    """A place as its event describes it, with its counts."""
    position = {"lon": place["lon"], "lat": place["lat"]}
    fixed = {key: value for key, value in place.items() if key not in ("lon", "lat")}
    fixed = {"id": fixed.pop("id"), "name": fixed.pop("name"), "position": position, **fixed}
    capacity = place["capacity"]
    assert isinstance(capacity, dict)
    lon, lat = place["lon"], place["lat"]
    assert isinstance(lon, float | int)
    assert isinstance(lat, float | int)
    return Shown(
        str(place["id"]), version, float(lon), float(lat), place["state"] == "open", capacity, orjson.dumps(fixed)[:-1], tuple(counts)
    )


def freshness(count: LiveCount, now_s: float) -> Freshness:
    """The class of one count at an instant; one from the near future is live."""
    age_s = now_s - count.observed_at_s
    if age_s > UNKNOWN_AFTER_S:
        return Freshness.UNKNOWN
    return Freshness.LIVE if age_s <= LIVE_INTERVALS * count.interval_s else Freshness.LATE


@dataclass(frozen=True, slots=True)
class Rendered:
    """A place's JSON without its closing brace, true until `valid_until_s`."""

    body: bytes
    valid_until_s: float


def render(place: Shown, now_s: float) -> Rendered:
    """Numbers older than a day are not shown; `as_of`, source and class are those of the oldest number that is."""
    known = [count for count in place.counts if freshness(count, now_s) is not Freshness.UNKNOWN]
    if not place.is_open:
        known, overall = [], Freshness.CLOSED
    elif not known:
        overall = Freshness.UNKNOWN
    else:
        overall = Freshness.LATE if any(freshness(count, now_s) is Freshness.LATE for count in known) else Freshness.LIVE
    spoken_for = min(known, key=_age) if known else max(place.counts, key=_age, default=None)
    tail = {
        "free": {count.category: _free(count, place.capacity) for count in known},
        "as_of": rfc3339(datetime.fromtimestamp(spoken_for.observed_at_s, UTC)) if spoken_for else None,
        "source": spoken_for.source if spoken_for else None,
        "freshness": overall,
    }
    return Rendered(place.fixed + b"," + orjson.dumps(tail)[1:-1], _valid_until(place, now_s))


def _age(count: LiveCount) -> float:
    return count.observed_at_s


def _free(count: LiveCount, capacity: Mapping[str, int]) -> int:
    """Never below zero, never more than the place has."""
    free = max(0, count.capacity - count.occupied)
    return min(free, capacity[count.category]) if count.category in capacity else free


def _valid_until(place: Shown, now_s: float) -> float:
    """The next instant at which some count changes its class."""
    if not place.is_open:
        return FOR_EVER
    turns = [
        turn
        for count in place.counts
        for turn in (count.observed_at_s + LIVE_INTERVALS * count.interval_s, count.observed_at_s + UNKNOWN_AFTER_S)
        if turn >= now_s
    ]
    return min(turns, default=FOR_EVER)
