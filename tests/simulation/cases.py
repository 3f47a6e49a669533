"""The scenarios by name, each with the bugs that can be planted in it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.runner import Case
from tests.simulation.toy import Toy, ToyBug


def scenarios() -> Sequence[str]:
    return ("toy",)


def case(scenario: str, bug: str = "") -> Case:
    """A scenario with a bug planted. Raises ValueError when it has no such bug."""
    planted = ToyBug(bug)
    return Case(scenario, lambda world: Toy(world, planted), bug)
