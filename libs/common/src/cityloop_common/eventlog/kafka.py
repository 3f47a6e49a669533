"""The event log on Apache Kafka, through aiokafka 0.14: this module and `kafka_*` beside it alone know aiokafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    NoError,
    RecordListTooLargeError,
    TopicAlreadyExistsError,
    for_code,
)

from cityloop_common.eventlog.kafka_calls import answering, close_consumer, closed_in_time, unhurried
from cityloop_common.eventlog.kafka_group import KafkaSubscription
from cityloop_common.eventlog.kafka_settings import BATCH_BYTES, KafkaSettings, config_of, slices
from cityloop_common.eventlog.murmur import partition_of
from cityloop_common.eventlog.port import (
    LogUnavailable,
    Message,
    Record,
    Rejected,
    Retention,
    TopicInfo,
    TopicSpec,
    admit,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ABANDON_S = 0.5
_READ_AT_ONCE = 500
_READ_WAIT_MS = 500


class KafkaEventLog:
    """Appends with acks=all; a producer that got stuck is left behind and a new one takes its place."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    # --- topics

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        configs = {self._kafka_name(spec.name): config_of(spec) for spec in specs}
        # replica_assignments={}: the only way aiokafka 0.14 lets the broker's own replication factor (-1) count.
        wanted = [NewTopic(self._kafka_name(spec.name), spec.partitions, -1, {}, config_of(spec)) for spec in specs]
        async with self._administering("create topics", 4 * self.settings.timeout_s) as admin:
            answer = await admin.create_topics(wanted)
            there = []
            for name, code, *_ in answer.topic_errors:
                error = for_code(code)
                if error is TopicAlreadyExistsError:
                    there.append(name)
                elif error is not NoError:
                    raise error(name)
            resources = [ConfigResource(ConfigResourceType.TOPIC, name, configs[name]) for name in there]
            for response in await admin.alter_configs(resources) if resources else ():
                for code, text, *_ in response.resources:
                    if code:
                        raise for_code(code)(text)
            while not _all_led(await admin.describe_topics(list(configs)), len(configs)):  # noqa: ASYNC110 - only the brokers know
                await asyncio.sleep(0.05)
            # The controller has taken what was altered; the broker that answers here learns of it a little later.
            altered = {self._kafka_name(spec.name): spec.retention for spec in specs if self._kafka_name(spec.name) in there}
            while altered and await _cleanup_policies(admin, list(altered)) != altered:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.05)

    async def describe(self) -> Sequence[TopicInfo]:
        async with self._administering("describe", 4 * self.settings.timeout_s) as admin:
            names = sorted(name for name in await admin.list_topics() if self._is_ours(name))
            if not names:
                return []
            policies = await _cleanup_policies(admin, names)
            committed = await self._committed(admin)
            partitions = _partitions_of(await admin.describe_topics(names))
            async with self._plain_consumer() as consumer:
                begins = await consumer.beginning_offsets(partitions)
                ends = await consumer.end_offsets(partitions)
        infos = []
        for name in names:
            own = sorted(partition for partition in partitions if partition.topic == name)
            groups = sorted({group for group, partition in committed if partition.topic == name})
            lag = {group: sum(ends[tp] - max(committed.get((group, tp), 0), begins[tp]) for tp in own) for group in groups}
            begin_offsets = {tp.partition: begins[tp] for tp in own}
            end_offsets = {tp.partition: ends[tp] for tp in own}
            infos.append(TopicInfo(self.own_name(name), policies[name], begin_offsets, end_offsets, lag))
        return infos

    async def _committed(self, admin: AIOKafkaAdminClient) -> dict[tuple[str, KafkaPartition], int]:
        groups = sorted(name for name, *_ in await admin.list_consumer_groups() if name.startswith(self.settings.prefix))
        return {
            (self.own_name(group), partition): at.offset
            for group in groups
            for partition, at in (await admin.list_consumer_group_offsets(group)).items()
        }

    async def prune(self) -> int:
        return 0  # the brokers compact and delete by themselves

    async def ping(self) -> None:
        async with self._administering("ping", self.settings.timeout_s) as admin:
            if not (await admin.describe_cluster())["brokers"]:
                raise LogUnavailable("kafka: no broker is up")

    @asynccontextmanager
    async def _administering(self, what: str, within_s: float) -> AsyncIterator[AIOKafkaAdminClient]:
        """The admin client; a new one the next time after any trouble."""
        try:
            async with answering(what, within_s):
                async with self._starting:
                    if self._admin is None:
                        self._admin = await self._new_admin()
                yield self._admin
        except BaseException as error:
            admin, self._admin = self._admin, None
            if admin is not None:
                await closed_in_time(admin.close)
            if isinstance(error, AttributeError):  # aiokafka 0.14 asks a controller that it does not know yet for its id
                raise LogUnavailable(f"kafka: {what}: the controller is not known yet") from error
            raise

    async def _new_admin(self) -> AIOKafkaAdminClient:
        self._refuse_when_closed()
        admin = AIOKafkaAdminClient(bootstrap_servers=list(self.settings.brokers), request_timeout_ms=self._request_ms())
        try:
            await admin.start()
        except BaseException:
            await closed_in_time(admin.close)
            raise
        return admin

    # --- sending

    async def send(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        outcomes = admit(messages)
        stopped: set[tuple[str, bytes]] = set()
        for start, stop in slices(messages):
            due = []
            for index in range(start, stop):
                if (messages[index].topic, messages[index].key) in stopped:
                    outcomes[index] = outcomes[index] or LogUnavailable("an earlier message of this key was not sent")
                elif outcomes[index] is None:
                    due.append(index)
            for index, outcome in zip(due, await self._send_slice([messages[index] for index in due]), strict=True):
                outcomes[index] = outcome
                if outcome is not None:
                    stopped.add((messages[index].topic, messages[index].key))
        return outcomes

    async def _send_slice(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        futures: list[asyncio.Future[object] | Exception] = []
        try:
            async with answering("send", self.settings.timeout_s):
                producer = await self._started_producer()
                layout = {topic: await self._partitions(producer, topic) for topic in dict.fromkeys(m.topic for m in messages)}
                for message in messages:  # one by one: what is queued already keeps its outcome when the deadline passes
                    futures.append(await self._enqueue(producer, message, layout[message.topic]))  # noqa: PERF401
                for future in futures:
                    if isinstance(future, asyncio.Future):
                        with suppress(KafkaError):
                            await future
        except LogUnavailable as unavailable:
            await self._abandon_producer()
            return [_outcome(future) if _settled(future) else unavailable for future in futures] + [unavailable] * (
                len(messages) - len(futures)
            )
        finally:
            for future in futures:
                if isinstance(future, asyncio.Future):
                    future.cancel()
        return [_outcome(future) for future in futures]

    async def _enqueue(self, producer: AIOKafkaProducer, message: Message, partitions: int) -> asyncio.Future[object] | Exception:
        if not partitions:
            return LogUnavailable(f"topic {message.topic} does not exist")
        future: asyncio.Future[object] = await producer.send(
            self._kafka_name(message.topic),
            message.value,
            key=message.key,
            partition=partition_of(message.key, partitions),
            headers=list(message.headers),
        )
        return future

    async def _partitions(self, producer: AIOKafkaProducer, topic: str) -> int:
        """How many partitions a topic has; 0 when the brokers do not know it."""
        name = self._kafka_name(topic)
        known = producer.client.cluster.partitions_for_topic(name)
        if known is None:
            await producer.client.add_topic(name)
            await producer.client.force_metadata_update()
            known = producer.client.cluster.partitions_for_topic(name)
        return len(known or ())

    async def _started_producer(self) -> AIOKafkaProducer:
        async with self._starting:
            self._refuse_when_closed()
            if self._producer is None:
                # acks=all and no idempotence: an idempotent producer never gives up when the broker is gone (aiokafka #1101).
                producer = AIOKafkaProducer(
                    bootstrap_servers=list(self.settings.brokers),
                    acks="all",
                    linger_ms=0,
                    max_batch_size=BATCH_BYTES,
                    request_timeout_ms=self._request_ms(),
                )
                unhurried(producer.client)
                try:
                    await producer.start()
                except BaseException:
                    await closed_in_time(producer.stop)
                    raise
                self._producer = producer
            return self._producer

    async def _abandon_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            # Fails what waits in its buffers, so that nothing is sent behind our back while it stops.
            producer._message_accumulator.fail_all(KafkaError("abandoned"))
            await closed_in_time(producer.stop, _ABANDON_S)
            await closed_in_time(producer.client.close, _ABANDON_S)

    # --- receiving

    async def subscribe(self, group: str, topics: Sequence[str]) -> KafkaSubscription:
        subscription = KafkaSubscription(self, group, topics)
        await subscription.join()
        return subscription

    async def read(self, topics: Sequence[str], *, from_start: bool, follow: bool) -> AsyncGenerator[Record, None]:
        async with self._administering("read", self.settings.timeout_s) as admin:
            partitions = _partitions_of(await admin.describe_topics([self._kafka_name(topic) for topic in topics]))
        if not partitions:
            return
        async with self._plain_consumer() as consumer:
            async with answering("read", 2 * self.settings.timeout_s):
                consumer.assign(partitions)
                ends: dict[KafkaPartition, int] = await consumer.end_offsets(partitions)
                starts = await consumer.beginning_offsets(partitions) if from_start else ends
                for partition in partitions:
                    consumer.seek(partition, starts[partition])
            empty_handed = 0
            while follow or await self._behind(consumer, ends):
                async with answering("read", 2 * self.settings.timeout_s):
                    polled = await consumer.getmany(timeout_ms=_READ_WAIT_MS, max_records=_READ_AT_ONCE)
                empty_handed = 0 if polled or follow else empty_handed + 1
                if empty_handed * _READ_WAIT_MS > self.settings.timeout_s * 1000:
                    raise LogUnavailable("kafka: read: what is there did not come")
                for partition, records in polled.items():
                    for record in records:
                        if follow or record.offset < ends[partition]:
                            yield self.record_of(record)

    async def _behind(self, consumer: AIOKafkaConsumer, ends: Mapping[KafkaPartition, int]) -> bool:
        """Whether a partition is not read to its end; the position also passes what compaction has emptied."""
        async with answering("read", self.settings.timeout_s):
            for partition, end in ends.items():
                if await consumer.position(partition) < end:
                    return True
        return False

    @asynccontextmanager
    async def _plain_consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer without a group."""
        self._refuse_when_closed()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=list(self.settings.brokers),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=self._request_ms(),
        )
        try:
            async with answering("connect", self.settings.timeout_s):
                await consumer.start()
            yield consumer
        finally:
            await close_consumer(consumer)

    async def close(self) -> None:
        self._closed = True
        admin, self._admin = self._admin, None
        if admin is not None:
            await closed_in_time(admin.close)
        producer, self._producer = self._producer, None
        if producer is not None:
            await closed_in_time(producer.stop)
            await closed_in_time(producer.client.close)

    # --- what both sides use

    def record_of(self, record: ConsumerRecord) -> Record:
        appended_at = _EPOCH + timedelta(milliseconds=record.timestamp)
        topic = self.own_name(record.topic)
        return Record(topic, record.partition, record.offset, record.key, record.value, dict(record.headers), appended_at)

    def _kafka_name(self, name: str) -> str:
        return self.settings.prefix + name

    def own_name(self, name: str) -> str:
        return name.removeprefix(self.settings.prefix)

    def _is_ours(self, name: str) -> bool:
        return name.startswith(self.settings.prefix) and not name.startswith("__")

    def _request_ms(self) -> int:
        return int(self.settings.timeout_s * 800)  # below the call's own deadline, so that aiokafka tells what went wrong

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise LogUnavailable("the event log is closed")


def _settled(future: asyncio.Future[object] | Exception) -> bool:
    return not isinstance(future, asyncio.Future) or (future.done() and not future.cancelled())


def _outcome(future: asyncio.Future[object] | Exception) -> Exception | None:
    if not isinstance(future, asyncio.Future):
        return future
    error = future.exception()
    if error is None:
        return None
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return Rejected(str(error))
    return LogUnavailable(f"kafka: send: {error!r}")


async def _cleanup_policies(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, Retention]:
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name, {"cleanup.policy": ""}) for name in names]
    policies = {}
    for response in await admin.describe_configs(wanted):
        for code, text, _, name, entries in response.resources:
            if code:
                raise for_code(code)(text)
            value = next((entry[1] for entry in entries if entry[0] == "cleanup.policy"), "delete")
            policies[name] = Retention.COMPACT if "compact" in value else Retention.DELETE
    return policies


def _partitions_of(topics: Sequence[Mapping[str, Any]]) -> list[KafkaPartition]:
    return [
        KafkaPartition(topic["topic"], part["partition"]) for topic in topics if not topic["error_code"] for part in topic["partitions"]
    ]


def _all_led(topics: Sequence[Mapping[str, Any]], count: int) -> bool:
    return len(topics) == count and all(
        not topic["error_code"] and topic["partitions"] and all(part["leader"] >= 0 for part in topic["partitions"]) for topic in topics
    )
