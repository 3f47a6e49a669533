"""SQL of the room `availability`: reads the journal of counts, keeps what is learnt of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import BigInteger, String, Table, and_, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import HotStatement, Tx, UtcDateTime, WriteTx
from cityloop_common.errors import Unavailable
from cityloop_parking import turns
from cityloop_parking.availability.tables import forecast_part, forecast_run, forecast_skip
from cityloop_parking.closures.tables import closure
from cityloop_parking.observations.tables import observation
from cityloop_parking.places.domain import PlaceKind, PlaceState
from cityloop_parking.places.tables import place

TURN = "forecast"
CITY = "city"  # a part of all series together
_R, _P, _S, _O, _C = forecast_run.c, forecast_part.c, forecast_skip.c, observation.c, closure.c


class RunTaken(Unavailable):
    """Another process has this run of the forecaster, or a rebuilt one has taken its place."""

    slug, title = "forecast-run-taken", "Another process makes the forecasts"


@dataclass(frozen=True, slots=True)
class Run:
    """A learning of the journal as it is stored: all recorded minutes before `minute` are in its parts of `version` and below."""

    run: int
    epoch: int
    version: int
    minute: int


class Count(NamedTuple):
    """A row of the journal of counts."""

    recorded_at: datetime
    happened_at: datetime
    place_id: str
    category: str
    id: str
    occupied: int
    capacity: int


class Part(NamedTuple):
    """A piece of what is learnt, valid when the run has reached `version`."""

    model: str
    series: str
    part: str
    slot: int
    version: int
    body: bytes


class Skip(NamedTuple):
    """Recorded minutes of a place, both included, that were not learnt."""

    place_id: str
    since_minute: int
    until_minute: int


def minute_of(at: datetime) -> int:
    """The minute since the epoch that an instant lies in."""
    return int(at.timestamp() // 60)


def minute_begins(minute: int) -> datetime:
    """The first instant of a minute since the epoch."""
    return datetime.fromtimestamp(minute * 60, UTC)


# ---- runs

_RUN = (_R.run, _R.epoch, _R.version, _R.minute)


async def current_run(tx: Tx) -> Run | None:
    """The run that answers come from."""
    row = await tx.first(select(*_RUN).where(_R.state == "current"))
    return None if row is None else Run(*tuple(row))


async def begin_run(tx: WriteTx, *, minute: int) -> Run:
    """A new run that has learnt nothing, beside the current one."""
    await turns.take(tx, TURN)
    newest = await tx.scalar(select(func.max(_R.run)))
    run = Run((newest or 0) + 1, 1, 0, minute)
    row = {"run": run.run, "state": "building", "epoch": run.epoch, "version": run.version, "minute": run.minute}
    await tx.run(insert(forecast_run).values(updated_at=tx.recorded_at, **row))
    return run


async def take_run(tx: WriteTx, run: Run) -> Run:
    """Makes this process the only one that writes to a run. Raises RunTaken when the run is gone."""
    taken = update(forecast_run).where(_R.run == run.run).values(epoch=_R.epoch + 1, updated_at=tx.recorded_at).returning(*_RUN)
    row = await tx.first(taken)
    if row is None:
        raise RunTaken
    return Run(*tuple(row))


async def hold_run(tx: WriteTx, run: Run) -> None:
    """Locks a run until the end of the unit. Raises RunTaken when another process has it."""
    if not await tx.run(update(forecast_run).where(_R.run == run.run, _R.epoch == run.epoch).values(epoch=_R.epoch)):
        raise RunTaken


async def move_run(tx: WriteTx, run: Run, *, version: int, minute: int) -> None:
    """Makes the parts of a version valid, and with them the minutes that they hold. Raises RunTaken."""
    mine = and_(_R.run == run.run, _R.epoch == run.epoch, _R.version == run.version)
    if not await tx.run(update(forecast_run).where(mine).values(version=version, minute=minute, updated_at=tx.recorded_at)):
        raise RunTaken


async def make_current(tx: WriteTx, run: Run) -> bool:
    """Lets answers come from this run; False while the current one has learnt minutes that this one has not.

    The current run is locked first: a forecaster that is storing more of it has done so, or finds it gone. Raises RunTaken.
    """
    await turns.take(tx, TURN)
    others = await tx.all(select(_R.run, _R.minute).where(_R.state == "current", _R.run != run.run).with_for_update())
    if any(other.minute > run.minute for other in others):
        return False
    await tx.run(delete(forecast_run).where(_R.run.in_([other.run for other in others])))
    await hold_run(tx, run)
    await tx.run(update(forecast_run).where(_R.run == run.run).values(state="current"))
    return True


async def drop_building(tx: WriteTx, *, untouched_for: timedelta = timedelta(0)) -> int:
    """Gives up rebuilds that did not come to their end, and have stored nothing for a time; answers how many."""
    return await tx.run(delete(forecast_run).where(_R.state == "building", _R.updated_at <= tx.recorded_at - untouched_for))


async def drop_leftovers(tx: WriteTx, *, most: int) -> int:
    """Removes parts of a run that is no more, some at a time; answers how many: 0 when there is none left."""
    run = await tx.scalar(select(func.min(_P.run)))
    while run is not None and await tx.scalar(select(func.count()).select_from(forecast_run).where(_R.run == run)):
        run = await tx.scalar(select(func.min(_P.run)).where(_P.run > run))  # along the key: nothing is read of the runs that live
    if run is None:
        return 0
    keys = (_P.run, _P.model, _P.series, _P.part, _P.slot)
    gone = select(*keys).where(_P.run == run, _P.run.not_in(select(_R.run))).limit(most)
    return await tx.run(delete(forecast_part).where(tuple_(*keys).in_(gone)))


# ---- parts

_PART = (_P.model, _P.series, _P.part, _P.slot, _P.version, _P.body)


def _put(dialect: str, table: Table, *changed: str) -> HotStatement:
    """Writes rows; one with the same key takes over the columns that have `changed`."""
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(table).values({column.name: bindparam(column.name, type_=column.type) for column in table.columns})
    changes = {name: statement.excluded[name] for name in changed}
    return HotStatement(statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes))


_DIALECTS = ("sqlite", "postgresql")
_PUT = {dialect: _put(dialect, forecast_part, "version", "body") for dialect in _DIALECTS}
_SKIP = {dialect: _put(dialect, forecast_skip, "until_minute") for dialect in _DIALECTS}


async def put_parts(tx: WriteTx, run: Run, parts: Sequence[Part]) -> None:
    """Writes parts of a version that is not valid yet, in a unit that holds the run."""
    await tx.hot.many(_PUT[tx.dialect_name], [{"run": run.run, **part._asdict()} for part in parts])


async def page_parts(tx: Tx, run: Run, *, after: tuple[str, str, str, int], most: int) -> list[Part]:
    """Parts of a run behind `after`, in the order of model, series, part and slot, those of a version not valid yet among them."""
    key = tuple_(_P.model, _P.series, _P.part, _P.slot)
    asked = select(*_PART).where(_P.run == run.run, key > after)
    rows = await tx.all(asked.order_by(_P.model, _P.series, _P.part, _P.slot).limit(most))
    return [Part._make(row) for row in rows]


async def drop_parts(tx: WriteTx, run: Run, parts: Sequence[Part]) -> None:
    """Removes parts, as many as a page has, in a unit that holds the run."""
    keys = [part[:4] for part in parts]
    await tx.run(delete(forecast_part).where(_P.run == run.run, tuple_(_P.model, _P.series, _P.part, _P.slot).in_(keys)))


async def parts_of(tx: Tx, run: Run, model: str, series: Collection[str], *, after: int) -> list[Part]:
    """Valid parts of some series of a model that were stored after a version."""
    of_series = and_(_P.run == run.run, _P.model == model, _P.series.in_(sorted(series)))
    rows = await tx.all(select(*_PART).where(of_series, _P.version > after, _P.version <= run.version))
    return newest(Part._make(row) for row in rows)


def newest(parts: Iterable[Part]) -> list[Part]:
    """Of the two slots of each part the one of the greater version."""
    found: dict[tuple[str, str, str], Part] = {}
    for part in parts:
        key = (part.model, part.series, part.part)
        if key not in found or found[key].version < part.version:
            found[key] = part
    return list(found.values())


# ---- the journal

_ROW = (_O.recorded_at, _O.happened_at, _O.place_id, _O.category, _O.id)
_JOURNAL = HotStatement(
    select(*_ROW, _O.occupied, _O.capacity)
    .where(
        _O.recorded_at >= bindparam("recorded_at", type_=UtcDateTime()),
        _O.recorded_at < bindparam("until", type_=UtcDateTime()),
        tuple_(*_ROW)
        > tuple_(
            bindparam("recorded_at", type_=UtcDateTime()),
            bindparam("happened_at", type_=UtcDateTime()),
            bindparam("place_id", type_=String()),
            bindparam("category", type_=String()),
            bindparam("id", type_=String()),
        ),
    )
    .order_by(*_ROW)
    .limit(bindparam("most", type_=BigInteger()))
)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def before_minute(minute: int) -> Count:
    """What stands in the journal's order before every row of a recorded minute."""
    return Count(minute_begins(minute), _LONG_AGO, "", "", "", 0, 0)


async def page_counts(tx: Tx, *, after: Count, until: datetime, most: int) -> list[Count]:
    """Rows recorded before an instant and behind `after`: by when they were recorded, then by when they happened."""
    params = {**after._asdict(), "until": until, "most": most}
    return [Count._make(row) for row in await tx.hot.all(_JOURNAL, params)]


async def first_minute(tx: Tx) -> int | None:
    """The minute in which the first count was recorded."""
    first = await tx.scalar(select(func.min(_O.recorded_at)))
    return None if first is None else minute_of(first)


# ---- places that take nobody


async def windows(tx: Tx, *, ending_after: datetime) -> list[tuple[str, datetime, datetime]]:
    """Windows in which collection closes a section of street: place, begin, end."""
    on_street = select(_C.place_id, _C.starts_at, _C.ends_at).join_from(closure, place, place.c.id == _C.place_id)
    rows = await tx.all(on_street.where(place.c.kind == PlaceKind.ON_STREET.value, _C.ends_at > ending_after))
    return [(row.place_id, row.starts_at, row.ends_at) for row in rows]


async def closed_since(tx: Tx) -> dict[str, datetime]:
    """Places that are closed, with the instant of their newest version."""
    rows = await tx.all(select(place.c.id, place.c.updated_at).where(place.c.state == PlaceState.CLOSED.value))
    return {row.id: row.updated_at for row in rows}


async def skips(tx: Tx) -> list[Skip]:
    """Every stretch that was not learnt."""
    return [Skip._make(row) for row in await tx.all(select(_S.place_id, _S.since_minute, _S.until_minute))]


async def put_skips(tx: WriteTx, found: Sequence[Skip]) -> None:
    """Notes stretches that were not learnt; one that has grown takes the place of what it was."""
    await tx.hot.many(_SKIP[tx.dialect_name], [each._asdict() for each in found])
