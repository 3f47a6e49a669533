"""Car parks and links as they were: their state at an instant, as it was known at another one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cityloop_charging.bays.domain import Decider, LinkState
from cityloop_charging.bays.tables import link, link_version, place, place_version
from cityloop_charging.registry.history import as_of
from cityloop_common.db import HotStatement, Tx


@dataclass(frozen=True, slots=True)
class PlaceAsOf:
    """A car park as charging had heard of it; `row_id` is the journal row that says so."""

    row_id: str
    place_id: str
    name: str
    access: str
    state: str
    kind: str
    district: str | None
    total_bays: int
    ev_bays: int
    in_city: bool


@dataclass(frozen=True, slots=True)
class LinkAsOf:
    """Where the link of a station stood; `row_id` is the journal row that says so."""

    row_id: str
    location_id: str
    place_id: str
    state: LinkState
    decider: Decider


_PLACE = ("id", "place_id", "name", "access", "state", "kind", "district", "total_bays", "ev_bays", "in_city")
_LINK = ("id", "location_id", "place_id", "state", "decider")
PLACES = HotStatement(as_of(place_version, place_version.c.place_id, place, place.c.id, _PLACE, by="sequence"))
LINKS = HotStatement(as_of(link_version, link_version.c.location_id, link, link.c.location_id, _LINK))


async def places(tx: Tx, at: datetime, known_at: datetime) -> list[PlaceAsOf]:
    """Every car park that there was at `at`, as known at `known_at`, in the order of their ids."""
    return [PlaceAsOf(*row) for row in await tx.hot.all(PLACES, {"at": at, "known_at": known_at})]


async def links(tx: Tx, at: datetime, known_at: datetime) -> list[LinkAsOf]:
    """Where the link of every station stood at `at`, as known at `known_at`, in the order of the stations."""
    return [
        LinkAsOf(row_id, location_id, place_id, LinkState(state), Decider(decider))
        for row_id, location_id, place_id, state, decider in await tx.hot.all(LINKS, {"at": at, "known_at": known_at})
    ]
