"""Turns: what they cost by side and angle, where one may turn round, and what signs forbid."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_common import invented
from cityloop_waste.roads import graph
from cityloop_waste.roads.domain import Ban, Road, Side, outdated, read_roads
from cityloop_waste.roads.network import TURNS, network
from cityloop_waste.roads.turns import FREE, Turns
from tests.unit.waste.streets import SQUARE, at, road

Spot = tuple[int, int]
CROSS = [
    road((-10, 0), (0, 0), id="west"),
    road((0, 0), (10, 0), id="east"),
    road((0, 0), (0, 10), id="north"),
    road((0, -10), (0, 0), id="south"),
]
ENDS = {"west": (-10, 0), "east": (10, 0), "north": (0, 10), "south": (0, -10)}


def seconds(roads: Sequence[Road], origin: tuple[float, float], target: tuple[float, float], turns: Turns = TURNS) -> int | None:
    """From one spot to another."""
    places = [at(*origin), at(*target)]
    return graph.travel_on(network(roads, places, turns=turns), places).duration_s[0][1]


@pytest.mark.parametrize(
    "origin, target, more",
    [
        ("west", "east", 0), ("west", "south", 3), ("west", "north", 8), ("south", "east", 3), ("south", "west", 8),
        ("north", "south", 0), ("north", "west", 3), ("east", "north", 3), ("east", "south", 8),
    ],
)  # fmt: skip
def test_a_turn_costs_by_its_side(origin: str, target: str, more: int) -> None:
    """Where traffic keeps right a left turn waits for those who come towards it; straight on is free."""
    assert seconds(CROSS, ENDS[origin], ENDS[target]) == pytest.approx(200 + more, abs=1)
    assert seconds(CROSS, ENDS[origin], ENDS[target], FREE) == pytest.approx(200, abs=1)


@pytest.mark.parametrize("degrees, more", [(0, 0), (39, 0), (-39, 0), (41, 8), (-41, 3), (90, 8), (-90, 3), (150, 8), (-150, 3)])
def test_a_turn_begins_where_a_bend_ends(degrees: int, more: int) -> None:
    """Up to 40 degrees at a junction one goes straight on; a side road makes it a junction."""
    spot = (10 * math.cos(math.radians(degrees)), 10 * math.sin(math.radians(degrees)))
    roads = [road((-10, 0), (0, 0)), road((0, 0), spot), road((0, 0), (0.5, 9) if degrees < 0 else (0.5, -9))]
    assert seconds(roads, (-10, 0), spot) == pytest.approx(200 + more, abs=1)


def test_a_bend_is_no_turn() -> None:
    """Where only two roads meet nobody waits, however sharp it is; three sides of a block are their metres."""
    assert seconds([road(*SQUARE[:4])], (0, 0), (0, 10)) == pytest.approx(300, abs=1)
    assert seconds([road(*SQUARE[i : i + 2]) for i in range(3)], (0, 0), (0, 10)) == pytest.approx(300, abs=1)


def test_turning_round_is_dear_at_a_junction_and_cheaper_at_a_dead_end() -> None:
    """A stop at the kerb 500 m west of the crossroads, from behind: 60 s at the crossing, 20 s where the street ends."""
    places = [at(-5, 0.1), at(-8, -0.1)]  # the first lies on the side of who drives west
    sides = [Side.KERB, Side.KERB]
    ring = [*CROSS, road((-10, 0), (-10, 5)), road((-10, 0), (-10, -5))]

    def back(roads: Sequence[Road], turns: Turns = TURNS) -> tuple[int | None, int | None]:
        found = graph.travel_on(network(roads, places, sides=sides, turns=turns), places)
        return found.duration_s[0][1], found.duration_s[1][0]

    yards_s = 2 * 10 * 3.6 / 10
    assert back(CROSS) == pytest.approx((50 + 20 + 20 + yards_s, 80 + 60 + 50 + yards_s), abs=1)
    assert back(ring) == pytest.approx((50 + 60 + 20 + yards_s, 80 + 60 + 50 + yards_s), abs=1)
    assert back(ring, Turns(u_turn_s=90)) == pytest.approx((50 + 90 + 20 + yards_s, 80 + 90 + 50 + yards_s), abs=1)


def test_who_can_go_nowhere_else_turns_round_as_at_a_dead_end() -> None:
    """The side street is one-way towards the crossing: there is a junction, but only the way back."""
    places = [at(-5, -0.1), at(-8, 0.1)]
    roads = [road((-10, 0), (0, 0)), road((0, 10), (0, 0), oneway=True), road((0, -10), (0, 0), oneway=True)]
    found = graph.travel_on(network(roads, places, sides=[Side.KERB] * 2), places)
    assert found.duration_s[0][1] == pytest.approx(50 + 20 + 80 + 7, abs=1)


def test_a_oneway_street_or_a_left_turn_makes_two_figures_of_one_pair() -> None:
    """Failure story 13: a route that is driven the other way round takes another time, over one-way streets and over turns."""
    oneway = [road(*SQUARE, oneway=True)]
    there, back = seconds(oneway, (4, 0), (6, 0)), seconds(oneway, (6, 0), (4, 0))
    assert (there, back) == pytest.approx((20, 380), abs=2)
    assert seconds(CROSS, ENDS["west"], ENDS["north"]) == (seconds(CROSS, ENDS["north"], ENDS["west"]) or 0) + 5
    roads = read_roads(invented.base_map())
    places = [spot.position for spot in invented.collection_points()[:100]]
    times = graph.travel(roads, places).duration_s
    tour = [*range(100), 0]
    there, back = (sum(times[a][b] or 0 for a, b in pairwise(way)) for way in (tour, tour[::-1]))
    assert abs(there - back) > 600


def test_a_map_that_changed_after_the_plan_is_told() -> None:
    """Failure story 13: another version is another map; so are roads where there were none."""
    assert [outdated(*pair) for pair in (("a", "a"), (None, None), ("a", "b"), (None, "a"), ("a", None))] == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_a_ban_of_turning_round_is_no_ban_of_the_street() -> None:
    """From west to west is the U-turn; going straight on is nobody's ban. The crossing is passed, and the next end serves."""
    signed = [road((-10, 0), (0, 0), id="west", bans=[Ban(at(0, 0), "west")]), *CROSS[1:]]
    places = [at(-5, -0.1), at(-8, 0.1)]
    free, banned = (graph.travel_on(network(roads, places, sides=[Side.KERB] * 2), places).duration_s[0][1] for roads in (CROSS, signed))
    assert free == pytest.approx(50 + 60 + 80 + 7, abs=1)
    assert banned == pytest.approx(50 + 100 + 20 + 100 + 80 + 7, abs=2)
    assert seconds(signed, ENDS["west"], ENDS["east"]) == pytest.approx(200, abs=1)


def test_a_sign_that_names_a_road_that_is_not_there_changes_nothing() -> None:
    """Only into a road that no truck may use: nobody is locked in by that."""
    for only in (False, True):
        signed = [road((-10, 0), (0, 0), id="west", bans=[Ban(at(0, 0), "gone", only)]), *CROSS[1:]]
        assert seconds(signed, ENDS["west"], ENDS["north"]) == seconds(CROSS, ENDS["west"], ENDS["north"])


@st.composite
def _streets(draw: st.DrawFn) -> list[tuple[Spot, Spot, bool]]:
    """Straight streets between crossings on a coarse grid, no two between the same crossings."""
    spots = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=8, unique=True))
    ends = st.lists(st.sampled_from(spots), min_size=2, max_size=2, unique=True).map(lambda pair: (pair[0], pair[1]))
    found = draw(st.lists(st.tuples(ends, st.booleans()), min_size=2, max_size=14, unique_by=lambda each: frozenset(each[0])))
    return [(a, b, oneway) for (a, b), oneway in found if not any(_within(a, each, b) for each in spots)] or [((0, 0), (1, 0), False)]


def _within(a: Spot, spot: Spot, b: Spot) -> bool:
    """Whether a street passes a crossing without meeting it."""
    (x, y), (u, v) = (spot[0] - a[0], spot[1] - a[1]), (b[0] - a[0], b[1] - a[1])
    return x * v == y * u and 0 < x * u + y * v < u * u + v * v


@given(_streets())
def test_the_quickest_way_is_that_of_a_search_by_hand(streets: list[tuple[Spot, Spot, bool]]) -> None:
    """On any map, between all crossings: a search over (from where, where) in plain Python finds the same seconds."""
    spots = sorted({spot for a, b, _ in streets for spot in (a, b)})
    places = [at(*spot) for spot in spots]
    found = graph.travel([road(a, b, oneway=oneway) for a, b, oneway in streets], places)
    for row, origin in enumerate(spots):
        by_hand = _by_hand(streets, origin)
        for column, target in enumerate(spots):
            cell = found.duration_s[row][column]
            expected = by_hand.get(target)
            assert (cell is None) == (expected is None)
            if cell is not None:
                assert cell == pytest.approx(expected, abs=1.2)


def _by_hand(streets: Sequence[tuple[Spot, Spot, bool]], origin: Spot) -> dict[Spot, float]:
    """Seconds to each crossing that can be reached."""
    on: defaultdict[Spot, list[Spot]] = defaultdict(list)
    meet: Counter[Spot] = Counter()
    for a, b, oneway in streets:
        on[a].append(b)
        if not oneway:
            on[b].append(a)
        meet.update((a, b))
    best: dict[tuple[Spot, Spot], float] = {}
    reached = {origin: 0.0}
    queue = [(10 * math.dist(origin, there), origin, there) for there in on[origin]]
    heapq.heapify(queue)
    while queue:
        now, before, here = heapq.heappop(queue)
        if (before, here) in best:
            continue
        best[before, here] = now
        reached.setdefault(here, now)
        others = [there for there in on[here] if there != before]
        for there in on[here] if meet[here] != 2 or not others else others:
            heapq.heappush(queue, (now + _turn(before, here, there, meet[here], bool(others)) + 10 * math.dist(here, there), here, there))
    return reached


def _turn(before: Spot, here: Spot, there: Spot, meet: int, elsewhere: bool) -> float:
    if there == before:
        return 60 if meet > 1 and elsewhere else 20
    if meet < 3:
        return 0
    (x, y), (u, v) = (here[0] - before[0], here[1] - before[1]), (there[0] - here[0], there[1] - here[1])
    angle = math.degrees(math.atan2(x * v - y * u, x * u + y * v))
    return 0 if abs(angle) <= 40 else 8 if angle > 0 else 3
