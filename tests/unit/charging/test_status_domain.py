"""Laws of reports: the newest wins in any order, live state and journal never disagree, nothing is told that did not change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_charging.registry.domain import EvseUid, Lifecycle
from cityloop_charging.status.domain import (
    Entry,
    Freshness,
    Judged,
    KnownEvse,
    Live,
    Outcome,
    Repeated,
    Report,
    Status,
    freshness,
    hour_of,
    judge,
    shown,
)
from cityloop_charging.status.events import EVSE_STATUS_CHANGED, EvseStatusChangedV1, status_changed

NOON = datetime(2026, 6, 1, 4, 0, tzinfo=UTC)
EVSE = KnownEvse(EvseUid("999000001*S001*S00101"), "999000001*S001", "999000001")
FREE, BUSY, BROKEN = Status.AVAILABLE, Status.CHARGING, Status.OUTOFORDER


def report(minute: float, status: Status, seq: int = 1) -> Report:
    return Report(EVSE, status, NOON + timedelta(minutes=minute), "test", seq)


class Desk:
    """Reports one after the other, each learnt a second after the one before."""

    def __init__(self) -> None:
        self.live: Live | None = None
        self.journal: list[Entry] = []
        self.outcomes: list[Outcome] = []
        self.told: list[Live] = []
        self._ids: Iterator[str] = (f"{number:06d}" for number in count(1))

    def take(self, *reports: Report, skew_s: float = 0) -> Judged:
        for each in reports:
            at = NOON + timedelta(days=1, seconds=len(self.outcomes) + skew_s)
            verdict = judge(self.live, each, recorded_at=at, ids=self._ids)
            self.live = verdict.live
            self.journal += verdict.entries
            self.outcomes.append(verdict.outcome)
            if verdict.told:
                self.told.append(verdict.live)
        return verdict

    def as_of(self, minute: float) -> Status | None:
        """What the journal says of an instant."""
        known = [entry for entry in self.journal if entry.report.happened_at <= NOON + timedelta(minutes=minute)]
        return max(known, key=lambda entry: entry.order).report.status if known else None


def test_the_first_report_is_current() -> None:
    """It is journalled and told as version 1."""
    desk = Desk()
    verdict = desk.take(report(0, FREE))
    assert verdict.live == Live(verdict.entries[0], NOON, 1, 1, verdict.live.event_id)
    assert (verdict.outcome, verdict.told) == (Outcome.CURRENT, True)


def test_a_report_that_changes_nothing_moves_only_the_time_it_was_heard_of() -> None:
    """No entry, nothing told; since stays, the newest stamp moves, and never backwards."""
    desk = Desk()
    desk.take(report(0, FREE), report(20, FREE), report(10, FREE))
    assert desk.outcomes == [Outcome.CURRENT, Outcome.UNCHANGED, Outcome.UNCHANGED]
    assert desk.live is not None
    assert (desk.live.since, desk.live.last_at) == (NOON, NOON + timedelta(minutes=20))
    assert (len(desk.journal), len(desk.told)) == (1, 1)


def test_seq_orders_reports_of_the_same_second() -> None:
    """T/CEC stamps have whole seconds: 0002 of a second is newer than its 0001, whichever comes first."""
    for first, second in (((BUSY, 1), (FREE, 2)), ((FREE, 2), (BUSY, 1))):
        desk = Desk()
        desk.take(report(0, BROKEN), report(5, first[0], first[1]), report(5, second[0], second[1]))
        assert desk.live is not None
        assert desk.live.status is FREE


def test_an_older_report_never_wins_and_is_journalled() -> None:
    """It tells nobody, and the journal knows what was then."""
    desk = Desk()
    verdict = desk.take(report(0, FREE), report(30, BUSY), report(10, BROKEN))
    assert (verdict.outcome, verdict.told, verdict.live.status) == (Outcome.SUPERSEDED, False, BUSY)
    assert [desk.as_of(minute) for minute in (5, 15, 30)] == [FREE, BROKEN, BUSY]


def test_a_late_report_between_repetitions_does_not_hide_what_was_repeated_after_it() -> None:
    """The repetition at 30 was no entry; now it is, after the late one, and the present status begins there."""
    desk = Desk()
    verdict = desk.take(report(10, BUSY), report(30, BUSY), report(20, FREE))
    assert verdict.outcome is Outcome.SUPERSEDED
    assert [desk.as_of(minute) for minute in (15, 25, 35)] == [BUSY, FREE, BUSY]
    assert verdict.live.since == NOON + timedelta(minutes=30)
    assert [live.version for live in desk.told] == [1, 2]
    again = desk.take(report(20, FREE))
    assert (again.outcome, again.told) == (Outcome.SUPERSEDED, False)


def test_a_late_report_ends_where_what_it_interrupts_was_repeated() -> None:
    """At the first repetition that is known of, in the present status and in an earlier one; one that says the same ends nowhere."""
    desk = Desk()
    verdict = desk.take(report(10, BUSY), report(40, BUSY))
    late = judge(
        verdict.live,
        report(20, FREE),
        recorded_at=NOON,
        ids=iter("abcdefg"),
        repeated_after=lambda _: Repeated(BUSY, NOON + timedelta(minutes=30)),
    )
    assert [(entry.report.status, entry.report.happened_at.minute) for entry in late.entries] == [(FREE, 20), (BUSY, 30)]
    assert (late.live.since, late.live.last_at, late.told) == (NOON + timedelta(minutes=30), NOON + timedelta(minutes=40), True)
    now = desk.take(report(59, BROKEN))
    earlier = Repeated(BUSY, NOON + timedelta(minutes=35))
    late = judge(now.live, report(32, FREE), recorded_at=NOON, ids=iter("abcdefg"), repeated_after=lambda _: earlier)
    assert [(entry.report.status, entry.report.happened_at.minute) for entry in late.entries] == [(FREE, 32), (BUSY, 35)]
    assert (late.live, late.told) == (now.live, False)
    same = judge(now.live, report(32, BUSY), recorded_at=NOON, ids=iter("abcdefg"), repeated_after=lambda _: earlier)
    assert [entry.report.status for entry in same.entries] == [BUSY]


def test_of_two_statuses_with_one_stamp_and_seq_the_later_learnt_is_current() -> None:
    """Careless senders repeat Seq 0001 within a second; only arrival says which came last."""
    desk = Desk()
    desk.take(report(5, FREE), report(5, BUSY))
    assert desk.outcomes == [Outcome.CURRENT, Outcome.CURRENT]
    assert desk.as_of(5) is BUSY


def test_a_replica_whose_clock_is_behind_does_not_split_live_state_and_journal() -> None:
    """The same stamp, learnt "earlier" by another clock: the journal puts it first, so it is not current."""
    desk = Desk()
    desk.take(report(5, FREE))
    desk.take(report(5, BUSY), skew_s=-4)
    assert desk.outcomes == [Outcome.CURRENT, Outcome.SUPERSEDED]
    assert desk.as_of(5) is FREE


REPORTS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([FREE, BUSY, BROKEN]), st.integers(1, 2), st.sampled_from([0, -3, 3])),
    min_size=1,
    max_size=14,
)


@given(REPORTS)
def test_live_state_is_the_newest_entry_of_the_journal(sent: list[tuple[int, Status, int, int]]) -> None:
    """Whatever comes in which order, over replicas whose clocks differ: status, since, and each version told once."""
    desk = Desk()
    for minute, status, seq, skew_s in sent:
        verdict = desk.take(report(minute, status, seq), skew_s=skew_s)
        assert max(desk.journal, key=lambda entry: entry.order) == verdict.live.entry
        assert verdict.told == (verdict.live.entry in verdict.entries)
        assert (verdict.outcome is Outcome.UNCHANGED) == (not verdict.entries)
    assert [live.version for live in desk.told] == list(range(1, len(desk.told) + 1))


@given(st.permutations([(minute, status) for minute, status in enumerate([FREE, BUSY, BUSY, BROKEN, FREE, FREE])]), st.data())
def test_any_order_and_repetition_ends_in_the_newest(sent: Sequence[tuple[int, Status]], data: st.DataObject) -> None:
    """Reports of different stamps, shuffled and sent twice: the same status and the same newest stamp."""
    desk = Desk()
    again = data.draw(st.permutations(list(sent)))
    desk.take(*(report(minute, status) for minute, status in (*sent, *again)))
    assert desk.live is not None
    assert (desk.live.status, desk.live.last_at) == (FREE, NOON + timedelta(minutes=5))
    assert desk.as_of(5) is FREE


@pytest.mark.parametrize("bay_no", [None, "E01"])
@pytest.mark.parametrize("since", [NOON, NOON + timedelta(microseconds=1)])
def test_the_event_written_by_hand_is_the_models(bay_no: str | None, since: datetime) -> None:
    """The same bytes as the published model writes, so that schema and events never part."""
    evse = replace(EVSE, bay_no=bay_no)
    entry = Entry("1", Report(evse, BUSY, since, "test"), NOON + timedelta(seconds=1, milliseconds=20))
    ours = status_changed(Live(entry, since, 0, 4, "e"), source="/cityloop/charging")
    model = EvseStatusChangedV1(
        evse_uid=evse.uid,
        location_id=evse.location_id,
        operator_id=evse.operator_id,
        status=BUSY,
        since=since,
        recorded_at=entry.recorded_at,
        bay_no=bay_no,
    )
    args = {"id": "e", "key": evse.uid, "sequence": 4, "time": entry.recorded_at, "source": "/cityloop/charging"}
    assert ours == EVSE_STATUS_CHANGED.event(model, **args)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "age, expected",
    [
        (timedelta(minutes=-4), Freshness.LIVE),
        (timedelta(minutes=30), Freshness.LIVE),
        (timedelta(minutes=30, seconds=1), Freshness.LATE),
        (timedelta(hours=24), Freshness.LATE),
        (timedelta(hours=24, seconds=1), Freshness.UNKNOWN),
    ],
)
def test_how_old_is_old(age: timedelta, expected: Freshness) -> None:
    """Live within two intervals of 15 minutes, unknown after a day; the limits themselves are the better class."""
    assert freshness(NOON - age, NOON) is expected


def test_an_old_status_is_not_shown_as_a_new_one() -> None:
    """After a day nobody knows; the stamp of the last report stays."""
    heard = NOON - timedelta(hours=25)
    old = shown(FREE, heard, heard, Lifecycle.IN_SERVICE, NOON)
    assert (old.status, old.since, old.as_of, old.freshness) == (Status.UNKNOWN, None, heard, Freshness.UNKNOWN)
    assert shown(None, None, None, Lifecycle.IN_SERVICE, NOON).status is Status.UNKNOWN


def test_what_is_not_there_says_so_whatever_was_reported() -> None:
    """A planned EVSE is PLANNED, a removed one REMOVED."""
    assert shown(FREE, NOON, NOON, Lifecycle.PLANNED, NOON).status is Status.PLANNED
    assert shown(FREE, NOON, NOON, Lifecycle.REMOVED, NOON).status is Status.REMOVED


def test_hours_are_the_citys() -> None:
    """The city's offset is whole hours, so its hours begin when UTC's do."""
    assert hour_of(NOON + timedelta(minutes=59, microseconds=1)) == NOON
