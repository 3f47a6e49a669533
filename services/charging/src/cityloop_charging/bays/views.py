"""What the room `bays` reads of the events that it follows; other fields are ignored."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from cityloop_charging.bays.domain import Place
from cityloop_common.geo import Position

Bays = Annotated[int, Field(ge=0, le=10_000_000)]


class PlaceView(BaseModel):
    """Of `parking.place.published.v1`."""

    place_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    name: str
    name_en: str | None = None
    access: str = Field(max_length=20)
    state: str = Field(max_length=20)
    kind: str = Field(max_length=20)
    district: str | None = Field(None, max_length=80)
    lon: float = Field(ge=-180, le=180)
    lat: float = Field(ge=-90, le=90)
    total_bays: Bays
    ev_bays: Bays = 0

    def place(self, *, sequence: int, district: str | None, in_city: bool) -> Place:
        """The car park that this version of it tells of."""
        return Place(
            id=self.place_id,
            name=_short(self.name) or self.place_id,
            name_en=_short(self.name_en or "") or None,
            position=Position(self.lon, self.lat),
            access=self.access,
            state=self.state,
            kind=self.kind,
            district=district,
            total_bays=self.total_bays,
            ev_bays=self.ev_bays,
            sequence=sequence,
            in_city=in_city,
        )


def _short(name: str) -> str:
    """As much of a name as the table holds; PostgreSQL's text has no NUL."""
    return name.replace("\x00", "")[:200].strip()


class Happened(BaseModel):
    """All that this room needs of an event of our own stations is its key: what is true now stands in the tables."""
