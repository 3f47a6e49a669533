"""`python -m benchmarks.forecast_ablation`: the forecast's error on the real file's rolling weeks, with one part left out at a time.

13 to 19 December 2016 are neither learnt nor judged here: those days judge the model, they do not choose it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from unittest.mock import patch

from cityloop_common.terminal import print_rows
from cityloop_parking.availability import expecting, files, past, terms
from cityloop_parking.availability.curves import Curves
from cityloop_parking.availability.evaluation import Span, Task, fresh, walk
from cityloop_parking.availability.files import LAYOUTS, Format
from cityloop_parking.availability.memory import Floats
from cityloop_parking.availability.scores import scores
from cityloop_parking.availability.terms import NAMES, Known
from tests.support import data_folder

SPAN = Span(date(2016, 11, 15), date(2016, 12, 12))
OWN = "its own weights"
PARTS: Mapping[str, Sequence[str]] = {
    "similar days": ("alike_step", "alike_level"),
    "change of the last two hours": ("change_15", "change_30", "change_60", "change_120"),
    "yesterday and last week": ("yesterday_step", "yesterday_level", "week_step", "week_level"),
    "type of day, all days": ("kind_step", "kind_level", "every_step", "every_level"),
    "today so far": ("today",),
    "the other car parks": ("city", "city_change"),
    "unchanged counts": tuple(name for name in NAMES if name.startswith("same_")),
    "time of day, weekend, level": (
        *("sin", "cos", "sin_2", "cos_2", "deviation_sin", "deviation_cos"),
        *("weekend_deviation", "weekend_step", "level_square"),
    ),
    "edges of slots": ("sharp_now", "sharp_then"),
    OWN: (),
}


def main() -> int:
    """Prints a row a part; exit status 2 where the file is not there."""
    file = data_folder() / "parking" / "birmingham_occupancy_2016.csv"
    if not file.is_file():
        sys.stderr.write(f"{file.name} is not there: set CITYLOOP_DATA\n")
        return 2
    layout = LAYOUTS[Format.BIRMINGHAM]
    with file.open("rb") as raw:
        task = Task.prepared(files.read(raw, layout), layout, SPAN)
    whole = _errors(task)
    rows = [_row("all of it", whole, whole)]
    for name, left_out in PARTS.items():
        with _without(name, left_out):
            rows.append(_row(f"without {name}", _errors(task), whole))
        sys.stderr.write(f"{name}\n")
    print_rows(tuple(rows[0]), rows, title="mean error, and how much worse it is")
    return 0


@contextmanager
def _without(name: str, left_out: Sequence[str]) -> Iterator[None]:
    columns = [NAMES.index(each) for each in left_out]
    whole = terms.terms

    def some(curves: Curves, known: Known, at: Floats) -> Floats:
        values = whole(curves, known, at)
        values[:, :, columns] = 0.0
        return values

    doubt = 1e12 if name == OWN else past._OWN_DOUBT
    with patch.object(expecting, "terms", some), patch.object(past, "_OWN_DOUBT", doubt):
        yield


def _errors(task: Task) -> list[float]:
    said = walk(fresh(task.layout), task).said
    return [float(scores(task.truth, asked, each)["mae"] or 0) for asked, each in zip(task.judged, said, strict=True)]


def _row(name: str, errors: Sequence[float], whole: Sequence[float]) -> dict[str, object]:
    told = zip((30, 60, 120, 180), errors, whole, strict=True)
    return {"": name, **{f"{minutes} min": f"{error:.4f} ({error / best - 1:+.1%})" for minutes, error, best in told}}


if __name__ == "__main__":
    sys.exit(main())
