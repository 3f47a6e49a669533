"""`cityloop parking evaluate-forecast`."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from cityloop_common.clock import worked_s
from cityloop_common.errors import CityLoopError
from cityloop_common.terminal import AsJson, fail, out, print_json, print_rows, progress_bar
from cityloop_parking.availability import files
from cityloop_parking.availability.calendar import day_of
from cityloop_parking.availability.evaluation import Span, Task, fresh
from cityloop_parking.availability.files import LAYOUTS, MOST_BYTES, Format, Layout, Table
from cityloop_parking.availability.report import Report, evaluate
from cityloop_parking.availability.scores import Figures
from cityloop_parking.places.domain import FileTooLarge, UnreadableFile

_DAY = ["%Y-%m-%d"]
_SHOWN = {"MAE": "mae", "80 %": "coverage_80", "width": "width", "pinball": "pinball", "Brier .95": "brier_95"}
_BETTER_LOW = {"mae", "pinball", "brier_95"}
_COLUMNS = ("min", "", "points", *_SHOWN)


def evaluate_forecast(
    file: Annotated[Path, typer.Argument(help="The file.")],
    format: Annotated[Format, typer.Option("--format", help="birmingham, or csv with place, capacity, occupied, at (RFC 3339).")],
    train_until: Annotated[datetime, typer.Option(formats=_DAY, help="The first day that is judged; days before it are the training.")],
    test_until: Annotated[
        datetime | None, typer.Option(formats=_DAY, help="The last day that is judged; the file's last day when left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judges the forecast on a file of counts, beside last value, weekday profile and damped profile. The model starts empty, reads
    the file in the order of time and learns on through the judged days; it is asked at each reading for 30 to 180 minutes later."""
    if test_until is not None and test_until < train_until:
        fail("--test-until lies before --train-until: no day is left to judge", 2)
    span = Span(train_until.date(), _date(test_until))
    try:
        report = _evaluated(file, LAYOUTS[format], span)
    except CityLoopError as error:
        fail(f"{error.title}: {error.detail}" if error.detail else error.title)
    except KeyboardInterrupt:
        fail("stopped", 130)
    if as_json:
        print_json(report.view())
    else:
        _print(report)


def _date(at: datetime | None) -> date | None:
    return None if at is None else at.date()


def _evaluated(file: Path, layout: Layout, span: Span) -> Report:
    task = Task.prepared(_read(file, layout), layout, span)
    with progress_bar("evaluate") as advance:
        return evaluate(fresh(layout), task, worked_s, lambda done, total: advance(done, total, ""))


def _read(file: Path, layout: Layout) -> Table:
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise FileTooLarge(f"A file has at most {MOST_BYTES // 1_000_000:,} MB.")
        with file.open("rb") as raw, progress_bar(f"read {file.name}") as advance:
            return files.read(raw, layout, lambda done: advance(done, size, "bytes"))
    except OSError as error:
        raise UnreadableFile(f"{file}: {error.strerror or error}.") from error


def _print(report: Report) -> None:
    table, task = report.task.table, report.task
    out.print(
        f"{table.rows:,} rows of {len(table.places)} places, {table.refused:,} refused;"
        f" judged on {report.days} days from {day_of(task.first_day)} to {day_of(task.last_day)}"
    )
    if table.listed:
        rows = [{"row": each.row, "reason": each.reason} for each in table.listed]
        print_rows(("row", "reason"), rows, title="refused" if table.refused <= len(rows) else f"refused, the first {len(rows)}")
    print_rows(_COLUMNS, [line for number in range(len(report.horizons)) for line in _lines(report, number)])
    out.print("In brackets: ours divided by theirs, over the points that both answer.")
    out.print(
        f"{report.updates_per_s:,.0f} updates/s, {report.answers_per_s:,.0f} answers/s of one core in a city of"
        f" {report.places * report.copies} places, of each of the file's {report.places} so many that know the same: {report.copies}"
        f" ({report.of_file_per_s[0]:,.0f} and {report.of_file_per_s[1]:,.0f} with the file's own alone);"
        f" {report.bytes_per_place:,} bytes a place"
        + (f"; {report.unanswered:,} points without an answer took the last value" if report.unanswered else "")
    )


def _lines(report: Report, number: int) -> list[dict[str, object]]:
    """One horizon: our line and below it one of each baseline, with our figure over the same points divided by its own."""
    ours = report.horizons[number]
    lines: list[dict[str, object]] = [{"min": ours["minutes"], "": "forecast", "points": ours["n"]} | _shown(ours, {})]
    for name, figures in report.baselines.items():
        its = figures[number]
        same = ours if its["n"] == ours["n"] else {key: ours[f"{key}_profile"] for key in _SHOWN.values()}
        lines.append({"": name.replace("_", " "), "points": its["n"]} | _shown(its, same))
    return lines


def _shown(figures: Figures, ours: Figures) -> dict[str, object]:
    """Four digits of each figure, and the ratio where there is one of ours to compare with."""
    shown: dict[str, object] = {}
    for column, name in _SHOWN.items():
        value, mine = figures[name], ours.get(name)
        if value is not None:
            over = f" ({mine / value:.2f})" if mine is not None and value > 0 and name in _BETTER_LOW else ""
            shown[column] = f"{value:.4f}"[1 if value < 1 else 0 :] + over
    return shown
