"""Sends the outbox to the event log: one relay a service, in order per key, nothing lost; the inbox removes doubles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from cityloop_common import metrics, outbox
from cityloop_common.context import Ctx
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
            failed = await relay_once(ctx, held)
            failures = failures + 1 if failed else 0
            if failed:
                await ctx.clock.sleep(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1])
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


async def relay_once(ctx: Ctx[Any], held: Held | None = None) -> int:
    """Sends everything that waits; answers how many sends failed. A key that fails holds back only that key."""
    blocked: set[tuple[str, str]] = set()
    after = failed = 0
    while True:
        async with ctx.db.read() as tx:
            waiting = await outbox.unpublished(tx, after=after, most=BATCH)
        if not waiting:
            return failed
        after = waiting[-1][0]
        ready = [(position, event) for position, event in waiting if (event.topic, event.key) not in blocked]
        if held is not None:
            await held.renew()
        failed += await _send(ctx, ready, blocked)


async def _send(ctx: Ctx[Any], ready: Sequence[tuple[int, Event]], blocked: set[tuple[str, str]]) -> int:
    outcomes = await ctx.log.send([_message(event) for _, event in ready])
    sent: list[int] = []
    failed = 0
    for (position, event), outcome in zip(ready, outcomes, strict=True):
        if outcome is None:
            sent.append(position)
            continue
        failed += 1
        if (event.topic, event.key) not in blocked:
            blocked.add((event.topic, event.key))
            log.warning("relay_failed", event_id=event.id, type=event.type, reason=str(outcome)[:200])
    if sent:
        async with ctx.db.write() as tx:
            await outbox.mark_published(tx, sent)
        metrics.relay_published.add(ctx.service, by=len(sent))
    metrics.relay_failures.add(ctx.service, by=failed)
    return failed


def _message(event: Event) -> Message:
    return Message(event.topic, event.key.encode(), event.data, to_headers(event))
