"""What waste follows: on-street car parks, which trucks at the kerb are in the way of."""

from __future__ import annotations

from cityloop_common.consuming import Consumer, On
from cityloop_common.envelope import Kind
from cityloop_waste.planning import use_cases as planning
from cityloop_waste.planning.views import PlaceView

SECTIONS = Consumer("waste-sections", (On("parking.place.published.v1", "parking.place", Kind.STATE, PlaceView, planning.apply_place),))
CONSUMERS = (SECTIONS,)
