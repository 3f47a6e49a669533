"""Forecasts that wait for their truth: which are made from which slot, and where they are kept in a series' row."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cityloop_parking.availability.memory import Ints

_ALWAYS = 12  # slots: up to here from each slot
_MOST_OPEN = 6  # of one horizon: longer ones are asked in fewer slots


class Waiting:
    """`ahead` are the horizons in slots, of which a day has `slots`."""

    def __init__(self, ahead: tuple[int, ...], slots: int) -> None:
        self.ahead = ahead
        self.every = tuple(1 if each <= _ALWAYS else _coprime(each // _MOST_OPEN, slots) for each in ahead)
        self._every = np.array(self.every)
        self._rooms = np.array(ahead) // self._every + 2
        self._starts = np.cumsum(self._rooms) - self._rooms
        self.size = int(self._rooms.sum())

    def due(self, slot: Ints) -> Iterator[tuple[tuple[int, ...], Ints]]:
        """Horizons, and the places in `slot` from which they are to be asked; as a rule all slots are the same one."""
        often = tuple(number for number, every in enumerate(self.every) if every == 1)
        if slot[0] == slot[-1] and (slot == slot[0]).all():
            yield tuple(number for number, every in enumerate(self.every) if slot[0] % every == 0), np.arange(slot.size)
            return
        yield often, np.arange(slot.size)
        for number, every in enumerate(self.every):
            chosen = np.flatnonzero(slot % every == 0)
            if every > 1 and chosen.size:
                yield (number,), chosen

    def places(self, horizons: Ints, slots: Ints) -> Ints:
        """Where forecasts made from slots are kept; `slots` is n, or n x h beside h horizons: the answer is n x h."""
        slots = slots if slots.ndim == 2 else slots[:, None]
        found: Ints = self._starts[horizons] + slots // self._every[horizons] % self._rooms[horizons]
        return found


def _coprime(every: int, slots: int) -> int:
    """The next number with which all times of the day have their turn."""
    while math.gcd(every, slots) > 1:
        every += 1
    return every
