"""What charging follows: parking's car parks, and its own stations, to know which stand where."""

from __future__ import annotations

from cityloop_charging.bays import use_cases as bays
from cityloop_charging.bays.views import Happened, PlaceView
from cityloop_common.consuming import Consumer, On
from cityloop_common.envelope import Kind

BAYS = Consumer(
    "charging-bays",
    (
        On("parking.place.published.v1", "parking.place", Kind.STATE, PlaceView, bays.on_place),
        On("charging.location.published.v1", "charging.location", Kind.STATE, Happened, bays.on_location),
    ),
)
CONSUMERS = (BAYS,)
