"""What a report says of an EVSE, which one is the newest, and how old the newest may be before it is called old."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cityloop_charging.registry.domain import EvseUid, Lifecycle

INTERVAL = timedelta(minutes=15)  # operators repeat an unchanged status every 5 to 10 minutes; some every 15
LIVE_INTERVALS = 2
UNKNOWN_AFTER = timedelta(hours=24)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """OCPI's words. BLOCKED: a car keeps others away without charging. CHARGING and BLOCKED are occupied, RESERVED is not free."""

    AVAILABLE = "AVAILABLE"
    BLOCKED = "BLOCKED"
    CHARGING = "CHARGING"
    INOPERATIVE = "INOPERATIVE"
    OUTOFORDER = "OUTOFORDER"
    PLANNED = "PLANNED"
    REMOVED = "REMOVED"
    RESERVED = "RESERVED"
    UNKNOWN = "UNKNOWN"


class Freshness(StrEnum):
    """How far a shown status can be trusted: `live` was confirmed within two intervals, `unknown` not within a day."""

    LIVE = "live"
    LATE = "late"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What became of a report.

    `current`: it is what people see now. `unchanged`: it repeats what is known, and the EVSE was heard of. `superseded`:
    something newer is known; it is journalled all the same.
    """

    CURRENT = "current"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class KnownEvse:
    """What an event says of the EVSE besides its status."""

    uid: EvseUid
    location_id: str
    operator_id: str
    bay_no: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One EVSE's status at one instant. `seq` orders reports of the same instant; park and lock status are kept as they came."""

    evse: KnownEvse
    status: Status
    happened_at: datetime
    source: str
    seq: int = 0
    park_status: int | None = None
    lock_status: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the journal. Of an EVSE's entries the greatest `order` is the newest."""

    id: str
    report: Report
    recorded_at: datetime

    @property
    def order(self) -> tuple[datetime, int, datetime, str]:
        return (self.report.happened_at, self.report.seq, self.recorded_at, self.id)


@dataclass(frozen=True, slots=True)
class Live:
    """What is known of an EVSE now.

    `entry` is the journal row that says so, its `happened_at` since when. `last_at` and `last_seq` are those of the newest
    report, which may have changed nothing. `version` counts the statuses that were told, `event_id` told of this one.
    """

    entry: Entry
    last_at: datetime
    last_seq: int
    version: int
    event_id: str

    @property
    def status(self) -> Status:
        return self.entry.report.status

    @property
    def since(self) -> datetime:
        return self.entry.report.happened_at


@dataclass(frozen=True, slots=True)
class Judged:
    """What a report does: entries for the journal, the EVSE as it is known then, and whether that must be told."""

    outcome: Outcome
    live: Live
    entries: tuple[Entry, ...] = ()
    told: bool = False


@dataclass(frozen=True, slots=True)
class Repeated:
    """That the status which a late report interrupts was reported again: the first time after it that is known of."""

    status: Status
    at: datetime


def interrupts(live: Live, report: Report) -> bool:
    """Whether a report is late and may say something else than what was reported before and after it."""
    order = (report.happened_at, report.seq)
    repeats = report.status is live.status and order >= (live.since, live.entry.report.seq)
    return order < (live.last_at, live.last_seq) and not repeats


def judge(live: Live | None, report: Report, *, recorded_at: datetime, ids: Iterator[str], repeated: Repeated | None = None) -> Judged:
    """Places a report among what is known. `ids` gives ids of journal rows and events, ascending.

    A late report that differs gets a second entry after it, where the status that it interrupts was repeated: the repetition
    changed nothing when it came, and now ends what the late one says. `repeated` is what is known of it. Live state and
    journal never disagree: `live.entry` is always the newest of the EVSE's entries. So within the present status the newest
    report is such a repetition, whatever else is known.
    """
    if live is None:
        return _became_current(Entry(next(ids), report, recorded_at), version=1, ids=ids)
    order, first, last = (report.happened_at, report.seq), (live.since, live.entry.report.seq), (live.last_at, live.last_seq)
    if report.status is live.status and order >= first:
        newest = max(order, last)
        return Judged(Outcome.UNCHANGED, replace(live, last_at=newest[0], last_seq=newest[1]))
    entry = Entry(next(ids), report, recorded_at)
    in_no_entry = last > first  # the newest report changed nothing
    if order > last or (order == last and (in_no_entry or entry.order > live.entry.order)):
        return _became_current(entry, version=live.version + 1, ids=ids)
    if not in_no_entry or entry.order < live.entry.order:
        return Judged(Outcome.SUPERSEDED, live, (entry, *_affirmed(entry, repeated, ids)))
    at, seq = (live.last_at, live.last_seq) if repeated is None or repeated.at >= live.last_at else (repeated.at, 0)
    again = replace(live.entry.report, happened_at=at, seq=seq, park_status=None, lock_status=None)
    affirmed = Entry(next(ids), again, recorded_at)
    moved = replace(live, entry=affirmed, version=live.version + 1, event_id=next(ids))
    return Judged(Outcome.SUPERSEDED, moved, (entry, affirmed), told=True)


def _affirmed(late: Entry, repeated: Repeated | None, ids: Iterator[str]) -> Iterator[Entry]:
    if repeated is not None and repeated.status is not late.report.status:
        again = replace(late.report, status=repeated.status, happened_at=repeated.at, seq=0, park_status=None, lock_status=None)
        yield Entry(next(ids), again, late.recorded_at)


def _became_current(entry: Entry, *, version: int, ids: Iterator[str]) -> Judged:
    live = Live(entry, entry.report.happened_at, entry.report.seq, version, next(ids))
    return Judged(Outcome.CURRENT, live, (entry,), told=True)


def freshness(heard_at: datetime | None, now: datetime) -> Freshness:
    """The class of a status whose newest report is stamped `heard_at`; one from the near future is live."""
    if heard_at is None or now - heard_at > UNKNOWN_AFTER:
        return Freshness.UNKNOWN
    return Freshness.LIVE if now - heard_at <= LIVE_INTERVALS * INTERVAL else Freshness.LATE


def hour_of(at: datetime) -> datetime:
    """The hour that an instant falls in; the city's hours begin when UTC's do."""
    return at.replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Shown:
    """What people see of an EVSE. `since` and `as_of` are absent when nothing is known; `as_of` is the newest report's stamp."""

    status: Status
    since: datetime | None
    as_of: datetime | None
    freshness: Freshness


def shown(status: Status | None, since: datetime | None, heard_at: datetime | None, lifecycle: Lifecycle, now: datetime) -> Shown:
    """A status not confirmed for a day is no longer shown; one that is not there yet, or no more, says so instead."""
    age = freshness(heard_at, now)
    if lifecycle is Lifecycle.PLANNED:
        return Shown(Status.PLANNED, None, None, Freshness.UNKNOWN)
    if lifecycle is Lifecycle.REMOVED:
        return Shown(Status.REMOVED, None, heard_at, Freshness.UNKNOWN)
    if status is None or age is Freshness.UNKNOWN:
        return Shown(Status.UNKNOWN, None, heard_at, Freshness.UNKNOWN)
    return Shown(status, since, heard_at, age)
