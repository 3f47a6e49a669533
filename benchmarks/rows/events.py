"""Row c: from the outbox through real Kafka to a handler's commit, beside raw aiokafka producing and consuming."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic import BaseModel
from sqlalchemy import MetaData

from benchmarks.report import Measured
from benchmarks.servers import fresh_database, servers
from cityloop_common import outbox
from cityloop_common.consuming import Consumer, On, run_consumer
from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event, EventType, Kind
from cityloop_common.eventlog import Retention, TopicSpec
from cityloop_common.migrating import migrate
from cityloop_common.parts import build_ctx, close_ports, open_ports
from cityloop_common.relay import run_relay
from cityloop_common.runtime import spare_collector
from cityloop_common.service import Service
from cityloop_common.settings import ServiceSettings, SharedSettings, service_config

EVENTS = 20_000
WRITE_BATCH = 500
PACED_PER_S = 300
PACED_FOR_S = 8
PAD = "x" * 200
MARKER = -1.0


class BenchSettings(ServiceSettings):
    """Settings of the measured service."""

    model_config = service_config("bench")


class Thing(BaseModel):
    """A body of about 300 bytes."""

    at: float
    pad: str


THING = EventType("bench.thing.happened.v1", "bench.thing", Kind.FACT, Thing)
SERVICE = Service("bench", "bench", BenchSettings, MetaData(), "cityloop_parking.migrations", [THING], [])


async def measure(rounds: int) -> list[Measured]:
    """Throughput of a backlog, and delay at a steady 300 events a second, ours and raw Kafka's in turns."""
    spare_collector()  # as every process that serves; the baseline runs in this process too
    ours: list[float] = []
    raw: list[float] = []
    our_p50, our_p99, raw_p50, raw_p99 = [], [], [], []
    for _ in range(rounds):
        async with _bench() as (ctx, kafka, prefix):
            ours.append(await _backlog(ctx))
            raw.append(await _raw_backlog(kafka, f"{prefix}raw"))
        async with _bench() as (ctx, kafka, prefix):
            delays = await _paced(ctx)
            our_p50.append(quantiles(delays, n=100)[49])
            our_p99.append(quantiles(delays, n=100)[98])
            delays = await _raw_paced(kafka, f"{prefix}raw")
            raw_p50.append(quantiles(delays, n=100)[49])
            raw_p99.append(quantiles(delays, n=100)[98])
    sizes = "relay batch 500, handler chunk ≤ 500 a commit; raw: 500 sent at a time, polls ≤ 1,000"
    through = f"PostgreSQL (fsync on) on our side, Kafka acks=all, {EVENTS:,} events of 300 B, {sizes}; one process, one thread each side"
    paced = f"the same, {PACED_PER_S} events/s, one a transaction"
    what = "outbox to handler's commit against raw aiokafka"
    return [
        Measured("c1", f"{what}: throughput", through, ours, raw, "events/s", 0.2, 0.5, "raw: linger 0, acks=all, no database"),
        Measured("c2", f"{what}: p50 delay", paced, our_p50, raw_p50, "ms", None, None, _aim(our_p50, 10)),
        Measured("c3", f"{what}: p99 delay", paced, our_p99, raw_p99, "ms", None, None, _aim(our_p99, 50)),
    ]


def _aim(ours_ms: list[float], most_ms: int) -> str:
    return f"lower is better; aim at most {most_ms} ms: {'reached' if median(ours_ms) <= most_ms else 'missed'}"


@asynccontextmanager
async def _bench() -> AsyncIterator[tuple[Ctx[Any], str, str]]:
    import os

    stack_servers = servers()
    prefix = f"bench{uuid.uuid4().hex[:8]}."
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        os.environ["CITYLOOP_BENCH_DATABASE_URL"] = await stack.enter_async_context(fresh_database())
        shared = SharedSettings(var=Path(folder), event_log_url=f"{stack_servers.kafka_url}?prefix={prefix}")
        ports = open_ports(shared)
        stack.push_async_callback(close_ports, ports)
        ctx = build_ctx(SERVICE, shared, ports)
        stack.push_async_callback(ctx.db.close)
        await migrate(ctx.db, SERVICE.migrations, SERVICE.metadata)
        more = [TopicSpec(name, Retention.DELETE) for name in ("bench.thing.dlq", "raw")]
        await ctx.log.create_topics([*SERVICE.topics(), *more])
        await asyncio.sleep(1)  # a broker that is busy needs a moment until it leads what it has just made
        yield ctx, urlsplit(stack_servers.kafka_url).netloc, prefix


def _event(ctx: Ctx[Any], number: int, at: float) -> Event:
    body = Thing(at=at, pad=PAD)
    return THING.event(body, id=ctx.ids.new(), key=f"k{number % 997}", sequence=number, time=datetime.now(UTC), source=ctx.source)


class _Seen:
    """Counts what the handler's commits stored, and when, once the marker has come."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.delays_ms: list[float] = []
        self.ready = asyncio.Event()
        self.all = asyncio.Event()

    async def handle(self, tx: WriteTx, _ctx: Ctx[Any], _event: Event, body: Thing) -> None:
        tx.after_commit(lambda: self._stored(body.at))

    def _stored(self, at: float) -> None:
        if at == MARKER:
            self.ready.set()
        elif self.ready.is_set():
            self.delays_ms.append((time.perf_counter() - at) * 1000)
            if len(self.delays_ms) == self.wanted:
                self.all.set()


def _consumer(name: str, seen: _Seen) -> Consumer:
    return Consumer(name, [On(THING.name, THING.topic, Kind.FACT, Thing, seen.handle)])


async def _backlog(ctx: Ctx[Any]) -> float:
    """From the relay's start to the commit of the last event; the member has joined before, as raw Kafka's has."""
    async with _consuming(ctx, "bench-backlog", first=EVENTS, wanted=EVENTS) as seen:
        for start in range(0, EVENTS, WRITE_BATCH):
            async with ctx.db.write() as tx:
                await outbox.append_many(tx, [_event(ctx, start + i, 0.0) for i in range(WRITE_BATCH)])
        started = time.perf_counter()
        async with _running(run_relay(ctx, "bench")):
            await asyncio.wait_for(seen.all.wait(), 120)
        return EVENTS / (time.perf_counter() - started)


async def _paced(ctx: Ctx[Any]) -> Sequence[float]:
    """From just before an event's own transaction to the handler's commit."""
    count = PACED_PER_S * PACED_FOR_S

    async def write(number: int) -> None:
        async with ctx.db.write() as tx:
            await outbox.append(tx, _event(ctx, number, time.perf_counter()))

    async with _consuming(ctx, "bench-paced", first=2 * EVENTS, wanted=count) as seen, _running(run_relay(ctx, "bench")):
        await asyncio.sleep(0.5)
        async with asyncio.TaskGroup() as group:
            started = time.perf_counter()
            for turn in range(count):
                await asyncio.sleep(max(0.0, started + turn / PACED_PER_S - time.perf_counter()))
                group.create_task(write(3 * EVENTS + turn))
        await asyncio.wait_for(seen.all.wait(), 60)
    return seen.delays_ms


@asynccontextmanager
async def _consuming(ctx: Ctx[Any], name: str, *, first: int, wanted: int) -> AsyncIterator[_Seen]:
    """A consumer that has joined, has taken its first event, and from now on counts."""
    seen = _Seen(wanted)
    async with _running(run_consumer(ctx, _consumer(name, seen))):
        async with ctx.db.write() as tx:
            await outbox.append(tx, _event(ctx, first, MARKER))
        async with _running(run_relay(ctx, "bench")):
            await asyncio.wait_for(seen.ready.wait(), 120)
        yield seen


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _raw(kafka: str, topic: str) -> AsyncIterator[tuple[AIOKafkaProducer, AIOKafkaConsumer]]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=0)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka, group_id=f"raw-{uuid.uuid4().hex[:6]}", auto_offset_reset="earliest", enable_auto_commit=False
    )
    await producer.start()
    await consumer.start()
    try:
        yield producer, consumer
    finally:
        await producer.stop()
        await consumer.stop()


async def _raw_backlog(kafka: str, topic: str) -> float:
    async with _raw(kafka, topic) as (producer, consumer):
        await producer.send_and_wait(topic, b"warm", key=b"warm")
        await consumer.getmany(timeout_ms=3000)
        started = time.perf_counter()

        async def produce() -> None:
            for start in range(0, EVENTS, WRITE_BATCH):
                sent = [await producer.send(topic, b"x" * 300, key=f"k{(start + i) % 997}".encode()) for i in range(WRITE_BATCH)]
                await asyncio.gather(*sent)

        producing = asyncio.create_task(produce())
        got = 0
        while got < EVENTS:
            found = await consumer.getmany(timeout_ms=200, max_records=1000)
            got += sum(len(records) for records in found.values())
            if found:
                await consumer.commit()
        await producing
        return EVENTS / (time.perf_counter() - started)


async def _raw_paced(kafka: str, topic: str) -> Sequence[float]:
    delays: list[float] = []
    async with _raw(kafka, topic) as (producer, consumer):
        await producer.send_and_wait(topic, b"0", key=b"warm")
        while not await consumer.getmany(timeout_ms=3000):
            pass

        async def produce() -> None:
            async with asyncio.TaskGroup() as group:
                started = time.perf_counter()
                for turn in range(PACED_PER_S * PACED_FOR_S):
                    await asyncio.sleep(max(0.0, started + turn / PACED_PER_S - time.perf_counter()))
                    value = f"{time.perf_counter()!r}".ljust(300).encode()
                    group.create_task(producer.send_and_wait(topic, value, key=f"k{turn % 997}".encode()))

        producing = asyncio.create_task(produce())
        while len(delays) < PACED_PER_S * PACED_FOR_S:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                now = time.perf_counter()
                delays += [(now - float(record.value)) * 1000 for record in records]
        await producing
    return delays
