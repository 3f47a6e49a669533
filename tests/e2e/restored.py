"""What must be the same in a city and in its backup, read from their databases."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Row, Table, select, true

from cityloop_common.backup.manifest import journals
from cityloop_common.clock import city_day
from cityloop_common.context import Ctx
from cityloop_common.eventlog import open_event_log
from cityloop_common.indicator import Ask, Evaluation, evaluate, moment
from cityloop_common.parts import build_ctx, close_ports, open_ports
from cityloop_common.service import Service, installed_services
from cityloop_common.settings import SharedSettings
from cityloop_common.tables import indicator_value

SERVICES = installed_services()
ROWS_AT_ONCE = 50_000
Rows = Sequence[tuple[object, ...]]
# What one service keeps of what another says of itself: the two must be equal once everything is heard.
MIRRORS: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "car parks in charging": (
        ("parking", "SELECT id, version, state, access FROM place ORDER BY id"),
        ("charging", "SELECT id, sequence, state, access FROM place ORDER BY id"),
    ),
    "chargers in parking": (
        ("charging", "SELECT evse_uid, version, status FROM evse_live WHERE version > 0 ORDER BY evse_uid"),
        ("parking", "SELECT evse_uid, version, status FROM charger ORDER BY evse_uid"),
    ),
    "counts in search": (
        ("parking", "SELECT count(*) FROM (SELECT DISTINCT place_id FROM live_count)"),
        ("parking", "SELECT count(*) FROM search_entry WHERE counts IS NOT NULL AND counts <> 'null' AND counts <> '[]'"),
    ),
}


def rows(var: Path, service: str, sql: str, *parameters: object) -> Rows:
    """An answer of one service's database file, whether its city runs or not."""
    with closing(sqlite3.connect(f"file:{var / f'{service}.db'}?mode=rw", uri=True, timeout=20)) as connection:
        return connection.execute(sql, parameters).fetchall()


def settings(var: Path) -> Mapping[str, str]:
    """What a process of the embedded form is told to work on these files."""
    return {"CITYLOOP_VAR": str(var)}


@asynccontextmanager
async def services(given: Mapping[str, str]) -> AsyncIterator[Sequence[tuple[Service, Ctx[Any]]]]:
    """Each service as a process with these settings opens it, on SQLite and on PostgreSQL; nobody else's settings count."""
    async with AsyncExitStack() as stack:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CITYLOOP_")}
        with patch.dict(os.environ, {**kept, **given}, clear=True):
            shared = SharedSettings()
            ports = open_ports(shared)
            stack.push_async_callback(close_ports, ports)
            found = [(service, build_ctx(service, shared, ports)) for service in SERVICES]
        for _, ctx in found:
            stack.push_async_callback(ctx.db.close)
        yield found


async def journal(given: Mapping[str, str], upto: datetime | None = None) -> dict[str, list[Row[Any]]]:
    """Every row of every journal in the order of their ids, as far as it was recorded by an instant."""
    found: dict[str, list[Row[Any]]] = {}
    async with services(given) as opened:
        for service, ctx in opened:
            for name in journals(service.metadata):
                found[f"{service.name}.{name}"] = await _rows_of(ctx, service.metadata.tables[name], upto)
    return found


async def _rows_of(ctx: Ctx[Any], table: Table, upto: datetime | None) -> list[Row[Any]]:
    """A part a unit: a unit has a time limit, a journal may have millions of rows."""
    found: list[Row[Any]] = []
    known = true() if upto is None else table.c.recorded_at <= upto
    while True:
        after = table.c.id > (found[-1].id if found else "")
        async with ctx.db.read() as tx:
            part = await tx.all(select(table).where(known, after).order_by(table.c.id).limit(ROWS_AT_ONCE))
        found += part
        if len(part) < ROWS_AT_ONCE:
            return found


async def published(given: Mapping[str, str], upto: datetime | None = None) -> dict[str, Sequence[Row[Any]]]:
    """Every figure that was published, as far as by an instant."""
    v = indicator_value.c
    asked = select(indicator_value).order_by(v.name, v.scheme, v.on_day, v.known_at)
    found: dict[str, Sequence[Row[Any]]] = {}
    async with services(given) as opened:
        for service, ctx in opened:
            async with ctx.db.read() as tx:
                found[service.name] = await tx.all(asked if upto is None else asked.where(v.recorded_at <= upto))
    return found


async def figures(given: Mapping[str, str], known_at: datetime) -> dict[tuple[str, str, str], Evaluation]:
    """Every figure of that day and of the day before by every scheme, as known at an instant, with districts and rows."""
    found: dict[tuple[str, str, str], Evaluation] = {}
    async with services(given) as opened:
        for service, ctx in opened:
            for indicator in service.indicators:
                for on in (city_day(known_at) - timedelta(days=1), city_day(known_at)):
                    ask = Ask(moment(on, known_at), False, indicator.formula_version, ctx.districts.version)
                    for scheme, evaluation in (await evaluate(ctx, indicator, ask)).items():
                        found[indicator.name, scheme, on.isoformat()] = evaluation
    return found


@dataclass(frozen=True, slots=True)
class Rest:
    """What waits in a city: events that are not sent, records that are not taken, dead letters."""

    unsent: int
    lag: int
    dead_letters: int


async def at_rest(var: Path) -> Rest:
    """What still waits. What is sent while that is read waits, too."""
    from cityloop_common.clock import SystemClock

    log = open_event_log(f"sqlite:///{var / 'events.db'}", clock=SystemClock())
    try:
        before = await log.describe()
        unsent = sum(int(str(rows(var, each.name, "SELECT count(*) FROM outbox WHERE published_at IS NULL")[0][0])) for each in SERVICES)
        topics = await log.describe()
    finally:
        await log.close()
    lag = max(sum(sum(topic.lag_records.values()) for topic in each) for each in (before, topics))
    sent = [sum(sum(topic.end_offsets.values()) for topic in each) for each in (before, topics)]
    return Rest(unsent, lag + sent[1] - sent[0], sum(sum(topic.end_offsets.values()) for topic in topics if topic.name.endswith(".dlq")))


def agree(var: Path) -> dict[str, tuple[Rows, Rows]]:
    """What one service says of itself and what another keeps of it, where the two differ."""
    told: dict[str, tuple[Rows, Rows]] = {}
    for name, (said, kept) in MIRRORS.items():
        both = rows(var, *said), rows(var, *kept)
        if both[0] != both[1]:
            told[name] = both
    return told


def sizes(var: Path) -> Mapping[str, Any]:
    """Bytes of each file of a city."""
    return {path.name: path.stat().st_size for path in sorted(var.glob("*.db"))}
