"""What can be set for waste; names are CITYLOOP_WASTE_<FIELD>."""

from __future__ import annotations

from pydantic import Field

from cityloop_common.settings import ServiceSettings, service_config


class WasteSettings(ServiceSettings):
    """Settings of the waste service; the unit is in the name."""

    model_config = service_config("waste")

    plan_seconds: int = Field(30, ge=1, le=600, description="How long a plan is searched when nobody says.")
    open_plans: int = Field(50, ge=1, description="Plans that may wait or be searched at a time; one more is refused.")
    sample_plan_seconds: int = Field(10, ge=1, le=600, description="How long the live sample searches each stream's plan of the day.")
