"""The event log in one SQLite file, with Kafka's nouns, for one machine: several processes may share it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

import orjson

from cityloop_common.clock import Clock
from cityloop_common.eventlog.murmur import partition_of
from cityloop_common.eventlog.port import LogUnavailable, Message, Record, Retention, TopicInfo, TopicSpec, admit
from cityloop_common.eventlog.sqlite_file import Connection, Creator, LogFile, instant_of, now_ms
from cityloop_common.eventlog.sqlite_group import SqliteSubscription, rebalance

TOMBSTONES_FOR = timedelta(days=1)  # Kafka's delete.retention.ms
_READ_AT_ONCE = 500
_CLEAN_AT_ONCE = 2_000


class Listener:
    """Who is to be woken when one of its topics gets a record in this process."""

    def __init__(self, topics: Sequence[str]) -> None:
        self.topics = tuple(dict.fromkeys(topics))
        self.heard = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self.heard.wait()
        except TimeoutError:
            return


class SqliteEventLog:
    """Appends durably, one transaction a batch. Wakes pollers of this object at once, those of other processes when they look again."""

    def __init__(self, creator: Creator, *, clock: Clock, poll_every_s: float = 0.25) -> None:
        self.file = LogFile(creator)
        self.clock = clock
        self.poll_every_s = poll_every_s
        self._listeners: list[Listener] = []
        self._layout: dict[str, tuple[int, ...]] = {}

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        async with self.file.durable.write() as connection:
            for spec in specs:
                await connection.execute_fetchall(
                    "INSERT INTO topic (name, retention, keep_for_ms) VALUES (?, ?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET retention = excluded.retention, keep_for_ms = excluded.keep_for_ms",
                    (spec.name, spec.retention.value, spec.keep_for // timedelta(milliseconds=1)),
                )
                ((there,),) = await connection.execute_fetchall("SELECT count(*) FROM part WHERE topic = ?", (spec.name,))
                if not there:  # like Kafka, the number of partitions stays what it was first
                    numbers = [(spec.name, number) for number in range(spec.partitions)]
                    await connection.executemany("INSERT INTO part (topic, number) VALUES (?, ?)", numbers)
            for (group,) in await connection.execute_fetchall("SELECT DISTINCT consumer_group FROM member ORDER BY consumer_group"):
                await rebalance(connection, group, now_ms(self.clock))
        self.ring([spec.name for spec in specs])

    async def send(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        outcomes = admit(messages)
        try:
            async with self.file.durable.write() as connection:
                await self._append(connection, messages, outcomes)
        except LogUnavailable as error:
            return [outcome or error for outcome in outcomes]
        self.ring([message.topic for message, outcome in zip(messages, outcomes, strict=True) if outcome is None])
        return outcomes

    async def subscribe(self, group: str, topics: Sequence[str]) -> SqliteSubscription:
        listener = self._listen(topics)
        try:
            subscription = SqliteSubscription(self, group, listener)
            await subscription.join()
        except BaseException:
            self.forget(listener)
            raise
        return subscription

    async def read(self, topics: Sequence[str], *, from_start: bool, follow: bool) -> AsyncGenerator[Record, None]:
        listener = self._listen(topics)
        try:
            positions = {part: begin if from_start else end for part, _, _, begin, end in await self._parts(listener.topics)}
            while True:
                listener.heard.clear()
                found = 0
                for part, topic, number, begin, end in await self._parts(listener.topics):
                    position = positions.get(part, begin)
                    while position < end:
                        async with self.file.light.read() as connection:
                            records = await self.records(connection, part, topic, number, start=position, stop=end, limit=_READ_AT_ONCE)
                        for record in records:
                            yield record
                        found += len(records)
                        position = records[-1].offset + 1 if len(records) == _READ_AT_ONCE else end
                    positions[part] = position
                if not follow:
                    return
                if not found:
                    await listener.wait(self.poll_every_s)
        finally:
            self.forget(listener)

    async def describe(self) -> Sequence[TopicInfo]:
        async with self.file.light.read() as connection:
            topics = list(await connection.execute_fetchall("SELECT name, retention FROM topic ORDER BY name"))
            parts = list(await connection.execute_fetchall("SELECT id, topic, number, begin_offset, next_offset FROM part ORDER BY number"))
            commits = list(await connection.execute_fetchall("SELECT consumer_group, part, next_offset FROM committed"))
        committed = {(group, part): next_offset for group, part, next_offset in commits}
        infos = []
        for name, retention in topics:
            own = [(part, number, begin, end) for part, topic, number, begin, end in parts if topic == name]
            ids = {part for part, *_ in own}
            groups = sorted({group for group, part in committed if part in ids})
            lag = {group: sum(end - max(committed.get((group, part), 0), begin) for part, _, begin, end in own) for group in groups}
            begins = {number: begin for _, number, begin, _ in own}
            infos.append(TopicInfo(name, Retention(retention), begins, {number: end for _, number, _, end in own}, lag))
        return infos

    async def prune(self) -> int:
        async with self.file.light.read() as connection:
            rows = await connection.execute_fetchall(
                "SELECT p.id, t.retention, t.keep_for_ms FROM part p JOIN topic t ON t.name = p.topic ORDER BY p.id"
            )
            parts = list(rows)
        removed = 0
        for part, retention, keep_for_ms in parts:
            if Retention(retention) is Retention.COMPACT:
                removed += await self._compact(part)
            else:
                removed += await self._expire(part, now_ms(self.clock) - keep_for_ms)
        return removed

    async def ping(self) -> None:
        async with self.file.light.read() as connection:
            await connection.execute_fetchall("SELECT 1 FROM topic LIMIT 1")

    async def close(self) -> None:
        await self.file.close()

    # What the subscriptions use.

    def ring(self, topics: Sequence[str]) -> None:
        """Wakes who listens to one of these topics in this process."""
        rung = set(topics)
        for listener in self._listeners:
            if not rung.isdisjoint(listener.topics):
                listener.heard.set()

    def forget(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    async def records(
        self, connection: Connection, part: int, topic: str, number: int, *, start: int, stop: int, limit: int
    ) -> list[Record]:
        """The kept records of `[start, stop)` in order, `limit` at most."""
        rows = await connection.execute_fetchall(
            "SELECT position, key, value, headers, appended_ms FROM record"
            " WHERE part = ? AND position >= ? AND position < ? ORDER BY position LIMIT ?",
            (part, start, stop, limit),
        )
        return [
            Record(topic, number, offset, key, value, _unpack(headers), instant_of(appended_ms))
            for offset, key, value, headers, appended_ms in rows
        ]

    def _listen(self, topics: Sequence[str]) -> Listener:
        listener = Listener(topics)
        self._listeners.append(listener)
        return listener

    async def _parts(self, topics: Sequence[str]) -> list[tuple[int, str, int, int, int]]:
        async with self.file.light.read() as connection:
            rows = await connection.execute_fetchall(
                "SELECT id, topic, number, begin_offset, next_offset FROM part"
                " WHERE topic IN (SELECT value FROM json_each(?)) ORDER BY topic, number",
                (orjson.dumps(list(topics)).decode(),),
            )
            return [(part, topic, number, begin, end) for part, topic, number, begin, end in rows]

    async def _append(self, connection: Connection, messages: Sequence[Message], outcomes: list[Exception | None]) -> None:
        """Inserts what may be sent; a message to an unknown topic gets its outcome here."""
        await self._learn_layout(connection, {message.topic for message in messages})
        targets: list[tuple[int, Message]] = []
        for index, message in enumerate(messages):
            ids = self._layout.get(message.topic)
            if outcomes[index] is None and ids is None:
                outcomes[index] = LogUnavailable(f"topic {message.topic} does not exist")
            if outcomes[index] is None and ids is not None:
                targets.append((ids[partition_of(message.key, len(ids))], message))
        touched = orjson.dumps(sorted({part for part, _ in targets})).decode()
        rows = await connection.execute_fetchall(
            "SELECT id, next_offset FROM part WHERE id IN (SELECT value FROM json_each(?))", (touched,)
        )
        ends: dict[int, int] = dict(rows)
        at_ms = now_ms(self.clock)
        records = []
        for part, message in targets:
            records.append((part, ends[part], message.key, message.value, _pack(message.headers), at_ms))
            ends[part] += 1
        await connection.executemany(
            "INSERT INTO record (part, position, key, value, headers, appended_ms) VALUES (?, ?, ?, ?, ?, ?)", records
        )
        await connection.executemany("UPDATE part SET next_offset = ? WHERE id = ?", [(end, part) for part, end in ends.items()])

    async def _learn_layout(self, connection: Connection, topics: set[str]) -> None:
        if topics <= self._layout.keys():
            return
        layout: dict[str, list[int]] = {}
        for topic, part in await connection.execute_fetchall("SELECT topic, id FROM part ORDER BY topic, number"):
            layout.setdefault(topic, []).append(part)
        self._layout = {topic: tuple(ids) for topic, ids in layout.items()}

    async def _compact(self, part: int) -> int:
        """Removes every record that has a later one of its key, and tombstones that every reader had a day to see."""
        removed, more = 0, True
        while more:
            async with self.file.durable.write() as connection:
                ((clean, end),) = await connection.execute_fetchall("SELECT clean_offset, next_offset FROM part WHERE id = ?", (part,))
                upto = min(clean + _CLEAN_AT_ONCE, end)
                last = list(
                    await connection.execute_fetchall(
                        "SELECT key, max(position) FROM record WHERE part = ? AND position >= ? AND position < ? GROUP BY key",
                        (part, clean, upto),
                    )
                )
                before = await self._changes(connection)
                superseded = [(part, key, position) for key, position in last]
                await connection.executemany("DELETE FROM record WHERE part = ? AND key = ? AND position < ?", superseded)
                await connection.execute_fetchall(
                    "DELETE FROM record WHERE part = ? AND value IS NULL AND appended_ms < ? AND position < ?",
                    (part, now_ms(self.clock) - TOMBSTONES_FOR // timedelta(milliseconds=1), upto),
                )
                removed += await self._changes(connection) - before
                await connection.execute_fetchall("UPDATE part SET clean_offset = ? WHERE id = ?", (upto, part))
                more = upto < end
        return removed

    async def _expire(self, part: int, before_ms: int) -> int:
        """Removes the records at the beginning that are older than the topic keeps."""
        removed, more = 0, True
        while more:
            async with self.file.durable.write() as connection:
                rows = await connection.execute_fetchall(
                    "SELECT position, appended_ms FROM record WHERE part = ? ORDER BY position LIMIT ?", (part, _CLEAN_AT_ONCE)
                )
                oldest = list(rows)
                kept = next((index for index, (_, appended_ms) in enumerate(oldest) if appended_ms >= before_ms), len(oldest))
                more = kept == _CLEAN_AT_ONCE
                if kept:
                    begin = oldest[kept - 1][0] + 1
                    await connection.execute_fetchall("DELETE FROM record WHERE part = ? AND position < ?", (part, begin))
                    await connection.execute_fetchall("UPDATE part SET begin_offset = ? WHERE id = ?", (begin, part))
                removed += kept
        return removed

    @staticmethod
    async def _changes(connection: Connection) -> int:
        ((total,),) = await connection.execute_fetchall("SELECT total_changes()")
        return int(total)


def _pack(headers: Sequence[tuple[str, bytes]]) -> bytes:
    # latin-1 maps every byte to one character and back, so any bytes pass through JSON.
    return orjson.dumps([(name, value.decode("latin-1")) for name, value in headers])


def _unpack(packed: bytes) -> dict[str, bytes]:
    return {name: value.encode("latin-1") for name, value in orjson.loads(packed)}
