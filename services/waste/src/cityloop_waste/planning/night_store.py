"""SQL of night jobs: one row a stream and day, whoever writes it first; whoever asks again takes the same row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import Tx, WriteTx
from cityloop_waste.planning.plans import PlanState
from cityloop_waste.planning.tables import night_run, plan
from cityloop_waste.streams import Stream

AGAIN_AFTER = timedelta(minutes=10)
"""So long after it was asked for, a day that has no plan is asked for again."""
_N, _P = night_run.c, plan.c


class Outcome(StrEnum):
    """A plan was asked for; the day had one; none could be asked for."""

    ASKED = "asked"
    KEPT = "kept"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class NightRun:
    """What became of the night job of a stream and day when it was last asked for, at `recorded_at`."""

    stream: Stream
    on: date
    outcome: Outcome
    plan_id: str | None
    reason: str | None
    recorded_at: datetime | None = None


async def take(tx: WriteTx, stream: Stream, on: date) -> bool:
    """Takes the right to ask for a stream and day; False when somebody has it. Another unit that wants it waits for this one's end.

    It may be taken again ten minutes later, while nothing could be asked for, or every plan of the day has come to nothing and the
    last one failed: one that a dispatcher cancelled or withdrew stays away.
    """
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    row = {"stream": stream.value, "on_day": on, "outcome": Outcome.ASKED.value, "recorded_at": tx.recorded_at}
    if await tx.scalar(make(night_run).values(row).on_conflict_do_nothing().returning(_N.stream)) is not None:
        return True
    again = update(night_run).where(_N.stream == stream.value, _N.on_day == on, _open(tx.recorded_at))
    return await tx.run(again.values(outcome=Outcome.ASKED.value, plan_id=None, reason=None, recorded_at=tx.recorded_at)) > 0


async def settled(tx: Tx, on: date, *, now: datetime) -> set[Stream]:
    """The streams of a day that `take` refuses now."""
    rows = await tx.all(select(_N.stream).where(_N.on_day == on, ~_open(now)))
    return {Stream(row.stream) for row in rows}


async def settle(tx: WriteTx, run: NightRun) -> None:
    """Says what became of it."""
    values = {"outcome": run.outcome.value, "plan_id": run.plan_id, "reason": run.reason}
    await tx.run(update(night_run).where(_N.stream == run.stream.value, _N.on_day == run.on).values(values))


async def runs(tx: Tx, on: date) -> list[NightRun]:
    """The night jobs of a day, by stream."""
    rows = await tx.all(select(night_run).where(_N.on_day == on).order_by(_N.stream))
    return [NightRun(Stream(row.stream), row.on_day, Outcome(row.outcome), row.plan_id, row.reason, row.recorded_at) for row in rows]


def _open(now: datetime) -> ColumnElement[bool]:
    """Whether a row may be taken again."""
    of_day = (_P.stream == _N.stream) & (_P.on_day == _N.on_day)
    nothing = [PlanState.FAILED.value, PlanState.CANCELLED.value]
    last = select(_P.state).where(of_day).order_by(_P.id.desc()).limit(1).correlate(night_run).scalar_subquery()
    alive = exists().where(of_day, _P.state.not_in(nothing)).correlate(night_run)
    came_to_nothing = (func.coalesce(last, "") == PlanState.FAILED.value) & ~alive
    return (_N.recorded_at <= now - AGAIN_AFTER) & ((_N.outcome == Outcome.REFUSED.value) | came_to_nothing)
