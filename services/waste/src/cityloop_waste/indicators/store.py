"""The facts of waste's figures, read from the ledger's journals as they were known at an instant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, exists, select, tuple_

from cityloop_common.clock import day_begins
from cityloop_common.db import HotStatement, Tx
from cityloop_common.indicator import Moment
from cityloop_waste.indicators.recycling import CountedEstimate, CountedLoad, Facts
from cityloop_waste.ledger.tables import generation_estimate, load

PAGE = 2_000  # a year has tens of thousands of loads: others have their turn between two pages
_L, _E = load.c, generation_estimate.c
_LOAD = ("chain_id", "version", "on_day", "site_id", "site_kind", "truck_id", "stream", "ticket_no", "net_kg", "district", "void_reason")
_ESTIMATE = ("version", "district", "on_day", "mass_kg", "method")


def _newest(table: Table, columns: Sequence[str]) -> HotStatement:
    """Rows known at the moment that no row known then corrects. A correction may move a load to another day or year."""
    c, later, instant = table.c, table.alias("later"), table.c.happened_at.type
    known = bindparam("known_at", type_=instant)
    corrected = exists(select(later.c.id).where(later.c.corrects == c.id, later.c.recorded_at <= known))
    behind = tuple_(c.happened_at, c.id) > tuple_(bindparam("since", type_=instant), bindparam("after", type_=c.id.type))
    asked = select(c.id, c.happened_at, *(c[name] for name in columns)).where(
        behind, c.happened_at <= bindparam("until", type_=instant), c.recorded_at <= known, ~corrected
    )
    return HotStatement(asked.order_by(c.happened_at, c.id).limit(bindparam("most")))


_NEWEST_LOADS, _NEWEST_ESTIMATES = _newest(load, _LOAD), _newest(generation_estimate, _ESTIMATE)


@dataclass(frozen=True, slots=True)
class _Earlier:
    """Rows of loads that were corrected since, by load; `here` are the loads of which one lies in the span that is read."""

    rows: dict[str, list[str]] = field(default_factory=dict)
    here: set[str] = field(default_factory=set)


async def read_recycling(tx: Tx, moment: Moment) -> Facts:
    """Loads and estimates from the first of January to the moment, each in its newest version known then."""
    earlier_loads = await _earlier_loads(tx, moment)
    earlier_estimates = await _earlier_estimates(tx, moment)
    loads = [_load(row, earlier_loads.rows) async for row in _rows(tx, _NEWEST_LOADS, moment)]
    moved = sorted(earlier_loads.here.difference(each.chain_id for each in loads))
    return Facts(
        loads=loads,
        estimates=[_estimate(row, earlier_estimates) async for row in _rows(tx, _NEWEST_ESTIMATES, moment)],
        moved=[_load(row, earlier_loads.rows) for row in await _newest_of(tx, moved, moment)],
    )


def _since(moment: Moment) -> datetime:
    return day_begins(date(moment.on.year, 1, 1))


async def _rows(tx: Tx, statement: HotStatement, moment: Moment) -> AsyncIterator[Sequence[Any]]:
    asked: dict[str, object] = {"since": _since(moment), "after": "", "until": moment.at, "known_at": moment.known_at, "most": PAGE}
    while True:
        page = await tx.hot.all(statement, asked)
        for row in page:
            yield row
        if len(page) < PAGE:
            return
        asked |= {"after": page[-1][0], "since": page[-1][1]}


def _corrected(table: Table, moment: Moment) -> ColumnElement[bool]:
    """Rows known at the moment that a row known then corrects: few."""
    later = table.alias("later")
    correcting = select(later.c.corrects).where(later.c.corrects.is_not(None), later.c.recorded_at <= moment.known_at)
    return table.c.id.in_(correcting) & (table.c.recorded_at <= moment.known_at)


async def _earlier_loads(tx: Tx, moment: Moment) -> _Earlier:
    found, since = _Earlier(), _since(moment)
    asked = select(_L.id, _L.chain_id, _L.happened_at).where(_corrected(load, moment))
    for row in await tx.all(asked.order_by(_L.chain_id, _L.version)):
        found.rows.setdefault(row.chain_id, []).append(row.id)
        if since <= row.happened_at <= moment.at:
            found.here.add(row.chain_id)
    return found


async def _newest_of(tx: Tx, chain_ids: Sequence[str], moment: Moment) -> list[Sequence[Any]]:
    """The newest known versions of some loads, wherever they lie: few."""
    later = load.alias("later")
    corrected = exists(select(later.c.id).where(later.c.corrects == _L.id, later.c.recorded_at <= moment.known_at))
    asked = select(_L.id, _L.happened_at, *(_L[name] for name in _LOAD)).where(_L.recorded_at <= moment.known_at, ~corrected)
    found: list[Sequence[Any]] = []
    for start in range(0, len(chain_ids), PAGE):
        found += await tx.all(asked.where(_L.chain_id.in_(chain_ids[start : start + PAGE])).order_by(_L.id))
    return found


async def _earlier_estimates(tx: Tx, moment: Moment) -> dict[tuple[str, date], list[str]]:
    found: dict[tuple[str, date], list[str]] = {}
    asked = select(_E.id, _E.district, _E.on_day).where(_corrected(generation_estimate, moment))
    for row in await tx.all(asked.order_by(_E.on_day, _E.district, _E.version)):
        found.setdefault((row.district, row.on_day), []).append(row.id)
    return found


def _load(row: Sequence[Any], earlier: dict[str, list[str]]) -> CountedLoad:
    id_, _, chain_id, version, day, site_id, site_kind, truck_id, stream, ticket_no, net_kg, district, void_reason = row
    evidence = {
        "ticket": ticket_no,
        "site": site_id,
        "site_kind": site_kind,
        "truck": truck_id,
        "stream": stream,
        "net_kg": net_kg,
        "day": _text_of(day),
        "journal": [*earlier.get(chain_id, ()), id_] if version > 1 else [id_],
    }
    return CountedLoad(chain_id, day, stream, site_kind, net_kg, district, evidence, void_reason is not None)


@lru_cache(maxsize=1_000)
def _text_of(day: date) -> str:
    return day.isoformat()


def _estimate(row: Sequence[Any], earlier: dict[tuple[str, date], list[str]]) -> CountedEstimate:
    id_, _, version, district, on_day, mass_kg, method = row
    journal = [*earlier.get((district, on_day), ()), id_] if version > 1 else [id_]
    return CountedEstimate(on_day, district, mass_kg, {"day": on_day.isoformat(), "method": method, "journal": journal})
