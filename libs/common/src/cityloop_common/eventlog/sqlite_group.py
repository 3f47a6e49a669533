"""Consumer groups of the SQLite log: leased members share the partitions; a partition that moved fences its old owner."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from cityloop_common.eventlog.port import Fenced, LogUnavailable, Record, TopicPartition
from cityloop_common.eventlog.sqlite_file import Connection, now_ms

if TYPE_CHECKING:
    from cityloop_common.eventlog.sqlite import Listener, SqliteEventLog

SESSION_MS = 8_000  # as long as the Kafka adapter's session
RENEW_AFTER_MS = 2_000


@dataclass(slots=True)
class _Held:
    """A partition of this member: since which generation, and the next offset to hand out."""

    topic: str
    number: int
    generation: int
    position: int
    begin_offset: int
    next_offset: int


async def rebalance(connection: Connection, group: str, at_ms: int) -> None:
    """Shares the partitions of the group's topics among its living members, moving as few as possible."""
    await connection.execute_fetchall("DELETE FROM member WHERE consumer_group = ? AND expires_ms < ?", (group, at_ms))
    await connection.execute_fetchall(
        "INSERT INTO consumer_group (name, generation) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET generation = generation + 1", (group,)
    )
    ((generation,),) = await connection.execute_fetchall("SELECT generation FROM consumer_group WHERE name = ?", (group,))
    members = await connection.execute_fetchall("SELECT id, topics FROM member WHERE consumer_group = ? ORDER BY id", (group,))
    wants: dict[str, list[int]] = {}
    for member, topics in members:
        for topic in orjson.loads(topics):
            wants.setdefault(topic, []).append(member)
    owners = dict(await connection.execute_fetchall("SELECT part, member FROM assignment WHERE consumer_group = ?", (group,)))
    parts: dict[str, list[int]] = {}
    for topic, part in await connection.execute_fetchall("SELECT topic, id FROM part ORDER BY topic, number"):
        if topic in wants:
            parts.setdefault(topic, []).append(part)
    shared = share(parts, wants, owners)
    gone = [(group, part) for part in owners if part not in shared]
    moved = [(group, part, member, generation) for part, member in shared.items() if owners.get(part) != member]
    await connection.executemany("DELETE FROM assignment WHERE consumer_group = ? AND part = ?", gone)
    await connection.executemany(
        "INSERT INTO assignment (consumer_group, part, member, generation) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (consumer_group, part) DO UPDATE SET member = excluded.member, generation = excluded.generation",
        moved,
    )


def share(parts: Mapping[str, Sequence[int]], wants: Mapping[str, Sequence[int]], owners: Mapping[int, int]) -> dict[int, int]:
    """Which member gets which partition: evenly within each topic, then over all; an owner keeps what is within its share."""
    shared: dict[int, int] = {}
    load: dict[int, int] = {}
    for topic, ids in parts.items():
        fair = len(ids) // len(wants[topic])
        counts = dict.fromkeys(wants[topic], 0)
        for part in ids:
            owner = owners.get(part, -1)
            if counts.get(owner, fair) < fair:
                counts[owner] += 1
                shared[part] = owner
        for part in ids:
            if part not in shared:
                weights = [(count, load.get(member, 0), member != owners.get(part), member) for member, count in counts.items()]
                lightest = min(weights)[-1]
                counts[lightest] += 1
                shared[part] = lightest
        for member, count in counts.items():
            load[member] = load.get(member, 0) + count
    return shared


class SqliteSubscription:
    """One member; its lease is renewed by polling and committing."""

    def __init__(self, log: SqliteEventLog, group: str, listener: Listener) -> None:
        self._log = log
        self._group = group
        self._listener = listener
        self._topics = orjson.dumps(list(listener.topics)).decode()
        self._member: int | None = None
        self._renewed_ms = 0
        self._held: dict[int, _Held] = {}
        self._turn = 0

    async def join(self) -> None:
        async with self._log.file.light.write() as connection:
            await self._renew(connection)
        self._log.ring(self._listener.topics)

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            self._listener.heard.clear()
            await self._renew_when_due()
            async with self._log.file.light.read() as connection:
                await self._refresh(connection)
                polled = await self._fetch(connection, max_records)
            left_s = deadline - loop.time()
            if polled or left_s <= 0:
                return polled
            await self._listener.wait(min(left_s, self._log.poll_every_s))

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        by_name = {TopicPartition(held.topic, held.number): (part, held) for part, held in self._held.items()}
        rows = []
        for name, next_offset in offsets.items():
            if name not in by_name:
                raise await self._fenced(name)
            part, held = by_name[name]
            rows.append((self._group, part, next_offset, held.generation, name))
        fenced: TopicPartition | None = None
        async with self._log.file.light.write() as connection:
            found = await connection.execute_fetchall(
                "SELECT part, generation FROM assignment WHERE consumer_group = ? AND member = ?", (self._group, self._member)
            )
            owned = dict(found)
            fenced = next((name for _, part, _, generation, name in rows if owned.get(part) != generation), None)
            if fenced is None:
                await connection.executemany(
                    "INSERT INTO committed (consumer_group, part, next_offset) VALUES (?, ?, ?)"
                    " ON CONFLICT (consumer_group, part) DO UPDATE SET next_offset = excluded.next_offset",
                    [row[:3] for row in rows],
                )
                if self._due():
                    await self._renew(connection)
        if fenced is not None:
            raise await self._fenced(fenced)

    async def rewind(self) -> None:
        self._held.clear()

    async def close(self) -> None:
        self._log.forget(self._listener)
        if self._member is None:
            return
        member, self._member = self._member, None
        self._held.clear()
        with suppress(LogUnavailable):  # then the lease ends by itself
            async with self._log.file.light.write() as connection:
                await connection.execute_fetchall("DELETE FROM member WHERE id = ?", (member,))
                await rebalance(connection, self._group, now_ms(self._log.clock))
        self._log.ring(self._listener.topics)

    async def _fenced(self, name: TopicPartition) -> Fenced:
        """Forgets every position, so that the next poll starts at what is committed."""
        await self.rewind()
        return Fenced(f"{name.topic}/{name.partition} has moved to another member of {self._group}")

    def _due(self) -> bool:
        return now_ms(self._log.clock) - self._renewed_ms >= RENEW_AFTER_MS

    async def _renew_when_due(self) -> None:
        if self._member is None or self._due():
            async with self._log.file.light.write() as connection:
                await self._renew(connection)

    async def _renew(self, connection: Connection) -> None:
        """Extends the lease or joins anew; rebalances when somebody came or went."""
        at_ms = now_ms(self._log.clock)
        changed = await self._extend_or_join(connection, at_ms + SESSION_MS)
        expired = await connection.execute_fetchall(
            "SELECT 1 FROM member WHERE consumer_group = ? AND expires_ms < ? LIMIT 1", (self._group, at_ms)
        )
        if changed or list(expired):
            await rebalance(connection, self._group, at_ms)
        self._renewed_ms = at_ms

    async def _extend_or_join(self, connection: Connection, expires_ms: int) -> bool:
        if self._member is not None:
            kept = await connection.execute_fetchall(
                "UPDATE member SET expires_ms = ? WHERE id = ? RETURNING id", (expires_ms, self._member)
            )
            if list(kept):
                return False
        ((self._member,),) = await connection.execute_fetchall(
            "INSERT INTO member (consumer_group, topics, expires_ms) VALUES (?, ?, ?) RETURNING id", (self._group, self._topics, expires_ms)
        )
        return True

    async def _refresh(self, connection: Connection) -> None:
        """Learns what this member owns now; a partition that is new here starts at its committed offset."""
        rows = await connection.execute_fetchall(
            "SELECT p.id, p.topic, p.number, a.generation, p.begin_offset, p.next_offset, c.next_offset"
            " FROM assignment a JOIN part p ON p.id = a.part"
            " LEFT JOIN committed c ON c.consumer_group = a.consumer_group AND c.part = a.part"
            " WHERE a.consumer_group = ? AND a.member = ? ORDER BY p.topic, p.number",
            (self._group, self._member),
        )
        held: dict[int, _Held] = {}
        for part, topic, number, generation, begin, end, committed in rows:
            known = self._held.get(part)
            same = known is not None and known.generation == generation
            start = committed if committed is not None else begin
            held[part] = _Held(topic, number, generation, known.position if known and same else start, begin, end)
        self._held = held

    async def _fetch(self, connection: Connection, max_records: int) -> dict[TopicPartition, list[Record]]:
        """Takes from the partitions in turn, so that a long one does not starve the others."""
        ready = [(part, held) for part, held in self._held.items() if held.position < held.next_offset]
        polled: dict[TopicPartition, list[Record]] = {}
        self._turn += 1
        for index in range(len(ready)):
            part, held = ready[(index + self._turn) % len(ready)]
            left = max_records - sum(map(len, polled.values()))
            if left <= 0:
                break
            records = await self._log.records(
                connection, part, held.topic, held.number, start=held.position, stop=held.next_offset, limit=left
            )
            held.position = records[-1].offset + 1 if len(records) == left else held.next_offset
            if records:
                polled[TopicPartition(held.topic, held.number)] = records
        return polled
