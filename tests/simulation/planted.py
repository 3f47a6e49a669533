"""Three bugs to be found: each takes away one of the rules that the kit and parking are built on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from sqlalchemy import func, select, update

from cityloop_common import consuming, outbox
from cityloop_common.consuming import Consumer, On
from cityloop_common.context import Ctx
from cityloop_common.db import HotStatement, WriteTx
from cityloop_common.envelope import Event, to_headers
from cityloop_common.eventlog.port import Message, Record
from cityloop_parking.reservations import statements, store
from cityloop_parking.reservations.store import HoldOutcome
from cityloop_parking.reservations.tables import pool_bucket
from tests.simulation.node import NODE


async def _publish_after_commit(tx: WriteTx, event: Event) -> None:
    await _publish_all_after_commit(tx, [event])


async def _publish_all_after_commit(tx: WriteTx, events: Sequence[Event]) -> None:
    node = NODE.get()
    messages = [Message(event.topic, event.key.encode(), event.data, to_headers(event)) for event in events]
    if node.log is not None:
        log = node.log
        tx.after_commit(lambda: node.spawn(log.send(messages), "publish"))


@contextmanager
def no_outbox() -> Iterator[None]:
    """Events go to the log after COMMIT, past the outbox."""
    with mock.patch.object(outbox, "append", _publish_after_commit), mock.patch.object(outbox, "append_many", _publish_all_after_commit):
        yield


async def _apply_apart(ctx: Ctx[Any], consumer: Consumer, handlers: Mapping[str, On[Any]], chunk: Sequence[Record]) -> None:
    taken = [one for record in chunk if (one := consuming._read(record, handlers)) is not None]
    if not taken:
        return
    async with ctx.db.write() as tx:
        fresh = await consuming._fresh(tx, ctx, consumer, taken)
    async with ctx.db.write() as tx:
        for one in fresh:
            await one.on.handle(tx, ctx, one.event, one.body)


@contextmanager
def inbox_apart() -> Iterator[None]:
    """The inbox's row is stored before its effect is."""
    with mock.patch.object(consuming, "_apply", _apply_apart):
        yield


_FREE = HotStatement(select(func.count()).select_from(pool_bucket).where(statements._free_in_range()))
_TAKE_ANYWAY = HotStatement(update(pool_bucket).values(booked=pool_bucket.c.booked + 1).where(statements._in_range()))


async def _check_then_take(tx: WriteTx, params: dict[str, object], counted: statements.Counted, needed: int) -> HoldOutcome:
    opened, present = (await tx.hot.all(statements.READY, params))[0]
    if opened != 1 or present < needed:
        return HoldOutcome(opened == 1, present, counted=False, taken=0)
    free = (await tx.hot.all(_FREE, params))[0][0]
    counting = await tx.hot.all(statements.COUNT_HOLDERS[counted], params)
    if len(counting) < counted.value:
        return HoldOutcome(True, present, counted=False, taken=0)
    if free == needed:
        await tx.hot.run(_TAKE_ANYWAY, params)
        await tx.hot.run(statements.INSERT, params)
    return HoldOutcome(True, present, counted=True, taken=free if free == needed else 0)


@contextmanager
def check_then_insert() -> Iterator[None]:
    """A hold looks for a free space first and takes it afterwards, without a condition."""
    with mock.patch.object(store, "_take_in_steps", _check_then_take):
        yield


BUGS: Mapping[str, Callable[[], Any]] = {"no-outbox": no_outbox, "inbox-apart": inbox_apart, "check-then-insert": check_then_insert}
