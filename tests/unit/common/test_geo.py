"""Positions mean one thing: WGS-84, whatever datum they came in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.geo import Bounds, Datum, DatumMissing, DatumUnknown, OutOfBounds, Position, datum, distance_m, to_wgs84

CITY = Bounds(109.0, 38.9, 110.6, 40.0)
TAIPEI = Bounds(121.40, 24.90, 121.72, 25.25)


def test_gcj02_is_502_m_away_at_the_first_city() -> None:
    """The published offset, undone."""
    at = to_wgs84(109.787, 39.565, Datum.GCJ02, within=CITY)
    assert round(distance_m(at, Position(109.787, 39.565))) == 502


@given(st.floats(109.0, 110.5), st.floats(38.95, 39.95))
def test_gcj02_inverts_to_5_millimetres(lon: float, lat: float) -> None:
    """Forward by the published formula and back."""
    import prcoords

    moved = prcoords.wgs_gcj((lat, lon))
    assert distance_m(to_wgs84(moved.lon, moved.lat, Datum.GCJ02), Position(lon, lat)) < 0.005


def test_twd97_of_a_surveyed_car_park() -> None:
    """Taipei's City Hall car park lies beside City Hall."""
    at = to_wgs84(306812.928, 2769892.95, Datum.TWD97, within=TAIPEI)
    assert distance_m(at, Position(121.562997, 25.036089)) < 0.2


def test_outside_china_gcj02_is_wgs84() -> None:
    """The obfuscation ends at the border."""
    assert to_wgs84(2.35, 48.85, Datum.GCJ02) == Position(2.35, 48.85)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_coordinates_need_a_datum(text: str | None) -> None:
    """Nobody guesses one."""
    with pytest.raises(DatumMissing):
        datum(text)


def test_an_unknown_datum_is_refused_and_a_known_one_read() -> None:
    """WGS-84 is wgs84."""
    assert datum(" WGS-84 ") is Datum.WGS84
    with pytest.raises(DatumUnknown, match="wgs84, gcj02, bd09, twd97"):
        datum("nad27")


@pytest.mark.parametrize(
    "x, y, source, hint",
    [
        (306812.9, 2769892.9, Datum.WGS84, "inside as twd97"),
        (25.03, 121.56, Datum.WGS84, "may be swapped"),
        (0.0, 0.0, Datum.TWD97, "is not within"),
        (float("nan"), 25.0, Datum.WGS84, "is not within"),
        (float("inf"), 25.0, Datum.TWD97, "is not within"),
    ],
)
def test_a_datum_that_contradicts_the_bounds_is_refused_with_what_would_fit(x: float, y: float, source: Datum, hint: str) -> None:
    """The refusal helps."""
    with pytest.raises(OutOfBounds, match=hint):
        to_wgs84(x, y, source, within=TAIPEI)


def test_distance_of_a_degree() -> None:
    """One degree of latitude on the mean sphere."""
    assert round(distance_m(Position(0, 0), Position(0, 1))) == 111_195
    assert distance_m(Position(109.7, 39.5), Position(109.7, 39.5)) == 0.0
