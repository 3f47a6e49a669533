"""All plans of a small model, tried one by one: what bounds and engines are measured against."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cityloop_waste.planning.model import Model


@dataclass(frozen=True, slots=True)
class At:
    """Where a vehicle is, and what is left to do; `out` once it has served something."""

    vehicle: int
    node: int
    aboard: int
    taken: int
    time: int
    out: bool
    left: frozenset[int]


class EveryPlan:
    """Plans of a model with one load, at most one cap (of stops) and no windows. A site is unloaded at as often as is wanted."""

    def __init__(self, model: Model) -> None:
        self._model, self._load = model, model.loads[0]
        self._sites = range(model.copies_from, model.starts_from)
        self._known: dict[At, list[float]] = {}

    def cheapest(self) -> list[float]:
        """The least way and lost prizes of the plans with 0, 1, 2.. vehicles that serve something; infinite where there is none."""
        return self._from(self._begins(0, frozenset(range(1, self._model.copies_from))))

    def _begins(self, vehicle: int, left: frozenset[int]) -> At:
        aboard = self._load.begin[vehicle] if self._load.begin else 0
        return At(vehicle, self._model.start(vehicle), aboard, 0, 0, False, left)

    def _from(self, at: At) -> list[float]:
        if at not in self._known:
            found = [math.inf] * (self._model.vehicles + 1)
            for cost, after in self._steps(at):
                opened = after.out and not at.out
                for used, rest in enumerate(self._rest(after)[: len(found) - opened]):
                    found[used + opened] = min(found[used + opened], cost + rest)
            self._known[at] = found
        return self._known[at]

    def _rest(self, at: At) -> list[float]:
        if at.node != self._model.end:
            return self._from(at)
        if at.vehicle + 1 < self._model.vehicles:
            return self._from(self._begins(at.vehicle + 1, at.left))
        lost = math.inf if self._model.penalty is None else self._model.penalty
        return [sum(self._model.prizes.get(node, lost) for node in at.left), *[math.inf] * self._model.vehicles]

    def _steps(self, at: At) -> Iterator[tuple[int, At]]:
        """What a vehicle may do next and what that costs; one that stays where it begins drives nothing."""
        if at == self._begins(at.vehicle, at.left):
            yield 0, replace(at, node=self._model.end)
        else:
            yield from self._timed(at, replace(at, node=self._model.end))
        if at.aboard and at.node not in self._sites:
            for site in self._sites:
                yield from self._timed(at, replace(at, node=site, aboard=0))
        for stop in at.left:
            after = At(at.vehicle, stop, at.aboard + self._load.added[stop], at.taken + 1, at.time, True, at.left - {stop})
            if after.aboard <= self._load.capacity[at.vehicle] and after.taken <= self._cap(at.vehicle):
                yield from self._timed(at, after)

    def _timed(self, at: At, after: At) -> Iterator[tuple[int, At]]:
        cost, clock = self._model.cost[at.node][after.node], self._model.clock
        if clock is None:
            yield cost, after
            return
        time = at.time + clock.seconds[at.node][after.node]
        if time <= clock.shifts[at.vehicle].end_s + clock.overtime_s[at.vehicle]:
            yield cost, replace(after, time=time)

    def _cap(self, vehicle: int) -> float:
        most = self._model.caps[0].most[vehicle] if self._model.caps else None
        return math.inf if most is None else most
