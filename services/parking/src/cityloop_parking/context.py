"""The context that parking's use cases receive."""

from __future__ import annotations

from cityloop_common.context import Ctx
from cityloop_parking.settings import ParkingSettings

ParkingCtx = Ctx[ParkingSettings]
