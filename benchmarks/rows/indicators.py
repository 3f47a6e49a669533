"""Row f: every figure on any day of 13 months of journals, beside plain SQL that asks the same journal.

`CITYLOOP_SCALE=full` fills 395 days (12 million status changes of 5,000 charging points); otherwise a month, to see that it runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from benchmarks.report import Measured
from benchmarks.rows import filled
from benchmarks.rows.filled import Filled, Span
from benchmarks.servers import fresh_database
from cityloop_charging.service import SERVICE as CHARGING
from cityloop_common.clock import day_begins
from cityloop_common.context import Ctx
from cityloop_common.indicator import Ask, Evaluation, Indicator, Moment, Status, evaluate, moment
from cityloop_common.indicator.publishing import DAILY_AT
from cityloop_common.journal import closed_instant
from cityloop_common.migrating import migrate
from cityloop_common.parts import build_ctx, close_ports, open_ports
from cityloop_common.runtime import spare_collector
from cityloop_common.service import Service
from cityloop_common.settings import SharedSettings
from cityloop_parking.service import SERVICE as PARKING
from cityloop_waste.service import SERVICE as WASTE
from tests.support import scaled

DAYS = scaled(ci=30, full=395)
COUNTED_DAYS = scaled(ci=5, full=52)  # 2,000 car parks counted every quarter of an hour: 10 million counts
WANTED_MS = 2_000.0
# What somebody writes who only wants to know: the newest row of each thing as of an instant.
_PLAIN_STATUS = (
    "SELECT DISTINCT ON (evse_uid) evse_uid, status, happened_at, recorded_at, id FROM evse_status"
    " WHERE happened_at <= $1 AND recorded_at <= $2 ORDER BY evse_uid, happened_at DESC, seq DESC, recorded_at DESC, id DESC"
)
_PLAIN_COUNT = (
    "SELECT DISTINCT ON (place_id, category) place_id, category, happened_at, source, interval_s, id FROM observation"
    " WHERE happened_at <= $1 AND recorded_at <= $2 ORDER BY place_id, category, happened_at DESC, recorded_at DESC, id DESC"
)
_PLAIN_LOADS = (
    "SELECT DISTINCT ON (chain_id) chain_id, on_day, stream, site_kind, net_kg, district, id FROM load"
    " WHERE recorded_at <= $2 AND happened_at <= $1 AND happened_at >= date_trunc('year', $1 AT TIME ZONE 'Asia/Shanghai')"
    " AT TIME ZONE 'Asia/Shanghai' ORDER BY chain_id, version DESC"
)
# What somebody writes who knows the index.
_SEEK_STATUS = (
    "SELECT e.uid, s.status, s.happened_at, s.recorded_at, s.id FROM evse AS e CROSS JOIN LATERAL (SELECT * FROM evse_status AS s"
    " WHERE s.evse_uid = e.uid AND s.happened_at <= $1 AND s.recorded_at <= $2"
    " ORDER BY s.happened_at DESC, s.seq DESC, s.recorded_at DESC, s.id DESC LIMIT 1) AS s"
)


async def measure(rounds: int) -> list[Measured]:
    """Milliseconds of an evaluation, read and arithmetic, every scheme of it; the slowest and the median of all asked for."""
    spare_collector()  # as every process that serves
    now = datetime.now(UTC)
    async with _service(CHARGING) as (ctx, url):
        span = filled.span(DAYS, now)
        of_charging = await _charging(ctx, url, rounds, span, await filled.charging(url, span))
    async with _service(PARKING) as (ctx, url):
        span = filled.span(COUNTED_DAYS, now)
        of_parking = await _one(ctx, url, rounds, span, await filled.parking(url, span), PARKING.indicators[0], "f3", _PLAIN_COUNT)
    async with _service(WASTE) as (ctx, url):
        span = filled.span(DAYS, now)
        of_waste = await _one(ctx, url, rounds, span, await filled.waste(url, span), WASTE.indicators[0], "f4", _PLAIN_LOADS)
    return [*of_charging, of_parking, of_waste]


@asynccontextmanager
async def _service(service: Service) -> AsyncIterator[tuple[Ctx[Any], str]]:
    """A service over an empty database of its own."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        url = os.environ[f"CITYLOOP_{service.name.upper()}_DATABASE_URL"] = await stack.enter_async_context(fresh_database())
        shared = SharedSettings(var=Path(folder))
        ports = open_ports(shared)
        stack.push_async_callback(close_ports, ports)
        ctx = build_ctx(service, shared, ports)
        stack.push_async_callback(ctx.db.close)
        await migrate(ctx.db, service.migrations, service.metadata)
        yield ctx, url


def moments(span: Span) -> list[Moment]:
    """First, middle and last whole day, each as it was published and as it is known now, and today."""
    closed = closed_instant(span.now)
    whole = span.days - 2
    days = sorted({span.first, *(span.first + timedelta(days=whole * part // 4) for part in range(1, 5))})
    published = [moment(day, day_begins(day + timedelta(days=1)) + DAILY_AT) for day in days]
    return [*(each for each in published if each.known_at <= closed), *(moment(day, closed) for day in days), moment(span.last, closed)]


async def _charging(ctx: Ctx[Any], url: str, rounds: int, span: Span, filling: Filled) -> list[Measured]:
    connection = await asyncpg.connect(url)
    slowest, middle, plain, seek = [], [], [], []
    try:
        for _ in range(rounds):
            took = await _round(ctx, CHARGING.indicators, span)
            slowest.append(max(took))
            middle.append(median(took))
            plain.append(await _plain_ms(connection, _PLAIN_STATUS, moment(span.last, closed_instant(span.now)), filled.POINTS))
            asked = [await _plain_ms(connection, _SEEK_STATUS, each, filled.POINTS) for each in moments(span)]
            seek.append(median(asked))
    finally:
        await connection.close()
    figures = ", ".join(each.name for each in CHARGING.indicators)
    what = f"one of charging's figures ({figures}) of a day, all schemes with their rows"
    conditions = (
        f"PostgreSQL, {filled.POINTS:,} charging points, {span.days} days, {filling}; each figure on {len(moments(span))} days and instants"
        " (first to last, as published and as known now, today), one after the other, no cache of ours"
    )
    return [
        Measured(
            "f1", f"{what}: the slowest, against `DISTINCT ON` over the journal read by asyncpg", conditions, slowest, plain, "ms",
            None, None, f"lower is better; {_verdict(slowest)}; the baseline reads the statuses of today only",
        ),
        Measured(
            "f2", f"{what}: the median, against the same index seeks by hand over asyncpg", "the same", middle, seek, "ms",
            None, None, "lower is better; the baseline reads the statuses only: no stations, car parks, vehicles, no arithmetic",
        ),
    ]  # fmt: skip


async def _one(
    ctx: Ctx[Any], url: str, rounds: int, span: Span, filling: Filled, indicator: Indicator, row: str, plain_sql: str
) -> Measured:
    connection = await asyncpg.connect(url)
    slowest, plain = [], []
    try:
        for _ in range(rounds):
            slowest.append(max(await _round(ctx, [indicator], span)))
            plain.append(await _plain_ms(connection, plain_sql, moment(span.last, closed_instant(span.now)), 1))
    finally:
        await connection.close()
    what = f"{indicator.name} of a day, all schemes with their rows: the slowest, against `DISTINCT ON` over the journal read by asyncpg"
    conditions = f"PostgreSQL, {span.days} days, {filling}; {len(moments(span))} days and instants"
    return Measured(row, what, conditions, slowest, plain, "ms", None, None, f"lower is better; {_verdict(slowest)}")


async def _round(ctx: Ctx[Any], indicators: Sequence[Indicator], span: Span) -> list[float]:
    took: list[float] = []
    for at in moments(span):
        for indicator in indicators:
            ask = Ask(at, False, indicator.formula_version, ctx.districts.version)
            started = time.perf_counter()
            found = await evaluate(ctx, indicator, ask)
            took.append((time.perf_counter() - started) * 1000)
            _check(found[indicator.headline.id], span.first)
    return took


def _check(of: Evaluation, first: date) -> None:
    """A figure without data would be quick and say nothing."""
    if of.total.status is Status.NO_DATA and of.moment.on > first + timedelta(days=1):
        raise RuntimeError(f"{of.indicator} has no data on {of.moment.on}")


async def _plain_ms(connection: asyncpg.Connection, sql: str, at: Moment, least: int) -> float:
    started = time.perf_counter()
    rows = await connection.fetch(sql, at.at, at.known_at, timeout=600)
    took = (time.perf_counter() - started) * 1000
    if len(rows) < least * 0.9 and at.on > date.min:
        raise RuntimeError(f"the baseline found {len(rows)} rows")
    return took


def _verdict(slowest_ms: Sequence[float]) -> str:
    return f"wanted on any day: at most {WANTED_MS:,.0f} ms: {'reached' if max(slowest_ms) <= WANTED_MS else '**missed**'}"
