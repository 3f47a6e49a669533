"""Parking on virtual time: no seed breaks an invariant, a failing one replays, and planted bugs are found."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulation.runner import REPOSITORY, Batch, Result, batches
from tests.simulation.sharing import SharedBatches
from tests.simulation.world import Mode

SEEDS = int(os.environ.get("CITYLOOP_TEST_SEEDS", "40"))
SEEDS_PER_PROCESS = 10
SEEDS_FOR_A_BUG = 40
BUGS = {"no-outbox": Mode.SQLITE, "inbox-apart": Mode.SQLITE, "check-then-insert": Mode.READ_COMMITTED}


WORK = [
    *(Batch("parking", mode, range(SEEDS_FOR_A_BUG), bug, until_broken=True) for bug, mode in BUGS.items()),
    *batches("parking", range(SEEDS), size=SEEDS_PER_PROCESS),
]


@pytest.fixture(scope="session")
def shared(shared_folder: Path) -> SharedBatches:
    return SharedBatches(shared_folder / "parking", WORK)


def _batch_with(seed: int, mode: Mode) -> Batch:
    return next(batch for batch in WORK if not batch.bug and batch.mode is mode and seed in batch.seeds)


def _batch_of(bug: str) -> Batch:
    return next(batch for batch in WORK if batch.bug == bug)


@pytest.mark.stress
@pytest.mark.timeout(900)  # the first seed of a process waits for all of them
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("mode", list(Mode))
async def test_no_seed_breaks_an_invariant(seed: int, mode: Mode, shared: SharedBatches) -> None:
    """Crashes, lost and doubled messages, lost answers, slow nodes, a lost cache: nothing lost, nothing doubled, nothing sold twice."""
    result = next(one for one in await shared.results(_batch_with(seed, mode)) if one.seed == seed)
    assert not result.broken, f"{result.broken}\n{result.replay()}"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("bug", BUGS)
async def test_a_planted_bug_is_found(bug: str, shared: SharedBatches, record_property: Callable[[str, object], None]) -> None:
    """Publishing past the outbox, an inbox apart from its effect, a check before an insert: each breaks an invariant."""
    found = await shared.results(_batch_of(bug))
    record_property("seeds", len(found))
    assert found[-1].broken, f"{bug} was not found in {SEEDS_FOR_A_BUG} seeds"


def _replayed(failing: Result, trace: Path, hash_seed: str) -> tuple[str, bytes]:
    command = [sys.executable, *shlex.split(failing.replay())[1:], "--trace", str(trace)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | {"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=False
    )
    return done.stdout, trace.read_bytes()


@pytest.mark.timeout(900)
async def test_a_failing_seed_replays_byte_for_byte(shared: SharedBatches, tmp_path: Path) -> None:
    """The printed command shows the same trace and the same broken invariant in new processes, whatever their hash seed."""
    failing = (await shared.results(_batch_of("no-outbox")))[-1]
    told, first = _replayed(failing, tmp_path / "first", "1")
    _, second = _replayed(failing, tmp_path / "second", "2")
    assert first == second
    assert f"trace {failing.trace_hash}: {failing.broken}" in told
