"""SQL of published figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from cityloop_common.db import Tx, WriteTx
from cityloop_common.indicator.domain import Figure, Status
from cityloop_common.tables import indicator_value

_V = indicator_value.c
# Built once: replicas ask for each figure every second while somebody listens.
_OF_A_DAY = select(indicator_value).where(_V.name == bindparam("name"), _V.scheme == bindparam("scheme"), _V.on_day == bindparam("on_day"))
_NEWEST = _OF_A_DAY.order_by(_V.known_at.desc()).limit(1)
_NEWEST_BY = _OF_A_DAY.where(_V.known_at <= bindparam("known_by")).order_by(_V.known_at.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class District:
    """The part of a figure that lies in one district; "" in none."""

    id: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Published:
    """A figure as it was published."""

    name: str
    scheme: str
    on: date
    known_at: datetime
    formula_version: int
    districts_version: str
    total: Figure
    by_district: Sequence[District]
    event_id: str
    recorded_at: datetime


async def add(tx: WriteTx, new: Published) -> bool:
    """Stores a figure; False when that day as known at that instant is there already."""
    make = postgresql.insert if tx.dialect_name == "postgresql" else sqlite.insert
    values = {
        "name": new.name,
        "scheme": new.scheme,
        "on_day": new.on.isoformat(),
        "known_at": new.known_at,
        "formula_version": new.formula_version,
        "districts_version": new.districts_version,
        "numerator": new.total.numerator,
        "denominator": new.total.denominator,
        "status": str(new.total.status),
        "gap": new.total.gap,
        "by_district": [{"id": each.id, **_plain(each.figure)} for each in new.by_district],
        "event_id": new.event_id,
        "recorded_at": tx.recorded_at,
    }
    return await tx.first(make(indicator_value).values(values).on_conflict_do_nothing().returning(_V.event_id)) is not None


async def newest(tx: Tx, name: str, scheme: str, on: date, *, known_by: datetime | None = None) -> Published | None:
    """What was published last of a day, or at or before an instant."""
    of = {"name": name, "scheme": scheme, "on_day": on.isoformat()}
    row = await (tx.first(_NEWEST, of) if known_by is None else tx.first(_NEWEST_BY, {**of, "known_by": known_by}))
    return None if row is None else _published(row)


async def at(tx: Tx, name: str, scheme: str, on: date, known_at: datetime) -> Published | None:
    """What was published of a day as known at exactly this instant."""
    same = (_V.name == name, _V.scheme == scheme, _V.on_day == on.isoformat(), _V.known_at == known_at)
    row = await tx.first(select(indicator_value).where(*same))
    return None if row is None else _published(row)


async def history(tx: Tx, name: str, scheme: str, first: date, last: date) -> list[Published]:
    """The newest published figure of each day between two, inclusive."""
    mine = (_V.name == name, _V.scheme == scheme, _V.on_day >= first.isoformat(), _V.on_day <= last.isoformat())
    newest_of = select(_V.on_day, func.max(_V.known_at).label("known_at")).where(*mine).group_by(_V.on_day).subquery()
    joined = select(indicator_value).join(newest_of, (_V.on_day == newest_of.c.on_day) & (_V.known_at == newest_of.c.known_at))
    return [_published(row) for row in await tx.all(joined.where(*mine).order_by(_V.on_day))]


async def published_at(tx: Tx, instants: Sequence[datetime]) -> set[tuple[date, datetime, str, str]]:
    """Day, instant, name and scheme of what has been published as known at one of these instants."""
    rows = await tx.all(select(_V.on_day, _V.known_at, _V.name, _V.scheme).where(_V.known_at.in_(instants)))
    return {(date.fromisoformat(row.on_day), row.known_at, row.name, row.scheme) for row in rows}


async def first_day(tx: Tx) -> date | None:
    """The earliest day of which anything has been published."""
    found = await tx.scalar(select(func.min(_V.on_day)))
    return None if found is None else date.fromisoformat(found)


async def page_newest(tx: Tx, *, after: tuple[str, str, str], most: int, only: tuple[str, str, str] | None = None) -> list[Published]:
    """The newest figure of each name, scheme and day, in that order, behind `after`."""
    key = (_V.name, _V.scheme, _V.on_day)
    grouped = select(*key, func.max(_V.known_at).label("known_at")).group_by(*key)
    if only is not None:
        grouped = grouped.where(_V.name == only[0], _V.scheme == only[1], _V.on_day == only[2])
    else:
        behind = (_V.name > after[0]) | ((_V.name == after[0]) & (_V.scheme > after[1]))
        behind |= (_V.name == after[0]) & (_V.scheme == after[1]) & (_V.on_day > after[2])
        grouped = grouped.where(behind)
    page = grouped.order_by(*key).limit(most).subquery()
    same = [column == page.c[column.name] for column in (*key, _V.known_at)]
    joined = select(indicator_value).join(page, same[0] & same[1] & same[2] & same[3])
    return [_published(row) for row in await tx.all(joined.order_by(*key))]


def _plain(figure: Figure) -> dict[str, object]:
    return {"numerator": figure.numerator, "denominator": figure.denominator, "status": str(figure.status), "gap": figure.gap}


def _published(row: Row[Any]) -> Published:
    return Published(
        name=row.name,
        scheme=row.scheme,
        on=date.fromisoformat(row.on_day),
        known_at=row.known_at,
        formula_version=row.formula_version,
        districts_version=row.districts_version,
        total=Figure(row.numerator, row.denominator, Status(row.status), row.gap),
        by_district=[
            District(each["id"], Figure(each["numerator"], each["denominator"], Status(each["status"]), each["gap"]))
            for each in row.by_district
        ],
        event_id=row.event_id,
        recorded_at=row.recorded_at,
    )
