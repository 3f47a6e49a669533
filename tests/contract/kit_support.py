"""A database with the kit's tables, on SQLite and on PostgreSQL, and a context over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table

from cityloop_common import http
from cityloop_common.auth import Identity
from cityloop_common.cache import open_cache
from cityloop_common.clock import Clock, ManualClock, SystemClock
from cityloop_common.context import Ctx
from cityloop_common.db import Database, UtcDateTime, open_db
from cityloop_common.eventlog import LogUnavailable, Message, open_event_log
from cityloop_common.eventlog.port import EventLog
from cityloop_common.ids import Ids
from cityloop_common.migrating import KIT_SCRIPTS, upgrade
from cityloop_common.ratelimit import spend
from cityloop_common.rng import Rng
from cityloop_common.service import Service
from cityloop_common.settings import ServiceSettings, SharedSettings
from cityloop_common.tables import kit_metadata

DIALECTS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.stack)]
effects = MetaData()
effect = Table(
    "effect",
    effects,
    Column("id", String(40), primary_key=True),
    Column("n", Integer, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)


@dataclass
class ShiftedClock(SystemClock):
    """The machine's clock, moved by `by`; a test moves it on."""

    by: timedelta = field(default_factory=timedelta)

    def now(self) -> Any:
        return super().now() + self.by


async def opened_db(url: str, clock: Clock | None = None, pool_size: int = 10) -> Database:
    """A database with the kit's tables and one for effects."""
    db = open_db(url, clock=clock or SystemClock(), pool_size=pool_size)

    def make(connection: Any) -> None:
        kit_metadata.create_all(connection)
        effects.create_all(connection)

    await db.run_sync(make)
    return db


async def at_revision(db: Database, service: Service, own: str, *, kit: str = "head") -> None:
    """The tables that a service had at an earlier revision of its own, and of the kit."""

    def make(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")
        upgrade(connection, KIT_SCRIPTS, "kit_version", kit_metadata, to=kit)
        upgrade(connection, service.migrations, "service_version", service.metadata, to=own)
        connection.exec_driver_sql("COMMIT")

    await db.run_sync(make)


class NoTokens:
    """Verifies no token: what is asked for is open to everybody."""

    async def verify(self, token: str) -> Identity:
        raise AssertionError(token)


@asynccontextmanager
async def visitor(ctx: Ctx[Any], router: APIRouter, **state: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one router of a service, without a token; `state` is what the routes find in `app.state`."""
    app = http.create_app(ctx, title="t", version="1", routers=[router], verifier=NoTokens(), health=http.Health())
    for name, value in state.items():
        setattr(app.state, name, value)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://city/{ctx.service}/v1") as client:
        yield client


async def opened_ctx(url: str, folder: Path, *, clock: Clock | None = None, log: EventLog | None = None) -> Ctx[Any]:
    """A context over a database, with a SQLite log in a folder unless another is given."""
    clock = clock or SystemClock()
    db = await opened_db(url, clock)
    rng = Rng("kit")
    shared = SharedSettings(var=folder)
    events = log or open_event_log(f"sqlite:///{folder / 'events.db'}", clock=clock)
    cache = open_cache("memory:", clock=clock)
    return Ctx("kit", ServiceSettings(shared=shared), clock, Ids(clock, rng.stream("ids")), rng, db, events, cache)


async def ask_often(ctx: Ctx[Any], limit: str, *, times: int) -> None:
    """Counts requests as if a test's client had sent them in this minute, which does not end any more: a slow machine counts for long."""
    object.__setattr__(ctx.cache, "_clock", ManualClock(ctx.clock.now()))
    for _ in range(times):
        await spend(ctx, limit, "network/127.0.0.0/24", per_minute=times)


async def close_ctx(ctx: Ctx[Any]) -> None:
    """Closes what `opened_ctx` opened."""
    await ctx.db.close()
    await ctx.log.close()
    await ctx.cache.close()


@dataclass
class FailingLog:
    """A log that refuses what it is told to; everything else goes to the real one. `sent` is what it was asked to store."""

    real: EventLog
    refuse_keys: set[bytes] = field(default_factory=set)
    away: bool = False
    lose_answers: bool = False
    sent: list[Message] = field(default_factory=list)

    async def send(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Refused keys fail, a log that is away fails all; lost answers are stored and said to have failed."""
        if self.away:
            return [LogUnavailable("away") for _ in messages]
        good = [message for message in messages if message.key not in self.refuse_keys]
        self.sent += good
        outcomes: Mapping[int, Exception | None] = dict(zip(map(id, good), await self.real.send(good), strict=True))
        if self.lose_answers:
            return [LogUnavailable("no answer") for _ in messages]
        return [outcomes.get(id(message), LogUnavailable("refused")) for message in messages]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)
