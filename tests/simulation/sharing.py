"""Batches shared by the workers of one test session: each runs once, and nobody waits while one is left to run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.simulation.runner import Batch, Result, run_batch
from tests.support import wait_until

LONGEST_BATCH_S = 2600.0  # it steps aside for whatever else runs


class SharedBatches:
    """The results of some batches; a file each says who runs it and what came of it."""

    def __init__(self, folder: Path, work: Sequence[Batch]) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._work = work
        self._known: dict[Batch, list[Result]] = {}

    async def results(self, batch: Batch) -> list[Result]:
        """The results of a batch. Until they are there this worker runs whatever nobody has begun."""
        if batch not in self._known:
            for each in (batch, *self._work):
                if self._file(batch, "done").exists():
                    break
                if self._claimed(each):
                    self._run(each)
            done = self._file(batch, "done")
            await wait_until(done.exists, LONGEST_BATCH_S, every=0.2, what=f"{batch}")
            told = json.loads(done.read_text())
            if isinstance(told, str):
                raise RuntimeError(told)
            self._known[batch] = [Result(**one) for one in told]
        return self._known[batch]

    def _claimed(self, batch: Batch) -> bool:
        try:
            self._file(batch, "begun").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _run(self, batch: Batch) -> None:
        try:
            told: object = [asdict(result) for result in run_batch(batch)]
        except RuntimeError as error:
            told = str(error)
        draft = self._file(batch, "draft")
        draft.write_text(json.dumps(told))
        draft.rename(self._file(batch, "done"))

    def _file(self, batch: Batch, what: str) -> Path:
        return self._folder / f"{batch.scenario}-{batch.mode}-{batch.bug or 'none'}-{batch.seeds.start}.{what}"
