"""What can be set for waste; names are CITYLOOP_WASTE_<FIELD>."""

from __future__ import annotations

from cityloop_common.settings import ServiceSettings, service_config


class WasteSettings(ServiceSettings):
    """Settings of the waste service; the unit is in the name."""

    model_config = service_config("waste")
