"""One member of a Kafka consumer group, through aiokafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from cityloop_common.eventlog.kafka_calls import answering, close_consumer
from cityloop_common.eventlog.kafka_settings import KafkaSettings
from cityloop_common.eventlog.port import Fenced, LogUnavailable, Record, TopicPartition

_SESSION_MS = 6_000  # who dies while joining is waited for once more: two sessions must fit into the 15 s that a takeover may take
# A join is answered when every member has joined again, which may take a session.
CONSUMER_REQUEST_MS = _SESSION_MS + 4_000
_STUCK_AFTER_POLLS = 6


class Owner(Protocol):
    """What a member uses of its log."""

    @property
    def settings(self) -> KafkaSettings: ...

    def record_of(self, record: ConsumerRecord) -> Record: ...

    def own_name(self, name: str) -> str: ...


class KafkaSubscription:
    """One member of a consumer group. A consumer that failed for good is replaced at the next poll."""

    def __init__(self, log: Owner, group: str, topics: Sequence[str]) -> None:
        self._log = log
        self._group = group
        self._topics = tuple(dict.fromkeys(topics))
        self._consumer: AIOKafkaConsumer | None = None
        self._rewinding = False
        self._unanswered = 0

    async def join(self) -> AIOKafkaConsumer:
        """The started consumer. Raises LogUnavailable."""
        if self._consumer is None:
            settings = self._log.settings
            consumer = AIOKafkaConsumer(
                *(settings.prefix + topic for topic in self._topics),
                bootstrap_servers=list(settings.brokers),
                group_id=settings.prefix + self._group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=_SESSION_MS,
                heartbeat_interval_ms=1_000,
                request_timeout_ms=CONSUMER_REQUEST_MS,
                metadata_max_age_ms=30_000,
            )
            try:
                async with answering(f"join {self._group}", CONSUMER_REQUEST_MS / 1000 + settings.timeout_s):
                    await consumer.start()
            except BaseException:
                await close_consumer(consumer)
                raise
            self._consumer = consumer
        return self._consumer

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        consumer = await self.join()
        try:
            async with answering(f"poll {self._group}", timeout_s + self._log.settings.timeout_s):
                if self._rewinding:
                    await _seek_to_committed(consumer)
                    self._rewinding = False
                polled = await consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except LogUnavailable as error:
            # A time-out is most often a rebalance or a broker that restarts: the consumer finds back by itself, and joining
            # anew would make the group wait for the old member's session.
            self._unanswered += 1
            if not isinstance(error.__cause__, TimeoutError) or self._unanswered >= _STUCK_AFTER_POLLS:
                await self.close()
            raise
        self._unanswered = 0
        return {
            TopicPartition(self._log.own_name(partition.topic), partition.partition): [self._log.record_of(record) for record in records]
            for partition, records in polled.items()
        }

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        prefix = self._log.settings.prefix
        if self._consumer is None:
            raise Fenced(f"{self._group} has left and joins again")
        try:
            async with answering(f"commit {self._group}", self._log.settings.timeout_s):
                await self._consumer.commit({KafkaPartition(prefix + name.topic, name.partition): at for name, at in offsets.items()})
        except LogUnavailable as error:
            if isinstance(error.__cause__, CommitFailedError | IllegalStateError):
                self._rewinding = True
                raise Fenced(f"{self._group} was rebalanced: {error.__cause__}") from error
            raise

    async def rewind(self) -> None:
        self._rewinding = True

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._rewinding, self._unanswered = False, 0  # who joins starts at what is committed
        if consumer is not None:
            await close_consumer(consumer)


async def _seek_to_committed(consumer: AIOKafkaConsumer) -> None:
    for partition in sorted(consumer.assignment()):
        with suppress(IllegalStateError):  # moved meanwhile: its new owner starts at what is committed
            at = await consumer.committed(partition)
            if at is None:
                await consumer.seek_to_beginning(partition)
            else:
                consumer.seek(partition, at)
