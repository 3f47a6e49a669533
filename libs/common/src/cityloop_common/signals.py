"""Named wake-ups inside one process; a wake-up lost costs a poll interval, never a fact."""

from __future__ import annotations

import asyncio


class Signals:
    """Lets one coroutine tell others that there is something to do."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[asyncio.Event, None]] = {}  # a set would wake them in the order of their addresses
        self._pending: set[str] = set()

    def notify(self, name: str) -> None:
        """Wakes everyone who waits for `name`; with nobody waiting, the next wait returns at once."""
        waiting = self._waiting.get(name)
        if not waiting:
            self._pending.add(name)
            return
        for event in waiting:
            event.set()

    async def wait(self, name: str, timeout_s: float) -> None:
        """Returns when notified, or after `timeout_s`."""
        if name in self._pending:
            self._pending.discard(name)
            return
        event = asyncio.Event()
        waiting = self._waiting.setdefault(name, {})
        waiting[event] = None
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return
        finally:
            waiting.pop(event, None)
