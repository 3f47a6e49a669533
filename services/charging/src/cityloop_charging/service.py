"""Charging, put together: routes, consumers, sweeps and what the command line can do with it."""

from __future__ import annotations

from cityloop_charging import cli
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.events import LOCATION_PUBLISHED
from cityloop_charging.schema import metadata
from cityloop_charging.settings import ChargingSettings
from cityloop_charging.status import use_cases as status
from cityloop_charging.status.events import EVSE_STATUS_CHANGED
from cityloop_common.service import Republish, Service
from cityloop_common.sweeps import Sweep

SERVICE = Service(
    name="charging",
    title="CityLoop charging",
    settings=ChargingSettings,
    metadata=metadata,
    migrations="cityloop_charging.migrations",
    publishes=(LOCATION_PUBLISHED, EVSE_STATUS_CHANGED),
    routers=(),
    sweeps=(Sweep("quarantine-prune", 3600.0, status.prune),),
    republish=(
        Republish(LOCATION_PUBLISHED.topic, registry.republished),
        Republish(EVSE_STATUS_CHANGED.topic, status.republished),
    ),
    cli=cli.app,
)
