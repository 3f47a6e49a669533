"""The city's calendar: public holidays of China and the weekends that are worked for them, and what a file says before that."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

from chinese_calendar import holidays, workdays

from cityloop_common.settings import named
from cityloop_parking.availability.calendar import SUNDAY, Calendar
from cityloop_parking.settings import ParkingSettings

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WORKED = WEEKDAYS.index("friday")  # a weekend day that is worked: which day it stands for is in no list
_EPOCH = date(1970, 1, 1).toordinal()


class BadCalendar(ValueError):
    """A file of days that cannot be read; the text names the line."""


def calendar_of(settings: ParkingSettings) -> Calendar:
    """The calendar that forecasts learn by. Raises SettingsError for a file that cannot be read."""
    with named("CITYLOOP_PARKING_CALENDAR"):
        own = {} if settings.calendar is None else read_days(settings.calendar)
    return Calendar({_number(day): kind for day, kind in {**days_of_china(), **own}.items()})


def days_of_china() -> dict[date, int]:
    """Days lived as another weekday by the State Council's notices of each year, as far as chinesecalendar has them.

    The notice of a year comes in the autumn before it. Days that no notice is known for are what their weekday says.
    """
    return {**dict.fromkeys(holidays, SUNDAY), **dict.fromkeys(workdays, WORKED)}


def read_days(file: Path) -> dict[date, int]:
    """Days of a CSV with the columns `date` (ISO) and `lived_as` (monday to sunday). Raises BadCalendar."""
    days: dict[date, int] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines), 2):
                try:
                    days[date.fromisoformat(row["date"])] = WEEKDAYS.index(row["lived_as"].strip().lower())
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise BadCalendar(f"{file}, line {number}: a date and a weekday, as in `2026-10-01,sunday`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadCalendar(f"{file}: {error}") from error
    return days


def _number(day: date) -> int:
    return day.toordinal() - _EPOCH
