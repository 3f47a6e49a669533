"""The city's days: holidays and worked weekends of China, and what a file says before that."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from cityloop_common.settings import SettingsError, SharedSettings, load
from cityloop_parking.availability.calendars import calendar_of, covers
from cityloop_parking.settings import ParkingSettings

MONDAY, TUESDAY, FRIDAY, SATURDAY, SUNDAY = 0, 1, 4, 5, 6


def lived_as(day: date, file: Path | None = None) -> int:
    settings = load(ParkingSettings, shared=SharedSettings(), calendar=file)
    return int(calendar_of(settings).kinds(np.array([day.toordinal() - date(1970, 1, 1).toordinal()]))[0])


@pytest.mark.parametrize(
    "day, kind",
    [
        (date(2026, 10, 1), SUNDAY),  # National Day, a Thursday
        (date(2026, 10, 10), FRIDAY),  # a Saturday that is worked for it
        (date(2026, 2, 17), SUNDAY),  # Spring Festival
        (date(2026, 10, 12), MONDAY),
        (date(2026, 10, 17), SATURDAY),
        (date(2039, 10, 4), TUESDAY),  # no notice yet
    ],
)
def test_a_holiday_is_lived_as_a_sunday_and_a_worked_weekend_as_a_working_day(day: date, kind: int) -> None:
    """By the State Council's notice; a year without one has its weekdays."""
    assert lived_as(day) == kind


def test_a_file_decides_before_what_is_built_in(tmp_path: Path) -> None:
    """For a year whose notice is newer than the release, and for days of the city's own."""
    file = tmp_path / "days.csv"
    file.write_text("\ufeffdate,lived_as\n2039-10-04,Sunday\n2026-10-01,thursday\n", encoding="utf-8")
    assert (lived_as(date(2039, 10, 4), file), lived_as(date(2026, 10, 1), file), lived_as(date(2026, 10, 2), file)) == (SUNDAY, 3, SUNDAY)


@pytest.mark.parametrize("line", ["2026-10-01", "2026-13-01,sunday", "2026-10-01,holiday", "2026-10-01,"])
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    """The start fails: a calendar that is half read would be learnt from."""
    file = tmp_path / "days.csv"
    file.write_text(f"date,lived_as\n2026-10-02,sunday\n{line}\n")
    with pytest.raises(SettingsError, match=r"CITYLOOP_PARKING_CALENDAR: .*line 3"):
        lived_as(date(2026, 10, 1), file)
    with pytest.raises(SettingsError, match=r"nothing\.csv"):
        lived_as(date(2026, 10, 1), tmp_path / "nothing.csv")


def test_an_empty_setting_names_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a form writes it that names every variable."""
    monkeypatch.setenv("CITYLOOP_PARKING_CALENDAR", "")
    assert load(ParkingSettings, shared=SharedSettings()).calendar is None


def test_a_file_is_read_once(tmp_path: Path) -> None:
    """It may go away while the service runs: what learns and what answers go on with the same days."""
    file = tmp_path / "days.csv"
    file.write_text("date,lived_as\n2039-10-04,sunday\n")
    settings = load(ParkingSettings, shared=SharedSettings(), calendar=file)
    before = calendar_of(settings)
    file.unlink()
    days = np.array([date(2039, 10, 4).toordinal() - date(1970, 1, 1).toordinal()])
    assert int(calendar_of(settings).kinds(days)[0]) == int(before.kinds(days)[0]) == SUNDAY
    assert [covers(settings, year) for year in (2026, 2038, 2039)] == [True, False, True]
