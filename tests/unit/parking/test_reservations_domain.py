"""Laws of buckets, states and what may be sold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.errors import CityLoopError
from cityloop_parking.reservations import domain
from cityloop_parking.reservations.domain import (
    BUCKET,
    TRANSITIONS,
    Buckets,
    Count,
    EmptyStay,
    HoldExpired,
    InThePast,
    Pool,
    Rules,
    State,
    Stay,
    TooFarAhead,
    TooLong,
    sellable,
    sources_of,
)

NOON = datetime(2026, 6, 1, 4, 0, tzinfo=UTC)
RULES = Rules(hold_for=timedelta(minutes=15), horizon=timedelta(days=30), longest_stay=timedelta(hours=48))
HOUR = timedelta(hours=1)
instants = st.timedeltas(min_value=-timedelta(days=10_000), max_value=timedelta(days=10_000)).map(lambda since: NOON + since)
lengths = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(hours=48))


@given(instants, lengths)
def test_buckets_cover_the_stay_and_not_a_quarter_hour_more(starts_at: datetime, length: timedelta) -> None:
    """Rounded outward, aligned, and neither end could be cut off."""
    buckets = Buckets.of(starts_at, starts_at + length)
    assert buckets.first <= starts_at < buckets.first + BUCKET
    assert buckets.end - BUCKET < starts_at + length <= buckets.end
    assert (buckets.first - datetime(2000, 1, 1, tzinfo=UTC)) % BUCKET == timedelta()
    assert buckets.count == len(buckets.starts()) <= 193


@given(instants, lengths, lengths)
def test_stays_that_touch_at_a_quarter_hour_share_no_bucket(at: datetime, before: timedelta, after: timedelta) -> None:
    """Half-open: one may end in the moment in which the next begins."""
    border = domain.bucket_floor(at)
    one, other = Buckets.of(border - before, border), Buckets.of(border, border + after)
    assert not set(one.starts()) & set(other.starts())


@given(instants, lengths, st.timedeltas(min_value=timedelta(), max_value=timedelta(hours=47)), lengths)
def test_overlapping_stays_share_a_bucket(at: datetime, length: timedelta, later: timedelta, other_length: timedelta) -> None:
    """Whoever is there at the same instant is counted in the same quarter hour."""
    starts_at = at + min(later, length - timedelta(microseconds=1))
    assert set(Buckets.of(at, at + length).starts()) & set(Buckets.of(starts_at, starts_at + other_length).starts())


@given(instants)
def test_ceil_and_floor_agree_on_the_border(at: datetime) -> None:
    """On a border both are the border, elsewhere they are one quarter hour apart."""
    floor, ceil = domain.bucket_floor(at), domain.bucket_ceil(at)
    assert floor <= at <= ceil
    assert ceil - floor == (timedelta() if floor == at else BUCKET)


counts = st.integers(min_value=0, max_value=2**31 - 1)


@given(counts, counts, counts, counts, counts, st.timedeltas(min_value=-HOUR * 3, max_value=HOUR * 3))
def test_what_is_sold_is_never_more_than_there_is(
    capacity: int, reserve: int, broken: int, occupied: int, counted: int, ahead: timedelta
) -> None:
    """Never negative, never over the capacity that is left, and a count only ever takes away."""
    pool = Pool(capacity, reserve, broken)
    bucket = domain.bucket_floor(NOON + ahead)
    without = sellable(pool, None, bucket, shrinks_for=HOUR)
    with_count = sellable(pool, Count(occupied, counted, NOON), bucket, shrinks_for=HOUR)
    assert 0 <= with_count <= without <= capacity
    assert without == max(0, capacity - reserve - broken)


@pytest.mark.parametrize(
    "minutes, expected",
    [(-15, 80), (0, 10), (45, 10), (60, 80)],
)
def test_a_count_speaks_for_the_next_hour(minutes: int, expected: int) -> None:
    """90 of 100 taken, 20 kept for walk-ins: ten for the hour to come, eighty before and after."""
    bucket = NOON + timedelta(minutes=minutes)
    assert sellable(Pool(100, 20, 0), Count(90, 100, NOON), bucket, shrinks_for=HOUR) == expected


def test_a_count_taken_within_a_quarter_hour_speaks_for_it() -> None:
    """Taken at 12:07, it speaks for 12:00 to 12:15 too."""
    assert sellable(Pool(10, 0, 0), Count(10, 10, NOON + timedelta(minutes=7)), NOON, shrinks_for=HOUR) == 0


@pytest.mark.parametrize(
    "starts, length, error",
    [
        (HOUR, timedelta(), EmptyStay),
        (HOUR, -HOUR, EmptyStay),
        (-timedelta(minutes=6), HOUR, InThePast),
        (-timedelta(minutes=5), timedelta(minutes=5), InThePast),
        (timedelta(days=30, seconds=1), HOUR, TooFarAhead),
        (HOUR, timedelta(hours=48, microseconds=1), TooLong),
        (HOUR, timedelta(days=365 * 1000), TooLong),
    ],
)
def test_stays_that_the_city_does_not_offer(starts: timedelta, length: timedelta, error: type[CityLoopError]) -> None:
    """Each refusal has its own name."""
    want = Stay("lot", "standard", NOON + starts, NOON + starts + length)
    with pytest.raises(error):
        domain.hold(want, id="r", now=NOON, rules=RULES)


@pytest.mark.parametrize("starts", [-timedelta(minutes=5), timedelta(), timedelta(days=30)])
def test_stays_on_the_border_are_offered(starts: timedelta) -> None:
    """A start five minutes ago counts as now; the horizon's last instant is offered."""
    want = Stay("lot", "standard", NOON + starts, NOON + starts + timedelta(hours=48))
    assert domain.hold(want, id="r", now=NOON, rules=RULES).state is State.HELD


def test_a_hold_never_outlives_its_stay() -> None:
    """Ten minutes from now the stay is over, and so is the hold."""
    want = Stay("lot", "standard", NOON, NOON + timedelta(minutes=10))
    assert domain.hold(want, id="r", now=NOON, rules=RULES).held_until == want.ends_at


def test_a_year_and_a_leap_day_pass_without_a_gap() -> None:
    """Failure story 4: quarter hours count on through 29 February and New Year."""
    for eve in (datetime(2028, 2, 28, 23, 50, tzinfo=UTC), datetime(2026, 12, 31, 23, 50, tzinfo=UTC)):
        starts = Buckets.of(eve, eve + timedelta(minutes=20)).starts()
        assert [each - starts[0] for each in starts] == [timedelta(), BUCKET]


def test_final_states_lead_nowhere() -> None:
    """Completed, expired and cancelled are ends; everything begins held."""
    assert {state for state, targets in TRANSITIONS.items() if not targets} == {State.COMPLETED, State.EXPIRED, State.CANCELLED}
    assert sources_of(State.HELD) == ()
    assert sources_of(State.CANCELLED) == (State.HELD, State.CONFIRMED)


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_an_answer_to_a_confirmation_and_a_cancellation(state: State) -> None:
    """Refused by name, or done before."""
    made = domain.Reservation("r", "lot", "standard", NOON, NOON + HOUR, state, NOON, 1, NOON)
    confirmed, cancelled = domain.unconfirmable(made, NOON), domain.uncancellable(made)
    assert (confirmed is None) == (state in {State.CONFIRMED, State.COMPLETED})
    assert (cancelled is None) == (state is State.CANCELLED)
    if state in {State.HELD, State.EXPIRED}:
        assert isinstance(confirmed, HoldExpired)
