"""The fault plan: an explicit list that a seed draws, a command line repeats and ddmin shrinks."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What can go wrong; `amount` and `for_s` mean what the comment says."""

    KILL = "kill"  # target node; amount: at its n-th next effect; for_s: how long it stays down
    KILL_AT_COMMIT = "kill-at-commit"  # the same, at its n-th next place beside a COMMIT
    LOG_DOWN = "log-down"  # for_s
    SENDS_REFUSED = "sends-refused"  # amount: per cent; for_s
    SENDS_UNACKED = "sends-unacked"  # amount: per cent; for_s
    REWIND = "rewind"  # target group; amount: records per partition
    COMPACT = "compact"
    ANSWERS_LOST = "answers-lost"  # amount: per cent; for_s
    SLOW = "slow"  # target node; amount: times slower; for_s
    CACHE_FLUSHED = "cache-flushed"
    CACHE_DOWN = "cache-down"  # for_s


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault at one virtual second."""

    at_s: float
    fault: Fault
    target: str = "-"
    amount: int = 0
    for_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.at_s:.3f}:{self.fault}:{self.target}:{self.amount}:{self.for_s:.3f}"

    @staticmethod
    def parse(text: str) -> PlannedFault:
        """Reads `at:fault:target:amount:for`. Raises ValueError."""
        at_s, fault, target, amount, for_s = text.split(":")
        return PlannedFault(float(at_s), Fault(fault), target, int(amount), float(for_s))


Plan = tuple[PlannedFault, ...]


def plan_text(plan: Sequence[PlannedFault]) -> str:
    return ",".join(str(fault) for fault in plan)


def parse_plan(text: str) -> Plan:
    """Reads what `plan_text` wrote; the empty text is the empty plan."""
    return tuple(PlannedFault.parse(part) for part in text.split(",") if part)


@dataclass(frozen=True, slots=True)
class Troubles:
    """How much goes wrong in a scenario, and where."""

    length_s: float
    nodes: tuple[str, ...]
    groups: tuple[str, ...]
    kills: int
    windows: int
    kills_at_commit: int = 0


def draw(rng: random.Random, troubles: Troubles) -> Plan:
    """Draws a plan: kills armed at effects, and windows of trouble; times and amounts as they will be written."""
    faults = [_kill(rng, troubles) for _ in range(troubles.kills)]
    faults += [_window(rng, troubles) for _ in range(troubles.windows)]
    faults += [_kill_at_commit(rng, troubles) for _ in range(troubles.kills_at_commit)]
    return tuple(sorted((PlannedFault.parse(str(fault)) for fault in faults), key=lambda fault: (fault.at_s, str(fault))))


def _kill(rng: random.Random, troubles: Troubles) -> PlannedFault:
    at_s = rng.uniform(0, troubles.length_s)
    return PlannedFault(at_s, Fault.KILL, rng.choice(troubles.nodes), rng.randint(1, 40), rng.uniform(0.5, 12))


def _kill_at_commit(rng: random.Random, troubles: Troubles) -> PlannedFault:
    at_s = rng.uniform(0, troubles.length_s)
    return PlannedFault(at_s, Fault.KILL_AT_COMMIT, rng.choice(troubles.nodes), rng.randint(1, 16), rng.uniform(0.5, 12))


def _window(rng: random.Random, troubles: Troubles) -> PlannedFault:
    at_s, for_s = rng.uniform(0, troubles.length_s), rng.uniform(2, troubles.length_s / 10)
    kills = (Fault.KILL, Fault.KILL_AT_COMMIT)
    kinds = [kind for kind in Fault if kind not in kills and (kind is not Fault.REWIND or troubles.groups)]
    match kind := rng.choice(kinds):
        case Fault.REWIND:
            return PlannedFault(at_s, kind, rng.choice(troubles.groups), rng.randint(1, 5))
        case Fault.SLOW:
            return PlannedFault(at_s, kind, rng.choice(troubles.nodes), rng.randint(5, 60), for_s)
        case Fault.SENDS_REFUSED | Fault.SENDS_UNACKED | Fault.ANSWERS_LOST:
            return PlannedFault(at_s, kind, amount=rng.randint(20, 80), for_s=for_s)
        case Fault.LOG_DOWN | Fault.CACHE_DOWN:
            return PlannedFault(at_s, kind, for_s=for_s)
        case _:
            return PlannedFault(at_s, kind)


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """ddmin (Zeller): a smaller plan that still fails, from which no single fault can be left out."""
    pieces = 2
    while len(plan) >= 2:
        size = max(1, len(plan) // pieces)
        for start in range(0, len(plan), size):
            rest = plan[:start] + plan[start + size :]
            if fails(rest):
                plan, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if size == 1:
                return plan
            pieces = min(pieces * 2, len(plan))
    return () if plan and fails(()) else plan
