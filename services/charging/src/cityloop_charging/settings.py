"""What can be set for charging; names are CITYLOOP_CHARGING_<FIELD>."""

from __future__ import annotations

from pydantic import Field, SecretStr

from cityloop_common.settings import ServiceSettings, service_config


class ChargingSettings(ServiceSettings):
    """Settings of the charging service; the unit is in the name."""

    model_config = service_config("charging")

    secret_key: SecretStr | None = Field(
        None, description="Key that operators' secrets are sealed under, 32 bytes or more; embedded mode makes its own."
    )
    tcec_token_for_s: int = Field(7200, ge=60, le=604_800, description="Life of a T/CEC access token.")
