"""Laws of importing, keeping and telling of car parks, the same on every database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cityloop_common.envelope import Event
from cityloop_common.errors import Forbidden, PreconditionFailed, PreconditionRequired
from cityloop_common.geo import Position
from cityloop_parking.places import store, taipei, use_cases
from cityloop_parking.places.domain import (
    Accepted,
    Category,
    InvalidPlace,
    PlaceFacts,
    PlaceState,
    Pool,
    Rejected,
    UnknownPlace,
    Verdict,
)
from tests.contract.reservations_support import City, city, make_tables


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.stack)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database of each kind."""
    return f"sqlite:///{tmp_path / 'parking.db'}" if request.param == "sqlite" else str(request.getfixturevalue("fresh_postgres_url"))


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        yield opened


def lot(number: int = 1, **changes: object) -> PlaceFacts:
    """A car park in the middle of the city."""
    facts = PlaceFacts("op", str(number), "文化广场", Position(109.787, 39.565), (Pool(Category.STANDARD, 10), Pool(Category.EV, 2, 1)))
    return replace(facts, **changes)  # type: ignore[arg-type]


def rows(*facts: PlaceFacts) -> list[Verdict]:
    return [Accepted(number, each) for number, each in enumerate(facts, 1)]


async def everything(town: City) -> list[Event]:
    return [event async for event in use_cases.republished(town.ctx, None)]


async def test_the_real_file_twice_is_the_same_as_once(town: City, data_dir: Path) -> None:
    """1,892 stored and told of once; the second import touches nothing."""
    verdicts = taipei.read((data_dir / "parking" / "taipei_carparks_20230128.json").read_bytes())
    seen: list[int] = []
    first = await use_cases.import_places(town.ctx, verdicts, operator_id="tcg", progress=seen.append)
    assert (first.read, first.accepted, first.unchanged, len(first.rejected)) == (1894, 1892, 0, 2)
    assert seen == sorted(seen)
    assert seen[-1] == 1894
    again = await use_cases.import_places(town.ctx, taipei.read((data_dir / "parking" / "taipei_carparks_20230128.json").read_bytes()))
    assert (again.accepted, again.unchanged) == (0, 1892)
    told = await town.told()
    assert len(told) == 1892
    assert {event.sequence for event in told} == {1}
    place = await use_cases.read_place(town.ctx, "taipei-002")
    assert place.operator_id == "tcg"
    assert place.facts == next(each.facts for each in verdicts if isinstance(each, Accepted) and each.facts.source_id == "002")


async def test_only_changed_rows_are_told_of_again(town: City) -> None:
    """A new capacity is version 2 with the old pools gone."""
    await use_cases.import_places(town.ctx, rows(lot(1), lot(2)))
    report = await use_cases.import_places(town.ctx, [*rows(lot(1), lot(2, pools=(Pool(Category.STANDARD, 7),))), Rejected(3, "x", "bad")])
    assert (report.read, report.accepted, report.unchanged, len(report.rejected)) == (3, 1, 1, 1)
    told = await town.told()
    assert [(event.key, event.sequence) for event in told] == [("op-1", 1), ("op-2", 1), ("op-2", 2)]
    assert told[-1].body()["capacity"] == {"standard": 7}
    assert (await use_cases.read_place(town.ctx, "op-2")).facts.pools == (Pool(Category.STANDARD, 7),)


async def test_an_import_without_operator_leaves_the_operator(town: City) -> None:
    """And one with another operator is a change."""
    await use_cases.import_places(town.ctx, rows(lot()), operator_id="a")
    assert (await use_cases.import_places(town.ctx, rows(lot()))).unchanged == 1
    assert (await use_cases.import_places(town.ctx, rows(lot()), operator_id="b")).accepted == 1
    assert (await use_cases.read_place(town.ctx, "op-1")).operator_id == "b"


async def test_republished_events_are_the_ones_that_were_told(town: City) -> None:
    """Same id, sequence, time and bytes; only the newest of each place."""
    await use_cases.import_places(town.ctx, rows(*(lot(number) for number in range(1, 6))))
    await use_cases.import_places(town.ctx, rows(lot(3, name="新名")))
    newest = {event.key: event for event in await town.told()}
    assert {event.key: event for event in await everything(town)} == newest
    assert [event async for event in use_cases.republished(town.ctx, "op-3")] == [newest["op-3"]]
    assert [event async for event in use_cases.republished(town.ctx, "nowhere")] == []


async def test_a_failed_unit_leaves_neither_place_nor_event(town: City) -> None:
    """State and outbox are one transaction."""
    stored: list[bool] = []

    async def attempt() -> None:
        async with town.db.write() as tx:
            stored.append(await use_cases.upsert_place_in(tx, town.ctx, lot()))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await attempt()
    assert stored == [True]
    assert await town.told() == []
    with pytest.raises(UnknownPlace):
        await use_cases.read_place(town.ctx, "op-1")


async def test_a_place_outside_the_city_is_refused(town: City) -> None:
    """Nothing half-written."""
    with pytest.raises(InvalidPlace, match="outside the bounds"):
        await use_cases.keep_place(town.ctx, lot(position=Position(121.5, 25.0)), operator_id="op", seen_version=None)
    async with town.db.read() as tx:
        assert await store.count(tx) == 0


async def test_an_operator_changes_only_what_it_has_seen(town: City) -> None:
    """Create, repeat, change with the version seen; stale, blind and foreign changes are refused."""
    made = await use_cases.keep_place(town.ctx, lot(), operator_id="op", seen_version=None)
    assert made.created
    assert not (await use_cases.keep_place(town.ctx, lot(), operator_id="op", seen_version=None)).created
    closed = lot(state=PlaceState.CLOSED)
    with pytest.raises(PreconditionRequired):
        await use_cases.keep_place(town.ctx, closed, operator_id="op", seen_version=None)
    changed = await use_cases.keep_place(town.ctx, closed, operator_id="op", seen_version=1)
    assert changed.place.version == 2
    with pytest.raises(PreconditionFailed):
        await use_cases.keep_place(town.ctx, lot(), operator_id="op", seen_version=1)
    with pytest.raises(Forbidden):
        await use_cases.keep_place(town.ctx, lot(), operator_id="other", seen_version=2)
    with pytest.raises(PreconditionFailed):
        await use_cases.keep_place(town.ctx, lot(9), operator_id="op", seen_version=1)
    assert [event.sequence for event in await town.told()] == [1, 2]
