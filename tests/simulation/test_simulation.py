"""Parking, and all three services, on virtual time: no seed breaks an invariant, a failing one replays, planted bugs are found."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulation.runner import REPOSITORY, Batch, Result, batches
from tests.simulation.sharing import LONGEST_BATCH_S, SharedBatches
from tests.simulation.world import Mode

SEEDS = int(os.environ.get("CITYLOOP_TEST_SEEDS", "40"))
FULL = os.environ.get("CITYLOOP_SCALE") == "full"
SEEDS_OF = {"city": SEEDS if FULL else max(2, SEEDS // 4), "parking": SEEDS}  # a seed of the city takes about four times as long
SEEDS_PER_PROCESS = {"city": 10, "parking": 25}
SEEDS_FOR_A_BUG = 40
BUGS = {
    ("parking", "no-outbox"): Mode.SQLITE,
    ("parking", "inbox-apart"): Mode.SQLITE,
    ("parking", "check-then-insert"): Mode.READ_COMMITTED,
    ("city", "older-place-wins"): Mode.SQLITE,
    ("city", "later-plan-wins"): Mode.SQLITE,
    ("city", "guard-apart"): Mode.SQLITE,
}
RUNS = [(scenario, mode, seed) for scenario, seeds in SEEDS_OF.items() for mode in Mode for seed in range(seeds)]


WORK = [
    *(Batch(scenario, mode, range(SEEDS_FOR_A_BUG), bug, until_broken=True) for (scenario, bug), mode in BUGS.items()),
    *(each for scenario, seeds in SEEDS_OF.items() for each in batches(scenario, range(seeds), size=SEEDS_PER_PROCESS[scenario])),
]


@pytest.fixture(scope="session")
def shared(shared_folder: Path) -> SharedBatches:
    return SharedBatches(shared_folder / "simulation", WORK)


def _batch_with(scenario: str, seed: int, mode: Mode) -> Batch:
    return next(batch for batch in WORK if batch.scenario == scenario and not batch.bug and batch.mode is mode and seed in batch.seeds)


def _batch_of(bug: str) -> Batch:
    return next(batch for batch in WORK if batch.bug == bug)


@pytest.mark.stress
@pytest.mark.timeout(LONGEST_BATCH_S + 100)  # the first seed of a process waits for all of them
@pytest.mark.parametrize("scenario, mode, seed", RUNS)
async def test_no_seed_breaks_an_invariant(scenario: str, mode: Mode, seed: int, shared: SharedBatches) -> None:
    """Crashes, lost and doubled messages, lost answers, slow nodes, a lost cache: nothing lost, nothing doubled, nothing sold twice."""
    result = next(one for one in await shared.results(_batch_with(scenario, seed, mode)) if one.seed == seed)
    assert not result.broken, f"{result.broken}\n{result.replay()}"


@pytest.mark.timeout(LONGEST_BATCH_S + 100)
@pytest.mark.parametrize("bug", [bug for _, bug in BUGS])
async def test_a_planted_bug_is_found(bug: str, shared: SharedBatches, record_property: Callable[[str, object], None]) -> None:
    """Events past the outbox, an inbox or a guard apart from its effect, older states that win: each breaks an invariant."""
    found = await shared.results(_batch_of(bug))
    record_property("seeds", len(found))
    assert found[-1].broken, f"{bug} was not found in {SEEDS_FOR_A_BUG} seeds"


def _told(words: str, trace: Path, hash_seed: str) -> tuple[str, bytes]:
    """What a run says, and every effect of it."""
    command = [sys.executable, *shlex.split(words)[1:], "--aside", "--trace", str(trace)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | {"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout, trace.read_bytes()


@pytest.mark.timeout(LONGEST_BATCH_S + 100)
@pytest.mark.parametrize("bug", ["no-outbox", "later-plan-wins"])
async def test_a_failing_seed_replays_byte_for_byte(bug: str, shared: SharedBatches, tmp_path: Path) -> None:
    """The printed command shows the same trace and the same broken invariant in new processes, whatever their hash seed."""
    failing: Result = (await shared.results(_batch_of(bug)))[-1]
    told, first = _told(failing.replay(), tmp_path / "first", "1")
    _, second = _told(failing.replay(), tmp_path / "second", "2")
    assert first == second
    assert f"trace {failing.trace_hash}: {failing.broken}" in told


@pytest.mark.timeout(LONGEST_BATCH_S)
@pytest.mark.parametrize("mode", list(Mode))
def test_the_three_services_give_the_same_trace_byte_for_byte(mode: Mode, tmp_path: Path) -> None:
    """From the first boot to the last check, whatever the hash seed: nothing is ordered by an address, a set or the wall clock."""
    words = f"python -m tests.simulation --scenario city --seed 4 --mode {mode}"
    (_, first), (_, second) = (_told(words, tmp_path / hash_seed, hash_seed) for hash_seed in ("1", "2"))
    assert first == second
    assert first.count(b"\n") > 5_000
