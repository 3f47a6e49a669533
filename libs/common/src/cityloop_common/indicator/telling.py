"""Tells the clients of a replica's streams when a figure becomes another."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from cityloop_common import telemetry
from cityloop_common.errors import Unavailable
from cityloop_common.indicator import views
from cityloop_common.indicator.domain import Indicator
from cityloop_common.indicator.present import Known, Present
from cityloop_common.sse import Hub, Message

CHANGED = "indicator.changed"
EVERY_S = 1.0
TIMES_COST = 10.0  # so much longer than an evaluation takes is the rest after it
AGAIN_S = 5.0  # after the end of one that failed
COSTS_KEPT = 8
FAILED = telemetry.counter("indicator_tellings_failed_total", "Looks at a present figure that failed", ("service", "indicator"))
_log = telemetry.get_logger(__name__)


@dataclass(slots=True)
class _Pace:
    """When a figure is looked at next; the least of its last costs decides: the others had other work of the machine in them."""

    due: float = 0.0
    costs: deque[float] = field(default_factory=lambda: deque(maxlen=COSTS_KEPT))

    def looked(self, began: float, ended: float) -> None:
        self.costs.append(ended - began)
        self.due = max(began + EVERY_S, ended + TIMES_COST * min(self.costs))


async def tell_changes(present: Present, hub: Hub, indicators: Sequence[Indicator]) -> None:
    """Background loop of an API replica. It looks while somebody listens, and never dies of what a figure raises."""
    clock = present.ctx.clock
    told: dict[tuple[str, Known], int] = {}
    paces = [(indicator, _Pace()) for indicator in indicators]
    while True:
        for indicator, pace in paces if hub.clients else ():
            began = clock.monotonic()
            if began < pace.due:
                continue
            if await _look_or_say(present, hub, indicator, told):
                pace.looked(began, clock.monotonic())
            else:
                pace.due = clock.monotonic() + AGAIN_S
        rest_s = min(pace.due for _, pace in paces) - clock.monotonic() if hub.clients and paces else EVERY_S
        await clock.sleep(max(0.0, rest_s))


async def _look_or_say(present: Present, hub: Hub, indicator: Indicator, told: dict[tuple[str, Known], int]) -> bool:
    """Whether it could be looked at; what is told of a figure is an IndicatorView as in the list."""
    try:
        for known in Known:
            view = await present.view(indicator, known)
            key, revision = (indicator.name, known), present.revision(indicator, known)
            if told.get(key) != revision:
                hub.publish(Message("", CHANGED, indicator.name, views.as_json(views.in_list(view)).decode()))
                told[key] = revision
    except Unavailable as error:
        _log.warning("indicator-waits", service=present.ctx.service, indicator=indicator.name, reason=error.slug)
    except Exception as error:  # noqa: BLE001 - whatever a formula raises is told, and tried again
        _log.exception("indicator-not-told", service=present.ctx.service, indicator=indicator.name, error=type(error).__name__)
    else:
        return True
    FAILED.add(present.ctx.service, indicator.name)
    return False
