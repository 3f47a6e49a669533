"""A neighbour service that counts what parking tells of reservations: the kit's consumer, inbox and database, one table."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table
from sqlalchemy.dialects.sqlite import insert

from cityloop_common.consuming import Consumer, On
from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event, Kind
from cityloop_parking.reservations import events

NAME = "neighbour"
GROUP = "neighbour-arrivals"
metadata = MetaData()
arrival = Table("arrival", metadata, Column("reservation_id", String(36), primary_key=True), Column("told", Integer, nullable=False))


class Told(BaseModel):
    """All that the neighbour reads of a reservation's event."""

    reservation_id: str


async def _count(tx: WriteTx, ctx: Ctx[Any], event: Event, view: Told) -> None:
    """One more event of a reservation: an effect that a second delivery would show."""
    first = insert(arrival).values(reservation_id=view.reservation_id, told=1)
    await tx.run(first.on_conflict_do_update(index_elements=[arrival.c.reservation_id], set_={"told": arrival.c.told + 1}))


CONSUMER = Consumer(GROUP, [On(each.name, each.topic, Kind.FACT, Told, _count) for each in events.PUBLISHED])
