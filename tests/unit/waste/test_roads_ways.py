"""Ways over roads: as long as the figures of travel say, never against a one-way street, never over a road that does not bear the truck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import dijkstra

from cityloop_common import invented
from cityloop_common.geo import Position, distance_m
from cityloop_waste.roads import graph
from cityloop_waste.roads.domain import Road, Side, Travel, read_roads
from cityloop_waste.roads.lines import UNITS, drawn
from cityloop_waste.roads.network import DM, SAME_PLACE_M, Network, Plane, network
from cityloop_waste.roads.ways import Leg, ways
from tests.unit.waste.streets import SQUARE, at, road

Way = tuple[Position, ...]
Pieces = dict[tuple[tuple[float, float], tuple[float, float]], None]
HALF_UNIT_M = 0.5 / UNITS * 111_195 * math.sqrt(2)  # how far rounding moves a vertex at most, at the equator


def way(roads: Sequence[Road], a: Position, b: Position, *, gross_mass_kg: int | None = None) -> Way | None:
    """The way between two places."""
    on = network(roads, [a, b], gross_mass_kg=gross_mass_kg)
    return None if on is None else ways(on, [Leg(0, 1)])[0]


def same(line: Way | None, *vertices: Position) -> bool:
    """Whether a line has these vertices, to the millimetre."""
    return line is not None and len(line) == len(vertices) and all(distance_m(a, b) < 0.001 for a, b in zip(line, vertices, strict=True))


def length_m(plane: Plane, line: Sequence[Position]) -> float:
    """Metres of a line on the plane that travel is counted on."""
    flat = plane.flat(line)
    return float(np.sqrt(((flat[1:] - flat[:-1]) ** 2).sum(axis=1)).sum())


def off_m(plane: Plane, place: Position, a: Position, b: Position) -> float:
    """Metres from a place to a straight piece."""
    (x, y), (x1, y1), (x2, y2) = plane.flat([place, a, b])
    along, squared = (x - x1) * (x2 - x1) + (y - y1) * (y2 - y1), (x2 - x1) ** 2 + (y2 - y1) ** 2
    share = min(1.0, max(0.0, along / squared))
    return math.hypot(x - x1 - share * (x2 - x1), y - y1 - share * (y2 - y1))


def may_be_driven(plane: Plane, roads: Sequence[Road], a: Position, b: Position) -> bool:
    """Whether some road has a piece that leads from a towards b, in a direction that is allowed there."""
    (dx, dy) = plane.flat([b])[0] - plane.flat([a])[0]
    for each in roads:
        for c, d in pairwise(each.line):
            if c != d and max(off_m(plane, a, c, d), off_m(plane, b, c, d)) < 0.01:
                (ex, ey) = plane.flat([d])[0] - plane.flat([c])[0]
                if not each.oneway or ex * dx + ey * dy > 0:
                    return True
    return False


def judge(on: Network, roads: Sequence[Road], found: Travel, legs: Sequence[tuple[int, int]]) -> None:
    """Each way has the metres of the matrix, ends at its places, and is driven as the roads allow."""
    drivens = ways(on, [Leg(a, b, found.duration_s[a][b]) for a, b in legs])
    for (a, b), driven in zip(legs, drivens, strict=True):
        metres = found.distance_m[a][b]
        assert (driven is None) == (metres is None)
        if driven is None or metres is None:
            continue
        assert (driven[0], driven[-1]) == (on.places[a], on.places[b])
        # half a metre of the cell, half a decimetre a piece, and where a crossing within half a metre is taken for the spot
        assert length_m(on.plane, driven) == pytest.approx(metres, abs=0.5 + 0.05 * len(driven) + 2 * SAME_PLACE_M)
        for c, d in pairwise(driven[1:-1]):
            assert may_be_driven(on.plane, roads, c, d), f"{c} to {d} is driven against the traffic, or beside every road"


Town = tuple[list[Road], list[Position], list[Side]]


@st.composite
def towns(draw: st.DrawFn) -> Town:
    """Streets between crossings of a crooked grid, and places along them, beside them and off every map, with their sides."""
    crossings = [at(*each) for each in draw(st.lists(st.tuples(_METRES, _METRES), min_size=2, max_size=9, unique=True))]
    numbers = st.lists(st.integers(0, len(crossings) - 1), min_size=2, max_size=4)
    roads = [
        Road("road", tuple(crossings[each] for each in line), oneway, speed_kmh, mass, id=f"r{number % 5}", narrow=narrow)
        for number, (line, oneway, speed_kmh, mass, narrow) in enumerate(draw(st.lists(_streets(numbers), min_size=1, max_size=12)))
    ]
    places = [at(*each) for each in draw(st.lists(st.tuples(_METRES, _METRES), min_size=2, max_size=5))]
    places += draw(st.lists(st.sampled_from(crossings), max_size=2))
    sides = draw(st.lists(st.sampled_from(Side), min_size=len(places), max_size=len(places)))
    return roads, places, sides


def _streets(numbers: st.SearchStrategy[list[int]]) -> st.SearchStrategy[tuple[list[int], bool, int, int | None, bool]]:
    return st.tuples(numbers, st.booleans(), st.sampled_from((5, 20, 40)), st.sampled_from((None, 8000)), st.booleans())


_METRES = st.integers(-60, 60).map(lambda tens: tens / 10)  # hundreds of metres, in steps of ten


@given(towns(), st.sampled_from((None, 9000)), st.booleans(), st.sampled_from(((), ("r0",))))
def test_a_way_is_as_long_as_the_matrix_says_and_as_the_roads_allow(
    town: Town, mass: int | None, sided: bool, closed: tuple[str, ...]
) -> None:
    """On any map: metres, ends, directions, limits, closures; and there is a way exactly where there are metres."""
    roads, places, sides = town
    on = network(roads, places, gross_mass_kg=mass, sides=sides if sided else None, closed=closed)
    found = graph.travel_on(on, places)
    if on is not None:
        open_roads = [each for each in roads if (each.max_mass_kg is None or mass is None) and each.id not in closed]
        judge(on, open_roads, found, [(a, b) for a in range(len(places)) for b in range(len(places)) if places[a] != places[b]])


def test_ways_of_the_invented_city_are_as_long_as_its_matrix_says() -> None:
    """Depot, sites and 300 points one after the other: each way is that of its cell."""
    roads = read_roads(invented.base_map())
    places = [invented.depot().position, *(spot.position for spot in (*invented.sites(), *invented.collection_points()))]
    for sides in (None, [Side.ANY] * 6 + [Side.KERB] * 300):
        on = network(roads, places, gross_mass_kg=18_000, sides=sides)
        assert on is not None
        judge(on, roads, graph.travel_on(on, places), list(pairwise(range(len(places)))))
    assert [each for each in roads if each.oneway], "a city without a one-way street proves nothing"


def test_a_search_that_ends_early_finds_the_same_way() -> None:
    """How long it takes is known: what is farther is not looked at, and nothing else changes."""
    roads = read_roads(invented.base_map())
    places = [spot.position for spot in invented.collection_points()[:60]]
    on = network(roads, places)
    assert on is not None
    found = graph.travel_on(on, places)
    legs = [(a, b) for a in range(0, 60, 7) for b in range(60)]
    assert ways(on, [Leg(a, b, found.duration_s[a][b]) for a, b in legs]) == ways(on, [Leg(a, b) for a, b in legs])


def test_a_oneway_street_is_never_driven_against_its_direction() -> None:
    """Back along a one-way square leads around the block."""
    there, back = [way([road(*SQUARE, oneway=True)], *ends) for ends in ((at(4, 0), at(6, 0)), (at(6, 0), at(4, 0)))]
    assert same(there, at(4, 0), at(4, 0), at(6, 0), at(6, 0))
    assert same(back, at(6, 0), at(6, 0), at(10, 0), at(10, 10), at(0, 10), at(0, 0), at(4, 0), at(4, 0))


def test_a_heavy_truck_drives_around_the_bridge() -> None:
    """What the bridge does not bear goes over the other three sides, and without them nowhere."""
    bridge, around = road((0, 0), (10, 0), max_mass_kg=8000), road((0, 0), (0, 10), (10, 10), (10, 0))
    light, heavy = [way([bridge, around], at(0, 0), at(10, 0), gross_mass_kg=mass) for mass in (8000, 8001)]
    assert (len(light or ()), len(heavy or ())) == (4, 6)
    assert way([bridge], at(0, 0), at(10, 0), gross_mass_kg=8001) is None


def test_a_way_goes_straight_to_the_road_and_back_from_it() -> None:
    """30 m of yard before and 20 m after the road."""
    assert same(way([road((0, 0), (10, 0))], at(2, 0.3), at(9, -0.2)), at(2, 0.3), at(2, 0), at(9, 0), at(9, -0.2))


def test_places_at_one_spot_of_the_road_have_a_straight_piece() -> None:
    """Two gates that face each other; and one position is no way at all, even far from every road."""
    assert way([road((0, 0), (10, 0))], at(5, 0.1), at(5, -0.1)) == (at(5, 0.1), at(5, -0.1))
    assert way([road((0, 0), (10, 0))], at(5, 9), at(5, 9)) == (at(5, 9),)


def test_where_no_road_leads_there_is_no_way() -> None:
    """An island, and a place that is on no map."""
    roads = [road((0, 0), (10, 0)), road((0, 40), (10, 40))]
    assert way(roads, at(0, 0), at(5, 40)) is None
    assert way(roads, at(0, 0), at(5, 5.1)) is None


def test_one_search_is_enough_for_all_legs_from_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that a route leaves ten times is searched from once, as far as its farthest leg."""
    asked: list[float] = []

    def search(*given: Any, limit: float, **more: Any) -> Any:
        asked.append(limit)
        return dijkstra(*given, limit=limit, **more)

    monkeypatch.setattr("cityloop_waste.roads.ways.dijkstra", search)
    places = [at(0, 0), *(at(each, 0) for each in range(1, 10))]
    on = network([road(*((each, 0) for each in range(11)))], places)
    assert on is not None
    found = ways(on, [Leg(0, each, 10 * each) for each in range(1, 10)])
    assert [len(each or ()) for each in found] == [3 + each for each in range(1, 10)]
    assert asked == [(90 * 1000 + 1) * DM]


POSITIONS = st.builds(Position, st.floats(109.7, 109.9), st.floats(39.5, 39.6))


@given(st.lists(POSITIONS | st.sampled_from((at(0, 0), at(1, 0), at(2, 0), at(3, 0))), min_size=1, max_size=12))
def test_a_drawn_line_leaves_nothing_out_that_can_be_seen(places: list[Position]) -> None:
    """Five decimals; no vertex twice in a row; each vertex of the way is on the line, in its order, and the line is as long."""
    line = drawn(places)
    assert all(round(value, 5) == value for vertex in line for value in vertex)
    assert all(a != b for a, b in pairwise(line))
    rounded = [[round(each.lon, 5), round(each.lat, 5)] for each in places]
    kept = iter(rounded)
    assert all(vertex in kept for vertex in line), "a vertex that the way does not have, or in another order"
    assert (line[0], line[-1]) == (rounded[0], rounded[-1])
    whole = sum(distance_m(Position(*a), Position(*b)) for a, b in pairwise(rounded))
    assert sum(distance_m(Position(*a), Position(*b)) for a, b in pairwise(line)) == pytest.approx(whole, abs=0.01)
    assert all(distance_m(Position(*a), b) <= HALF_UNIT_M for a, b in zip(rounded, places, strict=True))


def test_a_way_that_turns_back_keeps_where_it_turns() -> None:
    """Into the yard and out again; straight on through a crossing is no vertex."""
    line = drawn([at(0, 0), at(1, 0), at(2, 0), at(3, 0), at(2, 0), at(0, 0)])
    assert line == drawn([at(0, 0), at(3, 0), at(0, 0)])
    assert len(line) == 3
    assert drawn([at(1, 0), at(1, 0)]) == drawn([at(1, 0)])
