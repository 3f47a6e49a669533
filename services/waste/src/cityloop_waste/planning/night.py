"""The night job: at a set local time a plan of the day that begins is asked for, one a stream, and what is missing later is told.

A sweep on every worker; a row a stream and day is the right to ask, so that one of them does. A night that was missed (nothing ran
at the time) is caught up by the first sweep after it, until a set time of the same day; until then it is also asked for again, every ten
minutes, where nothing could be asked for or the search failed. Nothing is searched here: that is a job.
"""

from __future__ import annotations

from datetime import date

from cityloop_common import telemetry
from cityloop_common.clock import CITY_TZ
from cityloop_waste.context import WasteCtx
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.domain import DepotAmbiguous
from cityloop_waste.planning import night_store, store, use_cases
from cityloop_waste.planning.domain import InvalidProblem
from cityloop_waste.planning.night_store import NightRun, Outcome
from cityloop_waste.planning.plans import NothingToCollect, PlanState, Publish, TooManyPlans
from cityloop_waste.planning.use_cases import Wish
from cityloop_waste.points import store as points
from cityloop_waste.settings import NightPlans, read_time
from cityloop_waste.streams import Stream

PLANNED = frozenset({PlanState.WAITING, PlanState.SOLVING, PlanState.READY, PlanState.PUBLISHED})
THERE = frozenset({PlanState.READY, PlanState.PUBLISHED})
WITHOUT = telemetry.gauge("waste_streams_without_plan", "1: the stream has no plan of the day, and it is past the time", ("stream",))
_log = telemetry.get_logger(__name__)


async def ask(ctx: WasteCtx) -> int:
    """Sweep: asks for the day's plans when it is time; answers how many streams got an outcome."""
    now = ctx.clock.now()
    settings, local = ctx.settings, now.astimezone(CITY_TZ)
    if settings.night_plans is NightPlans.OFF or not read_time(settings.night_at) <= local.time() < read_time(settings.night_until):
        return 0
    day = local.date()
    async with ctx.db.read() as tx:
        settled = await night_store.settled(tx, day, now=now)
        due = [stream for stream in await points.streams_due(tx) if stream not in settled]
    moved = 0
    for stream in due:
        try:
            moved += await _ask_once(ctx, stream, day)
        except TooManyPlans as full:  # it is asked for again at the next turn
            _log.warning("night-waits", stream=stream.value, reason=full.detail)
    return moved


async def measure(ctx: WasteCtx) -> int:
    """Sweep: tells of streams with due points and trucks on duty that have no plan, ready or published, when they should have one."""
    settings, local = ctx.settings, ctx.clock.now().astimezone(CITY_TZ)
    missing: set[Stream] = set()
    if settings.night_plans is not NightPlans.OFF and local.time() >= read_time(settings.plans_due_at):
        async with ctx.db.read() as tx:
            wanted = set(await points.streams_due(tx)) & set(await fleet.streams_on_duty(tx))
            missing = {stream for stream in wanted if not THERE & await store.states(tx, stream, local.date())}
    for stream in Stream:
        WITHOUT.set(stream.value, to=int(stream in missing))
    return 0


async def runs(ctx: WasteCtx, on: date) -> list[NightRun]:
    """What became of the night job of a day, by stream."""
    async with ctx.db.read() as tx:
        return await night_store.runs(tx, on)


async def _ask_once(ctx: WasteCtx, stream: Stream, day: date) -> int:
    """One stream's plan in one unit with the row that says so; 0 when another worker was first. Raises TooManyPlans."""
    settings = ctx.settings
    wish = Wish(day, Publish.WHEN_READY if settings.night_plans is NightPlans.WHEN_READY else Publish.BY_HAND)
    async with ctx.db.write() as tx:
        if not await night_store.take(tx, stream, day):
            return 0
        outcome, plan_id, reason = Outcome.ASKED, None, None
        if PLANNED & await store.states(tx, stream, day):
            outcome, reason = Outcome.KEPT, "the day has a plan already"
        elif stream not in await fleet.streams_on_duty(tx):
            outcome, reason = Outcome.REFUSED, "no truck of the stream is on duty"
        else:
            try:
                plan_id = (await use_cases.ask_for_day_in(tx, ctx, stream, wish, seconds=settings.night_seconds)).id
            except (NothingToCollect, DepotAmbiguous, InvalidProblem) as refused:  # raised before anything is written
                outcome, reason = Outcome.REFUSED, f"{refused.title}: {refused.detail}"[:1000]
        await night_store.settle(tx, NightRun(stream, day, outcome, plan_id, reason))
    _log.info("night-plan", stream=stream.value, on=str(day), outcome=outcome.value, plan_id=plan_id, reason=reason)
    return 1
