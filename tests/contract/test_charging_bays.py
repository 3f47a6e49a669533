"""Laws of which station stands in which car park, the same on every database."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cityloop_charging.bays import history, use_cases
from cityloop_charging.bays.domain import (
    By,
    ClaimTooFar,
    Decider,
    InvalidClaim,
    Link,
    LinkDecided,
    LinkState,
    UnknownLink,
)
from cityloop_charging.bays.tables import link, link_version, place, place_version
from cityloop_charging.bays.use_cases import Claim
from cityloop_charging.bays.views import Happened, PlaceView
from cityloop_charging.registry import use_cases as registry
from cityloop_charging.registry.domain import LocationFacts, LocationState, UnknownLocation
from cityloop_charging.registry.events import location_published
from cityloop_common.envelope import Event, EventType, Kind
from cityloop_common.geo import Position
from tests.contract.charging_support import CENTRE, OPERATOR, City, city, make_tables, station

PUBLISHED = EventType("parking.place.published.v1", "parking.place", Kind.STATE, PlaceView)
BY = By(Decider.OFFICER, "someone")
S1 = station(1).id


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


def north(metres: float) -> Position:
    """A position so far to the north of the middle."""
    return Position(CENTRE.lon, CENTRE.lat + metres / 111_195)


def told(id: str, metres: float = 0, *, sequence: int = 1, at: datetime | None = None, **changes: object) -> tuple[Event, PlaceView]:
    """What parking publishes of a car park, as this room reads it."""
    at_north = north(metres)
    view = PlaceView.model_validate(
        {
            "place_id": id, "name": f"{id} 停车场", "access": "public", "state": "open", "kind": "surface", "lon": at_north.lon,
            "lat": at_north.lat, "total_bays": 100, "ev_bays": 10, **changes,
        }
    )  # fmt: skip
    happened_at = at or datetime.fromisoformat("2026-06-01T04:00:00+00:00") + timedelta(minutes=sequence)
    event_id = f"{id}-{sequence}"
    return PUBLISHED.event(view, id=event_id, key=id, sequence=sequence, time=happened_at, source="/cityloop/parking"), view


async def hear(town: City, *places: tuple[Event, PlaceView]) -> None:
    """Each event in a unit of its own."""
    for event, view in places:
        async with town.db.write() as tx:
            await use_cases.on_place(tx, town.ctx, event, view)


async def build(town: City, *stations: LocationFacts) -> None:
    """Stations, and what the room does once it hears of them."""
    async with town.db.write() as tx:
        for one in await registry.put_in(tx, town.ctx, stations, source="test"):
            await use_cases.on_location(tx, town.ctx, location_published(one, source="test"), Happened())


async def decided(town: City, what: str, place_id: str, location_id: str = S1) -> Link:
    async with town.db.write() as tx:
        made: Link = await getattr(use_cases, f"{what}_in")(tx, town.ctx, location_id, place_id, BY)
        return made


async def claimed(town: City, place_id: str, *bay_nos: str, location_id: str = S1) -> Link:
    async with town.db.write() as tx:
        return await use_cases.claim_in(tx, town.ctx, Claim(location_id, place_id, bay_nos))


async def links(town: City) -> list[tuple[str, str, LinkState]]:
    """Station, car park and state of every link."""
    return [
        (each.link.location_id, each.link.place_id, each.link.state)
        for each in await use_cases.links(town.ctx, state=None, after="", most=100)
    ]


async def test_the_best_car_park_near_is_proposed_whoever_comes_first(town: City) -> None:
    """A station that comes to car parks, and a car park that comes to a station; nothing beyond 80 m; nothing is told."""
    await hear(town, told("lot-a", 70), told("lot-b", 20), told("far", 90))
    await build(town, station(1), station(2, position=north(500)))
    assert await links(town) == [(S1, "lot-b", LinkState.PROPOSED)]
    await hear(town, told("lot-c", 505))
    assert await links(town) == [(S1, "lot-b", LinkState.PROPOSED), (station(2).id, "lot-c", LinkState.PROPOSED)]
    await hear(town, told("lot-d", 1, ev_bays=2))
    assert (await links(town))[0] == (S1, "lot-d", LinkState.PROPOSED), "a better one replaces it"
    assert {event.sequence for event in await town.told()} == {1}, "a proposal is no news of the station"


async def test_a_car_park_or_station_that_moves_away_takes_its_proposal_back(town: City) -> None:
    """Withdrawn by the scoring, so it may come again; the same event twice writes nothing."""
    await hear(town, told("lot", 10))
    await build(town, station(1))
    await hear(town, told("lot", 300, sequence=2), told("lot", 300, sequence=2))
    assert await links(town) == [(S1, "lot", LinkState.WITHDRAWN)]
    await hear(town, told("lot", 10, sequence=3))
    assert await links(town) == [(S1, "lot", LinkState.PROPOSED)]
    await build(town, station(1, position=north(900)))
    assert await links(town) == [(S1, "lot", LinkState.WITHDRAWN)]
    assert await town.count(link_version) == 4


async def test_confirming_tells_of_the_station_with_its_car_park(town: City) -> None:
    """Once, however often it is confirmed; taking it back tells of it without."""
    await hear(town, told("lot", 10))
    await build(town, station(1))
    first = await decided(town, "confirm", "lot")
    assert await decided(town, "confirm", "lot") == first
    assert (first.state, first.by, first.evidence["distance_m"]) == (LinkState.CONFIRMED, BY, 10)
    assert [(event.sequence, event.body().get("place_id")) for event in await town.told()] == [(1, None), (2, "lot")]
    taken = await decided(town, "withdraw", "lot")
    assert await decided(town, "withdraw", "lot") == taken
    assert [(event.sequence, event.body().get("place_id")) for event in await town.told()][2:] == [(3, None)]
    assert await links(town) == [(S1, "lot", LinkState.WITHDRAWN)], "what a person took away is not proposed again"
    async with town.db.read() as tx:
        rows = await tx.all(link_version.select().order_by(link_version.c.id))
    assert [row.state for row in rows] == ["proposed", "confirmed", "withdrawn"]
    assert rows[1].event_id == (await town.told())[1].id, "the journal names the event that told of it"


async def test_a_rejected_pair_is_not_proposed_again_the_next_best_is(town: City) -> None:
    """Also not when the car park changes; its operator may still claim it."""
    await hear(town, told("lot-a", 10), told("lot-b", 40))
    await build(town, station(1))
    rejected = await decided(town, "reject", "lot-a")
    assert (rejected.place_id, rejected.state) == ("lot-a", LinkState.REJECTED)
    assert await decided(town, "reject", "lot-a") == rejected, "rejecting again answers the same"
    assert await links(town) == [(S1, "lot-b", LinkState.PROPOSED)]
    await decided(town, "reject", "lot-b")
    await hear(town, told("lot-a", 5, sequence=2), told("lot-b", 5, sequence=2))
    assert await links(town) == [(S1, "lot-b", LinkState.REJECTED)]
    await claimed(town, "lot-a")
    assert await links(town) == [(S1, "lot-a", LinkState.PROPOSED)]


async def test_a_claim_waits_for_a_person_and_stays_over_scores(town: City) -> None:
    """The same claim again is no row; another car park's score does not replace it; a confirmed one cannot be claimed away."""
    await build(town, station(1))
    first = await claimed(town, "lot-z", "A1", "A2")
    assert (first.state, first.by.decider, first.evidence) == (
        LinkState.PROPOSED,
        Decider.OPERATOR,
        {"place_known": False, "claimed": True, "bay_nos": ["A1", "A2"]},
    )
    assert await claimed(town, "lot-z", "A1", "A2") == first
    assert await town.count(link_version) == 1
    await hear(town, told("lot-a", 1))
    assert await links(town) == [(S1, "lot-z", LinkState.PROPOSED)]
    confirmed = await decided(town, "confirm", "lot-z")
    assert confirmed.evidence == first.evidence
    assert await claimed(town, "lot-z") == confirmed
    with pytest.raises(LinkDecided):
        await claimed(town, "lot-a")
    assert [event.body().get("place_id") for event in await town.told()] == [None, "lot-z"], "a claim tells nobody"


async def test_a_claim_to_a_known_car_park_far_away_is_refused(town: City) -> None:
    """Up to 500 m it is the person's to decide."""
    await hear(town, told("near", 490), told("far", 510))
    await build(town, station(1))
    with pytest.raises(ClaimTooFar, match="510 m"):
        await claimed(town, "far")
    assert (await claimed(town, "near")).evidence["distance_m"] == 490


async def test_what_is_not_there_cannot_be_decided(town: City) -> None:
    """Unknown stations, pairs that nobody proposed, links that are decided: each its own answer, nothing written."""
    await hear(town, told("lot", 10))
    await build(town, station(1), station(2, position=north(900)))
    for what in ("confirm", "reject", "withdraw"):
        with pytest.raises(UnknownLocation):
            await decided(town, what, "lot", f"{OPERATOR}*none")
        with pytest.raises(UnknownLocation):
            await decided(town, what, "lot", "../x")
    for what, place_id in (("reject", "other"), ("withdraw", "lot"), ("withdraw", "other")):
        with pytest.raises(UnknownLink):
            await decided(town, what, place_id)
    with pytest.raises(UnknownLink):
        await decided(town, "reject", "lot", station(2).id)
    with pytest.raises(InvalidClaim):
        await decided(town, "confirm", "../x")
    await decided(town, "confirm", "lot")
    with pytest.raises(LinkDecided):
        await decided(town, "confirm", "other")
    with pytest.raises(LinkDecided):
        await decided(town, "reject", "lot")
    assert await town.count(link_version) == 2


async def test_a_confirmed_link_to_a_car_park_not_heard_of_counts_once_it_comes(town: City) -> None:
    """Events arrive in any order: confirming needs no mirror."""
    await build(town, station(1))
    await decided(town, "confirm", "late")
    await hear(town, told("late", 30))
    async with town.db.read() as tx:
        known = town.clock.now()
        assert [(each.place_id, each.total_bays) for each in await history.places(tx, known, known)] == [("late", 100)]
        assert [(each.place_id, each.state) for each in await history.links(tx, known, known)] == [("late", LinkState.CONFIRMED)]


@pytest.mark.parametrize("seed", range(3))
async def test_events_in_any_order_and_twice_leave_the_same_view(town: City, seed: int) -> None:
    """The newest version of each car park decides, and the proposals that follow from it."""
    events = [
        told(f"lot-{number}", 20 * number + sequence, sequence=sequence, total_bays=10 * sequence)
        for number in range(1, 4)
        for sequence in range(1, 4)
    ]
    shuffled = events * 2
    random.Random(seed).shuffle(shuffled)
    await build(town, station(1))
    await hear(town, *shuffled)
    async with town.db.read() as tx:
        found = {row.id: (row.sequence, row.total_bays) for row in await tx.all(place.select())}
        versions = await tx.all(place_version.select())
    assert found == {f"lot-{number}": (3, 30) for number in range(1, 4)}
    assert len({(row.place_id, row.sequence) for row in versions}) == len(versions)
    assert await links(town) == [(S1, "lot-1", LinkState.PROPOSED)]


async def test_what_was_emptied_is_the_same_after_it_was_told_again(town: City) -> None:
    """A mirror that was lost is rebuilt from the newest events alone."""
    newest = [told("lot-a", 10, sequence=4, district="d1"), told("lot-b", 30, sequence=2, access="private", state="closed")]
    await hear(town, told("lot-a", 90, sequence=1), *newest)
    async with town.db.read() as tx:
        known = town.clock.now()
        before = [replace(each, row_id="") for each in await history.places(tx, known, known)]
    async with town.db.write() as tx:
        await tx.run(place.delete())
        await tx.run(place_version.delete())
    await hear(town, *newest)
    async with town.db.read() as tx:
        known = town.clock.now()
        assert [replace(each, row_id="") for each in await history.places(tx, known, known)] == before


async def test_car_parks_and_links_can_be_read_as_they_were(town: City) -> None:
    """A car park changed when its event says so, and was known when it came; a link counts from its decision on."""
    start = town.clock.now()
    await hear(town, told("lot", 10, sequence=1, at=start - timedelta(hours=5), total_bays=50))
    await build(town, station(1))
    first = town.later(hours=1)
    await hear(town, told("lot", 10, sequence=2, at=start - timedelta(hours=3), total_bays=80))
    await decided(town, "confirm", "lot")
    second = town.later(hours=1)
    await decided(town, "withdraw", "lot")
    now = town.clock.now()
    async with town.db.read() as tx:
        bays = [
            [each.total_bays for each in await history.places(tx, at, known_at)]
            for at, known_at in (
                (start - timedelta(hours=4), now),
                (start - timedelta(hours=2), now),
                (start - timedelta(hours=2), first),
                (start - timedelta(hours=6), now),
            )
        ]
        assert bays == [[50], [80], [50], []], "the later size was not known at first"
        states = [[each.state for each in await history.links(tx, at, now)] for at in (start - timedelta(hours=1), first, second, now)]
        assert states == [[], [LinkState.PROPOSED], [LinkState.CONFIRMED], [LinkState.WITHDRAWN]]
        assert [each.state for each in await history.links(tx, now, second)] == [LinkState.CONFIRMED]


async def test_a_proposal_that_both_sides_missed_is_made_up_for(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """A car park and stations at the same moment on two workers; the second sweep, and what was decided, change nothing."""
    monkeypatch.setattr(use_cases, "SCORED_AT_ONCE", 2)
    await hear(town, told("lot", 10))
    closed = station(5, state=LocationState.CLOSED)
    async with town.db.write() as tx:  # stored, and the consumer has not heard of the car park when it hears of them
        await registry.put_in(tx, town.ctx, [*(station(number, position=north(2 * number)) for number in range(1, 4)), closed], source="t")
        await registry.put_in(tx, town.ctx, [station(4, position=north(900))], source="t")
    await decided(town, "confirm", "other", station(2).id)
    assert await use_cases.propose_missed(town.ctx) == 2
    assert await use_cases.propose_missed(town.ctx) == 0
    assert await links(town) == [
        (S1, "lot", LinkState.PROPOSED), (station(2).id, "other", LinkState.CONFIRMED), (station(3).id, "lot", LinkState.PROPOSED)
    ]  # fmt: skip


async def test_unlinked_stations_and_links_are_listed_in_pages(town: City) -> None:
    """Those without a confirmed car park, with what is proposed; links by state, with both names."""
    await hear(town, told("lot", 10))
    await build(town, *(station(number, position=north(5 * number), evses=number) for number in range(1, 5)))
    await decided(town, "confirm", "lot", station(2).id)
    await decided(town, "reject", "lot", station(3).id)
    first = await use_cases.unlinked(town.ctx, after="", most=2)
    rest = await use_cases.unlinked(town.ctx, after=first[-1].location_id, most=5)
    assert [(each.location_id[-4:], each.evses, each.link_state, each.proposed_place_id) for each in (*first, *rest)] == [
        ("S001", 1, LinkState.PROPOSED, "lot"),
        ("S003", 3, LinkState.REJECTED, None),
        ("S004", 4, LinkState.PROPOSED, "lot"),
    ]
    proposed = await use_cases.links(town.ctx, state=LinkState.PROPOSED, after="", most=1)
    assert [(each.link.location_id, each.location_name, each.place_name) for each in proposed] == [(S1, station(1).name, "lot 停车场")]


async def test_a_failed_unit_leaves_neither_link_nor_event(town: City) -> None:
    """Link, station and outbox are one transaction."""
    await build(town, station(1))
    with pytest.raises(RuntimeError):
        async with town.db.write() as tx:
            await use_cases.confirm_in(tx, town.ctx, S1, "lot", BY)
            raise RuntimeError
    assert await town.count(link) == 0
    assert len(await town.told()) == 1
    assert (await town.station(S1)).place_id is None


async def test_two_people_who_confirm_at_once_do_not_both_win(town: City) -> None:
    """One car park is confirmed, the other answer is that it is decided; the station is told of once more."""
    await build(town, station(1))
    outcomes = await asyncio.gather(
        *(use_cases.confirm(town.ctx, S1, f"lot-{number}", BY) for number in range(1, 6)), return_exceptions=True
    )
    won = [each for each in outcomes if isinstance(each, Link)]
    assert len(won) == 1
    assert all(isinstance(each, LinkDecided) for each in outcomes if each is not won[0])
    assert (await town.station(S1)).place_id == won[0].place_id
    assert [event.sequence for event in await town.told()] == [1, 2]
    assert await town.count(link_version) == 1


async def test_names_that_no_table_holds_are_cut(town: City) -> None:
    """A car park with a name too long, or with a NUL, is heard all the same."""
    await hear(town, told("lot", 10, name="x" * 500, name_en="a\x00b"), told("nameless", 10, name="\x00"))
    async with town.db.read() as tx:
        found = {row.id: (row.name, row.name_en) for row in await tx.all(place.select())}
    assert found == {"lot": ("x" * 200, "ab"), "nameless": ("nameless", None)}
