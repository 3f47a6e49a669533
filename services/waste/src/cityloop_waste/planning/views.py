"""What planning reads of the events that it follows; other fields are ignored."""

from __future__ import annotations

from pydantic import BaseModel


class PlaceView(BaseModel):
    """Of `parking.place.published.v1`: only on-street places matter to a truck at the kerb."""

    place_id: str
    kind: str
    name: str
    state: str
    lon: float
    lat: float
