"""Stations and EVSEs as people see them: what the registry knows, with the live status of each EVSE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cityloop_charging.context import ChargingCtx
from cityloop_charging.registry import store as registry
from cityloop_charging.registry.domain import Current, EvseUid, Lifecycle, Location, UnknownEvse, UnknownLocation
from cityloop_charging.status import store
from cityloop_charging.status.domain import Shown, Status, shown
from cityloop_common.db import Tx
from cityloop_common.geo import Position

PAGE = 200  # stations that are read at a time: others have their turn between two pages


@dataclass(frozen=True, slots=True)
class SeenEvse:
    """One EVSE with its status."""

    uid: EvseUid
    connector_id: str
    bay_no: str | None
    power_w: int
    current: Current
    standard: bool
    shown: Shown


@dataclass(frozen=True, slots=True)
class SeenLocation:
    """One station with its EVSEs; `distance_m` when the question had a place."""

    location: Location
    evses: Sequence[SeenEvse]
    distance_m: int | None = None


async def near(ctx: ChargingCtx, at: Position, *, radius_m: float, most: int) -> tuple[datetime, list[SeenLocation]]:
    """The nearest stations within a radius, and the instant at which that was true."""
    now = ctx.clock.now()
    async with ctx.db.read() as tx:
        found = await registry.near(tx, at, radius_m=radius_m, most=most)
        lives = await _lives(tx, [location for _, location in found])
    return now, [_seen(location, lives, now, distance_m) for distance_m, location in found]


async def page(ctx: ChargingCtx, *, after: str, most: int) -> tuple[datetime, list[SeenLocation]]:
    """Stations in the order of their ids, behind `after`."""
    now = ctx.clock.now()
    async with ctx.db.read() as tx:
        found = await registry.page(tx, after=after, most=most)
        lives = await _lives(tx, found)
    return now, [_seen(location, lives, now) for location in found]


class Everywhere:
    """Reads the whole city. Stations are kept by their versions: only those that are new or otherwise are read again."""

    def __init__(self, ctx: ChargingCtx) -> None:
        self._ctx = ctx
        self._kept: dict[str, Location] = {}

    async def read(self, *, most: int) -> tuple[datetime, list[SeenLocation]]:
        """Stations in the order of their ids, from one snapshot, and the instant at which that was true. One call at a time."""
        now, seen = self._ctx.clock.now(), list[SeenLocation]()
        async with self._ctx.db.read() as tx:
            stations = await self._stations(tx, most)
            for start in range(0, len(stations), PAGE):
                some = stations[start : start + PAGE]
                known = await _lives(tx, some)
                seen += [_seen(location, known, now) for location in some]
        return now, seen

    async def _stations(self, tx: Tx, most: int) -> list[Location]:
        versions = await registry.versions(tx, most=most)
        kept = {of: one for of, version in versions if (one := self._kept.get(of)) is not None and one.version == version}
        others = [of for of, _ in versions if of not in kept]
        for start in range(0, len(others), PAGE):
            kept |= {one.id: one for one in await registry.some(tx, others[start : start + PAGE])}
        self._kept = kept
        return [kept[of] for of, _ in versions]


async def one_location(ctx: ChargingCtx, location_id: str) -> SeenLocation:
    """One station. Raises UnknownLocation."""
    now = ctx.clock.now()
    async with ctx.db.read() as tx:
        found = await registry.get(tx, location_id)
        if found is None:
            raise UnknownLocation
        return _seen(found, await _lives(tx, [found]), now)


async def one_evse(ctx: ChargingCtx, uid: str) -> tuple[str, SeenEvse]:
    """One EVSE, also a removed one, and its station's id. Raises UnknownEvse."""
    now = ctx.clock.now()
    async with ctx.db.read() as tx:
        found = await registry.one_evse(tx, uid)
        if found is None:
            raise UnknownEvse
        live = await store.live(tx, uid)
    status = _shown(None if live is None else (live.status, live.since, live.last_at), found.lifecycle, now)
    seen = SeenEvse(found.uid, found.connector_id, found.bay_no, found.power_w, found.current, found.standard, status)
    return found.location_id, seen


_Known = tuple[Status, datetime, datetime]
"""A status, since when, and the newest report's stamp."""


async def _lives(tx: Tx, locations: Sequence[Location]) -> Mapping[EvseUid, _Known]:
    return await store.statuses_in(tx, [location.id for location in locations]) if locations else {}


def _seen(location: Location, lives: Mapping[EvseUid, _Known], now: datetime, distance_m: int | None = None) -> SeenLocation:
    facts = location.facts
    evses = [
        SeenEvse(
            uid=(uid := facts.uid(each)),
            connector_id=each.connector_id,
            bay_no=each.bay_no,
            power_w=each.power_w,
            current=each.current,
            standard=each.standard,
            shown=_shown(lives.get(uid), each.lifecycle, now),
        )
        for each in sorted(facts.evses, key=lambda each: each.connector_id)
    ]
    return SeenLocation(location, evses, distance_m)


def _shown(known: _Known | None, lifecycle: Lifecycle, now: datetime) -> Shown:
    status, since, last_at = known or (None, None, None)
    return shown(status, since, last_at, lifecycle, now)
