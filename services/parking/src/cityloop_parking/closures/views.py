"""What parking reads of waste's plans; other fields are ignored."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from cityloop_parking.places.domain import ID_PATTERN

Id = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")]
Stream = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,40}$")]
Version = Annotated[int, Field(ge=0, lt=2**63)]


class ClosureView(BaseModel):
    """A section of street that a truck needs for a while."""

    place_id: Annotated[str, StringConstraints(pattern=ID_PATTERN)]
    starts_at: AwareDatetime
    ends_at: AwareDatetime


class PlanPublishedView(BaseModel):
    """Of `waste.plan.published.v1` and `waste.plan.replanned.v1`: replaces the closures of earlier versions of its stream and day."""

    plan_id: Id
    stream: Stream
    on: date
    version: Version
    closures: list[ClosureView] = Field(default_factory=list)


class PlanWithdrawnView(BaseModel):
    """Of `waste.plan.withdrawn.v1`."""

    plan_id: Id
    stream: Stream
    on: date
    version: Version
