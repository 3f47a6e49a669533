"""The recycling rate's arithmetic: never above one where it cannot be, the same in any order, each load counted once."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.indicator import Moment, NoData, Row
from cityloop_waste.fleet.domain import SiteKind
from cityloop_waste.indicators.recycling import GENERATED, HAULED, CountedEstimate, CountedLoad, Facts, Why, rows
from cityloop_waste.streams import Stream

MOMENT = Moment(date(2026, 11, 26), datetime(2026, 11, 26, tzinfo=UTC), datetime(2026, 11, 26, tzinfo=UTC))
DAYS = [date(2026, 11, day) for day in (1, 2, 3)]
DISTRICTS = ["d1", "d2"]

made_loads = st.lists(
    st.builds(
        lambda day, stream, kind, net, district: (day, stream, kind, net, district),
        st.sampled_from(DAYS),
        st.sampled_from(list(Stream)),
        st.sampled_from(list(SiteKind)),
        st.integers(1, 20_000),
        st.sampled_from([*DISTRICTS, None]),
    ),
    max_size=20,
).map(lambda given_to: [CountedLoad(f"c{n}", day, s.value, k.value, net, d, {}) for n, (day, s, k, net, d) in enumerate(given_to)])
made_estimates = st.dictionaries(st.tuples(st.sampled_from(DAYS), st.sampled_from(DISTRICTS)), st.integers(0, 50_000)).map(
    lambda given_to: [CountedEstimate(day, district, mass, {}) for (day, district), mass in given_to.items()]
)


def sums(found: list[Row]) -> tuple[int, int]:
    """Numerator and denominator."""
    return sum(row.numerator for row in found), sum(row.denominator for row in found)


def by(facts: Facts, scheme: str) -> list[Row]:
    """The rows of a scheme; none where it says that nothing is known."""
    try:
        return list(rows(facts, MOMENT, scheme))
    except NoData:
        assert not facts.loads
        return []


@given(made_loads)
def test_of_what_was_hauled_never_more_is_recycled(loads: list[CountedLoad]) -> None:
    """In the whole and in each district; transfers and construction waste count on neither side."""
    found = by(Facts(loads, []), HAULED)
    numerator, denominator = sums(found)
    assert 0 <= numerator <= denominator
    counted = [each for each in loads if each.stream != Stream.CONSTRUCTION and each.site_kind != SiteKind.TRANSFER]
    assert denominator == sum(each.net_kg for each in counted)
    for district in {row.district for row in found}:
        part = sums([row for row in found if row.district == district])
        assert part[0] <= part[1]


@given(made_loads, made_estimates)
def test_generated_counts_a_load_where_its_day_is_estimated(loads: list[CountedLoad], estimates: list[CountedEstimate]) -> None:
    """Never more than the hauled numerator; with estimates of at least what was recycled, never above one."""
    found = by(Facts(loads, estimates), GENERATED)
    numerator, denominator = sums(found)
    assert denominator == sum(each.mass_kg for each in estimates)
    assert numerator <= sums(by(Facts(loads, estimates), HAULED))[0]
    known = {(each.day, each.district) for each in estimates}
    days = {each.day for each in estimates}
    for load, row in zip(loads, (row for row in found if row.why != Why.ESTIMATE), strict=True):
        covered = load.day in days if load.district is None else (load.day, load.district) in known
        assert bool(row.numerator) is (covered and row.why == Why.RECYCLED)
        if not covered and load.stream != Stream.CONSTRUCTION and load.site_kind != SiteKind.TRANSFER:
            assert row.why == Why.NO_ESTIMATE
    if all(each.mass_kg >= sum(load.net_kg for load in loads if load.day == each.day) for each in estimates):
        assert numerator <= denominator


@given(made_loads, made_estimates, st.randoms(use_true_random=False))
def test_the_order_of_facts_never_matters(loads: list[CountedLoad], estimates: list[CountedEstimate], chance: object) -> None:
    """Shuffled facts give the same rows."""
    shuffled = (list(loads), list(estimates))
    for each in shuffled:
        chance.shuffle(each)  # type: ignore[attr-defined]
    for scheme in (GENERATED, HAULED):
        assert sorted(by(Facts(loads, estimates), scheme), key=repr) == sorted(by(Facts(*shuffled), scheme), key=repr)


@given(made_loads, made_estimates)
def test_every_load_is_one_row_with_a_key_of_its_own(loads: list[CountedLoad], estimates: list[CountedEstimate]) -> None:
    """Also those that count for nothing: they are listed with the reason."""
    for scheme, extra in ((HAULED, 0), (GENERATED, len(estimates))):
        found = by(Facts(loads, estimates), scheme)
        assert len({row.key for row in found}) == len(found) == len(loads) + extra
        assert all((row.numerator, row.denominator) == (0, 0) for row in found if row.why in {Why.TRANSFER, Why.NO_ESTIMATE})
