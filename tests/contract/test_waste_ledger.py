"""The ledger over real databases: a load counts once, corrections are one line, what cannot be true leaves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from cityloop_common.db import UniqueViolation
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.domain import SiteKind, SiteUnknown, TruckUnknown
from cityloop_waste.ledger import store
from cityloop_waste.ledger import use_cases as ledger
from cityloop_waste.ledger.domain import (
    AlreadyCorrected,
    Flag,
    ForeignSite,
    ForeignTruck,
    InvalidEstimate,
    InvalidLoad,
    LoadFromTheFuture,
    LoadUnknown,
    LoadVoided,
    NetNotPositive,
    StreamNotAccepted,
    Ticket,
    TicketTaken,
    UnknownLoad,
    WeighingTaken,
)
from cityloop_waste.ledger.scope import SitesOf, WholeCity
from cityloop_waste.ledger.tables import generation_estimate, load
from cityloop_waste.ledger.tables import ticket as ticket_table
from cityloop_waste.ledger.use_cases import Recorded
from cityloop_waste.streams import Stream
from tests.contract.waste_support import TEN, TODAY, Town, site, ticket, town, truck


@pytest.fixture
async def city(url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A furnished town on each dialect."""
    async with town(url, tmp_path) as opened:
        await opened.furnish()
        yield opened


async def weigh(city: Town, of: Ticket, operator: str = "op") -> Recorded:
    """Tells of a load."""
    return await ledger.record(city.ctx, of, operator_id=operator)


async def outcomes(*told: Awaitable[Recorded]) -> list[Recorded | BaseException]:
    """What becomes of things done at once."""
    return list(await asyncio.gather(*told, return_exceptions=True))


async def test_story_8_a_ticket_that_comes_again_counts_once(city: Town) -> None:
    """Eight at once and one later: one row, one event, everybody hears of the same load."""
    found = await outcomes(*(weigh(city, ticket()) for _ in range(8)))
    taken = [each for each in found if isinstance(each, Recorded)]
    assert len(taken) == 8, found
    assert sum(not each.duplicate for each in taken) == 1
    city.clock.move(days=3)
    assert (await weigh(city, ticket())).duplicate
    assert len({each.load.id for each in taken}) == 1
    assert await city.count(load) == 1
    assert [event.type for event in await city.told("waste.load")] == ["waste.load.weighed.v1"]


async def test_story_8_the_same_weighing_under_another_number_counts_once(city: Town) -> None:
    """Same truck, site, minute and weights: the number stands for the same load from then on."""
    first = await weigh(city, ticket("A1"))
    again = ticket("B7", weighed_at=ticket().weighed_at + timedelta(seconds=20))
    assert await weigh(city, again) == Recorded(first.load, duplicate=True)
    assert await weigh(city, again) == Recorded(first.load, duplicate=True)
    with pytest.raises(TicketTaken):
        await weigh(city, ticket("B7", gross_kg=9_500))
    with pytest.raises(WeighingTaken) as taken:
        await weigh(city, ticket("C3", tare_kg=4_000))
    assert taken.value.members == {"load_id": first.load.id}
    assert (await city.count(load), len(await city.told("waste.load"))) == (1, 1)


async def test_a_number_stands_for_one_load(city: Town) -> None:
    """Other content is refused with the load that has the number; at another site it is another number."""
    first = await weigh(city, ticket())
    with pytest.raises(TicketTaken) as taken:
        await weigh(city, ticket(gross_kg=9_001))
    assert taken.value.members == {"load_id": first.load.id}
    assert not (await weigh(city, ticket(site_id="recycler-1"))).duplicate
    assert await city.count(load) == 2


async def test_two_trucks_with_one_number_at_once(city: Town) -> None:
    """One of them has it, the other hears whose it is."""
    tickets = [ticket(), ticket(truck_id="T03")]
    found = await outcomes(*(weigh(city, each) for each in tickets))
    assert sorted(type(each).__name__ for each in found) == ["Recorded", "TicketTaken"]
    assert await city.count(load) == 1


async def test_a_correction_replaces_and_tells(city: Town) -> None:
    """The journal keeps both; the event has the load's key, the next sequence and what it corrects."""
    first = (await weigh(city, ticket())).load
    second = (await weigh(city, ticket(gross_kg=8_500, corrects=first.id))).load
    third = (await weigh(city, ticket(gross_kg=8_600, corrects=second.id))).load
    assert (second.chain_id, second.version, third.version) == (first.id, 2, 3)
    events = await city.told("waste.load")
    assert [(event.type, event.key, event.sequence) for event in events] == [
        ("waste.load.weighed.v1", first.id, 1),
        ("waste.load.corrected.v1", first.id, 2),
        ("waste.load.corrected.v1", first.id, 3),
    ]
    assert [event.body().get("corrects") for event in events] == [None, first.id, second.id]
    versions = await ledger.find(city.ctx, second.id, WholeCity())
    assert [(each.id, each.corrected_by) for each in versions] == [(first.id, second.id), (second.id, third.id), (third.id, None)]


async def test_only_the_newest_version_is_corrected(city: Town) -> None:
    """Another correction of the same row names the newest; the same one again is a duplicate."""
    first = (await weigh(city, ticket())).load
    corrected = ticket(gross_kg=8_500, corrects=first.id)
    second = (await weigh(city, corrected)).load
    assert await weigh(city, corrected) == Recorded(second, duplicate=True)
    with pytest.raises(AlreadyCorrected) as refused:
        await weigh(city, ticket(gross_kg=8_400, corrects=first.id))
    assert refused.value.members == {"load_id": second.id}
    assert (await weigh(city, ticket())).duplicate, "the first ticket, sent again, still tells of the same load"


async def test_two_corrections_at_once_are_one(city: Town) -> None:
    """One wins; the other hears of it. The same one twice is a duplicate. Never two versions with one number."""
    first = (await weigh(city, ticket())).load
    found = await outcomes(*(weigh(city, ticket(gross_kg=8_000 + number, corrects=first.id)) for number in range(6)))
    assert sum(isinstance(each, Recorded) for each in found) == 1
    assert {type(each) for each in found} == {Recorded, AlreadyCorrected}
    other = (await weigh(city, ticket("B2", gross_kg=7_000))).load
    same = [weigh(city, ticket("B2", gross_kg=7_100, corrects=other.id)) for _ in range(4)]
    assert sum(not each.duplicate for each in await asyncio.gather(*same)) == 1
    assert await city.count(load) == 4


async def test_a_correction_stays_at_its_site_and_says_something(city: Town) -> None:
    """Another site's load, none at all, no change, another load's number or weighing: each its own answer, nothing written."""
    first = (await weigh(city, ticket())).load
    await weigh(city, ticket("B2", gross_kg=7_000))
    for wrong, expected in (
        (ticket(site_id="recycler-1", corrects=first.id), LoadUnknown),
        (ticket(corrects="01a217ac-8aac-7600-99a4-5f766d5bc32c"), LoadUnknown),
        (ticket(corrects=first.id), InvalidLoad),
        (ticket("B2", gross_kg=8_000, corrects=first.id), TicketTaken),
        (ticket(gross_kg=7_000, corrects=first.id), WeighingTaken),
        (ticket(gross_kg=4_000, corrects=first.id), NetNotPositive),
    ):
        with pytest.raises(expected):
            await weigh(city, wrong)
    assert (await city.count(load), await city.count(ticket_table)) == (2, 2)
    renumbered = (await weigh(city, ticket("A9", corrects=first.id))).load
    assert renumbered.version == 2
    with pytest.raises(TicketTaken):
        await weigh(city, ticket("A9", gross_kg=6_000))


async def other_registry(city: Town) -> None:
    """The biogas plant burns from now on, takes other waste from other operators only; T01 is another district's and lighter."""
    burning = replace(site(SiteKind.BIOGAS, (Stream.OTHER,)), kind=SiteKind.INCINERATOR, haulers=("nobody",))
    async with city.db.write() as tx:
        await fleet.put_sites(tx, [burning])
        await fleet.put_trucks(tx, [replace(truck(), district="d2", max_mass_kg=6_000)])


async def test_a_correction_leaves_what_it_does_not_touch_as_it_was_told(city: Town) -> None:
    """Site kind, district, flags and admission are those of the load's own time, however the registry has changed since."""
    async with city.db.write() as tx:
        await fleet.put_trucks(tx, [replace(truck(), district="d1")])
    first = (await weigh(city, ticket())).load
    await other_registry(city)
    tare = (await weigh(city, ticket(tare_kg=4_980, corrects=first.id))).load
    assert (tare.site_kind, tare.district, tare.flags) == (SiteKind.BIOGAS, "d1", ())
    named = (await weigh(city, ticket(tare_kg=4_980, district="d3", corrects=tare.id))).load
    assert (named.site_kind, named.district) == (SiteKind.BIOGAS, "d3")
    gross = (await weigh(city, ticket(gross_kg=9_100, district="d3", corrects=named.id))).load
    assert gross.flags == (Flag.OVER_MAX_MASS,), "another weight is another question"
    (event,) = [each for each in await city.told("waste.load") if each.sequence == 2]
    assert (event.body()["site_kind"], event.body()["district"]) == ("biogas", "d1")


async def test_a_correction_asks_for_what_it_changes(city: Town) -> None:
    """Another truck has its own district and must be let in; another stream must be taken."""
    first = (await weigh(city, ticket())).load
    with pytest.raises(StreamNotAccepted):
        await weigh(city, ticket(stream=Stream.OTHER, corrects=first.id))
    async with city.db.write() as tx:
        await fleet.put_trucks(tx, [replace(truck("T03", operator="other-op"), district="d9")])
    other = (await weigh(city, ticket(truck_id="T03", corrects=first.id))).load
    assert other.district == "d9"
    await other_registry(city)
    with pytest.raises(ForeignTruck):
        await weigh(city, ticket(corrects=other.id))


async def test_a_load_that_should_not_be_there_is_taken_back(city: Town) -> None:
    """One more version, told once; again it is the same one, and the weighing stands in nobody's way any more."""
    first = (await weigh(city, ticket())).load
    second = (await weigh(city, ticket(gross_kg=8_500, corrects=first.id))).load
    with pytest.raises(AlreadyCorrected) as refused:
        await ledger.void(city.ctx, first.id, "never came", operator_id="op")
    assert refused.value.members == {"load_id": second.id}
    void = await ledger.void(city.ctx, second.id, "never came", operator_id="op")
    assert (void.version, void.chain_id, void.ticket.corrects, void.void_reason) == (3, first.id, second.id, "never came")
    for again in (second.id, void.id):
        assert (await ledger.void(city.ctx, again, "another word", operator_id="op")) == void
    told = [(event.type, event.sequence, event.body().get("void")) for event in await city.told("waste.load")]
    assert told[1:] == [("waste.load.corrected.v1", 2, None), ("waste.load.corrected.v1", 3, True)]
    assert [event async for event in ledger.republished(city.ctx, None)] == await city.told("waste.load")
    assert await city.count(load) == 3
    assert not (await weigh(city, ticket("B2", gross_kg=8_500))).duplicate, "the truck was weighed after all, under another number"


async def test_a_load_that_was_taken_back_is_corrected_no_more(city: Town) -> None:
    """Neither the row that was taken back nor the one that did it; its first ticket, sent again, is still no new load."""
    first = (await weigh(city, ticket())).load
    void = await ledger.void(city.ctx, first.id, "twice", operator_id="op")
    for each in (first.id, void.id):
        with pytest.raises(LoadVoided) as refused:
            await weigh(city, ticket(gross_kg=8_500, corrects=each))
        assert refused.value.members == {"load_id": void.id}
        with pytest.raises(LoadVoided):
            await weigh(city, ticket(corrects=each))
    assert (await weigh(city, ticket())).duplicate
    assert await city.count(load) == 2


async def test_only_the_sites_operator_takes_a_load_back(city: Town) -> None:
    """Another's load is as unknown as none."""
    first = (await weigh(city, ticket())).load
    for load_id, operator in ((first.id, "rival"), ("01a217ac-8aac-7600-99a4-5f766d5bc32c", "op")):
        with pytest.raises(UnknownLoad):
            await ledger.void(city.ctx, load_id, "no", operator_id=operator)
    assert await city.count(load) == 1


async def test_a_correction_and_a_voiding_at_once_are_one_line(city: Town) -> None:
    """One of them is the next version; the other hears of it."""
    first = (await weigh(city, ticket())).load
    voidings = [ledger.void(city.ctx, first.id, "twice", operator_id="op") for _ in range(3)]
    corrections = [weigh(city, ticket(gross_kg=8_000 + number, corrects=first.id)) for number in range(3)]
    found = await asyncio.gather(*voidings, *corrections, return_exceptions=True)
    expected = {"Load", "LoadVoided"} if any(type(each).__name__ == "Load" for each in found) else {"Recorded", "AlreadyCorrected"}
    assert {type(each).__name__ for each in found} == expected
    assert await city.count(load) == 2


async def test_story_9_another_stream_than_the_trucks_is_flagged_and_not_moved(city: Town) -> None:
    """It counts as what the ticket says."""
    told = (await weigh(city, ticket(site_id="incinerator-1", stream=Stream.OTHER, gross_kg=12_500))).load
    assert told.flags == (Flag.STREAM_DIFFERS, Flag.OVER_MAX_MASS)
    (event,) = await city.told("waste.load")
    assert (event.body()["stream"], event.body()["flags"]) == ("other", ["stream-differs", "over-max-mass"])


REFUSED: list[tuple[dict[str, Any], str, type[Exception]]] = [
    ({"gross_kg": 5_000}, "op", NetNotPositive),
    ({"gross_kg": 4_000}, "op", NetNotPositive),
    ({"site_id": "nowhere"}, "op", SiteUnknown),
    ({"site_id": "rival-1"}, "op", ForeignSite),
    ({}, "rival", ForeignSite),
    ({"truck_id": "T99"}, "op", TruckUnknown),
    ({"site_id": "landfill-1", "truck_id": "T03"}, "op", ForeignTruck),
    ({"stream": Stream.OTHER}, "op", StreamNotAccepted),
    ({"weighed_at": TEN + timedelta(minutes=5, seconds=1)}, "op", LoadFromTheFuture),
    ({"weighed_at": TEN - timedelta(days=365 * 30)}, "op", InvalidLoad),
    ({"ticket_no": "a b"}, "op", InvalidLoad),
]


@pytest.mark.parametrize("changes, operator, expected", REFUSED, ids=[f"{each[2].__name__}-{each[1]}" for each in REFUSED])
async def test_stories_7_and_10_what_cannot_be_true_leaves_nothing(
    city: Town, changes: dict[str, Any], operator: str, expected: type[Exception]
) -> None:
    """A reason of its own for each; the number stays free."""
    with pytest.raises(expected):
        await weigh(city, ticket(**changes), operator)
    assert (await city.count(load), await city.count(ticket_table), await city.told()) == (0, 0, [])
    assert not (await weigh(city, ticket())).duplicate


async def test_story_10_a_refused_net_names_the_weights(city: Town) -> None:
    """Whoever corrects it sees what was typed."""
    with pytest.raises(NetNotPositive) as refused:
        await weigh(city, ticket(gross_kg=4_800))
    assert refused.value.members == {"gross_kg": 4_800, "tare_kg": 5_000, "net_kg": -200}


async def test_a_site_operator_sees_its_own_loads_only(city: Town) -> None:
    """Another's are as unknown as none."""
    mine = (await weigh(city, ticket())).load
    theirs = (await weigh(city, ticket("R1", site_id="rival-1"), "rival")).load
    seen = [await ledger.page(city.ctx, store.Wanted(), scope, most=10) for scope in (SitesOf("op"), SitesOf("rival"), WholeCity())]
    assert [[each.id for each in page] for page in seen] == [[mine.id], [theirs.id], [theirs.id, mine.id]]
    with pytest.raises(UnknownLoad):
        await ledger.find(city.ctx, theirs.id, SitesOf("op"))


async def test_loads_are_told_again_as_they_were(city: Town) -> None:
    """The same ids and bytes, in the same order; or those of one load."""
    first = (await weigh(city, ticket())).load
    await weigh(city, ticket("B2", gross_kg=7_000))
    await weigh(city, ticket(gross_kg=8_500, corrects=first.id))
    told = await city.told("waste.load")
    assert [event async for event in ledger.republished(city.ctx, None)] == told
    assert [event async for event in ledger.republished(city.ctx, first.id)] == [told[0], told[2]]


async def test_the_database_itself_refuses_a_second_correction(city: Town) -> None:
    """The last guard, whatever the code above does."""
    first = (await weigh(city, ticket())).load
    await weigh(city, ticket(gross_kg=8_500, corrects=first.id))
    async with city.db.read() as tx:
        row = await tx.first(select(load).where(load.c.corrects == first.id))
    assert row is not None
    with pytest.raises(UniqueViolation):
        async with city.db.write() as tx:
            await tx.run(insert(load).values({**row._mapping, "id": city.ctx.ids.new(), "version": 7}))


async def test_an_estimate_is_corrected_by_the_next_word(city: Town) -> None:
    """The same word changes nothing; another one is a new version beside the old."""
    said = [await ledger.estimate(city.ctx, "d1", TODAY, mass_kg=mass, method="per head") for mass in (100, 100, 120)]
    assert [(each.version, each.mass_kg) for each in said] == [(1, 100), (1, 100), (2, 120)]
    assert said[2].corrects == said[0].id
    assert await city.count(generation_estimate) == 2
    (newest,) = await ledger.estimates(city.ctx, since=TODAY, until=TODAY, district=None)
    assert newest.mass_kg == 120


async def test_estimates_at_once_are_one_line_of_versions(city: Town) -> None:
    """Each word is kept, none is lost, no version comes twice."""
    said = await asyncio.gather(*(ledger.estimate(city.ctx, "d1", TODAY, mass_kg=100 + n, method="m") for n in range(5)))
    assert sorted(each.version for each in said) == [1, 2, 3, 4, 5]
    assert await city.count(generation_estimate) == 5


async def test_no_estimate_of_a_day_to_come(city: Town) -> None:
    """What has not begun cannot be estimated."""
    with pytest.raises(InvalidEstimate):
        await ledger.estimate(city.ctx, "d1", date(2026, 11, 27), mass_kg=1, method="m")
    assert await city.count(generation_estimate) == 0
