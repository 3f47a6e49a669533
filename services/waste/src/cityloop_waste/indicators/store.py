"""The facts of waste's figures, read from the ledger's journals as they were known at an instant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, exists, select

from cityloop_common.clock import city_day, day_begins
from cityloop_common.db import Tx
from cityloop_common.indicator import Moment
from cityloop_waste.fleet.domain import SiteKind
from cityloop_waste.indicators.recycling import CountedEstimate, CountedLoad, Facts
from cityloop_waste.ledger.tables import generation_estimate, load
from cityloop_waste.streams import Stream

_L, _E = load.c, generation_estimate.c


async def read_recycling(tx: Tx, moment: Moment) -> Facts:
    """Loads and estimates from the first of January to the moment, each in its newest version known then."""
    first = day_begins(date(moment.on.year, 1, 1))
    loads = await tx.all(_newest(load, moment).where(_L.happened_at.between(first, moment.at)).order_by(_L.id))
    estimates = await tx.all(_newest(generation_estimate, moment).where(_E.happened_at.between(first, moment.at)).order_by(_E.id))
    earlier_loads = await _earlier_loads(tx, moment)
    earlier_estimates = await _earlier_estimates(tx, moment)
    return Facts(
        loads=[_load(row, [*earlier_loads.get(row.chain_id, []), row.id] if row.version > 1 else [row.id]) for row in loads],
        estimates=[
            _estimate(row, [*earlier_estimates.get((row.district, row.on_day), []), row.id] if row.version > 1 else [row.id])
            for row in estimates
        ],
    )


def _newest(table: Table, moment: Moment) -> Any:
    """Rows known at the moment that no row known then corrects. A correction may move a load to another day or year."""
    later = table.alias("later")
    corrected = exists(select(later.c.id).where(later.c.corrects == table.c.id, later.c.recorded_at <= moment.known_at))
    return select(table).where(table.c.recorded_at <= moment.known_at, ~corrected)


def _corrected(table: Table, moment: Moment) -> ColumnElement[bool]:
    """Rows known at the moment that a row known then corrects: few."""
    later = table.alias("later")
    correcting = select(later.c.corrects).where(later.c.corrects.is_not(None), later.c.recorded_at <= moment.known_at)
    return table.c.id.in_(correcting) & (table.c.recorded_at <= moment.known_at)


async def _earlier_loads(tx: Tx, moment: Moment) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in await tx.all(select(_L.id, _L.chain_id).where(_corrected(load, moment)).order_by(_L.chain_id, _L.version)):
        found.setdefault(row.chain_id, []).append(row.id)
    return found


async def _earlier_estimates(tx: Tx, moment: Moment) -> dict[tuple[str, date], list[str]]:
    found: dict[tuple[str, date], list[str]] = {}
    asked = (
        select(_E.id, _E.district, _E.on_day).where(_corrected(generation_estimate, moment)).order_by(_E.on_day, _E.district, _E.version)
    )
    for row in await tx.all(asked):
        found.setdefault((row.district, row.on_day), []).append(row.id)
    return found


def _load(row: Row[Any], versions: Sequence[str]) -> CountedLoad:
    return CountedLoad(
        chain_id=row.chain_id,
        day=city_day(row.happened_at),
        site_id=row.site_id,
        site_kind=SiteKind(row.site_kind),
        truck_id=row.truck_id,
        stream=Stream(row.stream),
        ticket_no=row.ticket_no,
        net_kg=row.net_kg,
        district=row.district,
        versions=tuple(versions),
    )


def _estimate(row: Row[Any], versions: Sequence[str]) -> CountedEstimate:
    return CountedEstimate(row.on_day, row.district, row.mass_kg, row.method, tuple(versions))
