"""What a driver is told of a car park, and how old the numbers may be before they are called old."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import orjson

from cityloop_common.clock import rfc3339
from cityloop_parking.chargers.domain import EvBays
from cityloop_parking.closures.domain import CLOSED_FOR, Window
from cityloop_parking.places.domain import Category, PlaceKind, PlaceState

CHANGE = "place"  # the kind of our entries in the fan-out stream
HEARD = "chargers_heard_at"  # in such an entry: when charging had been heard for it
LIVE_INTERVALS = 2
UNKNOWN_AFTER_S = 24 * 3600.0
CHARGERS_LIVE_S = 30 * 60.0  # of the whole charging service: a charger that stays as it is says nothing
NEVER = -float("inf")
ANNOUNCED_S = 24 * 3600.0  # how far ahead a closure is shown
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
class Parts:
    """What is known of a place besides its own facts."""

    counts: Sequence[LiveCount] = ()
    charging: EvBays | None = None
    closures: Sequence[Window] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """What search knows of one place, at one version of its entry.

    `windows` are those in which collection closes it, as half-open seconds since the epoch, in their order; none overlap.
    """

    id: str
    version: int
    lon: float
    lat: float
    is_open: bool
    capacity: Mapping[str, int]
    fixed: bytes  # the JSON of what does not change with time, without its closing brace
    counts: tuple[LiveCount, ...]
    charging: EvBays | None
    windows: tuple[tuple[float, float], ...]


def shown(place: Mapping[str, object], parts: Parts, *, version: int) -> Shown:
    """A place as its event describes it, with what else is known. Only a section of street is closed for collection."""
    position = {"lon": place["lon"], "lat": place["lat"]}
    fixed = {key: value for key, value in place.items() if key not in ("lon", "lat", "state")}
    fixed = {"id": fixed.pop("id"), "name": fixed.pop("name"), "position": position, **fixed}
    capacity = place["capacity"]
    assert isinstance(capacity, dict)
    lon, lat = place["lon"], place["lat"]
    assert isinstance(lon, float | int)
    assert isinstance(lat, float | int)
    bays = sum(spaces for category, spaces in capacity.items() if category != Category.MOTORCYCLE)
    closures = parts.closures if place.get("kind") == PlaceKind.ON_STREET else ()
    return Shown(
        id=str(place["id"]),
        version=version,
        lon=float(lon),
        lat=float(lat),
        is_open=place["state"] == PlaceState.OPEN,
        capacity=capacity,
        fixed=orjson.dumps(fixed)[:-1],
        counts=tuple(parts.counts),
        charging=None if parts.charging is None else parts.charging.within(bays),
        windows=tuple((each.starts_at.timestamp(), each.ends_at.timestamp()) for each in closures),
    )


def freshness(count: LiveCount, now_s: float) -> Freshness:
    """The class of one count at an instant; one from the near future is live."""
    age_s = now_s - count.observed_at_s
    if age_s > UNKNOWN_AFTER_S:
        return Freshness.UNKNOWN
    return Freshness.LIVE if age_s <= LIVE_INTERVALS * count.interval_s else Freshness.LATE


def chargers_freshness(heard_s: float, now_s: float) -> Freshness:
    """The class of what is known of all chargers, by when charging said anything last."""
    age_s = now_s - heard_s
    if age_s > UNKNOWN_AFTER_S:
        return Freshness.UNKNOWN
    return Freshness.LIVE if age_s <= CHARGERS_LIVE_S else Freshness.LATE


def class_of(place: Shown, now_s: float) -> Freshness:
    """The class of what is shown of a place as a whole: that of its oldest number that is not too old to be shown."""
    if not place.is_open or _closed_until(place, now_s) is not None:
        return Freshness.CLOSED
    classes = {freshness(count, now_s) for count in place.counts} - {Freshness.UNKNOWN}
    if not classes:
        return Freshness.UNKNOWN
    return Freshness.LATE if Freshness.LATE in classes else Freshness.LIVE


@dataclass(frozen=True, slots=True)
class Rendered:
    """A place's JSON without its closing brace, true until `valid_until_s`."""

    body: bytes
    valid_until_s: float


def render(place: Shown, now_s: float, *, heard_s: float = NEVER) -> Rendered:
    """Numbers older than a day are not shown; `as_of`, source and class are those of the oldest number that is.

    `heard_s` is when charging said anything last.
    """
    overall, closed_until_s = class_of(place, now_s), _closed_until(place, now_s)
    is_open = overall is not Freshness.CLOSED
    known = [count for count in place.counts if is_open and freshness(count, now_s) is not Freshness.UNKNOWN]
    spoken_for = min(known, key=_age) if known else max(place.counts, key=_age, default=None)
    tail = {
        "state": PlaceState.OPEN if is_open else PlaceState.CLOSED,
        "free": {count.category: _free(count, place.capacity) for count in known},
        "as_of": _instant(spoken_for.observed_at_s) if spoken_for else None,
        "source": spoken_for.source if spoken_for else None,
        "freshness": overall,
        "charging": None if place.charging is None else _charging(place.charging, heard_s, now_s, is_open=is_open),
        "closed_until": None if closed_until_s is None else _instant(closed_until_s),
        "closed_for": None if closed_until_s is None else CLOSED_FOR,
        "closures": [
            {"starts_at": _instant(starts_s), "ends_at": _instant(ends_s)}
            for starts_s, ends_s in place.windows
            if starts_s - ANNOUNCED_S < now_s < starts_s
        ],
    }
    valid_until_s = min((turn for turn in _turns(place, heard_s) if turn >= now_s), default=FOR_EVER)
    return Rendered(place.fixed + b"," + orjson.dumps(tail)[1:-1], valid_until_s)


def turned(place: Shown, since_s: float, now_s: float) -> bool:
    """Whether the clock alone changed what is shown between two instants: a count's class, a window's announcement, begin or end."""
    return any(since_s <= turn < now_s for turn in turns(place))


def _closed_until(place: Shown, now_s: float) -> float | None:
    """The end of the window that an instant lies in, for a place that is open otherwise."""
    if not place.is_open:
        return None
    return next((ends_s for starts_s, ends_s in place.windows if starts_s <= now_s < ends_s), None)


def _charging(bays: EvBays, heard_s: float, now_s: float, *, is_open: bool) -> Mapping[str, object]:
    """Charging bays. What they do is not said after a day of silence, nor whether one is free in a place that takes nobody."""
    age = chargers_freshness(heard_s, now_s)
    is_known = age is not Freshness.UNKNOWN
    return {
        "bays": bays.bays,
        "working": bays.working if is_known else None,
        "free": bays.free if is_known and is_open else None,
        "as_of": None if bays.as_of is None else rfc3339(bays.as_of),
        "heard_at": None if heard_s == NEVER else _instant(heard_s),
        "freshness": age,
    }


def _instant(at_s: float) -> str:
    return rfc3339(datetime.fromtimestamp(at_s, UTC))


def _age(count: LiveCount) -> float:
    return count.observed_at_s


def _free(count: LiveCount, capacity: Mapping[str, int]) -> int:
    """Never below zero, never more than the place has."""
    free = max(0, count.capacity - count.occupied)
    return min(free, capacity[count.category]) if count.category in capacity else free


def turns(place: Shown) -> Iterator[float]:
    """The last instants before something of the place itself is shown otherwise: a count's class, a window's announcement or edge."""
    for count in place.counts if place.is_open else ():
        yield count.observed_at_s + LIVE_INTERVALS * count.interval_s
        yield count.observed_at_s + UNKNOWN_AFTER_S
    for starts_s, ends_s in place.windows:
        yield starts_s - ANNOUNCED_S
        yield math.nextafter(starts_s, 0.0)
        yield math.nextafter(ends_s, 0.0)


def _turns(place: Shown, heard_s: float) -> Iterator[float]:
    """Those, and the last instants before the chargers' class is another."""
    yield from turns(place)
    if place.charging is not None:
        yield heard_s + CHARGERS_LIVE_S
        yield heard_s + UNKNOWN_AFTER_S
