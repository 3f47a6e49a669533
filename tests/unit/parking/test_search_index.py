"""The index answers what a full scan answers, and never calls an old number new."""

from __future__ import annotations

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.geo import Position, distance_m
from cityloop_parking.search.domain import LiveCount, Parts, Shown, render, shown
from cityloop_parking.search.index import Near, SearchIndex

NOW = 1_800_000_000.0
HOUR = 3600.0


def place(id: str = "a", lon: float = 109.787, lat: float = 39.565, *counts: LiveCount, version: int = 1, state: str = "open") -> Shown:
    described = {"id": id, "name": f"停车场 {id}", "lon": lon, "lat": lat, "state": state, "capacity": {"standard": 100, "ev": 10}}
    return shown(described, Parts(counts), version=version)


def count(age_s: float = 60, occupied: int = 40, *, category: str = "standard", capacity: int = 100, source: str = "s") -> LiveCount:
    return LiveCount(category, occupied, capacity, NOW - age_s, source, 900)


def said(place: Shown, now_s: float = NOW) -> dict[str, object]:
    answer: dict[str, object] = orjson.loads(render(place, now_s).body + b"}")
    return answer


points = st.tuples(st.floats(109.70, 109.88), st.floats(39.50, 39.63))


@given(
    st.lists(points, max_size=120),
    points,
    st.sampled_from([50, 400, 2_000, 9_000, 20_000]),
    st.integers(1, 30),
)
def test_the_nearest_are_those_of_a_full_scan(
    places: list[tuple[float, float]], at: tuple[float, float], radius_m: int, limit: int
) -> None:
    """Same distances, in the same order, at any radius and limit."""
    index = SearchIndex()
    for number, (lon, lat) in enumerate(places):
        index.put(place(str(number), lon, lat))
    expected = sorted(d for spot in places if (d := distance_m(Position(*spot), Position(*at))) <= radius_m)[:limit]
    found = index.nearest(Near(Position(*at), radius_m, limit))
    assert len(found) == len(expected)
    assert all(abs(metres - right) <= 0.51 for (metres, _), right in zip(found, expected, strict=True))


@pytest.mark.parametrize("lat", [0.0, 39.565, -62.0, 85.0])
def test_the_rings_reach_far_enough_at_every_latitude(lat: float) -> None:
    """Squares get narrow towards the poles; nobody is left out for that."""
    index = SearchIndex()
    step = 700 / 111_195 / math.cos(math.radians(lat))
    for number in range(-10, 11):
        index.put(place(str(number), 20 + number * step, lat))
    assert len(index.nearest(Near(Position(20, lat), 3_510, 100))) == 11
    assert [entry.place.id for _, entry in index.nearest(Near(Position(20, lat), 20_000, 1))] == ["0"]


def test_only_a_newer_version_replaces() -> None:
    """Entries may come twice and late; a moved place is found at its new spot only."""
    index = SearchIndex()
    assert index.put(place(version=5)) is not None
    assert index.put(place(lon=109.0, version=5)) is None
    assert index.put(place(lon=109.0, version=4)) is None
    assert index.put(place(lon=109.80, version=6)) is not None
    assert len(index) == 1
    assert index.nearest(Near(Position(109.787, 39.565), 100, 5)) == []
    assert len(index.nearest(Near(Position(109.80, 39.565), 100, 5))) == 1


@pytest.mark.parametrize(
    "age_s, freshness",
    [(-200, "live"), (0, "live"), (1800, "live"), (1800.001, "late"), (24 * HOUR, "late"), (24 * HOUR + 0.001, "unknown")],
)
def test_freshness_turns_at_two_intervals_and_at_a_day(age_s: float, freshness: str) -> None:
    """The boundaries belong to the better class."""
    answer = said(place("a", 109.7, 39.5, count(age_s)))
    assert answer["freshness"] == freshness
    assert answer["free"] == ({} if freshness == "unknown" else {"standard": 60})


def test_the_oldest_number_shown_speaks_for_all() -> None:
    """A fresh count of one category does not make another's look fresh."""
    answer = said(place("a", 109.7, 39.5, count(60, source="new"), count(5000, 3, category="ev", capacity=10, source="old")))
    assert answer["free"] == {"standard": 60, "ev": 7}
    assert (answer["freshness"], answer["source"]) == ("late", "old")


def test_a_number_of_yesterday_is_not_shown() -> None:
    """It would be taken for one of today."""
    answer = said(place("a", 109.7, 39.5, count(60), count(25 * HOUR, 3, category="ev", capacity=10)))
    assert answer["free"] == {"standard": 60}
    assert answer["freshness"] == "live"


def test_never_counted_is_unknown_and_closed_is_closed() -> None:
    """Neither is full."""
    assert said(place()) | {"free": {}, "as_of": None, "source": None, "freshness": "unknown"} == said(place())
    assert said(place("a", 109.7, 39.5, count(), state="closed"))["freshness"] == "closed"
    assert said(place("a", 109.7, 39.5, count(), state="closed"))["free"] == {}


@pytest.mark.parametrize("occupied, capacity, free", [(120, 100, 0), (0, 2_000, 100), (70, 80, 10)])
def test_free_is_never_negative_nor_more_than_there_are(occupied: int, capacity: int, free: int) -> None:
    """14 of 22 lots of one city say otherwise."""
    assert said(place("a", 109.7, 39.5, count(60, occupied, capacity=capacity)))["free"] == {"standard": free}


@given(st.lists(st.floats(-300, 30 * HOUR), max_size=4), st.floats(0, 30 * HOUR))
def test_a_kept_rendering_is_what_a_new_one_would_say(ages: list[float], later_s: float) -> None:
    """`valid_until` is the first instant at which anything may change."""
    categories = ("standard", "ev", "accessible", "large")
    spot = place("a", 109.7, 39.5, *(count(age, category=category) for age, category in zip(ages, categories, strict=False)))
    first = render(spot, NOW)
    at = NOW + later_s
    if at <= first.valid_until_s:
        assert render(spot, at).body == first.body


def test_an_answer_is_json_with_distances() -> None:
    """Pre-serialised parts fit together."""
    index = SearchIndex()
    for number in range(3):
        index.put(place(f'"{number}"', 109.787 + number / 1000))
    answer = orjson.loads(index.answer(Near(Position(109.787, 39.565), 1000, 2), NOW))
    assert [(each["id"], each["distance_m"]) for each in answer] == [('"0"', 0), ('"1"', 86)]
