"""One seed, one result; batches of seeds in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO

from tests.simulation.plan import Plan, draw, plan_text
from tests.simulation.suite import Suite
from tests.simulation.world import START, Broken, Mode, World

SEEDS_PER_PROCESS = 50
REPOSITORY = Path(__file__).resolve().parents[2]
MakeSuite = Callable[[World], Suite]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one seed; `broken` is the first invariant that did not hold."""

    scenario: str
    seed: int
    mode: str
    bug: str
    plan: str
    trace_hash: str
    broken: str
    deaths: int
    effects: int
    virtual_s: float
    real_s: float
    figures: dict[str, int]

    def replay(self) -> str:
        """The command that shows the same run again."""
        bug = f" --bug {self.bug}" if self.bug else ""
        return f"python -m tests.simulation --scenario {self.scenario} --seed {self.seed} --mode {self.mode}{bug} --plan '{self.plan}'"


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario, the planted bug to run it with, and when it begins for a seed."""

    scenario: str
    make: MakeSuite
    bug: str = ""
    planted: Callable[[], AbstractContextManager[None]] = nullcontext
    begins: Callable[[int], datetime] = lambda _seed: START


def run(case: Case, seed: int, mode: Mode, *, plan: Plan | None = None, trace: TextIO | None = None) -> Result:
    """Runs one seed from the first boot to the last check."""
    began = time.perf_counter()
    world = World(seed, mode, start=case.begins(seed), trace=trace)
    suite = case.make(world)
    faults = draw(world.stream("plan"), suite.troubles()) if plan is None else plan
    broken = ""
    try:
        with case.planted():
            world.run(suite.play(faults))
    except Broken as invariant:
        broken = str(invariant)
    except Exception as error:
        broken = _reason(error)
    if not broken and world.errors:
        broken = f"error: {world.errors[0]}"
    return Result(
        scenario=case.scenario,
        seed=seed,
        mode=mode.value,
        bug=case.bug,
        plan=plan_text(faults),
        trace_hash=world.trace_hash(),
        broken=broken,
        deaths=world.deaths,
        effects=world.effects,
        virtual_s=round(world.loop.now, 3),
        real_s=round(time.perf_counter() - began, 3),
        figures=suite.figures,
    )


def _reason(error: BaseException) -> str:
    """The first broken invariant in a group of errors, else the first error."""
    leaves = [error]
    while any(isinstance(leaf, BaseExceptionGroup) for leaf in leaves):
        leaves = [inner for leaf in leaves for inner in (leaf.exceptions if isinstance(leaf, BaseExceptionGroup) else (leaf,))]
    broken = [leaf for leaf in leaves if isinstance(leaf, Broken)]
    return str(broken[0]) if broken else f"error: {leaves[0]!r}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Seeds that one process runs."""

    scenario: str
    mode: Mode
    seeds: range
    bug: str = ""
    until_broken: bool = False

    def command(self) -> list[str]:
        words = f"--scenario {self.scenario} --mode {self.mode} --seeds {self.seeds.start}-{self.seeds.stop - 1} --json --aside"
        bug = ["--bug", self.bug] if self.bug else []
        stop = ["--until-broken"] if self.until_broken else []
        return [sys.executable, "-m", "tests.simulation", *words.split(), *bug, *stop]


def batches(
    scenario: str, seeds: range, *, bug: str = "", modes: Sequence[Mode] = tuple(Mode), size: int = SEEDS_PER_PROCESS
) -> list[Batch]:
    """Cuts seeds into batches, both modes side by side."""
    cuts = [range(start, min(start + size, seeds.stop)) for start in range(seeds.start, seeds.stop, size)]
    return [Batch(scenario, mode, cut, bug) for cut in cuts for mode in modes]


def run_batch(batch: Batch) -> list[Result]:
    """Runs a batch in a process of its own."""
    process = subprocess.run(batch.command(), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    results = [Result(**json.loads(line)) for line in process.stdout.splitlines()]
    stopped = batch.until_broken and results and results[-1].broken
    if (len(results) != len(batch.seeds) and not stopped) or process.returncode != int(any(each.broken for each in results)):
        ended = f"ended with {process.returncode} after {len(results)} seeds"
        raise RuntimeError(f"{' '.join(batch.command())} {ended}:\n{process.stderr}")
    return results


def as_json(result: Result) -> str:
    return json.dumps(asdict(result))
