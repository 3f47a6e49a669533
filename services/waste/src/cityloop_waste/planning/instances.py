"""What the files that can be solved have in common: how they are read, what a plan for one is, and what judges it.

A plan's routes name places as its file does: customers 1 to n - 1 as `.sol` files count them, or the ids of the file's rows.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cityloop_common import errors

MOST_BYTES = 4_000_000
MOST_PLACES = 3_000
LARGEST = 10**9
_WHOLE = re.compile(r"-?\d{1,12}", re.ASCII)
_REAL = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,3})?", re.ASCII)
_TOLD = 60  # characters of what a file holds, in a message


class UnreadableInstance(errors.Invalid):
    """Not a file of this kind, or not all of it; the text begins with the line."""

    slug, title = "file-unreadable", "The file cannot be read"


@dataclass(frozen=True, slots=True)
class FilePlan:
    """Routes from the depot to the depot as lists of the file's own numbers, unloads on the way included.

    `cost` is what its maker says that it costs, None when nothing is said. `unserved` are stops that are left out on purpose: a
    stop that is neither there nor in a route is a fault.
    """

    routes: tuple[tuple[int, ...], ...]
    cost: float | None = None
    unserved: tuple[int, ...] = ()

    @property
    def vehicles(self) -> int:
        """How many go out."""
        return sum(1 for route in self.routes if route)


class SpotKind(StrEnum):
    """What stands at a place of a map."""

    DEPOT = "depot"
    STOP = "stop"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class Spot:
    """A place of a file as it is drawn; y grows to the north."""

    id: int
    kind: SpotKind
    x: float
    y: float


class Instance(Protocol):
    """What a file describes. All of it is arithmetic on what the file says: no engine takes part."""

    @property
    def name(self) -> str:
        """As the file names itself; empty when it does not."""
        ...

    @property
    def unit(self) -> str:
        """What costs are counted in."""
        ...

    def cost(self, routes: Sequence[Sequence[int]]) -> float:
        """What routes of known places cost, in the unit of printed results."""
        ...

    def faults(self, plan: FilePlan) -> list[str]:
        """Every broken rule, each named with its route or stop."""
        ...

    def spots(self) -> tuple[Spot, ...]:
        """Every place, the depot first."""
        ...


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, each with its number."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def at(number: int, text: str) -> UnreadableInstance:
    """The error of a line."""
    return UnreadableInstance(f"line {number}: {text}")


def shown(word: str) -> str:
    """What a file holds, as a message may show it."""
    return repr(word[:_TOLD])


def whole(number: int, word: str, what: str) -> int:
    """A whole number of a line. Raises UnreadableInstance."""
    if not _WHOLE.fullmatch(word):
        raise at(number, f"{what} is {shown(word)}, not a whole number")
    return int(word)


def real(number: int, word: str, what: str) -> float:
    """A number of a line; NaN, infinities and what no map or load can be are none. Raises UnreadableInstance."""
    value = float(word) if _REAL.fullmatch(word) else math.nan
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise at(number, f"{what} is {shown(word)}, not a number that can be used")
    return value


def missing_or_double(word: str, ids: Sequence[int], plan: FilePlan) -> list[str]:
    """Stops that are not served exactly once, those aside that the plan leaves out and says so."""
    served = Counter(place for route in plan.routes for place in route)
    left = Counter(plan.unserved)
    found = [f"{word} {place} is told to be left out, the file has no such {word}" for place in sorted(left.keys() - set(ids))]
    for place in ids:
        if place in left and served[place]:
            found.append(f"{word} {place} is told to be left out, and is served")
        elif left[place] > 1:
            found.append(f"{word} {place} is told to be left out {left[place]} times")
        elif place not in left and served[place] != 1:
            found.append(f"{word} {place} is served {served[place]} times")
    return found
