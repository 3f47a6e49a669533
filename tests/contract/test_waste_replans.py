"""A published plan made anew over real databases: one at a time, the old one holds until the new one does, told as what it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from cityloop_common.clock import day_begins
from cityloop_common.db import UniqueViolation
from cityloop_common.geo import Position
from cityloop_waste.fleet import store as fleet
from cityloop_waste.planning import jobs as planning_jobs
from cityloop_waste.planning import publishing, replans, routes, store, use_cases
from cityloop_waste.planning.domain import Stop
from cityloop_waste.planning.plans import (
    CityPlan,
    DayOver,
    NoRoutes,
    NotComparable,
    NotPublished,
    PlanOutdated,
    PlanState,
    Publish,
    ReplanRunning,
    UnknownPlan,
)
from cityloop_waste.planning.replanning import InvalidReplan, Seen
from cityloop_waste.planning.replans import ReplanWish
from cityloop_waste.planning.tables import plan
from cityloop_waste.planning.views import PlaceView
from cityloop_waste.points import use_cases as points
from cityloop_waste.roads import use_cases as roads
from cityloop_waste.roads.use_cases import BaseMap
from cityloop_waste.streams import Stream
from tests.contract.waste_support import CENTRE, TODAY, PlayedPool, Town, point, solved, town
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("quick")
FIVE = day_begins(TODAY) + timedelta(hours=5)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause of a second where a test waits for it."""
    monkeypatch.setattr("cityloop_common.jobs.POLL_S", 0.02)
    monkeypatch.setattr("cityloop_common.jobs.HEARTBEAT_S", 0.05)
    monkeypatch.setattr(planning_jobs, "TELL_EVERY_S", 0.02)


@asynccontextmanager
async def city(url: str, folder: Path, answer: Any = solved) -> AsyncIterator[tuple[Town, PlayedPool, CityPlan]]:
    """A town of eight points whose kitchen plan, by the product's own planner, is published."""
    pool = PlayedPool(answer)
    async with town(url, folder, pool=pool) as opened:
        await opened.furnish()
        async with opened.db.write() as tx:
            await points.keep_in(tx, opened.ctx, [point(number) for number in range(1, 9)])
        opened.clock.go_on_at(FIVE)  # before the trucks leave
        asked = await opened.ask()
        async with opened.working():
            await opened.until(asked.id, PlanState.READY)
        yield opened, pool, await opened.publish(asked.id)


def route_of(of: CityPlan) -> Mapping[str, Any]:
    assert of.result is not None
    found: Mapping[str, Any] = of.result["routes"][0]
    return found


def midway(of: CityPlan, stops: int = 2) -> Any:
    """The instant at which a plan's first truck has just left so many stops."""
    left = [visit["departure_s"] for visit in route_of(of)["visits"] if visit["kind"] == "stop"]
    return day_begins(of.on) + timedelta(seconds=left[stops - 1] + 1)


async def ask(opened: Town, of: CityPlan, **wish: Any) -> CityPlan:
    """Asks for a replan."""
    given = {"seconds": 1, **wish}
    if "at" not in given:
        given["at"] = midway(of)
    async with opened.db.write() as tx:
        return await replans.ask_in(tx, opened.ctx, of.id, ReplanWish(**given))


async def made(opened: Town, of: CityPlan, **wish: Any) -> CityPlan:
    """A replan whose search has ended."""
    asked = await ask(opened, of, **wish)
    async with opened.working():
        return await opened.until(asked.id, PlanState.READY, PlanState.PUBLISHED, PlanState.FAILED)


async def test_story_5_a_breakdown_at_work(url: str, tmp_path: Path) -> None:
    """Done stops stay, the load stays on its truck and is told, the rest goes to the other; the old plan holds until then."""
    async with city(url, tmp_path) as (opened, pool, old):
        async with opened.db.write() as tx:
            at = point(8).position
            await store.put_section(
                tx, PlaceView(place_id="s-8", kind="on_street", name="路", state="open", lon=at.lon, lat=at.lat), version=1
            )
        broken = route_of(old)["truck"]
        other = ({"T01", "T03"} - {broken}).pop()
        new = await made(opened, old, broken=(broken,))
        assert (new.state, new.replaces, new.reasons, await opened.state(old.id)) == (
            PlanState.READY,
            old.id,
            ("breakdown",),
            PlanState.PUBLISHED,
        )
        sent = pool.asked[-1]["problem"]
        assert (len(sent["stops"]), [each["id"] for each in sent["trucks"]]) == (6, [other])
        assert new.result is not None
        by_truck = {route["truck"]: [visit["id"] for visit in route["visits"] if visit["kind"] == "stop"] for route in new.result["routes"]}
        assert (len(by_truck[broken]), len(by_truck[other])) == (2, 6)
        assert new.result["stranded"] == [{"truck": broken, "load_kg": 200, "load_dm3": 400}]
        assert new.figures is not None
        assert (new.figures.stops, new.figures.trucks, new.figures.unserved) == (8, 2, 0)
        published = await opened.publish(new.id)
        assert (published.publication, await opened.state(old.id)) == (2, PlanState.SUPERSEDED)
        first, second = await opened.told("waste.plan")
        assert (first.type, second.type, second.key) == ("waste.plan.published.v1", "waste.plan.replanned.v1", new.id)
        body = second.body()
        assert (body["version"], body["replaces"], body["reasons"], body["stops"]) == (2, old.id, ["breakdown"], 8)
        assert [each["place_id"] for each in body["closures"]] == ["s-8"]  # type: ignore[attr-defined]
        assert [event async for event in publishing.republished(opened.ctx, None)] == [first, second]


async def test_it_publishes_itself_when_that_was_wished(url: str, tmp_path: Path) -> None:
    """As any plan; withdrawing it is a withdrawal."""
    async with city(url, tmp_path) as (opened, _, old):
        new = await ask(opened, old, publish=Publish.WHEN_READY)
        async with opened.working():
            await opened.until(new.id, PlanState.PUBLISHED)
        assert (await opened.withdraw(new.id)).state is PlanState.WITHDRAWN
        assert [event.type.split(".")[2] for event in await opened.told("waste.plan")] == ["published", "replanned", "withdrawn"]


async def test_story_18_two_replans_at_once_leave_one(url: str, tmp_path: Path) -> None:
    """The second is refused while the first is searched, also when both come in the same moment."""
    async with city(url, tmp_path) as (opened, _, old):
        asked = await asyncio.gather(*(ask(opened, old) for _ in range(4)), return_exceptions=True)
        first = [each for each in asked if isinstance(each, CityPlan)]
        assert (len(first), {type(each) for each in asked}) == (1, {CityPlan, ReplanRunning})
        await opened.cancel(first[0].id)
        assert (await ask(opened, old)).state is PlanState.WAITING


async def test_story_18_the_table_itself_refuses_a_second_open_replan(url: str, tmp_path: Path) -> None:
    """Whatever the code above does."""
    async with city(url, tmp_path) as (opened, _, old):
        one, other = await ask(opened, old), await opened.ask()
        with pytest.raises(UniqueViolation):
            async with opened.db.write() as tx:
                await tx.run(update(plan).where(plan.c.id == other.id).values(replaces=old.id))
        assert one.replaces == old.id


async def test_story_18_of_two_ready_replans_one_is_published(url: str, tmp_path: Path) -> None:
    """The other was made from a plan that holds no more: never two live plans, never a day that was made twice."""
    async with city(url, tmp_path) as (opened, _, old):
        ready = [await made(opened, old), await made(opened, old)]
        found = await asyncio.gather(*(opened.publish(each.id) for each in ready), return_exceptions=True)
        assert sorted(type(each).__name__ for each in found) == ["CityPlan", "NotPublishable"]
        states = [await opened.state(each.id) for each in (old, *ready)]
        assert sorted(states) == [PlanState.PUBLISHED, PlanState.READY, PlanState.SUPERSEDED]


async def test_a_replan_of_a_replan_goes_on(url: str, tmp_path: Path) -> None:
    """The day stays whole, a broken truck stays broken, and the plan before may come back as it was."""
    async with city(url, tmp_path) as (opened, _, old):
        broken = route_of(old)["truck"]
        first = await opened.publish((await made(opened, old, broken=(broken,))).id)
        urgent = Stop("U1", Position(CENTRE.lon + 0.002, CENTRE.lat), 50, 100, 60)
        at = midway(old) + timedelta(minutes=3)
        second = await made(opened, first, at=at, urgent=(urgent,))
        assert second.result is not None
        assert second.figures is not None
        assert (second.figures.stops, second.result["stranded"]) == (9, first.result["stranded"] if first.result else None)
        assert second.reasons == ("urgent-stop",)
        await opened.publish(second.id)
        assert (await opened.publish(first.id)).publication == 4, "it did hold once"


async def test_what_is_closed_is_passed_on_and_the_way_is_drawn_on(url: str, tmp_path: Path) -> None:
    """The solver hears of closed roads; what was driven is drawn, counted, and joined with what comes."""
    async with city(url, tmp_path) as (opened, pool, _):
        await roads.import_map(opened.ctx, BaseMap("v1", b'{"type":"FeatureCollection","features":[]}', 0))
        asked = await opened.ask()
        async with opened.working():
            await opened.until(asked.id, PlanState.READY)
        old = await opened.publish(asked.id)
        new = await made(opened, old, closed=("road-7", Position(109.79, 39.565)))
        assert pool.asked[-1]["closed"] == ["road-7", [109.79, 39.565]]
        shown = await use_cases.find(opened.ctx, new.id)
        assert shown.lines == [{"travel": "graph", "line": [[109.787, 39.565], [109.788, 39.565], [109.79, 39.565]]}]
        (route,) = routes.for_crews(new, shown.lines)
        assert (route["travel"], new.reasons) == ("graph", ("closed-road",))
        assert new.result is not None
        rest_m = (await solved(pool.asked[-1], lambda _: None))["cost"]["distance_m"]
        assert new.result["cost"]["distance_m"] == pytest.approx(rest_m + 86, abs=2), "the metres of the drawn line are driven already"


async def test_a_closed_road_stays_closed_until_it_is_reopened(url: str, tmp_path: Path) -> None:
    """Also in later replans that do not name it; what is not closed cannot be reopened."""
    corner = Position(109.79, 39.565)
    async with city(url, tmp_path) as (opened, pool, old):
        first = await opened.publish((await made(opened, old, closed=("road-7", corner))).id)
        second = await opened.publish((await made(opened, first, closed=("road-9", "road-7"))).id)
        assert pool.asked[-1]["closed"] == ["road-7", [109.79, 39.565], "road-9"]
        third = await made(opened, second, reopened=("road-7", corner))
        assert (pool.asked[-1]["closed"], third.reasons) == (["road-9"], ("closed-road",))
        with pytest.raises(InvalidReplan, match="road-5 is not closed"):
            await ask(opened, second, reopened=("road-5",))


async def test_the_instant_never_goes_back(url: str, tmp_path: Path) -> None:
    """What the plan that holds drove before its own instant is of another plan: an earlier one is refused, the same is not."""
    async with city(url, tmp_path) as (opened, _, old):
        first = await opened.publish((await made(opened, old)).id)
        with pytest.raises(InvalidReplan, match="before that of the plan that holds"):
            await ask(opened, first, at=midway(old) - timedelta(seconds=1))
        assert (await ask(opened, first, at=midway(old))).state is PlanState.WAITING


async def test_one_that_trucks_are_past_is_refused_and_made_anew(url: str, tmp_path: Path) -> None:
    """By hand or by itself: it stays ready, and what holds holds on; one that is made of now is published."""
    async with city(url, tmp_path) as (opened, _, old):
        truck, sixth = route_of(old)["truck"], [visit["id"] for visit in route_of(old)["visits"] if visit["kind"] == "stop"][5]
        assert old.problem is not None
        at = next(stop["position"] for stop in old.problem["stops"] if stop["id"] == sixth)
        urgent = Stop("U1", Position(at["lon"], at["lat"]), 50, 100, 60)
        outdated = await ask(opened, old, urgent=(urgent,), publish=Publish.WHEN_READY)
        opened.clock.move(hours=3)

        async def refused() -> CityPlan | None:
            found = (await use_cases.find(opened.ctx, outdated.id)).plan
            return found if found.reason else None

        async with opened.working():
            told = await wait_until(refused, what="why it has not published itself")
        assert told is not None
        assert (told.state, told.reason) == (PlanState.READY, f"plan-outdated: too late for {truck}; make the plan anew")
        with pytest.raises(PlanOutdated, match=truck):
            await opened.publish(outdated.id)
        assert await opened.state(old.id) is PlanState.PUBLISHED
        opened.clock.go_on_at(midway(old))
        of_now = await made(opened, old, urgent=(urgent,))
        assert (await opened.publish(of_now.id)).state is PlanState.PUBLISHED


async def test_what_is_told_late_is_with_the_trucks_later(url: str, tmp_path: Path) -> None:
    """A breakdown of an hour ago: the others have driven on since, and go on until the new plan can be there."""
    async with city(url, tmp_path) as (opened, pool, old):
        left = [visit["departure_s"] for visit in route_of(old)["visits"] if visit["kind"] == "stop"]
        opened.clock.go_on_at(midway(old, 4))
        for margin_s in (0, left[5] - left[3]):
            new = await made(opened, old, at=midway(old, 1), margin_s=margin_s)
            served = 8 - len(pool.asked[-1]["problem"]["stops"])
            assert served == 1 + sum(1 for at in left if at <= left[3] + 2 + margin_s)
        assert (await opened.publish(new.id)).state is PlanState.PUBLISHED


async def test_what_trucks_drive_to_until_the_plan_is_there_stays(url: str, tmp_path: Path) -> None:
    """The search, and then the time until the crews have the plan: as wished, else a minute by itself, five by hand."""
    async with city(url, tmp_path) as (opened, pool, old):
        left = [visit["departure_s"] for visit in route_of(old)["visits"] if visit["kind"] == "stop"]
        told = midway(old, 1)
        for wish in ({}, {"margin_s": left[3] - left[0]}, {"publish": Publish.WHEN_READY}):
            await made(opened, old, at=told, **wish)
        margins = [1 + 300, 1 + left[3] - left[0], 1 + 60]
        served = [8 - len(asked["problem"]["stops"]) for asked in pool.asked[-3:]]
        expected = [min(8, 1 + sum(1 for at in left if at <= left[0] + 1 + margin)) for margin in margins]
        assert (served, expected[1]) == (expected, 5)


async def test_a_broken_truck_tells_where_it_stands(url: str, tmp_path: Path) -> None:
    """Its position and scale are kept with the plan, also in later replans, and go on with it when it is mended."""
    async with city(url, tmp_path) as (opened, pool, old):
        broken, spot = route_of(old)["truck"], Position(CENTRE.lon + 0.001, CENTRE.lat)
        first = await opened.publish((await made(opened, old, broken=(broken,), seen={broken: Seen(spot, 250, 410)})).id)
        told = [{"truck": broken, "load_kg": 250, "load_dm3": 410, "position": {"lon": spot.lon, "lat": spot.lat}}]
        assert (first.result or {})["stranded"] == told
        second = await opened.publish((await made(opened, first)).id)
        assert (second.result or {})["stranded"] == told
        mended = await made(opened, second, seen={broken: Seen(CENTRE)})
        assert (mended.result or {})["stranded"] == []
        begun = next(each["underway"] for each in pool.asked[-1]["problem"]["trucks"] if each["id"] == broken)
        assert (begun["load_kg"], begun["load_dm3"]) == (250, 410)


async def test_points_of_the_registry_can_be_urgent(url: str, tmp_path: Path) -> None:
    """As they stand there; one of another stream, or unknown, is refused."""
    async with city(url, tmp_path) as (opened, _, old):
        async with opened.db.write() as tx:
            await points.keep_in(tx, opened.ctx, [point(9), replace(point(10), demands=point(10).demands[1:])])
        new = await made(opened, old, points=("P9",))
        assert new.figures is not None
        assert new.figures.stops == 9
        for name in ("P10", "P99"):
            with pytest.raises(InvalidReplan, match=name):
                await ask(opened, old, points=(name,))


async def test_what_cannot_be_made_anew_is_refused_before_anything_is_written(url: str, tmp_path: Path) -> None:
    """No such plan, one that does not hold, another day's instant, nothing left, a day that is over."""
    async with city(url, tmp_path) as (opened, _, old):
        waiting = await opened.ask()
        before = await opened.count(plan)
        refused: list[tuple[CityPlan, dict[str, Any], type[Exception]]] = [
            (replace(old, id="01a217ac-8aac-7600-99a4-5f766d5bc32c"), {"at": FIVE}, UnknownPlan),
            (waiting, {"at": FIVE}, NotPublished),
            (old, {"at": FIVE - timedelta(hours=6)}, InvalidReplan),
            (old, {"at": FIVE + timedelta(hours=8)}, InvalidReplan),
            (old, {"broken": ("T02",)}, InvalidReplan),
            (old, {"points": ("P1", "P1")}, InvalidReplan),
        ]
        for of, wish, error in refused:
            with pytest.raises(error):
                await ask(opened, of, **wish)
        opened.clock.move(days=2)
        with pytest.raises(DayOver):
            await ask(opened, old)
        assert await opened.count(plan) == before


async def test_parts_that_do_not_fit_are_never_shown(url: str, tmp_path: Path) -> None:
    """A solver that forgets a stop, or a truck: the plan fails with what is wrong, the one before holds."""
    asked: list[int] = []

    async def forgets(payload: Mapping[str, Any], on_progress: Callable[[Any], None]) -> Mapping[str, Any]:
        asked.append(1)
        answer = dict(await solved(payload, on_progress))
        return {**answer, "routes": []} if len(asked) > 1 else answer

    async with city(url, tmp_path, forgets) as (opened, _, old):
        new = await made(opened, old)
        assert new.state is PlanState.FAILED
        assert new.reason is not None
        assert "times in the day" in new.reason
        assert await opened.state(old.id) is PlanState.PUBLISHED


async def test_old_and_new_are_compared(url: str, tmp_path: Path) -> None:
    """Which stop moved from whom to whom, how much longer it is, and how alike."""
    async with city(url, tmp_path) as (opened, _, old):
        broken = route_of(old)["truck"]
        new = await made(opened, old, broken=(broken,))
        before, after, found = await replans.compare(opened.ctx, new.id, None)
        assert (before.id, after.id, len(found.moved), found.pairs) == (old.id, new.id, 6, 7)
        assert {each.before for each in found.moved} == {broken}
        same = await replans.compare(opened.ctx, old.id, old.id)
        assert (same[2].moved, same[2].distance_m, same[2].alike) == ((), 0, 7)
        waiting, other = await opened.ask(), await opened.ask(Stream.OTHER)
        with pytest.raises(NoRoutes):
            await replans.compare(opened.ctx, old.id, waiting.id)
        with pytest.raises(NotComparable):
            await replans.compare(opened.ctx, old.id, other.id)
        with pytest.raises(UnknownPlan):
            await replans.compare(opened.ctx, old.id, None)


async def test_a_search_is_ended_with_its_best(url: str, tmp_path: Path) -> None:
    """Whoever asks, on any replica: the solver hears it within a second or so, and the plan is ready; asking again changes nothing."""
    pool = PlayedPool(solved)

    async def patient(payload: Mapping[str, Any], on_progress: Callable[[Any], None]) -> Mapping[str, Any]:
        assert pool.finish is not None
        await pool.finish.wait()
        return await solved(payload, on_progress)

    pool.answer = patient
    async with town(url, tmp_path, pool=pool) as opened, town(url, tmp_path) as replica:
        await opened.furnish()
        opened.clock.go_on()
        asked = await opened.ask()
        async with opened.working():
            await opened.until(asked.id, PlanState.SOLVING)
            async with replica.db.write() as tx:
                assert (await use_cases.finish_in(tx, replica.ctx, asked.id)).state is PlanState.SOLVING
            await opened.until(asked.id, PlanState.READY)
        async with replica.db.write() as tx:
            assert (await use_cases.finish_in(tx, replica.ctx, asked.id)).state is PlanState.READY


async def test_a_plan_of_other_roads_is_flagged(url: str, tmp_path: Path) -> None:
    """The base map was changed after it was asked for: whoever looks at it is told."""
    async with city(url, tmp_path) as (opened, _, old):
        shown = await use_cases.find(opened.ctx, old.id)
        assert shown.plan.graph_version == shown.present_map is None
        await roads.import_map(opened.ctx, BaseMap("v2", b'{"type":"FeatureCollection","features":[]}', 0))
        shown = await use_cases.find(opened.ctx, old.id)
        assert (shown.plan.graph_version, shown.present_map) == (None, "v2")


async def test_the_day_begins_with_the_rounds_of_the_day_before(url: str, tmp_path: Path) -> None:
    """Of the plan that held last for the stream, whatever was asked for since."""
    async with city(url, tmp_path) as (opened, _, old):
        tomorrow = await opened.ask(on=TODAY + timedelta(days=1))
        assert tomorrow.problem is not None
        served = [visit["id"] for visit in route_of(old)["visits"] if visit["kind"] == "stop"]
        assert tomorrow.problem["yesterday"] == [{"truck": route_of(old)["truck"], "stops": served}]
        other = await opened.ask(Stream.OTHER, on=TODAY + timedelta(days=1))
        assert other.problem is not None
        assert other.problem["yesterday"] == []


async def test_story_7_a_site_that_refuses_a_stream_is_never_planned(url: str, tmp_path: Path) -> None:
    """However near it is: other waste goes where it is taken, and nowhere when it is taken nowhere, which every stop says."""
    async with city(url, tmp_path) as (opened, _, _old):

        async def planned() -> CityPlan:
            asked = await opened.ask(Stream.OTHER)
            async with opened.working():
                return await opened.until(asked.id, PlanState.READY)

        async def settle(*, takers: bool) -> None:
            async with opened.db.write() as tx:
                for each in await fleet.sites(tx):
                    other = (
                        replace(each, active=takers, position=Position(CENTRE.lon + 0.02, CENTRE.lat))
                        if Stream.OTHER in each.streams
                        else each
                    )
                    await fleet.put_sites(tx, [other])

        await settle(takers=True)
        far = await planned()
        assert far.result is not None
        unloads = {visit["id"] for route in far.result["routes"] for visit in route["visits"] if visit["kind"] == "unload"}
        assert unloads
        assert "biogas-1" not in unloads, "it takes kitchen waste only, and lies beside the depot"
        await settle(takers=False)
        nowhere = await planned()
        assert nowhere.result is not None
        assert {each["reason"] for each in nowhere.result["unserved"]} == {"no-site-for-stream"}
        assert (len(nowhere.result["unserved"]), nowhere.result["routes"]) == (8, [])
