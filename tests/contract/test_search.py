"""Laws of the search projection and of a replica's index, the same on every database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import delete, insert, select

from cityloop_common.geo import Position
from cityloop_parking.observations.tables import live_count, occupancy
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Accepted, Category, PlaceFacts, Pool
from cityloop_parking.search import store, use_cases
from cityloop_parking.search.index import Near
from cityloop_parking.search.replica import IndexNotReady, Search
from cityloop_parking.search.tables import search_entry
from cityloop_parking.search.views import CountsView, CountView, PlaceView
from tests.contract.neighbours_support import listening
from tests.contract.reservations_support import NOON, City, city, make_tables
from tests.support import wait_until

HERE = Near(Position(109.787, 39.565), 5_000, 20)


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


def lot(number: int = 1, **changes: object) -> PlaceFacts:
    facts = PlaceFacts("op", str(number), "文化广场", Position(109.787 + number / 1000, 39.565), (Pool(Category.STANDARD, 10),))
    return replace(facts, **changes)  # type: ignore[arg-type]


def counted(occupied: int, *, number: int = 1, at: datetime = NOON) -> CountsView:
    count = CountView(category="standard", occupied=occupied, capacity=10, observed_at=at, source="gate", interval_s=900)
    return CountsView(place_id=f"op-{number}", counts=[count])


async def deliver(town: City) -> None:
    """Hands the outbox to the handlers, as relay, log and consumer do."""
    for event in await town.told():
        async with town.db.write() as tx:
            await use_cases.apply_place(tx, town.ctx, event, PlaceView.model_validate_json(event.data))


async def publish(town: City, *facts: PlaceFacts) -> None:
    await places.import_places(town.ctx, [Accepted(row, each) for row, each in enumerate(facts, 1)])
    await deliver(town)


async def count(town: City, view: CountsView, *, version: int) -> None:
    event = (await town.told())[0]
    async with town.db.write() as tx:
        await use_cases.apply_counts(tx, town.ctx, replace(event, key=view.place_id, sequence=version), view)


def found(search: Search) -> list[dict[str, object]]:
    """What a search around the centre answers."""
    answer: list[dict[str, object]] = orjson.loads(search.nearest(HERE))["places"]
    return answer


@asynccontextmanager
async def following(town: City) -> AsyncIterator[Search]:
    """A replica that follows, with the worker's publisher beside it."""
    search = use_cases.open_search(town.ctx)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(search.follow()), tasks.create_task(town.ctx.fanout.run_publisher())]
        await wait_until(lambda: is_ready(search))
        yield search
        search.hub.close()
        for task in running:
            task.cancel()


async def is_ready(search: Search) -> bool:
    try:
        await search.check()
    except IndexNotReady:
        return False
    return True


async def rows(town: City) -> dict[str, tuple[object, object]]:
    async with town.db.read() as tx:
        found = await tx.all(select(search_entry.c.place_id, search_entry.c.place, search_entry.c.counts))
    return {row.place_id: (row.place, row.counts) for row in found}


async def test_places_and_counts_meet_in_any_order(town: City) -> None:
    """Counts may come before their place: shown when both are there."""
    await places.import_places(town.ctx, [Accepted(1, lot())])
    async with following(town) as search:
        await count(town, counted(4), version=1)
        assert found(search) == []
        await deliver(town)
        await wait_until(lambda: found(search))
        (place,) = found(search)
    assert (place["free"], place["as_of"], place["source"]) == ({"standard": 6}, "2026-06-01T04:00:00Z", "gate")
    assert (place["freshness"], place["distance_m"], place["capacity"]) == ("live", 86, {"standard": 10})


async def test_an_older_version_never_wins(town: City) -> None:
    """Whatever the order of delivery, the newest counts and the newest place stay."""
    await publish(town, lot())
    await publish(town, lot(name="新名"))
    await count(town, counted(7, at=NOON), version=5)
    await count(town, counted(1, at=NOON - timedelta(minutes=5)), version=4)
    await deliver(town)
    place, counts = (await rows(town))["op-1"]
    assert isinstance(place, dict)
    assert isinstance(counts, list)
    assert place["name"] == "新名"
    assert counts[0]["occupied"] == 7


async def test_a_replica_hears_changes_and_a_restarted_one_reads_them(town: City) -> None:
    """Through the stream, and through the table at the start."""
    await publish(town, lot(1))
    async with following(town) as search:
        assert [place["id"] for place in found(search)] == ["op-1"]
        await publish(town, lot(2))
        await wait_until(lambda: len(found(search)) == 2)
    async with following(town) as again:
        assert [place["id"] for place in found(again)] == ["op-1", "op-2"]


async def told_of_counts(search: Search, town: City, *, seconds: int, step_s: int) -> list[tuple[str, str, dict[str, int]]]:
    """What a client hears while time goes by and nobody writes: which place, how fresh, how many are free."""
    running = asyncio.get_running_loop().create_task(search.turn())
    async with listening(search) as heard:
        for _ in range(0, seconds, step_s):
            town.clock.advance(step_s)
            for _ in range(20):
                await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return [(each["id"], each["freshness"], each["free"]) for each in heard]


async def test_a_count_that_is_not_repeated_is_told_late_and_then_unknown(town: City) -> None:
    """By the clock alone: an open page would show it live for ever. One that is repeated is not told of, but for its own news."""
    await publish(town, lot(1), lot(2))
    await count(town, counted(4, number=1), version=1)
    await count(town, counted(5, number=2), version=2)
    search = use_cases.open_search(town.ctx)
    await search.reset()
    assert await told_of_counts(search, town, seconds=1_790, step_s=10) == []
    await count(town, counted(5, number=2, at=town.clock.now()), version=3)
    await search.poll()
    assert await told_of_counts(search, town, seconds=20, step_s=1) == [("op-1", "late", {"standard": 6})]
    before = f"{int((town.clock.now() - timedelta(seconds=30)).timestamp() * 1000)}-0"
    assert [place.id for place in search._turned_since(before)] == ["op-1"], "whoever comes back is told too"
    await count(town, counted(5, number=2, at=town.clock.now() + timedelta(hours=23)), version=4)
    await search.poll()
    assert await told_of_counts(search, town, seconds=24 * 3_600 - 1_800, step_s=60) == [("op-1", "unknown", {})]


async def test_who_listens_hears_of_all_that_turn_at_once(town: City) -> None:
    """A source of a thousand car parks that falls silent: more than a client's queue holds, and no client is dropped for it."""
    await publish(town, *(lot(number) for number in range(1_000)))
    event = (await town.told())[0]
    async with town.db.write() as tx:
        for number in range(1_000):
            await use_cases.apply_counts(tx, town.ctx, replace(event, key=f"op-{number}", sequence=1), counted(4, number=number))
    search = use_cases.open_search(town.ctx)
    await search.reset()
    town.clock.advance(1_799)
    told = await told_of_counts(search, town, seconds=4, step_s=1)
    assert sorted(id for id, _, _ in told) == sorted(f"op-{number}" for number in range(1_000))
    assert {fresh for _, fresh, _ in told} == {"late"}


async def test_entries_lost_on_the_way_are_found_in_the_database(town: City) -> None:
    """A replica that heard nothing compares, also when the last entry of all was lost."""
    await publish(town, lot(1))
    search = use_cases.open_search(town.ctx)
    await search.reset()
    await publish(town, lot(2))
    await count(town, counted(3), version=1)
    await search.poll()
    assert [(place["id"], place["free"]) for place in found(search)] == [("op-1", {"standard": 7}), ("op-2", {})]


async def test_an_entry_twice_or_late_changes_nothing(town: City) -> None:
    """The stream repeats after a reset; versions decide."""
    await publish(town, lot(1))
    search = use_cases.open_search(town.ctx)
    await search.reset()
    async with town.db.read() as tx:
        (old,) = await store.read(tx, ["op-1"])
    await count(town, counted(3), version=1)
    await search.poll()
    await search.apply([])
    async with town.db.read() as tx:
        (new,) = await store.read(tx, ["op-1"])
    assert new.version > old.version
    assert found(search)[0]["free"] == {"standard": 7}


async def test_rebuild_makes_the_same_entries_from_the_facts(town: City) -> None:
    """Emptied or wrong, afterwards it is as the events left it; replicas hear of it; twice is once."""
    await publish(town, lot(1), lot(2))
    facts = {"place_id": "op-1", "category": "standard", "occupied": 4, "capacity": 10, "source": "gate", "interval_s": 900}
    told = {"place_id": "op-1", "version": 3, "event_id": "e", "published_version": 3, "updated_at": NOON}
    async with town.db.write() as tx:
        await tx.run(insert(live_count), {**facts, "observed_at": NOON, "recorded_at": NOON})
        await tx.run(insert(occupancy), told)
    await count(town, counted(4), version=3)
    before = await rows(town)
    async with following(town) as search:
        async with town.db.write() as tx:
            await tx.run(delete(search_entry).where(search_entry.c.place_id == "op-2"))
            await tx.run(search_entry.update().values(counts=[]))
        steps: list[tuple[int, int | None]] = []
        done = await use_cases.rebuild(town.ctx, lambda done, total, _note: steps.append((done, total)))
        assert (done, steps) == ({"entries": 2, "dropped": 0}, [(2, 2)])
        assert await rows(town) == before
        await use_cases.rebuild(town.ctx, lambda *_: None)
        assert await rows(town) == before
        await wait_until(lambda: len(found(search)) == 2 and found(search)[0]["free"] == {"standard": 6})


async def test_before_the_first_reading_a_replica_is_not_ready(town: City) -> None:
    """It says so instead of answering that there is nothing."""
    search = use_cases.open_search(town.ctx)
    with pytest.raises(IndexNotReady):
        search.nearest(HERE)
    with pytest.raises(IndexNotReady):
        await search.check()


async def test_as_of_says_what_the_answer_is_true_for(town: City) -> None:
    """It moves while the stream is quiet, and only by what the replica has heard."""
    search = use_cases.open_search(town.ctx)
    await search.reset()
    assert orjson.loads(search.nearest(HERE))["as_of"] == "2026-06-01T04:00:00Z"
    town.clock.advance(5)
    assert orjson.loads(search.nearest(HERE))["as_of"] == "2026-06-01T04:00:00Z"
    await search.apply([])
    assert orjson.loads(search.nearest(HERE))["as_of"] == "2026-06-01T04:00:05Z"
    assert datetime(2026, 6, 1, 4, tzinfo=UTC) == NOON
