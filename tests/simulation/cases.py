"""The scenarios by name, each with the bugs that can be planted in it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.runner import Case
from tests.simulation.toy import Toy, ToyBug


def scenarios() -> Sequence[str]:
    return ("toy", "parking", "city")


def case(scenario: str, bug: str = "") -> Case:
    """A scenario with a bug planted. Raises ValueError or KeyError when it has no such bug."""
    if scenario == "toy":
        planted = ToyBug(bug)
        return Case(scenario, lambda world: Toy(world, planted), bug)
    if scenario == "city":
        from tests.simulation.city.planted import BUGS as CITY_BUGS
        from tests.simulation.city.scenario import City, begins

        return Case(scenario, City, bug, CITY_BUGS[bug], begins=begins) if bug else Case(scenario, City, begins=begins)
    from tests.simulation.parking import Parking  # the toy must run without it
    from tests.simulation.planted import BUGS

    return Case(scenario, Parking, bug, BUGS[bug]) if bug else Case(scenario, Parking)
