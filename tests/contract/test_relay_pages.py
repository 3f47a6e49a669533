"""A backlog of many batches: whole in one sweep, each key in order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from cityloop_common import outbox
from cityloop_common.context import Ctx
from cityloop_common.envelope import Event, EventType, Kind, from_record
from cityloop_common.eventlog import Retention, TopicSpec
from cityloop_common.relay import BATCH, relay_once

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
