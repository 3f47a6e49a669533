"""Journals of a simulated city, written by the database itself: rows as long, as many and in the order in which they would have come."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import asyncpg
from sqlalchemy import Table

from cityloop_charging.bays.tables import link, link_version, place, place_version
from cityloop_charging.registry.tables import evse, evse_version, location, location_version
from cityloop_charging.status.tables import evse_status
from cityloop_charging.vehicles.tables import vehicle_registration
from cityloop_common.clock import city_day, day_begins

POINTS, STATIONS, CHANGES_A_DAY = 5_000, 200, 6
CAR_PARKS, COUNTED_EVERY_MIN = 2_000, 15
LOADS_A_DAY = 100


@dataclass(frozen=True, slots=True)
class Span:
    """The simulated time: whole local days up to the day of `now`, which is not over."""

    first: date
    last: date
    now: datetime

    @property
    def begins(self) -> datetime:
        return day_begins(self.first)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass(frozen=True, slots=True)
class Filled:
    """What a fill came to: journal rows, bytes on disk with indexes, and how long it took."""

    rows: int
    table_bytes: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.rows:,} journal rows, {self.table_bytes / 1e9:.1f} GB with indexes, filled in {self.seconds:,.0f} s"


def _uuid(at: str, salt: str) -> str:
    """SQL of an id that sorts by its instant, as the service makes them."""
    ms, noise = f"lpad(to_hex((extract(epoch FROM {at}) * 1000)::bigint), 12, '0')", f"md5({salt})"
    return (
        f"substr({ms}, 1, 8) || '-' || substr({ms}, 9, 4) || '-7' || substr({noise}, 1, 3) || '-8' || substr({noise}, 4, 3)"
        f" || '-' || substr({noise}, 7, 12)"
    )


def _names(table: Table) -> str:
    """Columns in the order in which the statements below name their values."""
    return ", ".join(column.name for column in table.columns)


_STATION = "'999000001*S' || lpad(n::text, 3, '0')"
_DISTRICT = "'d' || lpad((1 + n % 6)::text, 2, '0')"
_EACH = POINTS // STATIONS
_EVSE = f"""
    SELECT '999000001*S' || lpad(s::text, 3, '0') AS location, (s - 1) * {_EACH} + c AS number,
        'S' || lpad(s::text, 3, '0') || lpad(c::text, 2, '0') AS connector
    FROM generate_series(1, {STATIONS}) AS s, generate_series(1, {_EACH}) AS c"""
# Most stations get their car park in the first two months; each is told of again (a name, an operator's change) now and then.
_REGISTRY = (
    f"""
INSERT INTO location ({_names(location)})
SELECT {_STATION}, '999000001', 'S' || lpad(n::text, 3, '0'), '充电站' || n, NULL, 109.787 + n * 1e-4, 39.565, {_DISTRICT}, true,
    CASE WHEN n % 10 = 0 THEN 'compound' ELSE 'public' END, NULL, 'open', true,
    CASE WHEN n <= 160 THEN 'sample-' || lpad((1 + n % 80)::text, 3, '0') END, 6, '', {_uuid("$1::timestamptz", "n::text")}, $1, $1
FROM generate_series(1, {STATIONS}) AS n""",
    f"""
INSERT INTO evse ({_names(evse)})
SELECT location || '*' || connector, location, '999000001', connector, 60000, CASE WHEN number % 3 = 0 THEN 'ac' ELSE 'dc' END,
    number % 20 <> 0, CASE WHEN number % 2 = 0 THEN 'A' || number END,
    CASE WHEN number % 97 = 0 THEN 'removed' ELSE 'in_service' END, $1
FROM ({_EVSE}) AS e""",
    f"""
INSERT INTO location_version ({_names(location_version)})
SELECT {_uuid("told", "n || '/' || v")}, id, v, '999000001', name || ' ' || v, lon, lat, district, in_city, access, NULL, 'open', true,
    CASE WHEN v > 1 THEN place_id END, told, told, 'import', {_uuid("told", "v || '/' || n")}, NULL
FROM (
    SELECT location.*, n, v,
        $1::timestamptz + CASE WHEN v = 1 THEN interval '0' ELSE make_interval(days => v * 60 - 100 + n % 60) END AS told
    FROM location, generate_series(1, 7) AS v, LATERAL (SELECT substr(station_id, 2)::int AS n) AS number
) AS j WHERE told <= $2""",
    f"""
INSERT INTO evse_version ({_names(evse_version)})
SELECT {_uuid("told", "uid || v")}, uid, v, location_id, '999000001', connector_id, power_w, current, standard, bay_no,
    CASE WHEN v = 1 AND n % 5 = 0 THEN 'planned' WHEN v = 3 THEN lifecycle ELSE 'in_service' END,
    told, told, 'import', {_uuid("told", "v || uid")}, NULL
FROM (
    SELECT evse.*, n, v, $1::timestamptz + CASE v WHEN 1 THEN interval '0' ELSE make_interval(days => v * 90 - 150 + n % 30) END AS told
    FROM evse, generate_series(1, 3) AS v, LATERAL (SELECT abs(hashtext(uid)) % 1000 AS n) AS number
) AS j WHERE told <= $2""",
    f"""
INSERT INTO place ({_names(place)})
SELECT 'sample-' || lpad(n::text, 3, '0'), '停车场' || n, NULL, 109.787, 39.565 + n * 1e-4,
    CASE WHEN n % 9 = 0 THEN 'private' ELSE 'public' END, 'open', CASE WHEN n % 4 = 0 THEN 'on_street' ELSE 'garage' END,
    {_DISTRICT}, true, 60 + n, n % 20, 5, $1
FROM generate_series(1, 80) AS n""",
    f"""
INSERT INTO place_version ({_names(place_version)})
SELECT {_uuid("told", "id || v")}, id, v, name, lon, lat, access, CASE WHEN v = 3 AND n % 10 = 0 THEN 'closed' ELSE state END,
    kind, district, in_city, total_bays + v, ev_bays,
    told, told + interval '1 second', '/cityloop/parking', {_uuid("told", "v || id")}, NULL
FROM (
    SELECT place.*, n, v, $1::timestamptz + make_interval(days => (v - 1) * 70 + n % 5) AS told
    FROM place, generate_series(1, 5) AS v, LATERAL (SELECT substr(id, 8)::int AS n) AS number
) AS j WHERE told <= $2""",
    f"""
INSERT INTO link ({_names(link)})
SELECT id, 2, place_id, 'confirmed', 'officer', NULL, '{{}}', $1, $1 FROM location WHERE place_id IS NOT NULL""",
    f"""
INSERT INTO link_version ({_names(link_version)})
SELECT {_uuid("told", "location_id || v")}, location_id, v, place_id, CASE v WHEN 1 THEN 'proposed' ELSE state END, decider, subject,
    evidence, told, told, 'officer', {_uuid("told", "v || location_id")}, NULL
FROM (
    SELECT link.*, v, $1::timestamptz + make_interval(days => (v - 1) * 20 + abs(hashtext(location_id)) % 5) AS told
    FROM link, generate_series(1, 2) AS v
) AS j WHERE told <= $2""",
    f"""
INSERT INTO vehicle_registration ({_names(vehicle_registration)})
SELECT {_uuid("told", "m || '/' || k || '/' || d || '/' || n")}, (told AT TIME ZONE 'Asia/Shanghai')::date, 1,
    (ARRAY['passenger', 'bus', 'truck', 'other'])[k], (ARRAY['bev', 'phev'])[d], d = 1, {_DISTRICT}, 400 + m * 10 + n,
    told, told + interval '9 hours', 'registry', {_uuid("told", "m::text")}, NULL
FROM (
    SELECT m, k, d, n, $1::timestamptz + make_interval(days => m * 30) AS told
    FROM generate_series(0, 13) AS m, generate_series(1, 4) AS k, generate_series(1, 2) AS d, generate_series(1, 6) AS n
) AS j WHERE told <= $2""",
)
# A tick is four hours: every point changes once in it, each time in another order, so the rows lie on disk as they came. One in a
# hundred is learnt up to two days late and tells nobody; one status in thirty is a fault.
_STATUS = f"""
INSERT INTO evse_status ({_names(evse_status)})
SELECT {_uuid("learnt", "tick || '/' || p")}, uid,
    CASE WHEN (tick * 31 + number * 17) % 30 = 0 THEN 'OUTOFORDER' WHEN tick % 2 = 0 THEN 'CHARGING' ELSE 'AVAILABLE' END,
    happened, tick % 10000, learnt, 'tcec', CASE WHEN late THEN NULL ELSE {_uuid("learnt", "p || '/' || tick")} END, NULL, 50, 10
FROM (
    SELECT tick, p, number, happened, late,
        '999000001*S' || station || '*S' || station || lpad((1 + number % {_EACH})::text, 2, '0') AS uid,
        happened + CASE WHEN late THEN make_interval(hours => 1 + (p * 7 + tick) % 48) ELSE make_interval(secs => 1 + p % 7) END AS learnt
    FROM (
        SELECT tick, p, number, lpad((1 + number / {_EACH})::text, 3, '0') AS station, (p * 13 + tick * 7) % 100 = 0 AS late,
            $1::timestamptz + make_interval(secs => tick * 14400 + p * 2.88) AS happened
        FROM generate_series($2::int, $3::int) AS tick, generate_series(0, {POINTS - 1}) AS p,
            LATERAL (SELECT (p * 2741 + tick * 1777) % {POINTS} AS number) AS n
    ) AS made
) AS rows WHERE learnt <= $4"""
_CAR_PARKS = (
    f"""
INSERT INTO place_version
    (id, place_id, version, happened_at, recorded_at, source, event_id, access, state, kind, district, in_city, total_bays,
    name)
SELECT {_uuid("told", "n || '/' || v")}, 'city-' || n, v, told, told, 'city', {_uuid("told", "n || '/' || v")},
    CASE WHEN n % 9 = 0 THEN 'private' ELSE 'public' END, CASE WHEN n % 50 = 0 AND v = 2 THEN 'closed' ELSE 'open' END, 'garage',
    {_DISTRICT}, true, 200, '停车场' || n
FROM (
    SELECT n, v, $1::timestamptz + make_interval(days => (v - 1) * 20) AS told
    FROM generate_series(1, {CAR_PARKS}) AS n, generate_series(1, 2) AS v
) AS j WHERE told <= $2""",
)
_COUNTS = f"""
INSERT INTO observation
    (id, place_id, category, source, minute, happened_at, recorded_at, occupied, capacity, event_id, interval_s)
SELECT {_uuid("learnt", "tick || '/' || n")}, 'city-' || n, CASE WHEN n % 4 = 0 AND tick % 2 = 0 THEN 'ev' ELSE 'standard' END, 'gate',
    (extract(epoch FROM happened) / 60)::bigint, happened, learnt, (tick * 7 + n) % 200, 200, {_uuid("learnt", "n || '/' || tick")}, 900
FROM (
    SELECT tick, n, happened, happened + make_interval(secs => 1 + n % 7) AS learnt
    FROM (
        SELECT tick, n, $1::timestamptz + make_interval(secs => tick * {COUNTED_EVERY_MIN * 60} + (n * 0.4)::int) AS happened
        FROM generate_series($2::int, $3::int) AS tick, generate_series(1, {CAR_PARKS}) AS n
    ) AS made
) AS rows WHERE learnt <= $4"""
_LOAD = (
    "id, happened_at, recorded_at, source, event_id, corrects, chain_id, version, site_id, site_kind, truck_id, stream, ticket_no,"
    " gross_kg, tare_kg, net_kg, minute, on_day, district_given, district, flags"
)
_LOADS = (
    f"""
INSERT INTO load ({_LOAD})
SELECT id, happened, learnt, 'recycler-1', id, NULL, id, 1, 'recycler-1',
    (ARRAY['recycler', 'biogas', 'incinerator', 'landfill', 'transfer'])[1 + n % 5], 'T' || n % 40,
    (ARRAY['recyclable', 'kitchen', 'other'])[1 + n % 3], day || '-' || n, 9000 + n, 6000, 3000 + n,
    (extract(epoch FROM happened) / 60)::bigint, (happened AT TIME ZONE 'Asia/Shanghai')::date, NULL, {_DISTRICT}, '[]'
FROM (
    SELECT day, n, happened, learnt, {_uuid("learnt", "day || '/' || n")} AS id
    FROM (
        SELECT day, n, happened, happened + make_interval(secs => CASE WHEN n % 50 = 0 THEN 90000 ELSE 5 END) AS learnt
        FROM (
            SELECT day, n, $1::timestamptz + make_interval(days => day, secs => 18000 + n * 120) AS happened
            FROM generate_series(0, $3::int) AS day, generate_series(1, {LOADS_A_DAY}) AS n
        ) AS weighed
    ) AS told
) AS rows WHERE learnt <= $2""",
    f"""
INSERT INTO load ({_LOAD})
SELECT {_uuid("learnt", "ticket_no || '/2'")}, happened_at, learnt, source, {_uuid("learnt", "ticket_no || '/3'")}, id, chain_id, 2,
    site_id,
    site_kind, truck_id, stream, ticket_no, gross_kg + 10, tare_kg, net_kg + 10, minute, on_day, district_given, district, flags
FROM (SELECT load.*, recorded_at + interval '2 days' AS learnt FROM load WHERE gross_kg % 40 = 0) AS first
WHERE learnt <= $2 AND happened_at >= $1 AND $3::int > 0""",
    f"""
INSERT INTO generation_estimate
    (id, happened_at, recorded_at, source, event_id, corrects, district, on_day, version, mass_kg, method)
SELECT {_uuid("learnt", "day || '/' || n")}, happened, learnt, 'city', {_uuid("learnt", "n || '/' || day")}, NULL, {_DISTRICT},
    (happened AT TIME ZONE 'Asia/Shanghai')::date, 1, 400000 + n * 1000, 'per-head'
FROM (
    SELECT day, n, $1::timestamptz + make_interval(days => day) AS happened,
        $1::timestamptz + make_interval(days => day, hours => 30) AS learnt
    FROM generate_series(0, $3::int) AS day, generate_series(0, 5) AS n
) AS rows WHERE learnt <= $2""",
)


async def charging(url: str, span: Span) -> Filled:
    """Stations, car parks and vehicles of a city, and six status changes a charging point and day."""
    connection = await asyncpg.connect(url)
    try:
        started = time.perf_counter()
        for statement in _REGISTRY:
            both = "$2" in statement
            await connection.execute(statement, span.begins, *([span.now] if both else []), timeout=600)
        ticks = -(-int((span.now - span.begins).total_seconds()) // 14_400)
        await _in_parts(connection, _STATUS, span, ticks, each=6 * 30, what="statuses")
        return await _counted(connection, "evse_status", started)
    finally:
        await connection.close()


async def parking(url: str, span: Span) -> Filled:
    """Car parks, each counted every quarter of an hour."""
    connection = await asyncpg.connect(url)
    try:
        started = time.perf_counter()
        for statement in _CAR_PARKS:
            await connection.execute(statement, span.begins, span.now, timeout=600)
        ticks = -(-int((span.now - span.begins).total_seconds()) // (COUNTED_EVERY_MIN * 60))
        await _in_parts(connection, _COUNTS, span, ticks, each=24 * 4 * 5, what="counts")
        return await _counted(connection, "observation", started)
    finally:
        await connection.close()


async def waste(url: str, span: Span) -> Filled:
    """Weighed loads, some of them late or corrected, and what six districts are estimated to generate."""
    connection = await asyncpg.connect(url)
    try:
        started = time.perf_counter()
        for statement in _LOADS:
            await connection.execute(statement, span.begins, span.now, span.days, timeout=600)
        return await _counted(connection, "load", started)
    finally:
        await connection.close()


async def _in_parts(connection: asyncpg.Connection, statement: str, span: Span, ticks: int, *, each: int, what: str) -> None:
    started = time.perf_counter()
    for first in range(0, ticks, each):
        last = min(first + each, ticks) - 1
        await connection.execute(statement, span.begins, first, last, span.now, timeout=3_600)
        took = time.perf_counter() - started
        left = took / (last + 1) * (ticks - last - 1)
        sys.stderr.write(f"  {what}: {(last + 1) / ticks:.0%} after {took:.0f} s, about {left:.0f} s left\n")


async def _counted(connection: asyncpg.Connection, table: str, started: float) -> Filled:
    await connection.execute("ANALYZE", timeout=600)
    rows = await connection.fetchval(f"SELECT count(*) FROM {table}", timeout=600)
    size = await connection.fetchval(f"SELECT pg_total_relation_size('{table}')")
    return Filled(rows, size, time.perf_counter() - started)


def span(days: int, now: datetime) -> Span:
    """So many local days, the last of them today's."""
    today = city_day(now)
    return Span(today - timedelta(days=days - 1), today, now.astimezone(UTC))


__all__: Sequence[str] = ["CAR_PARKS", "POINTS", "Filled", "Span", "charging", "parking", "span", "waste"]
