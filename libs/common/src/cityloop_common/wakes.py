"""Carries wake-ups between the processes of a service on PostgreSQL by LISTEN/NOTIFY.

A NOTIFY inside a write unit would make commits queue for one lock of the whole server, so it is sent after the commit,
on a connection of its own, at most a hundred times a second. A wake-up that is lost costs one poll interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from cityloop_common.context import Ctx
from cityloop_common.dberrors import SESSION_LOST
from cityloop_common.errors import Unavailable

NAMES: Sequence[str] = ("outbox", "jobs")
AT_MOST_EVERY_S = 0.01
RETRY_S = 1.0
log = structlog.get_logger(__name__)


async def send_wakes(ctx: Ctx[Any], name: str) -> None:
    """In an API process: passes local wake-ups called `name` on to the workers, until cancelled."""
    while True:
        try:
            connection = await ctx.db.session()
            try:
                while True:
                    await ctx.signals.wait(name, 30.0)
                    await connection.execute("SELECT pg_notify($1, '')", _channel(ctx, name), timeout=5)
                    await ctx.clock.sleep(AT_MOST_EVERY_S)
            finally:
                connection.terminate()
        except (Unavailable, *SESSION_LOST) as error:
            log.warning("wakes_wait", direction="send", reason=str(error))
            await ctx.clock.sleep(RETRY_S)


async def hear_wakes(ctx: Ctx[Any]) -> None:
    """In a worker: rings the local signals when another process asks, until cancelled."""

    def ring(_connection: object, _pid: int, channel: str, _payload: object) -> None:
        ctx.signals.notify(channel.rpartition("_")[2])

    while True:
        try:
            connection = await ctx.db.session()
            try:
                for name in NAMES:
                    await connection.add_listener(_channel(ctx, name), ring)
                while not connection.is_closed():
                    await ctx.clock.sleep(RETRY_S)
            finally:
                connection.terminate()
        except (Unavailable, *SESSION_LOST) as error:
            log.warning("wakes_wait", direction="hear", reason=str(error))
            await ctx.clock.sleep(RETRY_S)


def _channel(ctx: Ctx[Any], name: str) -> str:
    return f"cityloop_{ctx.service}_{name}"
