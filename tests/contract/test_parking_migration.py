"""A database of parking's first release keeps what it has, and the journal of car parks begins with what is known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from cityloop_common.clock import SystemClock
from cityloop_common.db import Database, open_db
from cityloop_common.indicator import moment
from cityloop_common.migrating import migrate
from cityloop_parking.indicators.store import read_places
from cityloop_parking.observations.tables import live_count, observation
from cityloop_parking.places.tables import place, place_pool, place_version
from cityloop_parking.reservations.tables import pool_bucket, reservation
from cityloop_parking.search import store as search
from cityloop_parking.search.tables import search_entry
from cityloop_parking.service import SERVICE
from tests.contract.kit_support import at_revision

FIRST, CHANGED = datetime(2026, 5, 1, 2, tzinfo=UTC), datetime(2026, 5, 20, 3, 4, 5, 678901, tzinfo=UTC)
NEW = {("search_entry", part) for part in ("chargers", "chargers_version", "closures", "closures_version")} | {
    ("observation", "interval_s")
}


@pytest.fixture
async def first_release(url: str) -> AsyncIterator[Database]:
    """A database with the tables of the first release and some rows in each."""
    db = open_db(url, clock=SystemClock())
    await at_revision(db, SERVICE, "0001")
    async with db.write() as tx:
        for table, rows in ROWS.items():
            for row in rows:
                await tx.run(insert(table).values({getattr(table.c, name): value for name, value in row.items()}))
    yield db
    await db.close()


def _place(number: int, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "id": f"op-{number}", "source": "op", "source_id": str(number), "name": f"文化广场 {number}", "address": "", "kind": "garage",
        "access": "public", "operator_id": "op", "lon": 109.787, "lat": 39.565, "position_from": "given", "district": "d1",
        "invented": False, "state": "open", "version": 3, "content_hash": "x" * 64,
        "event_id": f"01a20dc3-b782-74f9-a926-1ffc9d7b9e{number:02d}", "recorded_at": FIRST, "updated_at": CHANGED,
    }  # fmt: skip
    return row | changes


STAY = {"place_id": "op-1", "category": "standard", "starts_at": CHANGED, "ends_at": CHANGED.replace(hour=9)}
ROWS: dict[Any, list[dict[str, object]]] = {
    place: [_place(1), _place(2, version=1, state="closed", access="permit", kind="on_street", district=None, lon=121.56, lat=25.04)],
    place_pool: [
        {"place_id": "op-1", "category": "standard", "capacity": 90},
        {"place_id": "op-1", "category": "ev", "capacity": 9},
        {"place_id": "op-1", "category": "motorcycle", "capacity": 500},
    ],
    observation: [
        {
            "id": "01a20dc3-b782-74f9-a926-1ffc9d7b9e3f", "place_id": "op-1", "category": "standard", "source": "gate", "minute": 1,
            "happened_at": CHANGED, "recorded_at": CHANGED, "occupied": 4, "capacity": 90,
        }
    ],
    live_count: [
        {
            "place_id": "op-1", "category": "standard", "occupied": 4, "capacity": 90, "observed_at": CHANGED, "recorded_at": CHANGED,
            "source": "gate", "interval_s": 900,
        }
    ],
    pool_bucket: [{"place_id": "op-1", "category": "standard", "starts_at": CHANGED, "booked": 1, "sellable": 80}],
    reservation: [
        {
            **STAY, "id": "r", "state": "held", "held_until": CHANGED, "version": 1, "created_at": FIRST, "subject": "anna",
            "bucket_from": CHANGED, "bucket_to": CHANGED.replace(hour=9), "held_event_id": "e",
        }
    ],
    search_entry: [
        {
            "place_id": "op-1", "version": 77, "place_version": 3, "counts_version": 5, "counts": [], "updated_at": CHANGED,
            "place": {"id": "op-1", "name": "文化广场", "lon": 109.787, "lat": 39.565, "state": "open", "kind": "garage", "capacity": {}},
        }
    ],
}  # fmt: skip


async def _everything(db: Database) -> dict[str, list[dict[str, object]]]:
    """Every row of the old tables, the columns that the first release had."""
    found = {}
    async with db.read() as tx:
        for table in ROWS:
            columns = [column for column in table.columns if (table.name, column.name) not in NEW]
            found[table.name] = [dict(row._mapping) for row in await tx.all(select(*columns).order_by(*table.primary_key.columns))]
    return found


async def test_what_is_there_stays(first_release: Database) -> None:
    """Every row of every table, and the search shows what it showed."""
    before = await _everything(first_release)
    assert all(before.values())
    await migrate(first_release, SERVICE.migrations, SERVICE.metadata)
    assert await _everything(first_release) == before
    async with first_release.read() as tx:
        (entry,) = await search.page(tx, after="", most=10)
        interval = await tx.scalar(select(observation.c.interval_s))
    assert (entry.version, entry.chargers, entry.closures, interval) == (77, None, None, None)
    shown = entry.shown()
    assert shown is not None
    assert (shown.charging, shown.windows) == (None, ())


async def test_the_journal_begins_with_what_is_known(first_release: Database) -> None:
    """A row a place, of the version and the instant that it has; migrated twice is migrated once."""
    for _ in range(2):
        await migrate(first_release, SERVICE.migrations, SERVICE.metadata)
    v = place_version.c
    async with first_release.read() as tx:
        rows = await tx.all(select(place_version).order_by(v.place_id))
    assert [(row.id, row.event_id, row.place_id, row.version, row.happened_at, row.recorded_at, row.source) for row in rows] == [
        (_place(number)["event_id"], _place(number)["event_id"], f"op-{number}", version, CHANGED, CHANGED, "op")
        for number, version in ((1, 3), (2, 1))
    ]
    assert [(row.access, row.state, row.kind, row.district, row.in_city, row.total_bays, row.name) for row in rows] == [
        ("public", "open", "garage", "d1", True, 99, "文化广场 1"),
        ("permit", "closed", "on_street", None, False, 0, "文化广场 2"),
    ]


async def test_a_figure_can_be_computed_from_the_first_releases_counts(first_release: Database) -> None:
    """Their sources count as reporting every 15 minutes; before the journal began nothing is known."""
    await migrate(first_release, SERVICE.migrations, SERVICE.metadata)
    async with first_release.read() as tx:
        (known, other) = await read_places(tx, moment(CHANGED.date(), CHANGED))
        assert await read_places(tx, moment(FIRST.date(), FIRST)) == []
        assert await tx.scalar(text("SELECT count(*) FROM observation WHERE interval_s IS NULL")) == 1
    assert [(count.category, count.at, count.interval_s, count.source) for count in known.counts] == [("standard", CHANGED, 900, "gate")]
    assert (known.state, other.state, other.counts) == ("open", "closed", ())
