"""Extracts of OpenStreetMap: which ways trucks may use, how, and what becomes of files that are none."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import osmium
import pytest
from osmium.osm.mutable import Node, Relation, Way

from cityloop_common.geo import Bounds, Position
from cityloop_waste.roads import graph, osm, osm_tags
from cityloop_waste.roads.domain import InvalidRoads, Road, read_roads
from cityloop_waste.roads.osm_tags import Direction
from cityloop_waste.roads.use_cases import is_extract, read_extract
from tests.support import REPOSITORY
from tests.unit.waste.streets import at

CITY = Bounds(109.0, 38.9, 110.6, 40.0)
CROSS = {1: (0, 0), 2: (10, 0), 3: (20, 0), 4: (10, 10), 5: (10, -10)}  # a crossroads: west, middle, east, north, south
WEST, EAST, NORTH, SOUTH = ((11, (1, 2)), (12, (2, 3)), (13, (2, 4)), (14, (2, 5)))
Nodes = Mapping[int, tuple[float, float]]


def extract(
    file: Path,
    nodes: Nodes,
    ways: Sequence[tuple[int, Sequence[int], Mapping[str, str]]],
    signs: Sequence[tuple[Mapping[str, str], Sequence[tuple[str, int, str]]]] = (),
    *,
    swapped: bool = False,
) -> Path:
    """Writes an extract; nodes are hundreds of metres from the centre."""
    with osmium.SimpleWriter(str(file), overwrite=True) as writer:
        for number, spot in nodes.items():
            where = at(*spot)
            writer.add_node(Node(id=number, location=(where.lat, where.lon) if swapped else (where.lon, where.lat)))
        for number, of, tags in ways:
            writer.add_way(Way(id=number, nodes=list(of), tags=dict(tags)))
        for number, (tags, members) in enumerate(signs, 1):
            writer.add_relation(Relation(id=number, tags={"type": "restriction", **tags}, members=list(members)))
    return file


def quiet(_done: int, _total: int | None, _note: str) -> None:
    """Nobody hears it."""


def read(file: Path, within: Bounds = CITY) -> list[dict[str, Any]]:
    """Its features."""
    features: list[dict[str, Any]] = osm.read(file, within=within, advance=quiet)["features"]
    return features


def crossroads(file: Path, *signs: tuple[Mapping[str, str], Sequence[tuple[str, int, str]]]) -> tuple[Road, ...]:
    """Four streets that meet, with signs."""
    streets = [(number, of, {"highway": "residential", "maxspeed": "36"}) for number, of in (WEST, EAST, NORTH, SOUTH)]
    return read_roads(osm.read(extract(file, CROSS, streets, signs), within=CITY, advance=quiet))


def seconds(roads: Sequence[Road], origin: int, target: int) -> int | None:
    """From the end of one street of the crossroads to that of another."""
    return graph.travel(roads, [at(*CROSS[origin]), at(*CROSS[target])]).duration_s[0][1]


@pytest.mark.parametrize("highway", sorted(osm_tags.KMH))
def test_each_class_of_the_table_is_driven_at_its_speed(tmp_path: Path, highway: str) -> None:
    """As the document lists them; no sign, no other tag."""
    (only,) = read(extract(tmp_path / "a.osm.pbf", CROSS, [(1, (1, 2, 3), {"highway": highway})]))
    assert (only["properties"]["class"], only["properties"]["speed_kmh"]) == (highway, osm_tags.KMH[highway])
    assert only["properties"]["oneway"] is (highway == "motorway")


def test_the_document_has_the_table_of_classes() -> None:
    """Class and km/h of each, nothing more and nothing less."""
    text = (REPOSITORY / "docs/concepts/roads.md").read_text()
    assert {name: int(kmh) for name, kmh in re.findall(r"`(\w+)` \| (\d+) \|", text)} == osm_tags.KMH


@pytest.mark.parametrize(
    "tags",
    [
        {"highway": "footway"}, {"highway": "cycleway"}, {"highway": "steps"}, {"highway": "construction"}, {"railway": "rail"},
        {"access": "no"}, {"motor_vehicle": "no"}, {"hgv": "no"}, {"access": "yes", "hgv": "no"}, {"vehicle": "forestry"},
        {"area": "yes"}, {"service": "parking_aisle", "highway": "service"}, {"oneway": "reversible"},
    ],
)  # fmt: skip
def test_where_a_truck_may_not_drive_there_is_no_road(tags: Mapping[str, str]) -> None:
    """Not a class of the table, or closed by the most exact tag of access that it has."""
    assert not osm_tags.for_trucks({"highway": "residential", **tags} if "railway" not in tags else tags)


@pytest.mark.parametrize(
    "tags",
    [{}, {"access": "private"}, {"access": "no", "hgv": "delivery"}, {"motor_vehicle": "no", "hgv": "destination"}, {"bicycle": "no"}],
)
def test_where_a_truck_may_drive_there_is_one(tags: Mapping[str, str]) -> None:
    """Yards are private; what is said of trucks counts more than what is said of all."""
    assert osm_tags.for_trucks({"highway": "service", **tags})


@pytest.mark.parametrize(
    "tags, flows",
    [
        ({}, Direction.BOTH), ({"oneway": "no"}, Direction.BOTH), ({"oneway": "yes"}, Direction.ALONG), ({"oneway": "1"}, Direction.ALONG),
        ({"oneway": "-1"}, Direction.AGAINST), ({"junction": "roundabout"}, Direction.ALONG), ({"highway": "motorway"}, Direction.ALONG),
        ({"highway": "motorway", "oneway": "no"}, Direction.BOTH), ({"highway": "motorway_link"}, Direction.BOTH),
    ],
)  # fmt: skip
def test_direction_is_said_or_implied(tags: Mapping[str, str], flows: Direction) -> None:
    """Roundabouts and motorways are one-way without saying it."""
    assert osm_tags.direction({"highway": "primary", **tags}) is flows


@pytest.mark.parametrize(
    "tags, kmh",
    [
        ({"maxspeed": "30"}, 30), ({"maxspeed": "120"}, 80), ({"maxspeed": "20 mph"}, 32), ({"maxspeed": "60;40"}, 60),
        ({"maxspeed": "50", "maxspeed:hgv": "40"}, 40), ({"maxspeed": "CN:urban"}, 50), ({"maxspeed": "walk"}, 7),
        ({"maxspeed": "signals"}, 50), ({"maxspeed": "none"}, 50), ({"maxspeed": "0"}, 50), ({"maxspeed": "fast"}, 50),
    ],
)  # fmt: skip
def test_a_sign_of_speed_counts_as_far_as_a_truck_can(tags: Mapping[str, str], kmh: int) -> None:
    """What cannot be read is no sign."""
    assert osm_tags.speed_kmh({"highway": "primary", **tags}) == kmh


@pytest.mark.parametrize(
    "tags, kg",
    [
        ({"maxweight": "3.5"}, 3500), ({"maxweight": "12 t"}, 12_000), ({"maxweight": "7500 kg"}, 7500), ({"maxweight": "10 st"}, 9072),
        ({"maxweight": "20", "maxweightrating:hgv": "7.5"}, 7500), ({"maxweight": "none"}, None), ({"maxweight": "-3"}, None),
        ({"maxweight": "99999"}, None), ({}, None),
    ],
)  # fmt: skip
def test_a_sign_of_mass_is_in_tonnes_unless_it_says_otherwise(tags: Mapping[str, str], kg: int | None) -> None:
    """The least of several; what cannot be read is no sign."""
    assert osm_tags.max_mass_kg(tags) == kg


@pytest.mark.parametrize(
    "tags, narrow",
    [
        ({"highway": "service"}, True), ({"highway": "residential"}, False), ({"highway": "residential", "lanes": "1"}, True),
        ({"highway": "unclassified", "width": "4.5 m"}, True), ({"highway": "primary", "lanes": "1"}, False),
    ],
)  # fmt: skip
def test_yards_and_lanes_are_narrow(tags: Mapping[str, str], narrow: bool) -> None:
    """A crew crosses them on foot."""
    assert osm_tags.narrow(tags) is narrow


def test_a_way_becomes_a_road(tmp_path: Path) -> None:
    """Names, limit, class; a way whose traffic flows against its vertices is turned round."""
    tags = {"highway": "tertiary", "name": "东街", "name:en": "East Street", "oneway": "-1", "maxweight": "12"}
    (only,) = read(extract(tmp_path / "a.osm.pbf", CROSS, [(7, (1, 2, 3), tags)]))
    assert only["properties"] == {
        "id": "w7", "name": "东街", "name_en": "East Street", "class": "tertiary", "oneway": True, "speed_kmh": 40, "max_mass_kg": 12_000,
    }  # fmt: skip
    (road,) = read_roads({"features": [only]})
    assert (road.id, road.name_en, road.max_mass_kg, road.oneway) == ("w7", "East Street", 12_000, True)
    assert road.line == tuple(Position(*(round(each, 7) for each in at(*CROSS[number]))) for number in (3, 2, 1))


def test_a_banned_turn_is_not_driven(tmp_path: Path) -> None:
    """From the west to the north there is no left turn; on to the next junction and back there would be, but there is none."""
    no_left = {"restriction": "no_left_turn"}, [("w", 11, "from"), ("n", 2, "via"), ("w", 13, "to")]
    free, signed = crossroads(tmp_path / "a.osm.pbf"), crossroads(tmp_path / "b.osm.pbf", no_left)
    assert seconds(free, 1, 4) == pytest.approx(208, abs=1)  # 2,000 m and a left turn
    assert seconds(signed, 1, 4) == pytest.approx(200 + 200 + 20 + 3, abs=2)  # to the east end, round, and right
    assert seconds(signed, 4, 1) == seconds(free, 4, 1)


def test_where_only_one_turn_is_allowed_no_other_is(tmp_path: Path) -> None:
    """From the west only straight on: to the south one turns round in the east; round on the spot is no way either."""
    only = {"restriction": "only_straight_on"}, [("w", 11, "from"), ("n", 2, "via"), ("w", 12, "to")]
    roads = crossroads(tmp_path / "a.osm.pbf", only)
    assert seconds(roads, 1, 3) == pytest.approx(200, abs=1)
    assert seconds(roads, 1, 5) == pytest.approx(200 + 200 + 20 + 8, abs=2)
    assert seconds(roads, 4, 5) == pytest.approx(200, abs=1)


@pytest.mark.parametrize(
    "tags, members",
    [
        ({"restriction": "no_left_turn", "except": "psv;hgv"}, [("w", 11, "from"), ("n", 2, "via"), ("w", 13, "to")]),
        ({"restriction:conditional": "no_left_turn @ (07:00-09:00)"}, [("w", 11, "from"), ("n", 2, "via"), ("w", 13, "to")]),
        ({"restriction": "no_left_turn"}, [("w", 11, "from"), ("w", 12, "via"), ("w", 13, "to")]),
        ({"restriction": "no_left_turn"}, [("w", 11, "from"), ("n", 2, "via")]),
        ({"restriction": "no_left_turn"}, [("w", 11, "from"), ("n", 99, "via"), ("w", 13, "to")]),
        ({"restriction": "no_left_turn"}, [("w", 11, "from"), ("n", 2, "via"), ("w", 99, "to")]),
        ({"restriction": "give_way"}, [("w", 11, "from"), ("n", 2, "via"), ("w", 13, "to")]),
    ],
)
def test_a_sign_that_does_not_hold_for_trucks_forbids_nothing(
    tmp_path: Path, tags: Mapping[str, str], members: Sequence[tuple[str, int, str]]
) -> None:
    """Exceptions, hours, ways in between, members that are not there."""
    assert seconds(crossroads(tmp_path / "a.osm.pbf", (tags, members)), 1, 4) == pytest.approx(208, abs=1)


def test_what_lies_outside_the_city_is_cut_off(tmp_path: Path) -> None:
    """A way that leaves and comes back is two roads; one that only touches is none."""
    nodes = {1: (0, 0), 2: (5, 0), 3: (900, 0), 4: (6, 0), 5: (7, 0), 6: (8, 0), 7: (900, 5)}
    ways = [(1, (1, 2, 3, 4, 5), {"highway": "primary"}), (2, (6, 7), {"highway": "primary"})]
    found = read(extract(tmp_path / "a.osm.pbf", nodes, ways))
    assert [(each["properties"]["id"], len(each["geometry"]["coordinates"])) for each in found] == [("w1", 2), ("w1", 2)]


def test_nodes_that_an_extract_lacks_cut_a_way(tmp_path: Path) -> None:
    """Clipped extracts name nodes that they do not have."""
    found = read(
        extract(tmp_path / "a.osm.pbf", CROSS, [(1, (1, 2, 98, 3, 4), {"highway": "primary"}), (2, (98, 99), {"highway": "road"})])
    )
    assert [len(each["geometry"]["coordinates"]) for each in found] == [2, 2]


def test_progress_tells_both_passes_to_their_end(tmp_path: Path) -> None:
    """Bytes that are read of all that will be: a bar knows how long it takes."""
    file = extract(tmp_path / "a.osm.pbf", CROSS, [(1, (1, 2), {"highway": "primary"})])
    heard: list[tuple[int, int | None, str]] = []
    osm.read(file, within=CITY, advance=lambda *told: heard.append(told))
    size = file.stat().st_size
    assert heard == [(size, 2 * size, "roads"), (2 * size, 2 * size, "nodes")]


def test_an_extract_of_another_place_says_where_it_is(tmp_path: Path) -> None:
    """With the hint when its coordinates are swapped; without a road, or without their nodes, it says that."""
    street = [(1, (1, 2), {"highway": "primary"})]
    with pytest.raises(InvalidRoads, match=r"in the city: 109\.787, 39\.565 as wgs84 is not within 24"):
        read(extract(tmp_path / "a.osm.pbf", CROSS, street), within=Bounds(24, 59, 26, 61))
    with pytest.raises(InvalidRoads, match="longitude and latitude may be swapped"):
        read(extract(tmp_path / "b.osm.pbf", CROSS, street, swapped=True))
    with pytest.raises(InvalidRoads, match="no road that a truck may use"):
        read(extract(tmp_path / "c.osm.pbf", CROSS, [(1, (1, 2), {"highway": "footway"})]))
    with pytest.raises(InvalidRoads, match="it has none of their nodes"):
        read(extract(tmp_path / "d.osm.pbf", CROSS, [(1, (98, 99), {"highway": "primary"})]))


def test_an_extract_is_in_wgs84_and_in_nothing_else(tmp_path: Path) -> None:
    """Story 12: named as GCJ-02 it would be moved by 500 m. It is known by its content, whatever its name."""
    file = extract(tmp_path / "a.osm.pbf", CROSS, [(1, (1, 2), {"highway": "primary"})]).rename(tmp_path / "roads.json")
    assert is_extract(file)
    assert read_extract(file, datum=None, within=CITY, advance=quiet) == read_extract(file, datum="wgs84", within=CITY, advance=quiet)
    with pytest.raises(InvalidRoads, match="in WGS-84, not in gcj02"):
        read_extract(file, datum="gcj02", within=CITY, advance=quiet)


def test_a_file_that_was_cut_off_or_damaged_is_refused(tmp_path: Path) -> None:
    """At every byte: what is missing or changed is told as such, or changes nothing that matters; nothing else is ever raised."""
    whole = extract(tmp_path / "a.osm.pbf", CROSS, [(1, (1, 2), {"highway": "primary", "name": "东街"})]).read_bytes()
    file = tmp_path / "b.osm.pbf"
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(InvalidRoads):
            read(file)
    refused = 0
    for number in range(len(whole)):
        file.write_bytes(whole[:number] + bytes([whole[number] ^ 0x55]) + whole[number + 1 :])
        try:
            read(file)
        except InvalidRoads:
            refused += 1
    assert refused > len(whole) / 2


def test_the_service_does_not_load_the_reader_of_extracts() -> None:
    """Replicas of the API have no use for it: it is loaded where an extract is read."""
    code = "import sys, cityloop_waste.service; print('osmium' in sys.modules, 'scipy' in sys.modules, 'shapely' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert told[:2] == ["False", "False"]
