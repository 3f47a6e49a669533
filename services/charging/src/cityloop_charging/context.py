"""The context that charging's use cases receive."""

from __future__ import annotations

from cityloop_charging.settings import ChargingSettings
from cityloop_common.context import Ctx

ChargingCtx = Ctx[ChargingSettings]
