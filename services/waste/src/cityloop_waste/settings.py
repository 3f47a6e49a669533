"""What can be set for waste; names are CITYLOOP_WASTE_<FIELD>."""

from __future__ import annotations

import re
from datetime import time
from enum import StrEnum

from pydantic import Field, field_validator, model_validator

from cityloop_common.settings import ServiceSettings, service_config
from cityloop_waste.registry import read_hours

LONGEST_LUNCH_MIN = 480
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,253}(/[A-Za-z0-9._~/-]{0,200})?", re.ASCII)


class NightPlans(StrEnum):
    """What becomes of a day's plans at night: nobody asks for them; they wait for a dispatcher; they are published when ready."""

    OFF = "off"
    BY_HAND = "by-hand"
    WHEN_READY = "when-ready"


class Smallest(StrEnum):
    """What of the routes is made small, after the trucks."""

    DISTANCE = "distance"
    TIME = "time"


class WasteSettings(ServiceSettings):
    """Settings of the waste service; the unit is in the name."""

    model_config = service_config("waste")

    plan_seconds: int = Field(30, ge=1, le=600, description="How long a plan is searched when nobody says.")
    plan_minimise: Smallest = Field(
        Smallest.DISTANCE, description="What the plans from the registry make small after the trucks: distance, time."
    )
    plan_even_percent: int = Field(
        0, ge=0, le=20, description="By how much their way may grow for hours that are more even among the crews; 0: not at all."
    )
    open_plans: int = Field(50, ge=1, description="Plans that may wait or be searched at a time; one more is refused.")
    sample_plan_seconds: int = Field(10, ge=1, le=600, description="How long the live sample searches each stream's plan of the day.")
    lunch: str = Field(
        "", description="The crews' common break, such as 11:00-12:00/60: it starts between these times and lasts 60 minutes. Empty: none."
    )
    night_plans: NightPlans = Field(
        NightPlans.BY_HAND, description="Plans of the day that begins, asked for at night: off, by-hand (people publish them), when-ready."
    )
    night_at: str = Field("03:00", description="When the night job asks for them, local time.")
    night_until: str = Field("10:00", description="A night job that was missed is caught up before this, local time.")
    night_seconds: int = Field(120, ge=1, le=600, description="How long each of them is searched.")
    plans_due_at: str = Field("04:30", description="A stream without a plan of the day is told of from then on, local time.")
    replan_seconds: int = Field(10, ge=1, le=600, description="How long a replan is searched when nobody says.")

    public_url: str = Field(
        "", description="The city's address for the QR codes of manifests, such as https://city.example; empty: as the caller sees it."
    )

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and _PUBLIC_URL.fullmatch(value) is None:
            raise ValueError("an address such as https://city.example is needed")
        return value.rstrip("/")

    @field_validator("lunch")
    @classmethod
    def _is_a_lunch(cls, value: str) -> str:
        read_lunch(value)
        return value

    @field_validator("night_at", "night_until", "plans_due_at")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        return read_time(value).strftime("%H:%M")

    @model_validator(mode="after")
    def _night_in_order(self) -> WasteSettings:
        at, due, until = (read_time(each) for each in (self.night_at, self.plans_due_at, self.night_until))
        if not at < due <= until:
            raise ValueError("night_at < plans_due_at <= night_until is needed, all on one day")
        return self


def read_time(text: str) -> time:
    """A time of day such as 03:00. Raises ValueError."""
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isascii() and hour.isdigit() and minute.isascii() and minute.isdigit() and len(minute) == 2):
        raise ValueError(f"{text!r} is no time of day such as 03:00")
    return time(int(hour), int(minute))


def read_lunch(text: str) -> tuple[int, int, int] | None:
    """Earliest and latest start, in seconds of the local day, and seconds that it lasts. Raises ValueError."""
    if not text:
        return None
    hours, slash, minutes = text.partition("/")
    found = read_hours(hours)
    if len(found) != 1 or not (slash and minutes.isascii() and minutes.isdigit() and 1 <= int(minutes) <= LONGEST_LUNCH_MIN):
        raise ValueError(f"{text!r} is not like 11:00-12:00/60")
    return found[0].start_s, found[0].end_s, 60 * int(minutes)
