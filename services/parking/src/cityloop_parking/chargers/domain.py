"""Charging bays of a car park, added up from its chargers (EVSEs, 充电桩) and what each of them does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """What an EVSE does, in the words of OCPI 2.2.1."""

    AVAILABLE = "AVAILABLE"
    CHARGING = "CHARGING"
    RESERVED = "RESERVED"
    BLOCKED = "BLOCKED"
    INOPERATIVE = "INOPERATIVE"
    OUTOFORDER = "OUTOFORDER"
    PLANNED = "PLANNED"
    REMOVED = "REMOVED"
    UNKNOWN = "UNKNOWN"


IN_USE = frozenset({Status.CHARGING, Status.RESERVED, Status.BLOCKED})
WORKING = IN_USE | {Status.AVAILABLE}
NOT_THERE = frozenset({Status.PLANNED, Status.REMOVED})


@dataclass(frozen=True, slots=True)
class Charger:
    """One EVSE that its location lists; `bay_no` is the car park's number of the bay that it serves, where that is known."""

    uid: str
    bay_no: str | None
    status: Status = Status.UNKNOWN
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class EvBays:
    """Charging bays: all, those that work, those of them that are free; `as_of` is the newest change of a status in it."""

    bays: int
    working: int
    free: int
    as_of: datetime | None

    def within(self, total_bays: int) -> EvBays:
        """No more than a car park has; 0 is a car park whose bays nobody counted."""
        if not 0 < total_bays < self.bays:
            return self
        working = min(self.working, total_bays)
        return replace(self, bays=total_bays, working=working, free=min(self.free, working))


def ev_bays(chargers: Iterable[Charger]) -> EvBays | None:
    """Distinct charging bays; None when there is no charger.

    A bay with several EVSEs counts once: it works when one of them does, and is free when one is AVAILABLE and none is in use.
    EVSEs without a bay number count one bay each. PLANNED and REMOVED are not there; UNKNOWN is there, neither working nor free.
    """
    by_bay: dict[tuple[bool, str], set[Status]] = {}
    newest: datetime | None = None
    for each in chargers:
        if each.status in NOT_THERE:
            continue
        bay = (True, each.uid) if each.bay_no is None else (False, each.bay_no)
        by_bay.setdefault(bay, set()).add(each.status)
        if each.since is not None:
            newest = each.since if newest is None else max(newest, each.since)
    if not by_bay:
        return None
    working = sum(not WORKING.isdisjoint(statuses) for statuses in by_bay.values())
    free = sum(Status.AVAILABLE in statuses and IN_USE.isdisjoint(statuses) for statuses in by_bay.values())
    return EvBays(len(by_bay), working, free, newest)
