"""Where trucks were seen, forgotten: a replan is made with it, and nobody needs it once the day is long over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import select, update

from cityloop_common.db import WriteTx
from cityloop_waste.planning.domain import VisitKind
from cityloop_waste.planning.tables import plan

BATCH = 20
"""Plans a turn: their documents are read, and written anew."""
_P = plan.c
Document = Mapping[str, Any]


async def forget_seen(tx: WriteTx, before: date) -> int:
    """Takes positions out of the replans of days before `before`, published ones too, a batch at most; answers how many.

    What the plan came to stays, and its calls. Its version is the same: there is nothing to tell.
    """
    old = select(_P.id, _P.result).where(_P.replan.is_not(None), _P.on_day < before, _P.state.not_in(("waiting", "solving")))
    rows = await tx.all(old.order_by(_P.on_day).limit(BATCH).with_for_update(skip_locked=True))
    for row in rows:
        changes: dict[str, object] = {"replan": None}
        if row.result is not None and (kept := without_seen(row.result)) != row.result:
            changes |= {"result": kept, "lines": None}  # a line leads past where the truck was seen; straight it is without
        await tx.run(update(plan).where(_P.id == row.id).values(**changes))
    return len(rows)


def without_seen(result: Document) -> dict[str, Any]:
    """A result without the places where trucks were seen: no call is there, so what stays is every call of the plan."""
    routes = [{**route, "visits": [visit for visit in route["visits"] if not was_seen(visit)]} for route in result["routes"]]
    if "stranded" not in result:
        return {**result, "routes": routes}
    stranded = [{name: value for name, value in each.items() if name != "position"} for each in result["stranded"]]
    return {**result, "routes": routes, "stranded": stranded}


def was_seen(visit: Document) -> bool:
    """Whether a visit of a route is where somebody saw the truck, not a call."""
    return visit["kind"] == VisitKind.UNDERWAY and "position" in visit
