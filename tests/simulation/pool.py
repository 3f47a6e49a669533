"""The pool without processes: each kind of work is given by the scenario, takes a drawn time, and sometimes dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from cityloop_common.pool import WorkDied, WorkKilled, WorkRaised
from tests.simulation.node import Node

DIES = 0.15
Work = Callable[[Mapping[str, Any]], Any]


class InlinePool:
    """The pool as one node sees it. Its tasks end with the node; the arithmetic itself takes no virtual time."""

    def __init__(self, node: Node, works: Mapping[str, Work] | None = None, *, longest_s: float = 8.0) -> None:
        self._node = node
        self._works = works or {}
        self._longest_s = longest_s
        self._rng = node.world.stream(f"pool/{node.label}")

    async def run(
        self,
        work: str,
        payload: Mapping[str, object],
        *,
        kill_after_s: float,
        on_progress: Callable[[Any], None] | None = None,
        stop: asyncio.Event | None = None,
    ) -> Any:
        """What the scenario's function answers, after a while. Raises as the real pool does."""
        await self._node.point()
        takes_s = self._rng.uniform(0.2, self._longest_s)
        dies = self._rng.random() < DIES
        try:
            async with asyncio.timeout(kill_after_s):
                await self._work(takes_s * self._rng.random() if dies else takes_s, on_progress, stop)
        except TimeoutError:
            raise WorkKilled(f"{work} was still running after {kill_after_s:g} s") from None
        if dies:
            raise WorkDied("exit status -9")
        try:
            result = self._works[work](payload)
        except Exception as error:
            raise WorkRaised(f"{type(error).__name__}: {error}") from error
        self._node.world.note(self._node.label, f"has worked at {work}")
        await self._node.point()
        return result

    async def _work(self, takes_s: float, on_progress: Callable[[Any], None] | None, stop: asyncio.Event | None) -> None:
        elapsed_s = 0.0
        while elapsed_s < takes_s and not (stop and stop.is_set()):
            step_s = min(1.0, takes_s - elapsed_s)
            await asyncio.sleep(step_s)
            elapsed_s += step_s
            if on_progress is not None:
                on_progress({"elapsed_s": round(elapsed_s, 3), "distance_m": 0, "vehicles": 0, "unserved": 0})

    async def close(self) -> None:
        """Nothing is open."""
