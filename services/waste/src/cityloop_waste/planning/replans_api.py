"""The day made anew over HTTP, two plans beside each other, and what became of the night job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cityloop_common import auth, geo, http
from cityloop_common.auth import Role
from cityloop_common.clock import city_day
from cityloop_common.db import WriteTx
from cityloop_common.geo import Position
from cityloop_common.idempotency import Answer
from cityloop_waste.edge import LAST_DAY, OLDEST_DAY, Context, Instant, Repeatable, answer_once
from cityloop_waste.planning import night, replans
from cityloop_waste.planning.domain import (
    HEAVIEST_KG,
    LARGEST_DM3,
    LONGEST_ID,
    LONGEST_SERVICE_S,
    MOST_SECONDS,
    MOST_STOPS,
    MOST_TRUCKS,
    InvalidProblem,
)
from cityloop_waste.planning.night_store import Outcome
from cityloop_waste.planning.plans import Publish, ReplanReason
from cityloop_waste.planning.problem_json import PositionBody, StopBody, stop_of
from cityloop_waste.planning.replanning import Seen
from cityloop_waste.planning.replans import ReplanWish
from cityloop_waste.roads.domain import MOST_CLOSED, Closed
from cityloop_waste.streams import Stream

router = APIRouter(tags=["plans"])
Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00-\x1f\x7f]+$")]
PlanId = Annotated[str, Path(max_length=36)]
Reader = Depends(auth.allow(Role.DISPATCHER, Role.CREW, Role.CITY_ADMIN))


class SeenBody(BaseModel):
    """Where a truck really is; the load that its scale says, left out = as the plan has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    position: PositionBody
    load_kg: int | None = Field(None, ge=0, le=HEAVIEST_KG)
    load_dm3: int | None = Field(None, ge=0, le=LARGEST_DM3)


class PointBody(BaseModel):
    """A collection point of the registry, with what usually stands there."""

    model_config = ConfigDict(extra="forbid", strict=True)

    point_id: Name


class ReplanWanted(BaseModel):
    """What happened by `at` (now when left out). `datum` is needed where there are positions: wgs84, gcj02, bd09 or twd97."""

    model_config = ConfigDict(extra="forbid")

    at: Instant | None = Field(None, description="The instant of what is told, RFC 3339.")
    datum: str | None = Field(None, max_length=20, examples=["wgs84"])
    broken: list[Name] = Field([], max_length=MOST_TRUCKS, description="Trucks that go on no more: their load stays on them.")
    closed_roads: list[Name | PositionBody] = Field(
        [], max_length=MOST_CLOSED, description="Roads by id or name of the base map, or a position on the piece that is closed."
    )
    reopened: list[Name | PositionBody] = Field(
        [], max_length=MOST_CLOSED, description="Of the roads closed in replans before, which are open again: named as they were then."
    )
    urgent: list[PointBody | StopBody] = Field(
        [], max_length=MOST_STOPS, description="Stops to be taken in: points of the registry, or given in full."
    )
    positions: dict[Name, SeenBody] = Field(
        {}, max_length=MOST_TRUCKS, description="By truck, where it is not where the plan has it, or broke down."
    )
    overtime_s: int | None = Field(None, strict=True, ge=0, le=LONGEST_SERVICE_S, description="All may be back so late, for once.")
    seconds: int | None = Field(None, strict=True, ge=1, le=MOST_SECONDS, description="How long to search.")
    margin_s: int | None = Field(
        None, strict=True, ge=0, le=3600, description="How long after its search crews have the plan; 60 published by itself, else 300."
    )
    publish: Publish = Publish.BY_HAND


class ReplanAsked(BaseModel):
    """The new plan is waiting for a worker; the one that it replaces holds until it is published."""

    plan_id: str
    job_id: str
    state: str
    replaces: str
    reasons: list[ReplanReason]


class MovedView(BaseModel):
    """A stop that another truck serves; None: nobody does, or did."""

    stop: str
    before: str | None
    after: str | None


class SideView(BaseModel):
    """One of the two plans."""

    id: str
    trucks: int
    stops: int
    unserved: int
    distance_m: int
    duration_s: int


class ComparisonView(BaseModel):
    """`after` beside `before`. `alike` of `pairs` stops are followed by the same stop as before, on whichever truck."""

    before: SideView
    after: SideView
    distance_m: int = Field(description="Metres more (less: negative).")
    duration_s: int = Field(description="Truck seconds more (less: negative).")
    moved: list[MovedView]
    alike: int
    pairs: int


class NightRunView(BaseModel):
    """What became of the night job: a plan was asked for, the day had one, or none could be asked for and why."""

    stream: Stream
    on: date
    outcome: Outcome
    plan_id: str | None
    reason: str | None
    recorded_at: datetime


class NightRuns(BaseModel):
    """The night jobs of a day, by stream."""

    runs: list[NightRunView]
    as_of: datetime


@router.post(
    "/plans/{plan_id}/replans",
    status_code=202,
    responses={202: {"model": ReplanAsked}},
    dependencies=[Depends(auth.allow(Role.DISPATCHER))],
    summary="Make the rest of the day anew",
)
async def replan(ctx: Context, asked: Repeatable, plan_id: PlanId, wanted: ReplanWanted) -> Response:
    """Of the published plan: what is done stays done, what is begun stays, broken trucks keep their load, the rest is planned anew."""
    wish = _wish(wanted, ctx.clock.now(), geo.Bounds(*ctx.settings.shared.city_bounds), ctx.settings.replan_seconds)

    async def effect(tx: WriteTx) -> Answer:
        made = await replans.ask_in(tx, ctx, plan_id, wish)
        told = {"plan_id": made.id, "job_id": made.job_id, "state": made.state, "replaces": made.replaces, "reasons": made.reasons}
        return Answer(202, orjson.dumps(told), {"location": f"/{ctx.service}/v1/plans/{made.id}"})

    return await answer_once(ctx, asked, effect)


@router.get("/plans/{plan_id}/comparison", response_model=ComparisonView, dependencies=[Reader], summary="Beside another plan")
async def compare(
    ctx: Context,
    plan_id: PlanId,
    other: Annotated[
        str | None, Query(alias="with", max_length=36, pattern=r"^[!-~]+$", description="The plan before; left out: the one it replaces.")
    ] = None,
) -> Response:
    """Stops that moved between trucks, metres and hours more or less, and how much of the order stayed."""
    before, after, found = await replans.compare(ctx, plan_id, other)
    sides = {name: {"id": plan.id, **asdict(plan.figures)} for name, plan in (("before", before), ("after", after)) if plan.figures}
    return http.json_response({**sides, **asdict(found)})


@router.get(
    "/night-runs",
    response_model=NightRuns,
    dependencies=[Depends(auth.allow(Role.DISPATCHER, Role.CITY_ADMIN))],
    summary="What the night job did",
)
async def night_runs(
    ctx: Context, on: Annotated[date | None, Query(alias="date", ge=OLDEST_DAY, le=LAST_DAY, description="Local day; today.")] = None
) -> Response:
    """By stream: the plan that was asked for, or why none was."""
    as_of = ctx.clock.now()
    return http.json_response({"runs": await night.runs(ctx, on or city_day(as_of)), "as_of": as_of})


def _wish(wanted: ReplanWanted, now: datetime, within: geo.Bounds, seconds: int) -> ReplanWish:
    """Positions in WGS-84; what is wrong with one gets its pointer. Raises DatumMissing, DatumUnknown, InvalidProblem."""
    given = list(_positions(wanted))
    datum = geo.datum(wanted.datum) if given else geo.Datum.WGS84
    at, faults = {}, []
    for pointer, body in given:
        try:
            at[pointer] = geo.to_wgs84(body.lon, body.lat, datum, within=within)
        except geo.OutOfBounds as error:
            faults.append({"pointer": pointer, "detail": error.detail})
    if faults:
        raise InvalidProblem("; ".join(each["detail"] for each in faults[:20]), errors=faults[:20])
    urgent = [(number, each) for number, each in enumerate(wanted.urgent)]
    return ReplanWish(
        at=wanted.at or now,
        seconds=wanted.seconds or seconds,
        broken=tuple(dict.fromkeys(wanted.broken)),
        closed=_roads("closed_roads", wanted.closed_roads, at),
        reopened=_roads("reopened", wanted.reopened, at),
        urgent=tuple(stop_of(each, at[f"/body/urgent/{number}/position"]) for number, each in urgent if isinstance(each, StopBody)),
        points=_points(wanted.urgent),
        seen={
            truck: Seen(at[f"/body/positions/{_escaped(truck)}/position"], each.load_kg, each.load_dm3)
            for truck, each in wanted.positions.items()
        },
        overtime_s=wanted.overtime_s,
        publish=wanted.publish,
        margin_s=wanted.margin_s,
    )


def _roads(field: str, roads: Sequence[str | PositionBody], at: Mapping[str, Position]) -> tuple[Closed, ...]:
    return tuple(each if isinstance(each, str) else at[f"/body/{field}/{number}"] for number, each in enumerate(roads))


def _positions(wanted: ReplanWanted) -> Iterator[tuple[str, PositionBody]]:
    """Every position with its pointer."""
    for field, roads in (("closed_roads", wanted.closed_roads), ("reopened", wanted.reopened)):
        for number, road in enumerate(roads):
            if isinstance(road, PositionBody):
                yield f"/body/{field}/{number}", road
    for number, stop in enumerate(wanted.urgent):
        if isinstance(stop, StopBody):
            yield f"/body/urgent/{number}/position", stop.position
    for truck, seen in wanted.positions.items():
        yield f"/body/positions/{_escaped(truck)}/position", seen.position


def _escaped(name: str) -> str:
    """A name within a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _points(urgent: Sequence[PointBody | StopBody]) -> tuple[str, ...]:
    return tuple(each.point_id for each in urgent if isinstance(each, PointBody))
