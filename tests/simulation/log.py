"""The event log in memory with Kafka's nouns and Kafka's troubles, behind the kit's port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

from cityloop_common.eventlog.murmur import partition_of
from cityloop_common.eventlog.port import (
    Fenced,
    LogUnavailable,
    Message,
    Record,
    Retention,
    TopicInfo,
    TopicPartition,
    TopicSpec,
    admit,
)
from tests.simulation.node import Node
from tests.simulation.world import World

SESSION_TIMEOUT_S = 8.0
FOLLOW_EVERY_S = 1.0


@dataclass(slots=True)
class Partition:
    """Kept records, all that there ever were, and the next offset."""

    records: list[Record] = field(default_factory=list)
    history: list[Record] = field(default_factory=list)
    end: int = 0

    @property
    def begin(self) -> int:
        return self.records[0].offset if self.records else self.end


@dataclass(slots=True)
class Topic:
    spec: TopicSpec
    partitions: list[Partition]


@dataclass(slots=True)
class Trouble:
    """What the broker does wrong just now; shares are of sends."""

    down: bool = False
    refused: float = 0.0
    unacknowledged: float = 0.0


class Broker:
    """The one log of the world: topics, committed offsets, group members."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.topics: dict[str, Topic] = {}
        self.committed: dict[tuple[str, TopicPartition], int] = {}
        self.members: dict[str, list[SimSubscription]] = {}
        self.trouble = Trouble()
        self.rng = world.stream("broker")

    def all_partitions(self, names: Sequence[str]) -> list[TopicPartition]:
        """Every partition of those topics that exist."""
        return [TopicPartition(name, n) for name in names if name in self.topics for n in range(len(self.topics[name].partitions))]

    def partition(self, at: TopicPartition) -> Partition:
        return self.topics[at.topic].partitions[at.partition]

    def create(self, specs: Sequence[TopicSpec]) -> None:
        for spec in specs:
            known = self.topics.get(spec.name)
            if known is None:
                self.topics[spec.name] = Topic(spec, [Partition() for _ in range(spec.partitions)])
            else:
                known.spec = spec
        for group in self.members:
            self.rebalance(group)

    def append(self, message: Message) -> None:
        topic = self.topics[message.topic]
        at = TopicPartition(message.topic, partition_of(message.key, len(topic.partitions)))
        partition = topic.partitions[at.partition]
        record = Record(*at, partition.end, message.key, message.value, dict(message.headers), self.world.now())
        partition.records.append(record)
        partition.history.append(record)
        partition.end += 1
        for members in self.members.values():
            for member in members:
                if at in member.positions:
                    member.woken.set()

    def join(self, member: SimSubscription) -> None:
        self.members.setdefault(member.group, []).append(member)
        member.node.on_death(lambda: self._outlive(member))
        self.rebalance(member.group)

    def _outlive(self, member: SimSubscription) -> None:
        """A dead member holds its partitions until its session times out."""
        self.world.loop.call_later(SESSION_TIMEOUT_S, self.leave, member, context=self.world.outside)

    def leave(self, member: SimSubscription) -> None:
        if member in self.members.get(member.group, []):
            self.members[member.group].remove(member)
            self.rebalance(member.group)

    def rebalance(self, group: str) -> None:
        """Deals the partitions anew; every member starts from what is committed."""
        members = self.members[group]
        for place, member in enumerate(members):
            mine = self.all_partitions(member.topics)[place :: len(members)]
            member.assign(mine)
        self.world.note("broker", f"rebalances {group} over {len(members)}")

    def rewind(self, group: str, records: int) -> None:
        """Loses the last commits of a group: that many records of each partition come again."""
        for key, offset in self.committed.items():
            if key[0] == group:
                self.committed[key] = max(0, offset - records)
        if group in self.members:
            self.rebalance(group)

    def lag(self, group: str) -> int:
        """Records that a group has not committed, over the topics of its members."""
        topics = [topic for member in self.members.get(group, [])[:1] for topic in member.topics]
        return sum(self.partition(at).end - self.committed.get((group, at), 0) for at in self.all_partitions(topics))

    def compact(self) -> int:
        """Keeps the last record of each key in compacted topics; offsets keep their gaps."""
        removed = 0
        for topic in self.topics.values():
            for partition in topic.partitions if topic.spec.retention is Retention.COMPACT else ():
                last = {record.key: record.offset for record in partition.records}
                kept = [record for record in partition.records if last[record.key] == record.offset]
                removed += len(partition.records) - len(kept)
                partition.records = kept
        return removed

    def accepts(self) -> Exception | None:
        """Draws whether a send is refused before anything is written."""
        if self.trouble.down or self.rng.random() < self.trouble.refused:
            return LogUnavailable("refused")
        return None

    def acknowledges(self) -> Exception | None:
        """Draws whether the acknowledgement of a written record is lost."""
        return LogUnavailable("no acknowledgement") if self.rng.random() < self.trouble.unacknowledged else None


class SimSubscription:
    """One member of a group, on one node."""

    def __init__(self, broker: Broker, node: Node, group: str, topics: Sequence[str]) -> None:
        self.broker, self.node, self.group, self.topics = broker, node, group, topics
        self.positions: dict[TopicPartition, int] = {}
        self.woken = asyncio.Event()
        self._rng = broker.world.stream(f"poll/{node.label}/{group}")

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        committed = self.broker.committed
        self.positions = {at: committed.get((self.group, at), 0) for at in partitions}
        self.woken.set()

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        await self.node.point()
        end = self.broker.world.loop.now + timeout_s
        while not (polled := self._take(max_records)):
            self.woken.clear()
            left = end - self.broker.world.loop.now
            if left <= 0:
                break
            try:
                async with asyncio.timeout(left):
                    await self.woken.wait()
            except TimeoutError:
                break
        await self.node.point()
        return polled

    def _take(self, max_records: int) -> dict[TopicPartition, Sequence[Record]]:
        """Some of what is there, partitions in any order, each in its own order."""
        if self.broker.trouble.down:
            raise LogUnavailable("down")
        partitions = list(self.positions)
        self._rng.shuffle(partitions)
        room, polled = self._rng.randint(1, max_records), dict[TopicPartition, Sequence[Record]]()
        for at in partitions:
            fresh = [record for record in self.broker.partition(at).records if record.offset >= self.positions[at]][:room]
            if fresh:
                polled[at] = fresh
                self.positions[at] = fresh[-1].offset + 1
                room -= len(fresh)
            if not room:
                break
        return polled

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        await self.node.point()
        if self.broker.trouble.down:
            raise LogUnavailable("down")
        if any(at not in self.positions for at in offsets):
            raise Fenced(f"{self.group} was rebalanced")
        for at, offset in offsets.items():
            self.broker.committed[self.group, at] = offset
        self.broker.world.note(self.node.label, f"commits {self.group} {sorted(offsets.items())}")
        await self.node.point()

    async def rewind(self) -> None:
        self.assign(list(self.positions))

    async def close(self) -> None:
        self.broker.leave(self)


class SimEventLog:
    """The log as one node sees it."""

    def __init__(self, broker: Broker, node: Node) -> None:
        self._broker = broker
        self._node = node

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        await self._reach()
        self._broker.create(specs)

    async def send(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        await self._node.point()
        failed: set[tuple[str, bytes]] = set()
        outcomes: list[Exception | None] = []
        for message, refusal in zip(messages, admit(messages), strict=True):
            stream = (message.topic, message.key)
            held_back = LogUnavailable("an earlier one of this key failed") if stream in failed else refusal
            outcome = held_back or self._send(message)
            if outcome is not None:
                failed.add(stream)
            outcomes.append(outcome)
        self._broker.world.note(
            self._node.label, f"sends {[(m.topic, m.key, str(o or 'ok')) for m, o in zip(messages, outcomes, strict=True)]}"
        )
        await self._node.point()
        return outcomes

    def _send(self, message: Message) -> Exception | None:
        if message.topic not in self._broker.topics:
            return LogUnavailable(f"no topic {message.topic}")
        refusal = self._broker.accepts()
        if refusal is not None:
            return refusal
        self._broker.append(message)
        return self._broker.acknowledges()

    async def subscribe(self, group: str, topics: Sequence[str]) -> SimSubscription:
        await self._reach()
        if missing := [topic for topic in topics if topic not in self._broker.topics]:
            raise LogUnavailable(f"no topic {missing}")
        member = SimSubscription(self._broker, self._node, group, topics)
        self._broker.join(member)
        return member

    async def read(self, topics: Sequence[str], *, from_start: bool, follow: bool) -> AsyncGenerator[Record, None]:
        await self._reach()
        positions = {at: 0 if from_start else self._broker.partition(at).end for at in self._broker.all_partitions(topics)}
        while True:
            for at, position in list(positions.items()):
                for record in list(self._broker.partition(at).records):
                    if record.offset >= position:
                        positions[at] = record.offset + 1
                        yield record
            if not follow:
                return
            await asyncio.sleep(FOLLOW_EVERY_S)

    async def describe(self) -> Sequence[TopicInfo]:
        await self._reach()
        return [self._info(name, topic) for name, topic in self._broker.topics.items()]

    def _info(self, name: str, topic: Topic) -> TopicInfo:
        ends = {n: partition.end for n, partition in enumerate(topic.partitions)}
        lag: dict[str, int] = {}
        for (group, at), offset in self._broker.committed.items():
            if at.topic == name:
                lag[group] = lag.get(group, 0) + ends[at.partition] - offset
        begins = {n: partition.begin for n, partition in enumerate(topic.partitions)}
        return TopicInfo(name, topic.spec.retention, begins, ends, lag)

    async def prune(self) -> int:
        await self._reach()
        return self._broker.compact()

    async def ping(self) -> None:
        await self._reach()

    async def close(self) -> None:
        """Nothing is open."""

    async def _reach(self) -> None:
        await self._node.point()
        if self._broker.trouble.down:
            raise LogUnavailable("down")
