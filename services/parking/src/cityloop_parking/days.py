"""The file of days that are lived as another weekday: read with the settings, so that a bad one stops the start."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class BadCalendar(ValueError):
    """A file of days that cannot be read; the text names the line."""


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
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadCalendar(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    return days
