"""What a forecast has to beat: the last value, the mean of the weekday's slot, and the profile damped towards the last value.

They are fitted on the training days only and never learn on; every figure of ours stands beside theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cityloop_parking.availability.calendar import KINDS
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
        key, rate = truth.of_week(training), truth.rate[training]
        size = truth.places * KINDS * truth.per_day
        seen = np.bincount(key, minlength=size).astype(np.float64)
        seen[seen == 0] = np.nan
        return Profile(np.bincount(key, rate, size) / seen, np.bincount(key, rate >= NEARLY_FULL, size) / seen)

    def predicted(self, truth: Cells, asked: Points) -> Predicted:
        """What the weekday's slot was on average; its chance of being nearly full is the share of the days when it was."""
        of_week = truth.of_week(asked.target)
        return Predicted.of(self.mean[of_week], nearly_full=self.nearly_full[of_week])


@dataclass(frozen=True, slots=True)
class Damped:
    """Profile + beta x (last value - profile at the origin), with the residuals' standard deviation: one pair a place, NaN where unseen."""

    profile: Profile
    beta: Floats
    sd: Floats

    @staticmethod
    def fitted(truth: Cells, profile: Profile, pairs: Points) -> Damped:
        """By least squares over the training's points of one horizon, place by place."""
        place = truth.place[pairs.origin]
        off = truth.rate[pairs.origin] - profile.mean[truth.of_week(pairs.origin)]
        later = truth.rate[pairs.target] - profile.mean[truth.of_week(pairs.target)]
        square, both = (np.bincount(place, terms, truth.places) for terms in (off * off, off * later))
        count = np.bincount(place, minlength=truth.places).astype(np.float64)
        beta = np.where(count > 0, both / np.maximum(square, _NARROWEST), np.nan)
        count[count == 0] = np.nan
        missed = np.bincount(place, (later - beta[place] * off) ** 2, truth.places) / count
        return Damped(profile, beta, np.maximum(np.sqrt(missed), _NARROWEST))

    def knows(self, truth: Cells, asked: Points) -> Flags:
        """Of which points both slots have a profile, and the place a beta: the points that the line to beat is counted on."""
        parts = self.profile.mean[truth.of_week(asked.origin)] + self.profile.mean[truth.of_week(asked.target)]
        known: Flags = ~np.isnan(parts + self.beta[truth.place[asked.origin]])
        return known

    def predicted(self, truth: Cells, asked: Points) -> Predicted:
        """With a normal interval, cut to 0..1."""
        place = truth.place[asked.origin]
        off = truth.rate[asked.origin] - self.profile.mean[truth.of_week(asked.origin)]
        middle = self.profile.mean[truth.of_week(asked.target)] + self.beta[place] * off
        sd = self.sd[place]
        rate, low, high = (np.clip(middle + z * sd, 0, 1) for z in (0, -_Z, _Z))
        full = 1 - 0.5 / truth.capacity[asked.target]
        return Predicted(np.stack([rate, low, high, _above((NEARLY_FULL - middle) / sd), _above((full - middle) / sd)]))


def last_value(truth: Cells, asked: Points) -> Predicted:
    """Nothing changes."""
    rate = truth.rate[asked.origin]
    full = rate > 1 - 0.5 / truth.capacity[asked.origin]
    return Predicted.of(rate, nearly_full=(rate >= NEARLY_FULL).astype(np.float64), full=full.astype(np.float64))


@dataclass(frozen=True, slots=True)
class Beside:
    """The three baselines at the points of one horizon; `known` are the points that profile and damped can answer.

    `damped_weekly` is the damped one fitted anew before each week of the judged days, with all the days before that week: over one week
    it is the same, over many it is the harder line, because it learns on as the model does.
    """

    known: Flags
    last_value: Predicted
    profile: Predicted
    damped: Predicted
    damped_weekly: Predicted


def beside(truth: Cells, first_day: int, asked: Points, pairs: Points) -> Beside:
    """Fitted on the days before `first_day`; `pairs` are all points of the same horizon, of any day."""
    damped = _fitted(truth, first_day, pairs)
    day = truth.day[asked.target]
    refitted = damped.predicted(truth, asked).values
    for week in range(first_day + 7, int(day.max(initial=first_day)) + 1, 7):
        of_week = (day >= week) & (day < week + 7)
        if of_week.any():
            refitted[:, of_week] = _fitted(truth, week, pairs).predicted(truth, asked.where(of_week)).values
    return Beside(
        known=damped.knows(truth, asked),
        last_value=last_value(truth, asked),
        profile=damped.profile.predicted(truth, asked),
        damped=damped.predicted(truth, asked),
        damped_weekly=Predicted(refitted),
    )


def _fitted(truth: Cells, before: int, pairs: Points) -> Damped:
    profile = Profile.fitted(truth, truth.day < before)
    return Damped.fitted(truth, profile, pairs.where(truth.day[pairs.target] < before))


def _above(z: Floats) -> Floats:
    """The chance that a normal value lies above z."""
    grid = np.linspace(-8, 8, 3201)
    chance: Floats = np.interp(z, grid, np.array([1 - NormalDist().cdf(float(x)) for x in grid]))
    return chance
