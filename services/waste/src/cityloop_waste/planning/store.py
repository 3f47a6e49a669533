"""SQL of the room `planning`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, case, delete, func, insert, literal, null, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.clock import instant, rfc3339
from cityloop_common.db import Tx, WriteTx
from cityloop_common.geo import Position
from cityloop_common.tables import job
from cityloop_waste.planning.closures import Closure, Section
from cityloop_waste.planning.forgetting import forget_seen
from cityloop_waste.planning.plans import (
    OPEN,
    PUBLISHABLE,
    Change,
    CityPlan,
    Figures,
    PlanState,
    PlanVersion,
    Publish,
    figures_of,
)
from cityloop_waste.planning.tables import plan, plan_day, plan_version, street_section
from cityloop_waste.planning.views import PlaceView
from cityloop_waste.streams import Stream

SWEEP_LIMIT = 500
Lines = Sequence[Mapping[str, Any]]
_EMPTY_PROBLEM: Mapping[str, object] = {"stops": [], "trucks": [], "sites": [], "depot": None}
_EMPTY_RESULT: Mapping[str, object] = {"routes": [], "unserved": [], "verified": True}
_P, _V, _S = plan.c, plan_version.c, street_section.c
_WHOLE = tuple(column for column in plan.columns if column.name != "lines")
_SHORT = tuple(column for column in _WHOLE if column.name not in ("problem", "result", "replan"))
_OPEN = [state.value for state in OPEN]
_ENDED_JOBS = ("failed", "cancelled", "done")


async def add(tx: WriteTx, new: CityPlan) -> None:
    """Stores a plan that was asked for."""
    row = {
        "id": new.id,
        "stream": new.stream.value,
        "on_day": new.on,
        "state": new.state.value,
        "publish": new.publish.value,
        "job_id": new.job_id,
        "seconds": new.seconds,
        "graph_version": new.graph_version,
        "problem": new.problem,
        "version": new.version,
        "told": new.told,
        "created_at": new.created_at,
        "updated_at": new.updated_at,
        "replaces": new.replaces,
        "reasons": list(new.reasons) if new.replaces else None,
        "replan": new.replan,
    }
    await tx.run(insert(plan).values(row))


async def get(tx: Tx, plan_id: str) -> CityPlan | None:
    """A plan with its problem and its routes."""
    row = await tx.first(select(*_WHOLE).where(_P.id == plan_id))
    return None if row is None else _plan(row)


async def lines(tx: Tx, plan_id: str) -> Lines | None:
    """The lines of a plan's routes in their order, as `planning.lines` draws them; None: not drawn, fewer than routes: they cannot be."""
    found: Lines | None = await tx.scalar(select(_P.lines).where(_P.id == plan_id))
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which plans: of a stream, of a day, behind `before` in the order in which they were asked for."""

    stream: Stream | None = None
    on: date | None = None
    before: str | None = None


async def page(tx: Tx, wanted: Wanted, *, most: int) -> list[CityPlan]:
    """Plans without problem and routes, the last asked for first."""
    asked: Select[Any] = select(*_SHORT)
    if wanted.stream is not None:
        asked = asked.where(_P.stream == wanted.stream.value)
    if wanted.on is not None:
        asked = asked.where(_P.on_day == wanted.on)
    if wanted.before is not None:
        asked = asked.where(_P.id < wanted.before)
    return [_plan(row) for row in await tx.all(asked.order_by(_P.id.desc()).limit(most))]


async def count_open(tx: Tx) -> int:
    """How many plans wait or are being searched."""
    return int(await tx.scalar(select(func.count()).select_from(plan).where(_P.state.in_(_OPEN))))


async def begin(tx: WriteTx, plan_id: str) -> CityPlan | None:
    """A worker searches it now; None when it is not wanted any more."""
    row = await _change(tx, _P.id == plan_id, _P.state.in_(_OPEN), state=PlanState.SOLVING.value)
    return None if row is None else _plan(row)


async def end(tx: WriteTx, plan_id: str, state: PlanState, *, reason: str | None = None) -> CityPlan | None:
    """Its search ended without routes; None when it had ended before."""
    row = await _change(tx, _P.id == plan_id, _P.state.in_(_OPEN), state=state.value, reason=reason)
    return None if row is None else _plan(row)


async def keep(tx: WriteTx, plan_id: str, result: Mapping[str, Any], lines: Lines | None) -> CityPlan | None:
    """Its routes are found; None when it is not wanted any more."""
    figures = figures_of(result)
    row = await _change(
        tx,
        _P.id == plan_id,
        _P.state.in_(_OPEN),
        state=PlanState.READY.value,
        result=result,
        lines=lines,
        trucks=figures.trucks,
        stops=figures.stops,
        unserved=figures.unserved,
        distance_m=figures.distance_m,
        duration_s=figures.duration_s,
    )
    return None if row is None else _plan(row)


async def request_finish(tx: WriteTx, plan_id: str) -> CityPlan | None:
    """Its search is to end with the best so far; None when it is not being searched."""
    asked = {"finish_requested_at": func.coalesce(_P.finish_requested_at, tx.recorded_at)}
    row = await _change(tx, _P.id == plan_id, _P.state.in_(_OPEN), **asked)
    return None if row is None else _plan(row)


async def is_to_finish(tx: Tx, plan_id: str) -> bool:
    """Whether somebody wants the best so far."""
    return await tx.scalar(select(_P.finish_requested_at).where(_P.id == plan_id)) is not None


async def next_version(tx: WriteTx, stream: Stream, on: date) -> int:
    """Takes the turn of a stream and day until the unit's end, and the number of what is said of it now."""
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    first = make(plan_day).values(stream=stream.value, on_day=on, version=1)
    raised = first.on_conflict_do_update(index_elements=[plan_day.c.stream, plan_day.c.on_day], set_={"version": plan_day.c.version + 1})
    return int(await tx.scalar(raised.returning(plan_day.c.version)))


async def take_turn(tx: WriteTx, stream: Stream, on: date) -> None:
    """Takes the turn of a stream and day until the unit's end, without saying anything."""
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    first = make(plan_day).values(stream=stream.value, on_day=on, version=0)
    same = {"version": plan_day.c.version}
    await tx.run(first.on_conflict_do_update(index_elements=[plan_day.c.stream, plan_day.c.on_day], set_=same))


async def live(tx: Tx, stream: Stream, on: date) -> CityPlan | None:
    """The published plan of a stream and day."""
    row = await tx.first(select(*_SHORT).where(_live(stream, on)))
    return None if row is None else _plan(row)


async def states(tx: Tx, stream: Stream, on: date) -> set[PlanState]:
    """The states of the plans of a stream and day."""
    rows = await tx.all(select(_P.state).where(_P.stream == stream.value, _P.on_day == on).distinct())
    return {PlanState(row.state) for row in rows}


async def held_before(tx: Tx, stream: Stream, on: date) -> CityPlan | None:
    """The plan that held last for a stream on an earlier day, with its routes."""
    earlier = (_P.stream == stream.value) & (_P.on_day < on) & (_P.state == PlanState.PUBLISHED.value)
    row = await tx.first(select(*_WHOLE).where(earlier).order_by(_P.on_day.desc()).limit(1))
    return None if row is None else _plan(row)


async def supersede(tx: WriteTx, stream: Stream, on: date) -> CityPlan | None:
    """Takes the published plan of a stream and day out of the way."""
    row = await _change(tx, _live(stream, on), state=PlanState.SUPERSEDED.value)
    return None if row is None else _plan(row)


async def publish(tx: WriteTx, plan_id: str, *, publication: int, at: datetime) -> CityPlan | None:
    """It holds for its stream and day from now on; None when its state does not allow it."""
    states = [state.value for state in PUBLISHABLE]
    changes = {"state": PlanState.PUBLISHED.value, "publication": publication, "published_at": at, "told": _P.told + 1, "reason": None}
    row = await _change(tx, _P.id == plan_id, _P.state.in_(states), **changes)
    return None if row is None else _plan(row)


async def note_unpublished(tx: WriteTx, plan_id: str, reason: str) -> CityPlan | None:
    """It was to publish itself and could not; None when that is known, or it is not ready any more."""
    row = await _change(tx, _P.id == plan_id, _P.state == PlanState.READY.value, _P.reason.is_distinct_from(reason), reason=reason)
    return None if row is None else _plan(row)


async def withdraw(tx: WriteTx, plan_id: str) -> CityPlan | None:
    """It holds no more; None when it did not."""
    changes = {"state": PlanState.WITHDRAWN.value, "told": _P.told + 1}
    row = await _change(tx, _P.id == plan_id, _P.state == PlanState.PUBLISHED.value, **changes)
    return None if row is None else _plan(row)


async def append(tx: WriteTx, new: PlanVersion) -> None:
    """Adds a row to the journal of publications."""
    row = {
        "id": new.id,
        "happened_at": new.happened_at,
        "recorded_at": new.recorded_at,
        "source": "waste",
        "event_id": new.event_id,
        "corrects": new.corrects,
        "plan_id": new.plan_id,
        "stream": new.stream.value,
        "on_day": new.on,
        "version": new.version,
        "sequence": new.sequence,
        "change": new.change.value,
        "replaces": new.replaces,
        "reasons": list(new.reasons) if new.replaces else None,
        "trucks": new.trucks,
        "stops": new.stops,
        "closures": [[each.place_id, rfc3339(each.starts_at), rfc3339(each.ends_at)] for each in new.closures],
    }
    await tx.run(insert(plan_version).values(row))


async def last_version(tx: Tx, stream: Stream, on: date) -> PlanVersion | None:
    """What was said last of a stream and day."""
    asked = select(plan_version).where(_V.stream == stream.value, _V.on_day == on).order_by(_V.version.desc()).limit(1)
    row = await tx.first(asked)
    return None if row is None else _version(row)


async def versions_of(tx: Tx, plan_id: str) -> list[PlanVersion]:
    """Publications and withdrawals of one plan, oldest first."""
    return [_version(row) for row in await tx.all(select(plan_version).where(_V.plan_id == plan_id).order_by(_V.id))]


async def told_page(tx: Tx, *, plan_id: str | None, after: str, most: int) -> list[PlanVersion]:
    """Rows of the journal of publications in their order, behind `after`."""
    asked = select(plan_version).where(_V.id > after)
    if plan_id is not None:
        asked = asked.where(_V.plan_id == plan_id)
    return [_version(row) for row in await tx.all(asked.order_by(_V.id).limit(most))]


async def held(tx: Tx, on: date) -> list[CityPlan]:
    """The published plans of a day, without problem and routes, by stream."""
    asked = select(*_SHORT).where(_P.on_day == on, _P.state == PlanState.PUBLISHED.value).order_by(_P.stream)
    return [_plan(row) for row in await tx.all(asked)]


async def undrawn(tx: Tx, since: date, *, most: int) -> list[CityPlan]:
    """Published plans of `since` and later that were made on roads, by a version that drew no lines."""
    asked = select(*_WHOLE).where(
        _P.on_day >= since, _P.state == PlanState.PUBLISHED.value, _P.lines.is_(None), _P.graph_version.is_not(None)
    )
    return [_plan(row) for row in await tx.all(asked.order_by(_P.on_day, _P.stream).limit(most))]


async def put_lines(tx: WriteTx, plan_id: str, lines: Lines) -> CityPlan | None:
    """The lines of a plan that had none; None when it has."""
    row = await _change(tx, _P.id == plan_id, _P.lines.is_(None), lines=lines)
    return None if row is None else _plan(row)


async def empty(tx: WriteTx, before: date) -> int:
    """Empties the documents of plans of days before `before` that never held, and takes out of the others where trucks were seen.

    A batch at most; answers how many.

    What the plan came to stays: state, figures, reason. Its version is the same: there is nothing to tell.
    """
    never = _P.emptied_at.is_(None) & _P.publication.is_(None)
    old = select(_P.id).where(never, _P.on_day < before, _P.state.not_in(_OPEN)).order_by(_P.on_day)
    batch = old.limit(SWEEP_LIMIT).with_for_update(skip_locked=True)
    emptied = {
        "problem": _EMPTY_PROBLEM,
        "result": case((_P.result.is_(None), null()), else_=literal(_EMPTY_RESULT, _P.result.type)),
        "lines": None,
        "replan": None,
        "emptied_at": tx.recorded_at,
    }
    return await tx.run(update(plan).where(_P.id.in_(batch), never).values(**emptied)) + await forget_seen(tx, before)


@dataclass(frozen=True, slots=True)
class Stranded:
    """A plan that waits for a job that will not come to it any more."""

    plan_id: str
    job_state: str
    error: str | None


async def stranded(tx: Tx) -> list[Stranded]:
    """Open plans whose jobs have ended, a batch at most."""
    joined = select(_P.id, job.c.state, job.c.error).join_from(plan, job, job.c.id == _P.job_id)
    asked = joined.where(_P.state.in_(_OPEN), job.c.state.in_(_ENDED_JOBS)).order_by(_P.created_at).limit(SWEEP_LIMIT)
    return [Stranded(row.id, row.state, row.error) for row in await tx.all(asked)]


async def changed_since(tx: Tx, since: datetime, *, most: int) -> list[CityPlan]:
    """Plans whose rows changed at `since` or later, without problem and routes, the last changed first."""
    asked = select(*_SHORT).where(_P.updated_at >= since).order_by(_P.updated_at.desc(), _P.id).limit(most)
    return [_plan(row) for row in await tx.all(asked)]


async def put_section(tx: WriteTx, view: PlaceView, *, version: int) -> None:
    """Keeps what is known of an on-street place; one that is no such place (any more) is forgotten."""
    if view.kind != "on_street":
        await tx.run(delete(street_section).where(_S.place_id == view.place_id))
        return
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    row = {
        "place_id": view.place_id,
        "name": view.name,
        "lon": view.lon,
        "lat": view.lat,
        "state": view.state,
        "version": version,
        "updated_at": tx.recorded_at,
    }
    new = make(street_section).values(row)
    changes = {name: new.excluded[name] for name in row if name != "place_id"}
    await tx.run(new.on_conflict_do_update(index_elements=[_S.place_id], set_=changes, where=_S.version <= new.excluded.version))


async def open_sections(tx: Tx) -> list[Section]:
    """On-street parking that takes cars now."""
    rows = await tx.all(select(_S.place_id, _S.lon, _S.lat).where(_S.state == "open").order_by(_S.place_id))
    return [Section(row.place_id, Position(row.lon, row.lat)) for row in rows]


def _live(stream: Stream, on: date) -> ColumnElement[bool]:
    return (_P.stream == stream.value) & (_P.on_day == on) & (_P.state == PlanState.PUBLISHED.value)


async def _change(tx: WriteTx, *conditions: ColumnElement[bool], **values: Any) -> Row[Any] | None:
    changed = {"version": _P.version + 1, "updated_at": tx.recorded_at, **values}
    return await tx.first(update(plan).where(*conditions).values(**changed).returning(*_WHOLE))


def _plan(row: Row[Any]) -> CityPlan:
    figures = None
    if row.trucks is not None:
        figures = Figures(row.trucks, row.stops, row.unserved, row.distance_m, row.duration_s)
    return CityPlan(
        id=row.id,
        stream=Stream(row.stream),
        on=row.on_day,
        state=PlanState(row.state),
        publish=Publish(row.publish),
        job_id=row.job_id,
        seconds=row.seconds,
        graph_version=row.graph_version,
        version=row.version,
        told=row.told,
        created_at=row.created_at,
        updated_at=row.updated_at,
        reason=row.reason,
        figures=figures,
        publication=row.publication,
        published_at=row.published_at,
        problem=getattr(row, "problem", None),
        result=getattr(row, "result", None),
        replaces=row.replaces,
        reasons=tuple(row.reasons or ()),
        replan=getattr(row, "replan", None),
    )


def _version(row: Row[Any]) -> PlanVersion:
    return PlanVersion(
        id=row.id,
        plan_id=row.plan_id,
        stream=Stream(row.stream),
        on=row.on_day,
        version=row.version,
        sequence=row.sequence,
        change=Change(row.change),
        trucks=row.trucks,
        stops=row.stops,
        closures=tuple(Closure(place_id, instant(starts_at), instant(ends_at)) for place_id, starts_at, ends_at in row.closures),
        happened_at=row.happened_at,
        recorded_at=row.recorded_at,
        event_id=row.event_id,
        corrects=row.corrects,
        replaces=row.replaces,
        reasons=tuple(row.reasons or ()),
    )
