"""What one does with forecasts: make them anew from the journal."""

from __future__ import annotations

from collections.abc import Callable

from cityloop_parking.availability import forecaster
from cityloop_parking.context import ParkingCtx


async def rebuild(ctx: ParkingCtx, progress: Callable[[int, int | None, str], None]) -> dict[str, int]:
    """Learns the whole journal anew, beside the forecaster that runs; answers come from it when it has caught up."""

    async def alive() -> None:
        return

    course = await forecaster.rebuild(ctx, alive=alive, tell=lambda done, total: progress(done, total, "minutes of counts"))
    return {"forecast_places": len(course.learner)}
