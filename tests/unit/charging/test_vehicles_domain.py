"""Statements of registered vehicles: what can be true, and what a correction says of what it leaves out."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_charging.vehicles.domain import (
    MOST_VEHICLES,
    Drive,
    InvalidStock,
    Statement,
    VehicleClass,
    VehicleCount,
    check,
    with_dropped,
)

TODAY = date(2026, 6, 1)
BUSES = VehicleCount(VehicleClass.BUS, Drive.BEV, True, 40)
CARS = VehicleCount(VehicleClass.PASSENGER, Drive.PHEV, True, 900, "d1")
counts = st.lists(
    st.builds(
        VehicleCount, st.sampled_from(VehicleClass), st.sampled_from(Drive), st.booleans(), st.integers(0, 9), st.none() | st.just("d1")
    ),
    unique_by=lambda each: each.key,
    max_size=12,
)


def stock(*listed: VehicleCount, on: date = TODAY) -> Statement:
    return Statement(on, "test", listed)


def test_counts_come_in_one_order() -> None:
    """Whatever order they were given in."""
    assert check(stock(CARS, BUSES), today=TODAY).counts == check(stock(BUSES, CARS), today=TODAY).counts == (BUSES, CARS)


@given(counts, counts)
def test_a_correction_names_everything_that_was_counted(new: list[VehicleCount], known: list[VehicleCount]) -> None:
    """What it leaves out it corrects to 0, so the sum over its rows is the new stock and no old row stays uncorrected."""
    told = with_dropped(new, known)
    assert sum(each.vehicles for each in told) == sum(each.vehicles for each in new)
    assert {each.key for each in told} >= {each.key for each in known if each.vehicles} | {each.key for each in new}
    assert len({each.key for each in told}) == len(told)


@pytest.mark.parametrize(
    "statement",
    [
        stock(),
        stock(BUSES, replace(BUSES, vehicles=1)),
        stock(BUSES, replace(BUSES, district="d1")),
        stock(replace(BUSES, vehicles=-1)),
        stock(replace(BUSES, vehicles=MOST_VEHICLES + 1)),
        stock(replace(BUSES, district="")),
        stock(replace(BUSES, district="a\x00")),
        stock(replace(BUSES, district="d2")),
        stock(BUSES, on=date(2026, 6, 2)),
        stock(BUSES, on=date(1999, 12, 31)),
        stock(*(replace(BUSES, district=f"d{number}") for number in range(501))),
    ],
)
def test_a_stock_that_cannot_be_true_is_refused(statement: Statement) -> None:
    """Nothing, doubles, negatives, too many, a district that is not there, the future."""
    with pytest.raises(InvalidStock):
        check(statement, today=TODAY, districts=["d1"])


def test_without_polygons_any_district_will_do() -> None:
    """The source's own word is kept."""
    assert check(stock(replace(BUSES, district="d2")), today=TODAY).counts[0].district == "d2"
