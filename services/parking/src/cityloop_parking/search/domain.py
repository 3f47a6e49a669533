"""What a driver is told of a car park, and how old the numbers may be before they are called old."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from cityloop_common.clock import rfc3339
from cityloop_parking.availability.freshness import (
    LATE_INTERVALS,
    LIVE_INTERVALS,
    UNKNOWN_AFTER_S,
    Aged,
    Freshness,
    closed_until,
    is_closed,
    is_silent,
    of_count,
    of_counts,
)
from cityloop_parking.availability.outlook import Outlook
from cityloop_parking.chargers.domain import EvBays
from cityloop_parking.closures.domain import CLOSED_FOR, Window
from cityloop_parking.places.domain import Category, PlaceKind, PlaceState

CHANGE = "place"  # the kind of our entries in the fan-out stream
HEARD = "chargers_heard_at"  # in such an entry: when charging had been heard for it
CHARGERS_LIVE_S = 30 * 60.0  # of the whole charging service: a charger that stays as it is says nothing
NEVER = -float("inf")
ANNOUNCED_S = 24 * 3600.0  # how far ahead a closure is shown
FOR_EVER = float("inf")
OUTLOOK_FOR_S = 300.0  # for how long a forecast of "now" is shown; it is made anew each minute


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
    return of_count(_aged(count, now_s))


def is_closed_at(place: Shown, at_s: float) -> bool:
    """Whether a place takes nobody at an instant, as far as its windows are known."""
    return is_closed(place.windows, at_s, is_open=place.is_open)


def is_silent_at(place: Shown, now_s: float) -> bool:
    """Whether a forecast says more of a place than its counts do, at an instant at which it takes cars."""
    return not is_closed_at(place, now_s) and is_silent([_aged(count, now_s) for count in place.counts])


def chargers_freshness(heard_s: float, now_s: float) -> Freshness:
    """The class of what is known of all chargers, by when charging said anything last."""
    age_s = now_s - heard_s
    if age_s > UNKNOWN_AFTER_S:
        return Freshness.UNKNOWN
    return Freshness.LIVE if age_s <= CHARGERS_LIVE_S else Freshness.LATE


def class_of(place: Shown, now_s: float, outlook: Outlook | None = None) -> Freshness:
    """The class of what is shown of a place as a whole: that of its oldest number that is not too old to be shown.

    A place that is silent and has an outlook of these minutes is shown as it is expected.
    """
    if is_closed_at(place, now_s):
        return Freshness.CLOSED
    ages = [_aged(count, now_s) for count in place.counts]
    if outlook is not None and now_s <= outlook.at.timestamp() + OUTLOOK_FOR_S and is_silent(ages):
        return Freshness.FORECAST
    return of_counts(ages)


def continues(before: Outlook, after: Outlook) -> bool:
    """Whether a later forecast of "now" shows the same numbers as one that is still shown: only its instant is another."""
    is_shown = after.at.timestamp() <= before.at.timestamp() + OUTLOOK_FOR_S
    return is_shown and {**before.body(), "at": None} == {**after.body(), "at": None}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A place's JSON without its closing brace, true until `valid_until_s`."""

    body: bytes
    valid_until_s: float


def render(place: Shown, now_s: float, *, heard_s: float = NEVER, outlook: Outlook | None = None) -> Rendered:
    """Numbers older than a day are not shown; `as_of`, source and class are those of the oldest number that is.

    `heard_s` is when charging said anything last. `outlook` is shown beside the numbers of a silent place, never in their stead.
    """
    overall, closed_until_s = class_of(place, now_s, outlook), _closed_until(place, now_s)
    is_open = overall is not Freshness.CLOSED
    known = [count for count in place.counts if is_open and freshness(count, now_s) is not Freshness.UNKNOWN]
    spoken_for = min(known, key=_age) if known else max(place.counts, key=_age, default=None)
    tail = {
        "state": PlaceState.OPEN if is_open else PlaceState.CLOSED,
        "free": {count.category: _free(count, place.capacity) for count in known},
        "as_of": _instant(spoken_for.observed_at_s) if spoken_for else None,
        "source": spoken_for.source if spoken_for else None,
        "freshness": overall,
        "forecast": outlook.body() if outlook is not None and overall is Freshness.FORECAST else None,
        "charging": None if place.charging is None else _charging(place.charging, heard_s, now_s, is_open=is_open),
        "closed_until": None if closed_until_s is None else _instant(closed_until_s),
        "closed_for": None if closed_until_s is None else CLOSED_FOR,
        "closures": [
            {"starts_at": _instant(starts_s), "ends_at": _instant(ends_s)}
            for starts_s, ends_s in place.windows
            if starts_s - ANNOUNCED_S < now_s < starts_s
        ],
    }
    ends = () if outlook is None else (outlook.at.timestamp() + OUTLOOK_FOR_S,)
    valid_until_s = min((turn for turn in (*_turns(place, heard_s), *ends) if turn >= now_s), default=FOR_EVER)
    return Rendered(place.fixed + b"," + orjson.dumps(tail)[1:-1], valid_until_s)


def turned(place: Shown, since_s: float, now_s: float) -> bool:
    """Whether the clock alone changed what is shown between two instants: a count's class, a window's announcement, begin or end."""
    return any(since_s <= turn < now_s for turn in turns(place))


def _closed_until(place: Shown, now_s: float) -> float | None:
    """The end of the window that an instant lies in, for a place that is open otherwise."""
    return closed_until(place.windows, now_s) if place.is_open else None


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


def _aged(count: LiveCount, now_s: float) -> Aged:
    return Aged(now_s - count.observed_at_s, count.interval_s)


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


def silences(place: Shown) -> Iterator[float]:
    """The last instant before every count of a place is so old that a forecast says more."""
    if place.is_open and place.counts:
        yield max(count.observed_at_s + LATE_INTERVALS * count.interval_s for count in place.counts)


def _turns(place: Shown, heard_s: float) -> Iterator[float]:
    """Those, and the last instants before the chargers' class is another."""
    yield from turns(place)
    if place.charging is not None:
        yield heard_s + CHARGERS_LIVE_S
        yield heard_s + UNKNOWN_AFTER_S
