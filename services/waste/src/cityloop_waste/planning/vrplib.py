"""The `.vrp` and `.sol` files of the VRP libraries: a header of `NAME : value` lines, then sections with a row for each node.

Which headers and sections a file must have is the matter of its `Form`: what a form does not know is refused, never skipped,
because a rule that is not read is a rule that a plan may break. Nodes count from 1, the depot is node 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cityloop_waste.planning.instances import LARGEST, MOST_PLACES, at, numbered, real, shown, whole

COORDINATES, DEMANDS, WINDOWS, DEPOT = "NODE_COORD_SECTION", "DEMAND_SECTION", "TIME_WINDOW_SECTION", "DEPOT_SECTION"
DIMENSION, CAPACITY = (2, MOST_PLACES), (1, LARGEST)
_SECTIONS = (COORDINATES, DEMANDS, WINDOWS, DEPOT)
_FREE_TEXT = frozenset({"NAME", "COMMENT"})
_TENTHS = re.compile(r"(\d{1,9})(?:\.(\d)0*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """What a kind of `.vrp` file consists of: values that are fixed, numbers (least, most) that it needs or may have, sections."""

    fixed: Mapping[str, str]
    needed: Mapping[str, tuple[int, int]]
    optional: Mapping[str, tuple[int, int]]
    sections: tuple[str, ...]

    def knows(self, header: str) -> bool:
        """Whether a header is part of it."""
        return header in _FREE_TEXT or header in self.fixed or header in self.needed or header in self.optional


@dataclass(slots=True)
class Draft:
    """What has been read; once `read` returns it, every node has all its rows."""

    form: Form
    headers: dict[str, str] = field(default_factory=dict)
    places: dict[int, tuple[float, float]] = field(default_factory=dict)
    demands: dict[int, int] = field(default_factory=dict)
    windows_tenths: dict[int, tuple[int, int]] = field(default_factory=dict)
    line_of: dict[tuple[str, int], int] = field(default_factory=dict)
    depots: list[int] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    closed: bool = False
    last: int = 0

    @property
    def nodes(self) -> range:
        """The nodes that the file says it has."""
        return range(1, int(self.headers["DIMENSION"]) + 1)


def read(text: str, form: Form) -> Draft:
    """A file of this form, all of it. Raises UnreadableInstance with the line where it stops making sense."""
    draft = Draft(form)
    section = None
    for number, line in numbered(text):
        draft.last = number
        words = line.replace(":", " : ", 1).split()
        if words[0] == "EOF":
            break
        if words[0] in _SECTIONS:
            section = _open(draft, number, words)
        elif section is None:
            _header(draft, number, words)
        else:
            _ROWS[section](draft, number, line.split())
    _all_there(draft)
    return draft


def tenths(number: int, word: str, what: str) -> int:
    """A time of a line in tenths. Raises UnreadableInstance for what is finer: distances are not."""
    matched = _TENTHS.fullmatch(word)
    if matched is None:
        raise at(number, f"{what} is {shown(word)}, not a number from 0 on with at most one decimal")
    return int(matched[1]) * 10 + int(matched[2] or 0)


def _open(draft: Draft, number: int, words: Sequence[str]) -> str:
    section = words[0]
    if section in draft.seen:
        raise at(number, f"{section} comes twice")
    if section not in draft.form.sections or len(words) > 1:
        raise at(number, f"{shown(' '.join(words))} is not part of a {draft.form.fixed['TYPE']} of this form")
    if missing := (draft.form.fixed.keys() | draft.form.needed.keys()) - draft.headers.keys():
        raise at(number, f"{section} comes before {', '.join(sorted(missing))}")
    draft.seen.append(section)
    return section


def _header(draft: Draft, number: int, words: Sequence[str]) -> None:
    name, value = words[0], " ".join(words[2:])
    if len(words) < 2 or words[1] != ":":
        raise at(number, f"{shown(' '.join(words))} is no line of a .vrp header (NAME : value)")
    form = draft.form
    if not form.knows(name):
        raise at(number, f"{shown(name)} is not part of a {form.fixed['TYPE']} of this form")
    if name in draft.headers and name not in _FREE_TEXT:
        raise at(number, f"{name} comes twice")
    if name in form.fixed and value != form.fixed[name]:
        raise at(number, f"{name} {shown(value)} is not read, only {form.fixed[name]}")
    limits = form.needed.get(name) or form.optional.get(name)
    if limits is not None and not limits[0] <= whole(number, value, name) <= limits[1]:
        raise at(number, f"{name} is {value}: {limits[0]} to {limits[1]} are read")
    draft.headers[name] = value


def _coordinates(draft: Draft, number: int, words: Sequence[str]) -> None:
    node = _node(draft, number, words, COORDINATES, 3)
    if node not in draft.nodes:
        raise at(number, f"node {node}, the DIMENSION is {len(draft.nodes)}")
    draft.places[node] = (real(number, words[1], "x"), real(number, words[2], "y"))


def _demand(draft: Draft, number: int, words: Sequence[str]) -> None:
    node = _node(draft, number, words, DEMANDS, 2)
    demand, capacity = whole(number, words[1], "the demand"), int(draft.headers["CAPACITY"])
    if not 0 <= demand <= capacity:
        raise at(number, f"node {node} asks for {demand}, a vehicle carries 0 to {capacity}")
    if node == 1 and demand:
        raise at(number, f"the depot asks for {demand}")
    draft.demands[node] = demand


def _window(draft: Draft, number: int, words: Sequence[str]) -> None:
    node = _node(draft, number, words, WINDOWS, 3)
    early, late = tenths(number, words[1], "the window's begin"), tenths(number, words[2], "the window's end")
    if late < early:
        raise at(number, f"the window of node {node} ends at {words[2]}, before it begins at {words[1]}")
    draft.windows_tenths[node] = (early, late)


def _depot(draft: Draft, number: int, words: Sequence[str]) -> None:
    depot = whole(number, words[0], "the depot")
    if draft.closed or len(words) != 1:
        raise at(number, "after the depot's -1 comes EOF")
    draft.closed = depot == -1
    if draft.closed:
        return
    if depot != 1 or draft.depots:
        raise at(number, f"the depot is {depot}, only node 1 alone is read")
    draft.depots.append(depot)


_ROWS: Mapping[str, Callable[[Draft, int, Sequence[str]], None]] = {
    COORDINATES: _coordinates,
    DEMANDS: _demand,
    WINDOWS: _window,
    DEPOT: _depot,
}


def _node(draft: Draft, number: int, words: Sequence[str], section: str, fields: int) -> int:
    """The node of a row that has as many fields as its section wants, comes once, and has coordinates."""
    node = whole(number, words[0], "the node")
    if len(words) != fields:
        raise at(number, f"{len(words)} fields, {section} has {fields}")
    if (section, node) in draft.line_of:
        raise at(number, f"node {node} comes twice, first in line {draft.line_of[section, node]}")
    if section != COORDINATES and node not in draft.places:
        raise at(number, f"node {node} has no coordinates")
    draft.line_of[section, node] = number
    return node


def _all_there(draft: Draft) -> None:
    for section in draft.form.sections:
        if section not in draft.seen:
            raise at(draft.last, f"the file ends before its {section}")
    for what, known in (("coordinates", draft.places), ("demands", draft.demands), ("windows", draft.windows_tenths)):
        needed = what != "windows" or WINDOWS in draft.form.sections
        if needed and len(known) < len(draft.nodes):
            raise at(draft.last, f"the file has {what} of {len(known)} nodes, its DIMENSION is {len(draft.nodes)}")
    if not draft.closed:
        raise at(draft.last, "the file ends before the depot's -1")
    if not draft.depots:
        raise at(draft.last, "the file names no depot, only node 1 alone is read")
