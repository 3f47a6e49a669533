"""A truck that stands for those that a stop names and that are not there: the plan then says that nobody of the stream comes."""

from __future__ import annotations

from collections.abc import Collection

from cityloop_waste.planning.domain import Truck, Window

ABSENT = Truck("(not on duty)", 1, 1, Window(0, 0), ("(none)",))
"""No id and no stream of a registry looks like that."""


def allowed(named: tuple[str, ...], on_duty: Collection[str]) -> tuple[str, ...]:
    """Which of the trucks that may come are there; nobody but ABSENT where trucks are named and none of them is."""
    there = tuple(each for each in named if each in on_duty)
    return there if there or not named else (ABSENT.id,)
