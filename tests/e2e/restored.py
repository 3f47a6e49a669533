"""What must be the same in a city and in its backup, read from their files."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cityloop_common.backup.manifest import journals
from cityloop_common.clock import city_day
from cityloop_common.columns import utc_text
from cityloop_common.eventlog import open_event_log
from cityloop_common.indicator import Ask, Evaluation, evaluate, moment
from cityloop_common.parts import build_ctx, close_ports, open_ports
from cityloop_common.service import installed_services
from cityloop_common.settings import SharedSettings

SERVICES = installed_services()
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


def journal(var: Path, upto: datetime | None = None) -> dict[str, Rows]:
    """Every row of every journal, as far as it was recorded by an instant."""
    found: dict[str, Rows] = {}
    for service in SERVICES:
        for name in journals(service.metadata):
            limit = "9999" if upto is None else utc_text(upto)
            found[f"{service.name}.{name}"] = rows(var, service.name, f'SELECT * FROM "{name}" WHERE recorded_at <= ? ORDER BY id', limit)
    return found


def published(var: Path, upto: datetime | None = None) -> dict[str, Rows]:
    """Every figure that was published, as far as by an instant."""
    limit = "9999" if upto is None else utc_text(upto)
    asked = "SELECT * FROM indicator_value WHERE recorded_at <= ? ORDER BY name, scheme, on_day, known_at"
    return {service.name: rows(var, service.name, asked, limit) for service in SERVICES}


async def figures(var: Path, known_at: datetime) -> dict[tuple[str, str, str], Evaluation]:
    """Every figure of that day and of the day before by every scheme, as known at an instant, with districts and rows."""
    shared = SharedSettings(var=var)
    ports = open_ports(shared)
    found: dict[tuple[str, str, str], Evaluation] = {}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(close_ports, ports)
        for service in SERVICES:
            ctx = build_ctx(service, shared, ports)
            stack.push_async_callback(ctx.db.close)
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
    """What still waits."""
    from cityloop_common.clock import SystemClock

    log = open_event_log(f"sqlite:///{var / 'events.db'}", clock=SystemClock())
    try:
        topics = await log.describe()
    finally:
        await log.close()
    unsent = sum(int(str(rows(var, each.name, "SELECT count(*) FROM outbox WHERE published_at IS NULL")[0][0])) for each in SERVICES)
    lag = sum(sum(topic.lag_records.values()) for topic in topics)
    return Rest(unsent, lag, sum(sum(topic.end_offsets.values()) for topic in topics if topic.name.endswith(".dlq")))


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
