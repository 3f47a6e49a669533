"""What the city hears of charging stations: topic `charging.location`, full state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from cityloop_charging.registry.domain import EvseFacts, Lifecycle, Location
from cityloop_common.envelope import Event, EventType, Kind
from cityloop_common.geo import Datum

TOPIC = "charging.location"


class EvseV1(BaseModel):
    """One EVSE of a station; `bay_no` is the bay in front of it, `standard` says that it counts as a standard pile."""

    uid: str
    connector_id: str
    bay_no: str | None = None
    power_w: int
    current: str
    standard: bool


class LocationPublishedV1(BaseModel):
    """A charging station as it is known now; the position is WGS-84.

    `place_id` is the car park that it stands in, once a person has confirmed that. `evses` are those in service,
    `planned_evses` those to come; what was removed is in neither.
    """

    location_id: str
    operator_id: str
    name: str
    name_en: str | None = None
    lon: float
    lat: float
    datum: str = Datum.WGS84
    district: str | None = None
    access: str
    place_id: str | None = None
    bay_count: int | None = None
    state: str
    invented: bool
    updated_at: datetime
    evses: list[EvseV1]
    planned_evses: list[EvseV1] | None = None


LOCATION_PUBLISHED = EventType("charging.location.published.v1", TOPIC, Kind.STATE, LocationPublishedV1)


def location_published(location: Location, *, source: str) -> Event:
    """The event of a station's present version; the same bytes and id however often it is made."""
    facts = location.facts
    body = LocationPublishedV1(
        location_id=location.id,
        operator_id=facts.operator_id,
        name=facts.name,
        name_en=facts.name_en,
        lon=facts.position.lon,
        lat=facts.position.lat,
        district=facts.district,
        access=facts.access,
        place_id=location.place_id,
        bay_count=facts.bay_count,
        state=facts.state,
        invented=facts.invented,
        updated_at=location.updated_at,
        evses=_listed(location, Lifecycle.IN_SERVICE),
        planned_evses=_listed(location, Lifecycle.PLANNED) or None,
    )
    return LOCATION_PUBLISHED.event(
        body, id=location.event_id, key=location.id, sequence=location.version, time=location.updated_at, source=source
    )


def _listed(location: Location, lifecycle: Lifecycle) -> list[EvseV1]:
    chosen: Sequence[EvseFacts] = sorted(location.facts.evses, key=lambda each: each.connector_id)
    return [
        EvseV1(
            uid=location.facts.uid(each),
            connector_id=each.connector_id,
            bay_no=each.bay_no,
            power_w=each.power_w,
            current=each.current,
            standard=each.standard,
        )
        for each in chosen
        if each.lifecycle is lifecycle
    ]
