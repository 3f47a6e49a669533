"""The night job: at its time one plan a stream, once however many workers look, caught up when it was missed, and told of when missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from cityloop_waste.fleet import store as fleet
from cityloop_waste.fleet.domain import Depot, DepotId
from cityloop_waste.planning import night, night_store, problem_json, use_cases
from cityloop_waste.planning.domain import MOST_EVEN_PERCENT, Minimise
from cityloop_waste.planning.night_store import Outcome
from cityloop_waste.planning.plans import PlanState, Publish
from cityloop_waste.planning.tables import night_run, plan
from cityloop_waste.points import use_cases as points
from cityloop_waste.points.domain import Demand
from cityloop_waste.settings import Smallest, WasteSettings, read_lunch
from cityloop_waste.streams import Stream
from tests.contract.waste_support import CENTRE, TODAY, PlayedPool, Town, one_round, point, town, truck

MIDNIGHT = datetime(2026, 11, 25, 16, 0, tzinfo=UTC)  # of the 26th, in the first city


@asynccontextmanager
async def asleep(url: str, folder: Path, **settings: Any) -> AsyncIterator[Town]:
    """A furnished town at midnight: kitchen and other waste have points and trucks."""
    async with town(url, folder, pool=PlayedPool(one_round), **settings) as opened:
        await opened.furnish()
        opened.clock.at = MIDNIGHT
        yield opened


def at(opened: Town, clock: str) -> None:
    """It is so late, local time."""
    hour, minute = clock.split(":")
    opened.clock.at = MIDNIGHT + timedelta(hours=int(hour), minutes=int(minute))


async def outcomes(opened: Town) -> dict[Stream, Outcome]:
    return {each.stream: each.outcome for each in await night.runs(opened.ctx, TODAY)}


async def test_at_its_time_one_plan_a_stream_is_asked_for(url: str, tmp_path: Path) -> None:
    """Not before; then once, by hand, searched longer than by day, whatever is asked for the day by then is of that day."""
    async with asleep(url, tmp_path) as opened:
        at(opened, "02:59")
        assert await night.ask(opened.ctx) == 0
        at(opened, "03:00")
        assert [await night.ask(opened.ctx) for _ in range(3)] == [2, 0, 0]
        assert await outcomes(opened) == {Stream.KITCHEN: Outcome.ASKED, Stream.OTHER: Outcome.ASKED}
        async with opened.db.read() as tx:
            rows = await tx.all(select(plan.c.stream, plan.c.on_day, plan.c.publish, plan.c.seconds).order_by(plan.c.stream))
        assert [tuple(row) for row in rows] == [("kitchen", TODAY, "by-hand", 120), ("other", TODAY, "by-hand", 120)]
        opened.clock.move(days=1)
        assert await night.ask(opened.ctx) == 2, "each night anew"


async def test_many_workers_ask_once(url: str, tmp_path: Path) -> None:
    """All look in the same moment, each on its own connections; each stream has one plan and one row."""
    async with asleep(url, tmp_path) as opened, town(url, tmp_path) as other, town(url, tmp_path) as third:
        replicas = (opened, other, third)
        for each in replicas:
            each.clock.at = MIDNIGHT + timedelta(hours=3)
        assert sum(await asyncio.gather(*(night.ask(each.ctx) for each in replicas for _ in range(2)))) == 2
        assert (await opened.count(plan), await opened.count(night_run)) == (2, 2)


async def test_a_night_that_was_missed_is_caught_up_once_until_its_time(url: str, tmp_path: Path) -> None:
    """Nothing ran at three; whoever is up by ten asks, later nobody does."""
    async with asleep(url, tmp_path) as opened:
        at(opened, "09:59")
        assert [await night.ask(opened.ctx), await night.ask(opened.ctx)] == [2, 0]
        opened.clock.move(days=1, minutes=1)
        assert await night.ask(opened.ctx) == 0
        assert await opened.count(plan) == 2


async def test_it_publishes_itself_when_that_is_set(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`when-ready`: crews have their routes without anybody who gets up."""
    monkeypatch.setattr("cityloop_common.jobs.POLL_S", 0.02)
    async with asleep(url, tmp_path, night_plans="when-ready") as opened:
        at(opened, "03:00")
        assert await night.ask(opened.ctx) == 2
        asked = {each.stream: each.plan_id for each in await night.runs(opened.ctx, TODAY)}
        opened.clock.go_on()
        async with opened.working():
            for plan_id in asked.values():
                assert plan_id is not None
                await opened.until(plan_id, PlanState.PUBLISHED)


async def test_it_can_be_set_off(url: str, tmp_path: Path) -> None:
    """Nobody asks, and nothing is missing."""
    async with asleep(url, tmp_path, night_plans="off") as opened:
        at(opened, "05:00")
        assert (await night.ask(opened.ctx), await opened.count(plan)) == (0, 0)
        await night.measure(opened.ctx)
        assert {night.WITHOUT.value(stream.value) for stream in Stream} == {0}


@pytest.mark.parametrize("state", ["waiting", "ready", "published"])
async def test_a_day_that_has_a_plan_keeps_it(state: str, url: str, tmp_path: Path) -> None:
    """What a dispatcher made in the evening is not pushed aside at night; a cancelled one is no plan."""
    async with asleep(url, tmp_path) as opened:
        cancelled = await opened.ask(Stream.OTHER)
        await opened.cancel(cancelled.id)
        known = await opened.ask() if state == "waiting" else await opened.ready()
        if state == "published":
            await opened.publish(known.id)
        at(opened, "03:00")
        assert await night.ask(opened.ctx) == 2
        assert await outcomes(opened) == {Stream.KITCHEN: Outcome.KEPT, Stream.OTHER: Outcome.ASKED}
        assert (await opened.state(known.id)).value == state


async def test_what_cannot_be_asked_for_leaves_its_reason(url: str, tmp_path: Path) -> None:
    """No truck on duty, trucks at two depots: the other streams have their plans."""
    async with asleep(url, tmp_path) as opened:
        async with opened.db.write() as tx:
            await fleet.put_depots(tx, [Depot(DepotId("depot-2"), "车场二", None, CENTRE)])
            await fleet.put_trucks(tx, [replace(truck("T03", operator="other-op"), depot_id=DepotId("depot-2"))])
            await points.keep_in(tx, opened.ctx, [replace(point(9), demands=(Demand(Stream.HAZARDOUS, 5, 20, 60),))])
        at(opened, "03:00")
        assert await night.ask(opened.ctx) == 3
        found = {each.stream: each for each in await night.runs(opened.ctx, TODAY)}
        assert {stream: each.outcome for stream, each in found.items()} == {
            Stream.HAZARDOUS: Outcome.REFUSED,
            Stream.KITCHEN: Outcome.REFUSED,
            Stream.OTHER: Outcome.ASKED,
        }
        assert found[Stream.HAZARDOUS].reason == "no truck of the stream is on duty"
        assert "depot-1, depot-2" in (found[Stream.KITCHEN].reason or "")
        assert await opened.count(plan) == 1


async def test_what_could_not_be_asked_for_is_asked_for_again(url: str, tmp_path: Path) -> None:
    """Trucks that are imported at half past three have their plan soon after; ten minutes apart, and one worker asks."""
    async with asleep(url, tmp_path) as opened, town(url, tmp_path) as other:
        async with opened.db.write() as tx:
            await points.keep_in(tx, opened.ctx, [replace(point(9), demands=(Demand(Stream.HAZARDOUS, 5, 20, 60),))])
        at(opened, "03:00")
        assert await night.ask(opened.ctx) == 3
        at(opened, "03:09")
        assert await night.ask(opened.ctx) == 0
        at(opened, "03:10")
        assert [await night.ask(opened.ctx), await night.ask(opened.ctx)] == [1, 0], "refused again"
        async with opened.db.write() as tx:
            await fleet.put_trucks(tx, [truck("T09", Stream.HAZARDOUS)])
        at(opened, "03:30")
        other.clock.at = opened.clock.at
        assert sum(await asyncio.gather(*(night.ask(each.ctx) for each in (opened, other) for _ in range(3)))) == 1
        found = {each.stream: each for each in await night.runs(opened.ctx, TODAY)}[Stream.HAZARDOUS]
        assert (found.outcome, found.reason, found.recorded_at) == (Outcome.ASKED, None, opened.clock.at)
        assert found.plan_id is not None
        assert await opened.count(plan) == 3
        at(opened, "09:59")
        assert await night.ask(opened.ctx) == 0


async def test_a_search_that_failed_is_asked_for_again_until_its_time(url: str, tmp_path: Path) -> None:
    """Not while the day has another plan; not after a dispatcher's cancel or withdrawal; never beyond the night's end."""
    async with asleep(url, tmp_path) as opened:

        async def asked(stream: Stream = Stream.KITCHEN) -> str:
            plan_id = {each.stream: each.plan_id for each in await night.runs(opened.ctx, TODAY)}[stream]
            assert plan_id is not None
            return plan_id

        at(opened, "03:00")
        assert await night.ask(opened.ctx) == 2
        first = await asked()
        await use_cases.fail(opened.ctx, first, "the solver's process ended")
        await opened.cancel(await asked(Stream.OTHER))
        at(opened, "03:09")
        assert await night.ask(opened.ctx) == 0
        at(opened, "03:10")
        assert [await night.ask(opened.ctx), await night.ask(opened.ctx)] == [1, 0]
        again = await asked()
        assert again != first
        at(opened, "03:30")
        assert await night.ask(opened.ctx) == 0, "it is being searched"
        await use_cases.fail(opened.ctx, again, "no")
        by_hand = await opened.ready()
        assert await night.ask(opened.ctx) == 0, "a dispatcher made one"
        await opened.publish(by_hand.id)
        await opened.withdraw(by_hand.id)
        assert await night.ask(opened.ctx) == 0, "and took it back"
        opened.clock.move(days=1)
        assert await night.ask(opened.ctx) == 2
        async with opened.db.read() as tx:
            (tomorrow,) = [each for each in await night_store.runs(tx, TODAY + timedelta(days=1)) if each.stream is Stream.KITCHEN]
        assert tomorrow.plan_id is not None
        await use_cases.fail(opened.ctx, tomorrow.plan_id, "no")
        opened.clock.move(hours=6, minutes=30)
        assert await night.ask(opened.ctx) == 0, "it is ten"


async def test_an_evening_plan_that_fails_at_night_is_made_up_for(url: str, tmp_path: Path) -> None:
    """The day had a plan at three, which came to nothing."""
    async with asleep(url, tmp_path) as opened:
        evening = await opened.ask()
        at(opened, "03:00")
        assert await night.ask(opened.ctx) == 2
        assert (await outcomes(opened))[Stream.KITCHEN] is Outcome.KEPT
        await use_cases.fail(opened.ctx, evening.id, "no")
        at(opened, "03:10")
        assert await night.ask(opened.ctx) == 1
        assert (await outcomes(opened))[Stream.KITCHEN] is Outcome.ASKED


async def test_a_full_queue_is_waited_for(url: str, tmp_path: Path) -> None:
    """As many plans as may be open wait already: the stream is asked for at a later turn, nothing is written by then."""
    async with asleep(url, tmp_path, open_plans=1) as opened:
        before = await opened.ask(on=TODAY + timedelta(days=1))
        at(opened, "03:00")
        assert (await night.ask(opened.ctx), await opened.count(night_run)) == (0, 0)
        await opened.cancel(before.id)
        assert await night.ask(opened.ctx) == 1
        assert await opened.count(night_run) == 1


async def test_from_half_past_four_on_a_stream_without_a_plan_is_told_of(url: str, tmp_path: Path) -> None:
    """Ready or published is a plan; waiting, failed, withdrawn is none; a stream without points or trucks needs none."""
    async with asleep(url, tmp_path) as opened:

        async def missing() -> set[str]:
            await night.measure(opened.ctx)
            return {stream.value for stream in Stream if night.WITHOUT.value(stream.value)}

        at(opened, "04:29")
        assert await missing() == set()
        at(opened, "04:30")
        assert await missing() == {"kitchen", "other"}
        waiting, ready = await opened.ask(Stream.OTHER), await opened.ready()
        assert await missing() == {"other"}
        await use_cases.fail(opened.ctx, waiting.id, "no")
        await opened.publish(ready.id)
        assert await missing() == {"other"}
        await opened.withdraw(ready.id)
        assert await missing() == {"kitchen", "other"}
        opened.clock.move(days=1, minutes=-1)
        assert await missing() == set()


@pytest.mark.parametrize("minimise, even", [(Smallest.DISTANCE, 0), (Smallest.TIME, MOST_EVEN_PERCENT)])
async def test_what_is_made_small_is_set_for_all_plans_of_the_registry(url: str, tmp_path: Path, minimise: Smallest, even: int) -> None:
    """The words and the limit are those of a problem."""
    assert [each.value for each in Smallest] == [each.value for each in Minimise]
    async with asleep(url, tmp_path, plan_minimise=minimise, plan_even_percent=even) as city:
        asked = await city.ask()
        assert asked.problem is not None
        options = problem_json.read(asked.problem).options
        assert (options.minimise, options.even_percent) == (Minimise(minimise), even)
    with pytest.raises(ValidationError, match="plan_even_percent"):
        WasteSettings(plan_even_percent=MOST_EVEN_PERCENT + 1)


def test_settings_that_contradict_are_refused() -> None:
    """Times in their order on one day; a lunch that can be read."""
    contradictions: tuple[dict[str, Any], ...] = (
        {"night_at": "3"}, {"night_at": "24:00"}, {"night_at": "05:00"}, {"plans_due_at": "02:00"}, {"night_until": "04:00"},
        {"night_plans": "sometimes"}, {"lunch": "11:00-12:00"}, {"lunch": "12:00-11:00/60"}, {"lunch": "11:00-12:00/0"},
        {"lunch": "11:00-12:00;13:00-14:00/60"}, {"lunch": "noon"}, {"public_url": "city.example"}, {"public_url": "https://city.example/?a"},
    )  # fmt: skip
    for wrong in contradictions:
        with pytest.raises(ValidationError):
            WasteSettings(**wrong)
    assert WasteSettings(night_at="3:05", lunch="11:00-12:00/60").night_at == "03:05"
    assert WasteSettings(public_url="https://city.example/").public_url == "https://city.example"
    assert read_lunch("11:00-12:00/60") == (39_600, 43_200, 3_600)


async def test_the_common_lunch_is_in_the_problem(url: str, tmp_path: Path) -> None:
    """As it is set; none when none is."""
    async with asleep(url, tmp_path, lunch="11:00-12:00/45") as opened:
        asked = await opened.ask(publish=Publish.BY_HAND)
        assert asked.problem is not None
        assert asked.problem["lunch"] == {"earliest_s": 39_600, "latest_s": 43_200, "duration_s": 2_700}
