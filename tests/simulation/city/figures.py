"""Figures at rest: what was published is what is computed again; what holds now is what the tables of today say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from cityloop_charging.protocols.tcec.domain import EARLY_AFTER
from cityloop_common.clock import city_day
from cityloop_common.context import Ctx
from cityloop_common.indicator import Ask, Evaluation, Indicator, evaluate, moment
from cityloop_common.indicator.publishing import due
from cityloop_common.service import Service
from cityloop_common.tables import indicator_value
from tests.simulation.city.present import present_facts
from tests.simulation.world import MOST_SKEW_S, Broken


class Judge:
    """Looks at one service's figures, on a node of its own."""

    def __init__(self, ctx: Ctx[Any], service: Service, paths: Mapping[str, Path]) -> None:
        self._ctx = ctx
        self._indicators = {each.name: each for each in service.indicators}
        self._paths = paths

    async def look(self) -> None:
        """Raises Broken."""
        async with self._ctx.db.read() as tx:
            rows = await tx.all(select(indicator_value).order_by(indicator_value.c.name, indicator_value.c.known_at))
        await self._published_in_time({(row.on_day, row.known_at, row.name, row.scheme) for row in rows})
        evaluations: dict[tuple[object, ...], Mapping[str, Evaluation]] = {}
        for row in rows:
            ask = Ask(moment(date.fromisoformat(row.on_day), row.known_at), False, row.formula_version, row.districts_version)
            key = (row.name, ask)
            if key not in evaluations:
                evaluations[key] = await evaluate(self._ctx, self._indicators[row.name], ask)
            self._same(row, evaluations[key][row.scheme])
        for indicator in self._indicators.values():
            await self._as_the_tables_say(indicator)

    async def _published_in_time(self, published: set[tuple[object, ...]]) -> None:
        """Everything that has been due for a while is there."""
        first = min(date.fromisoformat(str(row[0])) for row in published)
        for slot in due(self._ctx.clock.now() - timedelta(seconds=16 + 2 * MOST_SKEW_S), first):
            for indicator in self._indicators.values():
                for scheme in indicator.schemes:
                    if (slot.on.isoformat(), slot.known_at, indicator.name, scheme.id) not in published:
                        raise Broken(f"{indicator.name}/{scheme.id} of {slot.on} as known at {slot.known_at} is due and not published")

    @staticmethod
    def _same(row: Any, found: Evaluation) -> None:
        told = (row.numerator, row.denominator, row.status, row.gap)
        again = (found.total.numerator, found.total.denominator, str(found.total.status), found.total.gap)
        parts = {each["id"]: (each["numerator"], each["denominator"]) for each in row.by_district}
        parts_again = {name: (figure.numerator, figure.denominator) for name, figure in found.by_district.items()}
        if told != again or parts != parts_again:
            raise Broken(f"{row.name}/{row.scheme} of {row.on_day} as known at {row.known_at} was {told} {parts}, is {again} {parts_again}")

    async def _as_the_tables_say(self, indicator: Indicator) -> None:
        """The journals read to their ends give what the tables of now give: no order of clocks makes an old row the newest."""
        soon = self._ctx.clock.now() + EARLY_AFTER + timedelta(seconds=MOST_SKEW_S)  # an EVSE's stamp may lie so far ahead
        at = moment(city_day(soon), soon)
        async with self._ctx.db.read() as tx:
            journalled = await indicator.read(tx, at)
        present = present_facts(indicator.name, self._paths, at)
        for scheme in indicator.schemes:
            formula = indicator.formula(None)
            rows = {row.key: (row.numerator, row.denominator) for row in formula(journalled, at, scheme.id)}
            now = {row.key: (row.numerator, row.denominator) for row in formula(present, at, scheme.id)}
            if rows != now:
                differ = {key: (rows.get(key), now.get(key)) for key in sorted({*rows, *now}) if rows.get(key) != now.get(key)}
                raise Broken(f"{indicator.name}/{scheme.id} by the journals and by the tables of now: {dict(list(differ.items())[:3])}")
