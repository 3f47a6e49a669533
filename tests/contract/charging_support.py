"""A small city for the suites of charging: one database, stations, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, select

from cityloop_charging.context import ChargingCtx
from cityloop_charging.registry import store as registry
from cityloop_charging.registry.domain import Current, EvseFacts, Location, LocationFacts
from cityloop_charging.service import SERVICE
from cityloop_charging.settings import ChargingSettings
from cityloop_common.cache import open_cache
from cityloop_common.clock import SystemClock
from cityloop_common.context import Ctx
from cityloop_common.db import Database, open_db
from cityloop_common.districts import NO_DISTRICTS, Districts
from cityloop_common.envelope import Event
from cityloop_common.eventlog import open_event_log
from cityloop_common.geo import Position
from cityloop_common.ids import Ids
from cityloop_common.outbox import unpublished
from cityloop_common.rng import Rng
from cityloop_common.settings import SharedSettings
from cityloop_common.tables import kit_metadata
from tests.contract.kit_support import ShiftedClock

OPERATOR = "999000001"
CENTRE = Position(109.787, 39.565)


@dataclass
class MovedClock(ShiftedClock):
    """The machine's clock, moved on by a test; PostgreSQL compares it with its own at the first unit only."""

    stands: datetime | None = None

    def now(self) -> datetime:
        return (self.stands or SystemClock.now(self)) + self.by

    def stand(self) -> None:
        """From now on time passes only when a test moves it on: however slow the machine is, a test and a loop see one instant."""
        self.stands = SystemClock.now(self)

    def monotonic(self) -> float:
        return 0.0


@dataclass
class City:
    """Charging in one process over one database; `clock` is the machine's, and a test moves it on."""

    ctx: ChargingCtx
    clock: MovedClock

    @property
    def db(self) -> Database:
        return self.ctx.db

    def later(self, **parts: float) -> datetime:
        """Moves time on by hours or minutes; answers the instant that it was before."""
        before: datetime = self.clock.now()
        self.clock.by += timedelta(**parts)
        return before

    async def told(self) -> list[Event]:
        """The events in the outbox, in their order."""
        async with self.db.read() as tx:
            return [event for _, event in await unpublished(tx, but=(), most=10_000)]

    async def station(self, id: str) -> Location:
        """A station as it is known now."""
        async with self.db.read() as tx:
            found = await registry.get(tx, id)
        assert found is not None
        return found

    async def count(self, table: Table) -> int:
        """Rows of a table."""
        async with self.db.read() as tx:
            return int(await tx.scalar(select(func.count()).select_from(table)))


@asynccontextmanager
async def city(url: str, folder: Path, *, districts: Districts = NO_DISTRICTS, **settings: Any) -> AsyncIterator[City]:
    """Opens a city; several over one url are replicas of it."""
    clock, rng = MovedClock(), Rng()
    db = open_db(url, clock=clock)
    async with db.write():
        pass  # the clocks are compared now, before a test moves one
    log = open_event_log(f"sqlite:///{folder / 'events.db'}", clock=clock)
    cache = open_cache("memory:", clock=clock)
    config = ChargingSettings(shared=SharedSettings(var=folder), **settings)
    try:
        yield City(Ctx("charging", config, clock, Ids(clock, rng.stream("ids")), rng, db, log, cache, districts=districts), clock)
    finally:
        await log.close()
        await cache.close()
        await db.close()


async def make_tables(url: str) -> None:
    """The schema, as fresh as the classes say."""

    def create(connection: Connection) -> None:
        kit_metadata.create_all(connection)
        SERVICE.metadata.create_all(connection)

    db = open_db(url, clock=SystemClock())
    await db.run_sync(create)
    await db.close()


def evse(number: int = 1, *, station: str = "S001", **changes: Any) -> EvseFacts:
    """A fast EVSE."""
    return replace(EvseFacts(f"{station}{number:02d}", 60_000, Current.DC), **changes)


def station(number: int = 1, *, evses: int = 2, **changes: Any) -> LocationFacts:
    """A station in the middle of the city."""
    id = f"S{number:03d}"
    listed = tuple(evse(each, station=id) for each in range(1, evses + 1))
    return replace(LocationFacts(OPERATOR, id, f"文化广场充电站{number}", CENTRE, listed), **changes)
