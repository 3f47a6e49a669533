"""What a forecast has to beat: the last value, the mean of the weekday's slot, and the profile damped towards the last value.

They are fitted on the training days only and never learn on; every figure of ours stands beside theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cityloop_parking.availability.domain import HIGH
from cityloop_parking.availability.files import Floats
from cityloop_parking.availability.scores import NEARLY_FULL, Predicted
from cityloop_parking.availability.slots import Cells, Flags, Points

_NARROWEST = 1e-6  # of the rate: what a place's residuals spread at least, so that a normal distribution has a width
_Z = NormalDist().inv_cdf(HIGH)


@dataclass(frozen=True, slots=True)
class Profile:
    """The mean rate of each place, weekday and slot over the training days, and how often it was nearly full; NaN where unseen."""

    mean: Floats
    nearly_full: Floats

    @staticmethod
    def fitted(truth: Cells, training: Flags) -> Profile:
        """From the cells whose day belongs to the training."""
        key, size = truth.of_week[training], truth.places * 7 * truth.per_day
        rate = truth.rate[training]
        seen = np.bincount(key, minlength=size).astype(np.float64)
        seen[seen == 0] = np.nan
        return Profile(np.bincount(key, rate, size) / seen, np.bincount(key, rate >= NEARLY_FULL, size) / seen)


@dataclass(frozen=True, slots=True)
class Damped:
    """Profile + beta x (last value - profile at the origin), with the residuals' standard deviation: one pair a place, NaN where unseen."""

    beta: Floats
    sd: Floats

    @staticmethod
    def fitted(truth: Cells, profile: Profile, pairs: Points) -> Damped:
        """By least squares over the training's points of one horizon, place by place."""
        of_week, place = truth.of_week, truth.place[pairs.origin]
        off = truth.rate[pairs.origin] - profile.mean[of_week[pairs.origin]]
        later = truth.rate[pairs.target] - profile.mean[of_week[pairs.target]]
        square, both = (np.bincount(place, terms, truth.places) for terms in (off * off, off * later))
        count = np.bincount(place, minlength=truth.places).astype(np.float64)
        beta = np.where(count > 0, both / np.maximum(square, _NARROWEST), np.nan)
        count[count == 0] = np.nan
        missed = np.bincount(place, (later - beta[place] * off) ** 2, truth.places) / count
        return Damped(beta, np.maximum(np.sqrt(missed), _NARROWEST))

    def known(self, truth: Cells, profile: Profile, asked: Points) -> Flags:
        """Of which points both slots have a profile, and the place a beta: the points that the line to beat is counted on."""
        known = ~np.isnan(profile.mean[truth.of_week])
        fitted: Flags = known[asked.origin] & known[asked.target] & ~np.isnan(self.beta[truth.place[asked.origin]])
        return fitted

    def predicted(self, truth: Cells, profile: Profile, asked: Points) -> Predicted:
        """With a normal interval, cut to 0..1."""
        of_week, place = truth.of_week, truth.place[asked.origin]
        off = truth.rate[asked.origin] - profile.mean[of_week[asked.origin]]
        middle = profile.mean[of_week[asked.target]] + self.beta[place] * off
        sd = self.sd[place]
        full = 1 - 0.5 / truth.capacity[asked.target]
        return Predicted(
            rate=np.clip(middle, 0, 1),
            low=np.clip(middle - _Z * sd, 0, 1),
            high=np.clip(middle + _Z * sd, 0, 1),
            nearly_full=_above((NEARLY_FULL - middle) / sd),
            full=_above((full - middle) / sd),
        )


def last_value(truth: Cells, asked: Points) -> Predicted:
    """Nothing changes."""
    rate = truth.rate[asked.origin]
    full = rate > 1 - 0.5 / truth.capacity[asked.origin]
    return Predicted(rate, nearly_full=(rate >= NEARLY_FULL).astype(np.float64), full=full.astype(np.float64))


def profiled(truth: Cells, profile: Profile, asked: Points) -> Predicted:
    """What the weekday's slot was on average; its chance of being nearly full is the share of the days when it was."""
    of_week = truth.of_week[asked.target]
    return Predicted(profile.mean[of_week], nearly_full=profile.nearly_full[of_week])


def _above(z: Floats) -> Floats:
    """The chance that a normal value lies above z."""
    cut = np.clip(z, -8, 8)
    grid = np.linspace(-8, 8, 3201)
    chance: Floats = np.interp(cut, grid, np.array([1 - NormalDist().cdf(float(x)) for x in grid]))
    return chance
