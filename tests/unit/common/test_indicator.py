"""The arithmetic of figures: exact sums, gaps, days, and that no data is said as such."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.clock import city_day, day_begins
from cityloop_common.indicator import Ask, Better, Indicator, Moment, NoData, Row, Scheme, Status, evaluated, gap_to, moment
from cityloop_common.indicator.api import _cell
from cityloop_common.indicator.domain import NotYet, UnknownFormula, UnknownScheme
from cityloop_common.indicator.publishing import Slot, due

DAY = date(2026, 11, 26)
NOON = datetime(2026, 11, 26, 4, 0, tzinfo=UTC)


async def _nothing(_tx: Any, _moment: Moment) -> Any:
    return None


def _indicator(*, fixed_denominator: int | None = None, target: Fraction = Fraction(15, 100), judged: bool = True) -> Indicator:
    def rows(facts: Any, _moment: Moment, scheme: str) -> Sequence[Row]:
        if facts is None:
            raise NoData("no place is known")
        return [row for row in facts if scheme == "all" or row.why == "counted"]

    return Indicator(
        name="share",
        title="Share",
        title_zh="占比",
        unit="bays",
        source="a test",
        target=target,
        deadline=date(2026, 12, 31),
        better=Better.HIGHER,
        schemes=(Scheme("all", "All", "全部"), Scheme("counted", "Counted", "计入")),
        formula_text="n / d",
        read=_nothing,
        formulas={1: rows},
        fixed_denominator=fixed_denominator,
        judged_by_district=judged,
    )


def _evaluated(indicator: Indicator, facts: Any, scheme: str = "all") -> Any:
    ask = Ask(moment(DAY, NOON), provisional=False, formula_version=1, districts_version="v")
    return evaluated(indicator, indicator.scheme(scheme), facts, ask)


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.fractions(min_value=0, max_value=5, max_denominator=1000))
def test_the_gap_is_the_least_number_of_units_that_reaches_the_target(numerator: int, denominator: int, target: Fraction) -> None:
    """With the gap added the target is reached, with one unit less it is not; no float is involved."""
    gap = gap_to(target, Better.HIGHER, numerator, denominator)
    assert Fraction(numerator + gap, denominator) >= target
    assert gap == 0 or Fraction(numerator + gap - 1, denominator) < target


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.fractions(min_value=0, max_value=5, max_denominator=1000))
def test_where_lower_is_better_the_gap_is_what_must_go(numerator: int, denominator: int, target: Fraction) -> None:
    """Without the gap the target is kept, with one unit of it left it is not."""
    gap = gap_to(target, Better.LOWER, numerator, denominator)
    assert gap == 0 or Fraction(numerator - gap, denominator) <= target < Fraction(numerator - gap + 1, denominator)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.sampled_from([None, "d1", "d2"])), min_size=1))
def test_a_figure_is_the_sum_of_its_rows_and_of_its_districts(parts: list[tuple[int, int, str | None]]) -> None:
    """Numerators and denominators add up exactly, whichever way they are split."""
    rows = [Row(f"{number}", n, d, district) for number, (n, d, district) in enumerate(parts)]
    found = _evaluated(_indicator(), rows)
    assert found.total.numerator == sum(row.numerator for row in rows) == sum(each.numerator for each in found.by_district.values())
    assert found.total.denominator == sum(row.denominator for row in rows)


def test_no_data_is_neither_zero_nor_good() -> None:
    """No rows, rows that count for nothing, and a formula that says what is missing."""
    assert _evaluated(_indicator(), []).total.status is Status.NO_DATA
    assert _evaluated(_indicator(), [Row("a", 0, 0, why="removed")]).total.status is Status.NO_DATA
    unknown = _evaluated(_indicator(), None)
    assert (unknown.total.status, unknown.total.value, unknown.total.gap, unknown.missing) == (
        Status.NO_DATA,
        None,
        None,
        "no place is known",
    )


def test_nought_of_something_is_a_miss() -> None:
    """0 of 40 is known to be bad, and six units are missing to 15 %."""
    figure = _evaluated(_indicator(), [Row("a", 0, 40)]).total
    assert (figure.status, figure.gap, figure.value) == (Status.MISSED, 6, 0)


def test_a_milestone_counts_against_a_fixed_denominator_and_is_not_judged_by_district() -> None:
    """4,999 facilities of 5,000: one is missing; a district has a count and no verdict. Nothing known stays no data."""
    milestone = _indicator(fixed_denominator=1, target=Fraction(5000), judged=False)
    found = _evaluated(milestone, [Row(f"{number}", 1, 0, "d1") for number in range(4999)])
    assert (found.total.numerator, found.total.denominator, found.total.gap, found.total.status) == (4999, 1, 1, Status.MISSED)
    assert found.by_district["d1"].status is Status.NOT_JUDGED
    assert _evaluated(milestone, []).total.status is Status.NO_DATA
    removed = _evaluated(milestone, [Row("a", 0, 0, why="removed")]).total
    assert (removed.numerator, removed.status) == (0, Status.MISSED)


def test_a_day_counts_at_its_end_and_today_as_known() -> None:
    """The last instant of a local day belongs to it, the next one does not; a day that has not begun cannot be asked for."""
    later = moment(DAY, NOON + timedelta(days=3))
    assert (city_day(later.at), city_day(later.at + timedelta(microseconds=1))) == (DAY, DAY + timedelta(days=1))
    assert moment(DAY, NOON).at == NOON
    with pytest.raises(NotYet):
        moment(DAY + timedelta(days=1), NOON)


def test_unknown_schemes_and_formulas_are_named_errors() -> None:
    """The error lists what there is."""
    with pytest.raises(UnknownScheme, match="all, counted"):
        _indicator().scheme("none")
    with pytest.raises(UnknownFormula, match="1"):
        _indicator().formula(2)
    assert _evaluated(_indicator(), [Row("a", 1, 1, why="late")], "counted").total.status is Status.NO_DATA


def test_slots_are_days_that_are_over_and_the_hour_that_is_closed() -> None:
    """Yesterday at 00:10, not before it is closed; days since the first published one are caught up; the hour is today's."""
    midnight = day_begins(DAY)
    daily = Slot(DAY - timedelta(days=1), midnight + timedelta(minutes=10))
    assert daily not in due(midnight + timedelta(minutes=10, seconds=59), None)
    assert due(midnight + timedelta(minutes=11), None) == [daily, Slot(DAY, midnight)]
    assert due(NOON + timedelta(seconds=30), None)[-1] == Slot(DAY, NOON - timedelta(hours=1))
    assert due(NOON + timedelta(seconds=60), None)[-1] == Slot(DAY, NOON)
    caught_up = due(NOON + timedelta(seconds=60), DAY - timedelta(days=4))
    assert [each.on for each in caught_up] == [DAY - timedelta(days=number) for number in (4, 3, 2, 1, 0)]
    assert len(due(NOON, DAY - timedelta(days=400))) == 32


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx"])
def test_a_spreadsheet_never_runs_a_cell(text: str) -> None:
    """A name that looks like a formula gets an apostrophe in front."""
    assert _cell(text) == f"'{text}"
