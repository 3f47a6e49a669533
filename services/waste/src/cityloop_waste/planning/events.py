"""What the city hears of plans: topic `waste.plan`, facts in any order. Of a stream and day the highest `version` holds."""

from __future__ import annotations

from datetime import date

from pydantic import AwareDatetime, BaseModel

from cityloop_common.envelope import Event, EventType, Kind
from cityloop_waste.planning.plans import Change, PlanVersion

TOPIC = "waste.plan"


class ClosureV1(BaseModel):
    """On-street parking that takes nobody for `[starts_at, ends_at)`: a truck needs the kerb."""

    place_id: str
    starts_at: AwareDatetime
    ends_at: AwareDatetime


class PlanPublishedV1(BaseModel):
    """What trucks of a stream do on a local day, and the parking it closes. It replaces what lower versions said of stream and day."""

    plan_id: str
    stream: str
    on: date
    version: int
    trucks: int
    stops: int
    published_at: AwareDatetime
    closures: list[ClosureV1]


class PlanReplannedV1(PlanPublishedV1):
    """As PlanPublishedV1, of a plan that was made anew in the course of its day: `replaces` is the one that held until then."""

    replaces: str
    reasons: list[str]


class PlanWithdrawnV1(BaseModel):
    """No plan holds for a stream and day any more, and nothing is closed. It replaces what lower versions said."""

    plan_id: str
    stream: str
    on: date
    version: int


PLAN_PUBLISHED = EventType("waste.plan.published.v1", TOPIC, Kind.FACT, PlanPublishedV1)
PLAN_REPLANNED = EventType("waste.plan.replanned.v1", TOPIC, Kind.FACT, PlanReplannedV1)
PLAN_WITHDRAWN = EventType("waste.plan.withdrawn.v1", TOPIC, Kind.FACT, PlanWithdrawnV1)
PUBLISHED = (PLAN_PUBLISHED, PLAN_REPLANNED, PLAN_WITHDRAWN)


def plan_told(of: PlanVersion, *, source: str) -> Event:
    """The event of a journal row; the same id and bytes however often it is made."""
    if of.change is Change.WITHDRAWN:
        withdrawn = PlanWithdrawnV1(plan_id=of.plan_id, stream=of.stream.value, on=of.on, version=of.version)
        return PLAN_WITHDRAWN.event(withdrawn, id=of.event_id, key=of.plan_id, sequence=of.sequence, time=of.recorded_at, source=source)
    published = PlanPublishedV1(
        plan_id=of.plan_id,
        stream=of.stream.value,
        on=of.on,
        version=of.version,
        trucks=of.trucks,
        stops=of.stops,
        published_at=of.happened_at,
        closures=[ClosureV1(place_id=each.place_id, starts_at=each.starts_at, ends_at=each.ends_at) for each in of.closures],
    )
    if of.replaces is not None:
        anew = PlanReplannedV1(**dict(published), replaces=of.replaces, reasons=list(of.reasons))
        return PLAN_REPLANNED.event(anew, id=of.event_id, key=of.plan_id, sequence=of.sequence, time=of.recorded_at, source=source)
    return PLAN_PUBLISHED.event(published, id=of.event_id, key=of.plan_id, sequence=of.sequence, time=of.recorded_at, source=source)
