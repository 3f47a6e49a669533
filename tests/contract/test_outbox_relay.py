"""From the outbox to the log: nothing lost, order per key, one relay at a time; and once more, never over a newer word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cityloop_common import outbox, republishing
from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event, EventType, Kind, from_record
from cityloop_common.eventlog import Retention, TopicSpec
from cityloop_common.relay import relay_once, run_relay
from cityloop_common.republishing import BATCH, republish
from cityloop_common.service import Republish
from tests.contract.kit_support import FailingLog, ShiftedClock, close_ctx, opened_ctx
from tests.support import wait_until

TOPIC = "kit.thing"


class Thing(BaseModel):
    """A body."""

    n: int


THING = EventType("kit.thing.happened.v1", TOPIC, Kind.FACT, Thing)


def event(ctx: Ctx[Any], key: str, n: int) -> Event:
    """The n-th event of a key."""
    return THING.event(Thing(n=n), id=ctx.ids.new(), key=key, sequence=n, time=datetime.now(UTC), source=ctx.source)


async def write(ctx: Ctx[Any], *events: Event) -> None:
    """One unit with these events."""
    async with ctx.db.write() as tx:
        await outbox.append_many(tx, events)


async def logged(ctx: Ctx[Any]) -> list[Event]:
    """What lies in the log, by partition and offset."""
    records = [record async for record in ctx.log.read([TOPIC], from_start=True, follow=False)]
    return [from_record(record.topic, record.key, record.headers, record.value or b"") for record in records]


async def waiting(ctx: Ctx[Any]) -> int:
    """How many events have not been sent."""
    async with ctx.db.read() as tx:
        return (await outbox.backlog(tx))[0]


def numbers(events: Sequence[Event], key: str) -> list[int]:
    """The sequence numbers of a key, as they lie."""
    return [each.sequence for each in events if each.key == key]


@pytest.fixture(autouse=True)
async def _topic(kit_ctx: Ctx[Any]) -> None:
    await kit_ctx.log.create_topics([TopicSpec(TOPIC, Retention.DELETE)])


async def test_what_commits_is_sent_in_order_and_what_does_not_is_not(kit_ctx: Ctx[Any]) -> None:
    """Each key's events lie in the order of its versions, with their ids; a unit that failed sends nothing."""
    sent = [event(kit_ctx, key, n) for n in range(1, 40) for key in ("a", "b", "c")]
    for start in range(0, len(sent), 7):
        await write(kit_ctx, *sent[start : start + 7])

    async def fail(tx: WriteTx) -> None:
        await outbox.append(tx, event(kit_ctx, "a", 99))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        async with kit_ctx.db.write() as tx:
            await fail(tx)
    assert await relay_once(kit_ctx) == 0
    found = await logged(kit_ctx)
    assert {each.id for each in found} == {each.id for each in sent}
    for key in ("a", "b", "c"):
        assert numbers(found, key) == list(range(1, 40))
    assert await waiting(kit_ctx) == 0


async def test_a_key_that_fails_holds_back_only_itself(url: str, tmp_path: Path, kit_ctx: Ctx[Any]) -> None:
    """The other keys go on; when it works again its events come, in order."""
    log = FailingLog(kit_ctx.log, refuse_keys={b"bad"})
    ctx = Ctx("kit", kit_ctx.settings, kit_ctx.clock, kit_ctx.ids, kit_ctx.rng, kit_ctx.db, log, kit_ctx.cache)
    for n in range(1, 6):
        await write(ctx, event(ctx, "bad", n), event(ctx, "good", n))
    assert await relay_once(ctx) == 5
    assert numbers(await logged(ctx), "good") == [1, 2, 3, 4, 5]
    assert numbers(await logged(ctx), "bad") == []
    log.refuse_keys.clear()
    assert await relay_once(ctx) == 0
    assert numbers(await logged(ctx), "bad") == [1, 2, 3, 4, 5]


async def test_an_answer_that_is_lost_sends_again_with_the_same_id(kit_ctx: Ctx[Any]) -> None:
    """Stored but not acknowledged: the second record has the first one's id, so an inbox knows it."""
    log = FailingLog(kit_ctx.log, lose_answers=True)
    ctx = Ctx("kit", kit_ctx.settings, kit_ctx.clock, kit_ctx.ids, kit_ctx.rng, kit_ctx.db, log, kit_ctx.cache)
    await write(ctx, event(ctx, "a", 1))
    assert await relay_once(ctx) == 1
    log.lose_answers = False
    assert await relay_once(ctx) == 0
    found = await logged(ctx)
    assert len(found) == 2
    assert len({each.id for each in found}) == 1


async def test_a_commit_wakes_the_relay_and_a_log_that_was_away_gets_all(kit_ctx: Ctx[Any]) -> None:
    """While the log is away events wait; when it is back they come without being asked for."""
    log = FailingLog(kit_ctx.log, away=True)
    ctx = Ctx("kit", kit_ctx.settings, kit_ctx.clock, kit_ctx.ids, kit_ctx.rng, kit_ctx.db, log, kit_ctx.cache)
    relay = asyncio.get_running_loop().create_task(run_relay(ctx, "one"))
    try:
        for n in range(1, 11):
            await write(ctx, event(ctx, "a", n))
        await wait_until(lambda: len(log.sent) == 0)
        log.away = False

        async def sent() -> bool:
            return await waiting(ctx) == 0

        await wait_until(sent)
        assert numbers(await logged(ctx), "a") == list(range(1, 11))
    finally:
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)


async def test_one_relay_works_and_another_takes_over(url: str, tmp_path: Path, kit_ctx: Ctx[Any]) -> None:
    """Two processes: while one holds the right the other sends nothing; after its death the other goes on."""
    clock = ShiftedClock()
    other = await opened_ctx(url, tmp_path, clock=clock)
    logs = [FailingLog(kit_ctx.log), FailingLog(other.log)]
    ctxs = [
        Ctx("kit", each.settings, each.clock, each.ids, each.rng, each.db, log, each.cache)
        for each, log in zip((kit_ctx, other), logs, strict=True)
    ]
    loop = asyncio.get_running_loop()
    first = loop.create_task(run_relay(ctxs[0], "first"))
    await write(kit_ctx, event(kit_ctx, "a", 1))
    await wait_until(lambda: len(logs[0].sent) == 1)
    second = loop.create_task(run_relay(ctxs[1], "second"))
    for n in range(2, 6):
        await write(kit_ctx, event(kit_ctx, "a", n))
    await wait_until(lambda: len(logs[0].sent) == 5)
    assert not logs[1].sent
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    clock.by += timedelta(seconds=3)  # within what clocks may differ; a lease row has been given back
    await write(other, event(other, "a", 6))
    await wait_until(lambda: len(logs[1].sent) == 1)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert numbers(await logged(kit_ctx), "a") == [1, 2, 3, 4, 5, 6]
    await close_ctx(other)


async def test_sent_rows_are_pruned_after_a_day_and_waiting_ones_never(url: str, tmp_path: Path) -> None:
    """Old events that were sent go; one that waits stays however old it is."""
    clock = ShiftedClock(by=timedelta(days=-2))
    ctx = await opened_ctx(f"{url}" if url.startswith("sqlite") else f"sqlite:///{tmp_path / 'own.db'}", tmp_path / "own", clock=clock)
    await ctx.log.create_topics([TopicSpec(TOPIC, Retention.DELETE)])
    await write(ctx, event(ctx, "sent", 1))
    await relay_once(ctx)
    await write(ctx, event(ctx, "waits", 1))
    clock.by = timedelta()
    async with ctx.db.write() as tx:
        assert await outbox.prune(tx) == 1
    assert await waiting(ctx) == 1
    await close_ctx(ctx)


def heard(sent: int) -> None:
    """Progress that nobody looks at."""


def of(known: Mapping[str, Event], meanwhile: Any = None) -> Republish:
    """A publisher that knows these; `meanwhile` happens after it has read its rows."""

    async def events(_: Ctx[Any], key: str | None) -> AsyncIterator[Event]:
        read = [each for name, each in known.items() if key in (None, name)]
        if meanwhile is not None:
            await meanwhile()
        for each in read:
            yield each

    return Republish(TOPIC, events)


async def last_words(ctx: Ctx[Any]) -> dict[str, int]:
    """What a compacted topic keeps."""
    return {each.key: each.sequence for each in await logged(ctx)}


async def test_what_changes_meanwhile_is_not_told_over(kit_ctx: Ctx[Any]) -> None:
    """An event that is older than what was told since the reading stays away; the others come again with their ids."""
    known = {key: event(kit_ctx, key, 1) for key in "abc"}
    await write(kit_ctx, *known.values())
    await relay_once(kit_ctx)

    async def changes() -> None:
        await write(kit_ctx, event(kit_ctx, "b", 2))

    assert await republish(kit_ctx, of(known, changes), Kind.STATE, None, heard) == 2
    await relay_once(kit_ctx)
    assert await last_words(kit_ctx) == {"a": 1, "b": 2, "c": 1}
    assert [each.id for each in await logged(kit_ctx) if each.key == "a"] == [known["a"].id] * 2
    assert await republish(kit_ctx, of(known), Kind.STATE, "a", heard) == 1


async def test_facts_are_all_sent_again(kit_ctx: Ctx[Any]) -> None:
    """Each is told once and none replaces another: what came since changes nothing."""
    known = {key: event(kit_ctx, key, 1) for key in "ab"}

    async def changes() -> None:
        await write(kit_ctx, event(kit_ctx, "b", 2))

    assert await republish(kit_ctx, of(known, changes), Kind.FACT, None, heard) == 2
    await relay_once(kit_ctx)
    assert numbers(await logged(kit_ctx), "b") == [2, 1]


@pytest.mark.parametrize("many", [0, 1, BATCH, 2 * BATCH + 1])
async def test_every_event_is_sent_again_in_batches(kit_ctx: Ctx[Any], many: int) -> None:
    """Of no, one, a full and a broken batch; progress is told after each full one."""
    known = {f"k{n}": event(kit_ctx, f"k{n}", 7) for n in range(many)}
    told: list[int] = []
    assert await republish(kit_ctx, of(known), Kind.STATE, None, told.append) == many
    await relay_once(kit_ctx)
    assert await last_words(kit_ctx) == dict.fromkeys(known, 7)
    assert told == [BATCH * (n + 1) for n in range(many // BATCH)]


@pytest.mark.parametrize("open_s", [0.3, 2.6])
async def test_a_change_that_has_not_committed_is_waited_for(kit_ctx: Ctx[Any], monkeypatch: pytest.MonkeyPatch, open_s: float) -> None:
    """It has its place in the outbox already, before the one that would be told over it; writers do not wait behind a long one."""
    monkeypatch.setattr(republishing, "PAUSE_S", 0.1)
    known = {"a": event(kit_ctx, "a", 1)}
    read, go = asyncio.Event(), asyncio.Event()

    async def changing() -> None:
        await read.wait()
        async with kit_ctx.db.write() as tx:
            await outbox.append(tx, event(kit_ctx, "a", 2))
            go.set()
            await asyncio.sleep(open_s)

    async def changes() -> None:
        read.set()
        await go.wait()

    change = asyncio.get_running_loop().create_task(changing())
    assert await republish(kit_ctx, of(known, changes), Kind.STATE, None, heard) == 0
    await change
    await relay_once(kit_ctx)
    assert await last_words(kit_ctx) == {"a": 2}
