"""What the city hears of loads: topic `waste.load`, facts in any order; the key is the load as it was first weighed."""

from __future__ import annotations

from typing import TypeVar

from pydantic import AwareDatetime, BaseModel

from cityloop_common.envelope import Event, EventType, Kind
from cityloop_waste.ledger.domain import Load

M = TypeVar("M", bound=BaseModel)
TOPIC = "waste.load"


class LoadWeighedV1(BaseModel):
    """A load was weighed at a site. `chain_id` is the same for all versions of a load, `net_kg` what was tipped.

    `flags` say what is odd about it (`stream-differs`: the truck is dedicated to another stream); it counts all the same.
    """

    load_id: str
    chain_id: str
    version: int
    site_id: str
    site_kind: str
    truck_id: str
    stream: str
    ticket_no: str
    gross_kg: int
    tare_kg: int
    net_kg: int
    weighed_at: AwareDatetime
    district: str | None = None
    flags: list[str]


class LoadCorrectedV1(LoadWeighedV1):
    """A load was told of anew: this version replaces the one that it corrects.

    `void`: the load was taken back; it counts for nothing, whatever else this says of it.
    """

    corrects: str
    void: bool | None = None


LOAD_WEIGHED = EventType("waste.load.weighed.v1", TOPIC, Kind.FACT, LoadWeighedV1)
LOAD_CORRECTED = EventType("waste.load.corrected.v1", TOPIC, Kind.FACT, LoadCorrectedV1)
PUBLISHED = (LOAD_WEIGHED, LOAD_CORRECTED)


def load_told(load: Load, *, source: str) -> Event:
    """The event of a version of a load; the same id and bytes however often it is made."""
    ticket = load.ticket
    body: dict[str, object] = {
        "load_id": load.id,
        "chain_id": load.chain_id,
        "version": load.version,
        "site_id": ticket.site_id,
        "site_kind": load.site_kind.value,
        "truck_id": ticket.truck_id,
        "stream": ticket.stream.value,
        "ticket_no": ticket.ticket_no,
        "gross_kg": ticket.gross_kg,
        "tare_kg": ticket.tare_kg,
        "net_kg": ticket.net_kg,
        "weighed_at": ticket.weighed_at,
        "district": load.district,
        "flags": [each.value for each in load.flags],
    }
    if ticket.corrects is None:
        return _event(LOAD_WEIGHED, LoadWeighedV1.model_validate(body), load, source)
    correction = {**body, "corrects": ticket.corrects, "void": True if load.void else None}
    return _event(LOAD_CORRECTED, LoadCorrectedV1.model_validate(correction), load, source)


def _event(event_type: EventType[M], body: M, load: Load, source: str) -> Event:
    return event_type.event(body, id=load.event_id, key=load.chain_id, sequence=load.version, time=load.recorded_at, source=source)
