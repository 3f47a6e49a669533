"""Travel over roads: directions, limits, places beside roads, and what is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from cityloop_common import invented
from cityloop_common.geo import Position, distance_m
from cityloop_waste.roads import graph
from cityloop_waste.roads.domain import Ban, InvalidRoads, Road, Travel, TravelSource, read_roads
from tests.unit.waste.streets import LAT, LON, SQUARE, at, road


def between(roads: Sequence[Road], *places: Position, gross_mass_kg: int | None = None) -> tuple[int | None, int | None, int | None]:
    """Metres and seconds from the first place to the second, and seconds back."""
    found = graph.travel(roads, places, gross_mass_kg=gross_mass_kg)
    return found.distance_m[0][1], found.duration_s[0][1], found.duration_s[1][0]


def test_a_straight_road_is_as_long_as_it_is() -> None:
    """1,000 m at 36 km/h, there and back."""
    metres, there, back = between([road((0, 0), (10, 0))], at(0, 0), at(10, 0))
    assert metres == pytest.approx(1000, abs=1)
    assert there == back == pytest.approx(100, abs=1)


def test_a_oneway_street_makes_the_way_back_longer() -> None:
    """Around the block: a quarter of the square one way, three quarters the other."""
    metres, there, back = between([road(*SQUARE, oneway=True)], at(0, 0), at(10, 0))
    assert metres == pytest.approx(1000, abs=1)
    assert there == pytest.approx(100, abs=1)
    assert back == pytest.approx(300, abs=2)


def test_two_stops_on_one_oneway_piece_are_near_one_way_only() -> None:
    """Both lie on the same piece of street: forwards 200 m, back around the block."""
    _, there, back = between([road(*SQUARE, oneway=True)], at(4, 0), at(6, 0))
    assert there == pytest.approx(20, abs=1)
    assert back == pytest.approx(380, abs=2)


def test_stops_at_one_point_of_a_oneway_street_have_no_way_between_them() -> None:
    """The second container of a point is not a trip around the block."""
    assert between([road(*SQUARE, oneway=True)], at(4, 0), at(4, 0)) == (0, 0, 0)


def test_of_parallel_roads_the_quicker_counts() -> None:
    """A sparse matrix adds up what is given twice; a road does not get longer by a second one."""
    slow, fast = road((0, 0), (10, 0), speed_kmh=18), road((0, 0), (10, 0), speed_kmh=72)
    assert between([slow, fast, slow], at(0, 0), at(10, 0))[1] == pytest.approx(50, abs=1)


def test_the_quickest_way_comes_with_its_own_length() -> None:
    """The longer way is the quicker one: seconds and metres are of the same way."""
    direct, ring = road((0, 0), (10, 0), speed_kmh=6), road((0, 0), (0, 10), (10, 10), (10, 0), speed_kmh=108)
    metres, there, _ = between([direct, ring], at(0, 0), at(10, 0))
    assert metres == pytest.approx(3000, abs=3)
    assert there == pytest.approx(100, abs=1)


def test_a_heavy_truck_takes_the_way_that_bears_it() -> None:
    """A bridge for 8 t: 8,000 kg cross it, 8,001 kg go around; without another way there is none."""
    bridge, around = road((0, 0), (10, 0), max_mass_kg=8000), road((0, 0), (0, 10), (10, 10), (10, 0))
    places = at(0, 0), at(10, 0)
    assert between([bridge, around], *places, gross_mass_kg=8000)[0] == pytest.approx(1000, abs=1)
    assert between([bridge, around], *places, gross_mass_kg=8001)[0] == pytest.approx(3000, abs=3)
    assert between([bridge], *places, gross_mass_kg=8001) == (None, None, None)


def test_a_place_beside_the_road_counts_its_last_metres() -> None:
    """30 m of yard at 10 km/h before and 20 m after 1,000 m of road."""
    metres, there, _ = between([road((0, 0), (10, 0))], at(0, 0.3), at(10, -0.2))
    assert metres == pytest.approx(1050, abs=1)
    assert there == pytest.approx(118, abs=1)


def test_two_stops_in_one_yard_do_not_drive_to_the_road_and_back() -> None:
    """300 m off the road: at one point there is no way between them, 20 m apart it is 20 m at 10 km/h; the road is still 300 m away."""
    found = graph.travel([road((0, 0), (10, 0))], [at(5, 3), at(5, 3), at(5, 2.8), at(0, 0)])
    assert (found.distance_m[0][1], found.duration_s[0][1]) == (0, 0)
    assert found.distance_m[0][2] == 20
    assert found.duration_s[2][0] == pytest.approx(8, abs=1)
    assert found.distance_m[0][3] == pytest.approx(800, abs=1)


def test_two_sides_of_a_road_are_as_far_apart_as_by_the_road() -> None:
    """10 m off on either side, one place of the road: 20 m."""
    assert between([road((0, 0), (10, 0))], at(5, 0.1), at(5, -0.1))[0] == 20


def test_one_point_is_no_way_from_itself_even_far_from_every_road() -> None:
    """A depot with its own site on no map: 0 between the two, and neither is reached from a road; so without any open road."""
    roads, places = [road((0, 0), (10, 0), max_mass_kg=8000)], [at(5, 6), at(5, 6), at(5, 6.1), at(0, 0)]
    for mass in (None, 9000):
        found = graph.travel(roads, places, gross_mass_kg=mass)
        assert [found.distance_m[0], found.duration_s[0]] == [(0, 0, None, None)] * 2


def test_many_places_are_a_table_of_the_same_ways_as_two() -> None:
    """More places than are searched from at a time, one of them twice: each cell is that of the two alone, but for rounding."""
    roads = [road(*SQUARE, oneway=True), road((0, 0), (10, 10), speed_kmh=18), road((40, 0), (50, 0))]
    places = [at((3 * n) % 11, (7 * n) % 10) for n in range(70)] + [at(45, n / 10) for n in range(20)] + [at(3, 7), at(90, 90)]
    found = graph.travel(roads, places)
    for a, b in [(a, b) for a in range(0, len(places), 9) for b in range(len(places)) if a != b]:
        cells, alone = (found.distance_m[a][b], found.duration_s[a][b], found.duration_s[b][a]), between(roads, places[a], places[b])
        assert [cell is None for cell in cells] == [cell is None for cell in alone]
        assert [cell or 0 for cell in cells] == pytest.approx([cell or 0 for cell in alone], abs=2)


def test_ways_over_a_large_map_take_memory_for_their_ends_only() -> None:
    """20,000 crossings and 300 places: nothing as large as places times crossings (48 MB) is ever held."""
    columns = [road(*((e, n / 4) for n in range(200))) for e in range(100)]
    rows = [road(*((e, n / 4) for e in range(100))) for n in range(0, 200, 20)]
    tracemalloc.start()
    found = graph.travel([*columns, *rows], [at(n % 97, n % 49) for n in range(300)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(cell is not None for row in found.duration_s for cell in row)
    assert peak < 300 * 20_000 * 8


def test_a_place_far_from_every_road_and_an_island_are_unreachable() -> None:
    """490 m away is beside the road, 510 m is on another map; a road that touches no other leads nowhere."""
    roads = [road((0, 0), (10, 0)), road((0, 40), (10, 40))]
    found = graph.travel(roads, [at(0, 0), at(5, 4.9), at(5, 5.1), at(5, 40)])
    assert [cell is None for cell in found.duration_s[0]] == [False, False, True, True]
    assert [row[0] is None for row in found.distance_m] == [False, False, True, True]
    assert [found.duration_s[n][n] for n in range(4)] == [0, 0, 0, 0]


def test_a_crossing_with_other_last_digits_is_one_crossing() -> None:
    """Digits beyond the seventh are noise of a conversion of datums."""
    begin, crossing, noisy, end = (Position(*each) for each in ((LON, LAT), (109.79, LAT), (109.790000011, LAT - 1.1e-9), (109.80, LAT)))
    roads = [Road("west", (begin, crossing), oneway=False, speed_kmh=36), Road("east", (noisy, end), oneway=False, speed_kmh=36)]
    assert between(roads, begin, end)[0] == pytest.approx(distance_m(begin, end), abs=2)


def test_roads_that_cross_without_a_vertex_do_not_meet() -> None:
    """That is how a map says bridge."""
    assert between([road((0, 0), (10, 0)), road((5, -5), (5, 5))], at(0, 0), at(5, 5)) == (None, None, None)


def test_a_way_of_more_than_a_day_is_none() -> None:
    """1 km/h for 30 km is no way for a shift."""
    assert between([road((0, 0), (300, 0), speed_kmh=1)], at(0, 0), at(300, 0)) == (None, None, None)


def test_an_estimate_says_that_it_is_one() -> None:
    """Without roads: great circles, times 1.3, at 25 km/h, and the label."""
    found = graph.estimate([at(0, 0), at(10, 0)])
    assert found.source is TravelSource.ESTIMATE
    assert found.distance_m[0][1] == round(1.3 * distance_m(at(0, 0), at(10, 0)))
    assert found.duration_s[0][1] == pytest.approx(1300 / 25 * 3.6, abs=1)


def test_every_place_of_the_invented_city_reaches_every_other() -> None:
    """Depot, sites and 300 points: no gap in its streets, and its one-way streets are felt."""
    places = [invented.depot().position, *(spot.position for spot in (*invented.sites(), *invented.collection_points()))]
    found: Travel = graph.travel(read_roads(invented.base_map()), places, gross_mass_kg=18_000)
    assert not [1 for row in found.duration_s for cell in row if cell is None]
    pairs = [(found.duration_s[a][b] or 0, found.duration_s[b][a] or 0) for a in range(len(places)) for b in range(a)]
    assert sum(1 for there, back in pairs if abs(there - back) > 20) > len(pairs) / 100


def _collection(**changes: Any) -> dict[str, Any]:
    more = dict.fromkeys(("id", "name_en", "narrow", "bans"))
    properties = {"name": "East Street", "oneway": True, "speed_kmh": 40, "max_mass_kg": None, **more}
    feature = {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": "LineString", "coordinates": [[LON, LAT], [LON + 0.01, LAT]]},
    }
    for name, value in changes.items():
        if name in properties:
            properties[name] = value
        else:
            feature[name] = value
    return {"type": "FeatureCollection", "features": [feature]}


def _line(*coordinates: object) -> dict[str, object]:
    return {"type": "LineString", "coordinates": list(coordinates)}


def test_a_base_map_is_read_as_it_is_published() -> None:
    """Name, direction, speed, limit, id and banned turns of each line."""
    only = read_roads(_collection(max_mass_kg=12_000, id=7, narrow=True, bans=[{"via": [LON, LAT], "to": 8, "only": True}]))[0]
    assert (only.name, only.oneway, only.speed_kmh, only.max_mass_kg, len(only.line)) == ("East Street", True, 40, 12_000, 2)
    assert (only.id, only.narrow, only.bans) == ("7", True, (Ban(Position(LON, LAT), "8", only=True),))


@pytest.mark.parametrize(
    "document, told",
    [
        (None, "FeatureCollection"),
        ([], "FeatureCollection"),
        ({"features": []}, "FeatureCollection"),
        ({"features": "abc"}, "FeatureCollection"),
        ({"features": [7]}, "feature 1 needs"),
        (_collection(geometry=None), "feature 1 needs"),
        (_collection(geometry={"type": "Point", "coordinates": [LON, LAT]}), "no LineString"),
        (_collection(geometry=_line([LON, LAT])), "no LineString"),
        (_collection(geometry=_line([LON, LAT], [LON])), "no pair of numbers"),
        (_collection(geometry=_line([LON, LAT], [LON, "39"])), "no pair of numbers"),
        (_collection(geometry=_line([LON, LAT], [LON, float("nan")])), "no pair of numbers"),
        (_collection(geometry=_line([LAT, LON], [LON, LAT])), "may be swapped"),
        (_collection(geometry=_line([LON, LAT], [500, 500])), "no WGS-84 position"),
        (_collection(speed_kmh=0), "speed_kmh is 0"),
        (_collection(speed_kmh=None), "speed_kmh is None"),
        (_collection(speed_kmh=float("inf")), "speed_kmh is inf"),
        (_collection(max_mass_kg=-1), "max_mass_kg is -1"),
        (_collection(oneway="yes"), "oneway is true or false"),
        (_collection(name=["a"]), "name is a text"),
        (_collection(id=1.5), "id is a text"),
        (_collection(id=True), "id is a text"),
        (_collection(name_en=7), "name_en is a text"),
        (_collection(narrow=1), "narrow is true or false"),
        (_collection(bans={}), "bans is a list"),
        (_collection(bans=[{"via": [LON, LAT]}]), "needs via and to"),
        (_collection(bans=[{"via": [LON], "to": "a"}]), "no pair of numbers"),
        (_collection(bans=[{"via": [LON, LAT], "to": ""}]), "names the road"),
        (_collection(bans=[{"via": [LON, LAT], "to": "a", "only": "yes"}]), "only is true or false"),
    ],
)
def test_a_map_that_cannot_be_used_says_where(document: object, told: str) -> None:
    """The feature and what is wrong with it."""
    with pytest.raises(InvalidRoads, match=told):
        read_roads(document)
