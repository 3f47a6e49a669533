"""Plans over HTTP: dispatchers ask for them and publish them, crews read them, everybody hears when one changes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cityloop_common import auth, geo, http, problems
from cityloop_common.auth import Role
from cityloop_common.clock import city_day
from cityloop_common.db import WriteTx
from cityloop_common.errors import BadRequest
from cityloop_common.idempotency import Answer
from cityloop_common.jobs import JobView
from cityloop_waste.edge import LAST_DAY, OLDEST_DAY, Context, Limit, PositionView, Repeatable, answer_once
from cityloop_waste.planning import publishing, routes, store, use_cases
from cityloop_waste.planning.domain import MOST_SECONDS, InvalidProblem, Reason
from cityloop_waste.planning.plans import CityPlan, Publish, ReplanReason
from cityloop_waste.planning.problem_json import ProblemBody
from cityloop_waste.planning.replica import PlanStream
from cityloop_waste.planning.routes_api import LineView
from cityloop_waste.planning.use_cases import Shown, Wish
from cityloop_waste.roads.domain import TravelSource, outdated
from cityloop_waste.streams import Stream

router = APIRouter(tags=["plans"])
Day = Annotated[date, Field(ge=OLDEST_DAY, le=LAST_DAY)]
Dispatcher = Depends(auth.allow(Role.DISPATCHER))
Reader = Depends(auth.allow(Role.DISPATCHER, Role.CREW, Role.CITY_ADMIN))
PlanId = Annotated[str, Path(max_length=36)]
_STEP = re.compile(r"\[(\d+)\]|\.")


class DayWanted(BaseModel):
    """A plan of a stream's day from the registry: its points, the trucks dedicated to it, the sites."""

    model_config = ConfigDict(extra="forbid")

    stream: Stream
    date: Day | None = Field(None, description="Local day; today when left out.")
    publish: Publish = Publish.BY_HAND
    seconds: int | None = Field(None, strict=True, ge=1, le=MOST_SECONDS, description="How long to search.")
    depot_id: str | None = Field(None, max_length=64, description="Needed where trucks of the stream stand at several depots.")


class ProblemWanted(ProblemBody):
    """A plan of a problem that is given in full: the registry is not looked at."""

    stream: Stream = Field(strict=False)  # JSON has no words of ours: a text is one
    date: Day | None = Field(None, strict=False, description="Local day; today when left out.")
    publish: Publish = Field(Publish.BY_HAND, strict=False)


class PlanAsked(BaseModel):
    """The plan is waiting for a worker: look at it under Location, or listen to the stream."""

    plan_id: str
    job_id: str
    state: str


class ProgressView(BaseModel):
    """How far the search is, in seconds; `note` is the best plan so far."""

    state: str
    done: int
    total: int | None
    note: str | None
    eta: datetime | None
    attempts: int


class FiguresView(BaseModel):
    """What a plan comes to."""

    trucks: int
    stops: int
    unserved: int
    distance_m: int
    duration_s: int


class PlanSummary(BaseModel):
    """A plan without its routes. `version` numbers what was published for the stream and day.

    `replaces` is the plan that it was made from in the course of the day, `reasons` say why. `reason` is why there are no routes, or why
    it has not published itself.
    """

    id: str
    stream: Stream
    on: date
    state: str
    publish: str
    seconds: int
    version: int | None
    published_at: datetime | None
    created_at: datetime
    reason: str | None
    figures: FiguresView | None
    replaces: str | None = None
    reasons: list[ReplanReason] = []


class VisitView(BaseModel):
    """A truck at a place; the load is what is on board when it leaves. `underway`: it was seen there when the day was made anew."""

    kind: str
    id: str | None
    position: PositionView
    arrives_at: datetime
    starts_at: datetime
    departs_at: datetime
    load_kg: int
    load_dm3: int


class SpanView(BaseModel):
    """`[starts_at, ends_at)`."""

    starts_at: datetime
    ends_at: datetime


class RouteView(LineView):
    """A truck's day; no `lunch`: it is back before, or leaves after it."""

    truck: str
    distance_m: int
    duration_s: int
    lunch: SpanView | None
    visits: list[VisitView]


class UnservedView(BaseModel):
    """A stop that nobody serves, and why: the first of the reasons that is true of it."""

    stop: str
    reason: Reason


class ClosureView(BaseModel):
    """On-street parking that takes nobody for `[starts_at, ends_at)`."""

    place_id: str
    starts_at: datetime
    ends_at: datetime


class StrandedView(BaseModel):
    """A truck that broke down, and what stays on board; `position` where somebody said it."""

    truck: str
    load_kg: int
    load_dm3: int
    position: PositionView | None = None


class PlanView(PlanSummary):
    """A plan with its search, its routes once there are some, and the parking it closes while it is published."""

    job_id: str
    progress: ProgressView | None = Field(description="None 30 days after the search has ended.")
    base_map: str | None = Field(description="Version of the roads; none: distances are estimates.")
    base_map_changed: bool = Field(description="Whether the roads are others by now; then it is not published any more.")
    travel: TravelSource | None
    verified: bool
    routes: list[RouteView] = Field(description="None 30 days after its day when it was never published.")
    unserved: list[UnservedView]
    closures: list[ClosureView]
    stranded: list[StrandedView]
    evidence: dict[str, Any] | None = Field(
        description="How good it is: bounds, likeness to the day before; `of` rest: of what a replan had left. `compared` is PyVRP's plan "
        "when OR-Tools began to improve that same plan: how far one engine had come, no second plan made beside it and no bound."
    )


class PlanPage(BaseModel):
    """Plans, the last asked for first."""

    plans: list[PlanSummary]
    next_cursor: str | None = None
    as_of: datetime


async def _wanted(request: Request) -> DayWanted | ProblemWanted:
    """The body as what it is: with stops a full problem, else a day of the registry. NaN is understood, and then refused by name."""
    try:
        document = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
    given = isinstance(document, Mapping) and not document.keys().isdisjoint(("stops", "trucks", "sites", "depot"))
    try:
        return ProblemWanted.model_validate(document) if given else DayWanted.model_validate(document)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise problems.translate_validation(found) from error


def _schema(model: type[BaseModel]) -> Any:
    """A model's JSON Schema with its parts in place: a body that a route reads itself is in no list of components."""
    whole = model.model_json_schema()
    parts: Mapping[str, Any] = whole.pop("$defs", {})

    def inlined(node: Any) -> Any:
        if isinstance(node, list):
            return [inlined(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            rest = {name: value for name, value in node.items() if name != "$ref"}
            return {**inlined(parts[node["$ref"].rpartition("/")[2]]), **rest}
        return {name: inlined(value) for name, value in node.items()}

    return inlined(whole)


_JSON = {"application/json": {"schema": {"anyOf": [_schema(DayWanted), _schema(ProblemWanted)]}}}
_BODY = {"requestBody": {"required": True, "content": _JSON}}


@router.post(
    "/plans",
    status_code=202,
    responses={202: {"model": PlanAsked}},
    dependencies=[Dispatcher],
    openapi_extra=_BODY,
    summary="Ask for a plan",
)
async def ask(ctx: Context, asked: Repeatable, wanted: Annotated[DayWanted | ProblemWanted, Depends(_wanted)]) -> Response:
    """`{stream, date}` from the registry, or a full problem with its datum. The search is a job; publish by hand or when ready."""
    wish = Wish(wanted.date or city_day(ctx.clock.now()), wanted.publish)
    problem = _problem(wanted, geo.Bounds(*ctx.settings.shared.city_bounds)) if isinstance(wanted, ProblemWanted) else None

    async def effect(tx: WriteTx) -> Answer:
        if problem is not None:
            made = await use_cases.ask_in(tx, ctx, problem, wish)
        else:
            assert isinstance(wanted, DayWanted)
            made = await use_cases.ask_for_day_in(tx, ctx, wanted.stream, wish, seconds=wanted.seconds, depot_id=wanted.depot_id)
        body = orjson.dumps({"plan_id": made.id, "job_id": made.job_id, "state": made.state})
        return Answer(202, body, {"location": f"/{ctx.service}/v1/plans/{made.id}"})

    return await answer_once(ctx, asked, effect)


@router.get("/plans/{plan_id}", response_model=PlanView, dependencies=[Reader], summary="One plan")
async def show(ctx: Context, plan_id: PlanId) -> Response:
    """State and progress with ETA; once it is ready the routes with times and loads, and what stays unserved with the reason."""
    return http.json_response(_plan(await use_cases.find(ctx, plan_id)))


@router.get("/plans", response_model=PlanPage, dependencies=[Reader], summary="Plans")
async def list_plans(
    ctx: Context,
    stream: Stream | None = None,
    on: Annotated[date | None, Query(alias="date", ge=OLDEST_DAY, le=LAST_DAY, description="Local day.")] = None,
    cursor: Annotated[str | None, Query(max_length=36, description="`next_cursor` of the page before.")] = None,
    limit: Limit = 50,
) -> Response:
    """What was asked for, the last first; without routes."""
    as_of = ctx.clock.now()
    found = await use_cases.page(ctx, store.Wanted(stream, on, cursor), most=limit + 1)
    shown = found[:limit]
    body: dict[str, object] = {"plans": [_summary(each) for each in shown], "as_of": as_of}
    if len(found) > limit:
        body["next_cursor"] = shown[-1].id
    return http.json_response(body)


@router.post("/plans/{plan_id}/cancellation", response_model=PlanSummary, dependencies=[Dispatcher], summary="Stop the search")
async def cancel(ctx: Context, asked: Repeatable, plan_id: PlanId) -> Response:
    """Stops a search that waits or runs. Cancelling again answers the same."""

    async def effect(tx: WriteTx) -> Answer:
        return answer_of(await use_cases.cancel_in(tx, ctx, plan_id))

    return await answer_once(ctx, asked, effect)


@router.post("/plans/{plan_id}/completion", response_model=PlanSummary, dependencies=[Dispatcher], summary="End the search with its best")
async def complete(ctx: Context, asked: Repeatable, plan_id: PlanId) -> Response:
    """The search ends within seconds and the best plan so far is kept, checked and ready. Of a plan that has routes nothing changes."""

    async def effect(tx: WriteTx) -> Answer:
        return answer_of(await use_cases.finish_in(tx, ctx, plan_id))

    return await answer_once(ctx, asked, effect)


@router.post("/plans/{plan_id}/publication", response_model=PlanSummary, dependencies=[Dispatcher], summary="Publish a plan")
async def publish(ctx: Context, asked: Repeatable, plan_id: PlanId) -> Response:
    """From now on it holds for its stream and day, in place of the one before, and closes the on-street parking in its way.

    One that was made on another base map than the present one is refused (`plan-map-changed`): ask for it again.
    A plan that was made anew is refused when another holds by now than the one it was made from, and when it comes too late for trucks
    (`plan-outdated`): they have passed what it has changed, or should have done what they were never told of. Make it anew once more.
    """

    async def effect(tx: WriteTx) -> Answer:
        return answer_of(await publishing.publish_in(tx, ctx, plan_id))

    return await answer_once(ctx, asked, effect)


@router.post("/plans/{plan_id}/withdrawal", response_model=PlanSummary, dependencies=[Dispatcher], summary="Take a plan back")
async def withdraw(ctx: Context, asked: Repeatable, plan_id: PlanId) -> Response:
    """It holds no more, and what it closed is open again."""

    async def effect(tx: WriteTx) -> Answer:
        return answer_of(await publishing.withdraw_in(tx, ctx, plan_id))

    return await answer_once(ctx, asked, effect)


@router.get("/stream", dependencies=[Depends(auth.public)], summary="Plans as they change", response_class=Response)
async def stream(request: Request, last_event_id: Annotated[str | None, Header(max_length=64)] = None) -> Response:
    """Server-Sent Events: `plan.changed` with state and figures, `plan.progress` while one is searched; `reset`: read plans again."""
    plans: PlanStream = request.app.state.plans
    return plans.stream(last_event_id)


def _problem(wanted: ProblemWanted, within: geo.Bounds) -> Any:
    """The checked problem; what is wrong with it gets pointers as everything else in a body."""
    try:
        return wanted.problem(within=within)
    except InvalidProblem as error:
        faults: Sequence[Mapping[str, str]] = error.members.get("faults", ())  # type: ignore[assignment]
        listed = [{"pointer": "/body/" + _STEP.sub(_step, fault["at"]), "detail": fault["text"]} for fault in faults]
        raise InvalidProblem(error.detail, errors=listed) from error


def _step(found: re.Match[str]) -> str:
    return f"/{found[1]}" if found[1] else "/"


def answer_of(plan: CityPlan) -> Answer:
    """A plan without its routes."""
    return Answer(200, orjson.dumps(_summary(plan), option=orjson.OPT_UTC_Z))


def _summary(plan: CityPlan) -> dict[str, object]:
    return {
        "id": plan.id,
        "stream": plan.stream,
        "on": plan.on,
        "state": plan.state,
        "publish": plan.publish,
        "seconds": plan.seconds,
        "version": plan.publication,
        "published_at": plan.published_at,
        "created_at": plan.created_at,
        "reason": plan.reason,
        "figures": plan.figures,
        "replaces": plan.replaces,
        "reasons": plan.reasons,
    }


def _plan(shown: Shown) -> Mapping[str, object]:
    plan, job = shown.plan, shown.job
    result = plan.result or {}
    last = shown.versions[-1] if shown.versions and plan.state == "published" else None
    return {
        **_summary(plan),
        "job_id": plan.job_id,
        "progress": None if job is None else _progress(job),
        "base_map": plan.graph_version,
        "base_map_changed": outdated(plan.graph_version, shown.present_map),
        "travel": result.get("travel"),
        "verified": result.get("verified", False),
        "routes": routes.for_crews(plan, shown.lines),
        "unserved": result.get("unserved", []),
        "closures": last.closures if last else [],
        "stranded": result.get("stranded", []),
        "evidence": result.get("evidence"),
    }


def _progress(job: JobView) -> Mapping[str, object]:
    return {"state": job.state, "done": job.done, "total": job.total, "note": job.note, "eta": job.eta, "attempts": job.attempts}
