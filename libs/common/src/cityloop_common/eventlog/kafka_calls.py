"""Calls to Kafka that end in time, and clients that are left behind when they cannot be closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from cityloop_common.endings import is_asked_to_stop
from cityloop_common.eventlog.port import LogUnavailable

_CLOSE_S = 3.0
_ASK_AGAIN_S = 0.2


def unhurried(client: AIOKafkaClient) -> None:
    """Lets a client wait before it asks again who leads a partition.

    aiokafka 0.14: while a producer has something for a partition without a leader and the broker refuses connections, its sender
    asks without a pause, some 3,000 times a second; so the pause is in the asking.
    """
    ask = client._metadata_update

    async def ask_and_rest(*given: object) -> bool:
        known: bool = await ask(*given)
        if not known:
            await asyncio.sleep(_ASK_AGAIN_S)
        return known

    client._metadata_update = ask_and_rest


@asynccontextmanager
async def answering(what: str, within_s: float) -> AsyncIterator[None]:
    """Puts a deadline on calls to the brokers. Raises LogUnavailable for whatever goes wrong.

    aiokafka 0.14 lets the cancellation of its own tasks out of some calls: where nobody asked this task to stop, the call has failed.
    """
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError as error:
        raise LogUnavailable(f"kafka: {what}: no answer within {within_s:g} s") from error
    except (KafkaError, OSError) as error:
        raise LogUnavailable(f"kafka: {what}: {error!r}") from error
    except asyncio.CancelledError as error:
        if is_asked_to_stop():
            raise
        raise LogUnavailable(f"kafka: {what}: broken off") from error


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leaves the group; when the brokers do not answer, ends the consumer's own tasks and connections."""
    if await closed_in_time(consumer.stop):
        return
    # aiokafka 0.14: a stop() that was cut off never goes on, so what it would have ended is ended here.
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    for name in ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task"):
        await _ended(getattr(coordinator, name, None))
    if fetcher is not None:
        await _ended(getattr(fetcher, "_fetch_task", None))
        for task in list(fetcher._pending_tasks):
            await _ended(task)
        await closed_in_time(fetcher.close)
    await closed_in_time(consumer._client.close)


async def _ended(task: asyncio.Task[object] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task], timeout=_CLOSE_S)


async def closed_in_time(close: Callable[[], Coroutine[Any, Any, object]], within_s: float = _CLOSE_S) -> bool:
    """Whether a client closed without trouble; one that does not is left behind.

    It closes in a task of its own. aiokafka 0.14 lets cancellations of its own tasks out of its stop(): that of a fetch which rests
    after it failed, for one. Awaited here it would look as if whoever closes the client had been told to stop, and a consumer would
    end in silence.
    """
    closing = asyncio.get_running_loop().create_task(close())
    closing.add_done_callback(_looked_at)
    try:
        await asyncio.wait([closing], timeout=within_s)
    finally:
        await _ended(closing)
    if not closing.done() or closing.cancelled():
        return False
    error = closing.exception()
    if error is not None and not isinstance(error, TimeoutError | KafkaError | OSError):
        raise error
    return error is None


def _looked_at(task: asyncio.Task[object]) -> None:
    """Nobody asks a client that was left behind how it ended."""
    if not task.cancelled():
        task.exception()
