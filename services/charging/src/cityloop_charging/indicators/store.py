"""Reads what charging's figures count from the journals of the rooms below, as it was and as it was known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cityloop_charging.bays import history as bays
from cityloop_charging.bays.domain import LinkState
from cityloop_charging.bays.history import LinkAsOf
from cityloop_charging.indicators.domain import EvseFact, Facts, LinkFact, PlaceFact, VehiclesFact
from cityloop_charging.registry import history as registry
from cityloop_charging.registry.domain import LocationState
from cityloop_charging.registry.history import EvseAsOf, LocationAsOf
from cityloop_charging.status import store as status
from cityloop_charging.status.domain import Status
from cityloop_charging.status.store import StatusAt
from cityloop_charging.vehicles import store as vehicles
from cityloop_charging.vehicles.store import CountAsOf
from cityloop_common.db import Tx
from cityloop_common.indicator import Moment


async def of_bays(tx: Tx, moment: Moment) -> Facts:
    """Car parks, and the EVSEs of stations that are confirmed to stand in one."""
    known = await bays.places(tx, moment.at, moment.known_at)
    places = [
        PlaceFact(each.place_id, each.name, each.access, each.state, each.kind, each.district, each.total_bays, each.row_id, each.in_city)
        for each in known
    ]
    links = {each.location_id: each for each in await bays.links(tx, moment.at, moment.known_at) if each.state is LinkState.CONFIRMED}
    return Facts(evses=[_decided(each, links.get(each.location_id)) for each in await _evses(tx, moment)], places=places)


async def of_piles(tx: Tx, moment: Moment) -> Facts:
    """Every EVSE, and the registered vehicles."""
    stock = await vehicles.as_of(tx, moment.at, moment.known_at)
    return Facts(evses=await _evses(tx, moment), vehicles=[_vehicles(each) for each in stock])


async def of_facilities(tx: Tx, moment: Moment) -> Facts:
    """Every EVSE."""
    return Facts(evses=await _evses(tx, moment))


async def _evses(tx: Tx, moment: Moment) -> list[EvseFact]:
    locations = {each.location_id: each for each in await registry.locations(tx, moment.at, moment.known_at)}
    statuses = await status.as_of(tx, at=moment.at, known_at=moment.known_at)
    evses: Iterable[EvseAsOf] = await registry.evses(tx, moment.at, moment.known_at)
    return [_evse(each, locations[each.location_id], statuses.get(each.uid)) for each in evses if each.location_id in locations]


def _evse(evse: EvseAsOf, location: LocationAsOf, known: StatusAt | None) -> EvseFact:
    rows = (evse.row_id, location.row_id) if known is None else (evse.row_id, location.row_id, known.entry_id)
    return EvseFact(
        uid=evse.uid,
        location_id=evse.location_id,
        access=location.access,
        lifecycle=evse.lifecycle,
        standard=evse.standard,
        bay_no=evse.bay_no,
        place_id=location.place_id,
        district=location.district,
        status=Status.UNKNOWN if known is None else known.status,
        open=location.state is LocationState.OPEN,
        rows=rows,
        in_city=location.in_city,
    )


def _decided(evse: EvseFact, link: LinkAsOf | None) -> EvseFact:
    if link is None or link.place_id != evse.place_id:
        return evse
    return replace(evse, link=LinkFact(str(link.decider), link.row_id))


def _vehicles(stock: CountAsOf) -> VehiclesFact:
    count = stock.count
    key = "/".join((str(count.vehicle_class), str(count.drive), "standard" if count.standard else "other", count.district or ""))
    return VehiclesFact(key, count.vehicles, count.standard, count.district, stock.row_id)
