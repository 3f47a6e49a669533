"""Lines for plans that were published by a version that drew none: a sweep, in a process of its own."""

from __future__ import annotations

from cityloop_common import telemetry
from cityloop_common.clock import city_day
from cityloop_common.pool import PoolFull, WorkFailed
from cityloop_waste.context import WasteCtx
from cityloop_waste.planning import store
from cityloop_waste.planning.publishing import offer
from cityloop_waste.planning.solver import DRAW, GRACE_S
from cityloop_waste.planning.use_cases import Task, roads_of

_log = telemetry.get_logger(__name__)


async def draw(ctx: WasteCtx) -> int:
    """Sweep: draws one plan's lines; answers how many. What cannot be drawn is not tried again: its lines stay straight."""
    task = await undrawn(ctx)
    if task is None:
        return 0
    try:
        answer = await ctx.pool.run(DRAW, task.payload, kill_after_s=GRACE_S)
    except PoolFull:  # searches come first
        return 0
    except WorkFailed as failed:
        _log.warning("lines-not-drawn", plan_id=task.plan.id, reason=failed.detail or failed.title)
        answer = {"lines": []}
    await put_lines(ctx, task.plan.id, answer["lines"])
    return 1


async def undrawn(ctx: WasteCtx) -> Task | None:
    """A published plan, of today or later, whose routes have no lines though it was made on roads: by a version that drew none."""
    async with ctx.db.read() as tx:
        for each in await store.undrawn(tx, city_day(ctx.clock.now()), most=1):
            routes = [] if each.result is None else each.result["routes"]
            return Task(each, {"problem": each.problem, "routes": routes, **await roads_of(tx, each)})
    return None


async def put_lines(ctx: WasteCtx, plan_id: str, lines: store.Lines) -> None:
    """Keeps the lines of a plan's routes, none where they cannot be drawn, and tells of it."""
    async with ctx.db.write() as tx:
        drawn = await store.put_lines(tx, plan_id, lines)
        if drawn is not None:
            offer(tx, ctx, drawn)
