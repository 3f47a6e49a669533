"""The city's calendar: public holidays of China and the weekends that are worked for them, and what a file says before that."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

from chinese_calendar import holidays, workdays

from cityloop_common.settings import named
from cityloop_parking.availability.calendar import SUNDAY, Calendar, number_of
from cityloop_parking.days import WEEKDAYS, read_days
from cityloop_parking.settings import ParkingSettings

WORKED = WEEKDAYS.index("friday")  # a weekend day that is worked: which day it stands for is in no list


def calendar_of(settings: ParkingSettings) -> Calendar:
    """The calendar that forecasts learn by; its file is read once. Raises SettingsError for one that cannot be read."""
    with named("CITYLOOP_PARKING_CALENDAR"):
        own = _days_of(settings.calendar)
    return Calendar({number_of(day): kind for day, kind in {**days_of_china(), **own}.items()})


def covers(settings: ParkingSettings, year: int) -> bool:
    """Whether any holiday of a year is known, from what is built in or from the file. Raises SettingsError."""
    with named("CITYLOOP_PARKING_CALENDAR"):
        return any(day.year == year for day in (*days_of_china(), *_days_of(settings.calendar)))


def days_of_china() -> dict[date, int]:
    """Days lived as another weekday by the State Council's notices of each year, as far as chinesecalendar has them.

    The notice of a year comes in the autumn before it. Days that no notice is known for are what their weekday says.
    """
    return {**dict.fromkeys(holidays, SUNDAY), **dict.fromkeys(workdays, WORKED)}


@cache
def _days_of(file: Path | None) -> dict[date, int]:
    return {} if file is None else read_days(file)
