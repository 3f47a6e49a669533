"""From counts by category to series, from a forecast to what a driver is told, and how old is too old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cityloop_parking.availability.domain import Forecast
from cityloop_parking.availability.freshness import Aged, Freshness, is_silent, of_counts
from cityloop_parking.availability.outlook import NoForecastThen, instant_asked, spaces_of
from cityloop_parking.availability.totals import COUNTS_TOGETHER_S, Counted, in_total, instant_of, own_series, total, wall

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
AT = wall(NOW)
STANDARD, EV, BIKES = Counted(40, 100, AT), Counted(5, 20, AT - 600), Counted(30, 50, AT)


def test_wall_clock_seconds_are_the_citys() -> None:
    """Midnight in the city is a whole day; and back."""
    midnight = datetime(2026, 5, 31, 16, tzinfo=UTC)
    assert wall(midnight) % 86_400 == 0
    assert instant_of(wall(NOW)) == NOW


def test_a_total_is_what_a_car_driver_looks_for() -> None:
    """Every category but motorcycles; those only where there is nothing else."""
    assert total("p", {"standard": STANDARD, "ev": EV, "motorcycle": BIKES}, AT) == ("p", AT, 45, 120)
    assert total("p", {"motorcycle": BIKES}, AT) == ("p", AT, 30, 50)
    assert total("p", {}, AT) is None


def test_a_category_that_is_silent_for_a_day_is_no_part_of_the_total() -> None:
    """Up to then its newest count stands in."""
    old = Counted(5, 20, AT - COUNTS_TOGETHER_S - 1)
    assert total("p", {"standard": STANDARD, "ev": old}, AT) == ("p", AT, 40, 100)
    assert total("p", {"standard": STANDARD, "ev": old}, AT - 1) == ("p", AT - 1, 45, 120)
    assert total("p", {"ev": old}, AT) is None


@pytest.mark.parametrize(
    "categories, whole, own",
    [
        (["standard"], ["standard"], []),
        (["standard", "motorcycle"], ["standard"], ["motorcycle"]),
        (["standard", "ev"], ["standard", "ev"], ["standard", "ev"]),
        (["motorcycle"], ["motorcycle"], []),
    ],
)
def test_a_category_has_a_series_of_its_own_unless_it_is_the_total(categories: list[str], whole: list[str], own: list[str]) -> None:
    """What is the same is learnt once."""
    counts = dict.fromkeys(categories, STANDARD)
    assert (in_total(counts), list(own_series(counts))) == (whole, own)


def test_free_is_what_is_not_taken() -> None:
    """Bounds change sides, are whole tenths outward, and stay within the place; the mean lies between."""
    spaces = spaces_of(Forecast(AT, AT, 120.0, (0.7012, 0.81, 1.0), 9))
    assert (spaces.capacity, round(spaces.mean, 1), spaces.low, round(spaces.high, 3)) == (120, 22.8, 0.0, 35.856)
    assert spaces.body() == {"free": {"mean": 22.8, "low": 0.0, "high": 35.9}, "chance": round(spaces.chance, 3)}
    empty = spaces_of(Forecast(AT, AT, 120.0, (0.0, 0.0, 0.02), 9)).body()
    assert empty["free"] == {"mean": 120.0, "low": 117.6, "high": 120.0}


@pytest.mark.parametrize(
    "ages, freshness, silent",
    [
        ([(1800, 900)], Freshness.LIVE, False),
        ([(1801, 900)], Freshness.LATE, False),
        ([(3600, 900)], Freshness.LATE, False),
        ([(3601, 900)], Freshness.LATE, True),
        ([(3601, 900), (60, 900)], Freshness.LATE, False),  # one category is counted still
        ([(3601, 900), (100_000, 900)], Freshness.LATE, True),
        ([(86_401, 900)], Freshness.UNKNOWN, True),
        ([(604_800, 900)], Freshness.UNKNOWN, True),
        ([(604_801, 900)], Freshness.UNKNOWN, False),
        ([], Freshness.UNKNOWN, False),
    ],
)
def test_a_forecast_says_more_once_every_count_is_older_than_four_intervals(
    ages: list[tuple[float, int]], freshness: Freshness, silent: bool
) -> None:
    """For a week; live and late are as they were before there were forecasts."""
    counts = [Aged(*each) for each in ages]
    assert (of_counts(counts), is_silent(counts)) == (freshness, silent)


def test_a_forecast_is_asked_from_now_to_a_week_ahead() -> None:
    """What was now when the request left is now; a plus sign may have become a space."""
    for text, at in (
        ("2026-06-01T11:59:00+08:00", NOW),
        ("2026-06-08T12:00:00+08:00", NOW + timedelta(days=7)),
        ("2026-06-01T13:00:00 08:00", NOW + timedelta(hours=1)),
    ):
        assert instant_asked(text, NOW, "at") == at
    for wrong in ("2026-06-01T11:58:59+08:00", "2026-06-08T12:00:01+08:00", "2026-06-01T13:00:00", "x", "", "9999-12-31T23:59:59-23:59"):
        with pytest.raises(NoForecastThen) as refused:
            instant_asked(wrong, NOW, "arrives_at")
        assert refused.value.members["errors"] == [{"pointer": "/query/arrives_at", "detail": refused.value.detail}]
