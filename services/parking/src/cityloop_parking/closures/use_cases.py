"""Parking learns when collection needs a section of street, in whatever order plans are published, replaced and withdrawn."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from cityloop_common.db import WriteTx
from cityloop_parking import turns
from cityloop_parking.closures import store
from cityloop_parking.closures.domain import Plan, PlanState, Window, merged, supersedes
from cityloop_parking.closures.views import PlanPublishedView, PlanWithdrawnView
from cityloop_parking.context import ParkingCtx

TURN = "closures"
KEPT_FOR = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Touched:
    """Places that are needed at other times now, and the turn of the unit that made them so."""

    place_ids: Collection[str]
    turn: int


@dataclass(frozen=True, slots=True)
class Reclosed:
    """A place's windows as they are now; of two answers the one with the greater version is right."""

    place_id: str
    windows: list[Window]
    version: int


async def learn_published_in(tx: WriteTx, view: PlanPublishedView) -> Touched:
    """A plan was published: unless a later one is known, its windows replace those of the stream and day."""
    by_place: dict[str, list[Window]] = {}
    for each in view.closures:
        by_place.setdefault(each.place_id, []).append(Window(each.starts_at, each.ends_at))
    plan = Plan(view.stream, view.on.isoformat(), view.version, view.plan_id, PlanState.PUBLISHED)
    return await _learn(tx, plan, {place_id: merged(windows) for place_id, windows in by_place.items()})


async def learn_withdrawn_in(tx: WriteTx, view: PlanWithdrawnView) -> Touched:
    """A plan was withdrawn: unless a later one is known, its stream needs nothing on that day."""
    return await _learn(tx, Plan(view.stream, view.on.isoformat(), view.version, view.plan_id, PlanState.WITHDRAWN), {})


async def reclose_in(tx: WriteTx, touched: Touched) -> list[Reclosed]:
    """The windows of places from what is known, in a unit that has the turn."""
    if not touched.place_ids:
        return []
    found = await store.windows_of(tx, touched.place_ids)
    return [Reclosed(place_id, merged(found.get(place_id, ())), touched.turn) for place_id in sorted(touched.place_ids)]


async def reclose_all_in(tx: WriteTx, place_ids: Collection[str]) -> list[Reclosed]:
    """Takes the turn, and answers the windows of these places from what is known."""
    return await reclose_in(tx, Touched(place_ids, await turns.take(tx, TURN)))


async def prune(ctx: ParkingCtx) -> int:
    """Sweep: forgets windows that were over days ago; answers how many. Plans stay."""
    async with ctx.db.write() as tx:
        return await store.prune(tx, before=ctx.clock.now() - KEPT_FOR)


async def _learn(tx: WriteTx, plan: Plan, windows: dict[str, list[Window]]) -> Touched:
    turn = await turns.take(tx, TURN)
    if not supersedes(plan, await store.plan_of(tx, plan.stream, plan.on_day)):
        return Touched((), turn)
    return Touched(await store.put_plan(tx, plan, windows), turn)
