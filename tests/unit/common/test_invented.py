"""The invented city keeps what the samples of the three services build on."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import combinations, pairwise
from typing import Any

import orjson
import pytest
from shapely import union_all
from shapely.geometry import LineString, Point, shape

from cityloop_common import districts, invented
from cityloop_common.geo import Bounds, Position, distance_m
from cityloop_common.invented import Spot, SpotKind, Street
from tests.support import REPOSITORY

CITY = Bounds(109.0, 38.9, 110.6, 40.0)  # CITYLOOP_CITY_BOUNDS by default
TRUCK_KG = 18_000
FINGERPRINT = "9a4ad63d2dd0b877a111595bbbb4e3b10cb3b47fe4989834fd51ff400cc544ea"
KNOWN = (  # the twelve car parks that parking's sample had before the city had streets
    ("文化广场停车场（虚构）", "Culture Square (invented)", 109.7871, 39.5652, False),
    ("母亲公园地下车库（虚构）", "Mother Park Garage (invented)", 109.7936, 39.5618, False),
    ("可汗街路侧泊位（虚构）", "Khan Street kerbside (invented)", 109.7845, 39.5671, True),
    ("体育中心停车楼（虚构）", "Sports Centre Deck (invented)", 109.7768, 39.5704, False),
    ("人民医院停车场（虚构）", "People's Hospital (invented)", 109.7902, 39.5697, False),
    ("行政中心停车场（虚构）", "Civic Centre (invented)", 109.7813, 39.5589, False),
    ("火车站停车场（虚构）", "Railway Station (invented)", 109.8042, 39.5551, False),
    ("通格朗街路侧泊位（虚构）", "Tonggelang Street kerbside (invented)", 109.7889, 39.5633, True),
    ("水上公园停车场（虚构）", "Water Park (invented)", 109.7721, 39.5622, False),
    ("商业步行街地下车库（虚构）", "Pedestrian Mall Garage (invented)", 109.7858, 39.5644, False),
    ("第一中学路侧泊位（虚构）", "No. 1 School kerbside (invented)", 109.7927, 39.5733, True),
    ("蒙古源流文化产业园（虚构）", "Culture Park Gate (invented)", 109.8127, 39.5689, False),
)
STREETS = {street.id: street for street in invented.streets()}
PARKS = {park.number: park for park in invented.car_parks()}

Graph = Mapping[Position, set[Position]]


def spots() -> tuple[Spot, ...]:
    """Every spot of the city."""
    return (*invented.car_parks(), *invented.stations(), *invented.collection_points(), invented.depot(), *invented.sites())


def graph(streets: Iterable[Street]) -> Graph:
    """Where one may drive to from each vertex."""
    leads: defaultdict[Position, set[Position]] = defaultdict(set)
    for street in streets:
        for a, b in pairwise(street.line):
            leads[a].add(b)
            leads[b] |= set() if street.oneway else {a}
    return leads


def reached(leads: Graph, start: Position) -> set[Position]:
    """Every vertex that can be driven to."""
    found, open_ = {start}, [start]
    while open_:
        for there in leads[open_.pop()] - found:
            found.add(there)
            open_.append(there)
    return found


def reversed_(leads: Graph) -> Graph:
    """The same streets driven the other way round."""
    back: defaultdict[Position, set[Position]] = defaultdict(set)
    for a, there in leads.items():
        for b in there:
            back[b].add(a)
    return back


def off_street_m(spot: Spot) -> float:
    """Distance of a spot from the line of its street."""
    line = LineString(STREETS[spot.street].line)
    on = line.interpolate(line.project(Point(spot.position)))  # degrees of both axes differ: good to a few per cent near the line
    return distance_m(spot.position, Position(on.x, on.y))


def nearest_m(at: Position, others: Iterable[Spot]) -> float:
    """Distance to the nearest of other spots."""
    return min(distance_m(at, other.position) for other in others)


def everything() -> bytes:
    """The whole city as canonical JSON."""
    whole: dict[str, Any] = {
        "map": invented.base_map(),
        "districts": invented.districts(),
        "spots": [asdict(spot) for spot in spots()],
    }
    return json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def test_the_city_is_the_same_everywhere() -> None:
    """Not a digit changes between machines, processes and Pythons; who changes the city on purpose changes this line."""
    assert hashlib.sha256(everything()).hexdigest() == FINGERPRINT


def test_another_process_sees_the_same_city() -> None:
    """Nothing hangs on the seed of hash()."""
    code = "import hashlib; from tests.unit.common.test_invented import everything; print(hashlib.sha256(everything()).hexdigest())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == FINGERPRINT


def test_counts_and_numbers() -> None:
    """As many spots as the samples are made for, numbered from 1 within their kind."""
    assert [park.number for park in invented.car_parks()] == list(range(1, 61))
    assert [station.number for station in invented.stations()] == list(range(1, 41))
    assert [point.number for point in invented.collection_points()] == list(range(1, 301))
    assert invented.depot().kind is SpotKind.DEPOT
    wanted = {SpotKind.RECYCLER, SpotKind.BIOGAS, SpotKind.INCINERATOR, SpotKind.LANDFILL, SpotKind.TRANSFER}
    assert {site.kind for site in invented.sites()} == wanted
    assert len(invented.sites()) == len(wanted)


def test_no_two_spots_share_a_name_or_a_position() -> None:
    """Names and positions tell spots apart."""
    for said in ([spot.name for spot in spots()], [spot.name_en for spot in spots()], [spot.position for spot in spots()]):
        assert [value for value, times in Counter(said).items() if times > 1] == []


def test_everything_says_that_it_is_invented() -> None:
    """Streets, spots and districts, in both languages."""
    named = [(street.name, street.name_en) for street in invented.streets()] + [(spot.name, spot.name_en) for spot in spots()]
    document: Any = invented.districts()
    named += [(feature["properties"]["name"], feature["properties"]["name_en"]) for feature in document["features"]]
    assert all(name.endswith("（虚构）") and english.endswith(" (invented)") and english.isascii() for name, english in named)
    roads: Any = invented.base_map()
    assert all(feature["properties"]["invented"] is True for feature in (*roads["features"], *document["features"]))


def test_everything_is_inside_the_city() -> None:
    """Within CITYLOOP_CITY_BOUNDS, and to 6 decimals."""
    positions = [at for street in invented.streets() for at in street.line] + [spot.position for spot in spots()]
    assert all(CITY.contains(at) for at in positions)
    assert all((round(at.lon, 6), round(at.lat, 6)) == at for at in positions)


def test_the_first_twelve_car_parks_stay() -> None:
    """Names, positions and kinds of parking's first sample."""
    now = [(park.name, park.name_en, *park.position, park.kerbside) for park in invented.car_parks()[:12]]
    assert tuple(now) == KNOWN


def test_streets_are_a_town_s() -> None:
    """60 to 120 pieces, at least a tenth one-way, 20 to 60 km/h, some closed to heavy trucks; names in both languages go together."""
    streets = invented.streets()
    assert 60 <= len(streets) <= 120
    assert len(STREETS) == len(streets)
    assert 10 * sum(street.oneway for street in streets) >= len(streets)
    assert {street.speed_kmh for street in streets} == {20, 30, 40, 50, 60}
    assert {street.max_mass_kg for street in streets} == {None, 8_000, 12_000}
    assert len({(street.name, street.name_en) for street in streets}) == len({street.name for street in streets})
    assert all(min(distance_m(a, b) for a, b in pairwise(street.line)) > 20 for street in streets)


def test_streets_cross_at_shared_vertices_only() -> None:
    """A graph of the vertices is the whole truth: no two lines touch elsewhere, none doubles another."""
    for one, other in combinations(invented.streets(), 2):
        touch = LineString(one.line).intersection(LineString(other.line))
        shared = set(one.line) & set(other.line)
        points = {Position(*each.coords[0]) for each in getattr(touch, "geoms", [touch]) if not each.is_empty}
        assert points == shared, f"{one.id} {one.name} and {other.id} {other.name}"


def test_every_street_leads_everywhere() -> None:
    """The directed graph is strongly connected."""
    leads = graph(invented.streets())
    vertices = {at for street in invented.streets() for at in street.line}
    start = min(vertices)
    assert reached(leads, start) == vertices
    assert reached(reversed_(leads), start) == vertices


def test_the_largest_truck_reaches_every_point_and_site_and_returns() -> None:
    """From the depot over streets that take 18 t, both ways."""
    leads = graph(street for street in invented.streets() if street.max_mass_kg is None or street.max_mass_kg >= TRUCK_KG)
    start = STREETS[invented.depot().street].line[0]
    there_and_back = reached(leads, start) & reached(reversed_(leads), start)
    for spot in (*invented.collection_points(), invented.depot(), *invented.sites()):
        street = STREETS[spot.street]
        assert street.max_mass_kg is None or street.max_mass_kg >= TRUCK_KG, spot.name
        assert set(street.line) <= there_and_back, spot.name


def test_districts_cover_every_spot_and_vertex_without_overlap() -> None:
    """Twelve polygons; a spot lies in exactly one, 15 m and more from its border."""
    document: Any = invented.districts()
    areas = {feature["properties"]["id"]: shape(feature["geometry"]) for feature in document["features"]}
    assert sorted(areas) == [f"d{number:02d}" for number in range(1, 13)]
    assert sum(area.area for area in areas.values()) == pytest.approx(union_all(list(areas.values())).area)
    assert len({feature["properties"]["name"] for feature in document["features"]}) == len(areas)
    for spot in spots():
        inside = [area for area in areas.values() if area.intersects(Point(spot.position))]
        assert len(inside) == 1, spot.name
        assert inside[0].boundary.distance(Point(spot.position)) > 15 / 85_000, spot.name
    assert all(any(area.contains(Point(at)) for area in areas.values()) for street in invented.streets() for at in street.line)


def test_every_district_has_car_parks_stations_and_collection_points() -> None:
    """So that each figure has something to say about each district."""
    found = districts.read(orjson.dumps(invented.districts()))
    for kind in (invented.car_parks(), invented.stations(), invented.collection_points()):
        assert {found.of(spot.position) for spot in kind} == {district.id for district in found}


def test_what_stands_along_a_street_does() -> None:
    """Kerbside car parks, collection points, the depot and the sites: within 5 m of their street's line."""
    along = [spot for spot in spots() if spot.kerbside or spot.kind not in {SpotKind.CAR_PARK, SpotKind.STATION}]
    assert len(along) > 300
    assert [spot.name for spot in along if off_street_m(spot) > 5] == []


def test_a_point_is_nearest_to_its_own_street() -> None:
    """Who looks for the nearest street finds the one that the point says."""
    lines = {street.id: LineString(street.line) for street in invented.streets()}
    for spot in (*invented.collection_points(), invented.depot(), *invented.sites()):
        assert min(lines, key=lambda street: lines[street].distance(Point(spot.position))) == spot.street, spot.name


def test_what_stands_beside_a_street_does() -> None:
    """Car parks off the street and stations: on no street, within 110 m of their own, but for the twelve that are older than the map."""
    older = set(range(1, len(KNOWN) + 1))
    lines = [LineString(street.line) for street in invented.streets()]
    for spot in (*invented.car_parks()[len(KNOWN) :], *invented.stations()):
        if not spot.kerbside:
            assert off_street_m(spot) < 110 or spot.car_park in older, spot.name
            assert min(line.distance(Point(spot.position)) for line in lines) > 4 / 85_000, spot.name


def test_car_parks_are_places_of_their_own() -> None:
    """At least 14 along streets; no two within 130 m of each other, so that the nearest is the right one."""
    assert sum(park.kerbside for park in PARKS.values()) >= 14
    assert min(distance_m(a.position, b.position) for a, b in combinations(PARKS.values(), 2)) > 130


def test_stations_stand_in_car_parks() -> None:
    """About 30 of 40, 10 to 55 m from the position of their own car park, which is the nearest; one car park has two."""
    inside = [station for station in invented.stations() if station.car_park is not None]
    assert 28 <= len(inside) <= 32
    for station in inside:
        own = PARKS[station.car_park or 0]
        assert 10 <= distance_m(station.position, own.position) <= 55, station.name
        assert nearest_m(station.position, (park for park in PARKS.values() if park is not own)) > 70, station.name
    shared = [number for number, times in Counter(station.car_park for station in inside).items() if times > 1]
    assert len(shared) == 1
    assert sum(station.car_park in shared for station in inside) == 2


def test_the_station_with_a_single_bay_has_a_car_park_for_itself() -> None:
    """Station 7, off the street: what blocks its bay blocks all there is."""
    seventh = invented.stations()[6]
    assert not PARKS[seventh.car_park or 0].kerbside
    assert [station.number for station in invented.stations() if station.car_park == seventh.car_park] == [7]


def test_some_stations_are_far_from_every_car_park() -> None:
    """At least 4 beyond 200 m; none that stands alone is near enough to be taken for part of a car park."""
    away_m = [nearest_m(station.position, PARKS.values()) for station in invented.stations() if station.car_park is None]
    assert sum(m > 200 for m in away_m) >= 4
    assert min(away_m) > 80


def test_collection_trucks_stop_at_kerbside_bays() -> None:
    """At least 30 points within 20 m of kerbside bays: a plan that closes bays has bays to close."""
    bays = [park for park in PARKS.values() if park.kerbside]
    near = [point for point in invented.collection_points() if nearest_m(point.position, bays) <= 20]
    assert len(near) >= 30
    assert min(nearest_m(park.position, near) for park in bays) <= 20


def test_collection_points_are_spread_over_the_town() -> None:
    """From any place of a street that trucks may enter, but for the ring and the ways out, the next point is within 220 m."""
    points = invented.collection_points()
    for street in invented.streets():
        if street.speed_kmh < 60 and street.max_mass_kg is None:
            middle = LineString(street.line).interpolate(0.5, normalized=True)
            assert nearest_m(Position(middle.x, middle.y), points) < 220, street.id
    counted = Counter(point.street for point in points)
    assert max(counted.values()) <= 8


def test_what_a_caller_changes_is_his_own() -> None:
    """The documents are made anew each time."""
    invented.base_map()["features"] = []
    invented.districts()["features"] = []
    assert hashlib.sha256(everything()).hexdigest() == FINGERPRINT
