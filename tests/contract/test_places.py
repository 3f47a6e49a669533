"""Laws of importing, keeping and telling of car parks, the same on every database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from sqlalchemy import select

from cityloop_common import districts
from cityloop_common.envelope import Event
from cityloop_common.errors import Forbidden, PreconditionFailed, PreconditionRequired
from cityloop_common.geo import Position
from cityloop_parking.context import ParkingCtx
from cityloop_parking.places import store, taipei, use_cases
from cityloop_parking.places.domain import (
    Accepted,
    Access,
    Category,
    InvalidPlace,
    PlaceFacts,
    PlaceKind,
    PlaceState,
    Pool,
    Rejected,
    UnknownPlace,
    Verdict,
)
from cityloop_parking.places.tables import place_version
from tests.contract.reservations_support import City, city, make_tables


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


GRID = districts.read(
    orjson.dumps(
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "properties": {"id": name, "name": name},
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [[[west, 39.5], [west + 0.1, 39.5], [west + 0.1, 39.6], [west, 39.6], [west, 39.5]]],
                    },
                }
                for name, west in (("east", 109.75), ("west", 109.65))
            ],
        }
    )
)


def divided(town: City) -> ParkingCtx:
    """The city with two districts."""
    return replace(town.ctx, districts=GRID)


async def journal(town: City, *columns: str) -> list[tuple[object, ...]]:
    v = place_version.c
    async with town.db.read() as tx:
        return [tuple(row) for row in await tx.all(select(*(v[name] for name in columns)).order_by(v.place_id, v.version))]


async def test_the_polygons_decide_the_district_and_the_source_where_there_are_none(town: City) -> None:
    """Imported, upserted or kept by its operator: inside the polygons their answer counts, outside the source's own word."""
    ctx = divided(town)
    await use_cases.import_places(ctx, rows(lot(1, district="somewhere"), lot(2, position=Position(109.9, 39.7), district="outside")))
    async with town.db.write() as tx:
        await use_cases.upsert_place_in(tx, ctx, lot(3, position=Position(109.70, 39.55)))
    kept = await use_cases.keep_place(ctx, lot(4, district="anywhere"), operator_id="op", seen_version=None)
    assert kept.place.facts.district == "east"
    found = [(await use_cases.read_place(ctx, f"op-{number}")).facts.district for number in range(1, 5)]
    assert found == ["east", "outside", "west", "east"]
    assert [event.body().get("district") for event in await town.told()] == ["east", "outside", "west", "east"]
    assert not (await use_cases.keep_place(ctx, lot(4, district="anywhere"), operator_id="op", seen_version=None)).created
    assert len(await town.told()) == 4


async def test_other_polygons_and_the_same_import_change_the_places(town: City) -> None:
    """The district is part of what is compared; the same polygons again change nothing."""
    assert (await use_cases.import_places(town.ctx, rows(lot(1, district="old"), lot(2)))).accepted == 2
    again = await use_cases.import_places(divided(town), rows(lot(1, district="old"), lot(2)))
    assert (again.accepted, again.unchanged) == (2, 0)
    assert (await use_cases.import_places(divided(town), rows(lot(1, district="old"), lot(2)))).unchanged == 2
    assert await journal(town, "place_id", "version", "district") == [
        ("op-1", 1, "old"), ("op-1", 2, "east"), ("op-2", 1, None), ("op-2", 2, "east"),
    ]  # fmt: skip


async def test_every_version_of_a_place_is_a_row_of_the_journal(town: City) -> None:
    """With the event that told of it, when it was learnt, and what figures count by; repetitions and refusals write none."""
    await use_cases.import_places(town.ctx, rows(lot(1)))
    await use_cases.import_places(town.ctx, rows(lot(1)))
    pools = (Pool(Category.STANDARD, 7), Pool(Category.MOTORCYCLE, 50))
    changed = lot(1, name="新名", state=PlaceState.CLOSED, access=Access.PERMIT, kind=PlaceKind.ON_STREET, pools=pools)
    await use_cases.import_places(town.ctx, rows(changed))
    with pytest.raises(Forbidden):
        await use_cases.keep_place(town.ctx, lot(1), operator_id="other", seen_version=2)
    told = await town.told()
    assert await journal(town, "id", "event_id", "happened_at", "recorded_at", "corrects") == [
        (event.id, event.id, event.time, event.time, None) for event in told
    ]
    assert await journal(town, "source", "version", "name", "state", "access", "kind", "total_bays") == [
        ("op", 1, "文化广场", "open", "public", "unknown", 12),
        ("op", 2, "新名", "closed", "permit", "on_street", 7),
    ]


async def test_a_failed_unit_leaves_no_row_of_the_journal(town: City) -> None:
    """The journal, the place and its event are stored together."""
    with pytest.raises(RuntimeError):
        async with town.db.write() as tx:
            await use_cases.upsert_place_in(tx, town.ctx, lot())
            raise RuntimeError
    assert await journal(town, "id") == []
