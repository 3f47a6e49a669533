"""A right has one holder, and a dead holder's goes on to another within 15 s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import prometheus_client
import pytest

from cityloop_common.context import Ctx
from cityloop_common.leases import ASK_AGAIN_S, LEASE_FOR_S, Held, LeaseLost, hold_while, run_while_held
from tests.contract.kit_support import ShiftedClock, close_ctx, opened_ctx
from tests.support import wait_until


class Process:
    """One process that wants the right and keeps it until it is cut off."""

    def __init__(self, ctx: Ctx[Any], name: str) -> None:
        self.ctx = ctx
        self.held: Held | None = None
        self.release = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(hold_while(ctx, "relay", name, self._work))

    async def _work(self, held: Held) -> None:
        self.held = held
        await self.release.wait()

    async def renew(self) -> None:
        """Asks whether it still has the right."""
        assert self.held is not None
        await self.held.renew()

    async def end(self) -> None:
        """Cancelled, as at SIGTERM."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def shifted(url: str, tmp_path: Path) -> AsyncIterator[tuple[Ctx[Any], ShiftedClock]]:
    """A context whose clock can be moved."""
    clock = ShiftedClock()
    ctx = await opened_ctx(url, tmp_path, clock=clock)
    yield ctx, clock
    await close_ctx(ctx)


async def test_a_right_given_back_goes_on_at_once(kit_ctx: Ctx[Any]) -> None:
    """While one holds it the other waits; when the first ends the second has it."""
    first = Process(kit_ctx, "first")
    await wait_until(lambda: first.held is not None)
    second = Process(kit_ctx, "second")
    await asyncio.sleep(0.2)
    assert second.held is None
    await first.end()
    await wait_until(lambda: second.held is not None)
    await second.end()


async def test_a_dead_holders_right_goes_on_and_is_not_taken_back(
    shifted: tuple[Ctx[Any], ShiftedClock], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder dies without a word: another gets the right, and the first can use it no more."""
    ctx, clock = shifted
    first = Process(ctx, "first")
    await wait_until(lambda: first.held is not None)
    second = Process(ctx, "second")
    await asyncio.sleep(0.2)
    assert second.held is None
    if ctx.db.dialect_name == "sqlite":
        clock.by += timedelta(seconds=LEASE_FOR_S + 0.1)
    else:
        await _cut_the_lock(url)
    await wait_until(lambda: second.held is not None)
    monkeypatch.setattr(clock, "monotonic", lambda: 1e9)  # late enough to ask again
    with pytest.raises(LeaseLost):
        await first.renew()
    await second.renew()
    await first.end()
    await second.end()


async def test_a_late_good_bye_does_not_end_anothers_right(shifted: tuple[Ctx[Any], ShiftedClock], url: str) -> None:
    """The first ends after it has lost the right: the second keeps it, a third waits."""
    ctx, clock = shifted
    first = Process(ctx, "first")
    await wait_until(lambda: first.held is not None)
    second = Process(ctx, "second")
    if ctx.db.dialect_name == "sqlite":
        clock.by += timedelta(seconds=LEASE_FOR_S + 0.1)
    else:
        await _cut_the_lock(url)
    await wait_until(lambda: second.held is not None)
    await first.end()
    third = Process(ctx, "third")
    await asyncio.sleep(0.2)
    assert third.held is None
    await second.end()
    await third.end()


async def test_work_that_fails_is_tried_again_and_its_process_goes_on(kit_ctx: Ctx[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error that nobody foresaw: after 5 s, then twice as long each time, up to a minute; then it has the right again."""
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds == ASK_AGAIN_S:  # PostgreSQL has not noticed yet that the session before has ended
            await asyncio.sleep(0.01)
        else:
            paused.append(seconds)

    async def work(held: Held) -> None:
        await held.renew()
        if len(paused) < 6:
            raise KeyError("lot-1")
        done.set()
        await asyncio.Event().wait()

    done, before = asyncio.Event(), _failures()
    monkeypatch.setattr(kit_ctx.clock, "sleep", sleep)
    running = asyncio.get_running_loop().create_task(run_while_held(kit_ctx, "teller", "first", work))
    ended = asyncio.get_running_loop().create_task(done.wait())
    await asyncio.wait({running, ended}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert (running.done(), done.is_set()) == (False, True)
    assert paused == [5, 10, 20, 40, 60, 60]
    assert _failures() - before == 6
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def _failures() -> float:
    value = prometheus_client.REGISTRY.get_sample_value("right_failures_total", {"service": "kit", "work": "teller"})
    return value or 0.0


async def _cut_the_lock(url: str) -> None:
    other: Any = await asyncpg.connect(url)
    await other.execute(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()"
    )
    await other.close()
