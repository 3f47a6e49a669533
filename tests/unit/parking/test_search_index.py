"""The index answers what a full scan answers, and never calls an old number new."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_common.clock import rfc3339
from cityloop_common.geo import Position, distance_m
from cityloop_parking.availability.freshness import Freshness
from cityloop_parking.chargers.domain import EvBays
from cityloop_parking.closures.domain import Window, merged
from cityloop_parking.search.domain import NEVER, LiveCount, Parts, Shown, freshness, render, shown, turned
from cityloop_parking.search.index import Near, SearchIndex

NOW = 1_800_000_000.0
HOUR = 3600.0


def place(id: str = "a", lon: float = 109.787, lat: float = 39.565, *counts: LiveCount, version: int = 1, state: str = "open") -> Shown:
    return shown(described(id, lon, lat, state=state), Parts(counts), version=version)


def described(id: str = "a", lon: float = 109.787, lat: float = 39.565, *, state: str = "open", kind: str = "surface") -> dict[str, object]:
    capacity = {"standard": 100, "ev": 10, "motorcycle": 50}
    return {"id": id, "name": f"停车场 {id}", "lon": lon, "lat": lat, "kind": kind, "state": state, "capacity": capacity}


def street(*windows: tuple[float, float], state: str = "open", counts: tuple[LiveCount, ...] = (), charging: EvBays | None = None) -> Shown:
    """A section of street that collection needs in these windows, in seconds from now."""
    closures = merged(Window(at(start), at(end)) for start, end in windows)
    return shown(described(state=state, kind="on_street"), Parts(counts, charging, closures), version=1)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


def count(age_s: float = 60, occupied: int = 40, *, category: str = "standard", capacity: int = 100, source: str = "s") -> LiveCount:
    return LiveCount(category, occupied, capacity, NOW - age_s, source, 900)


def said(place: Shown, now_s: float = NOW, *, heard_s: float = NEVER) -> dict[str, object]:
    answer: dict[str, object] = orjson.loads(render(place, now_s, heard_s=heard_s).body + b"}")
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


windows = st.lists(st.tuples(st.integers(-4_000, 100_000), st.integers(1, 5_000)), max_size=4)


@given(windows, st.integers(-5_000, 110_000), st.booleans())
def test_a_street_is_closed_in_its_windows_and_only_then(each: list[tuple[int, int]], later_s: int, is_open: bool) -> None:
    """Second by second: closed from a window's start, open again at its end, announced while it is at most a day ahead."""
    spans = [(start, start + length) for start, length in each]
    answer = said(street(*spans, state="open" if is_open else "closed", counts=(count(-later_s),)), NOW + later_s)
    joined = [(one.starts_at.timestamp() - NOW, one.ends_at.timestamp() - NOW) for one in merged(Window(at(s), at(e)) for s, e in spans)]
    inside = next((end for start, end in joined if start <= later_s < end), None)
    closed_now = not is_open or inside is not None
    assert (answer["state"], answer["freshness"]) == (("closed", "closed") if closed_now else ("open", "live"))
    assert answer["free"] == ({} if closed_now else {"standard": 60})
    until = None if inside is None or not is_open else rfc3339(at(inside))
    assert (answer["closed_until"], answer["closed_for"]) == (until, until and "collection")
    ahead = [(start, end) for start, end in joined if later_s < start < later_s + 24 * HOUR]
    assert answer["closures"] == [{"starts_at": rfc3339(at(start)), "ends_at": rfc3339(at(end))} for start, end in ahead]


@given(windows, st.integers(-5_000, 5_000), st.floats(0, 110_000), st.booleans())
def test_a_kept_rendering_is_right_through_every_window(each: list[tuple[int, int]], begin_s: int, later_s: float, is_open: bool) -> None:
    """At the very edge it is made anew: nobody is sent to a street at the second at which the truck comes."""
    spot = street(*((start, start + length) for start, length in each), state="open" if is_open else "closed", counts=(count(),))
    first = render(spot, NOW + begin_s)
    edges = [edge for start, length in each for edge in (start, start + length, start - 24 * HOUR)]
    for instant in (NOW + begin_s + later_s, *(NOW + edge for edge in edges)):
        if NOW + begin_s <= instant <= first.valid_until_s:
            assert render(spot, instant).body == first.body


def test_only_a_street_is_closed_for_collection() -> None:
    """Another kind of place keeps its windows to itself."""
    closures = [Window(at(-10), at(10))]
    assert said(shown(described(kind="garage"), Parts(closures=closures), version=1))["state"] == "open"
    assert said(street((-10, 10)))["state"] == "closed"


def test_charging_bays_are_shown_beside_the_free_spaces() -> None:
    """Null where no charger is known; not more than the place has, motorcycles' spaces apart; none free while it is closed."""
    assert said(place())["charging"] is None
    known = EvBays(12, 9, 4, at(-60))
    shown_now = {"bays": 12, "working": 9, "free": 4, "as_of": rfc3339(at(-60)), "heard_at": rfc3339(at(-60)), "freshness": "live"}
    assert said(street(charging=known), heard_s=NOW - 60)["charging"] == shown_now
    assert said(street((-10, 10), charging=known), heard_s=NOW - 60)["charging"] == shown_now | {"free": None}
    assert said(street(state="closed", charging=known), heard_s=NOW - 60)["charging"] == shown_now | {"free": None}
    many = {"bays": 110, "working": 110, "free": 110, "as_of": None}
    assert said(street(charging=EvBays(150, 130, 120, None)), heard_s=NOW - 60)["charging"] == shown_now | many


@pytest.mark.parametrize(
    "silent_s, freshness, working, free",
    [
        (-60, "live", 9, 4), (30 * 60, "live", 9, 4), (30 * 60 + 1, "late", 9, 4), (24 * HOUR, "late", 9, 4),
        (24 * HOUR + 1, "unknown", None, None), (float("inf"), "unknown", None, None),
    ],
)  # fmt: skip
def test_bays_grow_old_when_charging_is_silent(silent_s: float, freshness: str, working: int | None, free: int | None) -> None:
    """An hour-old "4 free" is not sold as a new one, and after a day nothing is said of what they do; how many there are stays."""
    charging = said(street(charging=EvBays(12, 9, 4, at(-60))), heard_s=NOW - silent_s)["charging"]
    assert isinstance(charging, dict)
    assert (charging["freshness"], charging["bays"], charging["working"], charging["free"]) == (freshness, 12, working, free)
    assert charging["heard_at"] == (None if silent_s == float("inf") else rfc3339(at(-silent_s)))


@given(st.floats(-300, 30 * HOUR), st.floats(0, 30 * HOUR))
def test_a_kept_rendering_knows_when_its_chargers_grow_old(silent_s: float, later_s: float) -> None:
    """At the last instant of its validity it is what a new one would say, and just behind an edge it is made anew."""
    spot, heard_s = street(charging=EvBays(12, 9, 4, None)), NOW - silent_s
    first = render(spot, NOW, heard_s=heard_s)
    for instant in (NOW + later_s, first.valid_until_s):
        if NOW <= instant <= first.valid_until_s < float("inf"):
            assert render(spot, instant, heard_s=heard_s).body == first.body
    if first.valid_until_s < float("inf"):
        assert render(spot, first.valid_until_s + 0.001, heard_s=heard_s).body != first.body


def test_the_index_shows_what_it_hears_of_charging() -> None:
    """At once, though it had rendered the place before; an older word changes nothing."""
    index = SearchIndex()
    index.put(street(charging=EvBays(12, 9, 4, None)))
    ask, seen = Near(Position(109.787, 39.565), 1000, 1), []
    for heard_s in (None, NOW - 2 * HOUR, NOW - 60, NOW - HOUR):
        if heard_s is not None:
            index.hear(heard_s)
        seen.append(orjson.loads(index.answer(ask, NOW))[0]["charging"]["freshness"])
    assert seen == ["unknown", "late", "live", "live"]


def test_the_index_knows_which_windows_began_or_ended() -> None:
    """Each edge belongs to the first look at or after it; a place that loses its windows is not looked at any more."""
    index = SearchIndex()
    index.put(street((10, 20)))
    looks = [index.turned(NOW + since, NOW + until) for since, until in ((0, 9.9), (9.9, 10), (10, 19), (19, 25), (25, 99))]
    assert [[each.id for each in look] for look in looks] == [[], ["a"], [], ["a"], []]
    index.put(shown(described(kind="on_street"), Parts(), version=2))
    assert index.turned(NOW, NOW + 99) == []


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(-60, 30 * HOUR), st.booleans()), max_size=30),
    st.lists(st.floats(0, 60 * HOUR), min_size=2, max_size=8),
)
def test_what_the_clock_turns_is_found_as_by_a_full_scan(written: list[tuple[int, float, bool]], looks: list[float]) -> None:
    """Whatever was written over what: a look finds exactly the places of which one count's class changed since the last."""
    index, held = SearchIndex(), dict[str, Shown]()
    for version, (number, age_s, is_open) in enumerate(written, 1):
        counts = count(age_s), count(age_s / 3, category="ev")
        held[str(number)] = place(str(number), 109.787, 39.565, *counts, version=version, state="open" if is_open else "closed")
        index.put(held[str(number)])
    for since, until in pairwise(sorted(NOW + look for look in looks)):
        changed = {id for id, each in held.items() if each.is_open and _classes(each, since) != _classes(each, until)}
        assert {each.id for each in index.turned(since, until)} == changed


def _classes(of: Shown, now_s: float) -> list[Freshness]:
    return [freshness(each, now_s) for each in of.counts]


def test_a_look_for_turned_places_does_not_scan_the_city(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5,000 places, those whose seconds were looked at: neither the rest of the city nor what turned long ago."""
    index, judged = SearchIndex(), list[str]()
    for number in range(5_000):
        index.put(place(f"p{number}", 109.787, 39.565, *(count(number, category=each) for each in ("standard", "ev", "motorcycle"))))

    def judge(of: Shown, since_s: float, now_s: float) -> bool:
        judged.append(of.id)
        return turned(of, since_s, now_s)

    monkeypatch.setattr("cityloop_parking.search.index.turned", judge)
    assert [each.id for each in index.turned(NOW + 0.5, NOW + 1.5)] == ["p1799"]
    assert set(judged) <= {"p1799", "p1800"}


def test_an_answer_is_json_with_distances() -> None:
    """Pre-serialised parts fit together."""
    index = SearchIndex()
    for number in range(3):
        index.put(place(f'"{number}"', 109.787 + number / 1000))
    answer = orjson.loads(index.answer(Near(Position(109.787, 39.565), 1000, 2), NOW))
    assert [(each["id"], each["distance_m"]) for each in answer] == [('"0"', 0), ('"1"', 86)]


@given(st.lists(st.tuples(st.floats(0, 30 * HOUR), st.booleans(), st.booleans()), max_size=20), st.floats(0, 30 * HOUR))
def test_how_fresh_places_are_is_counted_as_it_is_shown(ages: list[tuple[float, bool, bool]], later_s: float) -> None:
    """The figure that an alert watches and what a driver reads are one judgement; where nobody counts there is nothing to miss."""
    index, now_s = SearchIndex(), NOW + later_s
    for number, (age_s, is_open, is_counted) in enumerate(ages):
        counts = (count(age_s), count(age_s / 2, category="ev")) if is_counted else ()
        index.put(place(f"p{number}", 109.787, 39.565, *counts, state="open" if is_open else "closed"))
    shown_to_drivers = Counter(
        str(each["freshness"]) for each in orjson.loads(index.answer(Near(Position(109.787, 39.565), 10, 100), now_s))
    )
    never = sum(is_open and not is_counted for _, is_open, is_counted in ages)
    classes = index.classes(now_s)
    assert classes["uncounted"] == never
    assert classes - Counter(uncounted=never) + Counter(unknown=never) == shown_to_drivers
