"""Counts over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cityloop_common import auth, http
from cityloop_common.auth import Principal, Role
from cityloop_common.clock import instant
from cityloop_common.errors import CityLoopError, Forbidden
from cityloop_parking.context import ParkingCtx
from cityloop_parking.observations import use_cases
from cityloop_parking.observations.domain import Count, FromTheFuture, Observation
from cityloop_parking.observations.use_cases import Counter, Report, Verdict
from cityloop_parking.places.domain import Category

router = APIRouter(tags=["observations"])
MOST_AT_ONCE = 500
Context = Annotated[ParkingCtx, Depends(http.current_ctx)]
Reporter = Annotated[Principal, Depends(auth.allow(Role.LOT_OPERATOR, Role.CITY_ADMIN))]
PlaceIdPath = Annotated[str, Path(max_length=64, description="Id of the car park.")]
Spaces = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]  # whether it can be true is judged row by row


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("an RFC 3339 text with a time zone")
    try:
        return instant(value)
    except (ValueError, OverflowError) as error:
        raise ValueError("an RFC 3339 instant with a time zone") from error


class CountBody(BaseModel):
    """Spaces of one category: `occupied` or `free`, one of the two. `capacity` overrides what the car park says."""

    model_config = ConfigDict(extra="forbid")

    category: Category
    occupied: Spaces | None = None
    free: Spaces | None = None
    capacity: Spaces | None = None


class ObservationBody(BaseModel):
    """Counts and the instant at which they were taken. `interval_s` is how often this source reports."""

    model_config = ConfigDict(extra="forbid")

    observed_at: Annotated[datetime, BeforeValidator(_instant)]
    source: str = Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")
    counts: list[CountBody] = Field(min_length=1, max_length=len(Category))
    interval_s: int | None = Field(None, strict=True, ge=10, le=86_400)


class PlacedObservationBody(ObservationBody):
    """Counts of one car park within a batch."""

    place_id: str = Field(max_length=64)


class BatchBody(BaseModel):
    """Counts of many car parks."""

    model_config = ConfigDict(extra="forbid")

    observations: list[PlacedObservationBody] = Field(min_length=1, max_length=MOST_AT_ONCE)


class VerdictView(BaseModel):
    """`current`: it is what people see now. `superseded`: something as new or newer was known; it is journalled all the same."""

    place_id: str
    outcome: str
    recorded_at: datetime


class RowView(BaseModel):
    """A row of a batch: `current`, `superseded`, `quarantined` (from the future) or `rejected`, with the reason."""

    place_id: str
    outcome: str
    reason: str | None = None


class BatchView(BaseModel):
    """What became of a batch, row by row."""

    accepted: int
    rejected: int
    rows: list[RowView]


@router.post("/places/{place_id}/observations", status_code=201, responses={201: {"model": VerdictView}}, summary="Report counts")
async def observe(place_id: PlaceIdPath, body: ObservationBody, caller: Reporter, request: Request) -> Response:
    """Takes counts of one car park. What was taken earlier than what is known never wins."""
    counter: Counter = request.app.state.counter  # not a dependency: FastAPI solves each anew, every request
    verdict = await counter.submit(Report(place_id, _observation(body), _speaks_for(caller)))
    return http.json_response(verdict, status=201)


@router.post("/observations", responses={200: {"model": BatchView}}, summary="Report counts of many car parks")
async def observe_many(body: BatchBody, ctx: Context, caller: Reporter) -> Response:
    """Takes a batch: each row gets its verdict, and one that cannot be true stops no other."""
    operator = _speaks_for(caller)
    reports = [Report(each.place_id, _observation(each), operator) for each in body.observations]
    outcomes = await use_cases.record_many(ctx, reports)
    rows = [_row(report, outcome) for report, outcome in zip(reports, outcomes, strict=True)]
    accepted = sum(isinstance(outcome, Verdict) for outcome in outcomes)
    return http.json_response({"accepted": accepted, "rejected": len(rows) - accepted, "rows": rows})


def _speaks_for(caller: Principal) -> str | None:
    """The operator whose places the caller may report on; None for the city's administration, which may on all."""
    if caller.has(Role.CITY_ADMIN):
        return None
    if caller.operator_id is None:
        raise Forbidden("The token names no operator.")
    return caller.operator_id


def _observation(body: ObservationBody) -> Observation:
    counts = tuple(Count(each.category.value, each.occupied, each.free, each.capacity) for each in body.counts)
    return Observation(body.observed_at, body.source, counts, body.interval_s)


def _row(report: Report, outcome: Verdict | Exception) -> dict[str, object]:
    if isinstance(outcome, Verdict):
        return {"place_id": report.place_id, "outcome": outcome.outcome}
    if not isinstance(outcome, CityLoopError):
        raise outcome
    kind = "quarantined" if isinstance(outcome, FromTheFuture) else "rejected"
    return {"place_id": report.place_id, "outcome": kind, "reason": outcome.detail or outcome.title}
