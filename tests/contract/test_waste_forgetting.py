"""Where trucks were seen is nobody's but the crew's and the dispatcher's, and theirs for 30 days."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from cityloop_common.clock import city_day, day_begins
from cityloop_waste.planning import forgetting, use_cases
from cityloop_waste.planning.plans import CityPlan
from cityloop_waste.planning.tables import plan
from tests.contract.test_waste_routes import door
from tests.contract.waste_support import TODAY, Town, town

SEEN = {"lon": 109.70123, "lat": 39.60123}
REPLAN = {"at_s": 0, "broken": [], "closed": [], "urgent": [], "seen": {"T01": {"position": SEEN}}, "overtime_s": None}


async def off_its_plan(opened: Town) -> CityPlan:
    """A published replan whose truck was seen elsewhere after its first call; another one broke down there."""
    base, made = await opened.ready(), await opened.ready()
    await opened.publish(base.id)
    result: dict[str, Any] = {**(made.result or {})}
    first, call, *rest = result["routes"][0]["visits"]
    result["routes"] = [{**result["routes"][0], "visits": [first, call, {**call, "kind": "underway", "id": None, "position": SEEN}, *rest]}]
    result["stranded"] = [{"truck": "T03", "load_kg": 5, "load_dm3": 9, "position": SEEN}]
    lines = [{"travel": "graph", "line": [[109.787, 39.565], list(SEEN.values()), [109.787, 39.565]]}]
    changes = {"replaces": base.id, "reasons": ["position"], "replan": REPLAN, "result": result, "lines": lines}
    async with opened.db.write() as tx:
        await tx.run(update(plan).where(plan.c.id == made.id).values(**changes))
    opened.clock.at = day_begins(TODAY)  # nobody has left
    published = await opened.publish(made.id)
    async with opened.db.write() as tx:  # the map that it was drawn on
        await tx.run(update(plan).where(plan.c.id == made.id).values(graph_version="v1"))
    return replace(published, graph_version="v1")


async def stored(opened: Town, plan_id: str) -> str:
    """All that the row holds, as one text."""
    async with opened.db.read() as tx:
        (row,) = await tx.all(select(plan).where(plan.c.id == plan_id))
    return str(tuple(row))


async def test_the_public_sees_where_calls_are_not_where_a_truck_was(url: str, tmp_path: Path) -> None:
    """A straight line from call to call, and said to be an estimate; the crew has its whole day."""
    async with town(url, tmp_path) as opened:
        await opened.furnish()
        made = await off_its_plan(opened)
        async with door(opened) as replica:
            answer = await replica.get("/routes")
            (route,) = answer.json()["plans"][0]["routes"]
            assert "109.70123" not in answer.text
            assert (route["travel"], len(route["line"]) > 1, route["stops"]) == ("estimate", True, 3)
            assert "109.70123" in (await replica.get(f"/plans/{made.id}", "crew")).text


async def test_after_30_days_nobody_knows_where_it_was(url: str, tmp_path: Path) -> None:
    """What was published stays, with every call and figure; the base plan is not touched; a second turn finds nothing."""
    async with town(url, tmp_path) as opened:
        await opened.furnish()
        made = await off_its_plan(opened)
        assert made.replaces is not None
        base = await stored(opened, made.replaces)
        opened.clock.move(days=30)
        assert (await use_cases.empty(opened.ctx), "109.70123" in await stored(opened, made.id)) == (0, True)
        async with door(opened) as replica:
            public = (await replica.get(f"/routes?on={TODAY}")).json()["plans"]
            opened.clock.move(days=1)
            assert city_day(opened.clock.now()) > TODAY
            assert [await use_cases.empty(opened.ctx), await use_cases.empty(opened.ctx)] == [1, 0]
            assert "109.70123" not in await stored(opened, made.id)
            assert (await replica.get(f"/routes?on={TODAY}")).json()["plans"] == public
            shown = (await replica.get(f"/plans/{made.id}", "dispatcher")).json()
            assert [visit["kind"] for visit in shown["routes"][0]["visits"]] == [
                "depot-start",
                "stop",
                "stop",
                "stop",
                "unload",
                "depot-end",
            ]
            assert (await replica.get(f"/plans/{made.id}/manifests/T01", "crew")).status_code == 200
        after = (await use_cases.find(opened.ctx, made.id)).plan
        assert (after.state, after.figures, after.version, after.replan) == (made.state, made.figures, made.version, None)
        assert await stored(opened, made.replaces) == base


def test_a_result_without_anybody_seen_is_the_same() -> None:
    """Also where a truck that was under way begins its route: that place is of its problem."""
    result = {"routes": [{"truck": "T1", "visits": [{"kind": "underway", "id": None}, {"kind": "depot-end", "id": None}]}], "unserved": []}
    assert forgetting.without_seen(result) == result
