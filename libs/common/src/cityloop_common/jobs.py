"""Long work as rows: leased, with a heartbeat, progress, ETA and cancellation; a dead worker's job is taken again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Row, case, delete, func, insert, or_, select, update

from cityloop_common import metrics
from cityloop_common.columns import UtcDateTime
from cityloop_common.context import Ctx
from cityloop_common.db import Tx, UniqueViolation, WriteTx
from cityloop_common.endings import is_asked_to_stop
from cityloop_common.errors import CityLoopError, Contention, DeadlinePassed, NotFound, Unavailable
from cityloop_common.tables import job

HEARTBEAT_S = 5.0
LEASE_S = 12.0  # a dead worker's job is taken again within 15 s
POLL_S = 1.0
AGAIN_AFTER_S = (1.0, 5.0, 30.0)  # after an outage, by the attempts made
STOP_WITHIN_S = 2.0
ENDED_KEPT_FOR = timedelta(days=30)
PRUNED_AT_ONCE = 500
OPEN = ("waiting", "running")
log = structlog.get_logger(__name__)


class JobCancelled(Exception):
    """Somebody asked for the job to stop; raised out of `JobRun.progress`."""


class JobLost(Exception):
    """The lease has gone to another worker: whatever this one does is not wanted any more."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the outside sees it; `eta` is when it will be done if it goes on as it did."""

    id: str
    kind: str
    state: str
    done: int
    total: int | None
    note: str | None
    eta: datetime | None
    attempts: int
    result: object
    error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobKind:
    """What a job of this name does. `run` answers the result; it calls `progress` at least every few seconds."""

    name: str
    run: Callable[[JobRun], Awaitable[object]]
    max_attempts: int = 3


@dataclass(slots=True)
class JobRun:
    """A job in the hands of a worker, for the `attempt`-th time: worker and attempt together are the right to it."""

    ctx: Ctx[Any]
    id: str
    payload: Mapping[str, Any]
    worker: str
    on_progress: Callable[[int, int | None, str], None] | None = None
    attempt: int = 1

    async def progress(self, done: int, total: int | None = None, note: str = "") -> None:
        """Tells how far it is, and renews the lease. Raises JobCancelled, JobLost."""
        if self.on_progress is not None:
            self.on_progress(done, total, note)
        await self._beat({"done": done, "total": total, "note": note or None})

    async def beat(self) -> None:
        """Renews the lease alone. Raises JobCancelled, JobLost."""
        await self._beat({})

    async def _beat(self, values: Mapping[str, object]) -> None:
        async with self.ctx.db.write() as tx:
            lease = tx.recorded_at + timedelta(seconds=LEASE_S)
            touched = await tx.run(update(job).where(_mine(self)).values(lease_until=lease, **values))
            if not touched:
                raise JobLost(self.id)
            if await tx.scalar(select(job.c.cancel_requested).where(job.c.id == self.id)):
                raise JobCancelled(self.id)


async def enqueue_in(tx: WriteTx, ctx: Ctx[Any], kind: str, payload: Mapping[str, object], *, dedup_key: str | None = None) -> str:
    """Writes a job into the open unit; with a `dedup_key` an open job of that key is answered instead of a second one."""
    if dedup_key is not None:
        same = (job.c.kind == kind) & (job.c.dedup_key == dedup_key) & job.c.state.in_(OPEN)
        found = await tx.scalar(select(job.c.id).where(same))
        if found is not None:
            return str(found)
    job_id = ctx.ids.new()
    values = {"id": job_id, "kind": kind, "dedup_key": dedup_key, "payload": payload, "state": "waiting", "created_at": tx.recorded_at}
    try:
        async with tx.savepoint():
            await tx.run(insert(job).values(values))
    except UniqueViolation:  # another unit was first; the constraint is the judge
        first = await tx.scalar(select(job.c.id).where(same))
        if first is None:
            raise Contention from None  # it has ended meanwhile
        return str(first)
    tx.after_commit(lambda: tx.signals.notify("jobs"))
    return job_id


async def view(tx: Tx, ctx: Ctx[Any], job_id: str) -> JobView:
    """A job by id. Raises NotFound."""
    row = await tx.first(select(job).where(job.c.id == job_id))
    if row is None:
        raise NotFound("no such job")
    return _view(row, ctx.clock.now())


async def request_cancel(tx: WriteTx, job_id: str) -> None:
    """Asks a job to stop: one that waits is cancelled at once, one that runs at its next heartbeat. Raises NotFound."""
    waiting = job.c.state == "waiting"
    touched = await tx.run(
        update(job)
        .where(job.c.id == job_id, job.c.state.in_(OPEN))
        .values(
            cancel_requested=1,
            state=case((waiting, "cancelled"), else_=job.c.state),
            finished_at=case((waiting, tx.recorded_at), else_=job.c.finished_at),
        )
    )
    if not touched and await tx.scalar(select(job.c.id).where(job.c.id == job_id)) is None:
        raise NotFound("no such job")


async def prune(tx: WriteTx) -> int:
    """Forgets jobs that ended more than 30 days ago, a batch at most; answers the rows removed. What they made is elsewhere."""
    old = select(job.c.id).where(job.c.state.not_in(OPEN), job.c.finished_at < tx.recorded_at - ENDED_KEPT_FOR)
    batch = old.order_by(job.c.finished_at).limit(PRUNED_AT_ONCE).with_for_update(skip_locked=True)
    return await tx.run(delete(job).where(job.c.id.in_(batch)))


@dataclass(frozen=True, slots=True)
class OpenJobs:
    """Jobs of a kind that have not ended; `due_since` is since when the oldest that may run waits for a worker."""

    waiting: int = 0
    running: int = 0
    due_since: datetime | None = None


async def open_jobs(tx: Tx, now: datetime) -> dict[str, OpenJobs]:
    """What waits and runs, by kind. A running job whose worker died is due again."""
    free_since = func.coalesce(job.c.lease_until, job.c.created_at)  # the pause after an outage, or the dead worker's lease
    due = case((free_since < now, free_since))
    counted = select(job.c.kind, job.c.state, func.count().label("rows"), func.min(due, type_=UtcDateTime()).label("due_since"))
    rows = await tx.all(counted.where(job.c.state.in_(OPEN)).group_by(job.c.kind, job.c.state))
    found: dict[str, OpenJobs] = {}
    for row in rows:
        known = found.get(row.kind, OpenJobs())
        since = min([at for at in (known.due_since, row.due_since) if at is not None], default=None)
        found[row.kind] = replace(known, **{row.state: row.rows}, due_since=since)
    return found


async def run_jobs(ctx: Ctx[Any], kinds: Sequence[JobKind], worker: str) -> None:
    """Takes and runs jobs, one at a time, until cancelled."""
    by_name = {kind.name: kind for kind in kinds}
    while True:
        try:
            claimed = await _claim(ctx, sorted(by_name), worker)
            if claimed is not None:
                kind, run = by_name[claimed.kind], JobRun(ctx, claimed.id, claimed.payload, worker, attempt=claimed.attempts)
                if claimed.attempts > kind.max_attempts:  # it takes its workers down with it
                    await _finish(kind, run, "failed", None, "every worker that ran it died")
                else:
                    await _run_or_give_back(kind, run)
                continue
        except (Unavailable, DeadlinePassed) as error:
            log.warning("jobs_wait", reason=str(error))
        await ctx.signals.wait("jobs", POLL_S)


async def run_here(
    ctx: Ctx[Any], kind: JobKind, payload: Mapping[str, object], *, worker: str, on_progress: Callable[[int, int | None, str], None]
) -> JobView:
    """Runs a job in this process, as a row that others can see and cancel (the command line's long work)."""
    async with ctx.db.write() as tx:
        job_id = ctx.ids.new()
        started = {"state": "running", "worker": worker, "attempts": 1, "started_at": tx.recorded_at}
        lease = tx.recorded_at + timedelta(seconds=LEASE_S)
        row = {"id": job_id, "kind": kind.name, "payload": payload, "created_at": tx.recorded_at, "lease_until": lease, **started}
        await tx.run(insert(job).values(row))
    run = JobRun(ctx, job_id, payload, worker, on_progress)
    try:
        await _run_claimed(JobKind(kind.name, kind.run, max_attempts=1), run)
    except asyncio.CancelledError:  # Ctrl-C: nobody else is to go on with it
        await _stopped(run, state="cancelled", finished_at=ctx.clock.now())
        raise
    async with ctx.db.read() as tx:
        return await view(tx, ctx, job_id)


async def _claim(ctx: Ctx[Any], kinds: Sequence[str], worker: str) -> Row[Any] | None:
    async with ctx.db.write() as tx:
        over = job.c.lease_until < tx.recorded_at  # of one that waits: the pause after an outage
        due = ((job.c.state == "waiting") & or_(job.c.lease_until.is_(None), over)) | ((job.c.state == "running") & over)
        free = select(job.c.id).where(job.c.kind.in_(kinds), due).order_by(job.c.created_at).limit(1).with_for_update(skip_locked=True)
        taken = (
            update(job)
            .where(job.c.id == free.scalar_subquery(), due)  # not IN: PostgreSQL may ask an IN's query again and lock a second job
            .values(
                state="running",
                worker=worker,
                attempts=job.c.attempts + 1,
                lease_until=tx.recorded_at + timedelta(seconds=LEASE_S),
                started_at=tx.recorded_at,
                done=0,
                total=None,
                note=None,
            )
            .returning(job.c.id, job.c.kind, job.c.payload, job.c.attempts)
        )
        return await tx.first(taken)


def _mine(run: JobRun) -> ColumnElement[bool]:
    return (job.c.id == run.id) & (job.c.worker == run.worker) & (job.c.attempts == run.attempt) & (job.c.state == "running")


async def _run_or_give_back(kind: JobKind, run: JobRun) -> None:
    try:
        await _run_claimed(kind, run)
    except asyncio.CancelledError:  # the process stops: a deployment is no attempt
        await _stopped(run, state="waiting", attempts=job.c.attempts - 1, lease_until=None)
        raise


async def _stopped(run: JobRun, **values: object) -> None:
    try:
        async with asyncio.timeout(STOP_WITHIN_S), run.ctx.db.write() as tx:
            await tx.run(update(job).where(_mine(run)).values(**values))
    except (Unavailable, DeadlinePassed, TimeoutError):
        return  # the lease ends by itself


async def _run_claimed(kind: JobKind, run: JobRun) -> None:
    state, result, error = "done", None, None
    try:
        async with asyncio.TaskGroup() as group:
            heart = group.create_task(_heartbeat(run))
            result = await kind.run(run)
            heart.cancel()
    except* JobLost:
        state = "lost"
    except* JobCancelled:
        state = "cancelled"
    except* (Unavailable, DeadlinePassed) as outage:
        state, error = "waiting", str(outage.exceptions[0])
    except* CityLoopError as refused:
        state, error = "failed", str(refused.exceptions[0])
    except* Exception as broken:
        first = broken.exceptions[0]
        log.error("job_failed", job_id=run.id, kind=kind.name, reason=repr(first), exc_info=first)
        state, error = "failed", f"{type(first).__name__}: {first}"
    if is_asked_to_stop():  # a group whose job raises while it is cancelled forgets that it is
        raise asyncio.CancelledError
    if state != "lost":
        await _finish(kind, run, state, result, error)


async def _heartbeat(run: JobRun) -> None:
    while True:
        await run.ctx.clock.sleep(HEARTBEAT_S)
        try:
            await run.beat()
        except (Unavailable, DeadlinePassed):
            continue  # the lease decides


async def _finish(kind: JobKind, run: JobRun, state: str, result: object, error: str | None) -> None:
    async with run.ctx.db.write() as tx:
        mine = _mine(run)
        if state == "waiting":  # an outage: again after a pause, but not for ever
            attempts = int(await tx.scalar(select(job.c.attempts).where(mine)) or 0)
            if attempts < kind.max_attempts:
                pause = timedelta(seconds=AGAIN_AFTER_S[min(max(attempts, 1), len(AGAIN_AFTER_S)) - 1])
                await tx.run(update(job).where(mine).values(state=state, error=error, lease_until=tx.recorded_at + pause))
            else:
                state = "failed"
                await tx.run(update(job).where(mine).values(state=state, error=error, finished_at=tx.recorded_at))
        else:
            await tx.run(update(job).where(mine).values(state=state, result=result, error=error, finished_at=tx.recorded_at))
    metrics.jobs_finished.add(run.ctx.service, kind.name, state)


def _view(row: Row[Any], now: datetime) -> JobView:
    eta = None
    if row.state == "running" and row.total and row.done and row.started_at:
        eta = now + (now - row.started_at) * (row.total - row.done) / row.done
    return JobView(
        id=row.id,
        kind=row.kind,
        state=row.state,
        done=row.done,
        total=row.total,
        note=row.note,
        eta=eta,
        attempts=row.attempts,
        result=row.result,
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
