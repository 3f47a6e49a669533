"""The kinds of files that can be solved, and who reads each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from cityloop_waste.planning import cvrplib, kim2006, plans_files, vrptw
from cityloop_waste.planning.instances import FilePlan, Instance


class Format(StrEnum):
    """Files that can be solved."""

    CVRPLIB = "cvrplib"
    VRPTW = "vrptw"
    KIM2006 = "kim2006"


_READERS: Mapping[Format, Callable[[str], Instance]] = {
    Format.CVRPLIB: cvrplib.read,
    Format.VRPTW: vrptw.read,
    Format.KIM2006: kim2006.read,
}
_DECIMALS = {Format.CVRPLIB: 0, Format.VRPTW: 1, Format.KIM2006: 2}


def read(text: str, format: Format) -> Instance:
    """What a file describes. Raises UnreadableInstance with the line where it stops making sense."""
    return _READERS[format](text)


def read_plan(text: str, format: Format) -> FilePlan:
    """A plan that somebody made for a file. Raises UnreadableInstance."""
    return plans_files.read(text, format.value, cost_needed=format is not Format.KIM2006)


def printed(cost: float, format: Format) -> float:
    """A cost as results of this kind are printed: whole, with a decimal, or miles with two."""
    decimals = _DECIMALS[format]
    return round(cost, decimals) if decimals else round(cost)
