"""The laws of the event log; one body for every adapter."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from cityloop_common.clock import SystemClock
from cityloop_common.eventlog import (
    MAX_MESSAGE_BYTES,
    EventLog,
    Fenced,
    LogUnavailable,
    Message,
    Record,
    Rejected,
    Retention,
    Subscription,
    TopicPartition,
    TopicSpec,
)
from tests.contract.eventlog_support import FACTS, STATES, Logs, message, messages, nothing_more, send_all, take, values
from tests.support import PATIENCE_S, wait_until

ADAPTERS = ["sqlite", pytest.param("kafka", marks=pytest.mark.stack)]


@pytest.fixture(params=ADAPTERS)
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty log of this test's own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/log.db"
    return f"{request.getfixturevalue('stack').kafka_url}?prefix={request.getfixturevalue('fresh_topic_prefix')}"


@pytest.fixture
async def logs(log_url: str) -> AsyncIterator[Logs]:
    async with AsyncExitStack() as stack:
        yield Logs(log_url, stack)


@pytest.fixture
async def log(logs: Logs) -> EventLog:
    log = logs.open()
    await log.create_topics([FACTS, STATES])
    return log


async def commit(member: Subscription, records: Sequence[Record]) -> None:
    await member.commit({TopicPartition(record.topic, record.partition): record.offset + 1 for record in records})


async def drain(log: EventLog, *topics: str) -> list[Record]:
    async with aclosing(log.read(topics, from_start=True, follow=False)) as records:
        return [record async for record in records]


async def test_the_order_of_a_key_is_kept(log: EventLog, logs: Logs) -> None:
    """Records of one key come in the order they were sent, over several batches, from one partition."""
    for start in range(0, 300, 100):
        await send_all(log, messages(300)[start : start + 100])
    records = await take(await logs.join(log, "g"), 300)
    by_key: dict[bytes | None, list[int]] = defaultdict(list)
    homes: dict[bytes | None, set[int]] = defaultdict(set)
    for record in records:
        by_key[record.key].append(int(cast(bytes, record.value)[1:]))
        homes[record.key].add(record.partition)
    assert sum(map(len, by_key.values())) == 300
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert all(len(home) == 1 for home in homes.values())


async def test_the_partition_of_a_key_is_kafkas(log: EventLog) -> None:
    """Both adapters put these keys where Kafka's own default partitioner does."""
    await send_all(log, [message(key, "x") for key in ("21", "foobar", "abc", "a-little-bit-long-string")])
    assert {record.key: record.partition for record in await drain(log, FACTS.name)} == {
        b"21": (-973932308 & 0x7FFFFFFF) % 6,
        b"foobar": (-790332482 & 0x7FFFFFFF) % 6,
        b"abc": (479470107 & 0x7FFFFFFF) % 6,
        b"a-little-bit-long-string": (-985981536 & 0x7FFFFFFF) % 6,
    }


async def test_a_record_comes_back_as_it_was_sent(log: EventLog) -> None:
    """Key, value and header bytes round trip; a value may be None; the log stamps the time."""
    before = SystemClock().now() - timedelta(seconds=1)
    sent = [
        Message("facts", b"k\x00\xff", b"\x00\xfe\xffbytes", (("ce_id", b"\xff\x00"), ("name", "车位".encode()))),
        Message("facts", b"k\x00\xff", None),
        Message("facts", b"k\x00\xff", b""),
    ]
    await send_all(log, sent)
    records = await drain(log, "facts")
    assert [(r.topic, r.key, r.value) for r in records] == [(m.topic, m.key, m.value) for m in sent]
    assert [dict(record.headers) for record in records] == [{"ce_id": b"\xff\x00", "name": "车位".encode()}, {}, {}]
    assert [record.offset for record in records] == [0, 1, 2]
    assert all(before <= record.appended_at <= SystemClock().now() + timedelta(seconds=1) for record in records)


async def test_a_new_group_starts_at_the_earliest_record(log: EventLog, logs: Logs) -> None:
    """A group that never committed sees what was sent before it joined, and so does every other group."""
    await send_all(log, messages(20))
    assert len(await take(await logs.join(log, "first"), 20)) == 20
    assert len(await take(await logs.join(log, "second"), 20)) == 20


async def test_uncommitted_records_come_again(log: EventLog, logs: Logs) -> None:
    """What was polled and not committed is seen again after a rewind, and by the next member."""
    await send_all(log, messages(30))
    member = await logs.join(log, "g")
    assert len(await take(member, 30)) == 30
    await member.rewind()
    assert len(await take(member, 30)) == 30
    await member.close()
    assert len(await take(await logs.join(log, "g"), 30)) == 30


async def test_committed_records_do_not_come_again(log: EventLog, logs: Logs) -> None:
    """Neither after a rewind nor to the next member; what was left uncommitted does."""
    await send_all(log, messages(30))
    member = await logs.join(log, "g")
    records = await take(member, 30)
    late = [record for record in records if record.key == b"k0"]
    home = late[0].partition
    await commit(member, [record for record in records if record.partition != home])
    await member.rewind()
    again = await take(member, sum(record.partition == home for record in records))
    assert {record.partition for record in again} == {home}
    await commit(member, again)
    await member.rewind()
    assert await nothing_more(member)
    await member.close()
    assert await nothing_more(await logs.join(log, "g"))


async def test_a_poll_hands_out_no_more_than_asked(log: EventLog, logs: Logs) -> None:
    """`max_records` counts over all partitions, and nothing is lost by it."""
    await send_all(log, messages(40, keys=20))
    member = await logs.join(log, "g")
    seen = 0
    while seen < 40:
        polled = await member.poll(max_records=7, timeout_s=5)
        count = sum(map(len, polled.values()))
        assert 0 < count <= 7
        seen += count
    assert seen == 40


async def test_a_waiting_poll_is_woken_by_a_send(log: EventLog, logs: Logs) -> None:
    """A poll that waits gets what is sent meanwhile, long before its time is over."""
    member = await logs.join(log, "g")
    await nothing_more(member)
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(member.poll(max_records=10, timeout_s=60))
        await send_all(log, [message("k", "v")])
        assert values([record for records in (await waiting).values() for record in records]) == ["v"]


async def test_two_members_share_the_partitions_and_one_hands_over(log: EventLog, logs: Logs) -> None:
    """Each record goes to one of two members in different processes; when one leaves, the other gets all."""
    first, second = await logs.join(log, "g"), await logs.join(logs.open(), "g")
    seen: dict[int, set[int]] = {0: set(), 1: set()}

    async def both_have_some() -> bool:
        await send_all(log, messages(50, keys=50))
        for number, member in enumerate((first, second)):
            polled = await member.poll(max_records=500, timeout_s=0.5)
            seen[number] = {name.partition for name in polled}
            for name, records in polled.items():
                await member.commit({name: records[-1].offset + 1})
        return bool(seen[0]) and bool(seen[1]) and not seen[0] & seen[1]

    async def retried() -> bool:
        try:
            return await both_have_some()
        except Fenced:
            return False

    await wait_until(retried)
    assert abs(len(seen[0]) - len(seen[1])) <= 2
    await second.close()

    async def first_has_all() -> bool:
        await send_all(log, messages(50, keys=50))
        polled = await first.poll(max_records=500, timeout_s=0.5)
        return len(polled) == 6

    await wait_until(first_has_all)


async def test_a_commit_after_the_partition_moved_is_fenced(log: EventLog, logs: Logs) -> None:
    """Who lost a partition cannot commit it: it is told so, and the new owner sees the records."""
    await send_all(log, messages(60, keys=50))
    first = await logs.join(log, "g")
    polled = await take(first, 60)
    assert len(polled) == 60
    second = await logs.join(logs.open(), "g")

    async def moved() -> list[Record]:
        await first.poll(max_records=1, timeout_s=0.2)  # aiokafka rejoins while it polls
        return await take(second, 1, polls=1)

    got = await wait_until(moved)
    lost = [record for record in polled if record.partition == got[0].partition]
    with pytest.raises(Fenced):
        await commit(first, lost)
    await commit(second, got)


async def test_a_log_that_is_opened_again_has_kept_everything(log: EventLog, logs: Logs) -> None:
    """Records, offsets and committed offsets outlive the process."""
    await send_all(log, messages(20))
    member = await log.subscribe("g", ["facts"])
    await commit(member, await take(member, 20))
    await member.close()
    await log.close()
    later = logs.open()
    await send_all(later, [message("k0", "new")])
    assert values(await take(await logs.join(later, "g"), 1)) == ["new"]
    assert len(await drain(later, "facts")) == 21


async def test_each_message_has_its_own_outcome(log: EventLog) -> None:
    """A message too large is rejected, what follows under its key is held back, and the others are stored."""
    batch = [
        message("good", "1"),
        Message("facts", b"big", b"x" * (MAX_MESSAGE_BYTES + 1)),
        message("big", "after"),
        message("lost", "1", "no-such-topic"),
        message("good", "2"),
    ]
    outcomes = await log.send(batch)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [type(None), Rejected, LogUnavailable, LogUnavailable, type(None)]
    assert values(await drain(log, "facts")) == ["1", "2"]


async def test_a_message_of_the_largest_size_is_taken(log: EventLog) -> None:
    """MAX_MESSAGE_BYTES is a promise of every adapter."""
    await send_all(log, [Message("facts", b"k", b"x" * (MAX_MESSAGE_BYTES - 1))])
    assert [len(record.value or b"") for record in await drain(log, "facts")] == [MAX_MESSAGE_BYTES - 1]


async def test_topics_are_created_once_and_their_retention_is_set_anew(log: EventLog) -> None:
    """Creating again keeps the records and partitions and takes the new retention."""
    await send_all(log, messages(5))
    await log.create_topics([TopicSpec("facts", Retention.COMPACT, partitions=3), STATES])
    info = {topic.name: topic for topic in await log.describe()}
    assert set(info) == {"facts", "states"}
    assert info["facts"].retention is Retention.COMPACT
    assert len(info["facts"].end_offsets) == 6
    assert len(await drain(log, "facts")) == 5


async def test_describe_tells_offsets_and_lag(log: EventLog, logs: Logs) -> None:
    """End offsets count what was sent; the lag of a group is what it has not committed."""
    await send_all(log, messages(30))
    member = await logs.join(log, "g")
    records = await take(member, 30)
    await commit(member, [record for record in records if record.key != b"k0"])

    async def told() -> bool:
        (info,) = [topic for topic in await log.describe() if topic.name == "facts"]
        home = {record.partition for record in records if record.key == b"k0"}
        done = max((record.offset + 1 for record in records if record.partition in home and record.key != b"k0"), default=0)
        expected = sum(info.end_offsets[partition] for partition in home) - done
        return sum(info.end_offsets.values()) == 30 and info.lag_records == {"g": expected}

    await wait_until(told)


async def test_reading_without_a_group_can_follow(log: EventLog) -> None:
    """A tail from the end sees only what comes after it; nothing is committed by it."""
    await send_all(log, messages(10))
    seen: list[str] = []

    async def tail() -> None:
        async with aclosing(log.read(["facts"], from_start=False, follow=True)) as records:
            async for record in records:
                seen.append((record.value or b"").decode())
                if seen[-1] == "last":
                    return

    async def feed() -> bool:
        await send_all(log, [message("k", "now")])
        return "now" in seen

    async with asyncio.timeout(2 * PATIENCE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(tail())
        await wait_until(feed, every=0.2)
        await send_all(log, [message("k", "last")])
    assert set(seen) == {"now", "last"}


async def test_two_groups_and_two_topics_do_not_disturb_each_other(log: EventLog, logs: Logs) -> None:
    """A member of two topics gets both; a commit of one group moves no other."""
    await send_all(log, messages(10) + messages(10, topic="states"))
    both = await logs.join(log, "both", "facts", "states")
    records = await take(both, 20)
    assert {record.topic for record in records} == {"facts", "states"}
    await commit(both, records)
    assert len(await take(await logs.join(log, "other", "states"), 10)) == 10


async def test_ping_answers(log: EventLog) -> None:
    """A log that is there answers."""
    await log.ping()
