"""Which on-street parking a day's routes close: margin, rounding, merging, distance."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.clock import day_begins
from cityloop_common.geo import EARTH_RADIUS_M, Position, distance_m
from cityloop_waste.planning.closures import MARGIN, STEP_S, WITHIN_M, Call, Closure, Section, calls, closures

DAY = date(2026, 11, 26)
HERE = Position(109.787, 39.565)
BAY = Section("s-1", HERE)


def at(hour: int, minute: int = 0) -> datetime:
    """A local time of the day."""
    return day_begins(DAY) + timedelta(hours=hour, minutes=minute)


def north(metres: float) -> Position:
    """A position so far north."""
    return Position(HERE.lon, HERE.lat + metres / EARTH_RADIUS_M * 57.29577951308232)


def call(hour: int, minute: int, second: int = 0, *, lasts_s: int = 120, where: Position = HERE) -> Call:
    """A truck at a stop."""
    arrival_s = hour * 3600 + minute * 60 + second
    return Call(where, arrival_s, arrival_s + lasts_s)


def test_ten_minutes_around_a_stop_rounded_outward() -> None:
    """06:12:30 to 06:14:30 closes from 06:00 to 06:25."""
    assert closures(DAY, [call(6, 12, 30)], [BAY]) == (Closure("s-1", at(6), at(6, 25)),)


def test_what_lies_on_the_five_minutes_stays() -> None:
    """06:10 to 06:15 closes from 06:00 to 06:25, not to 06:30."""
    assert closures(DAY, [call(6, 10, lasts_s=300)], [BAY]) == (Closure("s-1", at(6), at(6, 25)),)


def test_calls_that_overlap_or_touch_are_one_closure() -> None:
    """Three trucks in a row, and one in the afternoon."""
    found = closures(DAY, [call(6, 40), call(6, 10), call(6, 20), call(15, 0)], [BAY])
    assert found == (Closure("s-1", at(6), at(6, 55)), Closure("s-1", at(14, 50), at(15, 15)))


def test_thirty_metres_are_near() -> None:
    """29.9 m is, 30.1 m is not."""
    sections = [Section("near", north(29.9)), Section("far", north(30.1)), Section("south", north(-29.9))]
    assert {each.place_id for each in closures(DAY, [call(6, 0)], sections)} == {"near", "south"}


def test_a_day_may_begin_and_end_in_others() -> None:
    """A truck at midnight and one at two in the night after."""
    found = closures(DAY, [call(0, 5), call(26, 0)], [BAY])
    assert [(each.starts_at, each.ends_at) for each in found] == [(at(-1, 55), at(0, 20)), (at(25, 50), at(26, 15))]


def test_only_stops_close() -> None:
    """Not the depot, not the site where a truck unloads."""
    problem = {"stops": [{"id": "a", "position": {"lon": HERE.lon, "lat": HERE.lat}}]}
    visits = [
        {"kind": kind, "id": id_, "arrival_s": 6, "start_s": 6, "departure_s": 7}
        for kind, id_ in (("depot-start", None), ("stop", "a"), ("unload", "a"), ("depot-end", None))
    ]
    assert list(calls(problem, {"routes": [{"visits": visits}]})) == [Call(HERE, 6, 7)]


metres = st.integers(-300, 300)
spots = st.builds(lambda x, y: Position(HERE.lon + x * 1.2e-5, HERE.lat + y * 0.9e-5), metres, metres)
trucks = st.builds(lambda p, start, lasts: Call(p, start, start + lasts), spots, st.integers(0, 100_000), st.integers(0, 7_200))


@given(st.lists(trucks, max_size=12), st.lists(spots, max_size=6))
def test_every_call_is_covered_and_nothing_else_is_closed(made: list[Call], bays: list[Position]) -> None:
    """Closed exactly while some truck is near, in whole steps; closures of a place never touch; order does not matter."""
    sections = [Section(f"s-{number}", position) for number, position in enumerate(bays)]
    found = closures(DAY, made, sections)
    assert found == closures(DAY, reversed(made), list(reversed(sections)))
    midnight = day_begins(DAY)
    for section in sections:
        mine = sorted((each.starts_at, each.ends_at) for each in found if each.place_id == section.place_id)
        assert all(end < start for (_, end), (start, _) in pairwise(mine))
        near = [each for each in made if distance_m(each.position, section.position) <= WITHIN_M]
        assert bool(mine) is bool(near)
        for each in near:
            starts_at = midnight + timedelta(seconds=each.arrival_s) - MARGIN
            ends_at = midnight + timedelta(seconds=each.departure_s) + MARGIN
            assert any(start <= starts_at and ends_at <= end for start, end in mine)
    for closure in found:
        for instant in (closure.starts_at, closure.ends_at):
            assert instant.tzinfo is UTC
            assert int(instant.timestamp()) % STEP_S == 0
