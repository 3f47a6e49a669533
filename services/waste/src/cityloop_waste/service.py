"""Waste, put together: routes, consumers, sweeps and what the command line can do with it."""

from __future__ import annotations

from cityloop_common.service import Service
from cityloop_waste import cli
from cityloop_waste.schema import metadata
from cityloop_waste.settings import WasteSettings

SERVICE = Service(
    name="waste",
    title="CityLoop waste",
    settings=WasteSettings,
    metadata=metadata,
    migrations="cityloop_waste.migrations",
    publishes=(),
    routers=(),
    cli=cli.app,
)
