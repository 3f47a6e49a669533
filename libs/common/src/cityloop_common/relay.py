"""Sends the outbox to the event log: one relay a service, in order per key, nothing lost; the inbox removes doubles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from cityloop_common import metrics, outbox
from cityloop_common.context import Ctx
from cityloop_common.endings import to_its_end
from cityloop_common.envelope import Event, to_headers
from cityloop_common.errors import DeadlinePassed, Unavailable
from cityloop_common.eventlog import Message
from cityloop_common.leases import Held, LeaseLost, hold_while

BATCH = 500
IDLE_S = 1.0
BACKOFF_S = (0.2, 0.5, 1.0, 2.0)
log = structlog.get_logger(__name__)


async def run_relay(ctx: Ctx[Any], holder: str) -> None:
    """Relays until cancelled; `holder` names this process. Waits while another process has the right."""
    failures = 0

    async def relay(held: Held) -> None:
        nonlocal failures
        metrics.relay_holder.set(ctx.service, to=1)
        while True:
            await held.renew()
            stop = asyncio.Event()  # a stop that cuts a batch between the log and its mark would have it sent twice
            failed = await to_its_end(relay_once(ctx, held, stop), asked=stop.set)
            failures = failures + 1 if failed else 0
            if failed:  # a key that fails delays the others by the first pause at most
                pause_s = BACKOFF_S[min(failures, len(BACKOFF_S)) - 1]
                await ctx.clock.sleep(BACKOFF_S[0])
                await ctx.signals.wait("outbox", pause_s - BACKOFF_S[0])
            else:
                await ctx.signals.wait("outbox", IDLE_S)

    while True:
        try:
            await hold_while(ctx, "relay", holder, relay)
        except (Unavailable, DeadlinePassed) as error:
            if not isinstance(error, LeaseLost):
                log.warning("relay_waits", reason=str(error))
            await ctx.clock.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1
        finally:
            metrics.relay_holder.set(ctx.service, to=0)


async def relay_once(ctx: Ctx[Any], held: Held | None = None, stop: asyncio.Event | None = None) -> int:
    """Sends everything that waits; answers how many stay behind. A key that fails holds back only that key.

    While a full batch is being sent the next one is read and the one before is marked. `stop` ends it after the batch in hand.
    """
    blocked: set[tuple[str, str]] = set()
    stuck: set[int] = set()
    sent: Sequence[int] = ()
    waiting = await _read(ctx, but=())
    while waiting and not (stop is not None and stop.is_set()):
        ready = [(position, event) for position, event in waiting if (event.topic, event.key) not in blocked]
        if held is not None:
            await held.renew()
        known = {position for position, _ in waiting}
        async with _first_error(), asyncio.TaskGroup() as group:
            sending = group.create_task(_send(ctx, ready, blocked))
            reading = group.create_task(_read(ctx, but={*known, *sent, *stuck})) if len(waiting) == BATCH else None
            if sent:
                group.create_task(_mark(ctx, sent))
        sent = sending.result()
        stuck |= known.difference(sent)
        if not sent and len({(event.topic, event.key) for _, event in ready}) > 1:
            break  # not a key but the log: the rest would fail too
        waiting = reading.result() if reading is not None else ()  # what came since has rung the signal
    if sent:
        await _mark(ctx, sent)
    return len(stuck)


@asynccontextmanager
async def _first_error() -> AsyncIterator[None]:
    """Raises what went wrong first instead of the group of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def _read(ctx: Ctx[Any], *, but: Collection[int]) -> Sequence[tuple[int, Event]]:
    async with ctx.db.read() as tx:
        return await outbox.unpublished(tx, but=but, most=BATCH)


async def _send(ctx: Ctx[Any], ready: Sequence[tuple[int, Event]], blocked: set[tuple[str, str]]) -> Sequence[int]:
    """Sends a batch; answers the positions that the log has and notes the keys that failed."""
    outcomes = await ctx.log.send([_message(event) for _, event in ready])
    sent: list[int] = []
    for (position, event), outcome in zip(ready, outcomes, strict=True):
        if outcome is None:
            sent.append(position)
        elif (event.topic, event.key) not in blocked:
            blocked.add((event.topic, event.key))
            log.warning("relay_failed", event_id=event.id, type=event.type, reason=str(outcome)[:200])
    metrics.relay_failures.add(ctx.service, by=len(ready) - len(sent))
    return sent


async def _mark(ctx: Ctx[Any], sent: Sequence[int]) -> None:
    async with ctx.db.write() as tx:
        await outbox.mark_published(tx, sent)
    metrics.relay_published.add(ctx.service, by=len(sent))


def _message(event: Event) -> Message:
    return Message(event.topic, event.key.encode(), event.data, to_headers(event))
