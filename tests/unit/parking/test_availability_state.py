"""Laws of what the forecast keeps: it is put back whole, goes on to the same bytes, and hangs on no order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from cityloop_parking.availability.calendar import EVERY_DAY
from cityloop_parking.availability.domain import Question, Reading
from cityloop_parking.availability.learning import COUNTS, Closed, Learner
from cityloop_parking.availability.model import Model
from cityloop_parking.availability.store import CITY, Count
from tests.support import REPOSITORY
from tests.unit.parking.availability_town import (
    MIN_S,
    NAMES,
    STEP_MIN,
    Learnt,
    Town,
    ask,
    at,
    between,
    count_of,
    learnt,
    series,
)

MORNING = at(29, "10:30")
AHEAD_MIN = (5, 30, 90, 240, 1440, 7000)
QUESTIONS = [Question(name, MORNING + ahead * MIN_S) for name in NAMES for ahead in AHEAD_MIN]


def test_a_model_put_back_answers_and_learns_on_bit_for_bit() -> None:
    """Also where the series are put back in another order: after two more days over midnight the bytes are the same."""
    model = learnt(MORNING).model()
    kept = Learnt.of(model, NAMES)
    again, backwards = kept.model(), kept.model(NAMES[::-1])
    assert model.forecast(QUESTIONS) == again.forecast(QUESTIONS) == backwards.forecast(QUESTIONS)
    for stamp in sorted({each.at for each in between(MORNING, MORNING + 2 * 86_400)}):
        batch = between(stamp, stamp + 1)
        for each in (model, again, backwards):
            each.observe(batch)
    assert Learnt.of(model, NAMES) == Learnt.of(again, NAMES) == Learnt.of(backwards, NAMES)


def test_a_state_goes_in_and_comes_out_unchanged() -> None:
    """To the last byte, over what was there before too."""
    kept = learnt(MORNING)
    assert Learnt.of(kept.model(), NAMES) == kept
    other = learnt().model()
    other.take_city(kept.city)
    for name in NAMES:
        other.take(name, *kept.parts[name])
    assert Learnt.of(other, NAMES) == kept


def test_the_past_changes_once_a_day_and_today_with_each_count() -> None:
    """What is stored often is small, what is large is stored seldom."""
    model = learnt(MORNING).model()
    past, today = model.past(NAMES[0]), model.today(NAMES[0])
    model.observe(between(MORNING, at(30, "00:00")))
    assert model.past(NAMES[0]) == past
    assert model.today(NAMES[0]) != today
    model.observe(between(at(30, "00:00"), at(30, "00:30")))
    assert model.past(NAMES[0]) != past


def test_what_has_no_count_has_no_state() -> None:
    """KeyError for a series never seen and for one forgotten."""
    model = learnt().model()
    model.forget(NAMES[0])
    for name in ("nowhere", NAMES[0]):
        with pytest.raises(KeyError):
            model.past(name)
        with pytest.raises(KeyError):
            model.today(name)


def test_a_forgotten_series_is_gone_and_starts_anew() -> None:
    """Nothing of it is left in its place; the others are as they were; forgetting twice is no error."""
    model, without = learnt(MORNING).model(), learnt(MORNING).model(NAMES[1:])
    model.forget(NAMES[0])
    model.forget(NAMES[0])
    model.forget("nowhere")
    assert model.forecast(QUESTIONS) == without.forecast(QUESTIONS)
    day = between(MORNING, at(31, "00:00"))
    for each in (model, without):
        each.observe(day)
    assert Learnt.of(model, NAMES) == Learnt.of(without, NAMES)


@pytest.mark.parametrize(
    "broken",
    [
        lambda body: b"",
        lambda body: body[:-1],
        lambda body: body + b"\0",
        lambda body: bytes([body[0] + 1]) + body[1:],
        lambda body: bytes(1) + body[1:],
    ],
)
def test_bytes_of_another_layout_are_refused_and_nothing_is_taken(broken: Callable[[bytes], bytes]) -> None:
    """ValueError; a series that was known is as it was, one that was not is still unknown."""
    kept, other = learnt(MORNING), learnt()
    model = kept.model(NAMES[:2])
    past, today = other.parts[NAMES[0]]
    for name in (NAMES[0], "new"):
        for parts in ((broken(past), today), (past, broken(today))):
            with pytest.raises(ValueError, match="layout"):
                model.take(name, *parts)
    with pytest.raises(ValueError, match="layout"):
        model.take_city(broken(other.city))
    assert Learnt.of(model, NAMES[:2]) == Learnt(kept.city, {name: kept.parts[name] for name in NAMES[:2]}, STEP_MIN, kept.calendar)
    assert model.forecast([Question("new", MORNING)]) == [None]


def test_a_state_of_other_slots_is_refused() -> None:
    """Every quarter is not every half hour."""
    model = Model(15)
    with pytest.raises(ValueError, match="layout"):
        model.take(NAMES[0], *learnt().parts[NAMES[0]])
    assert model.forecast([Question(NAMES[0], MORNING)]) == [None]


def test_the_order_within_a_batch_is_no_matter() -> None:
    """Counts of several slots, shuffled, with rows twice: the same bytes."""
    ours, theirs = learnt(MORNING).model(), learnt(MORNING).model()
    rng = random.Random(5)
    for hour in range(16):
        batch = between(MORNING + hour * 3600, MORNING + (hour + 1) * 3600)
        shuffled = [*batch, *batch[:3]]
        rng.shuffle(shuffled)
        ours.observe(batch)
        theirs.observe(shuffled)
    assert Learnt.of(ours, NAMES) == Learnt.of(theirs, NAMES)


def test_the_order_in_which_series_lie_in_memory_is_no_matter() -> None:
    """Put back in another order, sums run over them in another order: the same bytes."""
    town = Town(places=40, shared=0.1)
    readings, cut = town.readings(3), at(2, "00:00")
    names = [series(place) for place in range(40)]
    model = Model(STEP_MIN)
    model.observe(each for each in readings if each.at < cut)
    kept = Learnt.of(model, names)
    mixed = kept.model(random.Random(5).sample(names, 40))
    for each in (model, mixed):
        each.observe(reading for reading in readings if reading.at >= cut)
    assert Learnt.of(model, names) == Learnt.of(mixed, names)


def test_a_replica_with_some_series_answers_for_them_like_the_whole() -> None:
    """It has the town's part and the parts of its own series, in whatever order they are asked."""
    whole, part = learnt(MORNING).model(), learnt(MORNING).model([NAMES[5], NAMES[2]])
    for name in (NAMES[2], NAMES[5]):
        stamps = [MORNING + ahead * MIN_S for ahead in AHEAD_MIN]
        assert ask(part, name, *stamps) == ask(whole, name, *stamps)
    mixed = part.forecast(QUESTIONS[::-1])[::-1]
    for question, ours, theirs in zip(QUESTIONS, mixed, whole.forecast(QUESTIONS), strict=True):
        assert ours == (theirs if question.series in (NAMES[2], NAMES[5]) else None)


def test_a_newer_count_told_beside_the_question_is_where_the_answer_starts() -> None:
    """Nearly as if it had been learnt; an older one, or one that cannot be, changes nothing; and nothing is kept of it."""
    model, learns = learnt(MORNING).model(), learnt(MORNING).model()
    count = count_of(NAMES[0], MORNING + 60)
    bytes_before = Learnt.of(model, NAMES)
    asked = [Question(NAMES[0], MORNING + ahead * MIN_S, count) for ahead in AHEAD_MIN]
    learns.observe([count])
    ours = model.forecast(asked)
    for each, theirs in zip(ours, ask(learns, NAMES[0], *(question.at for question in asked)), strict=True):
        assert each is not None
        assert (each.since, each.capacity) == (count.at, count.capacity)
        assert each.rate == pytest.approx(theirs.rate, abs=0.02)
        near = 0.02 if each.at <= MORNING + 240 * MIN_S else 0.05  # what has just been scored counts more where it comes rarely
        assert each.high - each.low == pytest.approx(theirs.high - theirs.low, abs=near)
    assert Learnt.of(model, NAMES) == bytes_before
    plain = ask(model, NAMES[0], MORNING + 3600)
    for useless in (count_of(NAMES[0], MORNING - 1), count._replace(occupied=float("nan")), count._replace(capacity=0.0)):
        assert model.forecast([Question(NAMES[0], MORNING + 3600, useless)]) == plain
    assert model.forecast([Question("nowhere", MORNING, count)]) == [None]


def test_a_newer_count_of_the_next_day_is_understood() -> None:
    """The state stands at the evening, the count is of the morning: the profile of its own day is used."""
    evening, morning = at(29, "23:40"), at(30, "08:10")
    count = count_of(NAMES[0], morning)
    behind, learns = learnt(evening).model(), learnt(evening).model()
    learns.observe([count])
    ours = behind.forecast([Question(NAMES[0], morning + 3600, count)])[0]
    theirs = ask(learns, NAMES[0], morning + 3600)[0]
    assert ours is not None
    assert ours.rate == pytest.approx(theirs.rate, abs=0.05)


def test_a_thousand_series_and_more_find_room() -> None:
    """Their rows move when room is made; every one answers from its own count."""
    model = Model(60)
    names = [f"p{number:04}" for number in range(1203)]
    for day in range(2):
        model.observe(Reading(name, MORNING + day * 86_400, float(number % 90), 100.0) for number, name in enumerate(names))
    model.observe([Reading(name, MORNING + 86_400 + 3600, 50.0, 100.0) for name in names[:1]])
    answers = model.forecast([Question(name, MORNING + 86_400) for name in names])
    assert [round(each.rate * 100) if each else None for each in answers] == [50, *(number % 90 for number in range(1, 1203))]
    assert len(model.memory) == 1203


def test_a_state_is_small_enough_for_a_hundred_thousand_places() -> None:
    """At quarters of an hour with 56 days: 20 kB a place and half a megabyte for the city; and that is what is stored."""
    model = Model(15)
    model.observe([Reading("a", MORNING, 5.0, 10.0)])
    assert model.bytes_per_place == len(model.past("a")) + len(model.today("a")) <= 20_000
    assert len(model.city()) < 500_000
    light = Model(15, light=True)
    light.observe([Reading("a", MORNING, 5.0, 10.0)])
    assert light.bytes_per_place < 0.8 * model.bytes_per_place


@pytest.mark.parametrize(
    "categories, documented", [(("standard",), 18_830), (("standard", "ev"), 37_490), (("standard", "ev", "accessible"), 46_820)]
)
def test_a_place_with_categories_is_as_large_as_is_documented(categories: Sequence[str], documented: int) -> None:
    """As it is stored: the total, a lighter series a category where there are several, and some bytes for their newest counts."""
    learner, now = Learner(EVERY_DAY), datetime(2026, 3, 31, 2, 30, tzinfo=UTC)
    for number, category in enumerate(categories):
        learner.feed(Count(now, now, "lot", category, f"{number}", 5, 10), Closed({}, {}))
    learner.end_minute()
    parts = [part for part in learner.unstored(1) if part.part != CITY]
    assert sum(len(part.body) for part in parts if part.part != COUNTS) == documented
    assert sum(len(part.body) for part in parts if part.part == COUNTS) < 200
    assert f"{documented:,}" in (REPOSITORY / "docs" / "concepts" / "forecast.md").read_text()


@pytest.mark.parametrize("step_min", [0, -15, 7, 1441])
def test_a_slot_is_a_whole_part_of_a_day(step_min: int) -> None:
    """Else midnight would lie within one."""
    with pytest.raises(ValueError, match="part of a day"):
        Model(step_min)
