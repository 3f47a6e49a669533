"""Counts of an invented town for laws of the forecast: seeded, so that each run sees the same; stamps are wall-clock seconds."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt

from cityloop_parking.availability.calendar import EVERY_DAY, Calendar
from cityloop_parking.availability.domain import Forecast, Question, Reading
from cityloop_parking.availability.model import Model

Floats = npt.NDArray[np.float64]

DAY_S = 86_400
WEEK_S = 7 * DAY_S
MIN_S = 60
MONDAY = (date(2026, 3, 2) - date(1970, 1, 1)).days  # the town's first day
STEP_MIN = 30
TAUGHT_DAYS = 28


def at(day: int, clock: str) -> float:
    """The stamp of a time of day, so many days after the town's first Monday."""
    hour, minute = map(int, clock.split(":"))
    return float((MONDAY + day) * DAY_S + hour * 3600 + minute * MIN_S)


def series(number: int) -> str:
    """The name of a car park."""
    return f"lot-{number:02}"


@dataclass(frozen=True)
class Town:
    """Car parks that fill in the morning and empty in the evening, each in its own way, less at the weekend.

    `shared` is the size of a deviation that all of them have at once and that fades in some hours, `noise` of each one's own.
    `lived_as` names days (numbers from the town's first day) that are lived as another weekday.
    """

    places: int = 8
    step_min: int = STEP_MIN
    shared: float = 0.04
    noise: float = 0.01
    seed: int = 7
    height: float = 0.75
    capacity: int = 200
    lived_as: Mapping[int, int] = field(default_factory=dict)

    def rates(self, days: int) -> Floats:
        """Steps x places."""
        rng = np.random.default_rng(self.seed)
        steps = days * 1440 // self.step_min
        minute = np.arange(steps) * self.step_min
        day, hour = minute // 1440, minute % 1440 / 60
        weekday = np.array([self.lived_as.get(int(each), int(each) % 7) for each in day])
        busy = np.array([1.0, 1.0, 0.95, 1.0, 1.05, 0.7, 0.45])[weekday]
        kept = np.exp(-self.step_min / 240)
        shared = _fading(rng.normal(0, 1, (steps, 1)), kept)
        own = _fading(rng.normal(0, 1, (steps, self.places)), kept)
        place = np.arange(self.places)
        width = np.where(hour[:, None] < 12 + place % 4, 3.0 + place % 3 * 0.3, 4.0)
        bell = np.exp(-(((hour[:, None] - 12 - place % 4) / width) ** 2))
        level = self.height - 0.02 * (place % 5)
        awake = 0.15 + bell
        rates: Floats = np.clip(0.06 + busy[:, None] * level * bell + awake * (self.shared * shared + self.noise * own), 0, 1)
        return rates

    def readings(self, days: int, *, late_s: float = 40) -> list[Reading]:
        """All car parks are counted together, `late_s` after each step."""
        capacity = self.capacity + 37.0 * np.arange(self.places)
        taken = np.round(self.rates(days) * capacity)
        begin, step_s = MONDAY * DAY_S + late_s, self.step_min * MIN_S
        return [
            Reading(series(place), begin + step * step_s, count, float(capacity[place]))
            for step, row in enumerate(taken.tolist())
            for place, count in enumerate(row)
        ]


def _fading(shocks: Floats, kept: float) -> Floats:
    """Deviations of size 1 that fade by `kept` a step."""
    values = np.empty_like(shocks)
    now = shocks[0]
    for step, shock in enumerate(shocks):
        now = kept * now + np.sqrt(1 - kept**2) * shock
        values[step] = now
    return values


@dataclass(frozen=True)
class Learnt:
    """What a model has learnt, as stored; any number of models can go on from it."""

    city: bytes
    parts: Mapping[str, tuple[bytes, bytes]]
    step_min: int
    calendar: Calendar

    @staticmethod
    def of(model: Model, names: Iterable[str], step_min: int = STEP_MIN, calendar: Calendar = EVERY_DAY) -> Learnt:
        """The whole state of a model."""
        return Learnt(model.city(), {name: (model.past(name), model.today(name)) for name in names}, step_min, calendar)

    def model(self, names: Iterable[str] | None = None) -> Model:
        """A model that knows the series named, or all of them."""
        model = Model(self.step_min, self.calendar)
        model.take_city(self.city)
        for name in self.parts if names is None else names:
            model.take(name, *self.parts[name])
        return model


TOWN = Town()
LOT, OTHERS = series(0), [series(place) for place in range(1, TOWN.places)]
NAMES = [LOT, *OTHERS]


@functools.cache
def counts() -> tuple[Reading, ...]:
    """Five weeks of the town."""
    return tuple(TOWN.readings(35))


def learnt(until: float = at(TAUGHT_DAYS, "00:00")) -> Learnt:
    """What a model knows of the town just before an instant of its last week; four whole weeks if none is named."""
    return _learnt(until)


@functools.cache
def _learnt(until: float) -> Learnt:
    taught = at(TAUGHT_DAYS, "00:00")
    model = Model(STEP_MIN) if until <= taught else learnt().model()
    model.observe(between(0 if until <= taught else taught, until))
    return Learnt.of(model, [series(place) for place in range(TOWN.places)])


def between(begin: float, end: float, names: Sequence[str] | None = None) -> list[Reading]:
    """The town's counts of a span, of all car parks or of some."""
    first, last = (bisect.bisect_left(counts(), stamp, key=_stamp) for stamp in (begin, end))
    return [each for each in counts()[first:last] if names is None or each.series in names]


def count_of(name: str, stamp: float) -> Reading:
    """The newest count of a car park at an instant."""
    return between(stamp - DAY_S, stamp + 1e-3, [name])[-1]


def _stamp(reading: Reading) -> float:
    return reading.at


def rate(reading: Reading) -> float:
    """How full, 0..1."""
    return min(max(reading.occupied / reading.capacity, 0.0), 1.0)


def ask(model: Model, name: str, *stamps: float) -> list[Forecast]:
    """The forecasts of one series."""
    found = model.forecast([Question(name, stamp) for stamp in stamps])
    answers = [each for each in found if each is not None]
    assert len(answers) == len(stamps)
    return answers


def width(forecast: Forecast) -> float:
    """Of the interval."""
    return forecast.high - forecast.low


def sane(forecast: Forecast) -> bool:
    """Finite, in 0..1, the mean within the interval."""
    return 0 <= forecast.low <= forecast.rate <= forecast.high <= 1 and 0 <= forecast.chance <= 1
