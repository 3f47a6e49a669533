"""What search reads of the events that it follows; other fields are ignored."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class PlaceView(BaseModel):
    """Of `parking.place.published.v1`."""

    place_id: str
    name: str
    name_en: str | None = None
    address: str = ""
    kind: str
    access: str
    state: str
    lon: float
    lat: float
    capacity: dict[str, int]
    charging_stations: int | None = None
    invented: bool = False


class CountView(BaseModel):
    """One category's newest count."""

    category: str
    occupied: int
    capacity: int
    observed_at: datetime
    source: str
    interval_s: int


class CountsView(BaseModel):
    """Of `parking.occupancy.observed.v1`: every category of the place."""

    place_id: str
    counts: list[CountView]
