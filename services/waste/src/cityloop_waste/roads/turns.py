"""What it takes to go on from one road into the next: turns by their side and angle, turning round, and what signs forbid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cityloop_waste.roads.sections import Flags, Floats, Ints, Sections


@dataclass(frozen=True, slots=True)
class Turns:
    """Seconds that turns cost a truck where traffic keeps right, beyond the driving itself.

    They count where three or more roads meet; a bend is no turn. Up to `straight_deg` from straight on nothing is added. Turning
    round is dear at a junction, cheaper where the road ends or nothing else is allowed, and not done where a road only goes on as
    another. The figures are the project's own.
    """

    right_s: int = 3
    left_s: int = 8
    u_turn_s: int = 60
    dead_end_s: int = 20
    straight_deg: int = 40


FREE = Turns(right_s=0, left_s=0, u_turn_s=0, dead_end_s=0)
"""Turns cost nothing."""


@dataclass(frozen=True, slots=True)
class Arcs:
    """Stretches of sections in a direction that may be driven.

    Of each: the node where it begins and ends (-1: at a place in the section's midst), its section, and whether it runs against
    the order of the section's vertices.
    """

    tail: Ints
    head: Ints
    section: Ints
    back: Flags


@dataclass(frozen=True, slots=True)
class Turning:
    """From each arc `into` its end and `out` of there along the next: what that adds, in milliseconds."""

    into: Ints
    out: Ints
    ms: Ints


def turning(sections: Sections, arcs: Arcs, turns: Turns) -> Turning:
    """Every way to go on at a node that signs allow."""
    into, out = _pairs(arcs, len(sections.node_at))
    round_ = (arcs.section[into] == arcs.section[out]) & (arcs.back[into] != arcs.back[out])
    allowed = ~_banned(sections, arcs, into, out, round_)
    elsewhere = np.bincount(into[allowed & ~round_], minlength=len(arcs.tail))[into] > 0  # there is another way to go on
    degree = sections.degree[arcs.head[into]]
    allowed &= ~(round_ & elsewhere & (degree == 2))
    into, out, round_, dear = into[allowed], out[allowed], round_[allowed], (elsewhere & (degree > 1))[allowed]
    seconds = _seconds(sections, arcs, turns, into, out)
    seconds[round_] = np.where(dear, turns.u_turn_s, turns.dead_end_s)[round_]
    return Turning(into, out, seconds * 1000)


def _pairs(arcs: Arcs, nodes: int) -> tuple[Ints, Ints]:
    """Each arc that ends at a node with each that begins there."""
    leaving = np.flatnonzero(arcs.tail >= 0)
    leaving = leaving[np.argsort(arcs.tail[leaving], kind="stable")]
    at = np.searchsorted(arcs.tail[leaving], np.arange(nodes + 1))
    coming = np.flatnonzero(arcs.head >= 0)
    node = arcs.head[coming]
    many = at[node + 1] - at[node]
    into = np.repeat(coming, many)
    nth = np.arange(len(into)) - np.repeat(np.cumsum(many) - many, many)
    return into, leaving[at[arcs.head[into]] + nth]


def _seconds(sections: Sections, arcs: Arcs, turns: Turns, into: Ints, out: Ints) -> Ints:
    """Seconds by side and angle."""
    coming, going = _direction(sections, arcs, into, end=True), _direction(sections, arcs, out, end=False)
    ahead = (coming * going).sum(axis=1)
    left = coming[:, 0] * going[:, 1] - coming[:, 1] * going[:, 0]
    angle = np.degrees(np.arctan2(left, ahead))
    meets = sections.degree[arcs.head[into]] > 2
    seconds: Ints = np.where(angle > 0, turns.left_s, turns.right_s) * (meets & (np.abs(angle) > turns.straight_deg))
    return seconds.astype(np.int64)


def _direction(sections: Sections, arcs: Arcs, of: Ints, *, end: bool) -> Floats:
    """Where arcs point at their end, or at their beginning."""
    back, section = arcs.back[of], arcs.section[of]
    piece = np.where(back == end, sections.first[:-1][section], sections.last()[section])
    along = sections.node_at[sections.end[piece]] - sections.node_at[sections.begin[piece]]
    return np.where(back[:, None], -along, along)


def _banned(sections: Sections, arcs: Arcs, into: Ints, out: Ints, round_: Flags) -> Flags:
    """Which turns signs forbid."""
    banned = np.zeros(len(into), dtype=np.bool_)
    signs = _signs(sections)
    if not signs:
        return banned
    nodes = len(sections.node_at)
    at = sections.road[arcs.section[into]] * nodes + arcs.head[into]
    order = np.argsort(at, kind="stable")
    at = at[order]
    for (road, node), (no, only) in signs.items():
        code = road * nodes + node
        turns = order[np.searchsorted(at, code) : np.searchsorted(at, code, side="right")]
        to = [sections.roads[number].id for number in sections.road[arcs.section[out[turns]]]]
        own = sections.roads[road].id
        for turn, id_ in zip(turns, to, strict=True):  # a way that is banned from itself may not be turned round on
            banned[turn] |= id_ in no and bool(round_[turn]) == (id_ == own)
        obeyed = [turn for turn, id_ in zip(turns, to, strict=True) if id_ in only and bool(round_[turn]) == (id_ == own)]
        if obeyed:  # else the only road is not on the map: nobody can be sent there
            banned[turns] = True
            banned[obeyed] = False
    return banned


def _signs(sections: Sections) -> Mapping[tuple[int, int], tuple[set[str], set[str]]]:
    """The ids that a road's bans name at a node: where one may not go, and where only one may."""
    found: dict[tuple[int, int], tuple[set[str], set[str]]] = {}
    for number, road in enumerate(sections.roads):
        for ban in road.bans:
            node = sections.node_of(ban.via)
            if node is not None:
                found.setdefault((number, node), (set(), set()))[ban.only].add(ban.to)
    return found
