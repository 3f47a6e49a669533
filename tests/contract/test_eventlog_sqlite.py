"""What only the SQLite log does itself: compaction, retention and leases on an injected clock."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cityloop_common.clock import ManualClock, SystemClock
from cityloop_common.eventlog import EventLog, Fenced, LogUnavailable, Record, TopicPartition, open_event_log
from cityloop_common.eventlog.sqlite_group import SESSION_MS, share
from tests.contract.eventlog_support import FACTS, STATES, Logs, message, messages, nothing_more, send_all, take, values

START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[Logs]:
    async with AsyncExitStack() as stack:
        yield Logs(f"sqlite:///{tmp_path}/deep/log.db", stack)


@pytest.fixture
async def log(logs: Logs, clock: ManualClock) -> EventLog:
    log = logs.open(clock)
    await log.create_topics([FACTS, STATES])
    return log


async def drain(log: EventLog, topic: str) -> list[Record]:
    async with aclosing(log.read([topic], from_start=True, follow=False)) as records:
        return [record async for record in records]


async def test_compaction_keeps_the_last_record_of_each_key(log: EventLog, logs: Logs) -> None:
    """Superseded records go, offsets stay, and a late group reads the rest in order."""
    await send_all(log, messages(5000, keys=9, topic="states"))
    assert await log.prune() == 5000 - 9
    left = await drain(log, "states")
    assert sorted(values(left)) == sorted(f"v{index}" for index in range(4991, 5000))
    assert await log.prune() == 0
    await send_all(log, messages(9, keys=9, topic="states"))
    assert await log.prune() == 9
    late = await take(await logs.join(log, "late", "states"), 9)
    assert sorted(values(late)) == sorted(f"v{index}" for index in range(9))
    (info,) = [topic for topic in await log.describe() if topic.name == "states"]
    assert sum(info.end_offsets.values()) == 5009


async def test_a_tombstone_is_kept_for_a_day(log: EventLog, clock: ManualClock) -> None:
    """A deleted key leaves its tombstone for readers to see, then nothing."""
    await send_all(log, [message("k", "v", "states"), message("k", None, "states")])
    assert await log.prune() == 1
    assert [record.value for record in await drain(log, "states")] == [None]
    clock.advance(timedelta(days=1, seconds=1).total_seconds())
    assert await log.prune() == 1
    assert await drain(log, "states") == []


async def test_retention_removes_what_is_old(log: EventLog, logs: Logs, clock: ManualClock) -> None:
    """Records older than the topic keeps go, the first offset moves, and a slow group goes on with what is left."""
    member = await logs.join(log, "slow")
    await send_all(log, messages(5000))
    clock.advance(timedelta(days=13).total_seconds())
    await send_all(log, [message("k0", "young")])
    clock.advance(timedelta(days=2).total_seconds())
    assert await log.prune() == 5000
    assert values(await drain(log, "facts")) == ["young"]
    (info,) = [topic for topic in await log.describe() if topic.name == "facts"]
    assert sum(info.end_offsets.values()) - sum(info.begin_offsets.values()) == 1
    assert values(await take(member, 1)) == ["young"]


async def test_a_member_that_stays_silent_loses_its_partitions(log: EventLog, logs: Logs, clock: ManualClock) -> None:
    """After the lease the other member takes over; the silent one is fenced, then shares again."""
    await send_all(log, messages(60, keys=50))
    silent = await logs.join(log, "g")
    polled = await take(silent, 60)
    clock.advance(SESSION_MS / 1000 + 0.1)
    other = await logs.join(logs.open(clock), "g")
    assert len(await take(other, 60)) == 60
    with pytest.raises(Fenced):
        await silent.commit({TopicPartition("facts", record.partition): record.offset + 1 for record in polled})
    clock.advance(2.1)
    assert len({record.partition for record in await take(silent, 60, polls=1)}) == 3


async def test_a_lone_member_keeps_its_partitions_however_long_it_works(log: EventLog, logs: Logs, clock: ManualClock) -> None:
    """Nobody else wants them, so a slow handler may still commit."""
    await send_all(log, messages(60))
    member = await logs.join(log, "g")
    polled = await take(member, 60)
    clock.advance(3600)
    await member.commit({TopicPartition("facts", record.partition): record.offset + 1 for record in polled})
    await member.rewind()
    assert await nothing_more(member)


async def test_a_topic_created_later_reaches_the_members_that_wait_for_it(logs: Logs, clock: ManualClock) -> None:
    """Who subscribed before the topic existed gets its partitions."""
    log = logs.open(clock)
    member = await logs.join(log, "g")
    await log.create_topics([FACTS])
    await send_all(log, messages(10))
    assert len(await take(member, 10)) == 10


async def test_a_locked_file_makes_sends_fail_and_then_work_again(logs: Logs, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program holds the lock each message has LogUnavailable as its outcome; afterwards they go through."""
    monkeypatch.setattr("cityloop_common.eventlog.sqlite_file.BUSY_TIMEOUT_S", 0.05)
    other = logs.open()
    await other.ping()
    holder = sqlite3.connect(logs.url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        outcomes = await other.send(messages(3))
        assert [type(outcome) for outcome in outcomes] == [LogUnavailable] * 3
        holder.execute("ROLLBACK")
        await send_all(other, messages(3))
    finally:
        holder.close()
    assert len(await drain(log, "facts")) == 3


async def test_a_cancelled_send_leaves_the_log_usable(log: EventLog) -> None:
    """A send that is cancelled stores its batch whole or not at all, and the next one works."""
    for turn in range(30):
        task = asyncio.get_running_loop().create_task(log.send(messages(10)))
        for _ in range(turn % 10):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await send_all(log, messages(10))
    assert len(await drain(log, "facts")) % 10 == 0


class Inline:
    """A connection without a thread, as a simulation brings one."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)

    async def execute_fetchall(self, sql: str, parameters: Sequence[object] | None = None, /) -> list[tuple[object, ...]]:
        await asyncio.sleep(0)
        return self._connection.execute(sql, parameters or ()).fetchall()

    async def executemany(self, sql: str, parameters: Iterable[Sequence[object]], /) -> None:
        await asyncio.sleep(0)
        self._connection.executemany(sql, parameters)

    async def close(self) -> None:
        self._connection.close()


async def test_it_runs_on_connections_that_are_brought_along(tmp_path: Path) -> None:
    """Every effect goes through the injected connections: no thread is started."""

    async def connect() -> Inline:
        return Inline(tmp_path / "log.db")

    log = open_event_log("sqlite:///unused.db", clock=SystemClock(), creator=connect)
    await log.create_topics([FACTS])
    await send_all(log, messages(20))
    member = await log.subscribe("g", ["facts"])
    assert len(await take(member, 20)) == 20
    await member.close()
    await log.close()
    assert not (tmp_path / "unused.db").exists()


@pytest.mark.parametrize("members", [1, 2, 3, 4, 6, 7])
def test_partitions_are_shared_evenly_and_few_move(members: int) -> None:
    """Shares differ by one at most, also over two topics; when one joins little moves, when nobody does nothing."""
    parts = {"a": [1, 2, 3, 4, 5, 6], "b": [7, 8, 9, 10, 11, 12]}
    before = share(parts, {topic: list(range(members)) for topic in parts}, {})
    after = share(parts, {topic: list(range(members + 1)) for topic in parts}, before)
    for shared, count in ((before, members), (after, members + 1)):
        loads = [list(shared.values()).count(member) for member in range(count)]
        assert max(loads) - min(loads) <= 1
        assert sorted(shared) == list(range(1, 13))
    assert sum(after[part] != before[part] for part in after) <= 12 // (members + 1) + 2
    assert share(parts, {topic: list(range(members)) for topic in parts}, before) == before


def test_another_scheme_is_refused() -> None:
    """A URL that names no log is told so at once."""
    with pytest.raises(ValueError, match="not redis:"):
        open_event_log("redis://127.0.0.1", clock=SystemClock())
