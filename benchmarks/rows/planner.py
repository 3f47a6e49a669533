"""Rows k, l, m: the planner on public instances, in spawned processes as `cityloop waste solve` runs it.

k: CVRPLIB's X, beside the best known solutions, with the proven gap. l: Gehring-Homberger's, beside PyVRP alone in the same seconds.
m: Kim, Kim and Sahoo's, beside the lengths that their paper prints. Every plan is judged from its file.

`CITYLOOP_SCALE=full` takes the full time; `CITYLOOP_BENCH_PROCESSES=2` solves two at a time, one thread each.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.report import Measured
from cityloop_common.pool import SpawnedPool
from cityloop_waste.planning import cli_report, formats, solver
from cityloop_waste.planning.cli_report import Solved
from cityloop_waste.planning.domain import Engine
from cityloop_waste.planning.formats import Format
from tests.support import data_folder, scaled

SECONDS = scaled(ci=6, full=75)
BOUND_SECONDS = scaled(ci=4, full=60)
PROCESSES = int(os.environ.get("CITYLOOP_BENCH_PROCESSES", "1"))
WANTED_PROVEN_PERCENT = 5.0
_ALONE = """
import json, sys, pyvrp, pyvrp.stop
data = pyvrp.read(sys.argv[1], round_func="dimacs")
found = pyvrp.solve(data, pyvrp.stop.MaxRuntime(float(sys.argv[2])), seed=int(sys.argv[3]), collect_stats=False, display=False)
assert found.is_feasible()
print(json.dumps(found.cost() / 10))
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A file, how it is solved, what it is beside, and what is wanted: a gap to that in percent, or a length."""

    row: str
    name: str
    file: str
    format: Format
    beside: float
    wanted_percent: float | None = None
    wanted: float | None = None
    vehicles: int | None = None


X = (
    Case("k1", "X-n101-k25", "cvrplib/X-n101-k25.vrp", Format.CVRPLIB, 27591, wanted_percent=0.05),
    Case("k2", "X-n200-k36", "cvrplib/X-n200-k36.vrp", Format.CVRPLIB, 58578),
    Case("k3", "X-n219-k73", "cvrplib/X-n219-k73.vrp", Format.CVRPLIB, 117595, wanted_percent=0.05),
    Case("k4", "X-n401-k29", "cvrplib/X-n401-k29.vrp", Format.CVRPLIB, 66154, wanted_percent=0.6),
)
WINDOWS = (
    Case("l1", "C1_10_2", "vrptw/C1_10_2.vrp", Format.VRPTW, 41337.8, wanted_percent=0.3),
    Case("l2", "RC2_10_5", "vrptw/RC2_10_5.vrp", Format.VRPTW, 25797.5, wanted_percent=0.3),
)
WASTE = (
    Case("m1", "Kim 102", "kim2006/102_stop.txt", Format.KIM2006, 205.1, wanted=151.5, vehicles=3),
    Case("m2", "Kim 277", "kim2006/277_stop.txt", Format.KIM2006, 527.3, wanted=448.0, vehicles=3),
    Case("m3", "Kim 444", "kim2006/444_stop.txt", Format.KIM2006, 87.0, wanted=78.0, vehicles=11),
    Case("m4", "Kim 1051", "kim2006/1051_stop.txt", Format.KIM2006, 2370.4, wanted=1970.0, vehicles=18),
)


async def plain(rounds: int) -> list[Measured]:
    """Row k. The bound has time of its own, once an instance."""
    found = await _solved(X, rounds, BOUND_SECONDS)
    return [_beside_printed(case, runs, "best known", _proven(runs)) for case, runs in zip(X, found, strict=True)]


async def with_windows(rounds: int) -> list[Measured]:
    """Row l. Ours and PyVRP alone on the same seeds."""
    ours = await _solved(WINDOWS, rounds, 0)
    turns = asyncio.Semaphore(PROCESSES)
    theirs = [await asyncio.gather(*(_alone(turns, case, seed) for seed in range(rounds))) for case in WINDOWS]
    return [_beside_alone(*each) for each in zip(WINDOWS, ours, theirs, strict=True)]


async def waste(rounds: int) -> list[Measured]:
    """Row m."""
    found = await _solved(WASTE, rounds, 0)
    return [_beside_printed(case, runs, "printed in 2006") for case, runs in zip(WASTE, found, strict=True)]


async def _solved(cases: Sequence[Case], rounds: int, bound_seconds: int) -> list[list[Solved]]:
    """Each case, each round with another seed; the last round looks for the bound too."""
    pool = SpawnedPool(workers=PROCESSES, most_waiting=len(cases) * rounds)
    seeds = range(rounds)
    asked = [_one(pool, case, seed, bound_seconds if seed == seeds[-1] else 0) for case in cases for seed in seeds]
    found = await asyncio.gather(*asked)
    await pool.close()
    return [found[at : at + rounds] for at in range(0, len(found), rounds)]


async def _one(pool: SpawnedPool, case: Case, seed: int, bound_seconds: int) -> Solved:
    """A solve, judged from the file. Raises RuntimeError for a plan that breaks a rule or leaves a stop out."""
    text = (data_folder() / "waste" / case.file).read_text()
    payload = {
        "text": text, "format": case.format.value, "vehicles": case.vehicles, "seconds": SECONDS, "engine": Engine.AUTO.value,
        "seed": seed, "bound_seconds": bound_seconds,
    }  # fmt: skip
    answer = await pool.run(solver.SOLVE_FILE, payload, kill_after_s=SECONDS + bound_seconds + solver.GRACE_S)
    best = None if case.format is Format.KIM2006 else case.beside
    solved = cli_report.solved(formats.read(text, case.format), answer, format=case.format, best=best, seconds=SECONDS)
    report = solved.report
    sys.stderr.write(
        f"  {case.name}, seed {seed}: {report.cost} with {report.vehicles}; {'; '.join(solved.engines)}; bound {report.bound}\n"
    )
    if report.faults or report.unserved or report.cost is None:
        raise RuntimeError(f"{case.name}: {report.unserved} stops left out, broken: {'; '.join(report.faults[:5])}")
    return solved


async def _alone(turns: asyncio.Semaphore, case: Case, seed: int) -> float:
    """PyVRP as its documentation runs it, in a process of its own."""
    file = data_folder() / "waste" / case.file
    async with turns:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _ALONE, str(file), str(SECONDS), str(seed), stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate()
    cost = float(json.loads(told))
    sys.stderr.write(f"  {case.name}, seed {seed}: PyVRP alone {cost}\n")
    return cost


def _costs(runs: Sequence[Solved]) -> list[float]:
    return [run.report.cost or 0.0 for run in runs]


def _conditions(runs: Sequence[Solved], case: Case) -> str:
    limit = f" of at most {case.vehicles}" if case.vehicles else ""
    vehicles = "/".join(str(each) for each in sorted({run.report.vehicles for run in runs}))
    memory = max(run.report.peak_mb for run in runs)
    return f"{SECONDS} s, one thread, {len(runs)} runs, {PROCESSES} at a time; {vehicles} vehicles{limit}, at most {memory:.0f} MB"


def _beside_printed(case: Case, runs: Sequence[Solved], printed: str, more: str = "") -> Measured:
    costs = _costs(runs)
    gaps = [100 * (cost - case.beside) / case.beside for cost in costs]
    if case.wanted is not None:
        note = f"worst {max(costs):,.2f}, median {median(costs):,.2f} miles; {_wanted(max(costs), case.wanted, ' miles')}"
    else:
        note = f"worst {max(gaps):.2f}, median {median(gaps):.2f} % above"
        note += "" if case.wanted_percent is None else f"; {_wanted(max(gaps), case.wanted_percent, ' %')}"
    what = f"{case.name}: length against the {printed} one"
    unit = "miles" if case.format is Format.KIM2006 else ""
    return Measured(case.row, what, _conditions(runs, case), costs, [case.beside] * len(costs), unit, None, None, note + more)


def _beside_alone(case: Case, runs: Sequence[Solved], alone: Sequence[float]) -> Measured:
    costs = _costs(runs)
    gaps = [100 * (mine - theirs) / theirs for mine, theirs in zip(costs, alone, strict=True)]
    best = [100 * (cost - case.beside) / case.beside for cost in (max(costs), max(alone))]
    note = f"worst {max(gaps):+.2f}, median {median(gaps):+.2f} % of PyVRP; {_wanted(max(gaps), case.wanted_percent or 0.0, ' %')}"
    note += f"; above the best known at most {best[0]:.2f} % (PyVRP {best[1]:.2f} %)"
    what = f"{case.name}: length against PyVRP alone in the same seconds"
    return Measured(case.row, what, _conditions(runs, case), costs, list(alone), "", None, None, note)


def _proven(runs: Sequence[Solved]) -> str:
    run = runs[-1]
    bound, cost = run.report.bound, run.report.cost
    if bound is None or not cost:
        raise RuntimeError("the bound was asked for and is not there")
    gap = 100 * (cost - bound) / cost
    weak = ", weak" if run.weak else ""
    return f". Proven in {BOUND_SECONDS} s more: no plan saves more than {gap:.2f} %{weak}; {_wanted(gap, WANTED_PROVEN_PERCENT, ' %')}"


def _wanted(worst: float, most: float, unit: str) -> str:
    """Compared as measured. What is missed by less than two decimals show is told with four."""
    if worst <= most:
        return f"wanted in every run: at most {most:g}{unit}: reached"
    shown = f" ({worst:.4f})" if round(worst, 2) <= most else ""
    return f"wanted in every run: at most {most:g}{unit}: **missed**{shown}"
