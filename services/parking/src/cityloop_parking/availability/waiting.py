"""Forecasts that wait for their truth: which are made from which slot, and where they are kept in a series' row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from cityloop_parking.availability.memory import Ints

_ALWAYS = 12  # slots: up to here from each slot
_MOST_OPEN = 6  # of one horizon: longer ones are asked in fewer slots


class Waiting:
    """`ahead` are the horizons in slots, of which a day has `slots`; a horizon is asked from `every` so many-th slot."""

    def __init__(self, ahead: Sequence[int], slots: int) -> None:
        self.ahead: Ints = np.array(ahead)
        self.every: Ints = np.array([1 if each <= _ALWAYS else _coprime(each // _MOST_OPEN, slots) for each in ahead])
        self._rooms = self.ahead // self.every + 2
        self._starts = np.cumsum(self._rooms) - self._rooms
        self.size = int(self._rooms.sum())

    def due(self, slot: Ints) -> Iterator[tuple[Ints, Ints]]:
        """Horizons, and the places in `slot` from which they are to be asked; as a rule all slots are the same one."""
        if (slot == slot[0]).all():
            yield np.flatnonzero(slot[0] % self.every == 0), np.arange(slot.size)
            return
        yield np.flatnonzero(self.every == 1), np.arange(slot.size)
        for horizon in np.flatnonzero(self.every > 1):
            chosen = np.flatnonzero(slot % self.every[horizon] == 0)
            if chosen.size:
                yield np.array([horizon]), chosen

    def places(self, horizons: Ints, slots: Ints) -> Ints:
        """Where forecasts made from slots (n x h, or n x 1) are kept: n x h beside h horizons."""
        found: Ints = self._starts[horizons] + slots // self.every[horizons] % self._rooms[horizons]
        return found


def _coprime(every: int, slots: int) -> int:
    """The next number with which all times of the day have their turn."""
    while math.gcd(every, slots) > 1:
        every += 1
    return every
