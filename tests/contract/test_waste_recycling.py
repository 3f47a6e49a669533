"""The recycling rate from real journals: closed figures stay, restated ones stand beside them, the rows say why."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from cityloop_common.clock import city_day
from cityloop_common.indicator import Evaluation, Status, evaluate, moment
from cityloop_common.indicator.domain import Ask
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.domain import SiteKind
from cityloop_waste.indicators.figures import RECYCLING_RATE
from cityloop_waste.indicators.recycling import Why
from cityloop_waste.ledger import use_cases as ledger
from cityloop_waste.ledger.domain import Load, Ticket
from cityloop_waste.ledger.tables import load
from cityloop_waste.streams import Stream
from tests.contract.waste_support import TEN, Town, site, ticket, town

OCTOBER = datetime(2026, 10, 20, 2, 0, tzinfo=TEN.tzinfo)
LAST_OF_OCTOBER = date(2026, 10, 31)


@pytest.fixture
async def city(url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A furnished town on each dialect, in October."""
    async with town(url, tmp_path) as opened:
        await opened.furnish()
        opened.clock.at = OCTOBER
        yield opened


async def weigh(city: Town, number: str, **changes: Any) -> Load:
    """A load weighed now."""
    operator = changes.pop("operator", "op")
    made = ticket(number, **{"weighed_at": city.clock.now(), **changes})
    city.clock.move(minutes=2)
    return (await ledger.record(city.ctx, made, operator_id=operator)).load


async def rate(city: Town, on: date | None = None, known_at: datetime | None = None) -> Mapping[str, Evaluation]:
    """Both schemes of a day, today's when none is named."""
    known = known_at or city.clock.now()
    ask = Ask(moment(on or city_day(known), known), False, 1, city.ctx.districts.version)
    return await evaluate(city.ctx, RECYCLING_RATE, ask)


async def test_nothing_weighed_is_no_data(city: Town) -> None:
    """Neither 0 nor good."""
    found = await rate(city)
    assert {(each.total.status, each.missing) for each in found.values()} == {
        (Status.NO_DATA, "nothing was weighed since the first of January")
    }


async def test_each_load_counts_as_what_became_of_it(city: Town) -> None:
    """Recycled in both, burnt and buried in the denominator, passed on and construction waste nowhere."""
    await weigh(city, "K")  # 4,000 kg of kitchen waste to biogas
    await weigh(city, "B", site_id="incinerator-1", gross_kg=6_000)  # 1,000 kg of kitchen waste into the fire
    await weigh(city, "T", site_id="transfer-1", gross_kg=7_000)
    await weigh(city, "C", site_id="landfill-1", stream=Stream.CONSTRUCTION, gross_kg=8_000)
    await weigh(city, "O", site_id="recycler-1", stream=Stream.OTHER, gross_kg=5_500)
    found = (await rate(city))["hauled"]
    assert (found.total.numerator, found.total.denominator) == (4_000, 4_000 + 1_000 + 500)
    assert {row.evidence["ticket"]: row.why for row in found.rows} == {
        "K": Why.RECYCLED,
        "B": Why.HAULED,
        "T": Why.TRANSFER,
        "C": Why.NOT_HOUSEHOLD,
        "O": Why.HAULED,
    }


async def test_only_days_with_an_estimate_count_on_both_sides(city: Town) -> None:
    """Of the load's own district; a load without one counts where any is estimated. The others are listed."""
    day = date(2026, 10, 20)
    await weigh(city, "A", district="d1")
    await weigh(city, "B", district="d2")
    await weigh(city, "C")
    city.clock.move(days=1)
    await weigh(city, "D", district="d1")
    await ledger.estimate(city.ctx, "d1", day, mass_kg=20_000, method="per head")
    found = (await rate(city))["generated"]
    assert (found.total.numerator, found.total.denominator) == (8_000, 20_000)
    assert {str(row.evidence.get("ticket")): row.why for row in found.rows} == {
        "A": Why.RECYCLED,
        "B": Why.NO_ESTIMATE,
        "C": Why.RECYCLED,
        "D": Why.NO_ESTIMATE,
        "None": Why.ESTIMATE,
    }
    parts = {name: (figure.numerator, figure.denominator) for name, figure in found.by_district.items()}
    assert parts == {"": (4_000, 0), "d1": (4_000, 20_000), "d2": (0, 0)}
    assert found.total.gap == 0


async def test_story_11_a_correction_after_month_end_stands_beside_the_closed_figure(city: Town) -> None:
    """What was known at the end of October stays what it was; what is known now says why it differs."""
    first = await weigh(city, "K")
    await weigh(city, "B", site_id="incinerator-1", gross_kg=6_000)
    city.clock.at = datetime(2026, 11, 1, 0, 0, tzinfo=TEN.tzinfo)
    closed_at = city.clock.now()
    closed = (await rate(city, LAST_OF_OCTOBER, closed_at))["hauled"]
    city.clock.at = TEN
    corrected = await weigh(city, "K", gross_kg=8_000, corrects=first.id, weighed_at=first.ticket.weighed_at)
    again = (await rate(city, LAST_OF_OCTOBER, closed_at))["hauled"]
    assert (again.total, again.rows) == (closed.total, closed.rows)
    restated = (await rate(city, LAST_OF_OCTOBER))["hauled"]
    assert (closed.total.numerator, restated.total.numerator) == (4_000, 3_000)
    (row,) = [row for row in restated.rows if row.key == first.id]
    assert (row.evidence["journal"], row.evidence["net_kg"]) == ([first.id, corrected.id], 3_000)


async def test_a_correction_moves_a_load_to_another_day(city: Town) -> None:
    """It counts where its newest version says, and never in both places."""
    first = await weigh(city, "K")
    moved_to = OCTOBER + timedelta(days=5)
    city.clock.at = moved_to + timedelta(days=1)
    await weigh(city, "K", corrects=first.id, weighed_at=moved_to)
    before, after = (await rate(city, date(2026, 10, 24)))["hauled"], (await rate(city, date(2026, 10, 25)))["hauled"]
    assert (before.total.status, after.total.numerator) == (Status.NO_DATA, 4_000)
    (row,) = before.rows
    assert (row.key, row.why, row.numerator, row.denominator) == (first.id, Why.MOVED, 0, 0), "what vanished says why, and where to"
    journal: Any = row.evidence["journal"]
    assert (row.evidence["day"], journal[0], len(journal)) == ("2026-10-25", first.id, 2)
    assert [(row.key, row.why, row.denominator) for row in before.rows] == [(first.id, Why.MOVED, 0)]


async def test_a_load_that_is_taken_back_counts_from_then_on_for_nothing(city: Town) -> None:
    """The figure that was closed before is computed again as it was; the one of today lists the load, with every row of its journal."""
    first = await weigh(city, "K", district="d1")
    await weigh(city, "B", gross_kg=6_000)
    await ledger.estimate(city.ctx, "d1", date(2026, 10, 20), mass_kg=20_000, method="per head")
    closed_at = city.clock.now()
    closed = await rate(city, date(2026, 10, 20), closed_at)
    city.clock.at = TEN
    void = await ledger.void(city.ctx, first.id, "weighed at the wrong site", operator_id="op")
    again, restated = await rate(city, date(2026, 10, 20), closed_at), await rate(city, date(2026, 10, 20))
    for scheme, before, after in (("hauled", (5_000, 5_000), (1_000, 1_000)), ("generated", (5_000, 20_000), (1_000, 20_000))):
        assert (closed[scheme].total, closed[scheme].rows) == (again[scheme].total, again[scheme].rows)
        assert (again[scheme].total.numerator, again[scheme].total.denominator) == before
        assert (restated[scheme].total.numerator, restated[scheme].total.denominator) == after
        (row,) = [row for row in restated[scheme].rows if row.key == first.id]
        assert (row.why, row.numerator, row.denominator, row.evidence["journal"]) == (Why.VOID, 0, 0, [first.id, void.id])


async def test_the_year_begins_on_its_first_local_day(city: Town) -> None:
    """What was weighed in the last minutes of the year before is that year's."""
    new_year = datetime(2026, 12, 31, 16, 0, tzinfo=TEN.tzinfo)
    city.clock.at = new_year - timedelta(minutes=1)
    await weigh(city, "OLD")
    city.clock.at = new_year
    await weigh(city, "NEW", gross_kg=6_000)
    found = (await rate(city, date(2027, 1, 1)))["hauled"]
    assert (found.total.numerator, [row.evidence["ticket"] for row in found.rows]) == (1_000, ["NEW"])
    assert (await rate(city, date(2026, 12, 31)))["hauled"].total.numerator == 4_000


async def test_a_load_keeps_the_kind_its_site_had(city: Town) -> None:
    """A plant that burns from now on did not burn last year: figures do not change behind the registry's back."""
    await weigh(city, "K")
    async with city.db.write() as tx:
        await fleet.put_sites(tx, [replace(site(SiteKind.BIOGAS, (Stream.KITCHEN,)), kind=SiteKind.INCINERATOR)])
    assert (await rate(city))["hauled"].total.numerator == 4_000
    await weigh(city, "L")
    assert (await rate(city))["hauled"].total.numerator == 4_000


async def test_a_small_correction_does_not_turn_a_load_into_another_kind(city: Town) -> None:
    """20 kg less of what was burnt are still burnt, also when the plant makes gas of it since."""
    burnt = await weigh(city, "K", site_id="incinerator-1")
    async with city.db.write() as tx:
        await fleet.put_sites(tx, [replace(site(SiteKind.INCINERATOR, (Stream.KITCHEN,)), kind=SiteKind.BIOGAS)])
    await weigh(city, "K", site_id="incinerator-1", gross_kg=8_980, corrects=burnt.id, weighed_at=burnt.ticket.weighed_at)
    found = (await rate(city))["hauled"].total
    assert (found.numerator, found.denominator) == (0, 3_980)


async def test_an_estimate_is_restated_too(city: Town) -> None:
    """The newest known word counts, with the words before it as evidence."""
    day = date(2026, 10, 20)
    await weigh(city, "K", district="d1")
    first = await ledger.estimate(city.ctx, "d1", day, mass_kg=20_000, method="per head")
    known_at = city.clock.now()
    city.clock.move(days=2)
    second = await ledger.estimate(city.ctx, "d1", day, mass_kg=10_000, method="weighed")
    then, now = (await rate(city, day, known_at))["generated"], (await rate(city, day))["generated"]
    assert (then.total.denominator, now.total.denominator) == (20_000, 10_000)
    (row,) = [row for row in now.rows if row.why == Why.ESTIMATE]
    assert (row.key, row.evidence["journal"]) == ("2026-10-20 d1", [first.id, second.id])


async def test_more_loads_than_a_page_are_all_read(city: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of one instant, at the seam of two pages."""
    monkeypatch.setattr("cityloop_waste.indicators.store.PAGE", 7)
    rows = []
    for number in range(50):
        id_ = city.ctx.ids.new()
        rows.append(
            {
                "id": id_,
                "happened_at": OCTOBER - timedelta(minutes=number // 10),
                "recorded_at": OCTOBER,
                "source": "t",
                "event_id": id_,
                "corrects": None,
                "chain_id": id_,
                "version": 1,
                "site_id": "biogas-1",
                "site_kind": "biogas",
                "truck_id": "T01",
                "stream": "kitchen",
                "ticket_no": str(number),
                "gross_kg": 3,
                "tare_kg": 1,
                "net_kg": 2,
                "minute": number,
                "on_day": OCTOBER.date(),
                "district": None,
                "flags": [],
            }
        )
    async with city.db.write() as tx:
        await tx.run(insert(load), rows)
    found = (await rate(city))["hauled"]
    assert (len(found.rows), found.total.numerator) == (50, 100)


CHAINS: list[list[dict[str, Any]]] = [
    [{"ticket_no": "A"}],
    [{"ticket_no": "B", "gross_kg": 7_000}, {"ticket_no": "B", "gross_kg": 7_500}],
    [{"ticket_no": "C", "gross_kg": 6_000}, {"ticket_no": "C", "gross_kg": 6_100}, {"ticket_no": "C2", "gross_kg": 6_200}],
    [{"ticket_no": "D", "site_id": "incinerator-1"}, {"ticket_no": "D", "site_id": "incinerator-1", "gross_kg": 8_000}],
    [{"ticket_no": "E", "site_id": "recycler-1", "stream": Stream.RECYCLABLE, "gross_kg": 5_300}],
]


async def test_duplicates_and_the_order_of_tickets_never_matter(tmp_path: Path) -> None:
    """Loads of five weighbridge clerks in any order, each ticket and correction sent again at any time: the same figure."""
    seen: set[tuple[object, ...]] = set()
    for seed in range(6):
        chance = random.Random(seed)
        async with town(f"sqlite:///{tmp_path / f'{seed}.db'}", tmp_path) as city:
            await city.furnish()
            left, newest, sent = [list(chain) for chain in CHAINS], dict[int, str](), list[Ticket]()
            while waiting := [number for number, chain in enumerate(left) if chain]:
                number = chance.choice(waiting)
                made = ticket(**left[number].pop(0), corrects=newest.get(number))
                sent.append(made)
                newest[number] = (await ledger.record(city.ctx, made, operator_id="op")).load.id
                for again in chance.sample(sent, chance.randrange(len(sent) + 1)):
                    assert (await ledger.record(city.ctx, again, operator_id="op")).duplicate
            found = (await rate(city))["hauled"]
            assert (await city.count(load), len(await city.told("waste.load"))) == (9, 9)
            nets = sorted(f"{row.evidence['ticket']} {row.evidence['net_kg']}" for row in found.rows)
            seen.add((found.total.numerator, found.total.denominator, *nets))
    assert len(seen) == 1
    assert next(iter(seen))[:2] == (4_000 + 2_500 + 1_200 + 300, 4_000 + 2_500 + 1_200 + 3_000 + 300)
