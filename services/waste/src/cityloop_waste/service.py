"""Waste, put together: routes, consumers, jobs, sweeps and what the command line can do with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cityloop_common.clock import city_day, rfc3339
from cityloop_common.service import ApiParts, Republish, Service
from cityloop_common.sweeps import Sweep
from cityloop_waste import cli, consumers, jobs, sample
from cityloop_waste.context import WasteCtx
from cityloop_waste.fleet import api as fleet_api
from cityloop_waste.indicators.figures import FIGURES
from cityloop_waste.ledger import api as ledger_api
from cityloop_waste.ledger import events as ledger_events
from cityloop_waste.ledger import use_cases as ledger
from cityloop_waste.planning import api as planning_api
from cityloop_waste.planning import drawing, manifests_api, night, publishing, replans_api, routes_api
from cityloop_waste.planning import events as planning_events
from cityloop_waste.planning import use_cases as planning
from cityloop_waste.planning.published import PublishedRoutes
from cityloop_waste.planning.replica import PlanStream
from cityloop_waste.points import api as points_api
from cityloop_waste.roads import api as roads_api
from cityloop_waste.schema import metadata
from cityloop_waste.settings import WasteSettings


def api_parts(ctx: WasteCtx) -> ApiParts:
    """What a replica of waste's API holds: the stream of plans, the routes of the day. It also tells the others what people change here."""
    plans = PlanStream(ctx)
    return ApiParts(
        state={"plans": plans, "routes": PublishedRoutes(ctx, plans.revision)},
        loops={"plans": plans.follow, "fanout": ctx.fanout.run_publisher},
        close_first=(plans.hub.close,),
        hub=plans.hub,
    )


def examples(base: str, now: datetime) -> Sequence[str]:
    """Plan a stream's day, look at it, weigh a load, read the rate."""
    plan = f'{{"stream":"kitchen","date":"{city_day(now)}","publish":"when-ready"}}'
    load = (
        f'{{"site_id":"recycler-1","truck_id":"T01","stream":"recyclable","ticket_no":"{now:%H%M%S}","gross_kg":7300,"tare_kg":5600,'
        f'"weighed_at":"{rfc3339(now.replace(microsecond=0))}"}}'
    )
    return (
        "TOKEN=$(.venv/bin/cityloop token --role dispatcher)",
        f"curl -X POST {base}/waste/v1/plans -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{plan}'",
        f'curl "{base}/waste/v1/plans?date={city_day(now)}" -H "Authorization: Bearer $TOKEN"',
        f"TOKEN=$(.venv/bin/cityloop token --role site_operator --operator {sample.OPERATOR})",
        f"curl -X POST {base}/waste/v1/loads -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{load}'",
        f"curl {base}/waste/v1/indicators/recycling-rate",
    )


SERVICE = Service(
    name="waste",
    title="CityLoop waste",
    settings=WasteSettings,
    metadata=metadata,
    migrations="cityloop_waste.migrations",
    publishes=(*planning_events.PUBLISHED, *ledger_events.PUBLISHED, *FIGURES.publishes),
    routers=(
        planning_api.router,
        replans_api.router,
        manifests_api.router,
        routes_api.router,
        ledger_api.router,
        points_api.router,
        fleet_api.router,
        roads_api.router,
        FIGURES.router,
    ),
    consumers=consumers.CONSUMERS,
    sweeps=(
        Sweep("plans-settle", 5.0, planning.settle),
        Sweep("plans-night", 20.0, night.ask),
        Sweep("plans-missing", 15.0, night.measure),
        Sweep("plans-draw", 30.0, drawing.draw),
        Sweep("plans-empty", 3600.0, planning.empty),
        FIGURES.sweep,
    ),
    jobs=jobs.JOBS,
    api_parts=api_parts,
    republish=(
        Republish(planning_events.TOPIC, publishing.republished),
        Republish(ledger_events.TOPIC, ledger.republished),
        FIGURES.republish,
    ),
    indicators=FIGURES.indicators,
    sample=sample.seed,
    live_sample=sample.keep_alive,
    examples=examples,
    cli=cli.app,
)
