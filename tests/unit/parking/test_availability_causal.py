"""Laws of time: what comes after an origin changes no forecast made until then, bit for bit."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from cityloop_parking.availability import files
from cityloop_parking.availability.domain import Forecast, Question, Reading
from cityloop_parking.availability.evaluation import Span, Task, walk
from cityloop_parking.availability.files import LAYOUTS, Format
from cityloop_parking.availability.model import Model
from tests.unit.parking import availability_files
from tests.unit.parking.availability_town import MIN_S, MONDAY, Town, at, between, learnt

AHEAD_MIN = (5, 30, 60, 180, 1440)


def with_noise(readings: Sequence[Reading], after: float, seed: int = 3) -> list[Reading]:
    """The same until an instant; from then on other counts, other stamps, rows that are missing and rows that cannot be."""
    rng = np.random.default_rng(seed)
    kept = [each for each in readings if each.at <= after]
    for each in readings:
        if each.at > after and rng.random() < 0.9:
            taken = float(rng.integers(0, int(each.capacity) + 1)) if rng.random() < 0.95 else float("inf")
            kept.append(each._replace(occupied=taken, at=each.at + float(rng.integers(0, 200))))
    return kept


def said(model: Model, readings: Sequence[Reading], until: float) -> list[Forecast | None]:
    """Every stamp is told as one batch, and after it everything is asked."""
    answers: list[Forecast | None] = []
    for stamp in sorted({each.at for each in readings if each.at <= until}):
        batch = [each for each in readings if each.at == stamp]
        model.observe(batch)
        answers += model.forecast([Question(each.series, stamp + ahead * MIN_S) for each in batch for ahead in AHEAD_MIN])
    return answers


@pytest.mark.parametrize("step_min, days", [(30, 3), (5, 1)])
def test_noise_after_an_origin_changes_no_earlier_forecast(step_min: int, days: int) -> None:
    """Told stamp by stamp, asked after each; the later ones do change."""
    readings = Town(places=4, step_min=step_min).readings(days)
    origin, end = (MONDAY + days) * 86_400 - 6 * 3600 + 40.0, readings[-1].at
    ours, theirs = Model(step_min), Model(step_min)
    noisy = with_noise(readings, origin)
    early = said(ours, readings, origin)
    assert early == said(theirs, noisy, origin)
    assert len(early) > 400
    assert None not in early
    late, other = ([each for each in rows if each.at > origin] for rows in (readings, noisy))
    assert said(ours, late, end) != said(theirs, other, end)


def test_an_answer_changes_nothing() -> None:
    """A model that was asked and one that was not have the same bytes, and go on to the same."""
    asked, silent = learnt().model(), learnt().model()
    day = between(at(28, "00:00"), at(29, "00:00"))
    said(asked, day, day[-1].at)
    for stamp in sorted({each.at for each in day}):
        silent.observe([each for each in day if each.at == stamp])
    assert asked.city() == silent.city()
    assert [asked.today(name) for name in learnt().parts] == [silent.today(name) for name in learnt().parts]


def walks_alike_until(task: Task, step_min: int, shift_s: int) -> int:
    """Walks a file, and the file with noise after an instant in its judged days; how many points were compared, all being equal."""
    table = task.table
    cut = int(len(table.at) * 0.85)
    later = table.at > table.at[cut]
    noise = np.random.default_rng(5).integers(0, 40, len(table.at)).astype(np.float64)
    other = replace(task, table=replace(table, occupied=np.where(later, noise, table.occupied)))
    ours, theirs = (walk(Model(step_min, shift_s=shift_s), each) for each in (task, other))
    compared = 0
    for asked, one, two in zip(task.judged, ours.said, theirs.said, strict=True):
        early = task.known_rows(asked) <= int(np.searchsorted(table.at, table.at[cut], side="right"))
        assert np.array_equal(one.values[:, early], two.values[:, early])
        assert not np.array_equal(one.values[:, ~early], two.values[:, ~early])
        compared += int(early.sum())
    return compared


def test_a_walk_over_a_file_of_5_minute_steps_is_causal() -> None:
    """With gaps, rows twice and out of order, as the evaluation reads it."""
    rows, _ = availability_files.broken(availability_files.town(places=3, days=2))
    layout = LAYOUTS[Format.CSV]
    table = files.read(io.BytesIO(availability_files.csv_bytes(rows)), layout)
    assert walks_alike_until(Task.prepared(table, layout, Span(date(2026, 3, 3))), 15, 0) > 500


def test_a_walk_over_the_birmingham_file_is_causal(data_dir: Path) -> None:
    """Its first days."""
    with (data_dir / "parking" / "birmingham_occupancy_2016.csv").open("rb") as raw:
        table = files.read(raw, LAYOUTS[Format.BIRMINGHAM])
    days = (date(2016, 10, 4), date(2016, 10, 9))
    few = table.at < (days[1] - date(1970, 1, 1)).days * 86_400
    columns = {name: getattr(table, name)[few] for name in ("place", "at", "occupied", "capacity", "own")}
    task = Task.prepared(replace(table, **columns), LAYOUTS[Format.BIRMINGHAM], Span(date(2016, 10, 7)))
    assert walks_alike_until(task, 30, 900) > 1500
