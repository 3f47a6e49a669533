"""Plans over real databases: asked for with their job, one live plan a stream and day, closures, what parking tells."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from cityloop_common.consuming import run_consumer
from cityloop_common.db import UniqueViolation
from cityloop_common.envelope import Event, to_headers
from cityloop_common.errors import Unavailable
from cityloop_common.eventlog import Message, Retention, TopicSpec
from cityloop_common.geo import Position
from cityloop_common.tables import job
from cityloop_waste import consumers
from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.domain import Depot, DepotAmbiguous, DepotId
from cityloop_waste.planning import publishing, store, use_cases
from cityloop_waste.planning.closures import Section
from cityloop_waste.planning.plans import (
    DayOver,
    MapChanged,
    NothingToCollect,
    NotOpen,
    NotPublishable,
    NotPublished,
    PlanState,
    Publish,
    TooManyPlans,
    UnknownPlan,
)
from cityloop_waste.planning.tables import plan, plan_version, street_section
from cityloop_waste.planning.use_cases import Wish
from cityloop_waste.planning.views import PlaceView
from cityloop_waste.points import use_cases as points
from cityloop_waste.roads import use_cases as roads
from cityloop_waste.roads.use_cases import BaseMap
from cityloop_waste.streams import Stream
from tests.contract.waste_support import CENTRE, TEN, TODAY, Town, one_round, point, town, truck
from tests.support import wait_until

NOTHING: dict[str, object] = {"at_s": 0, "broken": [], "seen": {}, "urgent": []}
"""A replan that was asked with nothing."""


@pytest.fixture
async def city(url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A furnished town on each dialect."""
    async with town(url, tmp_path) as opened:
        await opened.furnish()
        yield opened


def place(number: int, *, kind: str = "on_street", state: str = "open", at: Position | None = None) -> PlaceView:
    """A car park at the position of the point with that number."""
    position = at or point(number).position
    return PlaceView(place_id=f"s-{number}", kind=kind, name="路侧", state=state, lon=position.lon, lat=position.lat)


async def know(city: Town, *views: PlaceView) -> None:
    """Parking's word has come."""
    async with city.db.write() as tx:
        for view in views:
            await store.put_section(tx, view, version=1)


async def test_a_plan_and_its_job_are_one_unit(city: Town) -> None:
    """Both or neither; the problem is that of the registry."""
    asked = await city.ask()
    assert asked.state is PlanState.WAITING
    found = (await use_cases.find(city.ctx, asked.id)).plan
    assert found.problem is not None
    assert [stop["id"] for stop in found.problem["stops"]] == ["P1", "P2", "P3"]
    assert [each["id"] for each in found.problem["trucks"]] == ["T01", "T03"], "trucks of the stream only"
    assert len(found.problem["sites"]) == 6
    with pytest.raises(NothingToCollect):
        await city.ask(Stream.HAZARDOUS)
    assert (await city.count(plan), await city.count(job)) == (1, 1)


async def test_a_stream_without_trucks_is_planned_all_the_same(city: Town) -> None:
    """The plan says so, stop by stop: that is the solver's word, not a refusal."""
    async with city.db.write() as tx:
        await fleet.put_trucks(tx, [replace(truck("T02", Stream.OTHER), active=False)])
    asked = (await use_cases.find(city.ctx, (await city.ask(Stream.OTHER)).id)).plan
    assert asked.problem is not None
    assert {each["streams"][0] for each in asked.problem["trucks"]} == {"kitchen"}


async def test_trucks_of_a_depot_that_is_not_in_use_stay_there(city: Town) -> None:
    """Another depot's drive; without any there is nothing to plan with."""
    async with city.db.write() as tx:
        await fleet.put_depots(tx, [Depot(DepotId("depot-2"), "车场二", None, CENTRE, active=False)])
        await fleet.put_trucks(tx, [replace(truck("T03", operator="other-op"), depot_id=DepotId("depot-2"))])
    asked = await city.ask()
    assert asked.problem is not None
    assert [each["id"] for each in asked.problem["trucks"]] == ["T01"]
    async with city.db.write() as tx:
        await fleet.put_depots(tx, [Depot(DepotId("depot-1"), "车场", None, CENTRE, active=False)])
    with pytest.raises(NothingToCollect):
        await city.ask()


async def test_no_truck_is_left_out_silently(city: Town) -> None:
    """More than a plan can hold are refused; those that are not in use count nowhere, also where no truck fits the stream."""
    idle = [replace(truck(f"A{number:03}", Stream.RECYCLABLE), active=False) for number in range(101)]
    async with city.db.write() as tx:
        await fleet.put_trucks(tx, [*idle, replace(truck("T02", Stream.OTHER), active=False)])
    unfit = await city.ask(Stream.OTHER)
    assert unfit.problem is not None
    assert [each["id"] for each in unfit.problem["trucks"]] == ["T01", "T03"]
    async with city.db.write() as tx:
        await fleet.put_trucks(tx, [truck(f"K{number:03}") for number in range(99)])
    with pytest.raises(NothingToCollect, match="100 trucks"):
        await city.ask()


async def test_several_depots_need_a_choice(city: Town) -> None:
    """The plan is that of the depot that is named."""
    async with city.db.write() as tx:
        await fleet.put_depots(tx, [Depot(DepotId("depot-2"), "车场二", None, CENTRE)])
        await fleet.put_trucks(tx, [replace(truck("T03", operator="other-op"), depot_id=DepotId("depot-2"))])
    with pytest.raises(DepotAmbiguous):
        await city.ask()
    chosen = await use_cases.ask_for_day(city.ctx, Stream.KITCHEN, Wish(TODAY), depot_id="depot-2")
    assert chosen.problem is not None
    assert [each["id"] for each in chosen.problem["trucks"]] == ["T03"]


async def test_neither_yesterday_nor_more_than_can_be_searched(url: str, tmp_path: Path) -> None:
    """Both are refused before anything is written."""
    async with town(url, tmp_path, open_plans=2) as city:
        await city.furnish()
        with pytest.raises(DayOver):
            await city.ask(on=TODAY - timedelta(days=1))
        first = await city.ask()
        await city.ask()
        with pytest.raises(TooManyPlans):
            await city.ask()
        await city.cancel(first.id)
        await city.ask()
        assert await city.count(plan) == 3


async def test_a_plan_is_published_with_the_parking_it_closes(city: Town) -> None:
    """Ten minutes around each stop within 30 m of an open section, in the event and for the asker."""
    far = Position(CENTRE.lon, CENTRE.lat + 0.01)
    await know(city, place(1), place(2, state="closed"), place(3, kind="garage"), place(4, at=far))
    ready = await city.ready()
    published = await city.publish(ready.id)
    assert (published.state, published.publication) == (PlanState.PUBLISHED, 1)
    (event,) = await city.told("waste.plan")
    body = event.body()
    assert (event.type, event.key, event.sequence) == ("waste.plan.published.v1", ready.id, 1)
    assert body["closures"] == [{"place_id": "s-1", "starts_at": "2026-11-25T22:00:00Z", "ends_at": "2026-11-25T22:25:00Z"}]
    assert (body["stream"], body["on"], body["version"], body["trucks"], body["stops"]) == ("kitchen", "2026-11-26", 1, 1, 3)


async def test_publishing_again_changes_nothing(city: Town) -> None:
    """One event, however often it is asked for, also at once."""
    ready = await city.ready()
    assert {each.state for each in await asyncio.gather(*(city.publish(ready.id) for _ in range(4)))} == {PlanState.PUBLISHED}
    await city.publish(ready.id)
    assert len(await city.told("waste.plan")) == 1


async def test_story_18_two_publications_at_once_leave_one_live_plan(city: Town) -> None:
    """One holds, the others are superseded; versions count up and every version was told."""
    ready = [await city.ready() for _ in range(4)]
    await asyncio.gather(*(city.publish(each.id) for each in ready))
    states = [await city.state(each.id) for each in ready]
    assert sorted(states) == [PlanState.PUBLISHED, *[PlanState.SUPERSEDED] * 3]
    told = [event.body() for event in await city.told("waste.plan")]
    assert sorted(str(each["version"]) for each in told) == ["1", "2", "3", "4"]
    live = ready[states.index(PlanState.PUBLISHED)]
    assert max(told, key=lambda each: str(each["version"]))["plan_id"] == live.id


async def test_the_database_itself_refuses_a_second_live_plan(city: Town) -> None:
    """The last guard, whatever the code above does; another day and another stream are free."""
    one, two = await city.ready(), await city.ready()
    await city.publish(one.id)
    with pytest.raises(UniqueViolation):
        async with city.db.write() as tx:
            await tx.run(update(plan).where(plan.c.id == two.id).values(state="published"))
    for other in (await city.ready(on=TODAY + timedelta(days=1)), await city.ready(Stream.OTHER)):
        assert (await city.publish(other.id)).publication == 1


async def test_a_newer_plan_supersedes_and_an_old_one_may_come_back(city: Town) -> None:
    """Each time as a new version; the journal says what each row replaced."""
    one, two = await city.ready(), await city.ready()
    for each in (one, two, one):
        await city.publish(each.id)
    assert (await city.state(one.id), await city.state(two.id)) == (PlanState.PUBLISHED, PlanState.SUPERSEDED)
    events = await city.told("waste.plan")
    assert [(event.key, event.sequence, event.body()["version"]) for event in events] == [(one.id, 1, 1), (two.id, 1, 2), (one.id, 2, 3)]
    async with city.db.read() as tx:
        rows = await tx.all(select(plan_version.c.id, plan_version.c.corrects).order_by(plan_version.c.version))
    assert [row.corrects for row in rows] == [None, rows[0].id, rows[1].id]


async def test_a_replan_that_is_published_again_replaces_what_has_held_since(city: Town) -> None:
    """First the plan that it was made from, then the one that took its place; after a withdrawal none: it is told as any plan."""
    base, replan, newer = await city.ready(), await city.ready(), await city.ready()
    async with city.db.write() as tx:
        await tx.run(update(plan).where(plan.c.id == replan.id).values(replaces=base.id, reasons=["breakdown"], replan=NOTHING))
    for each in (base, replan, newer, replan):
        await city.publish(each.id)
    await city.withdraw(replan.id)
    await city.publish(replan.id)
    told = [(event.type.split(".")[2], event.body().get("replaces"), event.body()["version"]) for event in await city.told("waste.plan")]
    assert told == [
        ("published", None, 1),
        ("replanned", base.id, 2),
        ("published", None, 3),
        ("replanned", newer.id, 4),
        ("withdrawn", None, 5),
        ("published", None, 6),
    ]
    assert [event async for event in publishing.republished(city.ctx, None)] == await city.told("waste.plan")


async def test_a_plan_is_withdrawn_as_a_version_of_its_own(city: Town) -> None:
    """Whoever keeps the highest version of a stream and day knows that nothing holds."""
    ready = await city.ready()
    with pytest.raises(NotPublished):
        await city.withdraw(ready.id)
    await city.publish(ready.id)
    assert {each.state for each in await asyncio.gather(*(city.withdraw(ready.id) for _ in range(3)))} == {PlanState.WITHDRAWN}
    events = await city.told("waste.plan")
    assert [(event.type, event.sequence, event.body()["version"]) for event in events] == [
        ("waste.plan.published.v1", 1, 1),
        ("waste.plan.withdrawn.v1", 2, 2),
    ]
    assert [event async for event in publishing.republished(city.ctx, None)] == events


async def test_what_is_not_ready_is_not_published(city: Town) -> None:
    """Nor what failed, nor a plan of a day that is over, nor one that is not there."""
    waiting, ready = await city.ask(), await city.ready()
    with pytest.raises(NotPublishable):
        await city.publish(waiting.id)
    await use_cases.fail(city.ctx, waiting.id, "no")
    with pytest.raises(NotPublishable):
        await city.publish(waiting.id)
    with pytest.raises(UnknownPlan):
        await city.publish("01a217ac-8aac-7600-99a4-5f766d5bc32c")
    city.clock.move(days=1)
    with pytest.raises(DayOver):
        await city.publish(ready.id)
    assert await city.told() == []


async def test_a_plan_that_publishes_itself_does_not_push_a_later_one_aside(city: Town) -> None:
    """A slow search must not undo what a dispatcher asked for after it."""
    slow = await city.ask(publish=Publish.WHEN_READY)
    city.clock.move(minutes=1)
    later = await city.ready(publish=Publish.WHEN_READY)
    assert later.state is PlanState.PUBLISHED
    found = (await use_cases.find(city.ctx, slow.id)).plan
    async with city.db.read() as tx:
        known = await store.get(tx, later.id)
    assert known is not None
    assert known.result is not None
    kept = await use_cases.keep(city.ctx, slow.id, known.result)
    assert kept is not None
    assert (found.publish, kept.state) == (Publish.WHEN_READY, PlanState.READY)
    assert await city.state(later.id) is PlanState.PUBLISHED


async def test_a_plan_that_publishes_itself_looks_when_its_turn_has_come(city: Town) -> None:
    """The later one is being published in this very moment: the slow one waits for that, and then stays ready."""
    slow = await city.ask(publish=Publish.WHEN_READY)
    city.clock.move(minutes=1)
    later = await city.ready()
    assert later.result is not None
    async with city.db.write() as tx:
        await publishing.publish_in(tx, city.ctx, later.id)
        kept = asyncio.get_running_loop().create_task(use_cases.keep(city.ctx, slow.id, later.result))
        await asyncio.sleep(0.3)  # it has got as far as it can
    assert await kept is not None
    assert (await city.state(slow.id), await city.state(later.id)) == (PlanState.READY, PlanState.PUBLISHED)


async def test_routes_are_kept_also_when_they_cannot_be_published(city: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database goes away between the two, or the worker dies: the job is taken again, and publishes what is there."""
    asked = await city.ask(publish=Publish.WHEN_READY)
    task = await use_cases.begin(city.ctx, asked.id)
    assert task is not None
    result = await one_round(task.payload, lambda _: None)

    async def away(*_: object) -> list[Section]:
        raise Unavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(store, "open_sections", away)
        with pytest.raises(Unavailable):
            await use_cases.keep(city.ctx, asked.id, result)
    assert await city.state(asked.id) is PlanState.READY
    async with city.working():
        assert (await city.until(asked.id, PlanState.PUBLISHED)).publication == 1
    assert await publishing.publish_itself(city.ctx, asked.id) is None
    assert len(await city.told("waste.plan")) == 1


async def test_a_plan_whose_day_ended_meanwhile_stays_ready(city: Town) -> None:
    """Its routes are kept; nothing is published for yesterday."""
    asked = await city.ask(publish=Publish.WHEN_READY)
    task = await use_cases.begin(city.ctx, asked.id)
    assert task is not None
    city.clock.move(days=1)
    kept = await use_cases.keep(city.ctx, asked.id, await one_round(task.payload, lambda _: None))
    assert kept is not None
    assert (kept.state, await city.told("waste.plan")) == (PlanState.READY, [])
    reason = (await use_cases.find(city.ctx, asked.id)).plan.reason
    assert reason == f"plan-day-over: {asked.on} is over"
    assert await publishing.publish_itself(city.ctx, asked.id) is None, "as often as it is asked"


async def test_story_13_a_plan_of_another_map_is_asked_for_again(city: Town) -> None:
    """Its times hold no longer: not by hand, not by itself; what held before may come back as it was."""
    held, ready = await city.ready(), await city.ready()
    await city.publish(held.id)
    itself = await city.ask(publish=Publish.WHEN_READY)
    task = await use_cases.begin(city.ctx, itself.id)
    assert task is not None
    await roads.import_map(city.ctx, BaseMap("v2", b'{"type":"FeatureCollection","features":[]}', 0))
    with pytest.raises(MapChanged):
        await city.publish(ready.id)
    await use_cases.keep(city.ctx, itself.id, await one_round(task.payload, lambda _: None))
    shown = await use_cases.find(city.ctx, itself.id)
    assert (shown.plan.state, (shown.plan.reason or "").partition(":")[0]) == (PlanState.READY, "plan-map-changed")
    assert await city.state(held.id) is PlanState.PUBLISHED
    await city.withdraw(held.id)
    assert (await city.publish(held.id)).state is PlanState.PUBLISHED
    assert (await city.publish((await city.ready()).id)).state is PlanState.PUBLISHED


async def test_a_search_is_cancelled_once(city: Town) -> None:
    """Its job with it; what has ended is not cancelled, and routes that come later are not wanted."""
    asked, ready = await city.ask(), await city.ready()
    assert (await city.cancel(asked.id)).state is PlanState.CANCELLED
    assert (await city.cancel(asked.id)).state is PlanState.CANCELLED
    assert (await city.job(asked)).state == "cancelled"
    with pytest.raises(NotOpen):
        await city.cancel(ready.id)
    assert ready.result is not None
    assert await use_cases.keep(city.ctx, asked.id, ready.result) is None
    assert await use_cases.begin(city.ctx, asked.id) is None


async def test_a_plan_outlives_its_job(city: Town) -> None:
    """The kit forgets jobs after a month; the plan and its publications stay."""
    ready = await city.ready()
    await city.publish(ready.id)
    async with city.db.write() as tx:
        await tx.run(delete(job))
    found = await use_cases.find(city.ctx, ready.id)
    assert (found.plan.state, found.job, len(found.versions)) == (PlanState.PUBLISHED, None, 1)


async def test_plans_are_listed_by_stream_and_day(city: Town) -> None:
    """The last asked for first, without their routes."""
    one, two, other = await city.ready(), await city.ask(on=date(2026, 11, 27)), await city.ask(Stream.OTHER)
    pages = [
        await use_cases.page(city.ctx, wanted, most=10)
        for wanted in (store.Wanted(), store.Wanted(Stream.KITCHEN), store.Wanted(on=TODAY), store.Wanted(before=two.id))
    ]
    assert [[each.id for each in page] for page in pages] == [[other.id, two.id, one.id], [two.id, one.id], [other.id, one.id], [one.id]]
    assert pages[0][2].result is None
    assert pages[0][2].figures is not None


def told_of(view: PlaceView, sequence: int) -> Event:
    """Parking's event."""
    id_ = f"01a217ac-8aac-7600-99a4-{int(view.place_id[2:]):06d}{sequence:06d}"
    return Event(id_, "parking.place.published.v1", "parking.place", view.place_id, "/p", TEN, sequence, view.model_dump_json().encode())


@pytest.mark.parametrize("seed", range(3))
async def test_sections_are_the_same_in_whatever_order_parking_tells(city: Town, seed: int) -> None:
    """Through the consumer: shuffled, twice; closed, moved, no longer on the street."""
    chance = random.Random(seed)
    moved = Position(CENTRE.lon, CENTRE.lat + 0.002)
    events = [told_of(place(number), 1) for number in range(1, 6)]
    events += [told_of(place(1, state="closed"), 2), told_of(place(2, at=moved), 2), told_of(place(3, kind="surface"), 2)]
    events += [told_of(place(3), 3), told_of(place(4, kind="garage"), 2)]
    shuffled = [*events, *events]
    chance.shuffle(shuffled)
    await city.ctx.log.create_topics([TopicSpec(name, Retention.DELETE) for name in ("parking.place", "parking.place.dlq")])
    for event in shuffled:
        assert await city.ctx.log.send([Message(event.topic, event.key.encode(), event.data, to_headers(event))]) == [None]
    task = asyncio.get_running_loop().create_task(run_consumer(city.ctx, consumers.SECTIONS))
    try:

        async def caught_up() -> bool:
            topics = {topic.name: topic for topic in await city.ctx.log.describe()}
            return topics["parking.place"].lag_records.get("waste-sections", 1) == 0

        await wait_until(caught_up)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with city.db.read() as tx:
        rows = await tx.all(select(street_section).order_by(street_section.c.place_id))
        open_now = [section.place_id for section in await store.open_sections(tx)]
    assert [(row.place_id, row.state, row.version) for row in rows] == [
        ("s-1", "closed", 2),
        ("s-2", "open", 2),
        ("s-3", "open", 3),
        ("s-5", "open", 1),
    ]
    assert (open_now, rows[1].lat) == (["s-2", "s-3", "s-5"], moved.lat)


async def test_the_registry_is_planned_as_it_is_when_it_is_asked_for(city: Town) -> None:
    """A point that is not in use is not driven to."""
    async with city.db.write() as tx:
        await points.keep_in(tx, city.ctx, [replace(point(2), active=False)])
    asked = (await use_cases.find(city.ctx, (await city.ask()).id)).plan
    assert asked.problem is not None
    assert [stop["id"] for stop in asked.problem["stops"]] == ["P1", "P3"]
