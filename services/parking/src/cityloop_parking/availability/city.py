"""What all series share: weights, intervals, the mean profile, and how the city deviates from the usual right now."""

from __future__ import annotations

import numpy as np

from cityloop_parking.availability.curves import DAY_S, Grid
from cityloop_parking.availability.intervals import Intervals
from cityloop_parking.availability.memory import Floats, Ints, Memory
from cityloop_parking.availability.weights import Weights

_FRESH_S = 3600
_HOUR_S = 3600
_KEPT_SLOTS = 64
_MOST_DAYS = 200.0  # the city's mean profile follows at least so fast
_PHASE_RATE = 0.02
_GRAIN = 2.0**32  # deviations are whole parts of 1: their sum is exact in whatever order, up to two million series
_LAYOUT = 1


class City:
    """The shared state; `day` is the newest local day that was counted."""

    def __init__(self, horizons_min: tuple[int, ...], slots: int) -> None:
        self.weights = Weights(horizons_min)
        self.intervals = Intervals(horizons_min)
        self.profile = np.full(slots, 0.5)
        self.profile_days = np.zeros(slots)
        self._scalars = np.array([-1.0, 0.0, 0.0, 0.0, 0.0])  # day, phase, sum and number of fresh deviations, alive
        self._means = np.zeros(_KEPT_SLOTS)
        self._mean_slot = np.full(_KEPT_SLOTS, -1, dtype=np.int64)

    @property
    def phase_s(self) -> float:
        """How long after the middle of a slot its last count is taken, as a rule."""
        return float(self._scalars[1])

    @property
    def alive(self) -> int:
        """How many series were counted within the last day."""
        return int(self._scalars[4])

    def turn_to(self, day: int) -> None:
        """A new local day: weights are solved anew."""
        if day > self._scalars[0]:
            if self._scalars[0] >= 0:
                self.weights.solve()
            self._scalars[0] = day

    def note_phase(self, late_s: Floats) -> None:
        """Slots are over whose last counts were so late."""
        if late_s.size:
            share = _PHASE_RATE * min(late_s.size / max(self.alive, 1), 1.0)
            self._scalars[1] += share * (float(late_s.mean()) - self.phase_s)

    def learn_day(self, curves: Floats) -> None:
        """Whole days of some series (n x slots, NaN where nothing is known) for the mean profile."""
        known = ~np.isnan(curves)
        counts = known.sum(axis=0)
        days = self.profile_days + counts
        sums = np.where(known, curves - self.profile, 0.0).sum(axis=0)
        self.profile += sums / np.maximum(np.minimum(days, np.maximum(_MOST_DAYS, counts)), 1)
        self.profile_days[:] = np.minimum(days, _MOST_DAYS)

    def count(self, memory: Memory, rows: Ints, at: Floats, deviation: Floats, grid: Grid) -> tuple[Floats, Floats]:
        """Notes deviations, which rise in time; answers for each those of the others until then, and their change in an hour.

        Memory still has the counts before these.
        """
        deviation = np.round(deviation * _GRAIN) / _GRAIN
        fresh = memory.last_at >= at[0] - _FRESH_S
        total, many = float(memory.deviation[fresh].sum()), int(fresh.sum())
        before = fresh[rows]
        old = np.where(before, memory.deviation[rows], 0.0)
        until = np.searchsorted(at, at, side="right") - 1
        sums = total + np.cumsum(deviation - old)[until]
        numbers = many + np.cumsum(1 - before.astype(np.int64))[until]
        memory.deviation[rows] = deviation
        of_day = memory.last_at >= at[-1] - DAY_S
        self._scalars[2:5] = sums[-1], numbers[-1], of_day.sum() + (~of_day[rows]).sum()
        beside = self._others(sums, numbers, deviation)
        change = self._change(sums / numbers, numbers, at, grid)
        slot = int(grid.slot(at[-1:])[0])
        self._means[slot % _KEPT_SLOTS] = sums[-1] / numbers[-1]
        self._mean_slot[slot % _KEPT_SLOTS] = slot
        return beside, change

    @staticmethod
    def _others(sums: Floats, numbers: Floats | Ints, own: Floats) -> Floats:
        return np.where(numbers > 1, (sums - own) / np.maximum(numbers - 1, 1), 0.0)

    def _change(self, mean: Floats, numbers: Floats | Ints, at: Floats, grid: Grid) -> Floats:
        slot = grid.slot(at - _HOUR_S)
        place = slot % _KEPT_SLOTS
        return np.where((self._mean_slot[place] == slot) & (numbers > 1), mean - self._means[place], 0.0)

    def pack(self) -> bytes:
        """The state as bytes."""
        return bytes([_LAYOUT]) + b"".join(each.tobytes() for each in self._arrays())

    def unpack(self, body: bytes) -> None:
        """Puts a stored state back. Raises ValueError for bytes of another layout."""
        arrays = self._arrays()
        if len(body) != 1 + sum(each.nbytes for each in arrays) or body[0] != _LAYOUT:
            raise ValueError("a stored forecast has another layout")
        start = 1
        for each in arrays:
            each[...] = np.frombuffer(body, dtype=each.dtype, count=each.size, offset=start).reshape(each.shape)
            start += each.nbytes

    def _arrays(self) -> list[Floats | Ints]:
        weights, intervals = self.weights, self.intervals
        return [
            weights.squares, weights.products, weights.rows, weights.days, weights.solved,
            intervals.scale, intervals.hours, intervals.levels, intervals.steps, intervals.reach,
            self.profile, self.profile_days, self._scalars, self._means, self._mean_slot,
        ]  # fmt: skip
