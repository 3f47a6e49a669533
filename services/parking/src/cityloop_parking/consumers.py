"""What parking follows: its own events, to keep the search and what may be sold."""

from __future__ import annotations

from cityloop_common.consuming import Consumer, On
from cityloop_common.envelope import Kind
from cityloop_parking.reservations import pools
from cityloop_parking.search import use_cases as search
from cityloop_parking.search.views import CountsView, PlaceView

SEARCH = Consumer(
    "parking-search",
    (
        On("parking.place.published.v1", "parking.place", Kind.STATE, PlaceView, search.apply_place),
        On("parking.occupancy.observed.v1", "parking.occupancy", Kind.STATE, CountsView, search.apply_counts),
    ),
)
RESERVATIONS = Consumer(
    "parking-reservations",
    (
        On("parking.place.published.v1", "parking.place", Kind.STATE, pools.Happened, pools.on_place),
        On("parking.occupancy.observed.v1", "parking.occupancy", Kind.STATE, pools.Happened, pools.on_counts),
    ),
)
CONSUMERS = (SEARCH, RESERVATIONS)
