"""The clock of a tour, its lunch cut out and put back (failure story 14)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_waste.planning.domain import Lunch, Window
from cityloop_waste.planning.lunch import Axis, apart, meet
from cityloop_waste.planning.schedule import Call, Tour, tour

HOUR = 3600
ELEVEN, NOON = 11 * HOUR, 12 * HOUR
LUNCH = Lunch(ELEVEN, NOON, HOUR)
DAY = Window(6 * HOUR, 16 * HOUR)


def _tour(calls: Sequence[Call], legs: Sequence[int], shift: Window = DAY, lunch: Lunch | None = LUNCH) -> Tour | None:
    """A tour from place 0 over calls at 1, 2, ... and back, its ways `legs` long."""
    places = len(calls) + 1
    table = [[0] * places for _ in range(places)]
    for number, leg in enumerate(legs):
        table[number][(number + 1) % places] = leg
    return tour([Call(0, 0), *calls, Call(0, 0)], table, shift, lunch=lunch)


def _call(number: int, service_s: int, *windows: Window) -> Call:
    return Call(number, service_s, windows)


def test_a_service_that_is_under_way_at_eleven_ends_first() -> None:
    """From 10:50 to 11:20; lunch follows, and the next arrival is an hour later."""
    found = _tour([_call(1, 1800, Window(ELEVEN - 600, ELEVEN - 600)), _call(2, 5 * HOUR)], [600, 900, 600], Window(6 * HOUR, 20 * HOUR))
    assert found is not None
    assert found.times[1].departure_s == ELEVEN + 1200
    assert found.lunch == Window(ELEVEN + 1200, NOON + 1200)
    assert found.times[2].arrival_s == NOON + 1200 + 900


def test_lunch_is_taken_on_the_road_at_eleven() -> None:
    """Who drives at eleven stops there: the way takes an hour longer."""
    found = _tour([_call(1, 600, Window(ELEVEN - HOUR, ELEVEN - HOUR)), _call(2, 4 * HOUR)], [600, HOUR, 600], Window(6 * HOUR, 20 * HOUR))
    assert found is not None
    assert found.lunch == Window(ELEVEN, NOON)
    assert found.times[2].arrival_s == found.times[1].departure_s + 2 * HOUR


def test_lunch_is_taken_while_it_waits() -> None:
    """There at half past ten, open from half past twelve: lunch costs nothing."""
    found = _tour([_call(1, 600, Window(NOON + 1800, NOON + 3600))], [600, 600], Window(10 * HOUR + 1200, 18 * HOUR))
    assert found is not None
    assert (found.times[1].start_s, found.lunch) == (NOON + 1800, None)  # it leaves late enough to have eaten at home
    early = _tour(
        [_call(1, 600, Window(9 * HOUR, 9 * HOUR)), _call(2, 600, Window(NOON + 1800, NOON + 3600))], [600, 600, 600], Window(0, 18 * HOUR)
    )
    assert early is not None
    assert early.lunch == Window(ELEVEN, NOON)
    assert early.times[2].arrival_s < ELEVEN < NOON < early.times[2].start_s == NOON + 1800


@pytest.mark.parametrize("back_s, lunch", [(ELEVEN + 40 * 60, None), (NOON, None), (NOON + 1, Window(ELEVEN, NOON))])
def test_who_is_back_by_the_latest_hour_eats_at_home(back_s: int, lunch: Window | None) -> None:
    """Back at 11:40 or at twelve: no lunch on the way; a second later: lunch."""
    found = _tour([_call(1, 600, Window(8 * HOUR, 8 * HOUR))], [600, back_s - 8 * HOUR - 600])
    assert found is not None
    assert found.lunch == lunch


def test_who_leaves_when_lunch_begins_has_eaten() -> None:
    """An afternoon shift takes no lunch; one that begins in the middle of it sets out when it is over."""
    for shift, leaves_s in ((Window(13 * HOUR, 20 * HOUR), 13 * HOUR), (Window(ELEVEN + 1800, 20 * HOUR), ELEVEN + 1800)):
        found = _tour([_call(1, 600)], [600, 600], shift)
        assert found is not None
        assert (found.times[0].departure_s, found.lunch) == (leaves_s, None)


def test_a_service_that_would_last_beyond_the_latest_lunch_waits_for_its_end() -> None:
    """At 10:45 for two hours: it would end at 12:45; lunch first."""
    found = _tour([_call(1, 600, Window(10 * HOUR, 10 * HOUR)), _call(2, 2 * HOUR, Window(10 * HOUR + 2700, 18 * HOUR))], [600, 600, 600])
    assert found is not None
    assert found.times[2].start_s >= NOON
    assert found.lunch == Window(ELEVEN, NOON)


def test_without_its_lunch_the_day_is_shorter_and_windows_move() -> None:
    """What is open from half past ten to half past twelve is open until half past eleven on the axis."""
    axis = Axis(LUNCH)
    assert axis.starts((Window(10 * HOUR + 1800, NOON + 1800),), 600) == (Window(10 * HOUR + 1800, ELEVEN + 1800),)
    assert axis.starts((Window(ELEVEN + 600, NOON - 600),), 600) == ()
    assert axis.shift(DAY) == Window(6 * HOUR, 15 * HOUR)
    assert axis.starts((), 600) == Axis().starts((), 600)


_spans = st.tuples(st.integers(0, 80), st.integers(0, 30))
_windows = st.lists(_spans.map(lambda at: Window(900 * at[0], 900 * (at[0] + at[1]))), max_size=3)


@given(
    calls=st.lists(st.tuples(st.sampled_from([0, 60, 900, 3600]), _windows, st.integers(0, 5400)), min_size=1, max_size=6),
    home=st.integers(0, 5400),
    shift=st.tuples(st.integers(0, 14), st.integers(1, 14)).map(lambda at: Window(at[0] * HOUR, (at[0] + at[1]) * HOUR)),
    lunch=st.sampled_from([None, LUNCH, Lunch(ELEVEN, ELEVEN, 1800), Lunch(9 * HOUR, 13 * HOUR, 2700)]),
)
def test_every_tour_keeps_its_hours_its_shift_and_its_lunch(
    calls: list[tuple[int, list[Window], int]], home: int, shift: Window, lunch: Lunch | None
) -> None:
    """Whatever the calls: services start within their windows, ways take their time, lunch is whole, in time and in no service."""
    made = [_call(number, service_s, *windows) for number, (service_s, windows, _) in enumerate(calls, 1)]
    legs = [*(leg for _, _, leg in calls), home]
    found = _tour(made, legs, shift, lunch)
    if found is None:
        return
    assert found.times[0].departure_s >= shift.start_s
    assert found.times[-1].arrival_s <= shift.end_s
    for call, at in zip(made, found.times[1:], strict=False):
        assert at.arrival_s <= at.start_s == at.departure_s - call.service_s
        assert not call.windows or any(window.start_s <= at.start_s <= window.end_s for window in call.windows)
    eaten = found.lunch
    for before, after, leg in zip(found.times, found.times[1:], legs, strict=False):
        on_the_way = eaten is not None and before.departure_s <= eaten.start_s and eaten.end_s <= after.arrival_s
        assert after.arrival_s == before.departure_s + leg + (lunch.duration_s if on_the_way and lunch else 0)
    if lunch is None:
        assert eaten is None
    elif eaten is None:
        assert found.times[-1].arrival_s <= lunch.latest_s or found.times[0].departure_s >= lunch.earliest_s
    else:
        assert lunch.earliest_s <= eaten.start_s <= lunch.latest_s
        assert eaten.end_s == eaten.start_s + lunch.duration_s
        assert all(at.departure_s <= eaten.start_s or eaten.end_s <= at.start_s for at in found.times)


@given(_windows, _windows, st.integers(0, 120_000))
def test_windows_meet_where_both_are_open(some: list[Window], others: list[Window], at_s: int) -> None:
    """Putting windows in order changes no instant, meeting keeps what is in both."""

    def within(windows: Sequence[Window]) -> bool:
        return any(window.start_s <= at_s <= window.end_s for window in windows)

    assert within(apart(some)) == within(some)
    assert within(meet(some, others)) == (within(some) and within(others))
