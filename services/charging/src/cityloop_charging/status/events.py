"""What the city hears of EVSEs: topic `charging.evse`, full state of one."""

from __future__ import annotations

from datetime import datetime

import orjson
from pydantic import BaseModel

from cityloop_charging.status.domain import Live
from cityloop_common.clock import rfc3339
from cityloop_common.envelope import Event, EventType, Kind

TOPIC = "charging.evse"


class EvseStatusChangedV1(BaseModel):
    """What an EVSE does now. `status` is OCPI's word, `since` the instant from which it is true, `recorded_at` when it was learnt.

    `bay_no` is the bay in front of it, where it has a number.
    """

    evse_uid: str
    location_id: str
    operator_id: str
    status: str
    since: datetime
    recorded_at: datetime
    bay_no: str | None = None


EVSE_STATUS_CHANGED = EventType("charging.evse.status_changed.v1", TOPIC, Kind.STATE, EvseStatusChangedV1)


def status_changed(live: Live, *, source: str) -> Event:
    """The event of an EVSE's present status; the same id and bytes however often it is made.

    The body is written by hand, in the model's order: it is made for every report, and the model costs as much as all else.
    """
    return Event(
        id=live.event_id,
        type=EVSE_STATUS_CHANGED.name,
        topic=TOPIC,
        key=live.entry.report.evse.uid,
        source=source,
        time=live.entry.recorded_at,
        sequence=live.version,
        data=body(live),
    )


def body(live: Live) -> bytes:
    """The event's JSON, which is also what the stream shows."""
    evse = live.entry.report.evse
    told: dict[str, object] = {
        "evse_uid": evse.uid,
        "location_id": evse.location_id,
        "operator_id": evse.operator_id,
        "status": live.status.value,
        "since": rfc3339(live.since),
        "recorded_at": rfc3339(live.entry.recorded_at),
    }
    if evse.bay_no is not None:
        told["bay_no"] = evse.bay_no
    return orjson.dumps(told)
