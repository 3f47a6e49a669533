"""Files of the registry and base maps: a verdict a row with the column, foreign files refused whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.geo import Bounds, Datum
from cityloop_waste.fleet import files as fleet_files
from cityloop_waste.points import files as point_files
from cityloop_waste.points.domain import CollectionPoint
from cityloop_waste.registry import LATEST_S, Hours, hours_text, read_hours
from cityloop_waste.roads import use_cases as roads
from cityloop_waste.roads.domain import InvalidRoads
from cityloop_waste.rows import MOST_BYTES, Accepted, FileTooLarge, Rejected, UnreadableFile

CITY = Bounds(109.0, 38.9, 110.6, 40.0)
POINTS = "id,name,lon,lat,district,windows,kitchen_kg,kitchen_dm3,other_kg\n"
TRUCKS = "id,operator_id,stream,depot,capacity_kg,capacity_dm3,shift\n"
SITES = "id,kind,name,operator_id,lon,lat,streams\n"


def points(rows: str) -> Sequence[Accepted[CollectionPoint] | Rejected]:
    """Verdicts of points in WGS-84."""
    return point_files.read((POINTS + rows).encode(), datum=Datum.WGS84, within=CITY)


def reason(verdict: object) -> str:
    """Why a row was rejected."""
    assert isinstance(verdict, Rejected), verdict
    return verdict.reason


BAD_POINTS = {
    "P1,点,39.565,109.787,,,1,,": "swapped",
    "P1,点,109.787,,,,1,,": "lat is empty",
    "P1,点,nan,39.5,,,1,,": "lon is not a number",
    "P1,点,1e999,39.5,,,1,,": "lon is not a number",
    "P1,点,121.5,25.0,,,1,,": "is not within",
    "P 1,点,109.787,39.565,,,1,,": "id has letters",
    ",点,109.787,39.565,,,1,,": "id is empty",
    "P1,,109.787,39.565,,,1,,": "name is empty",
    "P1,点,109.787,39.565,,,,,": "no stream stands there",
    "P1,点,109.787,39.565,,,-1,,": "kitchen_kg is a whole number",
    "P1,点,109.787,39.565,,,1.5,,": "kitchen_kg is a whole number",
    "P1,点,109.787,39.565,,,999999999999999,,": "kitchen_kg is a whole number",
    "P1,点,109.787,39.565,,,١,,": "kitchen_kg is a whole number",
    "P1,点,109.787,39.565,,09:00-06:00,1,,": "ends before it starts",
    "P1,点,109.787,39.565,,06:00-08:00;07:00-09:00,1,,": "overlap",
    "P1,点,109.787,39.565,,6-9,1,,": "no time of day",
    "P1,点,109.787,39.565,,06:00,1,,": "is not like",
    "P1,点,109.787,39.565": "cells",
    "P1,点,109.787,39.565,,,1,,,,": "cells",
    "P1,a\x00b,109.787,39.565,,,1,,": "printable",
}


@pytest.mark.parametrize("row, why", BAD_POINTS.items())
def test_a_point_that_cannot_be_says_which_column(row: str, why: str) -> None:
    """And the row behind it is read all the same."""
    first, second = points(f"{row}\nP9,点,109.787,39.565,,,1,,\n")
    assert why in reason(first)
    assert isinstance(second, Accepted)


def test_the_same_id_twice_in_a_file() -> None:
    """The first counts."""
    assert reason(points("P1,a,109.787,39.565,,,1,,\nP1,b,109.787,39.565,,,2,,\n")[1]) == "row 1 has the same id"


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", b'"', b"id,name,lon\n", b"\xff\xfe", b'id,name,lon,lat\n"P1,x\n'])
def test_a_foreign_file_is_refused_whole(data: bytes) -> None:
    """Not the format that was named."""
    with pytest.raises(UnreadableFile):
        point_files.read(data, datum=Datum.WGS84, within=CITY)


def test_a_file_is_not_endless() -> None:
    """Bytes and rows have limits."""
    with pytest.raises(FileTooLarge):
        point_files.read(b"x" * (MOST_BYTES + 1), datum=Datum.WGS84, within=CITY)
    with pytest.raises(FileTooLarge):
        points("P\n" * 50_001)


def test_a_spreadsheets_mark_at_the_start_is_no_part_of_the_header() -> None:
    """Files saved as CSV UTF-8 begin with it."""
    data = b"\xef\xbb\xbf" + (POINTS + "P1,点,109.787,39.565,,,1,,\n").encode()
    assert isinstance(point_files.read(data, datum=Datum.WGS84, within=CITY)[0], Accepted)


@pytest.mark.parametrize(
    "row, why",
    [
        ("T1,op,plastic,depot-1,5000,9000,05:00-13:00", "stream is one of"),
        ("T1,op,kitchen,depot-1,0,9000,05:00-13:00", "capacity_kg"),
        ("T1,op,kitchen,depot-1,5000,9000,", "shift is one span"),
        ("T1,op,kitchen,depot-1,5000,9000,05:00-06:00;07:00-08:00", "shift is one span"),
        ("T1,,kitchen,depot-1,5000,9000,05:00-13:00", "operator_id is empty"),
        ("T1,op,kitchen,,5000,9000,05:00-13:00", "depot is empty"),
    ],
)
def test_a_truck_that_cannot_be(row: str, why: str) -> None:
    """A verdict with the column."""
    assert why in reason(fleet_files.read_trucks((TRUCKS + row + "\n").encode())[0])


@pytest.mark.parametrize(
    "row, why",
    [
        ("s,heap,厂,op,109.787,39.565,other", "kind is one of"),
        ("s,landfill,厂,op,109.787,39.565,", "it would take nothing"),
        ("s,landfill,厂,op,109.787,39.565,other;plastic", "streams is one of"),
        ("s,landfill,厂,op,39.565,109.787,other", "swapped"),
    ],
)
def test_a_site_that_cannot_be(row: str, why: str) -> None:
    """A verdict with the column."""
    assert why in reason(fleet_files.read_sites((SITES + row + "\n").encode(), datum=Datum.WGS84, within=CITY)[0])


def road(*coordinates: object, **properties: object) -> dict[str, Any]:
    """A base map of one road."""
    geometry = {"type": "LineString", "coordinates": coordinates}
    feature = {"type": "Feature", "properties": {"name": "路", "speed_kmh": 40, **properties}, "geometry": geometry}
    return {"type": "FeatureCollection", "features": [feature]}


HERE, THERE = [109.78, 39.56], [109.79, 39.56]


@pytest.mark.parametrize(
    "document",
    [
        [], {"features": []}, road([39.56, 109.78], [39.56, 109.79]), road([121.5, 25.0], [121.6, 25.0]), road(HERE),
        road(HERE, THERE, speed_kmh=0), road(HERE, THERE, oneway="yes"), road(HERE, ["a", 1]), road(HERE, [None, None]),
    ],
)  # fmt: skip
def test_a_base_map_that_cannot_be_driven_on_is_refused_whole(document: object) -> None:
    """With the feature and the reason."""
    with pytest.raises(InvalidRoads):
        roads.read(orjson.dumps(document), datum=Datum.WGS84, within=CITY)


def test_a_base_map_keeps_what_roads_are_known_by() -> None:
    """Foreign properties stay out; GCJ-02 is converted; the version follows the content."""
    plain = roads.read(orjson.dumps(road(HERE, THERE, id="r1", secret={"a": 1}, max_mass_kg=None)), datum=Datum.WGS84, within=CITY)
    feature = orjson.loads(plain.geojson)["features"][0]
    assert (feature["properties"], feature["geometry"]["coordinates"]) == ({"id": "r1", "name": "路", "speed_kmh": 40}, [HERE, THERE])
    moved = roads.read(orjson.dumps(road(HERE, THERE)), datum=Datum.GCJ02, within=CITY)
    assert moved.version != plain.version
    assert orjson.loads(moved.geojson)["features"][0]["geometry"]["coordinates"][0] != HERE


@given(st.lists(st.integers(0, LATEST_S // 60), min_size=2, max_size=12, unique=True))
def test_hours_are_read_back_as_they_are_written(minutes: list[int]) -> None:
    """In order and apart, up to two days."""
    pairs = sorted(minutes)
    hours = tuple(Hours(start * 60, end * 60) for start, end in zip(pairs[::2], pairs[1::2], strict=False))
    assert read_hours(hours_text(hours)) == hours
