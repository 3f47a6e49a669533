"""A backlog of many batches: whole in one sweep, each key in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

from cityloop_common import outbox
from cityloop_common.context import Ctx
from cityloop_common.envelope import Event, EventType, Kind, from_record
from cityloop_common.errors import TooLarge
from cityloop_common.eventlog import MAX_MESSAGE_BYTES, Message, Retention, TopicSpec, open_event_log
from cityloop_common.eventlog.port import EventLog
from cityloop_common.relay import BACKOFF_S, BATCH, relay_once, run_relay
from tests.contract.kit_support import FailingLog, ShiftedClock, close_ctx, opened_ctx
from tests.support import wait_until

TOPIC = "kit.thing"


class Thing(BaseModel):
    """A body."""

    n: int


THING = EventType("kit.thing.happened.v1", TOPIC, Kind.FACT, Thing)


@pytest.fixture(autouse=True)
async def _topic(kit_ctx: Ctx[Any]) -> None:
    await kit_ctx.log.create_topics([TopicSpec(TOPIC, Retention.DELETE)])


def event(ctx: Ctx[Any], key: str, n: int) -> Event:
    """The n-th event of a key."""
    return THING.event(Thing(n=n), id=ctx.ids.new(), key=key, sequence=n, time=datetime.now(UTC), source=ctx.source)


async def logged(ctx: Ctx[Any], key: str) -> list[int]:
    """A key's sequence numbers as they lie in the log."""
    records = [record async for record in ctx.log.read([TOPIC], from_start=True, follow=False)]
    events = [from_record(record.topic, record.key, record.headers, record.value) for record in records]
    return [each.sequence for each in events if each.key == key]


async def waiting(ctx: Ctx[Any]) -> int:
    """How many events have not been sent."""
    async with ctx.db.read() as tx:
        return (await outbox.backlog(tx))[0]


async def test_a_backlog_of_few_keys_goes_in_one_sweep(kit_ctx: Ctx[Any]) -> None:
    """Three batches and a half of three keys: nothing is left for the next sweep, each key in order."""
    each = BATCH * 7 // 6
    async with kit_ctx.db.write() as tx:
        await outbox.append_many(tx, [event(kit_ctx, key, n) for n in range(1, each + 1) for key in ("a", "b", "c")])
    assert await relay_once(kit_ctx) == 0
    assert await waiting(kit_ctx) == 0
    for key in ("a", "b", "c"):
        assert await logged(kit_ctx, key) == list(range(1, each + 1))


class _NoLongPauses(ShiftedClock):
    """A clock on which a pause longer than the relay's first never ends."""

    async def sleep(self, seconds: float) -> None:
        await (asyncio.sleep(seconds) if seconds <= BACKOFF_S[0] else asyncio.Event().wait())


def _sent(log: FailingLog, wanted: int) -> bool:
    return len(log.sent) == wanted


async def test_a_key_that_fails_for_long_does_not_slow_the_others(url: str, tmp_path: Path) -> None:
    """However long the pauses for it have become, another key's commit is sent on at once."""
    real = open_event_log(f"sqlite:///{tmp_path / 'own.db'}", clock=ShiftedClock())
    await real.create_topics([TopicSpec(TOPIC, Retention.DELETE)])
    log = FailingLog(real, refuse_keys={b"bad"})
    ctx = await opened_ctx(url, tmp_path, clock=_NoLongPauses(), log=cast("EventLog", log))
    relay = asyncio.get_running_loop().create_task(run_relay(ctx, "one"))
    try:
        for n in range(1, 6):
            async with ctx.db.write() as tx:
                await outbox.append_many(tx, [event(ctx, "bad", n), event(ctx, "good", n)])
            await wait_until(partial(_sent, log, n))
    finally:
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
    await close_ctx(ctx)


async def test_a_log_that_is_away_is_asked_once_a_sweep(kit_ctx: Ctx[Any]) -> None:
    """A backlog of many batches is not read through while nothing can be sent; afterwards it goes in order."""
    asked = 0

    class Away(FailingLog):
        async def send(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
            nonlocal asked
            asked += 1
            return await super().send(messages)

    log = Away(kit_ctx.log, away=True)
    ctx = Ctx("kit", kit_ctx.settings, kit_ctx.clock, kit_ctx.ids, kit_ctx.rng, kit_ctx.db, cast("EventLog", log), kit_ctx.cache)
    async with ctx.db.write() as tx:
        await outbox.append_many(tx, [event(ctx, f"k{n % 7}", n) for n in range(1, BATCH * 3)])
    assert await relay_once(ctx) > 0
    assert asked == 1
    log.away = False
    assert await relay_once(ctx) == 0
    assert await waiting(ctx) == 0
    assert await logged(ctx, "k1") == sorted(await logged(ctx, "k1"))


async def test_an_event_that_no_log_takes_fails_its_unit(kit_ctx: Ctx[Any]) -> None:
    """Stored, it would hold back its key for ever."""
    large = replace(event(kit_ctx, "a", 1), data=b" " * MAX_MESSAGE_BYTES)
    with pytest.raises(TooLarge):
        async with kit_ctx.db.write() as tx:
            await outbox.append(tx, large)
    assert await waiting(kit_ctx) == 0
