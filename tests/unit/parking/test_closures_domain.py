"""Which plan decides is one answer for every order; windows that touch are one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.geo import Position
from cityloop_parking.closures.domain import Plan, PlanState, Window, merged, supersedes
from cityloop_parking.places.domain import Category, PlaceFacts, Pool
from cityloop_parking.reservations.domain import BUCKET, Conflict, Reason, Stay, closed_over

DAY = datetime(2026, 6, 1, tzinfo=UTC)
plans = st.builds(Plan, st.just("kitchen"), st.just("2026-06-01"), st.integers(0, 4), st.sampled_from("abc"), st.sampled_from(PlanState))


def minutes(start: int, end: int) -> Window:
    return Window(DAY + timedelta(minutes=start), DAY + timedelta(minutes=end))


windows = st.lists(st.builds(minutes, st.integers(0, 200), st.integers(0, 200)), max_size=8)


def deciding(heard: list[Plan]) -> Plan | None:
    """What is known after these were heard in their order."""
    known: Plan | None = None
    for each in heard:
        known = each if supersedes(each, known) else known
    return known


@given(st.lists(plans, max_size=6).flatmap(lambda each: st.tuples(st.just(each), st.permutations(each + each[:2]))))
def test_the_same_plan_decides_in_any_order(pair: tuple[list[Plan], list[Plan]]) -> None:
    """Also when some come twice."""
    assert deciding(pair[0]) == deciding(pair[1])


@given(st.lists(plans, min_size=1, max_size=6))
def test_no_heard_plan_has_a_higher_version_than_the_deciding_one(heard: list[Plan]) -> None:
    """And a withdrawal of that version wins over its publication."""
    known = deciding(heard)
    assert known is not None
    assert known.version == max(each.version for each in heard)
    if any(each.version == known.version and each.state is PlanState.WITHDRAWN for each in heard):
        assert known.state is PlanState.WITHDRAWN


def test_a_late_withdrawal_of_an_older_version_changes_nothing() -> None:
    """A new plan may be known before the old one is withdrawn."""
    newer = Plan("kitchen", "2026-06-01", 2, "b", PlanState.PUBLISHED)
    assert not supersedes(Plan("kitchen", "2026-06-01", 1, "a", PlanState.WITHDRAWN), newer)
    assert supersedes(Plan("kitchen", "2026-06-01", 2, "b", PlanState.WITHDRAWN), newer)


@given(windows)
def test_merged_windows_cover_the_same_minutes(each: list[Window]) -> None:
    """In order, apart from each other, and not a minute more or less."""
    found = merged(each)
    assert all(one.ends_at < next_.starts_at for one, next_ in pairwise(found))

    def covered(of: list[Window]) -> set[int]:
        return {minute for minute in range(201) if any(one.starts_at <= DAY + timedelta(minutes=minute) < one.ends_at for one in of)}

    assert covered(found) == covered(each)


stays = st.lists(st.tuples(st.integers(0, 180), st.integers(1, 60)), max_size=5)


@given(stays, windows, st.integers(-30, 220))
def test_conflicts_are_the_quarter_hours_in_which_a_stay_meets_a_window(held: list[tuple[int, int]], each: list[Window], now: int) -> None:
    """Minute by minute, each stay once a quarter hour, none that is over."""
    wanted = [Stay("p", "standard", DAY + timedelta(minutes=start), DAY + timedelta(minutes=start + length)) for start, length in held]
    at = DAY + timedelta(minutes=now)
    expected: dict[datetime, int] = {}
    for start, length in held:
        met = {
            (DAY + timedelta(minutes=minute - minute % 15))
            for minute in range(start, start + length)
            if any(one.starts_at <= DAY + timedelta(minutes=minute) < one.ends_at for one in each)
        }
        for quarter in met:
            if quarter + BUCKET > at:
                expected[quarter] = expected.get(quarter, 0) + 1
    found = closed_over(wanted, each, now=at)
    assert found == [Conflict("standard", start, many, 0, Reason.COLLECTION) for start, many in sorted(expected.items())]


def test_the_bays_of_motorcycles_are_no_bays() -> None:
    """What charging divides by counts every other space."""
    pools = (Pool(Category.STANDARD, 10), Pool(Category.MOTORCYCLE, 40), Pool(Category.EV, 3))
    assert PlaceFacts("op", "1", "x", Position(109.787, 39.565), pools).total_bays == 13
