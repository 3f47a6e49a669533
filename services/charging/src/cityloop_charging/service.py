"""Charging, put together: routes, consumers, sweeps and what the command line can do with it."""

from __future__ import annotations

from cityloop_common.service import Service
from cityloop_charging import cli
from cityloop_charging.schema import metadata
from cityloop_charging.settings import ChargingSettings

SERVICE = Service(
    name="charging",
    title="CityLoop charging",
    settings=ChargingSettings,
    metadata=metadata,
    migrations="cityloop_charging.migrations",
    publishes=(),
    routers=(),
    cli=cli.app,
)
