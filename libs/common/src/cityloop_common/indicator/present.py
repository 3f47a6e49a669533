"""Figures as they are at present, closed and provisional, evaluated once for all who ask: readers, and the streams of a replica."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import date, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from cityloop_common.clock import city_day
from cityloop_common.compression import Body
from cityloop_common.context import Ctx
from cityloop_common.indicator import views
from cityloop_common.indicator.domain import Indicator
from cityloop_common.indicator.evaluating import Evaluator, When
from cityloop_common.indicator.views import View
from cityloop_common.shared import Shared

GOOD_FOR_S = 0.9  # less than the second between two looks of the loop that tells of changes
LIST_GOOD_FOR_S = 0.1
LISTS_KEPT = 16


class Known(StrEnum):
    """How far a present figure looks: to the latest closed instant, which is final, or to now, where rows may still appear."""

    CLOSED = "closed"
    PROVISIONAL = "provisional"


class Present:
    """The present figures of one service in one replica.

    `revision` counts how often the numbers of a figure became others; `total_revision` is of all of them.
    """

    def __init__(self, ctx: Ctx[Any]) -> None:
        self.ctx = ctx
        self.evaluator = Evaluator()
        self.total_revision = 0
        self._revisions: dict[tuple[str, Known], int] = {}
        self._numbers: dict[tuple[str, Known], bytes] = {}
        self._views: dict[tuple[str, Known], Shared[View]] = {}
        self._lists: OrderedDict[tuple[tuple[Known, ...], int], Shared[Body]] = OrderedDict()

    def revision(self, indicator: Indicator, known: Known) -> int:
        """How often its numbers became others, as far as anybody looked."""
        return self._revisions.get((indicator.name, known), 0)

    async def view(self, indicator: Indicator, known: Known) -> View:
        """A figure with its districts; of this second, or of a time five times as long as it takes. Raises as Evaluator does."""
        key = (indicator.name, known)
        shared = self._views.setdefault(key, Shared(self.ctx.clock, good_for_s=GOOD_FOR_S))
        return await shared.get(partial(self._view, indicator, known), self._today)

    async def list(self, indicators: Sequence[Indicator], *known: Known, trend_days: int = 0) -> Body:
        """All figures as one answer, each as often as it is asked for; no older than what was told of them; with the trend of some days."""
        key = (known, trend_days)
        shared = self._lists.setdefault(key, Shared(self.ctx.clock, good_for_s=LIST_GOOD_FOR_S))
        self._lists.move_to_end(key)
        if len(self._lists) > LISTS_KEPT:
            self._lists.popitem(last=False)
        return await shared.get(partial(self._list, indicators, known, trend_days), lambda: (self.total_revision, self._today()))

    async def with_trends(self, shown: Sequence[View], days: int) -> Sequence[View]:
        """Each with the newest published figure of each of the last days, today included; read once a figure, however often it is there."""
        if not days:
            return shown
        today, figures = self._today(), {each["name"]: each for each in shown}
        async with self.ctx.db.read() as tx:
            found = {name: await views.trends(tx, each, today - timedelta(days=days - 1), today) for name, each in figures.items()}
        return [views.with_trends(each, found[each["name"]]) for each in shown]

    def _today(self) -> date:
        """Whoever asks on a new day is not told of the day before."""
        return city_day(self.ctx.clock.now())

    async def _view(self, indicator: Indicator, known: Known) -> View:
        when = When(known_at=self.ctx.clock.now()) if known is Known.PROVISIONAL else When()
        view = await views.shown(self.ctx, indicator, await self.evaluator.evaluate(self.ctx, indicator, when))
        numbers = views.as_json([view["on"], view["formula_version"], views.in_list(view)["schemes"]])
        key = (indicator.name, known)
        if self._numbers.get(key) != numbers:
            self._numbers[key] = numbers
            self._revisions[key] = self._revisions.get(key, 0) + 1
            self.total_revision += 1
        return view

    async def _list(self, indicators: Sequence[Indicator], known: Sequence[Known], trend_days: int) -> Body:
        shown = [views.in_list(await self.view(indicator, each)) for indicator in indicators for each in known]
        return Body(views.as_json({"indicators": await self.with_trends(shown, trend_days)}))
