"""Closed instants: what a journal said at an instant may be published only once no row can still appear under it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, ColumnElement, String

from cityloop_common.columns import UtcDateTime
from cityloop_common.errors import Invalid

CLOSED_AFTER = timedelta(seconds=60)  # a unit is refused when COMMIT comes over 30 s after recorded_at; clocks differ by up to 5 s


@dataclass(frozen=True, slots=True)
class KnownAt:
    """The instant up to which rows are looked at, and whether later commits could still change the answer."""

    at: datetime
    provisional: bool


def closed_instant(now: datetime) -> datetime:
    """The latest instant under which no row can appear any more."""
    return now - CLOSED_AFTER


def known_at(asked: datetime | None, *, now: datetime) -> KnownAt:
    """The instant to evaluate at: the latest closed one unless another is asked for. Raises Invalid for the future."""
    if asked is None:
        return KnownAt(closed_instant(now), provisional=False)
    if asked > now:
        raise Invalid("known_at lies in the future")
    return KnownAt(asked, provisional=asked > closed_instant(now))


def journal_columns() -> list[Column[object]]:
    """What every journal row says about itself; a correction names the row that it corrects."""
    return [
        Column("happened_at", UtcDateTime, nullable=False),
        Column("recorded_at", UtcDateTime, nullable=False),
        Column("source", String(100), nullable=False),
        Column("event_id", String(36), nullable=False),
        Column("corrects", String(36)),
    ]


def as_known(recorded_at: ColumnElement[datetime], known: KnownAt) -> ColumnElement[bool]:
    """The condition under which a journal row belongs to what was known."""
    return recorded_at <= known.at
