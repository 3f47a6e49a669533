"""The invented city: streets, districts and named spots around 39.565 N 109.787 E. None of it exists, and it says so."""

from __future__ import annotations

from cityloop_common.geo import Position

CENTRE = Position(109.787, 39.565)


def districts() -> dict[str, object]:
    """The grid of districts as GeoJSON."""
    square = [[109.70, 39.50], [109.87, 39.50], [109.87, 39.63], [109.70, 39.63], [109.70, 39.50]]
    feature = {
        "type": "Feature",
        "properties": {"id": "d1", "name": "一区（虚构）", "name_en": "District 1 (invented)"},
        "geometry": {"type": "Polygon", "coordinates": [square]},
    }
    return {"type": "FeatureCollection", "features": [feature]}
