"""A solve in a process of its own, with a progress line that is alive also while the solver says nothing."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from cityloop_common.clock import Clock
from cityloop_common.pool import SpawnedPool, WorkDied, WorkFailed, WorkKilled
from cityloop_common.terminal import err, progress_bar
from cityloop_waste.planning import solver
from cityloop_waste.planning.domain import Engine
from cityloop_waste.planning.formats import Format, printed

TICK_S = 0.25
INTERRUPTED = 130
PATIENCE_S = 4.0
"""How long a solver that was asked to stop may take before its process is ended and what it told last is taken."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be solved, and how."""

    text: str
    format: Format
    name: str
    vehicles: int | None
    seconds: int
    engine: Engine
    best: float | None
    bound_seconds: int
    seed: int

    def payload(self) -> dict[str, object]:
        """For the pool's process."""
        return {
            "text": self.text,
            "format": self.format.value,
            "vehicles": self.vehicles,
            "seconds": self.seconds,
            "engine": self.engine.value,
            "seed": self.seed,
            "bound_seconds": self.bound_seconds,
        }


async def answer(wanted: Wanted, clock: Clock) -> Mapping[str, Any]:
    """What the solver's process answers (`file_work`), or told last: after Ctrl-C, or when the process came to an end of its own.

    Ends the command where there is no plan yet. Raises WorkFailed.
    """
    pool, stop = SpawnedPool(workers=1), asyncio.Event()
    kill_after_s = wanted.seconds + wanted.bound_seconds + solver.GRACE_S

    async def attempt() -> Mapping[str, Any] | WorkFailed:
        try:
            answer: Mapping[str, Any] = await pool.run(
                solver.SOLVE_FILE, wanted.payload(), kill_after_s=kill_after_s, on_progress=line.told, stop=stop
            )
        except WorkFailed as failed:  # a group would wrap it
            return failed
        return answer

    with progress_bar(f"solve {wanted.name}") as advance:
        line = _Line(advance, wanted, clock)
        async with asyncio.TaskGroup() as group:
            ticking, solving = group.create_task(line.tick()), group.create_task(attempt())
            asked = group.create_task(_true(stop))
            with _interrupts(stop.set):
                await asyncio.wait({solving, asked}, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait({solving}, timeout=PATIENCE_S)
            for task in (ticking, asked, solving):
                task.cancel()
    return _kept(line.last if solving.cancelled() else solving.result(), line.last)


def _kept(outcome: Mapping[str, Any] | WorkFailed | None, last: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if isinstance(outcome, WorkDied | WorkKilled) and last is not None:
        err.print(f"{outcome.title}: {outcome.detail}. What it told last is taken.", markup=False, soft_wrap=True)
        return last
    if isinstance(outcome, WorkFailed):
        raise outcome
    if outcome is None:
        err.print("stopped before the first plan")
        raise typer.Exit(INTERRUPTED)
    return outcome


async def _true(event: asyncio.Event) -> None:
    await event.wait()


class _Line:
    """The progress line."""

    def __init__(self, advance: Callable[[int, int | None, str], None], wanted: Wanted, clock: Clock) -> None:
        self._advance, self._wanted, self._clock = advance, wanted, clock
        self._total = wanted.seconds + wanted.bound_seconds
        self._began, self._note = clock.monotonic(), "s, starting"
        self.last: Mapping[str, Any] | None = None

    def told(self, value: Mapping[str, Any]) -> None:
        """Takes what the solver says of its best plan."""
        self.last = value
        best, cost, unserved = self._wanted.best, printed(value["cost"], self._wanted.format), len(value["unserved"])
        parts = [f"s, cost {cost:,.10g}", f"{len(value['routes'])} vehicles"]
        parts += [f"{unserved} left out"] if unserved else []
        parts += [f"gap {gap_percent(cost, best):.2f} %"] if best is not None else []
        parts += ["bound"] if value["phase"] == "bound" else []
        self._note = ", ".join(parts)

    async def tick(self) -> None:
        """Draws it again and again."""
        while True:
            self._advance(min(self._total, int(self._clock.monotonic() - self._began)), self._total, self._note)
            await self._clock.sleep(TICK_S)


@contextlib.contextmanager
def _interrupts(ask: Callable[[], object]) -> Iterator[None]:
    """The first Ctrl-C calls `ask`; the second ends the command as it always does."""
    loop = asyncio.get_running_loop()
    usual = signal.getsignal(signal.SIGINT)

    def first() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, usual)
        ask()

    loop.add_signal_handler(signal.SIGINT, first)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, usual)


def gap_percent(cost: float, best: float) -> float:
    """How much dearer a plan is than the best known."""
    return (cost - best) / best * 100
