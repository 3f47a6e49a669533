"""Laws of counts: what can be true, and how it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_parking.observations.domain import ABSURD_TIMES, Count, InvalidObservation, resolve

CAPACITY = {"standard": 100}
SENTINEL = 2_147_483_647


@given(st.integers(0, 1000))
def test_taken_and_free_say_the_same(occupied: int) -> None:
    """Free of a capacity is the rest of it; more taken than there is stays as it is."""
    [taken] = resolve([Count("standard", occupied)], CAPACITY)
    assert (taken.occupied, taken.capacity) == (occupied, 100)
    if occupied <= 100:
        assert resolve([Count("standard", free=100 - occupied)], CAPACITY)[0].occupied == occupied


def test_a_reported_capacity_goes_before_the_known_one() -> None:
    """The reporter stands there; both are kept apart."""
    [taken] = resolve([Count("standard", free=20, capacity=50)], CAPACITY)
    assert (taken.occupied, taken.capacity, taken.capacity_reported) == (30, 50, 50)


def test_a_closed_pool_can_still_hold_a_few_cars() -> None:
    """Capacity 0 is no division by anything."""
    assert resolve([Count("standard", 3, capacity=0)], CAPACITY)[0].occupied == 3


@pytest.mark.parametrize(
    "counts",
    [
        [],
        [Count("standard")],
        [Count("standard", 1, 1)],
        [Count("standard", 1), Count("standard", 2)],
        [Count("ev", 1)],
        [Count("standard", -1)],
        [Count("standard", free=-1)],
        [Count("standard", free=101)],
        [Count("standard", SENTINEL)],
        [Count("standard", 1, capacity=SENTINEL)],
        [Count("standard", 1, capacity=-1)],
        [Count("standard", 100 * ABSURD_TIMES + 1)],
    ],
)
def test_counts_that_cannot_be_are_refused(counts: list[Count]) -> None:
    """Nothing, both, twice, unknown, negative, more free than there is, sentinels, ten times too many."""
    with pytest.raises(InvalidObservation):
        resolve(counts, CAPACITY)
