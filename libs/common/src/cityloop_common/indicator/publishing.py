"""Publishes figures: every day at 00:10 as it stood at its end, every hour for today; each as known at a closed instant.

The instant belongs to the slot and not to the sweep that happens to compute it, so a late sweep, a second replica or a
recomputation a year later gives the same figure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from cityloop_common import outbox, telemetry
from cityloop_common.clock import city_day, day_begins
from cityloop_common.context import Ctx
from cityloop_common.envelope import Event, EventType, Kind
from cityloop_common.errors import Unavailable
from cityloop_common.indicator import store
from cityloop_common.indicator.domain import Ask, Evaluation, Indicator, moment
from cityloop_common.indicator.evaluating import evaluate
from cityloop_common.indicator.store import District, Published
from cityloop_common.journal import closed_instant

DAILY_AT = timedelta(minutes=10)
CATCH_UP_DAYS = 31
PAGE = 200
FAILED = telemetry.counter("indicator_failures_total", "Figures that could not be published when they were due", ("service", "indicator"))
_log = telemetry.get_logger(__name__)


class DistrictV1(BaseModel):
    """The part of a figure in one district; an empty id is what lies in none."""

    id: str
    numerator: int
    denominator: int
    status: str
    gap: int | None = None


class IndicatorEvaluatedV1(BaseModel):
    """A figure of the plan on one local day, as known at `known_at`; a later `known_at` restates it."""

    service: str
    name: str
    scheme: str
    on: date
    known_at: datetime
    formula_version: int
    numerator: int
    denominator: int
    status: str
    gap: int | None = None
    districts_version: str
    districts: list[DistrictV1]


def event_type(service: str) -> EventType[IndicatorEvaluatedV1]:
    """`<service>.indicator.evaluated.v1`; key = name, scheme and day, sequence = known_at in seconds."""
    return EventType(f"{service}.indicator.evaluated.v1", f"{service}.indicator", Kind.STATE, IndicatorEvaluatedV1)


@dataclass(frozen=True, slots=True)
class Slot:
    """A figure that is due: of a day, as known at an instant."""

    on: date
    known_at: datetime


def due(now: datetime, first: date | None) -> list[Slot]:
    """The slots that are closed now: days that are over, from the first that was ever published on, and the present hour."""
    closed = closed_instant(now)
    today = city_day(closed)
    begin = today - timedelta(days=1) if first is None else max(first, today - timedelta(days=CATCH_UP_DAYS))
    days = [begin + timedelta(days=number) for number in range((today - begin).days)]
    slots = [Slot(day, day_begins(day + timedelta(days=1)) + DAILY_AT) for day in days]
    hour = closed.replace(minute=0, second=0, microsecond=0)  # the city is a whole number of hours from UTC
    return [each for each in slots if each.known_at <= closed] + [Slot(city_day(hour), hour)]


async def publish_due(ctx: Ctx[Any], indicators: Sequence[Indicator]) -> int:
    """Publishes what is due and not there yet; answers how many figures."""
    for indicator in indicators:
        FAILED.add(ctx.service, indicator.name, by=0)
    async with ctx.db.read() as tx:
        slots = due(ctx.clock.now(), await store.first_day(tx))
        there = await store.published_at(tx, [slot.known_at for slot in slots])
    published = 0
    for slot in slots:
        for indicator in indicators:
            if any((slot.on, slot.known_at, indicator.name, scheme.id) not in there for scheme in indicator.schemes):
                published += await _publish_or_say(ctx, indicator, slot)
    return published


async def _publish_or_say(ctx: Ctx[Any], indicator: Indicator, slot: Slot) -> int:
    """One figure that cannot be computed stops neither the others nor the worker; it is tried again at the next look."""
    try:
        return await publish(ctx, indicator, slot)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a formula raises is told, and tried again
        FAILED.add(ctx.service, indicator.name)
        _log.exception("indicator-not-published", indicator=indicator.name, on=slot.on.isoformat(), error=type(error).__name__)
        return 0


async def publish(ctx: Ctx[Any], indicator: Indicator, slot: Slot) -> int:
    """Evaluates an indicator for a slot and stores what is not there yet with its events; answers how many figures."""
    ask = Ask(
        moment(slot.on, slot.known_at),
        provisional=False,
        formula_version=indicator.formula_version,
        districts_version=ctx.districts.version,
    )
    evaluations = await evaluate(ctx, indicator, ask)
    published = 0
    async with ctx.db.write() as tx:
        for each in evaluations.values():
            new = _published(each, event_id=ctx.ids.new(), recorded_at=tx.recorded_at)
            if await store.add(tx, new):
                await outbox.append(tx, indicator_evaluated(new, service=ctx.service, source=ctx.source))
                published += 1
    return published


def _published(of: Evaluation, *, event_id: str, recorded_at: datetime) -> Published:
    return Published(
        name=of.indicator,
        scheme=of.scheme,
        on=of.moment.on,
        known_at=of.moment.known_at,
        formula_version=of.formula_version,
        districts_version=of.districts_version,
        total=of.total,
        by_district=[District(name, figure) for name, figure in of.by_district.items()],
        event_id=event_id,
        recorded_at=recorded_at,
    )


def indicator_evaluated(of: Published, *, service: str, source: str) -> Event:
    """The event of a published figure; the same id and bytes however often it is made."""
    body = IndicatorEvaluatedV1(
        service=service,
        name=of.name,
        scheme=of.scheme,
        on=of.on,
        known_at=of.known_at,
        formula_version=of.formula_version,
        numerator=of.total.numerator,
        denominator=of.total.denominator,
        status=of.total.status,
        gap=of.total.gap,
        districts_version=of.districts_version,
        districts=[
            DistrictV1(
                id=each.id,
                numerator=each.figure.numerator,
                denominator=each.figure.denominator,
                status=each.figure.status,
                gap=each.figure.gap,
            )
            for each in of.by_district
        ],
    )
    key = f"{of.name}/{of.scheme}/{of.on.isoformat()}"
    sequence = int(of.known_at.timestamp())
    return event_type(service).event(body, id=of.event_id, key=key, sequence=sequence, time=of.recorded_at, source=source)


async def republished(ctx: Ctx[Any], key: str | None) -> AsyncIterator[Event]:
    """The newest event of every figure's every day, or of one, with its old id."""
    only: tuple[str, str, str] | None = None
    if key is not None:
        name, _, rest = key.partition("/")
        scheme, _, on = rest.partition("/")
        only = (name, scheme, on)
    after = ("", "", "")
    while True:
        async with ctx.db.read() as tx:
            found = await store.page_newest(tx, after=after, most=PAGE, only=only)
        for each in found:
            yield indicator_evaluated(each, service=ctx.service, source=ctx.source)
        if only is not None or len(found) < PAGE:
            return
        after = (found[-1].name, found[-1].scheme, found[-1].on.isoformat())
