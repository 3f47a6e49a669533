"""The invented city: streets, districts and named spots around 39.565 N 109.787 E. None of it exists, and it says so.

The samples of all services stand on it, so that what one publishes fits what another has. The same in every process,
on every machine: nothing here draws from the machine's chance or reads a file.
"""

from __future__ import annotations

from cityloop_common.invented.areas import districts
from cityloop_common.invented.charging import stations
from cityloop_common.invented.collecting import collection_points, depot, sites
from cityloop_common.invented.parking import car_parks
from cityloop_common.invented.roads import streets
from cityloop_common.invented.shapes import CENTRE, Spot, SpotKind, Street

__all__ = [
    "CENTRE",
    "Spot",
    "SpotKind",
    "Street",
    "base_map",
    "car_parks",
    "collection_points",
    "depot",
    "districts",
    "sites",
    "stations",
    "streets",
]


def base_map() -> dict[str, object]:
    """The streets as a GeoJSON FeatureCollection of LineStrings, one a piece from crossing to crossing."""
    return {"type": "FeatureCollection", "features": [_feature(street) for street in streets()]}


def _feature(street: Street) -> dict[str, object]:
    return {
        "type": "Feature",
        "properties": {
            "id": street.id,
            "name": street.name,
            "name_en": street.name_en,
            "oneway": street.oneway,
            "speed_kmh": street.speed_kmh,
            "max_mass_kg": street.max_mass_kg,
            "invented": True,
        },
        "geometry": {"type": "LineString", "coordinates": [list(at) for at in street.line]},
    }
