"""What a driver is told of a place at an instant: how many spaces there may be free, and the chance of one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cityloop_common import errors
from cityloop_common.clock import instant, rfc3339
from cityloop_parking.availability.domain import Forecast

_UNESCAPED = re.compile(r" (\d\d:\d\d)$")  # a `+` in an address that is not written as %2B arrives as a space
FURTHEST = timedelta(days=7)
JUST_NOW = timedelta(seconds=60)  # clocks differ, and a request takes its time


class NoForecastThen(errors.Invalid):
    """A time that no forecast is made for."""

    slug, title = "forecast-time-invalid", "No forecast is made for that time"


@dataclass(frozen=True, slots=True)
class Spaces:
    """Free spaces as they are expected: the mean, and the bounds that eight of ten times hold them. `chance` is that of one at least."""

    capacity: int
    mean: float
    low: float
    high: float
    chance: float

    def body(self) -> Mapping[str, object]:
        """As JSON; spaces to a tenth, outward, and the chance to a thousandth."""
        low, high = math.floor(self.low * 10) / 10, math.ceil(self.high * 10) / 10
        free = {"mean": round(self.mean, 1), "low": low, "high": min(high, float(self.capacity))}
        return {"free": free, "chance": round(self.chance, 3)}


@dataclass(frozen=True, slots=True)
class Outlook:
    """A place at an instant, as expected from a count of `since`."""

    at: datetime
    since: datetime
    whole: Spaces
    categories: Mapping[str, Spaces]

    def body(self) -> Mapping[str, object]:
        """As JSON."""
        categories = {category: spaces.body() for category, spaces in self.categories.items()}
        return {"at": rfc3339(self.at), "since": rfc3339(self.since), **self.whole.body(), "categories": categories}


def spaces_of(forecast: Forecast) -> Spaces:
    """What a forecast of how much is taken says of what is free."""
    capacity = forecast.capacity
    free = capacity * (1 - forecast.rate)
    low, high = capacity * (1 - forecast.high), capacity * (1 - forecast.low)
    return Spaces(round(capacity), free, min(low, free), max(high, free), min(1.0, max(0.0, forecast.chance)))


def instant_asked(text: str, now: datetime, parameter: str) -> datetime:
    """The instant that a caller wrote in a parameter of the query. Raises NoForecastThen, with a pointer to it."""
    try:
        at = instant(_UNESCAPED.sub(r"+\1", text))
    except ValueError as error:
        raise _not(parameter, "An RFC 3339 instant with a time zone.") from error
    if not now - JUST_NOW <= at <= now + FURTHEST:
        raise _not(parameter, f"A time from now to {FURTHEST.days} days ahead.")
    return max(at, now)


def _not(parameter: str, detail: str) -> NoForecastThen:
    return NoForecastThen(detail, errors=[{"pointer": f"/query/{parameter}", "detail": detail}])
