"""The city's calendar: which days are lived as another weekday than their own, by a file or by what is built in."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

from cityloop_parking.availability.calendar import EVERY_DAY, Calendar
from cityloop_parking.settings import ParkingSettings

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EPOCH = date(1970, 1, 1).toordinal()


class BadCalendar(ValueError):
    """A file of days that cannot be read; the text names the line."""


def calendar_of(settings: ParkingSettings) -> Calendar:
    """The calendar that forecasts learn by. Raises BadCalendar."""
    return EVERY_DAY if settings.calendar is None else read_calendar(settings.calendar)


def read_calendar(file: Path) -> Calendar:
    """Days of a CSV with the columns `date` (ISO) and `lived_as` (monday to sunday). Raises BadCalendar."""
    lived_as: dict[int, int] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines), 2):
                try:
                    lived_as[date.fromisoformat(row["date"]).toordinal() - _EPOCH] = WEEKDAYS.index(row["lived_as"].strip().lower())
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise BadCalendar(f"{file}, line {number}: a date and a weekday, `2026-10-01,sunday`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadCalendar(f"{file}: {error}") from error
    return Calendar(lived_as)
