"""`python -m benchmarks [row ...]`: measures and writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import uvloop

from benchmarks import report
from benchmarks.rows import (
    embedded,
    events,
    forecast,
    holds,
    indicators,
    observations,
    page,
    planner,
    planner_day,
    restart,
    search,
    stall,
    tcec,
)
from cityloop_common.clock import city_day
from tests.support import scaled

ROWS: dict[str, Callable[[int], Awaitable[list[report.Measured]]]] = {
    "a": search.measure,
    "b": holds.measure,
    "c": events.measure,
    "d": observations.measure,
    "e": tcec.measure,
    "f": indicators.measure,
    "g": stall.measure,
    "h": restart.measure,
    "i": embedded.measure,
    "j": page.measure,
    "k": planner.plain,
    "l": planner.with_windows,
    "m": planner.waste,
    "n": planner_day.measure,
    "o": forecast.measure,
}
ROUNDS = 5


def main() -> int:
    """Measures the rows that were named, or all."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    arguments.add_argument("rows", nargs="*", choices=[*ROWS, []], help="rows to measure; all when none is named")
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each; ours and the baseline take turns")
    asked = arguments.parse_args()
    measured: list[report.Measured] = []
    names = asked.rows or list(ROWS)
    started = time.monotonic()
    for done, name in enumerate(names):
        left = "" if not done else f", about {(time.monotonic() - started) / done * (len(names) - done):.0f} s left"
        sys.stderr.write(f"row {name} ({done + 1} of {len(names)}{left})\n")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_measured(ROWS[name], asked.rounds))
        for each in found:
            sys.stderr.write(f"  {each.row}: {each.what}: ratio {each.ratio:.2f}\n")
        measured += found
    report.write(measured, today=city_day(datetime.now(UTC)), command=_command(asked))
    missed = [each.row for each in measured if each.floor is not None and each.ratio < each.floor]
    sys.stderr.write(f"written to docs/benchmarks.md{'; below what is wanted: ' + ', '.join(missed) if missed else ''}\n")
    return 0


def _command(asked: argparse.Namespace) -> str:
    """How this run was asked for."""
    words = [*asked.rows, *([] if asked.rounds == ROUNDS else ["--rounds", str(asked.rounds)])]
    scale = "CITYLOOP_SCALE=full " if scaled(ci=0, full=1) else ""
    return f'{scale}make bench ARGS="{" ".join(words)}"' if words else f"{scale}make bench"


async def _measured(row: Callable[[int], Awaitable[list[report.Measured]]], rounds: int) -> list[report.Measured]:
    return await row(rounds)


sys.exit(main())
