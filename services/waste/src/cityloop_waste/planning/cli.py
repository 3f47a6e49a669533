"""`cityloop waste solve`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape

from cityloop_common.clock import Clock, SystemClock
from cityloop_common.pool import SpawnedPool, WorkFailed
from cityloop_common.terminal import AsJson, err, fail, out, print_json, progress_bar, run_async
from cityloop_waste.planning import cvrplib, solver
from cityloop_waste.planning.cvrplib import Instance, UnreadableInstance
from cityloop_waste.planning.domain import MOST_SECONDS, PlanRefused

TICK_S = 0.25
INTERRUPTED = 130


class Format(StrEnum):
    """Files that can be solved."""

    CVRPLIB = "cvrplib"


_READERS: Mapping[Format, Callable[[str], Instance]] = {Format.CVRPLIB: cvrplib.read}


@dataclass(frozen=True, slots=True)
class Report:
    """What a solve comes to; `gap_percent` is how much longer it is than the best known, where that was given."""

    vehicles: int
    cost: int
    gap_percent: float | None
    unserved: int
    verified: bool
    seconds: float


def solve(
    file: Annotated[Path, typer.Argument(help="The file.")],
    format: Annotated[Format, typer.Option("--format", help="What kind of file it is.")],
    seconds: Annotated[int, typer.Option(min=1, max=MOST_SECONDS, help="How long to search.")] = 30,
    best: Annotated[float | None, typer.Option(min=0.000001, help="Cost of the best known plan, for the gap.", metavar="N")] = None,
    as_json: AsJson = False,
) -> None:
    """Plans the routes of a file in a process of its own and checks them from the file. Ctrl-C ends with the best so far."""
    text = _text(file)
    try:
        instance = _READERS[format](text)
    except UnreadableInstance as error:
        _refuse(file, error.detail)
    report = run_async(_solve(text, instance, seconds, best))
    if as_json:
        print_json(asdict(report))
        return
    gap = "" if report.gap_percent is None else f", {report.gap_percent:.2f} % above {best:g}"
    out.print(f"cost {report.cost} with {report.vehicles} vehicles{gap}; every rule checked; {report.seconds:.1f} s")


async def _solve(text: str, instance: Instance, seconds: int, best: float | None) -> Report:
    clock = SystemClock()
    began = clock.monotonic()
    answer = await _answer(text, instance, seconds, best, clock)
    broken = cvrplib.faults(instance, answer["routes"], answer["cost"])
    if broken:
        raise PlanRefused("; ".join(broken[:20]))
    return Report(
        vehicles=len(answer["routes"]),
        cost=answer["cost"],
        gap_percent=None if best is None else round(_gap_percent(answer["cost"], best), 4),
        unserved=0,
        verified=True,
        seconds=round(clock.monotonic() - began, 1),
    )


async def _answer(text: str, instance: Instance, seconds: int, best: float | None, clock: Clock) -> Mapping[str, Any]:
    """What the solver's process answers, or what it told last when Ctrl-C ends it; before it has told any, the command ends."""
    pool = SpawnedPool(workers=1)
    payload = {"text": text, "seconds": seconds}

    async def attempt() -> Mapping[str, Any] | WorkFailed:
        try:
            answer: Mapping[str, Any] = await pool.run(
                solver.SOLVE_CVRPLIB, payload, kill_after_s=seconds + solver.GRACE_S, on_progress=line.told
            )
        except WorkFailed as failed:  # a group would wrap it
            return failed
        return answer

    with progress_bar(f"solve {instance.name}") as advance:
        line = _Line(advance, seconds, best, clock)
        async with asyncio.TaskGroup() as group:
            ticking, solving = group.create_task(line.tick()), group.create_task(attempt())
            with _interrupts(solving.cancel):
                await asyncio.wait({solving})
            ticking.cancel()
    outcome = line.last if solving.cancelled() else solving.result()
    if outcome is None:
        err.print("stopped before the first plan")
        raise typer.Exit(INTERRUPTED)
    if isinstance(outcome, WorkFailed):
        raise outcome
    return outcome


class _Line:
    """The progress line, alive also while the solver says nothing."""

    def __init__(self, advance: Callable[[int, int | None, str], None], seconds: int, best: float | None, clock: Clock) -> None:
        self._advance, self._seconds, self._best, self._clock = advance, seconds, best, clock
        self._began, self._note = clock.monotonic(), "s, starting"
        self.last: Mapping[str, Any] | None = None

    def told(self, value: Mapping[str, Any]) -> None:
        """Takes what the solver says of its best plan."""
        self.last = value
        gap = "" if self._best is None else f", gap {_gap_percent(value['cost'], self._best):.2f} %"
        self._note = f"s, cost {value['cost']}{gap}"

    async def tick(self) -> None:
        """Draws it again and again."""
        while True:
            self._advance(min(self._seconds, int(self._clock.monotonic() - self._began)), self._seconds, self._note)
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


def _gap_percent(cost: float, best: float) -> float:
    return (cost - best) / best * 100


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > cvrplib.MOST_BYTES:
            _refuse(file, f"a file has at most {cvrplib.MOST_BYTES // 1_000_000} MB")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        _refuse(file, error.strerror or str(error))
    except UnicodeDecodeError as error:
        _refuse(file, f"line {error.object[: error.start].count(bytes([10])) + 1}: not UTF-8 text")


def _refuse(file: Path, why: str) -> NoReturn:
    fail(escape(f"{file}: {why}"), 2)  # what a file holds is no mark-up
