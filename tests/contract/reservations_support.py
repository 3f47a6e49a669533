"""A small city for the suites of reservations: one database, car parks, holders, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select

from cityloop_common.cache import open_cache
from cityloop_common.clock import ManualClock, SystemClock
from cityloop_common.context import Ctx
from cityloop_common.db import Database, open_db
from cityloop_common.envelope import Event
from cityloop_common.eventlog import open_event_log
from cityloop_common.ids import Ids
from cityloop_common.outbox import unpublished
from cityloop_common.rng import Rng
from cityloop_common.settings import SharedSettings
from cityloop_common.tables import kit_metadata
from cityloop_parking.context import ParkingCtx
from cityloop_parking.observations.tables import live_count
from cityloop_parking.places.tables import place, place_pool
from cityloop_parking.reservations.domain import BUCKET, Holder, Stay
from cityloop_parking.reservations.tables import holder_count, pool_bucket, reservation
from cityloop_parking.schema import metadata
from cityloop_parking.settings import ParkingSettings

NOON = datetime(2026, 6, 1, 4, 0, tzinfo=UTC)
PLACE = "lot-1"


@dataclass
class City:
    """Parking in one process over one database; `clock` is what the use cases see, the database keeps the machine's."""

    ctx: ParkingCtx
    clock: ManualClock

    @property
    def db(self) -> Database:
        return self.ctx.db

    async def open_place(
        self, capacity: int, *, id: str = PLACE, state: str = "open", reserve: int = 0, broken: int = 0, operator: str | None = "op-1"
    ) -> None:
        """A car park with one pool of ordinary spaces."""
        row = {
            "id": id, "source": "test", "source_id": id, "name": id, "address": "", "kind": "garage", "access": "public", "lon": 109.787,
            "lat": 39.565, "position_from": "given", "invented": True, "state": state, "version": 1, "content_hash": "", "event_id": id,
            "operator_id": operator, "recorded_at": NOON, "updated_at": NOON,
        }  # fmt: skip
        pool = {"place_id": id, "category": "standard", "capacity": capacity, "walk_in_reserve": reserve, "out_of_service": broken}
        async with self.db.write() as tx:
            await tx.run(insert(place), row)
            await tx.run(insert(place_pool), pool)

    async def count(self, occupied: int, *, capacity: int, id: str = PLACE, at: datetime | None = None) -> None:
        """The newest count of a car park, as the room of observations leaves it."""
        observed_at = at or self.clock.now()
        row = {
            "place_id": id, "category": "standard", "occupied": occupied, "capacity": capacity, "observed_at": observed_at,
            "recorded_at": observed_at, "source": "test", "interval_s": 900,
        }  # fmt: skip
        async with self.db.write() as tx:
            await tx.run(live_count.delete().where(live_count.c.place_id == id))
            await tx.run(insert(live_count), row)

    def stay(self, *, after_h: float = 1, hours: float = 1, id: str = PLACE, category: str = "standard") -> Stay:
        """A wish that starts some hours from now."""
        starts_at = self.clock.now() + timedelta(hours=after_h)
        return Stay(id, category, starts_at, starts_at + timedelta(hours=hours))

    async def buckets(self, *, id: str = PLACE) -> dict[datetime, tuple[int, int]]:
        """Booked and sellable of every quarter hour that exists."""
        b = pool_bucket.c
        async with self.db.read() as tx:
            rows = await tx.all(select(b.starts_at, b.booked, b.sellable).where(b.place_id == id).order_by(b.starts_at))
        return {row.starts_at: (row.booked, row.sellable) for row in rows}

    async def states(self) -> dict[str, int]:
        """How many reservations stand in which state."""
        async with self.db.read() as tx:
            rows = await tx.all(select(reservation.c.state, func.count().label("n")).group_by(reservation.c.state))
        return {row.state: row.n for row in rows}

    async def holders(self) -> dict[str, tuple[int, int]]:
        """Held and open of every counted key."""
        async with self.db.read() as tx:
            return {row.key: (row.held, row.open) for row in await tx.all(select(holder_count))}

    async def told(self) -> list[Event]:
        """The events in the outbox, in their order."""
        async with self.db.read() as tx:
            return [event for _, event in await unpublished(tx, but=(), most=10_000)]

    async def check_books(self) -> None:
        """Every space that is booked belongs to a living reservation, and every counter says what is there."""
        r, b = reservation.c, pool_bucket.c
        async with self.db.read() as tx:
            rows = await tx.all(select(r.place_id, r.bucket_from, r.bucket_to, r.state, r.subject))
            booked = {(row.place_id, row.starts_at): row.booked for row in await tx.all(select(b.place_id, b.starts_at, b.booked))}
        expected = dict.fromkeys(booked, 0)
        held: dict[str, tuple[int, int]] = {}
        for row in rows:
            if row.state in {"held", "confirmed", "completed"}:
                at = row.bucket_from
                while at < row.bucket_to:
                    expected[row.place_id, at] += 1
                    at += BUCKET
            before = held.get(f"subject:{row.subject}", (0, 0))
            now = (before[0] + (row.state == "held"), before[1] + (row.state in {"held", "confirmed"}))
            held[f"subject:{row.subject}"] = now
        assert booked == expected
        counted = {key: value for key, value in (await self.holders()).items() if key.startswith("subject:") and value != (0, 0)}
        assert counted == {key: value for key, value in held.items() if value != (0, 0)}


@asynccontextmanager
async def city(url: str, folder: Path, *, clock: ManualClock | None = None, pool_size: int = 10, **settings: Any) -> AsyncIterator[City]:
    """Opens a city; several over one url are replicas of it."""
    clock = clock or ManualClock(NOON)
    rng = Rng()
    db = open_db(url, clock=SystemClock(), pool_size=pool_size)
    log = open_event_log(f"sqlite:///{folder / 'events.db'}", clock=clock)
    cache = open_cache("memory:", clock=clock)
    config = ParkingSettings(shared=SharedSettings(var=folder), **settings)
    try:
        yield City(Ctx("parking", config, clock, Ids(clock, rng.stream("ids")), rng, db, log, cache), clock)
    finally:
        await log.close()
        await cache.close()
        await db.close()


async def make_tables(url: str) -> None:
    """The schema, as fresh as the classes say."""

    def create(connection: Connection) -> None:
        kit_metadata.create_all(connection)
        metadata.create_all(connection)

    db = open_db(url, clock=SystemClock())
    await db.run_sync(create)
    await db.close()


def someone(name: str = "anna", *, network: str | None = None) -> Holder:
    """A user, or with a network a guest."""
    return Holder(name, network)
