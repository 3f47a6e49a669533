"""What a plan of the city is: asked for, searched, ready, published for its day, and perhaps taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from cityloop_common import errors
from cityloop_common.clock import day_begins
from cityloop_waste.planning.closures import Closure
from cityloop_waste.planning.domain import PlanningError, Round
from cityloop_waste.streams import Stream

PLAN_ID_LENGTH = 36


class UnknownPlan(PlanningError, errors.NotFound):
    slug, title = "plan-unknown", "No such plan"


class NothingToCollect(PlanningError, errors.Invalid):
    """The registry has no collection point of the stream, or more points or trucks than a plan can hold, or no truck or site at all."""

    slug, title = "nothing-to-plan", "The registry has nothing to plan"


class DayOver(PlanningError, errors.Invalid):
    slug, title = "plan-day-over", "The day of the plan is over"


class NotOpen(PlanningError, errors.Conflict):
    slug, title = "plan-not-open", "The plan is not being searched"


class NotPublishable(PlanningError, errors.Conflict):
    slug, title = "plan-not-publishable", "The plan cannot be published"


class MapChanged(PlanningError, errors.Conflict):
    slug, title = "plan-map-changed", "The base map is another since the plan was made"


class PlanOutdated(PlanningError, errors.Conflict):
    """A replan that comes too late."""

    slug, title = "plan-outdated", "The plan comes too late"


class NotPublished(PlanningError, errors.Conflict):
    slug, title = "plan-not-published", "The plan is not published"


class ReplanRunning(PlanningError, errors.Conflict):
    slug, title = "replan-running", "The plan of this stream and day is being made anew already"


class NoRoutes(PlanningError, errors.Conflict):
    slug, title = "plan-without-routes", "The plan has no routes"


class NotComparable(PlanningError, errors.Invalid):
    slug, title = "plans-not-comparable", "The plans are of two streams"


class UnknownRoute(PlanningError, errors.NotFound):
    slug, title = "route-unknown", "The plan has no route of this truck"


class TooManyPlans(PlanningError, errors.TooManyRequests):
    slug, title = "too-many-plans", "Too many plans wait to be searched"


class PlanState(StrEnum):
    """waiting > solving > ready > published > superseded or withdrawn; a search may also fail or be cancelled."""

    WAITING = "waiting"
    SOLVING = "solving"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PUBLISHED = "published"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


OPEN = (PlanState.WAITING, PlanState.SOLVING)
PUBLISHABLE = (PlanState.READY, PlanState.SUPERSEDED, PlanState.WITHDRAWN)


class Publish(StrEnum):
    """Whether a plan is published as soon as it is ready, or by a dispatcher."""

    WHEN_READY = "when-ready"
    BY_HAND = "by-hand"


@dataclass(frozen=True, slots=True)
class Figures:
    """What a plan comes to: trucks that go out, stops that are served and that are not, metres and seconds of all routes."""

    trucks: int
    stops: int
    unserved: int
    distance_m: int
    duration_s: int


class ReplanReason(StrEnum):
    """Why a published plan was made anew."""

    BREAKDOWN = "breakdown"
    CLOSED_ROAD = "closed-road"
    URGENT_STOP = "urgent-stop"
    POSITION = "position"
    BY_HAND = "by-hand"


@dataclass(frozen=True, slots=True)
class CityPlan:
    """A plan with its fate. `problem` and `result` are documents (planning/problem_json.py, planning/work.py).

    `publication` numbers what was published for the same stream and day; `version` counts changes of the row, `told` its events.
    A replan `replaces` a plan: `problem` and `result` are of the whole day, `replan` is what it was asked with (replans.py).
    """

    id: str
    stream: Stream
    on: date
    state: PlanState
    publish: Publish
    job_id: str
    seconds: int
    graph_version: str | None
    version: int
    told: int
    created_at: datetime
    updated_at: datetime
    reason: str | None = None
    figures: Figures | None = None
    publication: int | None = None
    published_at: datetime | None = None
    problem: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    replaces: str | None = None
    reasons: tuple[str, ...] = ()
    replan: Mapping[str, Any] | None = None


class Change(StrEnum):
    """What a row of the journal of publications says."""

    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class PlanVersion:
    """A journal row: what was said of a stream and day from then on. `corrects` is the row that it replaces.

    Of a replan, `replaces` is the plan that held until then, and `reasons` say why it was made.
    """

    id: str
    plan_id: str
    stream: Stream
    on: date
    version: int
    sequence: int
    change: Change
    trucks: int
    stops: int
    closures: tuple[Closure, ...]
    happened_at: datetime
    recorded_at: datetime
    event_id: str
    corrects: str | None = None
    replaces: str | None = None
    reasons: tuple[str, ...] = ()


def second_of(on: date, at: datetime) -> int:
    """Which second of a plan's local day an instant is; below 0 before it."""
    return int((at - day_begins(on)).total_seconds())


def figures_of(result: Mapping[str, Any]) -> Figures:
    """What a solver's answer comes to."""
    served = sum(1 for route in result["routes"] for visit in route["visits"] if visit["kind"] == "stop")
    cost = result["cost"]
    return Figures(len(result["routes"]), served, len(result["unserved"]), cost["distance_m"], cost["duration_s"])


def rounds(of: CityPlan | None) -> tuple[Round, ...]:
    """What each truck of a plan serves, in its order; nothing without a plan."""
    if of is None or of.result is None:
        return ()
    served = (
        (str(route["truck"]), [str(visit["id"]) for visit in route["visits"] if visit["kind"] == "stop"]) for route in of.result["routes"]
    )
    return tuple(Round(truck, tuple(stops)) for truck, stops in served if stops)
