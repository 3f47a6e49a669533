"""The context that waste's use cases receive."""

from __future__ import annotations

from cityloop_common.context import Ctx
from cityloop_waste.settings import WasteSettings

WasteCtx = Ctx[WasteSettings]
