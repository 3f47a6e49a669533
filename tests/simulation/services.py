"""What scenarios with real services share: one cache, one issuer, and how an API or a worker of a service starts on a node."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy
from pydantic import SecretStr
from sqlalchemy import MetaData

from cityloop_common.context import Ctx
from cityloop_common.districts import NO_DISTRICTS, Districts
from cityloop_common.ids import Ids
from cityloop_common.issuer import DevIssuer
from cityloop_common.parts import build_api, worker_loops
from cityloop_common.pool import Pool
from cityloop_common.rng import Rng
from cityloop_common.service import Service
from cityloop_common.settings import SharedSettings
from cityloop_common.supervisor import supervised
from cityloop_common.tables import kit_metadata
from tests.simulation.cache import CacheServer, SimCache
from tests.simulation.disk import open_on
from tests.simulation.log import SimEventLog
from tests.simulation.node import Node, SimClock
from tests.simulation.pool import InlinePool
from tests.simulation.suite import Suite
from tests.simulation.world import World


class ServiceSuite(Suite):
    """A suite whose nodes run what `cityloop` starts."""

    def __init__(self, world: World, **shared: Any) -> None:
        super().__init__(world)
        self.cache = CacheServer(world)
        self.shared = SharedSettings(var=world.folder, hash_key=SecretStr("h" * 32), **shared)
        self.issuer = DevIssuer(
            world.folder,
            environment="development",
            issuer=self.shared.issuer,
            audience=self.shared.audience,
            clock=SimClock(world, 0.0),
            rng=Rng(f"{world.seed}"),
        )

    def put_together(
        self, node: Node, service: str, settings: Any, path: Path, *, pool: Pool | None = None, districts: Districts = NO_DISTRICTS
    ) -> Ctx[Any]:
        """A service's context on this world's ports."""
        rng = Rng(f"{self.world.seed}/{node.label}")
        ids = Ids(node.clock, rng.stream(f"ids/{service}"))
        node.log = log = SimEventLog(self.broker, node)
        cache = SimCache(self.cache, node)
        return Ctx(service, settings, node.clock, ids, rng, open_on(node, path), log, cache, pool or InlinePool(node), districts)

    async def run_api(self, node: Node, service: Service, ctx: Ctx[Any]) -> None:
        """An API replica, until its node dies."""
        api = build_api(service, ctx, self.issuer.key_source())
        node.app = api.app
        async with supervised(api.loops):
            await self.world.loop.create_future()

    async def run_worker(self, service: Service, ctx: Ctx[Any]) -> None:
        """A worker, until its node dies."""
        async with supervised(worker_loops(service, ctx)):
            await self.world.loop.create_future()

    def flush_cache(self) -> None:
        self.cache.flush()

    def cache_goes(self, *, down: bool) -> None:
        self.cache.down = down


@functools.cache
def _schema(metadata: MetaData) -> bytes:
    """An empty database with the kit's tables and a service's, made once in a process."""
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        kit_metadata.create_all(connection)
        metadata.create_all(connection)
        connection.commit()
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        made = raw.serialize()
    engine.dispose()
    return made


def fresh(path: Path, metadata: MetaData, *, rules: Iterable[str] = ()) -> Path:
    """A new database file with the kit's tables, a service's, and the triggers of a scenario."""
    path.write_bytes(_schema(metadata))
    connection = sqlite3.connect(path)
    for rule in rules:
        connection.execute(rule).close()
    connection.execute("PRAGMA journal_mode=WAL").close()
    connection.close()
    return path
