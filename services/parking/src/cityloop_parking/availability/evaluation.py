"""Judges a forecast on a file of counts, causally: at each origin the model knows what was stamped until then, and nothing later.

Days before `train_until` are the training; the model learns on through the days that it is judged on, the baselines do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby, product
from typing import Protocol

import numpy as np

from cityloop_parking.availability.baselines import last_value
from cityloop_parking.availability.calendar import day_of, number_of
from cityloop_parking.availability.curves import DAY_S
from cityloop_parking.availability.domain import Forecast, Question, Reading
from cityloop_parking.availability.files import Floats, Ints, Layout, Table
from cityloop_parking.availability.model import Model
from cityloop_parking.availability.scores import NEARLY_FULL, Predicted
from cityloop_parking.availability.slots import HORIZONS_MIN, Cells, Points, carried, cells, points
from cityloop_parking.places.domain import UnreadableFile

BATCH = 500  # readings at a time at most, as the log is polled
PAGE = 50  # places at a time, as a page of the search asks
TIMED_READINGS = 20_000
CITY = 500  # places of which a batch of readings is, as a rule
_COPY = "\x1f"  # no place of a file is named so
ARRIVALS_MIN = (5, 15, 30, 60, 90, 120, 180, 1440)
Progress = Callable[[int, int], object]


class Forecaster(Protocol):
    """What is judged: it learns from readings in the order of time and answers questions from what it was told until then."""

    def observe(self, readings: Iterable[Reading]) -> set[str]: ...

    def forecast(self, questions: Sequence[Question]) -> list[Forecast | None]: ...

    def past(self, series: str) -> bytes: ...

    def today(self, series: str) -> bytes: ...

    def take(self, series: str, past: bytes, today: bytes) -> None: ...

    @property
    def bytes_per_place(self) -> int: ...


def fresh(layout: Layout) -> Model:
    """A model that knows nothing, cut into a format's slots; no calendar: a file's city and its holidays are not known."""
    return Model(layout.step_s // 60, shift_s=layout.shift_s)


@dataclass(frozen=True, slots=True)
class Span:
    """Which days are judged: from `train_until` on, to `test_until` and with it, or to the end of the file."""

    train_until: date
    test_until: date | None = None

    def days(self, truth: Cells) -> tuple[int, int]:
        """The first and the last day, in days since 1970."""
        last = int(truth.day.max()) if self.test_until is None else number_of(self.test_until)
        return number_of(self.train_until), last


@dataclass(frozen=True, slots=True)
class Task:
    """A file prepared: its slots, and for each horizon all points and those that are judged."""

    table: Table
    layout: Layout
    truth: Cells
    pairs: tuple[Points, ...]
    judged: tuple[Points, ...]
    first_day: int
    last_day: int

    @staticmethod
    def prepared(table: Table, layout: Layout, span: Span) -> Task:
        """Raises UnreadableFile where no two slots of one judged day belong together."""
        table = carried(table, layout) if layout.carries else table
        truth = cells(table, layout)
        first, last = span.days(truth)
        pairs = tuple(points(truth, minutes) for minutes in HORIZONS_MIN)
        days = [truth.day[each.target] for each in pairs]
        judged = tuple(each.where((day >= first) & (day <= last)) for each, day in zip(pairs, days, strict=True))
        if not any(len(each.origin) for each in judged):
            raise UnreadableFile(f"Nothing can be judged from {day_of(first)} on; its last day is {day_of(truth.day.max())}.")
        return Task(table, layout, truth, pairs, judged, first, last)

    def asked_at(self, asked: Points) -> Floats:
        """For which moment the forecast is asked; the stamp of the target's reading is never used.

        A `birmingham` slot lies half before and half after its half hour: the middle of the target slot is asked for. In `csv` the
        last reading of the target slot counts, which lies late in it: the middle would be early by half a slot, so the question is
        the moment of the origin's reading (just before the slot's end, where its value was carried) plus the horizon.
        """
        if not self.layout.carries:
            return self.layout.grid.middle(self.truth.slot[asked.target]).astype(np.float64)
        return self.table.at[self.truth.row[asked.origin]] + asked.minutes * 60

    def known_rows(self, asked: Points) -> Ints:
        """How many of the table's rows are known at the origin: those stamped up to the origin's own last reading, of all places."""
        at = self.table.at
        ends_run = np.append(np.flatnonzero(at[1:] != at[:-1]) + 1, len(at))
        found: Ints = ends_run[np.searchsorted(ends_run, self.truth.row[asked.origin], side="right")]
        return found


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model said to the points of each horizon; `unanswered` points took the last value."""

    said: tuple[Predicted, ...]
    unanswered: int
    read: int


def walk(model: Forecaster, task: Task, progress: Progress = lambda *_: None) -> Answers:
    """Feeds the file in the order of time and asks each point at its origin; all that is asked at one moment is asked at once."""
    place = np.concatenate([task.truth.place[each.origin] for each in task.judged])
    at = np.concatenate([task.asked_at(each) for each in task.judged])
    known = np.concatenate([task.known_rows(each) for each in task.judged])
    order = np.lexsort((at, place, known))
    moments, starts = np.unique(known[order], return_index=True)
    feed = _Feed(model, task)
    heard = np.full((5, len(order)), np.nan)
    for moment, asked in zip(moments.tolist(), np.split(order, starts[1:]), strict=True):
        feed.until(moment)
        progress(moment, len(task.table.at))
        questions = [Question(task.table.places[one], when) for one, when in zip(place[asked].tolist(), at[asked].tolist(), strict=True)]
        heard[:, asked] = np.array([_figures(answer) for answer in model.forecast(questions)]).T
    silent = np.isnan(heard[0])
    heard[:, silent] = _unmoved(task)[:, silent]
    ends = np.cumsum([len(each.origin) for each in task.judged])[:-1]
    said = tuple(Predicted(part) for part in np.split(heard, ends, axis=1))
    return Answers(said, int(silent.sum()), feed.fed)


def _figures(answer: Forecast | None) -> tuple[float, float, float, float, float]:
    if answer is None:
        return (np.nan,) * 5
    return answer.rate, answer.low, answer.high, answer.above(NEARLY_FULL), 1 - answer.chance


def _unmoved(task: Task) -> Floats:
    """The last value as a forecast without any width."""
    values = np.concatenate([last_value(task.truth, asked).values for asked in task.judged], axis=1)
    values[1] = values[2] = values[0]
    return values


class _Feed:
    """Gives a model the rows of a table once and in their order, at most a slot of time and BATCH rows together."""

    def __init__(self, model: Forecaster, task: Task) -> None:
        self._model, self._task = model, task
        slot = task.layout.grid.slot(task.table.at)
        self._cuts = np.append(np.flatnonzero(slot[1:] != slot[:-1]) + 1, len(slot))
        self.fed = 0

    def until(self, row: int) -> None:
        """Everything before this row that was not given yet."""
        while self.fed < row:
            cut = int(self._cuts[np.searchsorted(self._cuts, self.fed, side="right")])
            stop = min(row, cut, self.fed + BATCH)
            self._model.observe(readings(self._task.table, self.fed, stop))
            self.fed = stop


def readings(table: Table, start: int, stop: int, *, later_s: float = 0.0) -> list[Reading]:
    """Rows of a table as a model takes them, stamped `later_s` later."""
    columns = (table.at[start:stop] + later_s, table.occupied[start:stop], table.capacity[start:stop])
    places = [table.places[place] for place in table.place[start:stop].tolist()]
    return [Reading(*row) for row in zip(places, *(column.tolist() for column in columns), strict=True)]


def speed(model: Forecaster, task: Task, read: int, now: Callable[[], float], *, places: int = 1, turn: int = 1) -> tuple[float, float]:
    """Updates and answers per second of a model that has learnt `read` rows; only the time inside its two methods counts.

    The last of these rows are given once more, moved on by whole weeks, up to 500 at a time as the service polls them; after each
    such batch as many questions are asked, 50 places at a time for one arrival, as a page of the search does: no answer can be
    one that was given before. Where the file has fewer than `places`, each of its places stands for several that know the same; a
    second `turn` with the same model is later still.
    """
    table, (known, copies) = task.table, stands_for(task, read, places)
    start = max(0, read - -(-TIMED_READINGS // copies))
    later_s = turn * 7 * DAY_S * (int((table.at[read - 1] - table.at[max(0, read - TIMED_READINGS)]) // (7 * DAY_S)) + 1)
    names = _copied(model, known, copies)
    counts = [
        Reading(f"{each.series}{_COPY}{copy}" if copy else each.series, *each[1:])
        for _, together in groupby(readings(table, start, read, later_s=later_s), key=lambda each: each.at)
        for each, copy in product(tuple(together), range(copies))
    ]
    observing = answering = 0.0
    page_number = answered = 0
    for first in range(0, len(counts), BATCH):
        batch = counts[first : first + BATCH]
        began = now()
        model.observe(batch)
        observing += now() - began
        for _ in range(0, len(batch), PAGE):
            at = batch[-1].at + 60 * ARRIVALS_MIN[page_number % len(ARRIVALS_MIN)]
            page = [Question(names[(page_number * PAGE + one) % len(names)], at) for one in range(PAGE)]
            page_number += 1
            began = now()
            answered += len(model.forecast(page))
            answering += now() - began
    return len(counts) / max(observing, 1e-9), answered / max(answering, 1e-9)


def stands_for(task: Task, read: int, places: int) -> tuple[list[str], int]:
    """The places of the rows that were read, and how many places each of them stands for where `places` are wanted."""
    known = [task.table.places[place] for place in np.unique(task.table.place[:read]).tolist()]
    return known, max(1, -(-places // len(known)))


def _copied(model: Forecaster, names: Sequence[str], copies: int) -> list[str]:
    """Series that know what these know; the names of all of them."""
    made = list(names)
    for copy in range(1, copies):
        for name in names:
            made.append(f"{name}{_COPY}{copy}")
            model.take(made[-1], model.past(name), model.today(name))
    return made
