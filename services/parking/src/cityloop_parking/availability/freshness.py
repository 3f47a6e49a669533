"""How far a shown number can be trusted, by the age of the counts behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

LIVE_INTERVALS = 2
LATE_INTERVALS = 4
UNKNOWN_AFTER_S = 24 * 3600.0
FORECAST_UNTIL_S = 7 * 24 * 3600.0


class Freshness(StrEnum):
    """How much a count can be trusted: `live` is younger than two of its source's intervals, `late` older.

    `forecast`: every count of the place is older than four intervals, and what is expected now is told beside them; for a week.
    `unknown`: older than a day without a forecast, or never counted. `closed`: the place takes nobody.
    """

    LIVE = "live"
    LATE = "late"
    FORECAST = "forecast"
    UNKNOWN = "unknown"
    CLOSED = "closed"


class Aged(NamedTuple):
    """How old a count is and how often its source reports."""

    age_s: float
    interval_s: int


def of_count(count: Aged) -> Freshness:
    """The class of one count; one from the near future is live."""
    if count.age_s > UNKNOWN_AFTER_S:
        return Freshness.UNKNOWN
    return Freshness.LIVE if count.age_s <= LIVE_INTERVALS * count.interval_s else Freshness.LATE


def of_counts(counts: Sequence[Aged]) -> Freshness:
    """The class of a place that is open and has no forecast: that of its oldest count that is not too old to be shown."""
    classes = {of_count(count) for count in counts} - {Freshness.UNKNOWN}
    if not classes:
        return Freshness.UNKNOWN
    return Freshness.LATE if Freshness.LATE in classes else Freshness.LIVE


def is_silent(counts: Sequence[Aged]) -> bool:
    """Whether a forecast says more than the counts: none is younger than four intervals, and one is not older than a week."""
    if not counts:
        return False
    return min(count.age_s for count in counts) <= FORECAST_UNTIL_S and all(
        count.age_s > LATE_INTERVALS * count.interval_s for count in counts
    )


def closed_until(windows: Iterable[tuple[float, float]], at_s: float) -> float | None:
    """The end of the window that an instant lies in; windows are half-open seconds since the epoch."""
    return next((ends_s for starts_s, ends_s in windows if starts_s <= at_s < ends_s), None)


def is_closed(windows: Iterable[tuple[float, float]], at_s: float, *, is_open: bool) -> bool:
    """Whether a place takes nobody at the instant that is asked about; `is_open` is what its operator says of it."""
    return not is_open or closed_until(windows, at_s) is not None
