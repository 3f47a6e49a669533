"""CVRPLIB's files: instances of one depot, one load and equal vehicles without limit of number (TYPE CVRP, EUC_2D).

A distance is the Euclidean one rounded to the nearest integer, floor(d + 0.5): every published `.sol` of set X recomputes exactly.
Customers are numbered as in `.sol` files: 1 to n - 1, the node's number less one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cityloop_common import errors
from cityloop_waste.planning.model import Loads, Model

MOST_BYTES = 4_000_000
MOST_NODES = 3_000
_LARGEST = 10**9
_WHOLE = re.compile(r"-?\d{1,12}", re.ASCII)
_HEADERS = {"NAME", "COMMENT", "TYPE", "DIMENSION", "EDGE_WEIGHT_TYPE", "CAPACITY"}
_SECTIONS = ("NODE_COORD_SECTION", "DEMAND_SECTION", "DEPOT_SECTION")


class UnreadableInstance(errors.Invalid):
    """Not a file of this kind, or not all of it; the text begins with the line."""

    slug, title = "file-unreadable", "The file cannot be read"


@dataclass(frozen=True, slots=True)
class Instance:
    """Places and demands; number 0 is the depot."""

    name: str
    capacity: int
    places: tuple[tuple[float, float], ...]
    demands: tuple[int, ...]

    def distance(self, a: int, b: int) -> int:
        """The rounded distance of two places."""
        return math.floor(math.dist(self.places[a], self.places[b]) + 0.5)


@dataclass(frozen=True, slots=True)
class Solution:
    """Routes as lists of customers, and the cost that the file names."""

    routes: tuple[tuple[int, ...], ...]
    cost: float


@dataclass(slots=True)
class _Draft:
    """What has been read so far, each with its line."""

    headers: dict[str, tuple[int, str]] = field(default_factory=dict)
    places: dict[int, tuple[float, float]] = field(default_factory=dict)
    demands: dict[int, int] = field(default_factory=dict)
    depots: list[int] = field(default_factory=list)
    line_of: dict[int, int] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    closed: bool = False
    last: int = 0


def read(text: str) -> Instance:
    """An instance. Raises UnreadableInstance with the line where the file stops making sense."""
    draft = _Draft()
    section = None
    for number, line in _lines(text):
        draft.last = number
        words = line.replace(":", " : ", 1).split()
        if words[0] == "EOF":
            break
        if words[0] in _SECTIONS:
            section = _open(draft, number, words[0])
        elif section is None:
            _header(draft, number, words)
        else:
            _row(draft, number, section, line.split())
    return _instance(draft)


def read_solution(text: str) -> Solution:
    """A `.sol` file: `Route #1: 3 7 12` a line, then `Cost 27591`. Raises UnreadableInstance with the line."""
    routes: list[tuple[int, ...]] = []
    last = 0
    for number, line in _lines(text):
        last = number
        words = line.replace(":", " ").split()
        if words[0] == "Route" and len(words) > 2:
            routes.append(tuple(_whole(number, word, "a customer") for word in words[2:]))
        elif words[0] == "Cost" and len(words) == 2:
            return Solution(tuple(routes), _real(number, words[1], "the cost"))
        else:
            raise _at(number, "neither a route nor the cost")
    raise _at(last, "the file ends before its cost")


def model(instance: Instance) -> Model:
    """The instance as an engine's model: every customer must be served, by as many vehicles as are surely enough and some more."""
    count = len(instance.places)
    cost = [[instance.distance(a, b) for b in range(count)] for a in range(count)]
    cost = [[*row, row[0]] for row in cost] + [[0] * (count + 1)]
    cost[0][-1] = 0
    fewest = -(-sum(instance.demands) // instance.capacity)
    vehicles = min(count - 1, max(_packed(instance), fewest + 2 + fewest // 10))
    loads = Loads("load", (*instance.demands, 0), (instance.capacity,) * vehicles)
    return Model(places=tuple(range(count)), cost=cost, loads=(loads,), vehicles=vehicles, copies_from=count)


def faults(instance: Instance, routes: Sequence[Sequence[int]], cost: int) -> list[str]:
    """Every broken rule of a solution: load, each customer once, the cost counted again from the file."""
    found: list[str] = []
    served = [customer for route in routes for customer in route]
    unknown = sorted({customer for customer in served if not 0 < customer < len(instance.places)})
    if unknown:
        return [f"customer {customer} is not in the file" for customer in unknown]
    times = Counter(served)
    wrong = [customer for customer in range(1, len(instance.places)) if times[customer] != 1]
    found += [f"customer {customer} is served {times[customer]} times" for customer in wrong]
    total = 0
    for number, route in enumerate(routes, 1):
        load = sum(instance.demands[customer] for customer in route)
        if load > instance.capacity:
            found.append(f"route {number} carries {load}, {instance.capacity} allowed")
        stations = (0, *route, 0)
        total += sum(instance.distance(a, b) for a, b in pairwise(stations))
    if total != cost:
        found.append(f"the cost is told as {cost}, it is {total}")
    return found


def _packed(instance: Instance) -> int:
    """Vehicles that first-fit by falling demand needs: so many are enough."""
    room: list[int] = []
    for demand in sorted(instance.demands, reverse=True):
        for number, free in enumerate(room):
            if demand <= free:
                room[number] -= demand
                break
        else:
            room.append(instance.capacity - demand)
    return len(room)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def _open(draft: _Draft, number: int, section: str) -> str:
    if section in draft.seen:
        raise _at(number, f"{section} comes twice")
    if missing := {"DIMENSION", "CAPACITY", "EDGE_WEIGHT_TYPE", "TYPE"} - draft.headers.keys():
        raise _at(number, f"{section} comes before {', '.join(sorted(missing))}")
    draft.seen.append(section)
    return section


def _header(draft: _Draft, number: int, words: Sequence[str]) -> None:
    name, value = words[0], " ".join(words[2:])
    if len(words) < 2 or words[1] != ":":
        raise _at(number, f"{' '.join(words)[:60]!r} is no line of a CVRPLIB header (NAME : value)")
    if name in {"TYPE", "EDGE_WEIGHT_TYPE"} and value != (known := "CVRP" if name == "TYPE" else "EUC_2D"):
        raise _at(number, f"{name} {value!r} is not read, only {known}")
    if name in {"DIMENSION", "CAPACITY"} and not 1 <= _whole(number, value, name) <= _LARGEST:
        raise _at(number, f"{name} is {value}")
    if name == "DIMENSION" and not 2 <= int(value) <= MOST_NODES:
        raise _at(number, f"DIMENSION is {value}: 2 to {MOST_NODES} nodes are read")
    if name not in _HEADERS:
        raise _at(number, f"{name[:60]!r} is not part of a CVRP of this form")
    draft.headers[name] = (number, value)


def _row(draft: _Draft, number: int, section: str, words: Sequence[str]) -> None:
    if section == "DEPOT_SECTION":
        depot = _whole(number, words[0], "the depot")
        if draft.closed or len(words) != 1:
            raise _at(number, "after the depot's -1 comes EOF")
        draft.closed = depot == -1
        if not draft.closed:
            draft.depots.append(depot)
        return
    node = _whole(number, words[0], "the node")
    wanted = 3 if section == "NODE_COORD_SECTION" else 2
    if len(words) != wanted:
        raise _at(number, f"{len(words)} fields, {section} has {wanted}")
    if section == "NODE_COORD_SECTION":
        if node in draft.places:
            raise _at(number, f"node {node} comes twice")
        draft.places[node] = (_real(number, words[1], "x"), _real(number, words[2], "y"))
        draft.line_of[node] = number
        return
    if node in draft.demands or node not in draft.places:
        raise _at(number, f"node {node} {'comes twice' if node in draft.demands else 'has no coordinates'}")
    draft.demands[node] = _whole(number, words[1], "the demand")
    capacity = int(draft.headers["CAPACITY"][1])
    if not 0 <= draft.demands[node] <= capacity:
        raise _at(number, f"node {node} asks for {draft.demands[node]}, a vehicle carries 0 to {capacity}")


def _instance(draft: _Draft) -> Instance:
    for section in _SECTIONS:
        if section not in draft.seen:
            raise _at(draft.last, f"the file ends before its {section}")
    dimension = int(draft.headers["DIMENSION"][1])
    numbers = range(1, dimension + 1)
    if unknown := sorted(node for node in draft.places if node not in numbers):
        raise _at(draft.line_of[unknown[0]], f"node {unknown[0]}, the DIMENSION is {dimension}")
    for what, known in (("coordinates", len(draft.places)), ("demands", len(draft.demands))):
        if known < dimension:
            raise _at(draft.last, f"the file has {what} of {known} nodes, its DIMENSION is {dimension}")
    if not draft.closed:
        raise _at(draft.last, "the file ends before the depot's -1")
    if draft.depots != [1]:
        raise _at(draft.last, f"the depot is {draft.depots}, only node 1 alone is read")
    if draft.demands[1] != 0:
        raise _at(draft.last, f"the depot asks for {draft.demands[1]}")
    name = draft.headers.get("NAME", (0, ""))[1]
    places = tuple(draft.places[node] for node in numbers)
    demands = tuple(draft.demands[node] for node in numbers)
    return Instance(name, int(draft.headers["CAPACITY"][1]), places, demands)


def _whole(number: int, word: str, what: str) -> int:
    if not _WHOLE.fullmatch(word):
        raise _at(number, f"{what} is {word[:60]!r}, not a whole number")
    return int(word)


def _real(number: int, word: str, what: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise _at(number, f"{what} is {word[:60]!r}, not a number that can be used")
    return value


def _at(number: int, text: str) -> UnreadableInstance:
    return UnreadableInstance(f"line {number}: {text}")
