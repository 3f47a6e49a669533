"""Forecasts that wait for their truth: which are made from which slot, and where they are kept in a series' row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cityloop_parking.availability.memory import Ints

_MOST_OPEN = 6  # of one horizon: longer ones are asked in fewer slots


class Waiting:
    """`ahead` are the horizons in slots."""

    def __init__(self, ahead: tuple[int, ...]) -> None:
        self.ahead = ahead
        self.every = tuple(1 if slots <= 12 else slots // _MOST_OPEN | 1 for slots in ahead)  # odd: all times of the day have their turn
        self._room = tuple(slots // every + 2 for slots, every in zip(ahead, self.every, strict=True))
        self._start = tuple(sum(self._room[:number]) for number in range(len(ahead)))
        self.size = sum(self._room)

    def due(self, slot: Ints) -> Iterator[tuple[tuple[int, ...], Ints]]:
        """Horizons, and the places in `slot` from which they are to be asked."""
        often = tuple(number for number, every in enumerate(self.every) if every == 1)
        yield often, np.arange(slot.size)
        for number, every in enumerate(self.every):
            chosen = np.flatnonzero(slot % every == 0)
            if every > 1 and chosen.size:
                yield (number,), chosen

    def place(self, horizon: int, slot: Ints) -> Ints:
        """Where a forecast made from a slot is kept."""
        return self._start[horizon] + slot // self.every[horizon] % self._room[horizon]
