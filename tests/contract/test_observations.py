"""Laws of counts, the same on every database: journalled each, the newest shown, told once a unit, foreign places unknown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from cityloop_common.errors import CityLoopError
from cityloop_parking.observations import use_cases
from cityloop_parking.observations.domain import Count, FromTheFuture, InvalidObservation, Observation, Outcome
from cityloop_parking.observations.tables import live_count, observation
from cityloop_parking.observations.use_cases import Report, Verdict
from cityloop_parking.places.domain import UnknownPlace
from tests.contract.reservations_support import NOON, PLACE, City, city, make_tables


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """A city with one car park of 100 spaces."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        await opened.open_place(100)
        yield opened


def report(occupied: int = 40, *, at: datetime = NOON, source: str = "gate", place: str = PLACE, operator: str | None = "op-1") -> Report:
    return Report(place, Observation(at, source, (Count("standard", occupied),)), operator)


async def send(town: City, *reports: Report) -> list[str]:
    """Outcomes of a batch: the verdict, or the slug of what was wrong."""
    outcomes = await use_cases.record_many(town.ctx, reports)
    return [each.outcome if isinstance(each, Verdict) else _slug(each) for each in outcomes]


def _slug(error: Exception) -> str:
    assert isinstance(error, CityLoopError)
    return error.slug


async def shown(town: City) -> list[tuple[str, int, datetime]]:
    async with town.db.read() as tx:
        rows = await tx.all(select(live_count).order_by(live_count.c.place_id, live_count.c.category))
    return [(row.category, row.occupied, row.observed_at) for row in rows]


async def journal(town: City) -> list[tuple[int, datetime, bool]]:
    """Taken, when, and whether an event told of it."""
    async with town.db.read() as tx:
        rows = await tx.all(select(observation).order_by(observation.c.happened_at, observation.c.source))
    return [(row.occupied, row.happened_at, row.event_id is not None) for row in rows]


async def test_an_older_count_never_wins(town: City) -> None:
    """It is in the journal, is answered `superseded`, changes nothing that is shown and tells nobody."""
    earlier = NOON - timedelta(minutes=10)
    assert await send(town, report(40)) == [Outcome.CURRENT]
    assert await send(town, report(90, at=earlier)) == [Outcome.SUPERSEDED]
    assert await shown(town) == [("standard", 40, NOON)]
    assert await journal(town) == [(90, earlier, False), (40, NOON, True)]
    assert len(await town.told()) == 1


async def test_a_count_that_changes_nothing_still_moves_its_time(town: City) -> None:
    """It is journalled and told: what is shown is as of the newest look."""
    later = NOON + timedelta(minutes=2)
    await send(town, report(40))
    assert await send(town, report(40, at=later)) == [Outcome.CURRENT]
    assert await shown(town) == [("standard", 40, later)]
    assert [event.sequence for event in await town.told()] == [1, 2]


async def test_the_same_report_twice_is_the_same_as_once(town: City) -> None:
    """One journal row, one event; the repetition is answered `superseded`."""
    assert await send(town, report(40)) == [Outcome.CURRENT]
    assert await send(town, report(40)) == [Outcome.SUPERSEDED]
    assert await journal(town) == [(40, NOON, True)]
    assert len(await town.told()) == 1


async def test_one_minute_of_one_source_is_one_journal_row(town: City) -> None:
    """The newest is shown; the first stays in the journal; another source has a row of its own."""
    later = NOON + timedelta(seconds=20)
    assert await send(town, report(40), report(41, at=later), report(42, at=later, source="camera")) == [
        Outcome.SUPERSEDED,
        Outcome.CURRENT,
        Outcome.SUPERSEDED,
    ]
    assert await shown(town) == [("standard", 41, later)]
    assert [row[0] for row in await journal(town)] == [40, 42]


async def test_the_first_of_a_minute_stays_however_large_the_group(town: City) -> None:
    """Of 20 counts a place within one minute the journal keeps the first that came, at every place of a mixed group."""
    for number in (2, 3):
        await town.open_place(100, id=f"lot-{number}")
    reports = [report(second, at=NOON + timedelta(seconds=second), place=f"lot-{1 + second % 3}") for second in range(60)]
    await send(town, *reports)
    assert sorted(row[0] for row in await journal(town)) == [0, 1, 2]
    assert sorted(row[1] for row in await shown(town)) == [57, 58, 59]


async def test_a_report_can_be_newest_for_one_category_and_late_for_another(town: City) -> None:
    """It is current; in the journal only the category that moved names the event."""
    later = NOON + timedelta(minutes=5)
    await use_cases.record(town.ctx, PLACE, Observation(later, "ramp", (Count("ev", 1, capacity=8),)))
    both = Observation(NOON, "gate", (Count("standard", 40), Count("ev", 7, capacity=8)))
    assert (await use_cases.record(town.ctx, PLACE, both)).outcome is Outcome.CURRENT
    assert await shown(town) == [("ev", 1, later), ("standard", 40, NOON)]
    async with town.db.read() as tx:
        rows = await tx.all(select(observation).where(observation.c.source == "gate"))
    assert {row.category: row.event_id is not None for row in rows} == {"standard": True, "ev": False}


async def test_one_unit_tells_of_a_place_once(town: City) -> None:
    """Several reports of one place and of two categories in a group are one event with the newest of each."""
    await town.open_place(10, id="lot-2")
    at = [NOON + timedelta(minutes=minute) for minute in range(4)]
    ev = Report(PLACE, Observation(at[1], "gate", (Count("ev", 2, capacity=8),)), "op-1")
    outcomes = await send(town, report(10, at=at[3]), report(9, at=at[2]), ev, report(4, place="lot-2", at=at[0]))
    assert outcomes == [Outcome.CURRENT, Outcome.SUPERSEDED, Outcome.CURRENT, Outcome.CURRENT]
    told = await town.told()
    assert sorted(event.key for event in told) == ["lot-1", "lot-2"]
    seen = [[(count["category"], count["occupied"]) for count in event.body()["counts"]] for event in told if event.key == PLACE]  # type: ignore[attr-defined]
    assert seen == [[("ev", 2), ("standard", 10)]]


async def test_nothing_is_half_written(town: City) -> None:
    """A report with one category that cannot be true leaves no trace of the other."""
    mixed = Report(PLACE, Observation(NOON, "gate", (Count("standard", 1), Count("ev", -1, capacity=8))), "op-1")
    assert await send(town, mixed) == [InvalidObservation.slug]
    assert (await shown(town), await journal(town), await town.told()) == ([], [], [])


async def test_rows_that_cannot_be_true_stop_no_other(town: City) -> None:
    """Future, unknown, foreign and absurd rows are outcomes; the rest of the batch is stored."""
    future = NOON + timedelta(minutes=5, seconds=1)
    outcomes = await send(
        town,
        report(1, at=future),
        report(1, place="nowhere"),
        report(1, place="no\x00where"),
        report(1, place="no\ud800where"),
        report(1, operator="op-2"),
        report(1_001),
        report(150, at=NOON),
    )
    assert outcomes == [FromTheFuture.slug, *[UnknownPlace.slug] * 4, InvalidObservation.slug, Outcome.CURRENT]
    assert await journal(town) == [(150, NOON, True)]


async def test_five_minutes_of_clock_error_are_allowed(town: City) -> None:
    """The limit itself is taken."""
    assert await send(town, report(1, at=NOON + timedelta(minutes=5))) == [Outcome.CURRENT]


async def test_more_cars_than_spaces_is_kept_and_shown_as_none_free(town: City) -> None:
    """Nothing is clamped in the journal; free is never negative."""
    await send(town, report(130))
    body = (await town.told())[0].body()
    assert body["counts"] == [
        {
            "category": "standard", "occupied": 130, "free": 0, "capacity": 100, "observed_at": "2026-06-01T04:00:00Z", "source": "gate",
            "interval_s": 900,
        }
    ]  # fmt: skip
    assert (await journal(town))[0][0] == 130


async def test_an_event_carries_every_category_of_the_place(town: City) -> None:
    """A report of one category repeats the others as they are known: the event is full state."""
    both = Observation(NOON, "gate", (Count("standard", free=70), Count("ev", occupied=3, capacity=8)), 120)
    await use_cases.record(town.ctx, PLACE, both)
    await send(town, report(35, at=NOON + timedelta(minutes=1)))
    told = [[(count["category"], count["occupied"]) for count in event.body()["counts"]] for event in await town.told()]  # type: ignore[attr-defined]
    assert told == [[("ev", 3), ("standard", 30)], [("ev", 3), ("standard", 35)]]


async def test_republished_events_are_the_ones_that_were_sent(town: City) -> None:
    """Same id, sequence, time and bytes, also after a superseded report."""
    await town.open_place(10, id="lot-2")
    await send(town, report(40), report(4, place="lot-2"))
    await send(town, report(41, at=NOON + timedelta(minutes=1)))
    await send(town, report(42, at=NOON - timedelta(minutes=1)))
    newest = {event.key: event for event in await town.told()}
    again = [event async for event in use_cases.republished(town.ctx, None)]
    assert again == [newest["lot-1"], newest["lot-2"]]
    assert [event async for event in use_cases.republished(town.ctx, "lot-2")] == [newest["lot-2"]]


async def test_batches_in_opposite_order_wait_for_each_other_and_never_deadlock(town: City, url: str, tmp_path: Path) -> None:
    """Two replicas send the same 30 places, one upwards and one downwards, eight times at once: all are taken."""
    ids = [f"row-{number:02d}" for number in range(30)]
    for each in ids:
        await town.open_place(100, id=each)
    async with city(url, tmp_path, clock=town.clock) as other:
        batches = []
        for turn in range(8):
            at = NOON - timedelta(minutes=turn)
            upwards = [report(turn, at=at, place=each, source=f"up-{turn}") for each in ids]
            downwards = [report(turn, at=at, place=each, source=f"down-{turn}") for each in reversed(ids)]
            batches += [use_cases.record_many(town.ctx, upwards), use_cases.record_many(other.ctx, downwards)]
        outcomes = await asyncio.gather(*batches)
    assert all(isinstance(each, Verdict) for batch in outcomes for each in batch)
    assert len(await journal(town)) == 16 * len(ids)
    assert {row[1:] for row in await shown(town)} == {(0, NOON)}
    sequences: dict[str, list[int]] = {}
    for event in await town.told():
        sequences.setdefault(event.key, []).append(event.sequence)
    assert all(numbers == sorted(set(numbers)) for numbers in sequences.values())


async def test_reports_of_many_reporters_end_in_the_newest(town: City, url: str, tmp_path: Path) -> None:
    """Two replicas, shuffled reports of three places: the newest count of each is shown and told last, each minute journalled."""
    for number in (2, 3):
        await town.open_place(100, id=f"lot-{number}")
    reports = [
        report(minute, at=NOON - timedelta(minutes=60 - minute), place=f"lot-{number}") for minute in range(60) for number in (1, 2, 3)
    ]
    reports.sort(key=lambda each: (each.observation.observed_at.minute * 7919 + int(each.place_id[-1]) * 104_729) % 181)
    async with city(url, tmp_path, clock=town.clock) as other, asyncio.TaskGroup() as loops:
        counters = [use_cases.open_counter(replica.ctx) for replica in (town, other)]
        running = [loops.create_task(counter.run()) for counter in counters]
        await asyncio.gather(*(counters[index % 2].submit(each) for index, each in enumerate(reports)))
        for loop in running:
            loop.cancel()
    newest = NOON - timedelta(minutes=1)
    assert await shown(town) == [("standard", 59, newest)] * 3
    assert len(await journal(town)) == len(reports)
    last = {event.key: event for event in await town.told()}
    assert {event.body()["counts"][0]["occupied"] for event in last.values()} == {59}  # type: ignore[index]
    for key, event in last.items():
        assert event.sequence == max(each.sequence for each in await town.told() if each.key == key)


async def test_the_journal_says_how_often_the_source_reports(town: City) -> None:
    """Declared, or the setting's; whether a count of then was live can be said for ever."""
    declared = Report(PLACE, Observation(NOON, "gate", (Count("standard", 40),), 120))
    await send(town, declared, report(41, at=NOON + timedelta(minutes=1)))
    async with town.db.read() as tx:
        rows = await tx.all(select(observation.c.interval_s).order_by(observation.c.happened_at))
    assert [row.interval_s for row in rows] == [120, 900]
