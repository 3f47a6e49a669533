"""What a report says of an EVSE, which one is the newest, and how old the newest may be before it is called old."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
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


Order = tuple[datetime, int, datetime, str]
Key = tuple[EvseUid, datetime, int, Status]


def key_of(report: Report) -> Key:
    """What two late reports have in common that are one row of the journal."""
    return (report.evse.uid, report.happened_at, report.seq, report.status)


@dataclass(frozen=True, slots=True)
class Contact:
    """Reports of one EVSE and hour that changed nothing."""

    evse_uid: EvseUid
    hour: datetime
    first_at: datetime
    last_at: datetime
    count: int = 1

    def with_(self, other: Contact) -> Contact:
        """Both together, of the same EVSE and hour."""
        first_at, last_at = min(self.first_at, other.first_at), max(self.last_at, other.last_at)
        return replace(self, first_at=first_at, last_at=last_at, count=self.count + other.count)


@dataclass(frozen=True, slots=True)
class Around:
    """What was stored around a late report: the newest entry up to its instant, the instant of the next one, and contact.

    `in_hour` is the contact of the report's own hour (first, last), `later_at` the first one of a later hour. `journalled`: the
    report is in the journal already.
    """

    held: tuple[Order, Status] | None = None
    next_at: datetime | None = None
    in_hour: tuple[datetime, datetime] | None = None
    later_at: datetime | None = None
    journalled: bool = False


class Group:
    """Reports that are judged one after the other before any is stored: what lies around a late one, the group's own included.

    So a group needs to be read for once and written once, and comes to what its reports would have come to one by one.
    """

    def __init__(self, stored: Mapping[Key, Around]) -> None:
        self._stored = stored
        self._entries: dict[EvseUid, list[Entry]] = {}
        self._heard: dict[EvseUid, dict[datetime, Contact]] = {}
        self._late: set[Key] = set()

    @property
    def contacts(self) -> list[Contact]:
        """Of each EVSE and hour the reports that changed nothing."""
        return [contact for hours in self._heard.values() for contact in hours.values()]

    def add(self, report: Report, verdict: Judged) -> None:
        """A report has been judged."""
        if verdict.outcome is Outcome.UNCHANGED:
            at, hours = report.happened_at, self._heard.setdefault(report.evse.uid, {})
            new = Contact(report.evse.uid, hour_of(at), at, at)
            had = hours.get(new.hour)
            hours[new.hour] = new if had is None else had.with_(new)
        key = key_of(report)
        again = verdict.outcome is Outcome.SUPERSEDED and (key in self._late or self._around(key).journalled)
        self._late.add(key)
        for entry in verdict.entries[again:]:  # what the journal has stays one row, in its place
            insort(self._entries.setdefault(report.evse.uid, []), entry, key=_order)

    def repeated_after(self, report: Report) -> Repeated | None:
        """Where the status that a late report interrupts was reported again, as far as contact tells: to the first and last of an hour."""
        around, at = self._around(key_of(report)), report.happened_at
        own = self._entries.get(report.evse.uid, ())
        behind = bisect_right(own, at, key=_instant)
        held = [found for found in (around.held, *((each.order, each.report.status) for each in own[max(behind - 1, 0) : behind])) if found]
        heard_at = self._heard_after(around, report)
        following = [around.next_at, *(each.report.happened_at for each in own[behind : behind + 1])]
        if not held or heard_at is None or any(next_at is not None and next_at <= heard_at for next_at in following):
            return None
        order, status = max(held)
        if order[:2] > (at, report.seq):  # the same instant has a newer one: this one holds for no time
            return None
        return Repeated(status, heard_at)

    def _around(self, key: Key) -> Around:
        return self._stored.get(key, Around())

    def _heard_after(self, around: Around, report: Report) -> datetime | None:
        """Of the report's own hour the first contact after it, or the last; else the first of a later hour."""
        at, hour, hours = report.happened_at, hour_of(report.happened_at), self._heard.get(report.evse.uid, {})
        known = [around.in_hour] if around.in_hour else []
        known += [(own.first_at, own.last_at) for own in [hours.get(hour)] if own]
        if known and (last_at := max(last for _, last in known)) > at:
            first_at = min(first for first, _ in known)
            return first_at if first_at > at else last_at
        later = [own.first_at for own in hours.values() if own.hour > hour]
        return min([*later, *([around.later_at] if around.later_at else [])], default=None)


def _order(entry: Entry) -> Order:
    return entry.order


def _instant(entry: Entry) -> datetime:
    return entry.report.happened_at


def late_in(reports: Sequence[Report], lives: Mapping[EvseUid, Live]) -> list[Report]:
    """The reports of a group that are behind the newest of their EVSE by their turn: what is stored around them may be asked for."""
    newest = {uid: (live.last_at, live.last_seq) for uid, live in lives.items()}
    late: dict[Key, Report] = {}
    for report in reports:
        order = (report.happened_at, report.seq)
        if order < newest.setdefault(report.evse.uid, order):
            late.setdefault(key_of(report), report)
        newest[report.evse.uid] = max(newest[report.evse.uid], order)
    return list(late.values())


def never(_late: Report) -> None:
    """No repetition is known of."""


def judge(
    live: Live | None,
    report: Report,
    *,
    recorded_at: datetime,
    ids: Iterator[str],
    repeated_after: Callable[[Report], Repeated | None] = never,
) -> Judged:
    """Places a report among what is known. `ids` gives ids of journal rows and events, ascending.

    A late report that differs gets a second entry after it, where the status that it interrupts was repeated: the repetition
    changed nothing when it came, and now ends what the late one says. `repeated_after` is asked for it, of such a report only.
    Live state and journal never disagree: `live.entry` is always the newest of the EVSE's entries. So within the present
    status the newest report is such a repetition, whatever else is known.
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
    repeated = repeated_after(report) if order < last else None
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
