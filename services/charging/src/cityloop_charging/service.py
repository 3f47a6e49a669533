"""Charging, put together: routes, consumers, sweeps and what the command line can do with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cityloop_charging import cli, consumers, live, sample
from cityloop_charging.bays import api as bays_api
from cityloop_charging.bays import use_cases as bays
from cityloop_charging.context import ChargingCtx
from cityloop_charging.indicators.figures import FIGURES
from cityloop_charging.protocols.tcec import api as tcec_api
from cityloop_charging.protocols.tcec import use_cases as tcec
from cityloop_charging.protocols.tcec.desk import open_desk
from cityloop_charging.registry import api as registry_api
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.events import LOCATION_PUBLISHED
from cityloop_charging.schema import metadata
from cityloop_charging.settings import ChargingSettings
from cityloop_charging.status import api as status_api
from cityloop_charging.status import use_cases as status
from cityloop_charging.status.events import EVSE_STATUS_CHANGED
from cityloop_charging.status.replica import Watch
from cityloop_charging.vehicles import api as vehicles_api
from cityloop_common.service import ApiParts, Republish, Service
from cityloop_common.sweeps import Sweep


def api_parts(ctx: ChargingCtx) -> ApiParts:
    """What a replica of charging's API holds: the stream, the desk of operators, the key of people's names in the journal."""
    watch, desk = Watch(ctx), open_desk(ctx)
    return ApiParts(
        state={"subject_key": bays_api.subject_key(ctx), "watch": watch, "tcec": desk},
        loops={"watch": watch.follow, "tcec": desk.pusher.run, "fanout": ctx.fanout.run_publisher},
        close_first=(watch.hub.close,),
        hub=watch.hub,
    )


def examples(base: str, _now: datetime) -> Sequence[str]:
    """Set a charger through T/CEC, see it, see the share and the links that wait for a person."""
    station = f"{sample.OPERATOR}*S001"
    return (
        f".venv/bin/cityloop charging tcec send --operator {sample.OPERATOR} --connector S00101 --status 3 --url {base}",
        f"curl '{base}/charging/v1/locations/{station}'",
        f"curl {base}/charging/v1/indicators/ev-bay-share",
        "TOKEN=$(.venv/bin/cityloop token --role officer)",
        f"curl '{base}/charging/v1/place-links?state=proposed' -H \"Authorization: Bearer $TOKEN\"",
    )


SERVICE = Service(
    name="charging",
    title="CityLoop charging",
    settings=ChargingSettings,
    metadata=metadata,
    migrations="cityloop_charging.migrations",
    publishes=(LOCATION_PUBLISHED, EVSE_STATUS_CHANGED, *FIGURES.publishes),
    routers=(registry_api.router, status_api.router, bays_api.router, vehicles_api.router, FIGURES.router),
    protocols=(tcec_api.SPOKEN,),
    consumers=consumers.CONSUMERS,
    api_parts=api_parts,
    indicators=FIGURES.indicators,
    sweeps=(
        FIGURES.sweep,
        Sweep("missed-proposals", 3600.0, bays.propose_missed),
        Sweep("tcec-prune", 600.0, tcec.prune),
        Sweep("evse-freshness", 60.0, status.measure),
        Sweep("status-prune", 3600.0, status.prune),
    ),
    republish=(
        Republish(LOCATION_PUBLISHED.topic, registry.republished),
        Republish(EVSE_STATUS_CHANGED.topic, status.republished),
        FIGURES.republish,
    ),
    sample=live.seed,
    live_sample=live.keep_alive,
    examples=examples,
    cli=cli.app,
)
