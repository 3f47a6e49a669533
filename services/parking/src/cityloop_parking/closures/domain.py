"""Windows in which collection needs a section of street, and which plan of a day they are taken from. Half-open, UTC."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

CLOSED_FOR = "collection"


class PlanState(StrEnum):
    """What a plan's last event said of it."""

    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Plan:
    """A collection plan of one stream and local day; `version` counts the plans of that stream and day."""

    stream: str
    on_day: str
    version: int
    plan_id: str
    state: PlanState


def supersedes(new: Plan, known: Plan | None) -> bool:
    """Whether a plan decides from now on: it is of a higher version, or withdraws the version that is known.

    Any two plans of a stream and day are in one order, so the same one decides however they were heard.
    """
    return known is None or _rank(new) > _rank(known)


def _rank(plan: Plan) -> tuple[int, bool, str]:
    return plan.version, plan.state is PlanState.WITHDRAWN, plan.plan_id


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which nobody may park there."""

    starts_at: datetime
    ends_at: datetime


def merged(windows: Iterable[Window]) -> list[Window]:
    """The same times as windows that neither overlap nor touch, in their order; one that ends before it starts is none."""
    found: list[Window] = []
    for each in sorted((each for each in windows if each.starts_at < each.ends_at), key=lambda each: each.starts_at):
        if found and each.starts_at <= found[-1].ends_at:
            found[-1] = replace(found[-1], ends_at=max(found[-1].ends_at, each.ends_at))
        else:
            found.append(each)
    return found
