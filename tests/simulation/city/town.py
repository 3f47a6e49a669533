"""The town of the scenario: five car parks, five stations of two operators, four collection points, three trucks, two sites."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import orjson

from cityloop_charging.operators.domain import Profile
from cityloop_charging.registry.domain import Current, EvseFacts, LocationFacts
from cityloop_common.districts import Districts, read
from cityloop_common.geo import Position
from cityloop_parking.places.domain import Category, PlaceFacts, PlaceKind, Pool
from cityloop_waste.fleet.domain import Depot, DepotId, Site, SiteId, SiteKind, Truck, TruckId
from cityloop_waste.points.domain import CollectionPoint, Demand, PointId
from cityloop_waste.registry import Hours
from cityloop_waste.streams import Stream

LOT_OPERATOR = "lot-1"
STANDARD_SPACES = 3
CARELESS, STRICT = "999000001", "999000002"
"""Two charging operators: one numbers everything 0001, the other promises never to use a TimeStamp and Seq twice."""

PROFILES = {CARELESS: Profile(), STRICT: Profile(strict_replay=True)}
LAT = 39.56


def _at(lon: float) -> Position:
    return Position(lon, LAT)


def _place(number: str, lon: float, kind: PlaceKind, ev: int) -> PlaceFacts:
    pools = (Pool(Category.STANDARD, STANDARD_SPACES), *((Pool(Category.EV, ev),) if ev else ()))
    return PlaceFacts(LOT_OPERATOR, number, f"Car park {number}", _at(lon), pools, kind=kind, invented=True)


PLACES: Sequence[PlaceFacts] = (
    _place("G1", 109.780, PlaceKind.GARAGE, 4),
    _place("G2", 109.784, PlaceKind.GARAGE, 1),
    _place("S1", 109.788, PlaceKind.ON_STREET, 2),
    _place("S2", 109.792, PlaceKind.ON_STREET, 0),
    _place("S3", 109.796, PlaceKind.ON_STREET, 0),
)
PLACE_IDS = [str(place.id) for place in PLACES]


def evse(connector_id: str, bay_no: str | None = None) -> EvseFacts:
    """A fast charger, perhaps with a numbered bay in front of it."""
    return EvseFacts(connector_id, 60_000, Current.DC, bay_no=bay_no)


def _station(operator_id: str, station_id: str, lon: float, *evses: EvseFacts) -> LocationFacts:
    return LocationFacts(operator_id, station_id, f"Station {station_id}", _at(lon), evses, invented=True)


STATIONS: Sequence[LocationFacts] = (
    _station(CARELESS, "S001", 109.7801, evse("A101", "1"), evse("A102", "2"), evse("A103")),
    _station(CARELESS, "S002", 109.7841, evse("A201")),
    _station(CARELESS, "S003", 109.7881, evse("A301", "7"), evse("A302", "8")),
    _station(CARELESS, "S004", 109.7700, evse("A401")),
    _station(STRICT, "T001", 109.7802, evse("B101", "2"), evse("B102", "3")),
)
STATION_IDS = [str(station.id) for station in STATIONS]


STOPS = {"P1": 109.7881, "P2": 109.7921, "P3": 109.7961, "P4": 109.7802}
"""Collection points by longitude: three at the kerb of on-street parking, one at a garage."""

DISTRICT_IDS = ("east", "west")
PLANNED_STREAMS = ("kitchen", "recyclable")
LOADS = {
    "recycler-1": (("R1", "recyclable"),),
    "biogas-1": (("K1", "kitchen"), ("K2", "kitchen")),
}
"""Which trucks bring what to which site."""

SITE_OPERATOR = "sites-1"
DEPOT = Depot(DepotId("depot-1"), "Depot", None, _at(109.800))
TRUCKS = tuple(
    Truck(TruckId(id_), "hauler-1", Stream(stream), DEPOT.id, 5_000, 9_000, Hours(begins * 3600, 23 * 3600), district="east")
    for id_, stream, begins in (("K1", "kitchen", 0), ("K2", "kitchen", 9), ("R1", "recyclable", 9))
)
SITES = tuple(
    Site(SiteId(id_), kind, id_, None, SITE_OPERATOR, _at(109.802), None, (Stream(stream),), 300)
    for id_, kind, stream in (("recycler-1", SiteKind.RECYCLER, "recyclable"), ("biogas-1", SiteKind.BIOGAS, "kitchen"))
)
POINTS = tuple(
    CollectionPoint(PointId(id_), id_, None, _at(lon), None, tuple(Demand(Stream(stream), 100, 400, 120) for stream in PLANNED_STREAMS))
    for id_, lon in STOPS.items()
)


def position(lon: float) -> dict[str, float]:
    """A spot on the town's one street as bodies name it."""
    return {"lon": lon, "lat": LAT}


@functools.cache
def districts() -> Districts:
    """Two of them, side by side: the border lies between the two garages."""
    shapes = {"west": (109.70, 109.782), "east": (109.782, 109.90)}
    features = [
        {
            "type": "Feature",
            "properties": {"id": name, "name": name},
            "geometry": {"type": "Polygon", "coordinates": [[[a, 39.5], [b, 39.5], [b, 39.6], [a, 39.6], [a, 39.5]]]},
        }
        for name, (a, b) in shapes.items()
    ]
    return read(orjson.dumps({"type": "FeatureCollection", "features": features}))
