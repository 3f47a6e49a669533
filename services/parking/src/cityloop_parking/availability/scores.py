"""How good forecasts were: error, interval, and the chance of what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cityloop_parking.availability.domain import HIGH, LOW
from cityloop_parking.availability.files import Floats
from cityloop_parking.availability.slots import Cells, Flags, Points

NEARLY_FULL = 0.95  # of the rate
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.0)
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Predicted:
    """Forecasts of points: the rate, its 10 % and 90 % quantiles, the chances of being nearly full and full, where there are any."""

    rate: Floats
    low: Floats | None = None
    high: Floats | None = None
    nearly_full: Floats | None = None
    full: Floats | None = None

    def where(self, chosen: Flags) -> Predicted:
        """Those that were chosen."""
        parts = (self.rate, self.low, self.high, self.nearly_full, self.full)
        rate, low, high, nearly, full = (None if part is None else part[chosen] for part in parts)
        assert rate is not None
        return Predicted(rate, low, high, nearly, full)


def scores(truth: Cells, asked: Points, said: Predicted) -> dict[str, float | int | None]:
    """The figures of one horizon as they are printed; None where the forecast does not say, or nothing was asked."""
    rate = truth.rate[asked.target]
    figures: dict[str, float | int | None] = {"minutes": asked.minutes, "n": len(rate), "mae": _mean(np.abs(said.rate - rate))}
    if said.low is not None and said.high is not None:
        figures["coverage_80"] = _mean((said.low <= rate) & (rate <= said.high))
        figures["width"] = _mean(said.high - said.low)
        figures["pinball"] = _mean((_pinball(rate, said.low, LOW) + _pinball(rate, said.high, HIGH)) / 2)
    for name, chance, happened in _events(truth, asked, said):
        figures[name] = None if chance is None else _mean((chance - happened) ** 2)
    return figures


def by_day(truth: Cells, asked: Points, said: Predicted) -> tuple[float | None, float | None]:
    """The lowest and the highest coverage of a day: errors of one afternoon go together over the city."""
    if said.low is None or said.high is None or not len(asked.origin):
        return None, None
    rate, day = truth.rate[asked.target], truth.day[asked.target]
    inside = (said.low <= rate) & (rate <= said.high)
    _, of = np.unique(day, return_inverse=True)
    shares = np.bincount(of, inside) / np.bincount(of)
    return round(float(shares.min()), _DIGITS), round(float(shares.max()), _DIGITS)


def reliability(truth: Cells, asked: Points, said: Predicted) -> Mapping[str, list[dict[str, float | int | None]]]:
    """For both events, by bins of the chance that was given: how many points, the mean chance, and how often it happened."""
    found: dict[str, list[dict[str, float | int | None]]] = {}
    for name, chance, happened in _events(truth, asked, said):
        if chance is None:
            continue
        bin_of = np.clip(np.searchsorted(BINS, chance, side="right") - 1, 0, len(BINS) - 2)
        rows: list[dict[str, float | int | None]] = []
        for number, (above, below) in enumerate(pairwise(BINS)):
            inside = bin_of == number
            counted = {"from": above, "to": below, "n": int(inside.sum())}
            rows.append({**counted, "said": _mean(chance[inside]), "happened": _mean(happened[inside])})
        found["nearly_full" if name == "brier_95" else "full"] = rows
    return found


def _events(truth: Cells, asked: Points, said: Predicted) -> tuple[tuple[str, Floats | None, Floats], ...]:
    """The two things that may happen: nearly full (rate of 0.95), and full (less than half a space is free)."""
    rate, capacity = truth.rate[asked.target], truth.capacity[asked.target]
    nearly, full = rate >= NEARLY_FULL, rate > 1 - 0.5 / capacity
    return ("brier_95", said.nearly_full, nearly.astype(np.float64)), ("brier_full", said.full, full.astype(np.float64))


def _pinball(rate: Floats, quantile: Floats, share: float) -> Floats:
    """The loss of a quantile: what it is missed by, dearer on the side where the rate should seldom lie."""
    off = rate - quantile
    return np.maximum(share * off, (share - 1) * off)


def _mean(values: Floats | Flags) -> float | None:
    return round(float(values.mean()), _DIGITS) if len(values) else None
