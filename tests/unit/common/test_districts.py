"""Districts: which polygon a position lies in, and files that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from cityloop_common.districts import NO_DISTRICTS, BadDistricts, from_settings, read
from cityloop_common.geo import Position
from cityloop_common.settings import Sample, SettingsError, SharedSettings


def _feature(id_: object, west: float, east: float, **more: Any) -> dict[str, Any]:
    ring = [[west, 0.0], [east, 0.0], [east, 1.0], [west, 1.0], [west, 0.0]]
    feature = {"type": "Feature", "properties": {"id": id_, "name": f"名{id_}"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    return {**feature, **more}


def _file(*features: Any) -> bytes:
    return orjson.dumps({"type": "FeatureCollection", "features": list(features)})


def test_a_position_has_one_district_also_on_a_border() -> None:
    """On a shared border the first by id; outside none; NaN is nowhere."""
    two = read(_file(_feature("b", 1, 2), _feature("a", 0, 1)))
    places = [Position(0.5, 0.5), Position(1.5, 0.5), Position(1.0, 0.5), Position(3.0, 0.5), Position(float("nan"), 0.5)]
    assert [two.of(at) for at in places] == ["a", "b", "a", None, None]
    assert [each.id for each in two] == ["a", "b"]
    assert two.get("a") is not None
    assert two.get("gone") is None


def test_the_version_changes_with_the_file() -> None:
    """A figure names the polygons that it was split by."""
    assert read(_file(_feature("a", 0, 1))).version == read(_file(_feature("a", 0, 1))).version
    assert read(_file(_feature("a", 0, 1))).version != read(_file(_feature("a", 0, 2))).version
    assert NO_DISTRICTS.of(Position(0.5, 0.5)) is None


_BOW_TIE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}


@pytest.mark.parametrize(
    "raw, said",
    [
        (b"{", "not JSON"),
        (b"[]", "not a GeoJSON FeatureCollection"),
        (_file(), "with features"),
        (_file({"type": "Feature"}), "feature 1 has no properties"),
        (_file(_feature(7, 0, 1)), "needs the properties id and name"),
        (_file(_feature("", 0, 1)), "needs the properties id and name"),
        (_file(_feature("a", 0, 1), _feature("a", 1, 2)), "the same id"),
        (_file(_feature("a", 0, 1, geometry=None)), "feature 1"),
        (_file(_feature("a", 0, 1, geometry={"type": "Point", "coordinates": [0, 0]})), "is no polygon"),
        (_file(_feature("a", 0, 1, geometry={"type": "Polygon", "coordinates": "x"})), "feature 1"),
        (_file(_feature("a", 0, 1, geometry=_BOW_TIE)), "is not valid"),
        (_file(_feature("a", 400_000, 400_100)), "not in degrees"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(raw: bytes, said: str) -> None:
    """The text names the feature."""
    with pytest.raises(BadDistricts, match=said):
        read(raw)


def test_settings_name_the_variable_of_a_bad_file(tmp_path: Path) -> None:
    """A file that is missing or broken stops the start; without a sample there are none."""
    bad = tmp_path / "districts.geojson"
    with pytest.raises(SettingsError, match="CITYLOOP_DISTRICTS"):
        from_settings(SharedSettings(districts=bad))
    bad.write_bytes(b"{")
    with pytest.raises(SettingsError, match="CITYLOOP_DISTRICTS: not JSON"):
        from_settings(SharedSettings(districts=bad))
    bad.write_bytes(_file(_feature("a", 0, 1)))
    assert [each.id for each in from_settings(SharedSettings(districts=bad))] == ["a"]
    assert len(from_settings(SharedSettings(sample=Sample.OFF))) == 0
    assert len(from_settings(SharedSettings())) > 0
