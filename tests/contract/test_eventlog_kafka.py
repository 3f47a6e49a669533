"""What only the Kafka log can show: brokers that are gone, hang or come back, and their own compaction and retention."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from cityloop_common.clock import SystemClock
from cityloop_common.eventlog import EventLog, Fenced, LogUnavailable, Message, Record, Retention, Subscription, TopicSpec, open_event_log
from cityloop_common.eventlog.kafka_group import KafkaSubscription
from tests.contract.eventlog_support import FACTS, STATES, message, messages, send_all, take, values
from tests.support import PATIENCE_S, REPOSITORY, Servers, free_port, wait_until

STACK = REPOSITORY / "deploy" / "native" / "stack"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[EventLog]:
    log = open_event_log(url, clock=SystemClock())
    try:
        yield log
    finally:
        await log.close()


async def test_an_absent_broker_is_told_within_the_deadline() -> None:
    """Each message has LogUnavailable as its outcome; every other call raises it; nothing hangs."""
    async with asyncio.timeout(PATIENCE_S), opened(f"kafka://127.0.0.1:{free_port()}?timeout_s=1") as log:
        assert [type(outcome) for outcome in await log.send(messages(3))] == [LogUnavailable] * 3
        for call in (log.ping(), log.describe(), log.create_topics([FACTS]), log.subscribe("g", ["facts"])):
            with pytest.raises(LogUnavailable):
                await call
        async with aclosing(log.read(["facts"], from_start=True, follow=False)) as records:
            with pytest.raises(LogUnavailable):
                await anext(records)


@pytest.mark.parametrize("option", ["prefx=a", "timeout_s=soon"])
def test_a_wrong_option_in_the_address_is_refused(option: str) -> None:
    """A spelling mistake is told at start, not ignored."""
    with pytest.raises(ValueError, match=r"prefx|soon"):
        open_event_log(f"kafka://127.0.0.1:9092?{option}", clock=SystemClock())


async def configure(kafka_url: str, topic: str, **settings: str) -> None:
    """Sets a topic's own settings at the broker, so that it rolls and cleans at once."""
    admin = AIOKafkaAdminClient(bootstrap_servers=urlsplit(kafka_url).netloc)
    await admin.start()
    try:
        named = {name.replace("_", "."): value for name, value in settings.items()}
        (response,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])
        assert [code for code, *_ in response.resources] == [0]
    finally:
        await admin.close()


async def drain(log: EventLog, topic: str) -> list[Record]:
    async with aclosing(log.read([topic], from_start=True, follow=False)) as records:
        return [record async for record in records]


@pytest.mark.stack
@pytest.mark.slow
async def test_the_broker_compacts_and_expires_what_the_topics_say(stack: Servers, fresh_topic_prefix: str) -> None:
    """A compacted topic keeps the last record of a key; a topic of facts loses what is older than it keeps."""
    async with opened(f"{stack.kafka_url}?prefix={fresh_topic_prefix}") as log:
        brief = timedelta(seconds=1)
        await log.create_topics([TopicSpec("s", Retention.COMPACT, partitions=1), TopicSpec("f", Retention.DELETE, brief, partitions=1)])
        at_once = {"segment_ms": "100", "min_cleanable_dirty_ratio": "0.01", "cleanup_policy": "compact"}
        await configure(stack.kafka_url, f"{fresh_topic_prefix}s", **at_once)
        await send_all(log, messages(50, keys=3, topic="s") + messages(50, topic="f"))

        async def compacted() -> bool:
            await send_all(log, [message("roll", "x", "s")])  # a new record closes the open segment
            return sorted(value for value in values(await drain(log, "s")) if value != "x") == ["v47", "v48", "v49"]

        async def expired() -> bool:
            (info,) = [topic for topic in await log.describe() if topic.name == "f"]
            return info.begin_offsets == info.end_offsets == {0: 50}

        await wait_until(compacted, 60, every=0.5)
        await wait_until(expired, 60, every=0.5)
        assert await drain(log, "f") == []


@pytest.mark.stack
async def test_whoever_leaves_while_a_fetch_rests_is_not_told_to_stop(stack: Servers, fresh_topic_prefix: str) -> None:
    """aiokafka breaks such a fetch off and lets its cancellation out of stop(): the member has left, and the group can be joined again."""
    async with opened(f"{stack.kafka_url}?prefix={fresh_topic_prefix}") as log:
        await log.create_topics([FACTS])
        await send_all(log, messages(5))
        for _ in range(2):
            member = await log.subscribe("g", ["facts"])
            assert isinstance(member, KafkaSubscription)
            assert len(await take(member, 5)) == 5
            consumer = await member.join()
            assert consumer._fetcher is not None
            rests = asyncio.create_task(asyncio.sleep(3600))  # as after each failed fetch
            consumer._fetcher._pending_tasks.add(rests)
            await member.close()
            assert rests.cancelled()
            assert consumer._client._conns == {} or all(not each.connected() for each in consumer._client._conns.values())


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker of this test's own, which it may stop and kill."""

    folder: Path
    port: int

    async def tell(self, command: str) -> None:
        env = {**os.environ, "CITYLOOP_STACK_DIR": str(self.folder), "CITYLOOP_STACK_KAFKA_PORT": str(self.port)}
        process = await asyncio.create_subprocess_exec(STACK, command, "kafka", env=env, stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0

    def signal(self, sign: signal.Signals) -> None:
        os.kill(int((self.folder / "kafka" / "pid").read_text()), sign)


@pytest.fixture
async def broker(stack: Servers, tmp_path: Path) -> AsyncIterator[Broker]:
    # Below the range of ephemeral ports: a client that knocks at a closed port in that range can end up connected to itself.
    broker = Broker(tmp_path, 30_000 + 2 * (os.getpid() % 1_300))
    await broker.tell("start")
    yield broker
    await broker.tell("kill")


class Traffic:
    """Sends numbered messages of five keys and consumes them, through all that happens."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.running = True
        self.next = 0
        self.acknowledged: set[int] = set()
        self.seen: dict[bytes | None, list[int]] = defaultdict(list)

    async def send(self) -> None:
        while self.running:
            numbers = range(self.next, self.next + 10)
            self.next += 10
            outcomes = await self._log.send([Message("facts", b"k%d" % (number % 5), b"%d" % number) for number in numbers])
            assert {type(outcome) for outcome in outcomes} <= {type(None), LogUnavailable}
            self.acknowledged |= {number for number, outcome in zip(numbers, outcomes, strict=True) if outcome is None}
            await asyncio.sleep(0.02)

    async def consume(self) -> None:
        member: Subscription | None = None
        try:
            while True:
                try:
                    member = member or await self._log.subscribe("g", ["facts"])
                    await self._take_from(member)
                except (Fenced, LogUnavailable):
                    if member is not None:  # what was polled and not taken comes again
                        await member.rewind()
                    await asyncio.sleep(0.1)
        finally:
            if member is not None:
                await member.close()

    async def _take_from(self, member: Subscription) -> None:
        polled = await member.poll(max_records=100, timeout_s=0.5)
        for name, records in polled.items():
            for record in records:
                self.seen[record.key].append(int(record.value or b""))
            await member.commit({name: records[-1].offset + 1})

    def missing(self) -> set[int]:
        return self.acknowledged - {number for numbers in self.seen.values() for number in numbers}

    async def flows_again(self) -> None:
        """What is acknowledged from now on is also seen."""
        mark = max(self.acknowledged, default=-1)
        await wait_until(lambda: max(self.acknowledged, default=-1) > mark, what="sending again")
        reached = max(self.acknowledged)
        await wait_until(lambda: any(numbers and max(numbers) >= reached for numbers in self.seen.values()), what="consuming again")


@pytest.mark.faults
@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_broker_that_is_killed_stopped_or_hangs_costs_time_and_no_record(broker: Broker) -> None:
    """Nothing acknowledged is lost, each key's first sightings keep their order, and all flows again within seconds."""
    async with opened(f"kafka://127.0.0.1:{broker.port}?timeout_s=2") as log:
        await log.create_topics([FACTS, STATES])
        traffic = Traffic(log)
        async with asyncio.timeout(280), asyncio.TaskGroup() as tasks:
            sending, consuming = tasks.create_task(traffic.send()), tasks.create_task(traffic.consume())
            await traffic.flows_again()
            await broker.tell("kill")
            await broker.tell("start")
            await traffic.flows_again()
            await broker.tell("stop")
            assert [type(outcome) for outcome in await log.send([message("k", "v", "states")])] == [LogUnavailable]
            await broker.tell("start")
            await traffic.flows_again()
            broker.signal(signal.SIGSTOP)
            assert [type(outcome) for outcome in await log.send([message("k", "v", "states")])] == [LogUnavailable]
            broker.signal(signal.SIGCONT)
            await traffic.flows_again()
            traffic.running = False
            await sending
            await wait_until(lambda: not traffic.missing(), what="all that was acknowledged is seen")
            consuming.cancel()
    for key, numbers in traffic.seen.items():
        sent = [number for number in dict.fromkeys(numbers) if number in traffic.acknowledged]
        assert sent == sorted(sent), key


@pytest.mark.stack
async def test_two_prefixes_do_not_see_each_other(stack: Servers, fresh_topic_prefix: str) -> None:
    """A prefix separates topics and groups, and is nowhere to be seen in answers."""
    url = f"{stack.kafka_url}?prefix={fresh_topic_prefix}"
    async with opened(f"{url}one.") as one, opened(f"{url}two.") as two:
        for log, value in ((one, "1"), (two, "2")):
            await log.create_topics([FACTS])
            await send_all(log, [message("k", value)])
        for log, value in ((one, "1"), (two, "2")):
            member = await log.subscribe("g", ["facts"])
            try:
                assert [(record.topic, record.value) for record in await take(member, 1)] == [("facts", value.encode())]
                assert [topic.name for topic in await log.describe()] == ["facts"]
            finally:
                await member.close()
