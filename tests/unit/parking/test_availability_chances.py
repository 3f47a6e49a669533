"""Laws of chances and intervals, and of what car parks learn from each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_parking.availability.domain import Forecast, Question, Reading
from cityloop_parking.availability.model import Model
from tests.unit.parking.availability_town import (
    DAY_S,
    MIN_S,
    NAMES,
    STEP_MIN,
    Town,
    ask,
    at,
    between,
    learnt,
    rate,
    sane,
    series,
)

MORNING = at(29, "10:30")
UNIT = st.floats(0, 1)


@st.composite
def forecasts(draw: st.DrawFn) -> Forecast:
    low, middle, high = sorted(draw(st.tuples(UNIT, UNIT, UNIT)))
    return Forecast(0.0, 0.0, float(draw(st.integers(1, 5000))), (low, middle, high), 1)


@given(forecasts(), UNIT, UNIT)
def test_a_higher_rate_is_never_likelier_to_be_reached(said: Forecast, one: float, other: float) -> None:
    """Chances lie in 0..1 and fall; at the bounds of the interval they are a tenth and nine tenths, at the mean a half."""
    assert 0 <= said.above(max(one, other)) <= said.above(min(one, other)) <= 1
    assert said.above(said.rate) == pytest.approx(0.5)
    if said.high - said.rate > 1e-3:
        assert said.above(said.high) == pytest.approx(0.1)
    if said.rate - said.low > 1e-3:
        assert said.above(said.low) == pytest.approx(0.9)


@given(forecasts())
def test_the_chance_of_a_space_is_that_of_not_being_full(said: Forecast) -> None:
    """Full is more than all but half a space; with an interval below it a space is nearly sure."""
    assert said.chance == pytest.approx(1 - said.above(1 - 0.5 / said.capacity))
    assert 0 <= said.chance <= 1
    if said.high < 1 - 0.5 / said.capacity:
        assert said.chance >= 0.9 - 1e-9


def test_where_there_are_no_spaces_there_is_no_chance() -> None:
    """A capacity below one is none."""
    assert Forecast(0.0, 0.0, 0.0, (0.4, 0.5, 0.6), 1).chance == 0


def test_the_fuller_the_less_likely_a_space() -> None:
    """The same car park at ever higher counts, one hour ahead."""
    chances = []
    for taken in range(150, 201, 5):
        model = learnt(MORNING).model()
        model.observe([Reading(NAMES[0], MORNING + 40, float(taken), 200.0)])
        chances.append(ask(model, NAMES[0], MORNING + 3640)[0].chance)
    assert all(fuller < emptier + 0.02 for emptier, fuller in itertools.pairwise(chances))
    assert chances[0] > 0.9
    assert chances[-1] < 0.55


@pytest.mark.parametrize("capacity", [1, 2, 4])
def test_a_handful_of_bays_is_forecast_by_its_chances(capacity: int) -> None:
    """Most bays taken by day, few by night: over a week the mean chance of a space an hour ahead is near how often there is one."""
    rng = np.random.default_rng(11)
    readings = []
    for step in range(21 * 96):
        busy = 0.85 if 9 <= step % 96 / 4 < 18 else 0.05
        readings.append(Reading("bays", at(0, "00:00") + step * 900, float(rng.binomial(capacity, busy)), float(capacity)))
    model, cut = Model(15), at(14, "00:00")
    model.observe(each for each in readings if each.at < cut)
    by_night: dict[bool, list[tuple[float, bool]]] = {False: [], True: []}
    for count, later, said in walked(model, [each for each in readings if each.at >= cut], 60):
        assert sane(said)
        by_night[not 9 <= (count.at % DAY_S) / 3600 + 1 < 18].append((said.chance, later < 1))
    for found in by_night.values():
        chance, came = np.mean(found, axis=0)
        assert chance == pytest.approx(came, abs=0.2)


def walked(model: Model, readings: list[Reading], ahead_min: int) -> Iterator[tuple[Reading, float, Forecast]]:
    """Each count, what was counted so much later, and what was said of it."""
    truth = {(each.series, each.at): rate(each) for each in readings}
    for stamp in sorted({each.at for each in readings}):
        batch = [each for each in readings if each.at == stamp]
        model.observe(batch)
        judged = [each for each in batch if (each.series, stamp + ahead_min * MIN_S) in truth]
        answers = model.forecast([Question(each.series, stamp + ahead_min * MIN_S) for each in judged])
        for each, said in zip(judged, answers, strict=True):
            assert said is not None
            yield each, truth[each.series, stamp + ahead_min * MIN_S], said


@pytest.mark.parametrize("ahead_min", [30, 60, 180])
def test_eight_of_ten_counts_lie_within_the_interval(ahead_min: int) -> None:
    """Over the fifth week of the town, one in ten on each side, roughly; and no wider than it must be."""
    found = list(walked(learnt().model(), between(at(28, "00:00"), at(33, "00:00")), ahead_min))
    inside = np.mean([said.low <= later <= said.high for _, later, said in found])
    below, above = np.mean([later < said.low for _, later, said in found]), np.mean([later > said.high for _, later, said in found])
    assert 0.7 < inside < 0.9
    assert max(below, above) < 0.17
    error = np.mean([abs(later - said.rate) for _, later, said in found])
    assert np.mean([said.high - said.low for _, _, said in found]) < 5 * error


def test_the_chance_of_being_nearly_full_comes_true_as_often() -> None:
    """Of all answers that give it a chance between a quarter and three quarters, about half are nearly full."""
    town = Town(height=0.95, shared=0.06)
    readings = town.readings(24)
    model = Model(STEP_MIN)
    model.observe(each for each in readings if each.at < at(14, "00:00"))
    found = [
        (said.above(0.95), later >= 0.95) for _, later, said in walked(model, [each for each in readings if each.at >= at(14, "00:00")], 60)
    ]
    middling = [came for chance, came in found if 0.25 < chance < 0.75]
    assert len(middling) > 40
    assert 0.3 < np.mean(middling) < 0.7
    assert np.mean([came for chance, came in found if chance < 0.05]) < 0.03


def test_a_new_car_park_in_a_known_town_is_forecast_after_one_day() -> None:
    """By what the others have taught: an hour ahead, on its second day, much nearer than its last value."""
    town = Town(places=9)
    new = series(8)
    own = [each for each in town.readings(30) if each.series == new and each.at >= at(28, "00:00")]
    model, alone = learnt(at(29, "00:00")).model(), Model(STEP_MIN)
    errors: dict[str, list[float]] = {"known town": [], "alone": [], "last value": []}
    for each in (model, alone):
        each.observe(reading for reading in own if reading.at < at(29, "00:00"))
    second = [each for each in own if each.at >= at(29, "00:00")]
    for (count, later, ours), (_, _, its) in zip(walked(model, second, 60), walked(alone, second, 60), strict=True):
        errors["known town"].append(abs(ours.rate - later))
        errors["alone"].append(abs(its.rate - later))
        errors["last value"].append(abs(rate(count) - later))
    mean = {name: float(np.mean(each)) for name, each in errors.items()}
    assert mean["known town"] < 0.6 * mean["last value"]
    assert mean["known town"] < mean["alone"]


def test_what_the_others_do_today_helps() -> None:
    """In a town whose car parks deviate together, one that is counted seldom is forecast better beside the others than alone."""
    town = Town(places=6, shared=0.1, noise=0.005, seed=5)
    readings, begin = town.readings(35), at(28, "00:00")
    seldom = [each for each in readings if each.series != NAMES[0] or int(each.at // 1800) % 12 == 0]
    together, alone = Model(STEP_MIN), Model(STEP_MIN)
    truth = {(each.series, each.at): rate(each) for each in readings}
    errors: list[list[float]] = []
    together.observe(each for each in seldom if each.at < begin)
    alone.observe(each for each in seldom if each.at < begin and each.series == NAMES[0])
    for stamp in sorted({each.at for each in seldom if each.at >= begin}):
        batch = [each for each in seldom if each.at == stamp]
        own = [each for each in batch if each.series == NAMES[0]]
        together.observe(batch)
        alone.observe(own)
        if own and (NAMES[0], stamp + 7200) in truth:
            errors.append([abs(ask(each, NAMES[0], stamp + 7200)[0].rate - truth[NAMES[0], stamp + 7200]) for each in (together, alone)])
    ours, its = np.mean(errors, axis=0)
    assert ours < 0.9 * its


def test_a_forecast_says_what_it_rests_on() -> None:
    """The instant asked for, the stamp of the count, the spaces, and the days that are over."""
    said = ask(learnt(MORNING).model(), NAMES[0], MORNING + 900)[0]
    assert (said.at, said.since, said.capacity, said.days) == (MORNING + 900, at(29, "10:00") + 40, 200.0, 29)
    assert math.isfinite(said.rate)
    assert said.since < said.at < said.since + DAY_S
