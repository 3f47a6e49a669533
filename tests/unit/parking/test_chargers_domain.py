"""Charging bays: counted once, never more free than work, never more than there are, whatever the order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_parking.chargers.domain import IN_USE, NOT_THERE, WORKING, Charger, EvBays, Status, ev_bays

AT = datetime(2026, 6, 1, tzinfo=UTC)


def evse(uid: str, status: Status = Status.UNKNOWN, bay: str | None = None, minute: int | None = None) -> Charger:
    return Charger(uid, bay, status, None if minute is None else AT + timedelta(minutes=minute))


chargers = st.builds(
    evse,
    st.sampled_from("abcdefgh"),
    st.sampled_from(Status),
    st.sampled_from([None, "1", "2", "a"]),
    st.none() | st.integers(0, 50),
)
some = st.lists(chargers, max_size=10, unique_by=lambda each: each.uid)


@given(some.flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))))
def test_the_order_makes_no_difference(pair: tuple[list[Charger], list[Charger]]) -> None:
    """The bays are a function of the chargers, not of when each was heard of."""
    assert ev_bays(pair[0]) == ev_bays(pair[1])


@given(some)
def test_every_bay_is_judged_by_its_own_chargers(each: list[Charger]) -> None:
    """Bay by bay: it works when one of its EVSEs does, and is free when one waits and none is in use."""
    there = [one for one in each if one.status not in NOT_THERE]
    bays = {one.bay_no if one.bay_no is not None else ("evse", one.uid) for one in there}
    of_bay = [{one.status for one in there if bay == (one.bay_no if one.bay_no is not None else ("evse", one.uid))} for bay in bays]
    counted = ev_bays(each)
    if not there:
        assert counted is None
        return
    assert counted is not None
    assert counted.bays == len(bays)
    assert counted.working == sum(bool(statuses & WORKING) for statuses in of_bay)
    assert counted.free == sum(Status.AVAILABLE in statuses and not statuses & IN_USE for statuses in of_bay)
    assert counted.as_of == max((one.since for one in there if one.since), default=None)


@given(some, st.integers(0, 12))
def test_no_more_than_the_car_park_has(each: list[Charger], total_bays: int) -> None:
    """Free of working of all of the place's bays; 0 bays is a place that nobody counted, and caps nothing."""
    counted = ev_bays(each)
    if counted is None:
        return
    shown = counted.within(total_bays)
    assert 0 <= shown.free <= shown.working <= shown.bays <= (total_bays or counted.bays)
    assert shown.within(total_bays) == shown
    if total_bays == 0 or counted.bays <= total_bays:
        assert shown == counted


@pytest.mark.parametrize(
    "status, working, free",
    [
        (Status.AVAILABLE, 1, 1), (Status.CHARGING, 1, 0), (Status.RESERVED, 1, 0), (Status.BLOCKED, 1, 0),
        (Status.INOPERATIVE, 0, 0), (Status.OUTOFORDER, 0, 0), (Status.UNKNOWN, 0, 0),
    ],
)  # fmt: skip
def test_what_a_status_means_for_a_bay(status: Status, working: int, free: int) -> None:
    """What does not say that it works does not work."""
    assert ev_bays([evse("a", status)]) == EvBays(1, working, free, None)


@pytest.mark.parametrize("status", sorted(NOT_THERE))
def test_planned_and_removed_are_not_there(status: Status) -> None:
    """Alone they are no charging bay at all; beside others they add none."""
    assert ev_bays([evse("a", status, minute=9)]) is None
    assert ev_bays([evse("a", status, minute=9), evse("b", Status.AVAILABLE, minute=3)]) == EvBays(1, 1, 1, AT + timedelta(minutes=3))


def test_a_bay_with_a_car_at_one_of_its_two_plugs_is_not_free() -> None:
    """Though the other plug is AVAILABLE; one that is broken does not spoil a bay whose other plug works."""
    assert ev_bays([evse("a", Status.CHARGING, "7"), evse("b", Status.AVAILABLE, "7")]) == EvBays(1, 1, 0, None)
    assert ev_bays([evse("a", Status.OUTOFORDER, "7"), evse("b", Status.AVAILABLE, "7")]) == EvBays(1, 1, 1, None)


def test_a_number_is_not_taken_for_an_evse_of_the_same_name() -> None:
    """Bay `a` and the unnumbered EVSE `a` are two bays."""
    assert ev_bays([evse("a"), evse("b", bay="a")]) == EvBays(2, 0, 0, None)
