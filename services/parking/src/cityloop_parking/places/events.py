"""What the city hears of car parks: topic `parking.place`, full state."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from cityloop_common.envelope import Event, EventType, Kind
from cityloop_parking.places.domain import Category, Place

TOPIC = "parking.place"


class PlacePublishedV1(BaseModel):
    """A car park as its source describes it now.

    Positions are WGS-84. `total_bays` counts every space but those of motorcycles; `charging_stations` and
    `accessible_bays` are what the source says of the bays within the pools.
    """

    place_id: str
    source: str
    source_id: str
    name: str
    name_en: str | None = None
    address: str
    kind: str
    access: str
    state: str
    operator_id: str | None = None
    jurisdiction: str | None = None
    district: str | None = None
    lon: float
    lat: float
    datum: str = "wgs84"
    capacity: dict[str, int]
    total_bays: int
    numbered_bays: int
    ev_bays: int
    charging_stations: int | None = None
    accessible_bays: int | None = None
    tariff_text: str | None = None
    service_hours: str | None = None
    invented: bool
    updated_at: datetime


PLACE_PUBLISHED = EventType("parking.place.published.v1", TOPIC, Kind.STATE, PlacePublishedV1)


def place_published(place: Place, *, source: str) -> Event:
    """The event of a place's present version; the same bytes and id however often it is made."""
    facts = place.facts
    capacity = {str(pool.category): pool.capacity for pool in sorted(facts.pools, key=lambda pool: pool.category)}
    body = PlacePublishedV1(
        place_id=place.id,
        source=facts.source,
        source_id=facts.source_id,
        name=facts.name,
        name_en=facts.name_en,
        address=facts.address,
        kind=facts.kind,
        access=facts.access,
        state=facts.state,
        operator_id=place.operator_id,
        jurisdiction=facts.jurisdiction,
        district=facts.district,
        lon=facts.position.lon,
        lat=facts.position.lat,
        capacity=capacity,
        total_bays=facts.total_bays,
        numbered_bays=0,
        ev_bays=capacity.get(Category.EV, 0),
        charging_stations=facts.charging_stations,
        accessible_bays=facts.accessible_bays,
        tariff_text=facts.tariff_text,
        service_hours=facts.service_hours,
        invented=facts.invented,
        updated_at=place.updated_at,
    )
    return PLACE_PUBLISHED.event(body, id=place.event_id, key=place.id, sequence=place.version, time=place.updated_at, source=source)
