"""What a forecast has to beat, on the real file and where it can be reckoned by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from cityloop_parking.availability import files
from cityloop_parking.availability.baselines import Beside, Damped, Profile, beside, last_value
from cityloop_parking.availability.evaluation import Span, Task
from cityloop_parking.availability.files import LAYOUTS, Format, Layout, Table
from cityloop_parking.availability.scores import Figures, Predicted, scores
from cityloop_parking.availability.slots import cells, points

BIRMINGHAM = LAYOUTS[Format.BIRMINGHAM]
MONDAY = 20_150 * 86_400 - (20_150 + 3) % 7 * 86_400


def task(folder: Path, span: Span) -> Task:
    with (folder / "parking" / "birmingham_occupancy_2016.csv").open("rb") as raw:
        return Task.prepared(files.read(raw, BIRMINGHAM), BIRMINGHAM, span)


@pytest.fixture(scope="module")
def week(data_dir: Path) -> tuple[Task, list[Beside]]:
    """The real file, judged from 13 December on."""
    judged = task(data_dir, Span(date(2016, 12, 13)))
    pairs = zip(judged.judged, judged.pairs, strict=True)
    return judged, [beside(judged.truth, judged.first_day, asked, every) for asked, every in pairs]


def common(judged: Task, found: list[Beside], name: str) -> list[Figures]:
    """Figures over the points whose profile is known, by horizon."""
    rows = zip(judged.judged, found, strict=True)
    return [scores(judged.truth, asked.where(each.known), getattr(each, name).where(each.known)) for asked, each in rows]


def column(figures: list[Figures], name: str) -> list[float]:
    return [float(each[name] or 0) for each in figures]


def test_the_points_of_the_real_week_are_as_many_as_were_counted(week: tuple[Task, list[Beside]]) -> None:
    """All of them, and those whose profile exists: a lot that begins on 13 December has none."""
    judged, found = week
    assert [len(each.origin) for each in judged.judged] == [3138, 2947, 2570, 2183]
    assert [int(each.known.sum()) for each in found] == [3055, 2867, 2501, 2125]


@pytest.mark.parametrize(
    "name, figure, wanted",
    [
        ("last_value", "mae", [0.0365, 0.0697, 0.1269, 0.1729]),
        ("profile", "mae", [0.0721, 0.0734, 0.0765, 0.0791]),
        ("damped", "mae", [0.0140, 0.0229, 0.0375, 0.0477]),
        ("last_value", "brier_95", [0.0216, 0.0419, 0.0848, 0.1139]),
        ("profile", "brier_95", [0.0415, 0.0443, 0.0514, 0.0590]),
    ],
)
def test_the_baselines_of_the_real_week_err_as_was_measured(
    week: tuple[Task, list[Beside]], name: str, figure: str, wanted: list[float]
) -> None:
    """To the fourth digit: whoever reckons them again finds these lines."""
    assert column(common(*week, name), figure) == pytest.approx(wanted, abs=0.00013)


def test_damped_with_a_normal_interval_covers_as_was_measured(week: tuple[Task, list[Beside]]) -> None:
    """Coverage, width, pinball loss and the Brier score of 95 %, at 30, 60, 120 and 180 minutes."""
    figures = common(*week, "damped")
    assert column(figures, "coverage_80") == pytest.approx([0.789, 0.775, 0.759, 0.753], abs=0.0015)
    assert column(figures, "width") == pytest.approx([0.044, 0.069, 0.109, 0.135], abs=0.0011)
    assert column(figures, "pinball") == pytest.approx([0.0036, 0.0058, 0.0094, 0.0119], abs=0.00006)
    assert column(figures, "brier_95") == pytest.approx([0.0106, 0.0189, 0.0345, 0.0454], abs=0.0006)


def test_over_one_week_to_fit_anew_each_week_is_the_same(week: tuple[Task, list[Beside]]) -> None:
    """The line of one week does not depend on which of the two is read."""
    for each in week[1]:
        assert np.array_equal(each.damped.values, each.damped_weekly.values, equal_nan=True)


def test_over_four_weeks_to_fit_anew_each_week_is_the_harder_line(data_dir: Path) -> None:
    """Measured over 15 November to 12 December: 0.0134 / 0.0219 / 0.0368 / 0.0478."""
    judged = task(data_dir, Span(date(2016, 11, 15), date(2016, 12, 12)))
    pairs = zip(judged.judged, judged.pairs, strict=True)
    found = [beside(judged.truth, judged.first_day, asked, every) for asked, every in pairs]
    weekly, once = (column(common(judged, found, name), "mae") for name in ("damped_weekly", "damped"))
    assert weekly == pytest.approx([0.0134, 0.0219, 0.0368, 0.0478], abs=0.0007)
    assert all(one < other for one, other in zip(weekly, once, strict=True))


def test_the_judged_days_change_nothing_in_what_is_fitted(data_dir: Path) -> None:
    """Noise from the first judged day on leaves every profile and every beta as it was."""
    whole = task(data_dir, Span(date(2016, 12, 13)))
    noise = np.random.default_rng(3).uniform(0, 1, len(whole.truth.rate))
    late = whole.truth.day >= whole.first_day
    rate = np.where(late, noise, whole.truth.rate)
    truth = type(whole.truth)(**{name: getattr(whole.truth, name) for name in whole.truth.__slots__} | {"rate": rate})
    for asked, every in zip(whole.judged, whole.pairs, strict=True):
        before, after = (beside(each, whole.first_day, asked, every) for each in (whole.truth, truth))
        assert np.array_equal(before.profile.values, after.profile.values, equal_nan=True)
        first = truth.day[asked.origin] == whole.first_day
        assert not np.array_equal(before.damped.values[:, first], after.damped.values[:, first], equal_nan=True)


def table(rows: list[tuple[float, float]], capacity: float = 100) -> Table:
    """One place: (hours since Monday, occupied)."""
    at = np.array([MONDAY + hours * 3600 for hours, _ in rows], np.float64)
    count = len(rows)
    taken = np.array([occupied for _, occupied in rows], np.float64)
    return Table(("P",), np.zeros(count, np.int64), at, taken, np.full(count, float(capacity)), np.ones(count, np.bool_), count, 0, (), {})


LAYOUT = Layout("p", "c", "o", "a", 1800, 900, zoned=False, carries=False)
WEEK = 7 * 24


def test_damped_is_the_profile_and_a_share_of_what_the_last_value_is_off() -> None:
    """Two Mondays 10 points above and below their mean at nine, 4 at half past: beta 0.4; the third is asked at 5 above."""
    rows = [(9, 60.0), (9.5, 74), (WEEK + 9, 40), (WEEK + 9.5, 66), (2 * WEEK + 9, 55), (2 * WEEK + 9.5, 90)]
    truth = cells(table(rows), LAYOUT)
    pairs = points(truth, 30)
    first = int(truth.day.max())
    asked = pairs.where(truth.day[pairs.target] == first)
    profile = Profile.fitted(truth, truth.day < first)
    damped = Damped.fitted(truth, profile, pairs.where(truth.day[pairs.target] < first))
    assert damped.beta.tolist() == pytest.approx([0.4])
    said = damped.predicted(truth, asked).values[:3, 0].tolist()
    assert said == pytest.approx([0.72, 0.72, 0.72], abs=1e-5)
    assert profile.predicted(truth, asked).values[0].tolist() == pytest.approx([0.70])
    assert last_value(truth, asked).values[0].tolist() == pytest.approx([0.55])


def test_a_slot_that_no_training_day_has_is_known_to_nobody() -> None:
    """Such points are not counted for profile and damped; the last value answers them."""
    rows = [(9, 60.0), (9.5, 74), (24 + 9, 55), (24 + 9.5, 90)]
    truth = cells(table(rows), LAYOUT)
    pairs = points(truth, 30)
    first = int(truth.day.max())
    found = beside(truth, first, pairs.where(truth.day[pairs.target] == first), pairs)
    assert found.known.tolist() == [False]
    assert np.isnan(found.damped.values).all()
    assert found.last_value.values[0].tolist() == [0.55]


def test_figures_are_what_their_definitions_say() -> None:
    """Two points, reckoned by hand."""
    truth = cells(table([(9, 50), (9.5, 60), (10, 99)]), LAYOUT)
    asked = points(truth, 30)
    said = Predicted(np.array([[0.55, 0.8], [0.5, 0.7], [0.65, 0.9], [0.1, 0.6], [0.0, 0.2]]))
    assert scores(truth, asked, said) == pytest.approx(
        {
            "minutes": 30,
            "n": 2,
            "mae": (0.05 + 0.19) / 2,
            "coverage_80": 0.5,
            "width": (0.15 + 0.2) / 2,
            "pinball": ((0.1 * 0.1 + 0.1 * 0.05) / 2 + (0.1 * 0.29 + 0.9 * 0.09) / 2) / 2,
            "brier_95": (0.1**2 + 0.4**2) / 2,
            "brier_full": (0 + 0.2**2) / 2,
        },
        abs=1e-6,
    )
