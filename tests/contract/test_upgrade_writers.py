"""Writers of parking's first release go on while the newer schema is there: what they write gets into the journal of car parks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from cityloop_common.clock import city_day
from cityloop_common.context import Ctx
from cityloop_common.indicator import moment
from cityloop_common.migrating import migrate
from cityloop_parking.indicators.store import read_places
from cityloop_parking.places import use_cases as places
from cityloop_parking.places.domain import Category, PlaceFacts, Pool
from cityloop_parking.places.tables import place, place_pool, place_version
from cityloop_parking.sample import invented_places
from tests.contract.upgrade_support import SERVICES, opened


@pytest.fixture
async def upgraded(url: str, tmp_path: Path) -> AsyncIterator[Ctx[Any]]:
    """An empty database of today's schema."""
    service = SERVICES["parking"]
    async with opened(service, url, tmp_path) as ctx:
        await migrate(ctx.db, service.migrations, service.metadata)
        yield ctx


async def old_keep(ctx: Ctx[Any], facts: PlaceFacts) -> str:
    """What the first release did when a car park was new or changed: rows of `place` and `place_pool`, no journal. Its event's id."""
    event_id = ctx.ids.new()
    async with ctx.db.write() as tx:
        changed = await tx.run(
            update(place)
            .where(place.c.id == facts.id)
            .values(version=place.c.version + 1, state=str(facts.state), event_id=event_id, updated_at=tx.recorded_at)
        )
        if not changed:
            row = {
                "id": facts.id, "source": facts.source, "source_id": facts.source_id, "name": facts.name, "address": "",
                "kind": str(facts.kind), "access": str(facts.access), "operator_id": "op", "lon": facts.position.lon,
                "lat": facts.position.lat, "position_from": "given", "district": "d1", "invented": True, "state": str(facts.state),
                "version": 1, "content_hash": "x" * 64, "event_id": event_id, "recorded_at": tx.recorded_at, "updated_at": tx.recorded_at,
            }  # fmt: skip
            await tx.run(insert(place).values(row))
        await tx.run(delete(place_pool).where(place_pool.c.place_id == facts.id))
        pools = [{"place_id": facts.id, "category": each.category.value, "capacity": each.capacity} for each in facts.pools]
        await tx.run(insert(place_pool), pools)
    return event_id


def facts(number: int = 1, **changes: Any) -> PlaceFacts:
    """A car park of the sample with 90 spaces and room for motorcycles."""
    given: dict[str, Any] = {name: getattr(invented_places()[number], name) for name in ("source", "source_id", "name", "position")}
    pools = (Pool(Category.STANDARD, 80), Pool(Category.EV, 10), Pool(Category.MOTORCYCLE, 300))
    return PlaceFacts(**{**given, "pools": pools, **changes})


async def journal(ctx: Ctx[Any]) -> list[Any]:
    async with ctx.db.read() as tx:
        return list(await tx.all(select(place_version).order_by(place_version.c.place_id, place_version.c.version)))


async def test_a_car_park_of_the_first_release_gets_its_row(upgraded: Ctx[Any]) -> None:
    """With its own event, the time of the change, and what today's release would have written of it; once."""
    event_id = await old_keep(upgraded, facts())
    assert await places.write_missing_journal(upgraded) == 1
    assert await places.write_missing_journal(upgraded) == 0
    (row,) = await journal(upgraded)
    async with upgraded.db.read() as tx:
        (kept,) = await tx.all(select(place))
    assert (row.id, row.event_id, row.place_id, row.version, row.total_bays) == (event_id, event_id, facts().id, 1, 90)
    assert (row.happened_at, row.recorded_at > kept.updated_at) == (kept.updated_at, True)
    assert (row.in_city, row.district, row.access, row.state, row.kind, row.name) == (
        True, "d1", kept.access, kept.state, kept.kind, kept.name,
    )  # fmt: skip


async def test_a_figure_counts_it_from_then_on_and_none_published_before_changes(upgraded: Ctx[Any]) -> None:
    """Known before the sweep: nothing; known after it: the car park as it is."""
    await old_keep(upgraded, facts())
    before = upgraded.clock.now()
    await asyncio.sleep(0.01)
    await places.write_missing_journal(upgraded)
    after = upgraded.clock.now() + timedelta(seconds=1)
    async with upgraded.db.read() as tx:
        assert await read_places(tx, moment(city_day(before), before)) == []
        (found,) = await read_places(tx, moment(city_day(after), after))
    assert found.place_id == facts().id


async def test_both_releases_write_and_every_present_version_has_its_row(upgraded: Ctx[Any]) -> None:
    """The old one, the new one, the old one again, while sweeps of two workers run all the time."""
    done = asyncio.Event()

    async def sweeping() -> None:
        while not done.is_set():
            await places.write_missing_journal(upgraded)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(sweeping())
        group.create_task(sweeping())
        for turn in range(20):
            for number in (1, 2):
                if turn % 2 == number % 2:
                    await old_keep(upgraded, facts(number))
                else:
                    async with upgraded.db.write() as tx:
                        pools = (Pool(Category.STANDARD, 100 + turn),)
                        assert await places.upsert_place_in(tx, upgraded, facts(number, pools=pools))
        done.set()
    await places.write_missing_journal(upgraded)
    rows = await journal(upgraded)
    async with upgraded.db.read() as at_rest:
        kept = {row.id: (row.version, row.event_id) for row in await at_rest.all(select(place))}
    newest = {row.place_id: (row.version, row.event_id) for row in rows}
    assert newest == kept
    assert len({(row.place_id, row.version) for row in rows}) == len(rows)
    assert {version for version, _ in kept.values()} == {20}
