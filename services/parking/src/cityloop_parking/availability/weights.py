"""The city's weights of the terms: two sums a horizon, fed by each forecast whose truth is known, solved once a day."""

from __future__ import annotations

import numpy as np

from cityloop_parking.availability.curves import along
from cityloop_parking.availability.memory import Floats, Ints
from cityloop_parking.availability.terms import NAMES, STEPS, TERMS

_LONGEST_DAYS = 20.0  # half of the sums are kept after so many days
_MOST_AT_ONCE = 128  # of many series every second, third, ... one teaches the city; also too few for a library's threads
_SHARE_OF_LIFE = 1 / 4
_RIDGE = 0.003
_UNSEEN = 0.001  # for 30 minutes: a term that was never larger than this says nothing yet
_DOUBT_ROWS = 60.0  # rows until which the weights of the start count more than what was seen
_RETURN_MIN = 300.0  # at the start a deviation is taken to go back to the usual with this time constant
_STEP_AT_START, _LONG_STEP_AT_START = 0.9, 1.0  # from a day on the usual is all that is left
ONE = NAMES.index("one")


class Weights:
    """One set of weights a horizon; `horizons_min` rise."""

    def __init__(self, horizons_min: tuple[int, ...]) -> None:
        self.horizons_min = horizons_min
        many = len(horizons_min)
        self.squares = np.zeros((many, TERMS, TERMS))
        self.products = np.zeros((many, TERMS))
        self.rows = np.zeros(many)
        self.days = np.zeros(1)
        self.start = np.zeros((many, TERMS))
        self.start[:, NAMES.index("deviation")] = 1 - np.exp(-np.array(horizons_min) / _RETURN_MIN)
        self.start[:, NAMES.index("step")] = np.where(np.array(horizons_min) < 1440, _STEP_AT_START, _LONG_STEP_AT_START)
        self.solved = self.start.copy()

    def learn(self, horizon: Ints, terms: Floats, step: Floats, weight: Floats) -> None:
        """Adds n forecasts whose truth is known: their horizons, n x terms, the steps that were, and how much each counts."""
        for number in np.unique(horizon).tolist():
            chosen = np.flatnonzero(horizon == number)
            chosen = chosen[:: -(-chosen.size // _MOST_AT_ONCE)]
            some = terms[chosen]
            weighted = (some * weight[chosen, None]).T
            self.squares[number] += weighted @ some
            self.products[number] += weighted @ step[chosen]
            self.rows[number] += chosen.size

    def solve(self) -> None:
        """Solves for new weights and fades the sums by a day."""
        for number in range(len(self.horizons_min)):
            squares, products = self.squares[number], self.products[number]
            spread = squares.diagonal()
            if self.rows[number] > 0:
                unseen = _UNSEEN**2 * self.horizons_min[number] / 30 * squares[ONE, ONE]
                ridge = np.diag((_RIDGE + _DOUBT_ROWS / self.rows[number]) * spread + unseen + 1e-9)
                self.solved[number] = self.start[number] + np.linalg.solve(squares + ridge, products - squares @ self.start[number])
        self.days += 1
        kept = 0.5 ** (1 / np.clip(self.days[0] * _SHARE_OF_LIFE, 2.0, _LONGEST_DAYS))
        self.squares *= kept
        self.products *= kept
        self.rows *= kept

    def at(self, minutes: Floats) -> Floats:
        """Weights for any time ahead: between two horizons in proportion, before the first one from "it stays as it is"."""
        low, way = self.place(minutes)
        at_start = np.zeros(TERMS)
        at_start[list(STEPS)] = self.solved[0, list(STEPS)]
        known = np.concatenate([at_start[None, :], self.solved])
        return along(known[low], known[low + 1], way[..., None])

    def place(self, minutes: Floats) -> tuple[Ints, Floats]:
        """The horizon below (0 is "now") and how far the way to the next is gone, 0..1."""
        marks = np.array((0, *self.horizons_min), dtype=np.float64)
        minutes = np.clip(minutes, 0, marks[-1])
        low = np.clip(np.searchsorted(marks, minutes, side="right") - 1, 0, len(marks) - 2)
        return low, (minutes - marks[low]) / (marks[low + 1] - marks[low])
