"""Charging, put together: routes, consumers, sweeps and what the command line can do with it."""

from __future__ import annotations

from cityloop_charging import cli
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.events import LOCATION_PUBLISHED
from cityloop_charging.schema import metadata
from cityloop_charging.settings import ChargingSettings
from cityloop_common.service import Republish, Service

SERVICE = Service(
    name="charging",
    title="CityLoop charging",
    settings=ChargingSettings,
    metadata=metadata,
    migrations="cityloop_charging.migrations",
    publishes=(LOCATION_PUBLISHED,),
    routers=(),
    republish=(Republish(LOCATION_PUBLISHED.topic, registry.republished),),
    cli=cli.app,
)
