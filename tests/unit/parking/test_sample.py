"""The sample is the same everywhere, and says that it is invented."""

from __future__ import annotations

from datetime import UTC, datetime

from cityloop_common.geo import Bounds
from cityloop_common.settings import SharedSettings
from cityloop_parking import sample
from cityloop_parking.observations.domain import resolve
from cityloop_parking.places.domain import Access, Category, PlaceKind, check

NOW = datetime(2026, 6, 1, 4, 0, tzinfo=UTC)


def test_sixty_car_parks_that_an_operator_could_have_sent() -> None:
    """Their facts are valid within the city, their ids in a row, and every one is marked."""
    places = sample.invented_places()
    assert [facts.id for facts in places] == [f"sample-{number:03d}" for number in range(1, 61)]
    bounds = Bounds(*SharedSettings().city_bounds)
    assert all(check(facts, within=bounds) and facts.invented and "（虚构）" in facts.name for facts in places)
    assert {facts.access for facts in places} == {Access.PUBLIC, Access.PERMIT}


def test_the_first_twelve_are_those_of_the_first_release() -> None:
    """Their bays and kinds are in guides and tests."""
    first = sample.invented_places()[:12]
    assert [facts.total_bays for facts in first] == [214, 496, 48, 766, 284, 366, 574, 40, 236, 447, 25, 542]
    assert [facts.kind for facts in first if facts.kind is not PlaceKind.SURFACE] == [
        "garage",
        "on_street",
        "garage",
        "on_street",
        "garage",
        "on_street",
    ]
    assert (first[3].name, first[3].position.lon, first[3].kind) == ("体育中心停车楼（虚构）", 109.7768, PlaceKind.GARAGE)


def test_streets_and_charging_bays_are_there_for_what_the_services_show() -> None:
    """Sections of street to be closed, most car parks with bays for charging, and a share of them near the plan's 15 %."""
    places = sample.invented_places()
    assert sum(facts.kind is PlaceKind.ON_STREET for facts in places) >= 14
    with_ev = [facts for facts in places if any(pool.category is Category.EV for pool in facts.pools)]
    assert len(with_ev) > len(places) * 0.6
    ev = sum(pool.capacity for facts in places for pool in facts.pools if pool.category is Category.EV)
    assert 0.08 < ev / sum(facts.total_bays for facts in places) < 0.15


def test_counts_are_the_same_for_the_same_minute() -> None:
    """They can be true, and move with the hour."""
    for facts in sample.invented_places():
        seen = sample._observation(facts, NOW, 60)
        assert seen == sample._observation(facts, NOW, 60)
        taken = resolve(seen.counts, {str(pool.category): pool.capacity for pool in facts.pools})
        assert all(0 <= each.occupied <= each.capacity for each in taken)
    facts = sample.invented_places()[3]
    assert sample._observation(facts, NOW, 60).counts != sample._observation(facts, NOW.replace(hour=20), 60).counts
