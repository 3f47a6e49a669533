"""The job that searches a plan: the solver runs in a process of its own, this side tells how far it is and keeps what it finds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson

from cityloop_common.errors import DeadlinePassed, Unavailable
from cityloop_common.fanout import Change
from cityloop_common.jobs import JobKind, JobRun
from cityloop_common.pool import PoolFull, WorkDied, WorkFailed
from cityloop_waste.context import WasteCtx
from cityloop_waste.planning import publishing, replans, use_cases
from cityloop_waste.planning.domain import PlanningError, PlanRefused
from cityloop_waste.planning.solver import GRACE_S, SOLVE
from cityloop_waste.planning.use_cases import Task

TELL_EVERY_S = 1.0
POOL_BUSY_S = 5.0
MOST_ATTEMPTS = 3


class SolverDied(Unavailable):
    """The solver's process ended by itself: the job is taken again."""

    slug, title = "solver-died", "The solver's process ended"


@dataclass(slots=True)
class Heard:
    """What the solver said last."""

    value: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, value: Mapping[str, Any]) -> None:
        self.value = value

    def cost(self) -> Mapping[str, Any] | None:
        """What the best plan so far comes to; None before there is one."""
        return {name: self.value.get(name) for name in ("distance_m", "vehicles", "unserved")} if self.value else None

    def note(self) -> str:
        """How good the best plan is so far."""
        if not self.value:
            return "no plan yet"
        kilometres = self.value.get("distance_m", 0) / 1000
        return f"{kilometres:.1f} km, {self.value.get('vehicles', 0)} trucks, {self.value.get('unserved', 0)} unserved"


async def search(run: JobRun) -> object:
    """Searches a plan and keeps it. A solver that dies is tried again; what it raises or takes too long for fails the plan."""
    ctx: WasteCtx = run.ctx
    plan_id = str(run.payload["plan_id"])
    task = await use_cases.begin(ctx, plan_id)
    if task is None:  # the worker before may have kept it, and died before it was published
        published = await publishing.publish_itself(ctx, plan_id)
        return {"plan_id": plan_id, "state": "not wanted any more" if published is None else published.state.value}
    try:
        result = await _found(run, task)
    except WorkDied as died:
        if run.attempt < MOST_ATTEMPTS:
            raise SolverDied(died.detail) from died
        await use_cases.fail(ctx, plan_id, f"{died.title}: {died.detail}")
        raise
    except (WorkFailed, PlanningError) as failed:
        await use_cases.fail(ctx, plan_id, failed.detail or failed.title)
        raise
    kept = await use_cases.keep(ctx, plan_id, result)
    return {"plan_id": plan_id, "state": "not wanted any more" if kept is None else kept.state.value}


PLAN = JobKind(use_cases.JOB, search, max_attempts=MOST_ATTEMPTS)
PLAN_BEFORE = JobKind("plan", search, max_attempts=MOST_ATTEMPTS)
"""What the release before asks for. Its workers refuse the problems of this one, and take no job of the other kind."""


async def _found(run: JobRun, task: Task) -> Mapping[str, Any]:
    """Routes that the verifier accepted, of a replan with what was driven before."""
    if task.plan.replaces is None:
        return await _verified(run, task)
    work = await replans.begin(run.ctx, task)
    try:
        async with asyncio.TaskGroup() as group:
            drawing = group.create_task(replans.drawn(run.ctx, work))  # beside the search: crews wait
            result = await _verified(run, work.task)
    except BaseExceptionGroup as raised:
        raise raised.exceptions[0] from None
    return replans.whole(work, result, drawing.result())


async def _verified(run: JobRun, task: Task) -> Mapping[str, Any]:
    result = await _solve_patiently(run, task)
    if result.get("verified") is not True:
        raise PlanRefused("the verifier has not accepted it")
    return result


async def _solve_patiently(run: JobRun, task: Task) -> Mapping[str, Any]:
    """Waits while the pool is full; the job's heart beats on."""
    while True:
        try:
            return await _solve(run, task)
        except PoolFull:
            await run.ctx.clock.sleep(POOL_BUSY_S)


async def _solve(run: JobRun, task: Task) -> Mapping[str, Any]:
    heard, finish = Heard(), asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            teller = group.create_task(_tell(run, task, heard, finish))
            result: Mapping[str, Any] = await run.ctx.pool.run(
                SOLVE, task.payload, kill_after_s=task.plan.seconds + GRACE_S, on_progress=heard, stop=finish
            )
            teller.cancel()
    except BaseExceptionGroup as raised:
        raise raised.exceptions[0] from None  # the search's own error, or the teller's: the job was cancelled or lost
    return result


async def _tell(run: JobRun, task: Task, heard: Heard, finish: asyncio.Event) -> None:
    """Tells job and stream how far the search is, until cancelled, and hears when somebody wants the best so far.

    A database that is away is told later.
    """
    clock, seconds = run.ctx.clock, task.plan.seconds
    began_s = clock.monotonic()
    while True:
        done_s = min(seconds, int(clock.monotonic() - began_s))
        try:
            await run.progress(done_s, seconds, heard.note())
            if not finish.is_set() and await use_cases.is_to_finish(run.ctx, task.plan.id):
                finish.set()
        except (Unavailable, DeadlinePassed):
            pass
        else:
            body = {
                "plan_id": task.plan.id,
                "stream": task.plan.stream,
                "done_s": done_s,
                "seconds": seconds,
                "eta": clock.now().replace(microsecond=0) + timedelta(seconds=seconds - done_s),
                "cost": heard.cost(),
                "bound": heard.value.get("bound_m"),
                "best": heard.value or None,
            }
            told = orjson.dumps(body, option=orjson.OPT_UTC_Z)
            run.ctx.fanout.offer(Change(use_cases.PROGRESS, task.plan.id, done_s, told, passing=True))
        await clock.sleep(TELL_EVERY_S)
