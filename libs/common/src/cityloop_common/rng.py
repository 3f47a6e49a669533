"""Chance as a port: one named stream per purpose, so that a run can be repeated."""

from __future__ import annotations

import random


class Rng:
    """Seeded streams. Without a seed each stream draws from the operating system."""

    def __init__(self, seed: str | None = None) -> None:
        self._seed = seed

    def stream(self, name: str) -> random.Random:
        """A stream of its own for `name`; the same seed and name give the same numbers in every process."""
        if self._seed is None:
            return random.SystemRandom()
        return random.Random(f"{self._seed}/{name}")  # noqa: S311 - a str seed does not depend on PYTHONHASHSEED
