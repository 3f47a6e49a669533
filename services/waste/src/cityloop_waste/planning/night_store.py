"""SQL of night jobs: one row a stream and day, whoever writes it first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import Tx, WriteTx
from cityloop_waste.planning.tables import night_run
from cityloop_waste.streams import Stream

_N = night_run.c


class Outcome(StrEnum):
    """A plan was asked for; the day had one; none could be asked for."""

    ASKED = "asked"
    KEPT = "kept"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class NightRun:
    """What became of the night job of a stream and day."""

    stream: Stream
    on: date
    outcome: Outcome
    plan_id: str | None
    reason: str | None
    recorded_at: datetime | None = None


async def take(tx: WriteTx, stream: Stream, on: date) -> bool:
    """Takes the right to ask for a stream and day; False when somebody has it. Another unit that wants it waits for this one's end."""
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    row = {"stream": stream.value, "on_day": on, "outcome": Outcome.ASKED.value, "recorded_at": tx.recorded_at}
    return await tx.scalar(make(night_run).values(row).on_conflict_do_nothing().returning(_N.stream)) is not None


async def settle(tx: WriteTx, run: NightRun) -> None:
    """Says what became of it."""
    values = {"outcome": run.outcome.value, "plan_id": run.plan_id, "reason": run.reason}
    await tx.run(update(night_run).where(_N.stream == run.stream.value, _N.on_day == run.on).values(values))


async def runs(tx: Tx, on: date) -> list[NightRun]:
    """The night jobs of a day, by stream."""
    rows = await tx.all(select(night_run).where(_N.on_day == on).order_by(_N.stream))
    return [NightRun(Stream(row.stream), row.on_day, Outcome(row.outcome), row.plan_id, row.reason, row.recorded_at) for row in rows]
