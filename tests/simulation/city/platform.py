"""The city's own data platform: a subscriber outside the three services that adds up what was tipped."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table
from sqlalchemy.dialects.sqlite import insert

from cityloop_common.consuming import Consumer, On
from cityloop_common.context import Ctx
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event, Kind
from cityloop_waste.ledger import events

NAME = "platform"
metadata = MetaData()
tipped = Table(
    "tipped",
    metadata,
    Column("site_id", String(64), primary_key=True),
    Column("net_kg", Integer, nullable=False),
    Column("events", Integer, nullable=False),
)


class Told(BaseModel):
    """All that the platform reads of a load's event."""

    site_id: str
    net_kg: int


async def _add(tx: WriteTx, ctx: Ctx[Any], event: Event, view: Told) -> None:
    """An effect that a second delivery would show."""
    first = insert(tipped).values(site_id=view.site_id, net_kg=view.net_kg, events=1)
    more = {"net_kg": tipped.c.net_kg + view.net_kg, "events": tipped.c.events + 1}
    await tx.run(first.on_conflict_do_update(index_elements=[tipped.c.site_id], set_=more))


CONSUMER = Consumer("platform-loads", [On(each.name, each.topic, Kind.FACT, Told, _add) for each in events.PUBLISHED])
