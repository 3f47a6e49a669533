"""What an evaluation tells: a model's figures beside those of the baselines, its speed and its size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cityloop_parking.availability.baselines import Beside, beside
from cityloop_parking.availability.calendar import day_of
from cityloop_parking.availability.evaluation import CITY, Answers, Forecaster, Progress, Task, speed, stands_for, walk
from cityloop_parking.availability.scores import Figures, Predicted, by_day, reliability, scores
from cityloop_parking.availability.slots import Points

BASELINES = ("last_value", "profile", "damped", "damped_weekly")


@dataclass(frozen=True, slots=True)
class Report:
    """Figures by horizon, ours and each baseline's; speed of the model's two methods, and bytes of its state.

    The speed is that of a city of 500 places at least, where each of the file's `places` stands for `copies` that know the same;
    `of_file_per_s` that of the file's own, updates and answers.
    """

    task: Task
    horizons: tuple[Figures, ...]
    baselines: Mapping[str, tuple[Figures, ...]]
    reliability: Mapping[int, Mapping[str, list[Figures]]]
    updates_per_s: float
    answers_per_s: float
    of_file_per_s: tuple[float, float]
    places: int
    copies: int
    bytes_per_place: int
    unanswered: int

    @property
    def days(self) -> int:
        """How many days have at least one judged point."""
        return len(np.unique(np.concatenate([self.task.truth.day[each.target] for each in self.task.judged])))

    def view(self) -> dict[str, object]:
        """As JSON."""
        table, task, of_file = self.task.table, self.task, [round(each) for each in self.of_file_per_s]
        refused = [{"row": each.row, "reason": each.reason} for each in table.listed]
        return {
            "horizons": list(self.horizons),
            "updates_per_s": round(self.updates_per_s),
            "answers_per_s": round(self.answers_per_s),
            "bytes_per_place": self.bytes_per_place,
            "of_city": {"places": self.places * self.copies, "copies_of_each": self.copies},
            "of_file": {"places": self.places, "updates_per_s": of_file[0], "answers_per_s": of_file[1]},
            "baselines": {name: list(figures) for name, figures in self.baselines.items()},
            "reliability": [{"minutes": minutes, **bins} for minutes, bins in self.reliability.items()],
            "test": {"from": str(day_of(task.first_day)), "to": str(day_of(task.last_day)), "days": self.days},
            "places": len(table.places),
            "rows": table.rows,
            "refused": {"rows": table.refused, "reasons": dict(table.reasons), "first": refused},
            "unanswered": self.unanswered,
        }


def evaluate(model: Forecaster, task: Task, now: Callable[[], float], progress: Progress = lambda *_: None) -> Report:
    """Judges a model that knows nothing yet; `now` tells the seconds that a core has worked."""
    answers = walk(model, task, progress)
    size = model.bytes_per_place
    of_file = speed(model, task, answers.read, now)
    city = speed(model, task, answers.read, now, places=CITY, turn=2)
    return _report(task, answers, city, of_file, size)


def _report(task: Task, answers: Answers, city: tuple[float, float], of_file: tuple[float, float], size: int) -> Report:
    others = [beside(task.truth, task.first_day, *pair) for pair in zip(task.judged, task.pairs, strict=True)]
    rows = list(zip(task.judged, answers.said, others, strict=True))
    known, copies = stands_for(task, answers.read, CITY)
    return Report(
        task,
        horizons=tuple(_ours(task, asked, said, other) for asked, said, other in rows),
        baselines={name: tuple(_its(task, asked, other, name) for asked, _, other in rows) for name in BASELINES},
        reliability={asked.minutes: reliability(task.truth, asked, said) for asked, said, _ in rows},
        updates_per_s=city[0],
        answers_per_s=city[1],
        of_file_per_s=of_file,
        places=len(known),
        copies=copies,
        bytes_per_place=size,
        unanswered=answers.unanswered,
    )


def _ours(task: Task, asked: Points, said: Predicted, other: Beside) -> Figures:
    """Over all points; with `_profile` over those that profile and damped can answer too; with `_own` without carried values."""
    truth = task.truth
    figures = scores(truth, asked, said) | by_day(truth, asked, said) | _common(task, asked, said, other)
    if task.layout.carries:
        own = truth.own[asked.origin] & truth.own[asked.target]
        read = scores(truth, asked.where(own), said.where(own))
        figures |= {"n_own": read["n"], "mae_own": read["mae"]}
    return figures


def _its(task: Task, asked: Points, other: Beside, name: str) -> Figures:
    """A baseline over the points that it can answer: all of them, where it is the last value."""
    said: Predicted = getattr(other, name)
    if name == "last_value":
        return scores(task.truth, asked, said) | _common(task, asked, said, other)
    return scores(task.truth, asked.where(other.known), said.where(other.known))


def _common(task: Task, asked: Points, said: Predicted, other: Beside) -> Figures:
    figures = scores(task.truth, asked.where(other.known), said.where(other.known))
    return {f"{name}_profile": value for name, value in figures.items() if name != "minutes"}
