"""A service's figures put together: routes, the sweep that publishes, the event type, and how they are told again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter

from cityloop_common.envelope import EventType
from cityloop_common.indicator import api, publishing
from cityloop_common.indicator.domain import Indicator
from cityloop_common.indicator.publishing import IndicatorEvaluatedV1
from cityloop_common.service import Republish
from cityloop_common.sweeps import Sweep

LOOKS_EVERY_S = 15.0


class Figures:
    """What `Service` takes of the figures of one service."""

    def __init__(self, service: str, indicators: Sequence[Indicator]) -> None:
        self.indicators = tuple(indicators)
        self.evaluated: EventType[IndicatorEvaluatedV1] = publishing.event_type(service)
        self.publishes = (self.evaluated,)
        self.router: APIRouter = api.router(self.indicators)
        self.sweep = Sweep("indicators-publish", LOOKS_EVERY_S, partial(publishing.publish_due, indicators=self.indicators))
        self.republish = Republish(self.evaluated.topic, publishing.republished)
