"""People who do not stop while something else happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

Doing = Callable[[int], Coroutine[Any, Any, None]]
"""What somebody does, given the number of his turn, from 1 on."""


@asynccontextmanager
async def unceasing(*doings: Doing) -> AsyncIterator[None]:
    """While the body runs each is done again and again; then what was begun is brought to its end, and nothing begins any more."""
    stopping = asyncio.Event()

    async def again_and_again(do: Doing) -> None:
        turn = 0
        while not stopping.is_set():
            turn += 1
            await do(turn)

    async with asyncio.TaskGroup() as group:
        for do in doings:
            group.create_task(again_and_again(do))
        try:
            yield
        finally:
            stopping.set()
