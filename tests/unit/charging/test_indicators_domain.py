"""The formulas of charging's figures: what counts, what does not and why, and golden values of each version."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_charging.indicators import domain
from cityloop_charging.indicators.domain import EvseFact, Facts, PlaceFact, VehiclesFact
from cityloop_charging.indicators.figures import EV_BAY_SHARE, FACILITIES, PILE_RATIO
from cityloop_charging.registry.domain import Access, Lifecycle
from cityloop_charging.status.domain import Status
from cityloop_common.indicator import Ask, Evaluation, Indicator, evaluated, moment
from cityloop_common.indicator import Status as Says

NOON = datetime(2026, 11, 26, 4, 0, tzinfo=UTC)


def _evse(uid: str = "e1", **but: Any) -> EvseFact:
    fields: dict[str, Any] = {
        "uid": uid,
        "location_id": "l1",
        "access": Access.PUBLIC,
        "lifecycle": Lifecycle.IN_SERVICE,
        "standard": True,
        "bay_no": None,
        "place_id": "p1",
        "district": "d01",
        "status": Status.AVAILABLE,
        "open": True,
        "rows": (f"row-{uid}",),
    }
    return EvseFact(**(fields | but))


def _place(place_id: str = "p1", **but: Any) -> PlaceFact:
    fields: dict[str, Any] = {
        "place_id": place_id,
        "name": place_id,
        "access": "public",
        "state": "open",
        "kind": "garage",
        "district": "d01",
        "total_bays": 40,
        "row": f"row-{place_id}",
    }
    return PlaceFact(**(fields | but))


def _evaluated(indicator: Indicator, facts: Facts, scheme: str) -> Evaluation:
    ask = Ask(moment(date(2026, 11, 26), NOON), provisional=False, formula_version=1, districts_version="v")
    return evaluated(indicator, indicator.scheme(scheme), facts, ask)


GOLDEN = Facts(
    evses=[
        _evse("e1", bay_no="A1"),
        _evse("e2", bay_no="a1", location_id="l2"),  # the same bay, named by another station
        _evse("e3"),
        _evse("e4", status=Status.OUTOFORDER, bay_no="A2"),
        _evse("e5", status=Status.UNKNOWN, bay_no="A3"),
        _evse("e6", place_id="p2", access=Access.COMPOUND, standard=False),
        _evse("e7", place_id=None, lifecycle=Lifecycle.PLANNED),
        _evse("e8", place_id="p3", district="d02"),
        _evse("e9", bay_no="A9", open=False),
        _evse("f1", place_id="p6", in_city=False),
    ],
    places=[
        _place("p1"),
        _place("p2", kind="on_street", total_bays=10),
        _place("p3", access="private"),
        _place("p4", state="closed"),
        _place("p5", total_bays=0, district=None),
        _place("p6", total_bays=1, in_city=False),
    ],
    vehicles=[VehiclesFact("passenger/bev", 14, True, None, "v1"), VehiclesFact("truck/phev", 100, False, "d02", "v2")],
)


@pytest.mark.parametrize(
    "indicator, scheme, numerator, denominator, status, gap",
    [
        (EV_BAY_SHARE, "all", 4, 50, Says.MISSED, 4),
        (EV_BAY_SHARE, "off-street", 3, 40, Says.MISSED, 3),
        (EV_BAY_SHARE, "reporting", 3, 50, Says.MISSED, 5),
        (PILE_RATIO, "count", 5, 14, Says.MET, 0),
        (PILE_RATIO, "reporting", 4, 14, Says.MISSED, 1),
        (FACILITIES, "public-and-compound", 8, 1, Says.MISSED, 4992),
        (FACILITIES, "public", 7, 1, Says.MISSED, 4993),
    ],
)
def test_golden_values_of_the_first_version(
    indicator: Indicator, scheme: str, numerator: int, denominator: int, status: Says, gap: int
) -> None:
    """Computed by hand; a change of a formula is a new version beside these."""
    figure = _evaluated(indicator, GOLDEN, scheme).total
    assert (figure.numerator, figure.denominator, figure.status, figure.gap) == (numerator, denominator, status, gap)


def test_each_row_says_why_it_counts_or_not() -> None:
    """An official sees the broken, the planned and the private one, and whose journal rows say so."""
    why = {row.key: row.why for row in _evaluated(PILE_RATIO, GOLDEN, "reporting").rows}
    assert (why["e4"], why["e5"], why["e6"], why["e7"]) == ("not-operational", "not-reporting", "not-public", "planned")
    assert (why["e9"], why["f1"]) == ("closed", "elsewhere")
    assert {row.key: row.why for row in _evaluated(FACILITIES, GOLDEN, "public").rows}["f1"] == "elsewhere"
    assert why["vehicles/truck/phev"] == "not-standard"
    place = next(row for row in _evaluated(EV_BAY_SHARE, GOLDEN, "all").rows if row.key == "p1")
    assert (place.evidence["needed"], place.evidence["reached"], place.evidence["not_counted"]) == (6, False, ["e4", "e9"])
    assert set(place.evidence["rows"]) == {"row-p1", "row-e9", *(f"row-e{number}" for number in range(1, 6))}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "scheme, why",
    [
        ("all", {"p1": "counted", "p2": "counted", "p3": "not-public", "p4": "closed", "p5": "no-bays", "p6": "elsewhere"}),
        ("off-street", {"p1": "counted", "p2": "on-street", "p3": "not-public", "p4": "closed", "p5": "no-bays", "p6": "elsewhere"}),
    ],
)
def test_each_car_park_says_why_it_counts_or_not(scheme: str, why: dict[str, str]) -> None:
    """One that closes does not vanish from the rows: it counts for nothing, and its newest journal row says since when."""
    rows = _evaluated(EV_BAY_SHARE, GOLDEN, scheme).rows
    assert {row.key: row.why for row in rows} == why
    elsewhere = next(row for row in rows if row.key == "p6")
    assert (elsewhere.numerator, elsewhere.denominator) == (0, 0)
    closed = next(row for row in rows if row.key == "p4")
    assert (closed.numerator, closed.denominator, closed.evidence["rows"]) == (0, 0, ["row-p4"])


@pytest.mark.parametrize(
    "indicator, facts, missing",
    [
        (EV_BAY_SHARE, Facts(evses=[_evse()]), "no car park is known"),
        (PILE_RATIO, Facts(vehicles=GOLDEN.vehicles), "no charging point is known"),
        (PILE_RATIO, Facts(evses=[_evse()]), "no registered vehicles are known"),
        (FACILITIES, Facts(), "no charging point is known"),
        (FACILITIES, Facts(evses=[_evse(in_city=False)]), "no charging point is known"),
        (PILE_RATIO, Facts(evses=[_evse(in_city=False)], vehicles=GOLDEN.vehicles), "no charging point is known"),
    ],
)
def test_what_was_never_told_is_no_data(indicator: Indicator, facts: Facts, missing: str) -> None:
    """Neither 0 nor good, and it says what is missing."""
    found = _evaluated(indicator, facts, indicator.headline.id)
    assert (found.total.status, found.total.value, found.missing) == (Says.NO_DATA, None, missing)


@given(st.integers(0, 200), st.integers(1, 600))
def test_the_ratio_is_met_exactly_when_three_points_serve_the_vehicles(points: int, vehicles: int) -> None:
    """3 P >= V in whole numbers; the gap is ceil(V / 3) - P."""
    facts = Facts(
        evses=[_evse(f"e{number}", status=Status.AVAILABLE if number < points else Status.OUTOFORDER) for number in range(points + 1)],
        vehicles=[VehiclesFact("all", vehicles, True, None, "v")],
    )
    figure = _evaluated(PILE_RATIO, facts, "count").total
    assert (figure.status is Says.MET) == (3 * points >= vehicles)
    assert figure.gap == max(0, -(-vehicles // 3) - points)


@given(st.permutations(GOLDEN.evses), st.permutations(GOLDEN.places))
def test_the_order_of_facts_never_matters(evses: list[EvseFact], places: list[PlaceFact]) -> None:
    """Rows come sorted, sums stay."""
    shuffled = Facts(evses=evses, places=places, vehicles=GOLDEN.vehicles)
    for scheme in EV_BAY_SHARE.schemes:
        assert _evaluated(EV_BAY_SHARE, shuffled, scheme.id).total == _evaluated(EV_BAY_SHARE, GOLDEN, scheme.id).total


def test_a_stock_of_the_whole_city_judges_no_district() -> None:
    """The vehicles lie in no district then: neither the districts' points nor the rest says anything by itself."""
    found = _evaluated(PILE_RATIO, GOLDEN, "count")
    assert found.total.status is Says.MET
    assert (found.by_district[""].status, found.by_district["d01"].status) == (Says.NOT_JUDGED, Says.NO_DATA)


def test_a_place_never_has_more_served_bays_than_bays() -> None:
    """Twelve EVSEs before four bays serve four."""
    facts = Facts(evses=[_evse(f"e{number}") for number in range(12)], places=[_place(total_bays=4)])
    assert domain.bay_share(facts, moment(date(2026, 11, 26), NOON), "all")[0].numerator == 4
