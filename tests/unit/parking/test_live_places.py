"""The figure `live-places`: what counts, what it says, and that its formula's first version stays what it was."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.indicator import Ask, Status, evaluated, moment
from cityloop_parking.availability.freshness import Freshness
from cityloop_parking.indicators.domain import CountFact, PlaceFact, live_places
from cityloop_parking.indicators.figures import FIGURES, LIVE_PLACES
from cityloop_parking.search.domain import LiveCount, freshness

NOW = datetime(2026, 6, 1, 4, 0, tzinfo=UTC)
MOMENT = moment(date(2026, 6, 1), NOW)


def counted(age_s: float, *, category: str = "standard", interval_s: int = 900, source: str = "gate") -> CountFact:
    return CountFact(category, NOW - timedelta(seconds=age_s), source, interval_s, f"row-{category}-{age_s}")


def place(
    id: str, *counts: CountFact, access: str = "public", state: str = "open", district: str | None = "d1", in_city: bool = True
) -> PlaceFact:
    return PlaceFact(id, f"name {id}", access, state, "surface", district, f"row-{id}", counts, in_city)


FACTS = (
    place("a", counted(60)),
    place("b", counted(1_800)),
    place("c", counted(1_801), district="d2"),
    place("d", counted(86_401), district="d2"),
    place("e", district=None),
    place("f", counted(90_000), counted(100, category="ev", interval_s=50)),
    place("g", counted(60), state="closed"),
    place("h", counted(60), access="permit"),
    place("i", access="private"),
    place("j", counted(60), in_city=False),
)


def said(scheme: str) -> dict[str, tuple[int, int, str]]:
    return {row.key: (row.numerator, row.denominator, row.why) for row in live_places(FACTS, MOMENT, scheme)}


def test_a_place_is_live_when_one_of_its_categories_is() -> None:
    """Golden values of version 1: two intervals and a day belong to the better class; closed places count for nothing."""
    public = {
        "a": (1, 1, "live"), "b": (1, 1, "live"), "c": (0, 1, "late"), "d": (0, 1, "unknown"), "e": (0, 1, "unknown"),
        "f": (1, 1, "live"), "g": (0, 0, "closed"), "h": (0, 0, "not-public"), "i": (0, 0, "not-public"),
        "j": (0, 0, "elsewhere"),
    }  # fmt: skip
    assert said("public") == public
    assert said("all-access") == public | {"h": (1, 1, "live"), "i": (0, 1, "unknown")}


def test_the_figure_and_its_districts() -> None:
    """3 of 6 public places, three units from 90 %; what lies in no district is a part of its own."""
    ask = Ask(MOMENT, provisional=False, formula_version=1, districts_version="x")
    found = evaluated(LIVE_PLACES, LIVE_PLACES.headline, FACTS, ask)
    assert (found.total.value, found.total.status, found.total.gap) == (Fraction(3, 6), Status.MISSED, 3)
    parts = {name: (figure.numerator, figure.denominator) for name, figure in found.by_district.items()}
    assert parts == {"": (0, 1), "d1": (3, 3), "d2": (0, 2)}
    assert evaluated(LIVE_PLACES, LIVE_PLACES.headline, FACTS[6:], ask).total.status is Status.NO_DATA


def test_the_rows_name_what_is_behind_them() -> None:
    """The count that decides with its time and source, and every journal row that was looked at."""
    row = next(row for row in live_places(FACTS, MOMENT, "public") if row.key == "f")
    assert row.evidence == {
        "name": "name f", "kind": "surface", "place_row": "row-f", "counted_at": "2026-06-01T03:58:20Z", "source": "gate",
        "interval_s": 50, "count_rows": ["row-ev-100", "row-standard-90000"],
    }  # fmt: skip
    assert row.district == "d1"


def test_it_is_no_figure_of_the_plan_and_says_so() -> None:
    """The plan names none; the target is the project's own."""
    assert "own" in LIVE_PLACES.source
    assert (LIVE_PLACES.target, LIVE_PLACES.formula_version) == (Fraction(9, 10), 1)
    assert FIGURES.indicators == (LIVE_PLACES,)


@given(st.floats(0, 100_000), st.sampled_from([10, 120, 900, 40_000, 86_400]))
def test_live_means_what_it_means_in_the_search(age_s: float, interval_s: int) -> None:
    """The figure and the answer to a driver never disagree about a count."""
    count = counted(age_s, interval_s=interval_s)
    shown = freshness(LiveCount("standard", 1, 2, count.at.timestamp(), "gate", interval_s), NOW.timestamp())
    (row,) = live_places([place("a", count)], MOMENT, "public")
    assert row.why == shown
    assert row.numerator == (shown is Freshness.LIVE)


@pytest.mark.parametrize("scheme", ["public", "all-access"])
def test_every_place_has_one_row(scheme: str) -> None:
    """Those that count for nothing are listed with the reason."""
    assert [row.key for row in live_places(FACTS, MOMENT, scheme)] == [fact.place_id for fact in FACTS]
