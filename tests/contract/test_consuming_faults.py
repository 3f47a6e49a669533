"""Consumers at their limits: chunks that take too long, bugs that look like outages, groups that cannot be left."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from cityloop_common import consuming as consuming_module
from cityloop_common.consuming import Consumer, On, run_consumer
from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event, EventType, Kind, to_headers
from cityloop_common.errors import DeadlinePassed
from cityloop_common.eventlog import LogUnavailable, Message, Record, Retention, TopicSpec
from tests.contract.kit_support import effect
from tests.contract.test_consuming import Thing
from tests.support import wait_until

TOPIC = "kit.fault"
FACT = EventType("kit.fault.happened.v1", TOPIC, Kind.FACT, Thing)


@pytest.fixture(autouse=True)
async def _topics(kit_ctx: Ctx[Any]) -> None:
    await kit_ctx.log.create_topics([TopicSpec(name, Retention.DELETE, partitions=1) for name in (TOPIC, f"{TOPIC}.dlq")])


def made(ctx: Ctx[Any], n: int) -> Event:
    """The n-th fact of one key."""
    return FACT.event(Thing(n=n), id=ctx.ids.new(), key="a", sequence=n, time=datetime.now(UTC), source=ctx.source)


async def send(ctx: Ctx[Any], *events: Event) -> None:
    """Straight into the log."""
    assert not any(await ctx.log.send([Message(TOPIC, each.key.encode(), each.data, to_headers(each)) for each in events]))


async def store_effect(tx: WriteTx, _ctx: Ctx[Any], event: Event, body: Thing) -> None:
    """One row with the event's id."""
    await tx.run(insert(effect).values(id=event.id, n=body.n, recorded_at=tx.recorded_at))


async def numbers(ctx: Ctx[Any]) -> int:
    """How many took effect."""
    async with ctx.db.read() as tx:
        return int(await tx.scalar(select(func.count()).select_from(effect)))


async def letters(ctx: Ctx[Any]) -> list[Record]:
    """Dead letters."""
    return [record async for record in ctx.log.read([f"{TOPIC}.dlq"], from_start=True, follow=False)]


def consumer(handle: Any) -> Consumer:
    """A consumer of the one type."""
    return Consumer("kit-faults", [On(FACT.name, TOPIC, Kind.FACT, Thing, handle)])


async def test_a_chunk_that_takes_too_long_is_cut(kit_ctx: Ctx[Any]) -> None:
    """More events than fit a unit's time: smaller chunks, in order, instead of the same chunk for ever."""
    in_unit: list[int] = []
    order: list[int] = []

    async def handle(tx: WriteTx, ctx: Ctx[Any], event: Event, body: Thing) -> None:
        if not in_unit:
            tx.after_commit(in_unit.clear)
        in_unit.append(body.n)
        if len(in_unit) > 3:
            in_unit.clear()
            raise DeadlinePassed("the unit's time is over")
        await store_effect(tx, ctx, event, body)
        tx.after_commit(lambda: order.append(body.n))

    await send(kit_ctx, *(made(kit_ctx, n) for n in range(1, 21)))
    task = asyncio.get_running_loop().create_task(run_consumer(kit_ctx, consumer(handle)))

    async def all_done() -> bool:
        return await numbers(kit_ctx) == 20

    try:
        await wait_until(all_done)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert order == list(range(1, 21))
    assert not await letters(kit_ctx)


async def test_a_bug_that_looks_like_an_outage_becomes_a_letter(kit_ctx: Ctx[Any]) -> None:
    """A file that is missing on this machine: put aside after three tries, with a reason that can be written; the next go on."""

    async def handle(tx: WriteTx, ctx: Ctx[Any], event: Event, body: Thing) -> None:
        if body.n == 1:
            raise FileNotFoundError("rates-\ud800.json")
        await store_effect(tx, ctx, event, body)

    await send(kit_ctx, made(kit_ctx, 1), made(kit_ctx, 2))
    task = asyncio.get_running_loop().create_task(run_consumer(kit_ctx, consumer(handle)))

    async def aside() -> bool:
        return len(await letters(kit_ctx)) == 1 and await numbers(kit_ctx) == 1

    try:
        await wait_until(aside)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _CannotLeave:
    """A member of a group whose log goes away for good."""

    async def poll(self, **_: object) -> object:
        raise LogUnavailable("away")

    async def close(self) -> None:
        raise LogUnavailable("away")


async def test_a_group_that_cannot_be_left_is_joined_again(kit_ctx: Ctx[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while closing a member ends neither the consumer nor hides its cancellation."""
    joined = 0

    async def subscribe(*_: object) -> Any:
        nonlocal joined
        joined += 1
        return _CannotLeave()

    monkeypatch.setattr(type(kit_ctx.log), "subscribe", subscribe)
    monkeypatch.setattr(consuming_module, "BACKOFF_S", (0.01,))
    task = asyncio.get_running_loop().create_task(run_consumer(kit_ctx, consumer(store_effect)))
    await wait_until(lambda: joined >= 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
