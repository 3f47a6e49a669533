"""The service's context for its commands: by the settings, on a database that has its schema."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cityloop_charging.context import ChargingCtx
from cityloop_common.errors import Unavailable
from cityloop_common.migrating import behind
from cityloop_common.terminal import opened, service_named


@asynccontextmanager
async def opened_charging() -> AsyncIterator[ChargingCtx]:
    """Charging's context, whether a server runs or not. Raises Unavailable while the database lacks its schema."""
    service = service_named("charging")
    async with opened(service) as ctx:
        if await behind(ctx.db, service.migrations):
            raise Unavailable("The database lacks its schema; run: cityloop charging migrate")
        yield ctx
