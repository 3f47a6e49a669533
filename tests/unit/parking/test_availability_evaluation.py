"""Laws of the evaluation: which pairs count, what is known when a forecast is asked, and for which moment."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from cityloop_parking.availability import files
from cityloop_parking.availability.domain import Forecast, Question, Reading
from cityloop_parking.availability.evaluation import BATCH, PAGE, Span, Task, speed, walk
from cityloop_parking.availability.files import LAYOUTS, Format
from cityloop_parking.availability.report import evaluate
from cityloop_parking.availability.slots import points
from cityloop_parking.places.domain import FileTooLarge, UnreadableFile
from tests.cli import Said, command
from tests.unit.parking.availability_files import broken, csv_bytes, town

HEADER = "SystemCodeNumber,Capacity,Occupancy,LastUpdated\n"


class LastValue:
    """A stand-in that repeats what it heard last, and writes down everything it was told and asked, in this order."""

    bytes_per_place = 24

    def __init__(self) -> None:
        self.newest: dict[str, Reading] = {}
        self.log: list[tuple[str, Any]] = []

    def observe(self, readings: Iterable[Reading]) -> set[str]:
        told = list(readings)
        self.log.append(("told", told))
        self.newest |= {each.series: each for each in told}
        return {each.series for each in told}

    def forecast(self, questions: Sequence[Question]) -> list[Forecast | None]:
        self.log.append(("asked", list(questions)))
        return [self._answer(each) for each in questions]

    def past(self, series: str) -> bytes:
        return b""

    def today(self, series: str) -> bytes:
        return orjson.dumps(self.newest[series][1:])

    def take(self, series: str, past: bytes, today: bytes) -> None:
        assert not past
        self.newest[series] = Reading(series, *orjson.loads(today))

    def _answer(self, question: Question) -> Forecast | None:
        newest = self.newest.get(question.series)
        if newest is None or newest.occupied < 0:
            return None
        rate = min(newest.occupied / newest.capacity, 1)
        return Forecast(question.at, newest.at, newest.capacity, (rate - 0.05, rate, rate + 0.05), 1)

    @property
    def asked(self) -> list[Question]:
        return [each for kind, batch in self.log if kind == "asked" for each in batch]


def prepared(raw: bytes, format: Format, first: str, last: str | None = None) -> Task:
    layout = LAYOUTS[format]
    span = Span(date.fromisoformat(first), None if last is None else date.fromisoformat(last))
    return Task.prepared(files.read(io.BytesIO(raw), layout), layout, span)


def birmingham(rows: str, first: str = "2016-11-07", last: str | None = None) -> Task:
    return prepared((HEADER + rows).encode(), Format.BIRMINGHAM, first, last)


def csv(rows: list[str], first: str = "2026-03-02", last: str | None = None) -> Task:
    return prepared(csv_bytes(rows), Format.CSV, first, last)


def clock(seconds: float) -> str:
    """The time of day of wall-clock seconds."""
    return f"{int(seconds) % 86_400 // 3600:02}:{int(seconds) % 3600 // 60:02}:{int(seconds) % 60:02}"


def pairs(task: Task, number: int = 0) -> list[tuple[float, float]]:
    """Rates of origin and target of the judged points of one horizon."""
    asked = task.judged[number]
    rate = np.round(task.truth.rate, 6)
    return list(zip(rate[asked.origin].tolist(), rate[asked.target].tolist(), strict=True))


def test_a_birmingham_slot_lies_round_its_half_hour_and_its_last_reading_counts() -> None:
    """08:46 and 09:14 belong to nine, the later counts; an empty slot at ten leaves no pair with it."""
    task = birmingham(
        "A,100,10,2016-11-07 08:46:00\nA,100,20,2016-11-07 09:14:59\nA,100,30,2016-11-07 09:15:00\nA,100,50,2016-11-07 10:20:00\n"
    )
    assert pairs(task) == [(0.2, 0.3)]
    assert pairs(task, 1) == [(0.3, 0.5)]


def test_a_csv_slot_is_the_quarter_from_its_beginning_and_an_empty_one_carries_on() -> None:
    """07:45 has 10; 08:00 carries it; 08:15 its last reading, 30."""
    rows = [
        f"P,100,{taken},2026-03-02T{at}+08:00" for taken, at in ((10, "07:50:00"), (20, "08:15:00"), (30, "08:29:59"), (40, "08:30:00"))
    ]
    task = csv(rows)
    assert pairs(task) == [(0.1, 0.3), (0.1, 0.4)]
    assert task.truth.own.tolist() == [True, False, True, True]


def test_a_value_stands_until_the_places_next_one_or_the_files_end() -> None:
    """Over midnight too: a feed of changes is silent while nothing changes. Before its first reading a place has no value."""
    rows = ["P,100,10,2026-03-02T23:00:00+08:00", "P,100,20,2026-03-03T06:00:00+08:00", "Q,100,20,2026-03-03T06:40:00+08:00"]
    truth = csv(rows).truth
    assert [clock(slot * 900) for slot in truth.slot.tolist()] == [
        *("23:00:00", "23:15:00", "23:30:00", "23:45:00"),
        *(f"{hour:02}:{minute:02}:00" for hour in range(6) for minute in (0, 15, 30, 45)),
        *("06:00:00", "06:15:00", "06:30:00"),
        "06:30:00",
    ]
    assert truth.own.sum() == 3


def test_a_pair_lies_within_one_day_as_stamped() -> None:
    """A forecast over midnight is not judged, although both slots have a value."""
    rows = "".join(f"A,100,10,2016-11-{day} {at}:00\n" for day, at in (("07", "23:30"), ("07", "23:50"), ("08", "00:20"), ("08", "00:50")))
    task = birmingham(rows)
    asked = task.judged[0]
    assert [clock(task.table.at[row]) for row in task.truth.row[asked.origin]] == ["23:30:00", "00:20:00"]
    assert task.truth.day[asked.origin].tolist() == task.truth.day[asked.target].tolist()


def test_training_ends_before_the_first_judged_day_and_the_last_one_counts() -> None:
    """--train-until is exclusive, --test-until inclusive."""
    rows = "".join(f"A,100,{day},2016-11-{day:02} {at}:00\n" for day in range(7, 12) for at in ("09:00", "09:30"))
    asked = birmingham(rows, "2016-11-08", "2016-11-10").judged[0]
    assert len(asked.origin) == 3
    assert len(birmingham(rows, "2016-11-08").judged[0].origin) == 4


def test_a_span_without_a_pair_is_refused_with_the_files_last_day() -> None:
    """Nobody is told a mean over nothing."""
    with pytest.raises(UnreadableFile, match="its last day is 2016-11-07"):
        birmingham("A,100,1,2016-11-07 09:00:00\nA,100,1,2016-11-07 09:30:00\n", "2016-12-13")


def test_more_slots_than_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of changes only can say little and mean much."""
    monkeypatch.setattr("cityloop_parking.availability.slots.MOST_CELLS", 50)
    with pytest.raises(FileTooLarge, match="50 slots"):
        csv(["P,100,10,2026-03-02T00:00:00+08:00", "P,100,10,2026-03-02T23:00:00+08:00"])


def test_birmingham_is_asked_for_the_middle_of_the_target_slot() -> None:
    """The full half hour, wherever in the slot the target was stamped."""
    model = LastValue()
    walk(model, birmingham("A,100,10,2016-11-07 09:04:00\nA,100,20,2016-11-07 09:41:00\nA,100,30,2016-11-07 09:55:00\n"))
    assert [clock(each.at) for each in model.asked] == ["09:30:00", "10:00:00", "10:00:00"]


def test_csv_is_asked_for_the_origins_stamp_and_the_horizon() -> None:
    """Where the origin only carries: the last second of its slot and the horizon; no stamp of a target is used."""
    rows = [f"P,100,10,2026-03-02T{at}+08:00" for at in ("08:10:20", "08:41:00", "08:59:00")]
    model = LastValue()
    walk(model, csv(rows))
    assert [clock(each.at) for each in model.asked] == ["08:40:20", "08:59:59"]


@pytest.mark.parametrize("format", list(Format))
def test_at_an_origin_all_is_known_that_was_stamped_until_then_and_nothing_later(format: Format) -> None:
    """Of all places; a question stands where its origin's own last reading has just been told."""
    task = csv(town(places=3, days=2)) if format is Format.CSV else birmingham(_halves(days=3), "2016-11-08")
    model = LastValue()
    walk(model, task)
    told = 0
    questions = iter(_expected(task))
    for kind, batch in model.log:
        if kind == "told":
            told += len(batch)
            continue
        known_at = task.table.at[told - 1]
        assert told == len(task.table.at) or task.table.at[told] > known_at
        for question in batch:
            place, stamp, at = next(questions)
            assert (question.series, question.at, known_at, question.newest) == (place, at, stamp, None)
    assert next(questions, None) is None


def _halves(*, days: int) -> str:
    """Two lots that share their stamps and one that has its own, every half hour of some days."""
    lines = []
    for day, half in itertools.product(range(7, 7 + days), range(16, 34)):
        for lot, minute in (("A", half * 30 + 2), ("B", half * 30 + 2), ("C", half * 30 - 4)):
            lines.append(f"{lot},100,{half * 2},2016-11-{day:02} {minute // 60:02}:{minute % 60:02}:00\n")
    return "".join(lines)


def _expected(task: Task) -> list[tuple[str, float, float]]:
    """Place, stamp of the origin's last reading, moment asked for, of every judged point, by stamp and then place and moment."""
    rows = []
    for asked in task.judged:
        place, stamp = task.truth.place[asked.origin], task.table.at[task.truth.row[asked.origin]]
        rows += list(zip(stamp.tolist(), place.tolist(), task.asked_at(asked).tolist(), strict=True))
    return [(task.table.places[place], stamp, at) for stamp, place, at in sorted(rows, key=lambda row: (row[0], row[1], row[2]))]


def test_all_that_is_asked_at_one_moment_is_asked_at_once() -> None:
    """Lots A and B share their stamps: one call for both, for all four horizons."""
    model = LastValue()
    walk(model, birmingham(_halves(days=1)))
    calls = [batch for kind, batch in model.log if kind == "asked"]
    assert {tuple(sorted({each.series for each in batch})) for batch in calls} == {("A", "B"), ("C",)}
    assert max(len(batch) for batch in calls) == 8


def test_no_batch_reaches_over_a_slot_or_is_larger_than_a_poll() -> None:
    """As the service hears it: what is told together lies close in time."""
    rows = [f"P{place:04},100,10,2026-03-02T{hour:02}:00:00+08:00" for hour in (8, 9) for place in range(BATCH + 7)]
    model = LastValue()
    walk(model, csv([*rows, *(row.replace("T09:00", "T09:30") for row in rows[BATCH + 7 :])]))
    told = [batch for kind, batch in model.log if kind == "told"]
    assert max(len(batch) for batch in told) == BATCH
    assert all(len({each.at // 900 for each in batch}) == 1 for batch in told)


def test_noise_after_an_origin_changes_no_forecast_made_until_then() -> None:
    """Bit for bit: the walk itself looks at nothing later."""
    rows = town(places=3, days=2)
    cut = len(rows) * 3 // 4
    rng = np.random.default_rng(5)
    noisy = [",".join([*row.split(",")[:2], str(rng.integers(0, 40)), row.split(",")[3]]) for row in rows[cut:]]
    whole, other = csv(rows), csv(rows[:cut] + noisy)
    ours, theirs = walk(LastValue(), whole), walk(LastValue(), other)
    compared = 0
    for asked, one, two in zip(whole.judged, ours.said, theirs.said, strict=True):
        early = whole.known_rows(asked) <= cut
        assert np.array_equal(one.values[:, early], two.values[:, early])
        assert not np.array_equal(one.values[:, ~early], two.values[:, ~early])
        compared += int(early.sum())
    assert compared > 1000


def test_a_point_without_an_answer_takes_the_last_value_and_is_counted() -> None:
    """n is that of the baselines, whatever the model refuses to say."""
    task = birmingham("A,100,-5,2016-11-07 09:00:00\nA,100,20,2016-11-07 09:30:00\nA,100,30,2016-11-07 10:00:00\n")
    answers = walk(LastValue(), task)
    assert answers.unanswered == 2
    assert answers.said[0].values[:3].T.tolist() == [[0, 0, 0], pytest.approx([0.2, 0.15, 0.25])]


def test_speed_counts_only_the_time_inside_the_model() -> None:
    """One second a call: 500 readings a call, 50 places a call, as many questions as readings, and later than all that was told."""
    rows = [f"P{place},100,10,2026-03-02T08:{minute:02}:00+08:00" for minute in range(60) for place in range(20)]
    task = csv(rows)
    model, ticks = LastValue(), itertools.count()
    answers = walk(model, task)
    heard, newest = len(model.log), max(each.at for each in model.newest.values())
    updates, replies = speed(model, task, answers.read, lambda: float(next(ticks)))
    told = [batch for kind, batch in model.log[heard:] if kind == "told"]
    asked = [batch for kind, batch in model.log[heard:] if kind == "asked"]
    assert [len(batch) for batch in told] == [BATCH, answers.read - BATCH]
    assert (updates, replies) == (answers.read / 2, PAGE)
    assert {len(batch) for batch in asked} == {PAGE}
    assert sum(map(len, asked)) >= answers.read
    again = [each for batch in told for each in batch]
    assert min(each.at for each in again) > newest
    assert {(each.at - first.at) % (7 * 86_400) for each, first in zip(again, _told(model, heard), strict=True)} == {0}


def test_speed_of_a_city_lets_each_place_stand_for_several_that_know_the_same() -> None:
    """Twenty places, 50 wanted: three of each; a batch tells of all of them at a stamp, and the second turn is later than the first."""
    rows = [f"P{place},100,10,2026-03-02T08:{minute:02}:00+08:00" for minute in range(60) for place in range(20)]
    task = csv(rows)
    model, ticks = LastValue(), itertools.count()
    answers = walk(model, task)
    speed(model, task, answers.read, lambda: float(next(ticks)))
    heard, newest = len(model.log), max(each.at for each in model.newest.values())
    speed(model, task, answers.read, lambda: float(next(ticks)), places=50, turn=2)
    again = [each for kind, batch in model.log[heard:] if kind == "told" for each in batch]
    assert len({each.series for each in again}) == 60
    assert len({each.series for each in again[:60]}) == 60
    assert min(each.at for each in again) > newest


def _told(model: LastValue, until: int) -> list[Reading]:
    return [each for kind, batch in model.log[:until] if kind == "told" for each in batch]


def test_the_report_has_every_figure_by_horizon_and_the_baselines_beside() -> None:
    """A stand-in that repeats the last value errs as the baseline of that name."""
    report = evaluate(LastValue(), birmingham(_halves(days=10), "2016-11-15"), itertools.count().__next__)
    view = json.loads(json.dumps(report.view()))
    assert [each["minutes"] for each in view["horizons"]] == [30, 60, 120, 180]
    for ours, its in zip(view["horizons"], view["baselines"]["last_value"], strict=True):
        assert {"n", "mae", "coverage_80", "width", "pinball", "brier_95", "n_profile", "mae_profile", "coverage_day_min"} <= set(ours)
        assert (ours["n"], ours["mae"], ours["mae_profile"]) == (its["n"], its["mae"], its["mae_profile"])
    assert set(view["baselines"]) == {"last_value", "profile", "damped", "damped_weekly"}
    assert view["bytes_per_place"] == 24
    for each in view["reliability"]:
        assert sum(bin["n"] for bin in each["nearly_full"]) == sum(bin["n"] for bin in each["full"]) > 0
    assert view["test"] == {"from": "2016-11-15", "to": "2016-11-16", "days": 2}


def test_the_report_tells_of_how_many_places_and_copies_its_speed_is() -> None:
    """Of four lots in the file three were read until the last judged day: 167 of each that know the same, for a city of 500 at least."""
    task = birmingham(_halves(days=10) + "D,100,10,2016-11-30 09:00:00\n", "2016-11-15", "2016-11-16")
    view = json.loads(json.dumps(evaluate(LastValue(), task, itertools.count().__next__).view()))
    assert view["places"] == 4
    assert view["of_city"] == {"places": 501, "copies_of_each": 167}
    assert view["of_file"].keys() == {"places", "updates_per_s", "answers_per_s"}
    assert view["of_file"]["places"] == 3


def test_points_of_a_place_never_join_another_place() -> None:
    """The last slot of one and the first of the next are no pair."""
    task = birmingham("A,100,10,2016-11-07 09:00:00\nB,100,90,2016-11-07 09:30:00\nB,100,80,2016-11-07 10:00:00\n")
    assert pairs(task) == [(0.9, 0.8)]
    assert len(points(task.truth, 60).origin) == 0


def cityloop(folder: Path, raw: bytes, *arguments: str) -> Said:
    (folder / "counts.csv").write_bytes(raw)
    return command({}, folder, "parking", "evaluate-forecast", "counts.csv", *arguments)


@pytest.mark.slow
def test_a_town_with_broken_sensors_is_forecast_better_than_by_its_last_value(tmp_path: Path) -> None:
    """5-minute steps, gaps, rows twice, unsorted and unreadable; and the figures are there by name."""
    rows, bad = broken(town(places=3, days=9))
    said = cityloop(tmp_path, csv_bytes(rows), "--format", "csv", "--train-until", "2026-03-10", "--json")
    assert said.returncode == 0, said.stderr
    view = json.loads(said.stdout)
    assert (view["rows"], view["refused"]["rows"], len(view["refused"]["first"])) == (len(rows), bad, 20)
    assert (view["unanswered"], view["places"], view["test"]["days"]) == (0, 3, 1)
    for ours, its in zip(view["horizons"], view["baselines"]["last_value"], strict=True):
        assert ours["n"] >= ours["n_own"] > 0
        assert ours["mae"] < 0.6 * its["mae"], ours["minutes"]
    assert min(view["updates_per_s"], view["answers_per_s"], view["bytes_per_place"]) > 0


def test_without_json_there_is_a_table_with_ratios(tmp_path: Path) -> None:
    """And the refused rows with their reasons."""
    raw = (HEADER + "A,0,1,2016-11-07 09:00:00\n" + _halves(days=9)).encode()
    said = cityloop(tmp_path, raw, "--format", "birmingham", "--train-until", "2016-11-15", "--test-until", "2016-11-15")
    assert said.returncode == 0, said.stderr
    assert "judged on 1 days from 2016-11-15 to 2016-11-15" in said.stdout.replace("\n", " ")
    assert "capacity is not above zero" in said.stdout
    assert "bytes a place" in said.stdout


@pytest.mark.parametrize(
    "raw, arguments, code, word",
    [
        (b"a,b\n", ("--format", "csv", "--train-until", "2026-03-02"), 1, "missing: place"),
        (b"\xff\xfe", ("--format", "csv", "--train-until", "2026-03-02"), 1, "not UTF-8"),
        (csv_bytes([]), ("--format", "csv", "--train-until", "2026-03-02"), 1, "None of its 0 rows"),
        (csv_bytes([]), ("--format", "parquet", "--train-until", "2026-03-02"), 2, "parquet"),
        (csv_bytes([]), ("--format", "csv", "--train-until", "soon"), 2, "soon"),
        (csv_bytes([]), ("--format", "csv", "--train-until", "2026-03-02", "--test-until", "2026-03-01"), 2, "lies before"),
    ],
)
def test_what_cannot_be_judged_ends_with_one_clear_line(tmp_path: Path, raw: bytes, arguments: Sequence[str], code: int, word: str) -> None:
    """1 for the file, 2 for the arguments; nothing on standard output."""
    said = cityloop(tmp_path, raw, *arguments)
    assert (said.returncode, said.stdout) == (code, "")
    assert word in " ".join(said.stderr.split())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the system's own reason."""
    said = command({}, tmp_path, "parking", "evaluate-forecast", "none.csv", "--format", "csv", "--train-until", "2026-03-02")
    assert said.returncode == 1
    assert "none.csv: No such file" in said.stderr
