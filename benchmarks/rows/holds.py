"""Row b: hold + confirm in process on PostgreSQL, beside asyncpg sending the very same statements.

The statements are recorded once from our own run, with their arguments, and replayed by the bare driver from the same state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from benchmarks.report import Measured
from benchmarks.servers import fresh_database
from cityloop_common import drivers
from cityloop_common.drivers import Args
from cityloop_common.geo import Position
from cityloop_common.migrating import migrate
from cityloop_common.parts import build_ctx, close_ports, open_ports
from cityloop_common.runtime import spare_collector
from cityloop_common.settings import SharedSettings
from cityloop_parking.context import ParkingCtx
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Category, PlaceFacts, Pool
from cityloop_parking.reservations import use_cases as reservations
from cityloop_parking.reservations.domain import Holder, Stay
from cityloop_parking.reservations.scope import OwnedBy
from cityloop_parking.service import SERVICE

CONNECTIONS = 16
PAIRS_EACH = 150
PLACES = 48
Call = tuple[str, str, Any]
STATE = ("reservation", "holder_count", "outbox")


async def measure(rounds: int) -> list[Measured]:
    """Pairs of hold and confirm a second, ours and the driver's, in turns."""
    async with fresh_database() as url, _parking(url) as ctx:
        starts_at = ctx.clock.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
        await _seed(ctx)
        await _ours(ctx, starts_at)  # warm: prepared statements, connections
        trace = await _recorded(ctx, url, starts_at)
        spare_collector()  # as every process that serves; the baseline runs in this process too
        ours: list[float] = []
        bare: list[float] = []
        for _ in range(rounds):
            await _empty(url)
            ours.append(await _ours(ctx, starts_at))
            did = await _effects(url)
            await _empty(url)
            bare.append(await _replayed(url, trace))
            if did != await _effects(url):
                raise RuntimeError("the replayed statements did not do the same work")
    conditions = f"PostgreSQL, fsync and synchronous_commit on, {CONNECTIONS} connections, in process, stays of 2 h over {PLACES} places"
    return [Measured("b", "hold + confirm against asyncpg with the same statements", conditions, ours, bare, "pairs/s", 0.5, 0.8)]


@asynccontextmanager
async def _parking(url: str) -> AsyncIterator[ParkingCtx]:
    import os

    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        os.environ["CITYLOOP_PARKING_DATABASE_URL"] = url
        os.environ["CITYLOOP_PARKING_DATABASE_POOL"] = str(CONNECTIONS)
        os.environ["CITYLOOP_PARKING_HOLDS_PER_SUBJECT"] = os.environ["CITYLOOP_PARKING_OPEN_PER_SUBJECT"] = "1000000"
        shared = SharedSettings(var=Path(folder))
        ports = open_ports(shared)
        stack.push_async_callback(close_ports, ports)
        ctx = build_ctx(SERVICE, shared, ports)
        stack.push_async_callback(ctx.db.close)
        await migrate(ctx.db, SERVICE.migrations, SERVICE.metadata)
        yield ctx


async def _seed(ctx: ParkingCtx) -> None:
    async with ctx.db.write() as tx:
        for number in range(PLACES):
            pools = (Pool(Category.STANDARD, 50_000),)
            facts = PlaceFacts(source="bench", source_id=str(number), name=f"bench {number}", position=Position(109.78, 39.56), pools=pools)
            await places.upsert_place_in(tx, ctx, facts, operator_id="bench")


async def _worker(ctx: ParkingCtx, number: int, starts_at: Any) -> None:
    holder = Holder(f"bench-{number}", None)
    for turn in range(PAIRS_EACH):
        stay = Stay(f"bench-{(number * 7 + turn) % PLACES}", Category.STANDARD.value, starts_at, starts_at + timedelta(hours=2))
        made = await reservations.hold(ctx, stay, holder)
        await reservations.confirm(ctx, made.id, OwnedBy(holder.subject))


async def _ours(ctx: ParkingCtx, starts_at: Any) -> float:
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(CONNECTIONS):
            group.create_task(_worker(ctx, number, starts_at))
    return CONNECTIONS * PAIRS_EACH / (time.perf_counter() - started)


class _Recorder:
    """Notes what a worker's units send, in order, while our own code runs."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Call]] = {}

    def note(self, call: Call) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.calls.setdefault(task.get_name(), []).append(call)


async def _recorded(ctx: ParkingCtx, url: str, starts_at: Any) -> Sequence[Sequence[Call]]:
    await _empty(url)
    recorder = _Recorder()
    kept = {name: getattr(drivers.PostgresDriver, name) for name in ("control", "fetch", "run", "many")}

    async def control(self: Any, sql: str) -> None:
        recorder.note(("control", sql, None))
        await kept["control"](self, sql)

    async def fetch(self: Any, sql: str, args: Args) -> Any:
        recorder.note(("fetch", sql, list(args)))
        return await kept["fetch"](self, sql, args)

    async def run(self: Any, sql: str, args: Args) -> Any:
        recorder.note(("run", sql, list(args)))
        return await kept["run"](self, sql, args)

    async def many(self: Any, sql: str, rows: Any) -> None:
        recorder.note(("many", sql, [list(row) for row in rows]))
        await kept["many"](self, sql, rows)

    for name, patched in (("control", control), ("fetch", fetch), ("run", run), ("many", many)):
        setattr(drivers.PostgresDriver, name, patched)
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(CONNECTIONS):
                group.create_task(_worker(ctx, number, starts_at), name=f"worker {number}")
    finally:
        for name, original in kept.items():
            setattr(drivers.PostgresDriver, name, original)
    return list(recorder.calls.values())


async def _replayed(url: str, trace: Sequence[Sequence[Call]]) -> float:
    connections = [await asyncpg.connect(url) for _ in trace]
    try:
        for connection, calls in zip(connections, trace, strict=True):
            await _warmed(connection, calls)
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for connection, calls in zip(connections, trace, strict=True):
                group.create_task(_replay(connection, calls))
        return CONNECTIONS * PAIRS_EACH / (time.perf_counter() - started)
    finally:
        for connection in connections:
            await connection.close()


async def _warmed(connection: Any, calls: Sequence[Call]) -> None:
    """Has every statement prepared, as our side's connections have; nothing of it stays."""
    for how, sql, args in {sql: (how, sql, args) for how, sql, args in calls if how != "control"}.values():
        await connection.execute("BEGIN")
        await _replay(connection, [(how, sql, args)])
        await connection.execute("ROLLBACK")


async def _replay(connection: Any, calls: Sequence[Call]) -> None:
    for how, sql, args in calls:
        if how == "control":
            await connection.execute(sql)
        elif how == "many":
            await connection.executemany(sql, args)
        else:
            await connection.fetch(sql, *args)


async def _effects(url: str) -> Sequence[int]:
    """What a round has left behind: confirmed reservations, events, quarter hours sold, and what holders still hold."""
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM reservation WHERE state = 'confirmed'), (SELECT count(*) FROM outbox),"
            " (SELECT sum(booked) FROM pool_bucket), (SELECT sum(held) FROM holder_count), (SELECT sum(open) FROM holder_count)"
        )
        return [int(value) for value in row]
    finally:
        await connection.close()


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"TRUNCATE {', '.join(STATE)}")
        # The quarter hours stay: a replay in another order must not meet a bucket that its trace expects to be missing.
        await connection.execute("UPDATE pool_bucket SET booked = 0")
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
