"""Evaluates figures from a service's own journals; what is closed never changes, so it is kept for a while."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from cityloop_common.clock import city_day
from cityloop_common.context import Ctx
from cityloop_common.indicator.domain import Ask, Evaluation, Indicator, evaluated, moment
from cityloop_common.journal import KnownAt, closed_instant, known_at

KEPT = 32
STEP_S = 5  # instants that nobody named are rounded down to this, so that many askers share one evaluation
Evaluations = Mapping[str, Evaluation]  # by scheme


@dataclass(frozen=True, slots=True)
class When:
    """What a caller asks for: a local day (today when left out), as known at an instant (the latest closed one), by a formula's version."""

    on: date | None = None
    known_at: datetime | None = None
    formula_version: int | None = None


class Evaluator:
    """Figures of one service in one process; two who ask for the same wait for one evaluation."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Ask], Evaluations] = OrderedDict()
        self._turns: dict[tuple[str, Ask], asyncio.Lock] = {}

    async def evaluate(self, ctx: Ctx[Any], indicator: Indicator, when: When) -> Evaluations:
        """Every scheme of an indicator. Raises Invalid (known_at lies in the future), NotYet, UnknownFormula."""
        ask = asked(ctx, indicator, when)
        if ask.provisional:
            return await evaluate(ctx, indicator, ask)
        key = (indicator.name, ask)
        turn = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with turn:
                found = self._kept.get(key)
                if found is None:
                    found = self._kept[key] = await evaluate(ctx, indicator, ask)
                    while len(self._kept) > KEPT:
                        self._kept.popitem(last=False)
                self._kept.move_to_end(key)
                return found
        finally:
            if not turn.locked():
                self._turns.pop(key, None)


def asked(ctx: Ctx[Any], indicator: Indicator, when: When) -> Ask:
    """The question with its defaults filled in. Raises Invalid, NotYet, UnknownFormula."""
    now = ctx.clock.now()
    known = known_at(when.known_at, now=now) if when.known_at is not None else KnownAt(_stepped(closed_instant(now)), provisional=False)
    on = when.on or city_day(known.at)
    indicator.formula(when.formula_version)
    version = indicator.formula_version if when.formula_version is None else when.formula_version
    return Ask(moment(on, known.at), known.provisional, version, ctx.districts.version)


async def evaluate(ctx: Ctx[Any], indicator: Indicator, ask: Ask) -> Evaluations:
    """Reads the facts of a moment in one snapshot and computes every scheme."""
    async with ctx.db.read() as tx:
        facts = await indicator.read(tx, ask.moment)
    found: dict[str, Evaluation] = {}
    for scheme in indicator.schemes:
        found[scheme.id] = evaluated(indicator, scheme, facts, ask)
        await asyncio.sleep(0)  # the loop's other work between two schemes
    return found


def _stepped(at: datetime) -> datetime:
    return at - timedelta(seconds=at.second % STEP_S, microseconds=at.microsecond)
