"""What a figure of the plan is: a definition, the rows that it sums, and what it says against its target. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from operator import attrgetter
from typing import Any

from cityloop_common.clock import day_begins
from cityloop_common.db import Tx
from cityloop_common.errors import Invalid, NotFound

LAST_INSTANT = timedelta(microseconds=1)
DAYS = (date(2000, 1, 1), date(2999, 12, 31))  # that can be asked for


class UnknownIndicator(NotFound):
    slug, title = "indicator-unknown", "No such indicator"


class UnknownScheme(NotFound):
    slug, title = "scheme-unknown", "The indicator has no such scheme"


class UnknownFormula(NotFound):
    slug, title = "formula-unknown", "The indicator has no such version of its formula"


class NotYet(Invalid):
    slug, title = "not-yet", "The day had not begun at that instant"


class NoData(Exception):
    """Raised by a formula when what it counts is not known at all; the text says what is missing."""


class Better(StrEnum):
    """Which way of missing the target is the good one."""

    HIGHER = "higher"
    LOWER = "lower"


class Status(StrEnum):
    """What a figure says. No data is neither 0 nor good; `not_judged` is a part whose target is set for the whole only."""

    MET = "met"
    MISSED = "missed"
    NO_DATA = "no_data"
    NOT_JUDGED = "not_judged"


@dataclass(frozen=True, slots=True)
class Scheme:
    """One of the ways to count on which sources disagree; each is computed."""

    id: str
    title: str
    title_zh: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """Of when, and as known when: rows that happened by `at` and were recorded by `known_at`, both inclusive.

    `at` is the last instant of the local day `on`, or `known_at` while that day is not over.
    """

    on: date
    at: datetime
    known_at: datetime


def moment(on: date, known_at: datetime) -> Moment:
    """The moment of a local day as known at an instant. Raises NotYet when the day began later, Invalid outside `DAYS`."""
    if not DAYS[0] <= on <= DAYS[1]:
        raise Invalid(f"A day lies between {DAYS[0]} and {DAYS[1]}.")
    if known_at < day_begins(on):
        raise NotYet(f"{on} begins at {day_begins(on).isoformat()}")
    return Moment(on, min(day_begins(on + timedelta(days=1)) - LAST_INSTANT, known_at), known_at)


@dataclass(frozen=True, slots=True)
class Row:
    """What one counted thing gives to a figure; `key` is unique in it.

    `why` is a code (`counted`, `not-operational`, ...); one that counts for nothing is 0/0. `evidence` names the journal rows
    behind it, and what a person needs to find the thing.
    """

    key: str
    numerator: int
    denominator: int
    district: str | None = None
    why: str = "counted"
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """Exact integers, what they say, and the gap to the target in units (0 when it is met, None when nothing is said)."""

    numerator: int
    denominator: int
    status: Status
    gap: int | None

    @property
    def value(self) -> Fraction | None:
        """Numerator over denominator; None without data."""
        return None if self.status is Status.NO_DATA or not self.denominator else Fraction(self.numerator, self.denominator)


Formula = Callable[[Any, Moment, str], Iterable[Row]]
ReadFacts = Callable[[Tx, Moment], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Indicator:
    """A figure of the plan.

    `unit` is what numerator and gap count. `schemes`: the first is the headline. `formulas` by version: the highest is the present one, the
    others stay callable; one that gives its rows one by one lets others have their turn between them. `read` collects facts for one
    moment and takes no more than that. `fixed_denominator` makes a count against a milestone (`target` is then the milestone);
    `judged_by_district` says whether the target holds for each district.
    """

    name: str
    title: str
    title_zh: str
    unit: str
    source: str
    target: Fraction
    deadline: date
    better: Better
    schemes: Sequence[Scheme]
    formula_text: str
    read: ReadFacts
    formulas: Mapping[int, Formula]
    fixed_denominator: int | None = None
    judged_by_district: bool = True

    @property
    def headline(self) -> Scheme:
        return self.schemes[0]

    @property
    def formula_version(self) -> int:
        """The present version."""
        return max(self.formulas)

    def formula(self, version: int | None) -> Formula:
        """The formula of a version, the present one when none is named. Raises UnknownFormula."""
        found = self.formulas.get(self.formula_version if version is None else version)
        if found is None:
            raise UnknownFormula(f"Known are {', '.join(str(each) for each in sorted(self.formulas))}.")
        return found

    def scheme(self, scheme_id: str | None) -> Scheme:
        """A scheme by id, the headline when none is named. Raises UnknownScheme."""
        found = next((each for each in self.schemes if scheme_id in (None, each.id)), None)
        if found is None:
            raise UnknownScheme(f"Known are {', '.join(each.id for each in self.schemes)}.")
        return found


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A figure at a moment with everything behind it. `by_district` has "" for what lies in none; `missing` says what is not known."""

    indicator: str
    scheme: str
    formula_version: int
    moment: Moment
    provisional: bool
    districts_version: str
    total: Figure
    by_district: Mapping[str, Figure]
    rows: Sequence[Row]
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Which figure is wanted: a formula's version at a moment, closed or provisional."""

    moment: Moment
    provisional: bool
    formula_version: int
    districts_version: str


class Summing:
    """A figure of one scheme in the making: its rows as they come, and what they add up to by district.

    A figure may have tens of thousands of rows: they are added part by part, in one pass.
    """

    def __init__(self, indicator: Indicator, scheme: Scheme, ask: Ask) -> None:
        self._indicator, self._scheme, self._ask = indicator, scheme, ask
        self._rows: list[Row] = []
        self._numerators: dict[str, int] = {}
        self._denominators: dict[str, int] = {}

    def rows(self, facts: Any) -> Iterable[Row]:
        """What the formula gives. Raises NoData, perhaps not before the first row is taken."""
        return self._indicator.formula(self._ask.formula_version)(facts, self._ask.moment, self._scheme.id)

    def add(self, rows: Iterable[Row]) -> None:
        """Some more of them."""
        numerators, denominators = self._numerators, self._denominators
        for row in rows:
            self._rows.append(row)
            name = row.district or ""
            numerators[name] = numerators.get(name, 0) + row.numerator
            denominators[name] = denominators.get(name, 0) + row.denominator

    def nothing(self, missing: str) -> Evaluation:
        """The figure when what it counts is not known."""
        return self._evaluation({}, None, [], missing)

    def figure(self) -> Evaluation:
        """The figure of all rows: in the whole and by district."""
        parts = {name: (numerator, self._denominators[name]) for name, numerator in self._numerators.items()}
        total = (sum(self._numerators.values()), sum(self._denominators.values())) if parts else None
        return self._evaluation(parts, total, sorted(self._rows, key=attrgetter("key")), None)

    def _evaluation(
        self, parts: Mapping[str, tuple[int, int]], total: tuple[int, int] | None, rows: Sequence[Row], missing: str | None
    ) -> Evaluation:
        indicator, ask = self._indicator, self._ask
        return Evaluation(
            indicator=indicator.name,
            scheme=self._scheme.id,
            formula_version=ask.formula_version,
            moment=ask.moment,
            provisional=ask.provisional,
            districts_version=ask.districts_version,
            total=_figure(indicator, total, judged=True),
            by_district={name: _figure(indicator, parts[name], judged=indicator.judged_by_district) for name in sorted(parts)},
            rows=rows,
            missing=missing,
        )


def evaluated(indicator: Indicator, scheme: Scheme, facts: Any, ask: Ask) -> Evaluation:
    """The figure of one scheme: the sum of its rows, in the whole and by district."""
    summing = Summing(indicator, scheme, ask)
    try:
        summing.add(summing.rows(facts))
    except NoData as nothing:
        return summing.nothing(str(nothing))
    return summing.figure()


def _figure(indicator: Indicator, sums: tuple[int, int] | None, *, judged: bool) -> Figure:
    """What sums say; None where there is no row."""
    if sums is None:
        return Figure(0, 0, Status.NO_DATA, None)
    numerator, denominator = sums if indicator.fixed_denominator is None else (sums[0], indicator.fixed_denominator)
    if denominator == 0:
        return Figure(numerator, 0, Status.NO_DATA, None)
    if not judged:
        return Figure(numerator, denominator, Status.NOT_JUDGED, None)
    gap = gap_to(indicator.target, indicator.better, numerator, denominator)
    return Figure(numerator, denominator, Status.MISSED if gap else Status.MET, gap)


def gap_to(target: Fraction, better: Better, numerator: int, denominator: int) -> int:
    """How many units of the numerator are missing to the target (too many of them, where lower is better); 0 when it is met."""
    if better is Better.HIGHER:
        return max(0, math.ceil(target * denominator) - numerator)
    return max(0, numerator - math.floor(target * denominator))
