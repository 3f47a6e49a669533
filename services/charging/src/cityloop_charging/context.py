"""The context that charging's use cases receive."""

from __future__ import annotations

from cityloop_common.context import Ctx
from cityloop_charging.settings import ChargingSettings

ChargingCtx = Ctx[ChargingSettings]
