"""What is expected of series, and how far off that may be: terms times weights, scales times multipliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cityloop_parking.availability.city import City
from cityloop_parking.availability.curves import Curves, along
from cityloop_parking.availability.intervals import Intervals, Place
from cityloop_parking.availability.memory import Flags, Floats, Ints
from cityloop_parking.availability.terms import OWN, Known, terms

_OWN_SPREAD_AFTER = 20.0  # scored forecasts until which a series' own spread counts half
_SCALE_AT_ONCE = 0.3  # of the scale at the shortest horizon
_LEAST_REACH = 0.05
_BEYOND = 0.005  # empty and full: how far a value may be expected there


@dataclass(frozen=True, slots=True)
class Expected:
    """Of n series x h instants: the terms, the rate, and its 10 % and 90 % quantiles; `scale` is the mean error.

    `middle`, `low` and `high` are not cut at 0 and 1: how far beyond "full" a value is expected says how sure that is.
    """

    terms: Floats
    middle: Floats
    scale: Floats
    low: Floats
    high: Floats

    @property
    def rate(self) -> Floats:
        """The value that is expected, 0..1."""
        return np.clip(self.middle, 0.0, 1.0)


def at_horizons(curves: Curves, city: City, known: Known, at: Floats, horizons: Ints) -> Expected:
    """At the horizons that are learnt, as their numbers."""
    values, memory, rows = terms(curves, known, at), curves.memory, known.rows[:, None]
    step = np.einsum("nht,ht->nh", values, city.weights.solved[horizons])
    step += np.einsum("nht,nht->nh", values[:, :, OWN], memory.own[rows, horizons])
    middle = _middle(known, step)
    scale = _scale(curves, city, known, at, middle, np.broadcast_to(horizons, middle.shape))
    return _expected(values, middle, scale, city.intervals.reach[horizons] + memory.missed[rows, horizons])


def at_instants(curves: Curves, city: City, known: Known, at: Floats) -> Expected:
    """At any instants, none before the count: what is learnt is taken in proportion between two horizons."""
    values, memory, rows = terms(curves, known, at), curves.memory, known.rows[:, None]
    minutes = (at - known.at[:, None]) / 60
    weights = city.weights.at(minutes)
    low, way = city.weights.place(minutes)
    under, is_first = np.maximum(low - 1, 0), low == 0
    own = _between(memory.own[rows, under], memory.own[rows, low], way, 0.0, is_first)
    step = (values * weights).sum(axis=2) + (values[:, :, OWN] * own).sum(axis=2)
    middle = _middle(known, step)
    upper = _scale(curves, city, known, at, middle, low)
    lower = np.where(is_first, _SCALE_AT_ONCE * upper, _scale(curves, city, known, at, middle, under))
    missed = _between(memory.missed[rows, under], memory.missed[rows, low], way, 1.0, is_first)
    reach = _between(city.intervals.reach[under], city.intervals.reach[low], way, 1.0, is_first)
    return _expected(values, middle, along(lower, upper, way), reach + missed)


def place(curves: Curves, at: Floats, rate: Floats, step: Floats) -> Place:
    """Where forecasts lie in the city's tables of errors: when they are made, what rate they expect, and how large the step is."""
    slot, slots = curves.grid.slot(at), curves.grid.slots
    return Intervals.place(slot % slots * (24 / slots), curves.is_weekend(slot), rate, step)


def hour_then(curves: Curves, at: Floats) -> Ints:
    """The hour that is asked for, 0 to 23 on Monday to Friday, 24 to 47 on other days."""
    slot, slots = curves.grid.slot(at), curves.grid.slots
    hour: Ints = slot % slots * 24 // slots + 24 * curves.is_weekend(slot)
    return hour


def _middle(known: Known, step: Floats) -> Floats:
    return np.clip(known.rate[:, None] + step, -_BEYOND, 1 + _BEYOND)


def _expected(values: Floats, middle: Floats, scale: Floats, reach: Floats) -> Expected:
    reach = np.maximum(reach, _LEAST_REACH)
    return Expected(values, middle, scale, middle - reach[..., 0] * scale, middle + reach[..., 1] * scale)


def _scale(curves: Curves, city: City, known: Known, at: Floats, middle: Floats, horizon: Ints) -> Floats:
    """The mean error at one of the horizons that are learnt: the city's at such a place, and how far the series lies from it."""
    memory, rows, rate = curves.memory, known.rows[:, None], np.clip(middle, 0.0, 1.0)
    scored = memory.scored[rows, horizon]
    own = memory.spread[rows, horizon] * (scored / (scored + _OWN_SPREAD_AFTER)) + memory.spread_then[rows, hour_then(curves, at)]
    where = place(curves, known.at[:, None], rate, rate - known.rate[:, None])
    return np.exp(city.intervals.log_scale(horizon, where) + own)


def _between(lower: Floats, upper: Floats, way: Floats, share_before: float, is_first: Flags) -> Floats:
    """Between two horizons; before the first one, from so much of its own value on."""
    return along(np.where(is_first[..., None], share_before * upper, lower), upper, way[..., None])
