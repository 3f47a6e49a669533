"""Three bugs between services, to be found: each takes away one rule by which a service takes in what it hears."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from sqlalchemy import bindparam
from sqlalchemy.dialects import sqlite

from cityloop_charging.bays import store as bays
from cityloop_charging.bays.tables import place
from cityloop_charging.consumers import BAYS
from cityloop_charging.context import ChargingCtx
from cityloop_charging.status import use_cases as status
from cityloop_charging.status.domain import Outcome, Report
from cityloop_common import consuming
from cityloop_common.consuming import Consumer
from cityloop_common.context import Ctx
from cityloop_common.db import HotStatement, WriteTx
from cityloop_parking.closures import use_cases as closures
from tests.simulation.node import NODE

_fresh, _record = consuming._fresh, status.record_in
_columns: dict[str, Any] = {column.name: bindparam(column.name) for column in place.columns}
_insert = sqlite.insert(place).values(_columns)
_PUT_ANYWAY = HotStatement(
    _insert.on_conflict_do_update(
        index_elements=[place.c.id], set_={name: _insert.excluded[name] for name in _columns if name != "id"}
    ).returning(place.c.id)
)


async def _everything(tx: WriteTx, ctx: Ctx[Any], consumer: Consumer, taken: Sequence[Any]) -> Sequence[Any]:
    new = await _fresh(tx, ctx, consumer, taken)
    return taken if consumer.name == BAYS.name else new


@contextmanager
def older_place_wins() -> Iterator[None]:
    """Charging takes whatever it hears last of a car park, whichever version that is."""
    with mock.patch.object(consuming, "_fresh", _everything), mock.patch.dict(bays._PUT_PLACE, {"sqlite": _PUT_ANYWAY}):
        yield


@contextmanager
def later_plan_wins() -> Iterator[None]:
    """Parking closes what the plan says that it hears last, whatever the plan's number on its day."""
    with mock.patch.object(closures, "supersedes", return_value=True):
        yield


async def _record_apart(tx: WriteTx, ctx: ChargingCtx, reports: Sequence[Report]) -> list[Outcome]:
    async def record() -> None:
        async with ctx.db.write() as own:
            await _record(own, ctx, reports)

    tx.after_commit(lambda: NODE.get().spawn(record(), "record"))
    return []


@contextmanager
def guard_apart() -> Iterator[None]:
    """T/CEC's replay guard is stored before what it guards."""
    with mock.patch.object(status, "record_in", _record_apart):
        yield


BUGS: Mapping[str, Callable[[], Any]] = {
    "older-place-wins": older_place_wins,
    "later-plan-wins": later_plan_wins,
    "guard-apart": guard_apart,
}
