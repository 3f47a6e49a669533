"""The side of the street that a place lies on, and roads that are closed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cityloop_common import invented
from cityloop_common.geo import Position
from cityloop_waste.roads import graph
from cityloop_waste.roads.domain import InvalidRoads, Road, Side, Travel, UnknownRoad, read_closed, read_roads
from cityloop_waste.roads.network import Network, network
from cityloop_waste.roads.ways import Leg, ways
from tests.unit.waste.streets import SQUARE, at, road

STREET = (0, 0), (10, 0)
ROUND = [road(*STREET, id="street"), road((0, 0), (0, -5), (10, -5), (10, 0), id="back")]
NORTH, SOUTH, DEPOT = at(5, 0.1), at(5, -0.1), at(0, 0)


def joined(roads: Sequence[Road], places: Sequence[Position], sides: Sequence[Side] | None = None) -> tuple[Network, Travel]:
    """A network and what it takes to drive on it."""
    on = network(roads, places, sides=sides)
    assert on is not None
    return on, graph.travel_on(on, places)


def kerb(places: Sequence[Position]) -> list[Side]:
    """The depot from anywhere, stops at the kerb."""
    return [Side.ANY] + [Side.KERB] * (len(places) - 1)


def headings(on: Network, target: int) -> Position:
    """The last vertex on the road before the spot of a place, coming from the first place."""
    (way,) = ways(on, [Leg(0, target)])
    assert way is not None
    return way[-3]


def test_a_stop_is_reached_so_that_it_lies_on_the_right() -> None:
    """East of the depot: the one in the south straight on, the one in the north from the other end of its street."""
    places = [DEPOT, SOUTH, NORTH]
    on, found = joined(ROUND, places, kerb(places))
    assert (headings(on, 1).lon < SOUTH.lon, headings(on, 2).lon > NORTH.lon) == (True, True)
    assert found.distance_m[0] == pytest.approx((0, 510, 2510), abs=2)
    assert found.distance_m[1][0] == pytest.approx(2510, abs=2), "it goes on in the direction in which it came"
    assert found.distance_m[2][0] == pytest.approx(510, abs=2)


def test_without_sides_each_place_is_served_from_both() -> None:
    """The call as it was: nothing is known of what the places are."""
    _, found = joined(ROUND, [DEPOT, SOUTH, NORTH])
    assert found.distance_m[0] == pytest.approx((0, 510, 510), abs=2)
    assert found.distance_m[1][2] == 20


def test_stops_that_face_each_other_are_a_way_apart() -> None:
    """20 m across the street are no way for a truck: it goes on to where it may turn round."""
    places = [DEPOT, SOUTH, NORTH]
    corner = [*ROUND, road((10, 0), (10, 5))]
    assert joined(corner, places, kerb(places))[1].distance_m[1] == pytest.approx((1510, 0, 1020), abs=1)


def test_on_a_narrow_road_a_crew_takes_both_sides() -> None:
    """Unless the stop says that it must lie on the right there, too."""
    lane = [road(*STREET, narrow=True), ROUND[1]]
    places = [DEPOT, SOUTH, NORTH]
    assert joined(lane, places, kerb(places))[1].distance_m[0] == pytest.approx((0, 510, 510), abs=2)
    assert joined(lane, places, [Side.ANY, Side.RIGHT, Side.RIGHT])[1].distance_m[0] == pytest.approx((0, 510, 2510), abs=2)


def test_on_a_oneway_street_there_is_one_direction() -> None:
    """Both sides of it are reached in it, and a stop on the left is as near as one on the right."""
    places = [DEPOT, at(4, -0.1), at(4, 0.1)]
    _, found = joined([road(*SQUARE, oneway=True)], places, kerb(places))
    assert found.distance_m[0] == pytest.approx((0, 410, 410), abs=2)
    assert found.distance_m[1][2] == pytest.approx(20, abs=1)


def test_a_place_in_the_middle_of_the_street_has_no_side() -> None:
    """Less than half a metre from it nobody knows where the containers stand."""
    for off, metres in ((0.004, 500), (0.006, 2500)):
        places = [DEPOT, at(5, off)]
        assert joined(ROUND, places, kerb(places))[1].distance_m[0][1] == pytest.approx(metres, abs=2)


def test_nobody_turns_round_at_a_corner_for_nothing() -> None:
    """A stop at the junction itself belongs to a street: from its kerb the way back is one over a turn, not on the spot."""
    crossing = [road((-10, 0), (0, 0)), road((0, 0), (10, 0)), road((0, 0), (0, 10))]
    places = [at(-5, 0), at(-0.2, -0.2), at(-5, 0.1)]
    _, found = joined(crossing, places, [Side.ANY, Side.KERB, Side.KERB])
    free = joined(crossing, places)[1]
    assert (found.duration_s[1][2] or 0) > (free.duration_s[1][2] or 0) + 50


def test_a_stop_at_the_end_of_a_street_is_served_on_the_way_in_or_out() -> None:
    """The turn at the dead end is counted once, before it or after it."""
    places = [DEPOT, at(10, -0.1), at(10, 0.1)]
    _, found = joined([road(*STREET)], places, kerb(places))
    assert [found.duration_s[0][n] for n in (1, 2)] == pytest.approx([104, 124], abs=1)
    assert [found.duration_s[n][0] for n in (1, 2)] == pytest.approx([124, 104], abs=1)


def test_a_depot_or_a_site_may_be_left_where_one_did_not_come_from() -> None:
    """Its yard is where a truck turns round; who only drives past it does not."""
    places = [at(5, 0), at(2, 0.1), at(2, -0.1)]
    _, found = joined([road(*STREET)], places, kerb(places))
    assert [found.duration_s[0][1], found.duration_s[2][0]] == pytest.approx([34, 34], abs=1)
    assert found.duration_s[2][1] == pytest.approx(80 + 20 + 80 + 7, abs=2), "to the end of the street, past the yard"


def test_every_stop_of_the_invented_city_can_be_served_at_its_kerb() -> None:
    """Depot, sites and 300 points reach each other, and most pairs take another time in the other direction."""
    roads = read_roads(invented.base_map())
    stops = [spot.position for spot in invented.collection_points()]
    places = [invented.depot().position, *(spot.position for spot in invented.sites()), *stops]
    found = graph.travel_on(network(roads, places, gross_mass_kg=18_000, sides=[Side.ANY] * 6 + [Side.KERB] * 300), places)
    assert not [1 for row in found.duration_s for cell in row if cell is None]
    pairs = [(found.duration_s[a][b] or 0, found.duration_s[b][a] or 0) for a in range(len(places)) for b in range(a)]
    assert sum(1 for there, back in pairs if abs(there - back) > 20) > len(pairs) / 2


@pytest.mark.parametrize("closed", ["street", "大街", "Main Street", at(4, 0.2)])
def test_a_closed_road_is_driven_around(closed: str | Position) -> None:
    """By its id, its name in either language, or a position within 30 m of it; who stands on it is not reached at all."""
    street = Road("大街", (at(0, 0), at(10, 0)), oneway=False, speed_kmh=36, id="street", name_en="Main Street")
    roads, places = [street, ROUND[1]], [DEPOT, at(10, 0), at(5, 0.3), at(5, -4.9)]
    free = graph.travel_on(network(roads, places), places)
    found = graph.travel_on(network(roads, places, closed=[closed]), places)
    assert free.distance_m[0] == pytest.approx((0, 1000, 530, 1010), abs=2)
    assert found.distance_m[0][1] == pytest.approx(2000, abs=2)
    assert (found.distance_m[0][2], found.distance_m[2][0], found.duration_s[2][1]) == (None, None, None)
    assert found.distance_m[0][3] == free.distance_m[0][3]


def test_a_position_closes_the_road_between_two_junctions() -> None:
    """Not the whole street: what lies behind the next crossing is open."""
    roads = [road((0, 0), (10, 0), (20, 0), id="street"), road((10, 0), (10, 10), id="side"), ROUND[1]]
    places = [DEPOT, at(10, 9), at(19, 0), at(3, 0)]
    found = graph.travel_on(network(roads, places, closed=[at(5, 0)]), places)
    assert found.distance_m[0] == pytest.approx((0, 2900, 2900, None), abs=2)
    assert graph.travel_on(network(roads, places, closed=["street"]), places).distance_m[0][2] is None


def test_where_every_road_is_closed_nothing_is_reached() -> None:
    """A reason for each stop, no failure."""
    places = [DEPOT, at(5, 0)]
    found = graph.travel_on(network([road(*STREET, id="a")], places, closed=["a"]), places)
    assert found.distance_m == ((0, None), (None, 0))


@pytest.mark.parametrize("closed", ["Stret", "", at(5, 0.4), Position(0.0, 0.0)])
def test_a_road_that_is_not_there_cannot_be_closed(closed: str | Position) -> None:
    """A typing mistake leaves no road open in silence; 31 m beside a road is another road."""
    with pytest.raises(UnknownRoad):
        network(ROUND, [DEPOT], closed=[closed])


def test_a_road_that_bears_no_truck_can_be_closed_as_well() -> None:
    """What is closed to the heavy ones already is no mistake."""
    roads = [road(*STREET, max_mass_kg=8000, id="bridge"), ROUND[1]]
    for closed in ("bridge", at(5, 0)):
        found = graph.travel_on(network(roads, [DEPOT, at(10, 0)], gross_mass_kg=9000, closed=[closed]), [DEPOT, at(10, 0)])
        assert found.distance_m[0][1] == pytest.approx(2000, abs=2)


def test_closed_roads_are_read_as_they_come_in_a_document() -> None:
    """Names and positions; what is neither is refused with its place in the list."""
    assert read_closed(["East Street", [109.787, 39.565]]) == ("East Street", Position(109.787, 39.565))
    assert read_closed(None) == read_closed([]) == ()
    for document, told in (
        ("East Street", "a list"),
        ([[1]], r"closed\[0\]"),
        (["a", [39.565, 109.787]], "may be swapped"),
        ([None], "closed"),
    ):
        with pytest.raises(InvalidRoads, match=told):
            read_closed(document)
