"""The pace at which a replica looks at its figures: at most once a second each, and a tenth of the time at most."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from cityloop_common.clock import ManualClock
from cityloop_common.errors import Unavailable
from cityloop_common.indicator import Better, Indicator, Scheme
from cityloop_common.indicator.present import Known
from cityloop_common.indicator.telling import AGAIN_S, tell_changes


async def _nothing(*_: Any) -> None:
    pass


def _figure(name: str) -> Indicator:
    schemes = (Scheme("all", "All", "全部"),)
    return Indicator(name, name, name, "n", "a test", Fraction(1), date(2026, 12, 31), Better.HIGHER, schemes, "n", _nothing, {})


@dataclass
class Costly:
    """Present figures that take their time, in which the clock moves on."""

    clock: ManualClock
    costs: dict[str, float]
    looks: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def ctx(self) -> Any:
        return SimpleNamespace(clock=self.clock, service="kit")

    async def view(self, indicator: Indicator, known: Known) -> dict[str, object]:
        if known is Known.PROVISIONAL:
            self.looks[indicator.name].append(self.clock.monotonic())
            self.clock.advance(self.costs[indicator.name])
        return {"schemes": []}

    def revision(self, _indicator: Indicator, _known: Known) -> int:
        return 1


class Failing(Costly):
    """And then there is none."""

    async def view(self, indicator: Indicator, known: Known) -> dict[str, object]:
        await super().view(indicator, Known.PROVISIONAL)
        raise Unavailable("away", retry_after_s=1)


async def _pass(clock: ManualClock, seconds: float) -> None:
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock.advance(0.05)


@asynccontextmanager
async def telling(
    figures: Costly, *, publish: Callable[[object], None] = lambda _: None, clients: int = 1
) -> AsyncIterator[SimpleNamespace]:
    """The loop over all that has a cost, for clients of a hub; the clock stands still unless it is moved."""
    hub = SimpleNamespace(clients=clients, publish=publish)
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(tell_changes(figures, hub, [_figure(name) for name in figures.costs]))  # type: ignore[arg-type]
        yield hub
        looking.cancel()


async def test_a_dear_figure_is_looked_at_less_often_and_slows_no_cheap_one() -> None:
    """One that takes 10 ms every second, one that takes half a second every five."""
    clock = ManualClock(datetime(2026, 11, 26, tzinfo=UTC))
    figures = Costly(clock, {"cheap": 0.01, "dear": 0.5})
    told: list[object] = []
    async with telling(figures, publish=told.append):
        await _pass(clock, 60)
    dear = figures.looks["dear"]
    assert all(later - sooner >= 5.0 for sooner, later in pairwise(dear))
    assert 10 <= len(dear) <= 12
    assert 50 <= len(figures.looks["cheap"]) <= 60
    assert len(told) == 4  # each form of each, once


async def test_a_busy_machine_makes_no_figure_dear() -> None:
    """One of the last looks took no longer than the work itself: by that one it is paced."""
    clock = ManualClock(datetime(2026, 11, 26, tzinfo=UTC))
    figures = Costly(clock, {"cheap": 0.01})
    async with telling(figures):
        for seconds in range(40):
            figures.costs["cheap"] = 0.01 if seconds % 4 == 0 else 0.4
            await _pass(clock, 1)
    assert len(figures.looks["cheap"]) >= 30


async def test_a_slow_failure_is_followed_by_a_rest() -> None:
    """Five seconds from its end: a database that answers nothing within its deadline is not asked without end."""
    clock = ManualClock(datetime(2026, 11, 26, tzinfo=UTC))
    figures = Failing(clock, {"broken": 8.0})
    async with telling(figures):
        await _pass(clock, 60)
    looks = figures.looks["broken"]
    assert len(looks) >= 4
    assert all(later - sooner >= 8 + AGAIN_S for sooner, later in pairwise(looks))


async def test_nothing_is_looked_at_while_nobody_listens() -> None:
    """It begins within a second of the first who does, and ends with the last."""
    clock = ManualClock(datetime(2026, 11, 26, tzinfo=UTC))
    figures = Costly(clock, {"cheap": 0.01})
    looks = []
    async with telling(figures, clients=0) as hub:
        for clients in (0, 1, 0):
            hub.clients = clients
            await _pass(clock, 10)
            looks.append(len(figures.looks["cheap"]))
    assert looks[0] == 0
    assert 9 <= looks[1] <= 10
    assert looks[2] == looks[1]
