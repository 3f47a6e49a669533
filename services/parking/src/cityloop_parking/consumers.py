"""What parking follows: its own events, to keep the search and what may be sold; charging's and waste's, to show what they know."""

from __future__ import annotations

from cityloop_common.consuming import Consumer, On
from cityloop_common.db import WriteTx
from cityloop_common.envelope import Event, Kind
from cityloop_parking.chargers import use_cases as chargers
from cityloop_parking.chargers.views import LocationView, StatusView
from cityloop_parking.closures import use_cases as closures
from cityloop_parking.closures.views import PlanPublishedView, PlanWithdrawnView
from cityloop_parking.context import ParkingCtx
from cityloop_parking.reservations import pools
from cityloop_parking.search import use_cases as search
from cityloop_parking.search.views import CountsView, PlaceView


async def on_location(tx: WriteTx, ctx: ParkingCtx, event: Event, view: LocationView) -> None:
    """Consumes `charging.location.published`: its car park is counted again, and shown."""
    touched = await chargers.learn_location_in(tx, view, version=event.sequence)
    search.show_chargers_at_end(tx, ctx, touched, chargers.hear_at_end(tx, ctx, event.time))


async def on_status(tx: WriteTx, ctx: ParkingCtx, event: Event, view: StatusView) -> None:
    """Consumes `charging.evse.status_changed`: its car park is counted again, and shown."""
    touched = await chargers.learn_status_in(tx, view, version=event.sequence)
    search.show_chargers_at_end(tx, ctx, touched, chargers.hear_at_end(tx, ctx, event.time))


async def on_plan_published(tx: WriteTx, ctx: ParkingCtx, _event: Event, view: PlanPublishedView) -> None:
    """Consumes `waste.plan.published` and `.replanned`: sections of street are closed while a truck collects there."""
    search.show_closures_at_end(tx, ctx, await closures.learn_published_in(tx, view))


async def on_plan_withdrawn(tx: WriteTx, ctx: ParkingCtx, _event: Event, view: PlanWithdrawnView) -> None:
    """Consumes `waste.plan.withdrawn`: nothing is closed for that plan any more."""
    search.show_closures_at_end(tx, ctx, await closures.learn_withdrawn_in(tx, view))


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
CHARGERS = Consumer(
    "parking-chargers",
    (
        On("charging.location.published.v1", "charging.location", Kind.STATE, LocationView, on_location),
        On("charging.evse.status_changed.v1", "charging.evse", Kind.STATE, StatusView, on_status),
    ),
)
CLOSURES = Consumer(
    "parking-closures",
    (
        On("waste.plan.published.v1", "waste.plan", Kind.FACT, PlanPublishedView, on_plan_published),
        On("waste.plan.replanned.v1", "waste.plan", Kind.FACT, PlanPublishedView, on_plan_published),
        On("waste.plan.withdrawn.v1", "waste.plan", Kind.FACT, PlanWithdrawnView, on_plan_withdrawn),
    ),
)
CONSUMERS = (SEARCH, RESERVATIONS, CHARGERS, CLOSURES)
