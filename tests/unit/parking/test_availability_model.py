"""Laws of the forecast when counts are missing, wrong or strange: it stays finite and modest, and is itself again with the next count."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cityloop_parking.availability.city import City
from cityloop_parking.availability.domain import Forecast, Question, Reading
from cityloop_parking.availability.model import Model
from tests.unit.parking.availability_town import (
    LOT,
    MIN_S,
    OTHERS,
    STEP_MIN,
    Learnt,
    Town,
    ask,
    at,
    between,
    count_of,
    learnt,
    rate,
    sane,
    series,
    width,
)

STEP_S = STEP_MIN * MIN_S
MORNING = at(29, "10:30")  # a Tuesday


def changed(begin: float, steps: int, lot: Callable[[int, Reading], Reading | None]) -> list[list[Reading]]:
    """The town's counts of some steps, one batch each; the lot's own is what is made of it, or none."""
    batches = []
    for step in range(steps):
        batch = between(begin + step * STEP_S, begin + (step + 1) * STEP_S, OTHERS)
        made = lot(step, between(begin + step * STEP_S, begin + (step + 1) * STEP_S, [LOT])[0])
        batches.append(batch if made is None else [*batch, made])
    return batches


def hour_ahead(model: Model, batches: list[list[Reading]]) -> list[Forecast]:
    """After each batch, what is said of the lot an hour later."""
    found = []
    for batch in batches:
        model.observe(batch)
        found += ask(model, LOT, batch[0].at + 3600)
    return found


def as_counted(step: int, count: Reading) -> Reading:
    return count


def test_a_series_never_seen_has_no_forecast() -> None:
    """None at its place among the others, in an empty model too."""
    answers = learnt().model().forecast([Question("nowhere", MORNING), Question(LOT, MORNING), Question("", MORNING)])
    assert [each is None for each in answers] == [True, False, True]
    assert Model(15).forecast([Question(LOT, MORNING)]) == [None]
    assert Model(15).forecast([]) == []
    assert Model(15).observe([]) == set()


def test_three_counts_are_enough_for_an_answer() -> None:
    """Finite and in 0..1 at every horizon, from the first count on."""
    model = Model(15)
    for number in range(3):
        assert model.observe([Reading("new", MORNING + 900 * number, 40.0 + number, 90.0)]) == {"new"}
        for ahead in (0, 5, 60, 180, 1440, 10_080):
            answer = ask(model, "new", MORNING + 900 * number + ahead * MIN_S)[0]
            assert sane(answer)
            assert answer.since == MORNING + 900 * number
    assert ask(model, "new", MORNING + 1800 + 5 * MIN_S)[0].rate == pytest.approx(42 / 90, abs=0.05)


def test_while_a_sensor_is_silent_the_interval_widens_and_the_mean_goes_to_the_usual() -> None:
    """Two hours without a count, after six that lay far below the usual: less sure each time. After hours that fades."""
    begin = MORNING - 6 * STEP_S
    low, usual = learnt(begin).model(), learnt(begin).model()
    for batch in changed(begin, 6, lambda _, count: count._replace(occupied=max(count.occupied - 0.15 * count.capacity, 0))):
        low.observe(batch)
    usual.observe(between(begin, MORNING))
    stamps = [MORNING - STEP_S + 40 + ahead * MIN_S for ahead in (0, 30, 60, 90, 120, 240, 360)]
    silent = ask(low, LOT, *stamps)
    off = [theirs.rate - ours.rate for ours, theirs in zip(silent, ask(usual, LOT, *stamps), strict=True)]
    assert all(later > earlier for earlier, later in itertools.pairwise(map(width, silent[:5])))
    assert width(silent[4]) > 3 * width(silent[0])
    assert off[0] == pytest.approx(0.15, abs=0.01)
    assert 0 < off[6] < off[5] < off[0]
    assert {each.since for each in silent} == {stamps[0]}


def test_the_next_count_after_a_silence_is_where_the_forecast_starts() -> None:
    """At once: as near to the count, and nearly as sure, as that of a sensor that was never silent."""
    silent, heard = learnt(MORNING).model(), learnt(MORNING).model()
    for one, other in zip(
        changed(MORNING, 5, lambda step, count: count if step == 4 else None), changed(MORNING, 5, as_counted), strict=True
    ):
        silent.observe(one)
        heard.observe(other)
    count = count_of(LOT, MORNING + 5 * STEP_S - 1)
    after, never = (ask(model, LOT, count.at, count.at + 1800) for model in (silent, heard))
    assert after[0].rate == pytest.approx(rate(count), abs=0.005)
    assert after[1].rate == pytest.approx(never[1].rate, abs=0.03)
    assert width(after[1]) < 1.3 * width(never[1])


def test_a_count_that_does_not_move_by_night_is_believed() -> None:
    """Nothing is strange about it: an hour later it is expected to be the same, and that is nearly sure."""
    night = at(29, "00:30")
    frozen = hour_ahead(learnt(night).model(), changed(night, 6, lambda _, count: count._replace(occupied=14.0)))
    assert all(abs(each.rate - 0.07) < 0.02 and width(each) < 0.06 for each in frozen)


def test_a_count_that_does_not_move_by_day_is_expected_to_move_on() -> None:
    """While the town fills, an hour later is expected above the frozen count, by at least half of the usual rise."""
    begin = at(29, "08:00")
    count = count_of(LOT, begin)
    frozen = hour_ahead(learnt(begin).model(), changed(begin, 6, lambda _, each: each._replace(occupied=count.occupied)))
    normal = hour_ahead(learnt(begin).model(), changed(begin, 6, as_counted))
    for step, (stuck, moving) in enumerate(zip(frozen, normal, strict=True)):
        rise = moving.rate - rate(count_of(LOT, begin + step * STEP_S + 60))
        assert stuck.rate - rate(count) > 0.5 * rise
        assert sane(stuck)


def test_where_sensors_often_freeze_by_day_a_frozen_count_is_expected_to_stay() -> None:
    """The town learns what its counts do: with the same ones today, the next is expected nearer to the frozen one, and surer."""
    stuck: dict[tuple[str, int], Reading] = {}

    def dead(each: Reading) -> Reading:
        """Of every third car park and day, another one each day, the count of eight stands until four, then jumps."""
        day, clock = divmod(each.at, 86_400)
        if (int(day) + int(each.series[-2:])) % 3 or not 8 * 3600 <= clock < 16 * 3600:
            return each
        return each._replace(occupied=stuck.setdefault((each.series, int(day)), each).occupied)

    begin = at(28, "08:00")
    model = Model(STEP_MIN)
    model.observe([dead(each) for each in between(0, begin)])
    count = count_of(LOT, begin)
    batches = changed(begin, 7, lambda _, each: each._replace(occupied=count.occupied))
    knowing, trusting = hour_ahead(model, batches)[-1], hour_ahead(learnt(begin).model(), batches)[-1]
    assert abs(knowing.rate - rate(count)) < 0.6 * abs(trusting.rate - rate(count))
    assert width(knowing) < width(trusting)


def test_a_jump_that_stays_is_where_the_next_forecast_starts() -> None:
    """A quarter of the car park fills at once, by night and at noon: nothing drags the next half hour back."""
    for begin in (at(29, "02:00"), at(29, "18:00")):
        model = learnt(begin).model()
        for batch in changed(begin, 4, lambda _, count: count._replace(occupied=count.occupied + 0.25 * count.capacity)):
            model.observe(batch)
            now = batch[-1]
            answers = ask(model, LOT, now.at, now.at + 1800)
            assert answers[0].rate == pytest.approx(rate(now), abs=0.005)
            assert answers[1].rate > rate(now) - 0.15


def test_one_strange_day_moves_the_usual_only_a_little() -> None:
    """Full from midnight to midnight: of no time of the day the profiles move by more than a third of the way."""
    begin = at(28, "00:00")
    odd, normal = learnt(begin).model(), learnt(begin).model()
    for batch in changed(begin, 49, lambda _, count: count._replace(occupied=count.capacity)):
        odd.observe(batch)
    normal.observe(between(begin, at(29, "00:30")))
    ours, theirs = (each.memory.mean[each.memory.rows[LOT]] / 65_535 for each in (odd, normal))
    assert 0.02 < abs(ours - theirs).max() < 0.3 / 2


@pytest.mark.parametrize("glitch", [0.0, 1.0])
def test_a_single_glitch_is_forgotten_with_the_next_counts(glitch: float) -> None:
    """Empty or full once, between normal counts: two hours later it is no longer seen, nor is it the next day."""
    begin = at(29, "11:00")
    model, normal = learnt(begin).model(), learnt(begin).model()
    batches = changed(begin, 6, lambda step, count: count._replace(occupied=glitch * count.capacity) if step == 0 else count)
    strange, usual = hour_ahead(model, batches), hour_ahead(normal, changed(begin, 6, as_counted))
    assert all(sane(each) for each in strange)
    assert strange[5].rate == pytest.approx(usual[5].rate, abs=0.02)
    for each in (model, normal):
        each.observe(between(begin + 6 * STEP_S, at(30, "09:31")))
    assert ask(model, LOT, at(30, "11:00"))[0].rate == pytest.approx(ask(normal, LOT, at(30, "11:00"))[0].rate, abs=0.03)


@pytest.mark.parametrize(
    "taken, spaces",
    [
        *((math.nan, 200.0), (math.inf, 200.0), (-math.inf, 200.0), (50.0, math.nan), (50.0, math.inf), (50.0, 0.0), (50.0, -5.0)),
        *((-5000.0, 200.0), (10_000.0, 200.0), (2147483647.0, 200.0), (1e300, 200.0), (50.0, 0.5)),
    ],
)
def test_a_row_that_cannot_be_changes_nothing_that_is_said(taken: float, spaces: float) -> None:
    """Not today and not the day after, of nobody."""
    model, normal = learnt(MORNING).model(), learnt(MORNING).model()
    model.observe([Reading(LOT, MORNING + 20, taken, spaces)])
    for each in (model, normal):
        each.observe(between(MORNING, at(30, "10:00")))
    for name in (LOT, OTHERS[0]):
        assert ask(model, name, at(30, "11:00"), at(31, "11:00")) == ask(normal, name, at(30, "11:00"), at(31, "11:00"))
    assert model.city() == normal.city()


@pytest.mark.parametrize(
    "row", [Reading("new", MORNING, 1e9, 10.0), Reading("new", MORNING, math.nan, 10.0), Reading("new", math.inf, 1.0, 10.0)]
)
def test_a_series_with_nothing_but_a_row_that_cannot_be_was_never_seen(row: Reading) -> None:
    """No answer is made of nonsense; the first true count starts the series."""
    model = learnt().model()
    model.observe([row])
    assert model.forecast([Question("new", MORNING + 60)]) == [None]
    model.observe([Reading("new", MORNING + 900, 5.0, 10.0)])
    assert ask(model, "new", MORNING + 900)[0].rate == pytest.approx(0.5, abs=0.05)


def test_a_row_that_cannot_be_and_comes_twice_is_still_one_row() -> None:
    """A feed that sends everything twice confirms nothing."""
    model = learnt(MORNING).model()
    before = ask(model, LOT, MORNING + 3600)
    row = Reading(LOT, MORNING + 20, 10_000.0, 200.0)
    model.observe([row, row])
    assert model.observe([row]) == set()
    assert ask(model, LOT, MORNING + 3600) == before


def test_rows_that_cannot_be_and_go_on_mean_full_or_empty() -> None:
    """From the second one on; a restart between the two is no matter."""
    for taken, expected in ((10_000.0, 1.0), (-10_000.0, 0.0)):
        model = learnt(MORNING).model()
        assert model.observe([Reading(LOT, MORNING + 20, taken, 200.0)]) == {LOT}
        model = Learnt.of(model, [LOT]).model()
        model.observe([Reading(LOT, MORNING + 1820, taken, 200.0)])
        assert ask(model, LOT, MORNING + 1820)[0].rate == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("stamp", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300, 1e18])
def test_a_stamp_that_is_no_time_is_passed_over(stamp: float) -> None:
    """A clock that was never set, or one of the far future: the series is not frozen by it."""
    model = learnt().model()
    assert model.observe([Reading(LOT, stamp, 10.0, 200.0)]) == set()
    assert model.observe([Reading(LOT, MORNING, 10.0, 200.0)]) == {LOT}


def test_a_clock_that_goes_back_is_silent_until_it_is_where_it_was() -> None:
    """An hour comes twice in autumn: of the second one nothing is told as a change, and the answers stay; then it goes on."""
    model = learnt(MORNING).model()
    before = ask(model, LOT, MORNING + 3600)
    again = between(MORNING - 3600, MORNING, [LOT])
    assert len(again) == 2
    assert model.observe(each._replace(occupied=0.0) for each in again) == set()
    assert ask(model, LOT, MORNING + 3600) == before
    assert model.observe(between(MORNING, MORNING + 1800)) == {LOT, *OTHERS}


def test_a_stamp_told_again_changes_nothing() -> None:
    """Rows twice, in one batch, in the next, and with another count: the first one stands, to the last byte."""
    once, twice = learnt(MORNING).model(), learnt(MORNING).model()
    for batch in changed(MORNING, 4, as_counted):
        once.observe(batch)
        twice.observe([*batch, *batch])
        assert twice.observe([each._replace(occupied=0.0) for each in batch]) == set()
    names = [LOT, *OTHERS]
    assert Learnt.of(once, names) == Learnt.of(twice, names)


def test_after_a_week_without_counts_the_forecast_is_the_old_one() -> None:
    """The profiles have waited; the first counts of the new week are enough."""
    gap, heard = learnt(at(28, "00:00")).model(), learnt(at(35, "00:00")).model()
    gone = [each._replace(at=each.at + 7 * 86_400) for each in between(at(28, "00:00"), at(28, "10:31"))]
    for model in (gap, heard):
        model.observe(gone)
    for name in (LOT, *OTHERS):
        ours, theirs = (ask(model, name, at(35, "11:30"))[0] for model in (gap, heard))
        assert sane(ours)
        assert ours.rate == pytest.approx(theirs.rate, abs=0.05)


def test_a_place_that_never_fills_has_a_space_for_sure() -> None:
    """At any hour and any horizon."""
    model = Model(STEP_MIN)
    model.observe(each._replace(capacity=2 * each.capacity) if each.series == LOT else each for each in between(0, at(14, "10:31")))
    for ahead in (5, 30, 120, 720, 1440, 10_080):
        assert ask(model, LOT, at(14, "10:30") + ahead * MIN_S)[0].chance > 0.99


def test_a_place_that_is_always_full_has_none() -> None:
    """Nor is anything else expected of it, while the town empties and fills around it."""
    model = Model(STEP_MIN)
    model.observe(each._replace(occupied=each.capacity) if each.series == LOT else each for each in between(0, at(14, "10:31")))
    for ahead in (5, 30, 120, 720, 1440):
        answer = ask(model, LOT, at(14, "10:30") + ahead * MIN_S)[0]
        assert answer.chance < 0.5
        assert answer.rate > 0.99
    model.observe([count_of(LOT, at(14, "11:00"))._replace(at=at(14, "11:01"))])
    assert ask(model, LOT, at(14, "11:01"))[0].chance > 0.9


STAMPS = st.one_of(st.integers(0, 60 * 24 * 40).map(lambda minute: MORNING + minute * 60.0), st.floats(allow_nan=True))
NUMBERS = st.one_of(st.integers(-20, 300).map(float), st.sampled_from([0.0, 1.0, 2.0, 90.0, 200.0]), st.floats(allow_nan=True))
ROWS = st.builds(Reading, st.sampled_from([LOT, OTHERS[0], "new", "newer"]), STAMPS, NUMBERS, NUMBERS)


@pytest.mark.parametrize("step_min", [15, 30])
def test_whatever_is_told_the_answers_are_finite_and_in_order(step_min: int) -> None:
    """No exception, no warning, 0 <= low <= rate <= high <= 1 for whoever was ever counted."""
    start = learnt() if step_min == STEP_MIN else None

    @settings(max_examples=60)
    @given(st.lists(st.lists(ROWS, max_size=6), max_size=8))
    def tells(batches: list[list[Reading]]) -> None:
        model = Model(step_min) if start is None else start.model([LOT, OTHERS[0]])
        for batch in batches:
            told = model.observe(batch)
            assert told <= {each.series for each in batch}
            asked = [Question(name, MORNING + ahead * MIN_S) for name in (LOT, OTHERS[0], "new", "newer") for ahead in (-90, 7, 240, 9000)]
            answers = [each for each in model.forecast(asked) if each is not None]
            assert all(sane(each) and math.isfinite(each.above(0.95)) for each in answers)

    tells()


def test_the_citys_mean_day_stays_one_however_many_end_theirs_at_once() -> None:
    """A thousand car parks whose day ends in one batch, ten times over: the mean of rates is a rate, and near theirs."""
    city = City((30,), 48)
    for _ in range(10):
        city.learn_day(np.full((1000, 48), 0.3))
        assert city.profile.min() >= 0.25
        assert city.profile.max() <= 0.5
    assert city.profile == pytest.approx(np.full(48, 0.3))


def test_who_comes_first_in_the_morning_does_not_speak_for_all() -> None:
    """Two of 60 car parks are a few minutes early after each night; a batch that scores all others then moves no bound far."""
    town = Town(places=60, seed=5)
    days = [each for each in town.readings(12) if 7 <= each.at % 86_400 / 3600 < 19]
    late = [each if each.series in (series(0), series(1)) else each._replace(at=each.at + 180) for each in days]
    first, second = Model(STEP_MIN), Model(STEP_MIN)
    for model, counts in ((first, days), (second, late)):
        for _, batch in itertools.groupby(sorted(counts, key=lambda each: each.at), key=lambda each: each.at):
            model.observe(batch)
    asked = [Question(series(number), at(11, "21:00")) for number in range(2, 60)]
    widths = [np.mean([width(each) for each in model.forecast(asked) if each is not None]) for model in (first, second)]
    assert widths[1] == pytest.approx(widths[0], rel=0.25)
