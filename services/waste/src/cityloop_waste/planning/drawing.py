"""Lines for plans that were published by a version that drew none: a sweep, in a process of its own."""

from __future__ import annotations

from cityloop_common import telemetry
from cityloop_common.pool import PoolFull, WorkFailed
from cityloop_waste.context import WasteCtx
from cityloop_waste.planning import use_cases
from cityloop_waste.planning.solver import DRAW, GRACE_S

_log = telemetry.get_logger(__name__)


async def draw(ctx: WasteCtx) -> int:
    """Sweep: draws one plan's lines; answers how many. What cannot be drawn is not tried again: its lines stay straight."""
    task = await use_cases.undrawn(ctx)
    if task is None:
        return 0
    try:
        answer = await ctx.pool.run(DRAW, task.payload, kill_after_s=GRACE_S)
    except PoolFull:  # searches come first
        return 0
    except WorkFailed as failed:
        _log.warning("lines-not-drawn", plan_id=task.plan.id, reason=failed.detail or failed.title)
        answer = {"lines": []}
    await use_cases.put_lines(ctx, task.plan.id, answer["lines"])
    return 1
