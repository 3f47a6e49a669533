"""How the model learns: from each slot's last count it says what will be, and when the slot comes that was asked for, it is scored."""

from __future__ import annotations

import numpy as np

from cityloop_parking.availability.city import City
from cityloop_parking.availability.curves import Curves
from cityloop_parking.availability.expecting import at_horizons, hour_then, place
from cityloop_parking.availability.intervals import MISSED, WORST
from cityloop_parking.availability.memory import Floats, Ints
from cityloop_parking.availability.terms import LEVEL, OWN, known_now
from cityloop_parking.availability.waiting import Waiting

_LEAST_ERROR = 0.015  # for 30 minutes: a row weighs 1 / its error, so that the absolute error counts, but small ones do not rule
_TRUSTED_DAYS = 28.0  # a series that is known for less teaches the city less
_SPREAD_RATE = 0.02
_MISSED_RATE = 0.02
_MOST_MISSED = 1.0  # a series' multipliers lie so near to the city's
_MOST_STANDS_FOR = 3  # slots, where a horizon is not asked from each
_THEN_RATE = 0.005
_FARTHEST = 4.0  # a series' spread lies within e to this power of the city's
_MOST_SCORED = 1000.0
_LEAST_SCALE = 1e-5


def ask(curves: Curves, city: City, waiting: Waiting, rows: Ints) -> None:
    """Forecasts from the newest count of series, whose slot is over; they wait in memory for their truth."""
    memory, grid = curves.memory, curves.grid
    slot = grid.slot(memory.last_at[rows])
    for horizons, chosen in waiting.due(slot):
        if not horizons.size:  # where slots are short no horizon is asked in each of them
            continue
        own, begun = rows[chosen, None], slot[chosen, None]
        target = begun + waiting.ahead[horizons]
        at = np.maximum(grid.middle(target) + city.phase_s, memory.last_at[own])
        said = at_horizons(curves, city, known_now(memory, rows[chosen]), at, horizons)
        where = waiting.places(horizons, begun)
        memory.asked_slot[own, where] = target
        memory.asked_terms[own, where] = said.terms
        memory.asked_said[own, where] = np.stack([said.rate, said.scale, said.low, said.high], axis=-1)


def score(curves: Curves, city: City, waiting: Waiting, rows: Ints) -> None:
    """The slot of the newest count of series is over: what was said of it is compared with that count, and learnt from."""
    memory, grid = curves.memory, curves.grid
    slot = grid.slot(memory.last_at[rows])
    city.note_phase(memory.last_at[rows] - grid.middle(slot))
    where = waiting.places(np.arange(waiting.ahead.size), slot[:, None] - waiting.ahead)
    index, horizon = np.nonzero(memory.asked_slot[rows[:, None], where] == slot[:, None])
    if index.size:
        _learn(curves, city, waiting, rows[index], horizon, where[index, horizon])


def _learn(curves: Curves, city: City, waiting: Waiting, rows: Ints, horizon: Ints, where: Ints) -> None:
    """Forecasts whose truth is the newest count; no series and horizon comes twice."""
    memory = curves.memory
    truth = memory.last_rate[rows]
    terms = memory.asked_terms[rows, where].astype(np.float64)
    rate, scale, low, high = memory.asked_said[rows, where].astype(np.float64).T
    base = terms[:, LEVEL] + 0.5
    error = truth - rate
    least = _LEAST_ERROR * np.sqrt(np.array(city.weights.horizons_min) / 30)
    weight = 1 / np.maximum(np.abs(error), least[horizon])
    trust = np.minimum((memory.days[rows] + 0.5) / _TRUSTED_DAYS, 1.0) ** 2
    city.weights.learn(horizon, terms, truth - base, weight * trust)
    some = terms[:, OWN]
    own_step = error + (some * memory.own[rows, horizon]).sum(axis=1)
    weighted = weight[:, None] * some
    memory.own_squares[rows, horizon] += weighted[:, :, None] * some[:, None, :]
    memory.own_products[rows, horizon] += weighted * own_step[:, None]
    target = memory.asked_slot[rows, where]
    pull = np.minimum(np.abs(error) / np.maximum(scale, _LEAST_SCALE), WORST) - 1
    missed = np.stack([truth < np.clip(low, 0, 1), truth > np.clip(high, 0, 1)], axis=1) - MISSED
    stands_for = np.minimum(waiting.every, _MOST_STANDS_FOR)[horizon]
    pull, missed = pull * stands_for, missed * stands_for[:, None]
    asked_at = curves.grid.middle(target - waiting.ahead[horizon])
    city.intervals.learn(horizon, place(curves, asked_at, rate, rate - base), pull, missed, max(city.alive, np.unique(rows).size))
    memory.scored[rows, horizon] = np.minimum(memory.scored[rows, horizon] + 1, _MOST_SCORED)
    memory.spread[rows, horizon] = np.clip(memory.spread[rows, horizon] + _SPREAD_RATE * pull, -_FARTHEST, _FARTHEST)
    np.add.at(memory.spread_then, (rows, hour_then(curves, curves.grid.middle(target))), _THEN_RATE * pull)
    memory.missed[rows, horizon] = np.clip(memory.missed[rows, horizon] + _MISSED_RATE * missed, -_MOST_MISSED, _MOST_MISSED)
    memory.asked_slot[rows, where] = -1


def note_city(curves: Curves, city: City, rows: Ints, at: Floats, rate: Floats) -> None:
    """How counts deviate from the usual, and how the others do just then."""
    memory = curves.memory
    usual = curves.usual(rows, at[:, None])
    deviation = usual.known[:, 0] * (rate - usual.weekday[:, 0])
    memory.beside[rows] = np.stack(city.count(memory, rows, at, deviation, curves.grid), axis=1)
    memory.today_sum[rows] += deviation
    memory.today_counts[rows] += 1
