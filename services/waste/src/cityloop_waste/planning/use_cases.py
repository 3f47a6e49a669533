"""What people and jobs do with plans until they are ready: ask for one, look at it, cancel it, search it, keep what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

import orjson

from cityloop_common import jobs, telemetry
from cityloop_common.clock import city_day
from cityloop_common.db import Tx, UniqueViolation, WriteTx
from cityloop_common.envelope import Event
from cityloop_common.errors import NotFound
from cityloop_common.jobs import JobView, enqueue_in, request_cancel
from cityloop_waste.context import WasteCtx
from cityloop_waste.planning import problem_json, registered, store
from cityloop_waste.planning.domain import Lunch, Minimise, Options, Problem
from cityloop_waste.planning.plans import (
    CityPlan,
    DayOver,
    NotOpen,
    PlanState,
    PlanVersion,
    Publish,
    ReplanRunning,
    TooManyPlans,
    rounds,
)
from cityloop_waste.planning.publishing import known, offer, publish_itself
from cityloop_waste.planning.views import PlaceView
from cityloop_waste.roads import store as roads
from cityloop_waste.settings import read_lunch
from cityloop_waste.streams import Stream

JOB = "plan-day"
TRAVEL_CACHE = "waste-travel"
PROGRESS = "plan-progress"
DOCUMENTS_KEPT_FOR = timedelta(days=30)
ENDED = telemetry.counter("waste_plans_total", "Plans by what became of their search", ("stream", "outcome"))


@dataclass(frozen=True, slots=True)
class Wish:
    """For which day a plan is wanted, and whether it is published as soon as it is ready."""

    on: date
    publish: Publish = Publish.BY_HAND


@dataclass(frozen=True, slots=True)
class Shown:
    """A plan with its job (jobs are forgotten 30 days after their end), and what was published of it."""

    plan: CityPlan
    job: JobView | None
    versions: tuple[PlanVersion, ...]
    lines: store.Lines | None
    present_map: str | None = None


async def ask_for_day(ctx: WasteCtx, stream: Stream, wish: Wish, *, seconds: int | None = None, depot_id: str | None = None) -> CityPlan:
    """Asks for a plan of a stream's day from the registry. See `ask_for_day_in`."""
    async with ctx.db.write() as tx:
        return await ask_for_day_in(tx, ctx, stream, wish, seconds=seconds, depot_id=depot_id)


async def ask_for_day_in(
    tx: WriteTx, ctx: WasteCtx, stream: Stream, wish: Wish, *, seconds: int | None = None, depot_id: str | None = None
) -> CityPlan:
    """Asks for a plan of the points, trucks and sites that the registry has. Raises NothingToCollect, DepotAmbiguous, and as `ask_in`."""
    lunch = read_lunch(ctx.settings.lunch)
    problem = await registered.problem(
        tx,
        stream,
        depot_id=depot_id,
        options=Options(
            seconds=seconds or ctx.settings.plan_seconds,
            minimise=Minimise(ctx.settings.plan_minimise),
            even_percent=ctx.settings.plan_even_percent,
        ),
        lunch=None if lunch is None else Lunch(*lunch),
        yesterday=rounds(await store.held_before(tx, stream, wish.on)),
    )
    return await ask_in(tx, ctx, problem, wish)


async def ask_in(tx: WriteTx, ctx: WasteCtx, problem: Problem, wish: Wish) -> CityPlan:
    """Stores a checked problem with the job that searches its plan, in an open unit. Raises DayOver, TooManyPlans."""
    if wish.on < city_day(ctx.clock.now()):
        raise DayOver(f"{wish.on} is over")
    return await add_in(tx, ctx, problem, wish)


@dataclass(frozen=True, slots=True)
class Anew:
    """Which plan is made anew, why, and what happened (a document of replans.py)."""

    replaces: str
    reasons: tuple[str, ...]
    replan: Mapping[str, Any]


async def add_in(tx: WriteTx, ctx: WasteCtx, problem: Problem, wish: Wish, anew: Anew | None = None) -> CityPlan:
    """Stores a problem with its job. Raises TooManyPlans, ReplanRunning."""
    if await store.count_open(tx) >= ctx.settings.open_plans:
        raise TooManyPlans(f"at most {ctx.settings.open_plans} at a time")
    plan_id = ctx.ids.new()
    new = CityPlan(
        id=plan_id,
        stream=Stream(problem.stream),
        on=wish.on,
        state=PlanState.WAITING,
        publish=wish.publish,
        job_id=await enqueue_in(tx, ctx, JOB, {"plan_id": plan_id}, dedup_key=plan_id),
        seconds=problem.options.seconds,
        graph_version=await roads.present_version(tx),
        version=1,
        told=0,
        created_at=tx.recorded_at,
        updated_at=tx.recorded_at,
        problem=problem_json.write(problem),
        replaces=None if anew is None else anew.replaces,
        reasons=() if anew is None else anew.reasons,
        replan=None if anew is None else anew.replan,
    )
    try:
        await store.add(tx, new)
    except UniqueViolation as violated:  # uq_plan_replan_open
        raise ReplanRunning from violated
    offer(tx, ctx, new)
    return new


async def find(ctx: WasteCtx, plan_id: str) -> Shown:
    """A plan with everything. Raises UnknownPlan."""
    async with ctx.db.read() as tx:
        found = await known(tx, plan_id)
        versions = tuple(await store.versions_of(tx, plan_id))
        job, lines = await _job(tx, ctx, found.job_id), await store.lines(tx, plan_id)
        return Shown(found, job, versions, lines, await roads.present_version(tx))


async def page(ctx: WasteCtx, wanted: store.Wanted, *, most: int) -> list[CityPlan]:
    """Plans without their routes, the last asked for first."""
    async with ctx.db.read() as tx:
        return await store.page(tx, wanted, most=most)


async def finish_in(tx: WriteTx, ctx: WasteCtx, plan_id: str) -> CityPlan:
    """Ends the search of a plan, which keeps the best so far; of one that has ended with routes nothing changes.

    Raises UnknownPlan, NotOpen (it failed or was cancelled).
    """
    asked = await store.request_finish(tx, plan_id)
    if asked is not None:
        offer(tx, ctx, asked)
        return asked
    found = await known(tx, plan_id)
    if found.figures is None:
        raise NotOpen(f"it is {found.state}")
    return found


async def is_to_finish(ctx: WasteCtx, plan_id: str) -> bool:
    """Whether somebody wants the best so far."""
    async with ctx.db.read() as tx:
        return await store.is_to_finish(tx, plan_id)


async def cancel_in(tx: WriteTx, ctx: WasteCtx, plan_id: str) -> CityPlan:
    """Stops the search of a plan; cancelling again changes nothing. Raises UnknownPlan, NotOpen."""
    cancelled = await store.end(tx, plan_id, PlanState.CANCELLED, reason="cancelled")
    if cancelled is None:
        found = await known(tx, plan_id)
        if found.state is not PlanState.CANCELLED:
            raise NotOpen(f"it is {found.state}")
        return found
    await request_cancel(tx, cancelled.job_id)
    _ended(tx, ctx, cancelled)
    return cancelled


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is to search: the documents that the solver's process takes, as orjson writes them."""

    plan: CityPlan
    payload: Mapping[str, Any]


async def begin(ctx: WasteCtx, plan_id: str) -> Task | None:
    """A worker takes a plan; None when nobody wants it any more."""
    async with ctx.db.write() as tx:
        begun = await store.begin(tx, plan_id)
        if begun is None:
            return None
        offer(tx, ctx, begun)
        kept = str(ctx.settings.shared.var / TRAVEL_CACHE)
        return Task(begun, {"problem": begun.problem, "travel_cache": kept, **await roads_of(tx, begun)})


async def keep(ctx: WasteCtx, plan_id: str, result: Mapping[str, Any]) -> CityPlan | None:
    """Stores what was found, and then publishes it when that was wished; None when nobody wants it any more.

    Two units: what was found is kept also when it cannot be published.
    """
    routes = {name: value for name, value in result.items() if name != "lines"}
    async with ctx.db.write() as tx:
        kept = await store.keep(tx, plan_id, routes, result.get("lines"))
        if kept is None:
            return None
        _ended(tx, ctx, kept)
    return await publish_itself(ctx, plan_id) or kept


async def empty(ctx: WasteCtx) -> int:
    """Sweep: 30 days after their day, empties the documents of plans that never held, and forgets where trucks were; answers how many."""
    async with ctx.db.write() as tx:
        return await store.empty(tx, city_day(ctx.clock.now()) - DOCUMENTS_KEPT_FOR)


async def fail(ctx: WasteCtx, plan_id: str, reason: str) -> None:
    """Notes that no plan will be found, and why."""
    async with ctx.db.write() as tx:
        failed = await store.end(tx, plan_id, PlanState.FAILED, reason=reason[:1000])
        if failed is not None:
            _ended(tx, ctx, failed)


async def settle(ctx: WasteCtx) -> int:
    """Sweep: ends plans whose jobs have ended without a word (every worker died, the database was away); answers how many."""
    async with ctx.db.write() as tx:
        found = await store.stranded(tx)
        for each in found:
            state = PlanState.CANCELLED if each.job_state == "cancelled" else PlanState.FAILED
            ended = await store.end(tx, each.plan_id, state, reason=(each.error or "the job ended without a plan")[:1000])
            if ended is not None:
                _ended(tx, ctx, ended)
    return len(found)


async def apply_place(tx: WriteTx, _ctx: WasteCtx, event: Event, view: PlaceView) -> None:
    """A car park was published: what is on the street stands in the way of trucks."""
    await store.put_section(tx, view, version=event.sequence)


async def _job(tx: Tx, ctx: WasteCtx, job_id: str) -> JobView | None:
    try:
        return await jobs.view(tx, ctx, job_id)
    except NotFound:
        return None


async def roads_of(tx: Tx, plan: CityPlan) -> dict[str, Any]:
    """The roads of a plan's payload; nothing when it was asked for without any."""
    geojson = None if plan.graph_version is None else await roads.geojson(tx, plan.graph_version)
    return {} if geojson is None else {"roads": orjson.Fragment(geojson)}  # megabytes: neither read nor written anew on this loop


def _ended(tx: WriteTx, ctx: WasteCtx, plan: CityPlan) -> None:
    tx.after_commit(partial(ENDED.add, plan.stream.value, plan.state.value))
    offer(tx, ctx, plan)
