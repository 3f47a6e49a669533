"""The districts of the invented city: 4 x 3 rectangles that cover it without overlap."""

from __future__ import annotations

from cityloop_common.invented.shapes import MARK, MARK_EN

# Seven decimals, positions have six: no position lies on a border.
_WEST_TO_EAST = (109.7420005, 109.7730505, 109.7865505, 109.7993405, 109.8270005)
_SOUTH_TO_NORTH = (39.5420005, 39.5593805, 39.5712505, 39.5900005)
_NAMES = (  # from the south-west corner, row by row
    ("柳林片区", "Willow Grove"),
    ("南苑片区", "South Garden"),
    ("驼铃片区", "Camel Bell"),
    ("循环产业片区", "Closed Loop Park"),
    ("水上公园片区", "Water Park"),
    ("老街片区", "Old Street"),
    ("母亲公园片区", "Mother Park"),
    ("文化产业片区", "Culture Park"),
    ("银杏片区", "Ginkgo"),
    ("体育中心片区", "Sports Centre"),
    ("书院片区", "Academy"),
    ("北山片区", "North Hill"),
)


def districts() -> dict[str, object]:
    """The districts as a GeoJSON FeatureCollection of polygons with the properties `id`, `name`, `name_en`."""
    columns = len(_WEST_TO_EAST) - 1
    features = [_feature(number, *divmod(number, columns), name, name_en) for number, (name, name_en) in enumerate(_NAMES)]
    return {"type": "FeatureCollection", "features": features}


def _feature(number: int, row: int, column: int, name: str, name_en: str) -> dict[str, object]:
    west, east = _WEST_TO_EAST[column : column + 2]
    south, north = _SOUTH_TO_NORTH[row : row + 2]
    around = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "properties": {"id": f"d{number + 1:02d}", "name": name + MARK, "name_en": name_en + MARK_EN, "invented": True},
        "geometry": {"type": "Polygon", "coordinates": [around]},
    }
