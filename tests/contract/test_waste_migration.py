"""A database of waste's first release keeps what it has, and its published plans can be shown and drawn."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import insert, select

from cityloop_common.clock import SystemClock
from cityloop_common.db import open_db
from cityloop_common.migrating import behind, migrate
from cityloop_waste.planning import routes, store
from cityloop_waste.planning.tables import plan
from cityloop_waste.service import SERVICE
from tests.contract.kit_support import at_revision

AT = datetime(2026, 11, 20, 2, 3, 4, 567890, tzinfo=UTC)
NEW = {"lines", "emptied_at", "replaces", "reasons", "replan", "finish_requested_at"}
DEPOT, STOP = {"lon": 109.787, "lat": 39.565}, {"lon": 109.79, "lat": 39.57}
VISIT = {"arrival_s": 25_000, "start_s": 25_000, "departure_s": 25_060, "load_kg": 1, "load_dm3": 2}
RESULT = {
    "travel": "graph", "unserved": [], "verified": True, "cost": {"distance_m": 9, "duration_s": 9},
    "routes": [{
        "truck": "T01", "distance_m": 9, "duration_s": 9,
        "visits": [{"kind": kind, "id": id_, **VISIT} for kind, id_ in (("depot-start", None), ("stop", "P1"), ("depot-end", None))],
    }],
}  # fmt: skip
ROW: dict[str, Any] = {
    "id": "01a20dc3-b782-74f9-a926-1ffc9d7b9e3f", "stream": "kitchen", "on_day": date(2026, 11, 26), "state": "published",
    "publish": "by-hand", "job_id": "j", "seconds": 5, "graph_version": "v1", "problem": {
        "depot": DEPOT, "stops": [{"id": "P1", "position": STOP}], "sites": [], "trucks": [],
    }, "result": RESULT, "trucks": 1, "stops": 1, "unserved": 0, "distance_m": 9, "duration_s": 9, "publication": 3, "published_at": AT,
    "version": 4, "told": 1, "created_at": AT, "updated_at": AT,
}  # fmt: skip
WAITING: dict[str, Any] = {name: ROW[name] for name in ("stream", "on_day", "publish", "job_id", "seconds", "problem", "created_at")} | {
    "id": "01a20dc3-b782-74f9-a926-1ffc9d7b9e40", "state": "waiting", "version": 1, "told": 0, "updated_at": AT,
}  # fmt: skip


async def test_plans_of_the_first_release_stay_and_can_be_shown(url: str) -> None:
    """Every column of every plan; a published one is shown with straight lines, and is the one that is still to be drawn."""
    db = open_db(url, clock=SystemClock())
    await at_revision(db, SERVICE, "0001")
    old = [column for column in plan.columns if column.name not in NEW]
    async with db.write() as unit:
        for row in (ROW, WAITING):
            await unit.run(insert(plan).values(row))
        before = [dict(row._mapping) for row in await unit.all(select(*old).order_by(plan.c.id))]
    assert await behind(db, SERVICE.migrations)
    await migrate(db, SERVICE.migrations, SERVICE.metadata)
    assert not await behind(db, SERVICE.migrations)
    async with db.read() as tx:
        after = [dict(row._mapping) for row in await tx.all(select(plan).order_by(plan.c.id))]
        assert after == [row | dict.fromkeys(NEW) for row in before]
        (held,) = await store.held(tx, date(2026, 11, 26))
        whole, lines = await store.get(tx, held.id), await store.lines(tx, held.id)
        (undrawn,) = await store.undrawn(tx, date(2026, 11, 26), most=9)
    await db.close()
    assert whole is not None
    (route,) = routes.for_everybody(whole, lines)["routes"]
    straight = [[109.787, 39.565], [109.79, 39.57], [109.787, 39.565]]
    assert (route["travel"], route["line"], lines) == ("estimate", straight, None)
    assert undrawn.id == held.id
