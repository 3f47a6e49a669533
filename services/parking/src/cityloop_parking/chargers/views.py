"""What parking reads of charging's events; other fields are ignored."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, StringConstraints

from cityloop_parking.chargers.domain import Status
from cityloop_parking.places.domain import ID_PATTERN

Id = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,120}$")]
PlaceId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
_KNOWN = frozenset(Status)


def _bay_no(value: object) -> object:
    """A bay's number as one text for all who write it: `Ａ－12`, ` a-12` and `A-12` are one bay; blanks are no number."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return ("".join(unicodedata.normalize("NFKC", text).casefold().split()) or None) if isinstance(text, str) else text


def _status(value: object) -> object:
    """A status that OCPI has not named yet says nothing that could be counted."""
    return value if not isinstance(value, str) or value in _KNOWN else Status.UNKNOWN


class EvseView(BaseModel):
    """One EVSE of a location."""

    uid: Id
    bay_no: Annotated[str | None, StringConstraints(max_length=200), BeforeValidator(_bay_no)] = None


class LocationView(BaseModel):
    """Of `charging.location.published.v1`: `place_id` only where charging has confirmed that it stands there."""

    location_id: Id
    place_id: PlaceId | None = None
    state: str
    evses: list[EvseView]


class StatusView(BaseModel):
    """Of `charging.evse.status_changed.v1`."""

    evse_uid: Id
    location_id: Id
    status: Annotated[Status, BeforeValidator(_status)]
    since: AwareDatetime | None = None
