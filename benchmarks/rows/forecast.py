"""Rows o: the forecast's speed beside a plain loop of the same interpreter, and its error beside the damped profile's."""

from __future__ import annotations

import sys
import time
from datetime import date
from statistics import median

from benchmarks.report import Measured
from cityloop_parking.availability import files
from cityloop_parking.availability.evaluation import BATCH, CITY, PAGE, Span, Task, fresh, speed, walk
from cityloop_parking.availability.files import LAYOUTS, Format, Table
from cityloop_parking.availability.report import Report, evaluate
from cityloop_parking.availability.scores import scores
from tests.support import data_folder

FILE = data_folder() / "parking" / "birmingham_occupancy_2016.csv"
LAYOUT = LAYOUTS[Format.BIRMINGHAM]
FIRST_DAY = date(2016, 12, 13)
COVERED_FROM = date(2016, 11, 8)  # one week is seven draws: errors of one afternoon go together over the city
ADDITIONS = 1_000_000
WANTED_PER_S = 20_000.0
WANTED_BYTES = 20_000
WANTED_MAE = 0.85
LEAST_COVERED, MOST_COVERED = 0.78, 0.82


async def measure(rounds: int) -> list[Measured]:
    """Milliseconds for a thousand updates or answers beside those for a million additions; errors once, they come out the same."""
    if not FILE.is_file():
        sys.exit(f"row o needs {FILE.name}: set CITYLOOP_DATA")
    with FILE.open("rb") as raw:
        table = files.read(raw, LAYOUT)
    task = Task.prepared(table, LAYOUT, Span(FIRST_DAY))
    report = evaluate(fresh(LAYOUT), task, time.thread_time)
    loop: list[float] = []
    seen: dict[str, list[float]] = {"few updates": [], "few answers": [], "updates": [], "answers": []}
    for _ in range(rounds):
        model = fresh(LAYOUT)
        read = walk(model, task).read
        loop.append(_loop_ms())
        few = speed(model, task, read, time.thread_time)
        many = speed(model, task, read, time.thread_time, places=CITY, turn=2)
        for name, per_s in zip(seen, (*few, *many), strict=True):
            seen[name].append(1e6 / per_s)
    return [*_speeds(seen, loop, report), *_errors(report, _covered(table))]


def _covered(table: Table) -> list[float]:
    """What share of all points of six weeks, the test week with them, the 80 % interval covers, by horizon."""
    task = Task.prepared(table, LAYOUT, Span(COVERED_FROM))
    said = walk(fresh(LAYOUT), task).said
    return [scores(task.truth, *pair)["coverage_80"] or 0.0 for pair in zip(task.judged, said, strict=True)]


def _loop_ms() -> float:
    """What this core needs to add a million integers in a plain loop."""
    began, total = time.thread_time(), 0
    for number in range(ADDITIONS):
        total += number
    assert total
    return (time.thread_time() - began) * 1000


def _speeds(seen: dict[str, list[float]], loop: list[float], report: Report) -> list[Measured]:
    places = len(report.task.table.places)
    few = f"the real file's last counts, up to {BATCH} at a time as the log is polled, after all its days were learnt; {places} car parks"
    city = f"{report.places * report.copies} places, {report.copies} of each car park that know the same"
    many = f"the same for {city}; a batch tells of most of them"
    paged = f"{PAGE} places a call for one arrival, 5 minutes to a day ahead, between the batches of the row above"
    size = f"; state {report.bytes_per_place:,} bytes a place at slots of {LAYOUT.step_s // 60} min"
    size += f", {_verdict(report.bytes_per_place <= WANTED_BYTES)}"
    lines = (
        ("o1", "updates", "updates", many, size),
        ("o2", "answers", "answers", paged, ""),
        ("o3", "few updates", "updates", few, ""),
        ("o4", "few answers", "answers", paged, ""),
    )
    rows: list[Measured] = []
    for row, name, word, conditions, more in lines:
        per_s = 1e6 / median(seen[name])
        wanted = f"wanted: at least {WANTED_PER_S:,.0f} {word}/s on a core: {_verdict(per_s >= WANTED_PER_S)} ({per_s:,.0f})"
        what = f"a thousand {word} of the forecast, against a million integers added in a plain Python loop"
        rows.append(Measured(row, what, conditions, seen[name], loop, "ms", None, None, f"lower is better; {wanted}{more}"))
    return rows


def _errors(report: Report, covered: list[float]) -> list[Measured]:
    """A row a horizon: mean error in thousandths of the capacity, over the points whose profile is known."""
    rows: list[Measured] = []
    for number, (ours, its, share) in enumerate(zip(report.horizons, report.baselines["damped"], covered, strict=True), 5):
        mine, theirs = ours["mae_profile"] or 0.0, its["mae"] or 0.0
        what = f"error of the forecast for {ours['minutes']} minutes later, against the damped profile"
        shares = ", ".join(f"{word} {(ours[f'{name}_profile'] or 0) / (its[name] or 1):.2f}" for word, name in _ALSO)
        inside = f"{share * 100:.1f} %, wanted: 78 to 82 %: {_verdict(LEAST_COVERED <= share <= MOST_COVERED)}"
        note = (
            f"lower is better; wanted: at most {WANTED_MAE}: {_verdict(mine <= WANTED_MAE * theirs)}; of the damped one's: {shares};"
            f" over all {ours['n']:,} points {(ours['mae'] or 0) * 1000:.1f}; 80 % interval covers"
            f" {(ours['coverage_80'] or 0) * 100:.1f} % of these days, of all from {COVERED_FROM} on {inside}"
        )
        conditions = f"real file, {report.days} days from {FIRST_DAY}, {its['n']:,} points; one run, the same each time"
        rows.append(Measured(f"o{number}", what, conditions, [mine * 1000], [theirs * 1000], "thousandths", None, None, note))
    return rows


_ALSO = (("pinball loss", "pinball"), ("Brier score of 95 %", "brier_95"))


def _verdict(reached: bool) -> str:  # noqa: FBT001 - what it says
    return "reached" if reached else "**missed**"
