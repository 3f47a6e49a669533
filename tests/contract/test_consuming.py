"""Consumers: at least once from the log, once in the tables; what cannot be read is put aside with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import func, insert, select

from cityloop_common import metrics
from cityloop_common.consuming import Consumer, On, run_consumer
from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event, EventType, Kind, to_headers
from cityloop_common.errors import Contention
from cityloop_common.eventlog import MAX_MESSAGE_BYTES, Message, Record, Retention, TopicSpec
from tests.contract.kit_support import effect
from tests.support import wait_until

STATES, FACTS = "kit.state", "kit.fact"


class Thing(BaseModel):
    """A body."""

    n: int


STATE = EventType("kit.state.changed.v1", STATES, Kind.STATE, Thing)
FACT = EventType("kit.fact.happened.v1", FACTS, Kind.FACT, Thing)
Handle = Callable[[WriteTx, Ctx[Any], Event, Thing], Awaitable[None]]


@pytest.fixture(autouse=True)
async def _topics(kit_ctx: Ctx[Any]) -> None:
    names = (STATES, FACTS, f"{STATES}.dlq", f"{FACTS}.dlq")
    await kit_ctx.log.create_topics([TopicSpec(name, Retention.DELETE, partitions=2) for name in names])


def made(kind: EventType[Thing], ctx: Ctx[Any], key: str, n: int) -> Event:
    """The n-th event of a key."""
    return kind.event(Thing(n=n), id=ctx.ids.new(), key=key, sequence=n, time=datetime.now(UTC), source="/test")


async def send(ctx: Ctx[Any], *events: Event) -> None:
    """Puts events into the log as a relay does."""
    outcomes = await ctx.log.send([Message(each.topic, each.key.encode(), each.data, to_headers(each)) for each in events])
    assert not any(outcomes)


async def store_effect(tx: WriteTx, _ctx: Ctx[Any], event: Event, body: Thing) -> None:
    """The effect of an event: one row with its id."""
    await tx.run(insert(effect).values(id=event.id, n=body.n, recorded_at=tx.recorded_at))


@asynccontextmanager
async def consuming(ctx: Ctx[Any], handle: Handle = store_effect, name: str = "kit-test") -> AsyncIterator[None]:
    """A running consumer of both topics."""
    on = [On(kind.name, kind.topic, kind.kind, Thing, handle) for kind in (STATE, FACT)]
    task = asyncio.get_running_loop().create_task(run_consumer(ctx, Consumer(name, on)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def effects(ctx: Ctx[Any]) -> int:
    """How many took effect."""
    async with ctx.db.read() as tx:
        return int(await tx.scalar(select(func.count()).select_from(effect)))


async def until_effects(ctx: Ctx[Any], wanted: int) -> None:
    """Waits for exactly so many."""

    async def there() -> bool:
        return await effects(ctx) == wanted

    await wait_until(there, what=f"{wanted} effects")


async def letters(ctx: Ctx[Any]) -> list[Record]:
    """Dead letters of both topics."""
    return [record async for record in ctx.log.read([f"{STATES}.dlq", f"{FACTS}.dlq"], from_start=True, follow=False)]


async def test_a_fact_that_comes_again_takes_effect_once(kit_ctx: Ctx[Any]) -> None:
    """Twice in one chunk, and again later, with the same id."""
    facts = [made(FACT, kit_ctx, "a", n) for n in range(1, 6)]
    await send(kit_ctx, *facts, *facts)
    async with consuming(kit_ctx):
        await until_effects(kit_ctx, 5)
        await send(kit_ctx, *facts, made(FACT, kit_ctx, "a", 6))
        await until_effects(kit_ctx, 6)


async def test_facts_take_effect_in_any_order(kit_ctx: Ctx[Any]) -> None:
    """Ended before started: both are applied, and the gap is counted."""
    before = metrics.consumer_gaps.value("kit", "kit-test")
    async with consuming(kit_ctx):
        await send(kit_ctx, made(FACT, kit_ctx, "late", 2))
        await until_effects(kit_ctx, 1)
        await send(kit_ctx, made(FACT, kit_ctx, "late", 1))
        await until_effects(kit_ctx, 2)
    assert metrics.consumer_gaps.value("kit", "kit-test") == before + 1


async def test_a_chunk_is_handled_in_the_order_of_its_keys(kit_ctx: Ctx[Any]) -> None:
    """Whoever stores many aggregates in a unit locks them in the order of their keys: so does a consumer. Facts of one key keep theirs."""
    handled: list[tuple[str, int]] = []

    async def note(tx: WriteTx, ctx: Ctx[Any], event: Event, body: Thing) -> None:
        await store_effect(tx, ctx, event, body)
        handled.append((event.key, body.n))

    await send(kit_ctx, *(made(FACT, kit_ctx, key, n) for n in (1, 2) for key in ("c", "a", "d", "b")))
    async with consuming(kit_ctx, note):
        await until_effects(kit_ctx, 8)
    assert handled == [(key, n) for key in ("a", "b", "c", "d") for n in (1, 2)]


async def test_an_older_state_is_superseded(kit_ctx: Ctx[Any]) -> None:
    """Each newer version takes effect in order, an older or equal one never."""
    async with consuming(kit_ctx):
        await send(kit_ctx, *(made(STATE, kit_ctx, "a", n) for n in (1, 2, 3)))
        await until_effects(kit_ctx, 3)
        await send(kit_ctx, made(STATE, kit_ctx, "a", 2), made(STATE, kit_ctx, "a", 3), made(STATE, kit_ctx, "b", 1))
        await until_effects(kit_ctx, 4)
        await send(kit_ctx, made(STATE, kit_ctx, "a", 4))
        await until_effects(kit_ctx, 5)


def _poison(ctx: Ctx[Any]) -> Sequence[Message]:
    good = made(FACT, ctx, "poison", 1)
    headers = to_headers(good)
    return [
        Message(FACTS, b"poison", b"{not json", headers),
        Message(FACTS, b"poison", b'{"n": "many"}', headers),
        Message(FACTS, b"poison", b'{"n": 1}', [header for header in headers if header[0] != "ce_id"]),
        Message(STATES, b"poison", None, [("ce_type", STATE.name.encode())]),
    ]


async def test_poison_is_put_aside_with_the_reason_and_the_others_go_on(kit_ctx: Ctx[Any]) -> None:
    """Not JSON, a wrong type, a header that is missing, no body: four letters, and every good event took effect."""
    await send(kit_ctx, *(made(FACT, kit_ctx, "poison", n) for n in (1, 2)))
    assert not any(await kit_ctx.log.send(_poison(kit_ctx)))
    await send(kit_ctx, *(made(FACT, kit_ctx, "poison", n) for n in (3, 4)))
    async with consuming(kit_ctx):
        await until_effects(kit_ctx, 4)

        async def four() -> bool:
            return len(await letters(kit_ctx)) == 4

        await wait_until(four)
    reasons = [letter.headers["dlq_reason"].decode() for letter in await letters(kit_ctx)]
    assert all(letter.headers["dlq_consumer"] == b"kit-test" for letter in await letters(kit_ctx))
    assert any("JSON" in reason for reason in reasons)
    assert any("ce_id" in reason for reason in reasons)


async def test_poison_of_the_largest_size_does_not_stop_the_others(kit_ctx: Ctx[Any]) -> None:
    """A record that just fits in the log is put aside whole, though its reason makes the letter larger."""
    headers = to_headers(made(FACT, kit_ctx, "poison", 1))
    room = MAX_MESSAGE_BYTES - len(b"poison") - sum(len(name) + len(value) for name, value in headers)
    assert not any(await kit_ctx.log.send([Message(FACTS, b"poison", b"x" * room, headers)]))
    await send(kit_ctx, made(FACT, kit_ctx, "poison", 2))
    async with consuming(kit_ctx):
        await until_effects(kit_ctx, 1)
    assert [len(letter.value or b"") for letter in await letters(kit_ctx)] == [room]


async def test_a_handler_that_always_fails_ends_as_a_letter_and_can_be_replayed(kit_ctx: Ctx[Any]) -> None:
    """Three tries, then aside, with its whole record; after the fix the same record takes effect."""
    broken = True
    tried = 0

    async def handle(tx: WriteTx, ctx: Ctx[Any], event: Event, body: Thing) -> None:
        nonlocal tried
        if broken and body.n == 2:
            tried += 1
            raise RuntimeError("a bug")
        await store_effect(tx, ctx, event, body)

    async with consuming(kit_ctx, handle):
        await send(kit_ctx, *(made(FACT, kit_ctx, "a", n) for n in (1, 2, 3)))
        await until_effects(kit_ctx, 2)

        async def one() -> list[Record]:
            return await letters(kit_ctx)

        letter = (await wait_until(one))[0]
        assert tried >= 3
        assert b"a bug" in letter.headers["dlq_reason"]
        broken = False
        headers = [(name, value) for name, value in letter.headers.items() if not name.startswith("dlq_")]
        await kit_ctx.log.send([Message(FACTS, letter.key or b"", letter.value, headers)])
        await until_effects(kit_ctx, 3)


async def test_an_outage_is_waited_out_in_place(kit_ctx: Ctx[Any]) -> None:
    """A database that says "try again" costs time; nothing becomes a letter, the order stays."""
    away = 4
    seen: list[int] = []

    async def handle(tx: WriteTx, ctx: Ctx[Any], event: Event, body: Thing) -> None:
        nonlocal away
        if away:
            away -= 1
            raise Contention
        await store_effect(tx, ctx, event, body)
        tx.after_commit(lambda: seen.append(body.n))

    async with consuming(kit_ctx, handle):
        await send(kit_ctx, *(made(FACT, kit_ctx, "a", n) for n in (1, 2, 3)))
        await until_effects(kit_ctx, 3)
    assert seen == [1, 2, 3]
    assert not await letters(kit_ctx)


async def test_a_crash_between_commit_and_offset_repeats_nothing(kit_ctx: Ctx[Any]) -> None:
    """The effect is stored, the offset is not: the next member gets the records again and skips them."""
    facts = [made(FACT, kit_ctx, "a", n) for n in range(1, 4)]
    await send(kit_ctx, *facts)
    subscription = await kit_ctx.log.subscribe("kit-test", [STATES, FACTS])
    polled = await subscription.poll(max_records=100, timeout_s=5)
    assert sum(len(records) for records in polled.values()) == 3
    await subscription.close()
    async with consuming(kit_ctx):
        await until_effects(kit_ctx, 3)
    async with consuming(kit_ctx, name="kit-other"):

        async def handled() -> bool:
            return metrics.dead_letters.value("kit", "kit-other", FACTS) > 0

        await wait_until(handled, what="a second group's duplicate key")
    assert await effects(kit_ctx) == 3


async def test_two_members_share_the_work_and_do_it_once(kit_ctx: Ctx[Any]) -> None:
    """Two members of one group, one of them leaving in the middle: every event once."""
    facts = [made(FACT, kit_ctx, f"k{n % 20}", n) for n in range(1, 201)]
    async with consuming(kit_ctx):
        async with consuming(kit_ctx):
            await send(kit_ctx, *facts[:100])
            await wait_until(lambda: True)
        await send(kit_ctx, *facts[100:])
        await until_effects(kit_ctx, 200)
