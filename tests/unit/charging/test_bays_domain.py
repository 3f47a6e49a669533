"""Which bays are served, and how well a station and a car park fit: laws of pure arithmetic."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityloop_charging.bays.domain import (
    BY_SCORE,
    PPM,
    WITHIN_M,
    By,
    Candidate,
    Decider,
    InvalidClaim,
    Link,
    LinkState,
    Place,
    ServingEvse,
    Station,
    candidates,
    check_claim,
    count_plausibility,
    name_similarity,
    outranks,
    served_bays,
)
from cityloop_common.geo import Position, distance_m

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HERE = Position(109.787, 39.565)
PLACE = Place("lot-1", "文化广场停车场", "Culture Square Car Park", HERE, "public", "open", "surface", None, 200, 20, 1)
STATION = Station("999000001*S001", "文化广场充电站", "Culture Square Charging Station", HERE, 20)
evses = st.lists(
    st.builds(ServingEvse, st.sampled_from(["a", "b"]), st.none() | st.sampled_from(["1", "2", "A-3", "a-3", " Ａ－3", " "])), max_size=30
)
bays = st.integers(0, 40)


def north(metres: float) -> Position:
    """A position so far to the north of the middle."""
    return Position(HERE.lon, HERE.lat + metres / 111_195)


@given(evses, bays)
def test_no_more_bays_are_served_than_there_are_or_evses(listed: list[ServingEvse], total: int) -> None:
    """And never fewer than none."""
    assert 0 <= served_bays(listed, total) <= min(total, len(listed))


@given(evses, bays)
def test_the_order_of_evses_and_stations_does_not_matter(listed: list[ServingEvse], total: int) -> None:
    """It is a set of bays, whoever serves them."""
    moved = [replace(each, location_id="c") for each in reversed(listed)]
    assert served_bays(listed, total) == served_bays(moved, total)


@given(evses, bays)
def test_a_numbered_bay_counts_once_however_often_it_is_named(listed: list[ServingEvse], total: int) -> None:
    """By another connector, by another station, in other characters."""
    again = [ServingEvse("z", each.bay_no.lower()) for each in listed if each.bay_no is not None and each.bay_no.strip()]
    assert served_bays(listed + again, total) == served_bays(listed, total)


@given(evses, bays)
def test_one_more_evse_serves_at_most_one_more_bay(listed: list[ServingEvse], total: int) -> None:
    """And takes none away."""
    before = served_bays(listed, total)
    for more in (ServingEvse("a", None), ServingEvse("a", "new")):
        assert before <= served_bays([*listed, more], total) <= before + 1
        assert served_bays([*listed, more], total) == min(total, before + 1), "it serves a bay of its own while there is one"


@pytest.mark.parametrize(
    "numbers, total, served",
    [
        ([], 10, 0),
        ([None] * 3, 10, 3),
        ([None] * 30, 10, 10),
        (["1", "1", "2"], 10, 2),
        (["1", "1", None], 10, 2),
        (["1", "2"], 1, 1),
        ([None], 0, 0),
    ],
)
def test_bays_with_and_without_numbers(numbers: list[str | None], total: int, served: int) -> None:
    """A station without bay numbers counts the smaller of its EVSEs and the car park's bays."""
    assert served_bays([ServingEvse("a", each) for each in numbers], total) == served


def test_the_nearest_of_equals_comes_first_and_80_m_is_the_end() -> None:
    """Same name and count: distance decides; beyond 80 m nothing is proposed."""
    places = [replace(PLACE, id=f"lot-{metres}", position=north(metres)) for metres in (79, 10, 40, 81)]
    found = candidates(STATION, places)
    assert [each.place_id for each in found] == ["lot-10", "lot-40", "lot-79"]
    assert [each.distance_m for each in found] == [10, 40, 79]
    assert [each.score_ppm for each in found] == sorted((each.score_ppm for each in found), reverse=True)


def test_a_name_outweighs_some_metres() -> None:
    """The same name at 30 m fits better than another name at 15 m."""
    stranger = replace(PLACE, id="other", name="第一中学", name_en=None, position=north(15))
    assert [each.place_id for each in candidates(STATION, [stranger, replace(PLACE, position=north(30))])] == ["lot-1", "other"]


def test_a_refused_car_park_is_no_candidate() -> None:
    """The next best is."""
    other = replace(PLACE, id="lot-2", position=north(50))
    assert [each.place_id for each in candidates(STATION, [PLACE, other], refused=["lot-1"])] == ["lot-2"]


@given(st.floats(0, 200), st.integers(0, 300), st.integers(0, 300), st.integers(0, 50), st.text(max_size=20), st.text(max_size=20))
def test_a_score_is_a_share_and_its_evidence_whole_numbers(
    metres: float, count: int, total: int, ev_bays: int, name: str, place_name: str
) -> None:
    """0 to 1,000,000, whatever the names are."""
    place = replace(PLACE, position=north(metres), total_bays=total, ev_bays=ev_bays, name=place_name, name_en=None)
    for each in candidates(replace(STATION, name=name, evses=count), [place]):
        assert 0 <= each.score_ppm <= PPM
        assert all(isinstance(value, int) and value >= 0 for value in each.evidence().values())
        assert each.distance_m == round(distance_m(HERE, place.position)) <= WITHIN_M


@given(st.text(max_size=30), st.text(max_size=30))
def test_name_similarity_is_a_symmetric_share(one: str, other: str) -> None:
    """A name with something of its own is wholly like itself."""
    found = name_similarity(one, other)
    assert 0 <= found <= 1
    assert found == name_similarity(other, one)
    assert name_similarity(one, one) in {0, 1}


@pytest.mark.parametrize(
    "one, other, alike",
    [
        ("文化广场充电站", "文化广场停车场（虚构）", Fraction(1)),
        ("Culture Square Charging Station", "culture square car park (invented)", Fraction(1)),
        ("体育中心充电站", "体育公园停车场", Fraction(1, 3)),
        ("充电站", "停车场", Fraction(0)),
        ("人民医院", "火车站", Fraction(0)),
        ("", "", Fraction(0)),
    ],
)
def test_what_every_name_has_says_nothing(one: str, other: str, alike: Fraction) -> None:
    """Station, car park, invented: left out; the rest is compared by pairs of characters."""
    assert name_similarity(one, other) == alike


@pytest.mark.parametrize(
    "count, total, ev_bays, fits",
    [
        (0, 10, 5, 0),
        (5, 0, 0, 0),
        (20, 200, 20, 1),
        (10, 200, 20, Fraction(1, 2)),
        (40, 200, 20, Fraction(1, 2)),
        (8, 10, 0, Fraction(1, 2)),
        (20, 10, 0, Fraction(1, 4)),
    ],
)
def test_ev_bays_say_more_than_all_bays(count: int, total: int, ev_bays: int, fits: Fraction) -> None:
    """As many chargers as EV bays fit best."""
    assert count_plausibility(count, replace(PLACE, total_bays=total, ev_bays=ev_bays)) == fits


def link(state: LinkState, by: By = BY_SCORE, place_id: str = "lot-1", evidence: dict[str, object] | None = None) -> Link:
    return Link(STATION.location_id, place_id, state, by, evidence or {}, NOW, NOW)


def test_the_scoring_never_moves_what_somebody_said() -> None:
    """A confirmed link and a claim stay; its own proposals it replaces by others, and takes back when nothing is near."""
    best = candidates(STATION, [PLACE])[0]
    operator = By(Decider.OPERATOR)
    assert outranks(best, None)
    assert not outranks(None, None)
    assert not outranks(best, link(LinkState.CONFIRMED, By(Decider.OFFICER, "x"), "lot-9"))
    assert not outranks(best, link(LinkState.PROPOSED, operator, "lot-9"))
    assert not outranks(None, link(LinkState.PROPOSED, operator))
    assert outranks(best, link(LinkState.PROPOSED, place_id="lot-9"))
    assert not outranks(best, link(LinkState.PROPOSED, evidence=best.evidence())), "the same again is no news"
    assert outranks(None, link(LinkState.PROPOSED))
    for gone in (LinkState.REJECTED, LinkState.WITHDRAWN):
        assert outranks(best, link(gone, By(Decider.OFFICER), "lot-9"))
        assert not outranks(None, link(gone, By(Decider.OFFICER)))


def test_equal_scores_are_ordered_by_id() -> None:
    """So that every replica proposes the same."""
    twins = [replace(PLACE, id=id) for id in ("lot-b", "lot-a")]
    assert [each.place_id for each in candidates(STATION, twins)] == ["lot-a", "lot-b"]
    assert isinstance(candidates(STATION, twins)[0], Candidate)


@pytest.mark.parametrize(
    "place_id, bay_nos",
    [
        ("", []),
        ("../x", []),
        ("a" * 65, []),
        ("lot\x00", []),
        ("lot", ["1", "1"]),
        ("lot", [""]),
        ("lot", ["12345678901"]),
        ("lot", ["a\x00"]),
    ],
)
def test_a_claim_that_cannot_be_one_is_refused(place_id: str, bay_nos: list[str]) -> None:
    """Ids and bay numbers of T/CEC's length, each bay once."""
    with pytest.raises(InvalidClaim):
        check_claim(place_id, bay_nos)
