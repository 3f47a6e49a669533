"""How good the forecast has to be on the real file. Nothing was chosen by the week that is judged here: change no limit to let it pass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from cityloop_parking.availability import files
from cityloop_parking.availability.baselines import beside
from cityloop_parking.availability.evaluation import Answers, Span, Task, fresh, walk
from cityloop_parking.availability.files import LAYOUTS, Format
from cityloop_parking.availability.scores import Figures, scores

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("forecast-accuracy")]

BIRMINGHAM = LAYOUTS[Format.BIRMINGHAM]
SPAN = Span(date(2016, 11, 8), date(2016, 12, 19))
TEST_WEEK = Span(date(2016, 12, 13), date(2016, 12, 19))


@dataclass(frozen=True)
class Judged:
    """Figures by horizon: the forecast's over the span, over the test week, and the week's where damped has an answer; damped's there."""

    span: list[Figures]
    week: list[Figures]
    common: list[Figures]
    damped: list[Figures]
    unanswered: int

    def of_damped(self, name: str) -> list[float]:
        """The forecast's figure divided by that of the damped profile, over the points that both answer."""
        return [mine / its for mine, its in zip(column(self.common, name), column(self.damped, name), strict=True)]


def column(figures: list[Figures], name: str) -> list[float]:
    """One figure at 30, 60, 120 and 180 minutes; all of them are said."""
    found = [each[name] for each in figures]
    assert None not in found, name
    return [float(each) for each in found if each is not None]


@pytest.fixture(scope="module")
def judged(data_dir: Path) -> Judged:
    """The file in one pass, judged over both spans (4 s of a core)."""
    with (data_dir / "parking" / "birmingham_occupancy_2016.csv").open("rb") as raw:
        table = files.read(raw, BIRMINGHAM)
    task = Task.prepared(table, BIRMINGHAM, SPAN)
    return _judged(task, walk(fresh(BIRMINGHAM), task), first_day=Task.prepared(table, BIRMINGHAM, TEST_WEEK).first_day)


def _judged(task: Task, answers: Answers, *, first_day: int) -> Judged:
    found = Judged([], [], [], [], answers.unanswered)
    truth = task.truth
    for asked, said, every in zip(task.judged, answers.said, task.pairs, strict=True):
        late = truth.day[asked.target] >= first_day
        week, answer = asked.where(late), said.where(late)
        other = beside(truth, first_day, week, every)
        found.span.append(scores(truth, asked, said))
        found.week.append(scores(truth, week, answer))
        found.common.append(scores(truth, week.where(other.known), answer.where(other.known)))
        found.damped.append(scores(truth, week.where(other.known), other.damped.where(other.known)))
    return found


def misses(values: list[float], most: list[float]) -> list[str]:
    """What lies above its limit, horizon by horizon, as it is told when the test fails."""
    rows = zip((30, 60, 120, 180), values, most, strict=True)
    return [f"{minutes} min: {value:.4f}, at most {limit}" for minutes, value, limit in rows if not value <= limit]


def test_every_point_of_both_spans_is_judged_and_answered(judged: Judged) -> None:
    """No limit is kept by leaving points out."""
    assert column(judged.span, "n") == [18_317, 17_271, 15_125, 12_931]
    assert column(judged.week, "n") == [3138, 2947, 2570, 2183]
    assert column(judged.damped, "n") == column(judged.common, "n") == [3055, 2867, 2501, 2125]
    assert judged.unanswered == 0


def test_the_error_of_the_test_week_is_15_per_cent_below_damped(judged: Judged) -> None:
    """Mean absolute error of the rate: over all points below what was set, over those of both at most 0.85 of damped's."""
    most = [0.0119, 0.0194, 0.0319, 0.0405]
    assert misses(column(judged.week, "mae"), most) == []
    assert misses(column(judged.common, "mae"), most) == []
    assert misses(judged.of_damped("mae"), [0.85] * 4) == []


def test_the_interval_covers_80_of_100_over_six_weeks(judged: Judged) -> None:
    """78 to 82 % at each horizon: neither too narrow nor bought by width."""
    covered = column(judged.span, "coverage_80")
    assert [each for each in covered if not 0.78 <= each <= 0.82] == [], covered


def test_the_quantiles_of_the_test_week_lose_less_than_dampeds(judged: Judged) -> None:
    """Pinball loss of the 10 % and the 90 % quantile, against damped with a normal interval."""
    assert misses(judged.of_damped("pinball"), [0.85, 0.85, 0.92, 0.92]) == []


def test_the_chance_of_a_nearly_full_car_park_is_nearer_to_what_happens_than_dampeds(judged: Judged) -> None:
    """Brier score of a rate of at least 95 %."""
    assert misses(judged.of_damped("brier_95"), [0.90] * 4) == []
