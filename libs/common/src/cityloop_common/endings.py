"""What has begun comes to its end: a stop breaks off waiting, not the batch in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
END_WITHIN_S = 5.0


def _nothing() -> None:
    return


def is_asked_to_stop() -> bool:
    """Whether somebody has cancelled the running task. A CancelledError without that is one of another task, which a library let out."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def to_its_end(work: Coroutine[Any, Any, T], *, within_s: float = END_WITHIN_S, asked: Callable[[], None] = _nothing) -> T:
    """Awaits a piece of work that a cancellation should not cut: it waits for the end, `within_s` at most, and is then raised.

    `asked` is called when the cancellation comes, to make a long piece end sooner. What the work raises after it is lost with it.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        asked()
        await asyncio.wait([task], timeout=within_s)
        raise
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: nobody waits for it any more
