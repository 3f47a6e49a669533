"""SIGTERM in the midst of a batch: what has begun is finished and given on, so that nobody does it again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import func, insert, select

from cityloop_common import outbox
from cityloop_common.cache import open_cache
from cityloop_common.clock import SystemClock
from cityloop_common.consuming import Consumer, On, run_consumer
from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.endings import to_its_end
from cityloop_common.envelope import Event, EventType, Kind
from cityloop_common.errors import Unavailable
from cityloop_common.eventlog import LogUnavailable, Message, Retention, Subscription, TopicSpec
from cityloop_common.eventlog.port import EventLog
from cityloop_common.fanout import Change, Fanout
from cityloop_common.parts import Groups
from cityloop_common.relay import run_relay
from cityloop_common.service import installed_services
from tests.contract.kit_support import close_ctx, effect, opened_ctx
from tests.support import PATIENCE_S, wait_until

TOPIC = "kit.thing"


class Thing(BaseModel):
    """A body."""

    n: int


THING = EventType("kit.thing.happened.v1", TOPIC, Kind.FACT, Thing)


@dataclass
class SlowLog:
    """A log that takes a batch at once and answers when it is let go."""

    real: EventLog
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        outcomes = await self.real.send(messages)
        self.taken.set()
        await self.go.wait()
        return outcomes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@dataclass
class Nowhere:
    """A log that lacks what is asked for."""

    real: EventLog

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        raise LogUnavailable(f"{group}: {topics} do not exist")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


async def write(ctx: Ctx[Any], most: int) -> None:
    """One unit with so many events."""
    times = datetime.now(UTC)
    async with ctx.db.write() as tx:
        events = [THING.event(Thing(n=n), id=ctx.ids.new(), key=str(n), sequence=1, time=times, source=ctx.source) for n in range(most)]
        await outbox.append_many(tx, events)


async def stopped(task: asyncio.Task[None]) -> None:
    """Asks a loop to end, as SIGTERM does; it must have ended within seconds."""
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=PATIENCE_S / 2)
    assert done
    assert task.cancelled()


async def test_a_batch_that_the_log_has_is_marked_before_the_relay_goes(url: str, tmp_path: Path) -> None:
    """The next relay sends nothing again; what the stopped one had not begun it leaves to the next."""
    ctx = await opened_ctx(url, tmp_path)
    await ctx.log.create_topics([TopicSpec(TOPIC, Retention.DELETE)])
    slow = SlowLog(ctx.log)
    object.__setattr__(ctx, "log", slow)
    await write(ctx, 1_200)  # more than two batches
    loop = asyncio.get_running_loop()
    first = loop.create_task(run_relay(ctx, "first"))
    await asyncio.wait_for(slow.taken.wait(), PATIENCE_S)
    first.cancel()
    await asyncio.sleep(0.05)
    assert not first.done(), "the batch in hand was cut"
    slow.go.set()
    await asyncio.wait([first], timeout=PATIENCE_S)
    assert first.cancelled()
    async with ctx.db.read() as tx:
        left, _ = await outbox.backlog(tx)
    sent = len([record async for record in ctx.log.read([TOPIC], from_start=True, follow=False)])
    assert (sent, left) == (500, 700)
    second = loop.create_task(run_relay(ctx, "second"))

    async def all_sent() -> bool:
        async with ctx.db.read() as tx:
            return (await outbox.backlog(tx))[0] == 0

    await wait_until(all_sent)
    await stopped(second)
    ids = [record.headers["ce_id"] async for record in ctx.log.read([TOPIC], from_start=True, follow=False)]
    assert (len(ids), len(set(ids))) == (1_200, 1_200)
    await close_ctx(ctx)


async def test_a_chunk_in_hand_is_stored_and_committed_before_the_consumer_goes(kit_ctx: Ctx[Any]) -> None:
    """The next member of the group finds nothing to take again."""
    await kit_ctx.log.create_topics([TopicSpec(TOPIC, Retention.DELETE)])
    seen: list[str] = []
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(tx: WriteTx, _ctx: Ctx[Any], event: Event, body: Thing) -> None:
        seen.append(event.id)
        begun.set()
        await go.wait()
        await tx.run(insert(effect).values(id=event.id, n=body.n, recorded_at=tx.recorded_at))

    consumer = Consumer("kit-stop", [On(THING.name, TOPIC, Kind.FACT, Thing, slow)])
    message = THING.event(Thing(n=1), id=kit_ctx.ids.new(), key="1", sequence=1, time=datetime.now(UTC), source="/test")
    async with kit_ctx.db.write() as tx:
        await outbox.append(tx, message)
    loop = asyncio.get_running_loop()
    relay = loop.create_task(run_relay(kit_ctx, "relay"))
    first = loop.create_task(run_consumer(kit_ctx, consumer))
    await asyncio.wait_for(begun.wait(), PATIENCE_S)
    first.cancel()
    await asyncio.sleep(0.05)
    assert not first.done(), "the chunk in hand was cut"
    go.set()
    await asyncio.wait([first], timeout=PATIENCE_S)
    assert first.cancelled()
    async with kit_ctx.db.read() as seen_later:
        assert await seen_later.scalar(select(func.count()).select_from(effect)) == 1
    lag = {info.name: dict(info.lag_records) for info in await kit_ctx.log.describe()}
    assert lag[TOPIC]["kit-stop"] == 0
    await stopped(relay)
    assert seen == [message.id]


async def test_a_worker_is_ready_when_it_is_in_its_groups(kit_ctx: Ctx[Any]) -> None:
    """Not before the last of them; a rolling restart may stop the next worker then."""
    service = next(each for each in installed_services() if each.name == "parking")
    groups = Groups(service)
    for each in installed_services():
        await kit_ctx.log.create_topics(each.topics())
    loop = asyncio.get_running_loop()
    tasks = []
    for consumer in service.consumers:
        with pytest.raises(Unavailable, match=consumer.name):
            await groups.check()
        joined = asyncio.Event()

        def note(name: str = consumer.name, joined: asyncio.Event = joined) -> None:
            groups.note(name)
            joined.set()

        tasks.append(loop.create_task(run_consumer(kit_ctx, consumer, note)))
        await asyncio.wait_for(joined.wait(), PATIENCE_S)
    await groups.check()
    for task in tasks:
        await stopped(task)


async def test_a_neighbour_that_is_not_there_makes_no_worker_unready(kit_ctx: Ctx[Any]) -> None:
    """A group that cannot be joined is tried again and again, but it holds up no deployment."""
    service = next(each for each in installed_services() if each.name == "waste")
    groups, tried = Groups(service), asyncio.Event()

    def note() -> None:
        groups.note(service.consumers[0].name)
        tried.set()

    object.__setattr__(kit_ctx, "log", Nowhere(kit_ctx.log))
    task = asyncio.get_running_loop().create_task(run_consumer(kit_ctx, service.consumers[0], note))
    await asyncio.wait_for(tried.wait(), PATIENCE_S)
    await groups.check()
    await stopped(task)


async def test_what_is_queued_for_the_replicas_goes_out_at_the_end() -> None:
    """A change offered by a unit that committed after the publisher had stopped is in the stream all the same."""
    clock = SystemClock()
    cache = open_cache("memory:", clock=clock)
    fanout = Fanout(cache, "kit", clock=clock)
    await fanout.publish([Change("thing", "first", 1, b"{}")])
    position = await cache.tail("kit:changes")
    assert position is not None
    publisher = asyncio.get_running_loop().create_task(fanout.run_publisher())
    await asyncio.sleep(0)
    await stopped(publisher)
    fanout.offer(*(Change("thing", str(n), n, b"{}") for n in range(450)))
    await fanout.flush()
    found = await fanout.since(position)
    assert [entry.change.key for entry in found or ()] == [str(n) for n in range(450)]
    await cache.close()


@pytest.mark.parametrize("ends", [True, False], ids=["ends in time", "never ends"])
async def test_a_stop_waits_for_the_work_in_hand_but_not_for_ever(ends: bool) -> None:
    """`to_its_end` asks the work to end, lets it, and cuts it when its time is over."""
    loop = asyncio.get_running_loop()
    asked, result = asyncio.Event(), list[str]()

    async def work() -> None:
        try:
            await asked.wait() if ends else await asyncio.Event().wait()
            result.append("whole")
        except asyncio.CancelledError:
            result.append("cut")
            raise

    async def run() -> None:
        await to_its_end(work(), within_s=0.2, asked=asked.set)

    task = loop.create_task(run())
    await asyncio.sleep(0.01)
    await stopped(task)
    assert result == (["whole"] if ends else ["cut"])
