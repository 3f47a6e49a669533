"""Closed instants: what was known at an instant a minute ago never changes any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from cityloop_common.db import Database, UnitTooOld
from cityloop_common.errors import Invalid
from cityloop_common.journal import CLOSED_AFTER, KnownAt, as_known, closed_instant, known_at
from tests.contract.kit_support import ShiftedClock, effect, opened_db

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_a_later_instant_than_the_closed_one_is_provisional() -> None:
    """The latest closed instant is taken unless another is asked for; the future is refused."""
    assert known_at(None, now=NOW) == KnownAt(NOW - CLOSED_AFTER, provisional=False)
    assert known_at(NOW - timedelta(seconds=59), now=NOW).provisional
    assert not known_at(NOW - timedelta(seconds=60), now=NOW).provisional
    with pytest.raises(Invalid):
        known_at(NOW + timedelta(seconds=1), now=NOW)


async def _value(db: Database, known: KnownAt) -> int:
    async with db.read() as tx:
        return int(await tx.scalar(select(func.coalesce(func.sum(effect.c.n), 0)).where(as_known(effect.c.recorded_at, known))))


@pytest.mark.parametrize("delay_s", [5, 25])
async def test_a_commit_slowed_across_an_evaluation_changes_no_closed_value(url: str, delay_s: int) -> None:
    """A unit begins, an evaluation closes over its instant, the unit commits late: the published value stays."""
    slow, watching = ShiftedClock(), ShiftedClock()
    db = await opened_db(url, slow)
    async with db.write() as tx:
        await tx.run(insert(effect).values(id="early", n=1, recorded_at=tx.recorded_at))
        began = tx.recorded_at
        slow.by += timedelta(seconds=delay_s)
        watching.by = slow.by
    published_at = closed_instant(watching.now())
    assert published_at < began, "the evaluation's instant is closed only a minute later"
    published = await _value(db, KnownAt(published_at, provisional=False))
    watching.by += timedelta(seconds=120)
    assert await _value(db, KnownAt(published_at, provisional=False)) == published == 0
    assert await _value(db, known_at(None, now=watching.now())) == 1
    await db.close()


async def test_a_unit_that_would_change_a_closed_value_is_refused(url: str) -> None:
    """Slowed until its instant is closed, the unit fails; nothing appears under an old known_at."""
    clock = ShiftedClock()
    db = await opened_db(url, clock)
    with pytest.raises(UnitTooOld):
        async with db.write() as tx:
            await tx.run(insert(effect).values(id="late", n=1, recorded_at=tx.recorded_at))
            began = tx.recorded_at
            clock.by += timedelta(seconds=61)
            closed = closed_instant(clock.now())
            assert closed > began
    clock.by = timedelta()
    assert await _value(db, KnownAt(closed, provisional=False)) == 0
    await db.close()
