"""Which plan holds for a stream and a day: publishes it, by itself or by hand, takes it back, and tells replicas and services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import orjson

from cityloop_common import outbox, telemetry
from cityloop_common.clock import city_day
from cityloop_common.db import Tx, UniqueViolation, WriteTx
from cityloop_common.envelope import Event
from cityloop_common.fanout import Change as FanoutChange
from cityloop_waste.context import WasteCtx
from cityloop_waste.planning import store
from cityloop_waste.planning.closures import Closure, calls, closures
from cityloop_waste.planning.comparing import Told, outdated
from cityloop_waste.planning.events import plan_told
from cityloop_waste.planning.plans import (
    PUBLISHABLE,
    Change,
    CityPlan,
    DayOver,
    MapChanged,
    NotPublishable,
    NotPublished,
    PlanOutdated,
    PlanState,
    PlanVersion,
    Publish,
    UnknownPlan,
    second_of,
)
from cityloop_waste.roads import domain as roads
from cityloop_waste.roads.store import present_version

CHANGE = "plan"  # the kind of a plan's entries in the fan-out stream
PAGE = 200
NAMED = 10
_log = telemetry.get_logger(__name__)


async def publish_itself(ctx: WasteCtx, plan_id: str) -> CityPlan | None:
    """Publishes a plan that is ready and wished that; None when there is nothing to do, as often as it is asked.

    What is refused stays ready with the reason, for a dispatcher to see: also what was asked for before the plan that holds.
    """
    try:
        async with ctx.db.write() as tx:
            wished = await store.get(tx, plan_id)
            if wished is None or wished.publish is not Publish.WHEN_READY:
                return None
            await store.take_turn(tx, wished.stream, wished.on)  # before the look at what holds: another may be about to be published
            plan = await known(tx, plan_id)
            if plan.state is not PlanState.READY:
                return None
            live = await store.live(tx, plan.stream, plan.on)
            if live is not None and live.created_at > plan.created_at:
                raise NotPublishable("one that was asked for later holds")
            return await publish_in(tx, ctx, plan_id)
    except (DayOver, NotPublishable, MapChanged, PlanOutdated) as refused:
        _log.warning("plan-not-published", plan_id=plan_id, reason=refused.slug)
        async with ctx.db.write() as tx:
            unpublished = await store.note_unpublished(tx, plan_id, f"{refused.slug}: {refused.detail}")
            if unpublished is not None:
                offer(tx, ctx, unpublished)
        return None


async def publish_in(tx: WriteTx, ctx: WasteCtx, plan_id: str) -> CityPlan:
    """Lets a plan hold for its stream and day, in place of the one before; publishing again changes nothing.

    Two at once come one after the other, and the later one holds. Raises UnknownPlan, NotPublishable, DayOver, MapChanged, PlanOutdated.
    """
    asked = await known(tx, plan_id)
    if asked.state is PlanState.PUBLISHED:
        return asked
    if asked.state not in PUBLISHABLE:
        raise NotPublishable(f"it is {asked.state}")
    if is_over(ctx, asked.on, anew=asked.replaces is not None):
        raise DayOver(f"{asked.on} is over")
    publication = await store.next_version(tx, asked.stream, asked.on)
    before = await store.last_version(tx, asked.stream, asked.on)
    live = await store.live(tx, asked.stream, asked.on)
    if live is not None and live.id == plan_id:
        return live
    if asked.publication is None:  # one that held once may come back as it was
        await _refuse_outdated(tx, ctx, asked, live)
    superseded = await store.supersede(tx, asked.stream, asked.on)
    try:
        published = await store.publish(tx, plan_id, publication=publication, at=ctx.clock.now())
    except UniqueViolation as violated:  # uq_plan_live: the turn above makes it impossible, the table knows it too
        raise NotPublishable("another plan of this stream and day has just been published") from violated
    if published is None:
        raise NotPublishable("its state has just changed")
    version = _version_of(tx, ctx, published, Change.PUBLISHED, await _closures(tx, published), instead_of=superseded)
    await _tell(tx, ctx, replace(version, corrects=before.id if before else None))
    for each in (superseded, published):
        if each is not None:
            offer(tx, ctx, each)
    return published


def is_over(ctx: WasteCtx, on: date, *, anew: bool) -> bool:
    """Whether nothing can be published for a day any more. A plan that is made anew may be of a shift that goes past midnight."""
    return on < city_day(ctx.clock.now()) - timedelta(days=1 if anew else 0)


async def withdraw_in(tx: WriteTx, ctx: WasteCtx, plan_id: str) -> CityPlan:
    """Takes a published plan back: nothing is closed any more; withdrawing again changes nothing. Raises UnknownPlan, NotPublished."""
    asked = await known(tx, plan_id)
    if asked.state is PlanState.PUBLISHED:
        version = await store.next_version(tx, asked.stream, asked.on)
        before = await store.last_version(tx, asked.stream, asked.on)
        withdrawn = await store.withdraw(tx, plan_id)
        if withdrawn is not None:
            new = _version_of(tx, ctx, replace(withdrawn, publication=version), Change.WITHDRAWN, ())
            await _tell(tx, ctx, replace(new, corrects=before.id if before else None))
            offer(tx, ctx, withdrawn)
            return withdrawn
        asked = await known(tx, plan_id)
    if asked.state is not PlanState.WITHDRAWN:
        raise NotPublished(f"it is {asked.state}")
    return asked


async def republished(ctx: WasteCtx, key: str | None) -> AsyncIterator[Event]:
    """Every event of every plan, or of one, as it was first published: same id, sequence and time."""
    after = ""
    while True:
        async with ctx.db.read() as tx:
            found = await store.told_page(tx, plan_id=key, after=after, most=PAGE)
        for each in found:
            yield plan_told(each, source=ctx.source)
        if len(found) < PAGE:
            return
        after = found[-1].id


async def known(tx: Tx, plan_id: str) -> CityPlan:
    """A plan by its id. Raises UnknownPlan."""
    found = await store.get(tx, plan_id)
    if found is None:
        raise UnknownPlan
    return found


def shown_body(plan: CityPlan) -> dict[str, object]:
    """What everybody may see of a plan."""
    body: dict[str, object] = {"plan_id": plan.id, "stream": plan.stream, "on": plan.on, "state": plan.state, "version": plan.publication}
    if plan.replaces is not None:
        body["replaces"] = plan.replaces
    if plan.figures is not None:
        body |= {"trucks": plan.figures.trucks, "stops": plan.figures.stops, "unserved": plan.figures.unserved}
    return body


def offer(tx: WriteTx, ctx: WasteCtx, plan: CityPlan) -> None:
    """Tells the replicas after the commit; what gets lost they find in the database."""
    tx.after_commit(partial(ctx.fanout.offer, FanoutChange(CHANGE, plan.id, plan.version, orjson.dumps(shown_body(plan)))))


async def _refuse_outdated(tx: Tx, ctx: WasteCtx, asked: CityPlan, live: CityPlan | None) -> None:
    """A plan comes too late when the roads are others by now; a replan also when another plan holds, or trucks are past what it changed.

    Raises MapChanged, NotPublishable, PlanOutdated.
    """
    if roads.outdated(asked.graph_version, await present_version(tx)):
        raise MapChanged("its times hold no longer; ask for it again")
    if asked.replaces is None:
        return
    if live is None or live.id != asked.replaces:
        raise NotPublishable("the plan that it was made from holds no more")
    holds = await known(tx, live.id)  # with its routes
    assert holds.result is not None
    assert asked.result is not None
    assert asked.replan is not None
    given = asked.replan
    told = Told(given["at_s"], frozenset((*given["broken"], *given["seen"])), frozenset(given["urgent"]))
    if trucks := outdated(holds.result, asked.result, told, second_of(asked.on, ctx.clock.now())):
        more = f" and {len(trucks) - NAMED} more" if len(trucks) > NAMED else ""
        raise PlanOutdated(f"too late for {', '.join(trucks[:NAMED])}{more}; make the plan anew")


async def _closures(tx: Tx, plan: CityPlan) -> tuple[Closure, ...]:
    assert plan.problem is not None
    assert plan.result is not None
    return closures(plan.on, calls(plan.problem, plan.result), await store.open_sections(tx))


def _version_of(
    tx: WriteTx, ctx: WasteCtx, plan: CityPlan, change: Change, closed: tuple[Closure, ...], *, instead_of: CityPlan | None = None
) -> PlanVersion:
    assert plan.figures is not None
    assert plan.publication is not None
    anew = instead_of if plan.replaces is not None else None  # one that is published again replaces what has held since
    return PlanVersion(
        id=ctx.ids.new(),
        plan_id=plan.id,
        stream=plan.stream,
        on=plan.on,
        version=plan.publication,
        sequence=plan.told,
        change=change,
        trucks=plan.figures.trucks,
        stops=plan.figures.stops,
        closures=closed,
        happened_at=ctx.clock.now(),
        recorded_at=tx.recorded_at,
        event_id=ctx.ids.new(),
        replaces=None if anew is None else anew.id,
        reasons=() if anew is None else plan.reasons,
    )


async def _tell(tx: WriteTx, ctx: WasteCtx, version: PlanVersion) -> None:
    await store.append(tx, version)
    await outbox.append(tx, plan_told(version, source=ctx.source))
