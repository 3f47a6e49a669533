"""How good forecasts were: error, interval, and the chance of what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cityloop_parking.availability.domain import HIGH, LOW
from cityloop_parking.availability.files import Floats
from cityloop_parking.availability.slots import Cells, Flags, Points

Figures = dict[str, float | int | None]

NEARLY_FULL = 0.95  # of the rate
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.0)
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Predicted:
    """Forecasts of points: a column a point, and rows for what is said of it; NaN where nothing is said.

    The rows: the rate, its 10 % and 90 % quantiles, the chance of being nearly full and that of being full.
    """

    values: Floats

    @staticmethod
    def of(rate: Floats, *, nearly_full: Floats, full: Floats | None = None) -> Predicted:
        """Forecasts without an interval."""
        unsaid = np.full(len(rate), np.nan)
        return Predicted(np.stack([rate, unsaid, unsaid, nearly_full, unsaid if full is None else full]))

    def where(self, chosen: Flags) -> Predicted:
        """Those that were chosen."""
        return Predicted(self.values[:, chosen])


def scores(truth: Cells, asked: Points, said: Predicted) -> Figures:
    """The figures of one horizon as they are printed; None where the forecast does not say, or nothing was asked."""
    rate = truth.rate[asked.target]
    middle, low, high, *_ = said.values
    inside = np.where(np.isnan(high - low), np.nan, (low <= rate) & (rate <= high))
    figures: Figures = {
        "minutes": asked.minutes,
        "n": len(rate),
        "mae": _mean(np.abs(middle - rate)),
        "coverage_80": _mean(inside),
        "width": _mean(high - low),
        "pinball": _mean((_pinball(rate, low, LOW) + _pinball(rate, high, HIGH)) / 2),
    }
    for (_, name), (chance, happened) in zip(_EVENTS, _events(truth, asked, said), strict=True):
        figures[name] = _mean((chance - happened) ** 2)
    return figures


def by_day(truth: Cells, asked: Points, said: Predicted) -> Figures:
    """The lowest and the highest coverage of a day: errors of one afternoon go together over the city."""
    if not len(asked.origin):
        return {"coverage_day_min": None, "coverage_day_max": None}
    rate, (_, low, high, *_rest) = truth.rate[asked.target], said.values
    _, day = np.unique(truth.day[asked.target], return_inverse=True)
    shares = np.bincount(day, (low <= rate) & (rate <= high)) / np.bincount(day)
    return {"coverage_day_min": round(float(shares.min()), _DIGITS), "coverage_day_max": round(float(shares.max()), _DIGITS)}


def reliability(truth: Cells, asked: Points, said: Predicted) -> Mapping[str, list[Figures]]:
    """For both events, by bins of the chance that was given: how many points, the mean chance, and how often it happened."""
    found: dict[str, list[Figures]] = {}
    for (event, _), (chance, happened) in zip(_EVENTS, _events(truth, asked, said), strict=True):
        bin_of = np.clip(np.searchsorted(BINS, chance, side="right") - 1, 0, len(BINS) - 2)
        found[event] = []
        for number, (above, below) in enumerate(pairwise(BINS)):
            inside = bin_of == number
            counted: Figures = {"from": above, "to": below, "n": int(inside.sum())}
            found[event].append({**counted, "said": _mean(chance[inside]), "happened": _mean(happened[inside])})
    return found


_EVENTS = (("nearly_full", "brier_95"), ("full", "brier_full"))


def _events(truth: Cells, asked: Points, said: Predicted) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """The chances of the two events, and whether they happened: nearly full (rate of 0.95), and full (less than half a space is free)."""
    rate, capacity = truth.rate[asked.target], truth.capacity[asked.target]
    nearly, full = (happened.astype(np.float64) for happened in (rate >= NEARLY_FULL, rate > 1 - 0.5 / capacity))
    return (said.values[3], nearly), (said.values[4], full)


def _pinball(rate: Floats, quantile: Floats, share: float) -> Floats:
    """The loss of a quantile: what it is missed by, dearer on the side where the rate should seldom lie."""
    off = rate - quantile
    loss: Floats = np.maximum(share * off, (share - 1) * off)
    return loss


def _mean(values: Floats) -> float | None:
    mean = float(values.mean()) if len(values) else np.nan
    return None if np.isnan(mean) else round(mean, _DIGITS)
