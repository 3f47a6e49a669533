"""What can be set for parking; names are CITYLOOP_PARKING_<FIELD>."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from cityloop_common.settings import ServiceSettings, service_config
from cityloop_parking.days import read_days


class ParkingSettings(ServiceSettings):
    """Settings of the parking service; the unit is in the name."""

    model_config = service_config("parking")

    hold_for_s: int = Field(900, ge=10, le=3600, description="How long a hold stays before it expires.")
    horizon_days: int = Field(30, ge=1, le=90, description="How far ahead a reservation may start.")
    longest_stay_h: int = Field(48, ge=1, le=48, description="The longest reservation.")
    holds_per_subject: int = Field(2, ge=1, description="Unconfirmed holds that one subject may have at a time.")
    open_per_subject: int = Field(10, ge=1, description="Held and confirmed reservations of one subject that have not ended.")
    holds_per_network: int = Field(20, ge=1, description="Unconfirmed holds from one network (/24 or /64) at a time.")
    guest_token_for_s: int = Field(7200, ge=60, le=86400, description="Life of a guest's token.")
    guest_tokens_per_min: int = Field(6, ge=1, description="Guest tokens that one network may ask for in a minute.")
    guest_key: SecretStr | None = Field(None, description="Key of guest tokens, 32 bytes or more; embedded mode makes its own.")
    count_interval_s: int = Field(
        900, ge=10, description="Reporting interval of a source that declares none: live means younger than twice this."
    )
    forecast_store_every_s: int = Field(60, ge=1, le=3600, description="How often the forecaster stores what it has learnt.")
    calendar: Path | None = Field(
        None,
        description="CSV `date,lived_as` of days lived as another weekday (2026-10-01,sunday), besides those of China that are built in.",
    )
    sample_every_s: int = Field(
        60, ge=5, le=900, description="How often the invented sample city counts; it declares twice that as its interval."
    )
    live_shrinks_for_s: int = Field(3600, ge=0, description="How far ahead a live count limits what can be held.")

    @field_validator("calendar", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value  # a form that always names the variable, with no file

    @field_validator("calendar")
    @classmethod
    def _can_be_read(cls, file: Path | None) -> Path | None:
        if file is not None:
            read_days(file)  # raises BadCalendar: a calendar that is half read would be learnt from
        return file
