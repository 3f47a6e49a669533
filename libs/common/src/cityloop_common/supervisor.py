"""One supervisor for the background loops of a process: each is named, and one that dies ends the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import structlog

from cityloop_common.endings import is_asked_to_stop
from cityloop_common.service import Loop

log = structlog.get_logger(__name__)


class LoopEnded(Exception):
    """A loop that should run for ever came to an end; the text names it."""


@asynccontextmanager
async def supervised(loops: Mapping[str, Loop]) -> AsyncIterator[None]:
    """Runs loops beside the body, and cancels them after it. A loop that raises or returns ends the body too.

    Raises LoopEnded, or what the body raised.
    """
    raised: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_forever(name, loop), name=name) for name, loop in loops.items()]
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised below, without the group around it
                raised = error
            for task in tasks:
                task.cancel()
    except* LoopEnded as ended:
        raise ended.exceptions[0] from None
    if raised is not None:
        raise raised


async def _forever(name: str, loop: Loop) -> None:
    try:
        await loop()
    except asyncio.CancelledError as error:
        if is_asked_to_stop():
            raise
        log.exception("loop_died", loop=name)  # a task group takes a cancelled task for one that was ended: it would be missing in silence
        raise LoopEnded(f"{name}: broken off by nobody") from error
    except Exception as error:
        log.exception("loop_died", loop=name)
        raise LoopEnded(f"{name}: {error!r}") from error
    raise LoopEnded(f"{name} returned")
