"""Laws of the forecaster, the same on every database: the same journal makes the same bytes, whatever happened on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import orjson
import prometheus_client
import pytest
from sqlalchemy import func, insert, select, update

from cityloop_common.dberrors import UniqueViolation
from cityloop_common.errors import Unavailable
from cityloop_parking.availability import api, forecaster, store, use_cases
from cityloop_parking.availability.forecaster import Course
from cityloop_parking.availability.learning import Learner
from cityloop_parking.availability.store import RunTaken
from cityloop_parking.availability.tables import forecast_part, forecast_run, forecast_skip
from cityloop_parking.closures.tables import closure
from cityloop_parking.observations import use_cases as observations
from cityloop_parking.observations.domain import Count, Observation
from cityloop_parking.places.tables import place
from tests.contract.availability_support import WEEK_BEFORE, Row, alive, day, journal, learn, learnt, move_to
from tests.contract.kit_support import visitor
from tests.contract.reservations_support import NOON, City, city, make_tables
from tests.support import wait_until

BOTH = ("standard", "ev")


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """Two places with three days of counts, a week before noon; the clock stands at the beginning of them."""
    await make_tables(url)
    async with city(url, tmp_path) as opened:
        await journal(opened, [*day("lot-1", WEEK_BEFORE, hours=72, categories=BOTH), *day("lot-2", WEEK_BEFORE, hours=72)])
        yield opened


async def nothing_told(done: int, total: int | None, note: str) -> None:
    """No bar."""


async def in_one_go(url: str, folder: Path) -> dict[tuple[str, str, str], bytes]:
    """What a forecaster of another process learns of the whole journal, at once."""
    async with city(url, folder) as other:
        await use_cases.rebuild(other.ctx, lambda done, total, note: None)
        return await learnt(other)


async def test_a_place_is_a_series_and_so_is_each_category_that_is_not_all_of_it(town: City) -> None:
    """The total of a place, and its categories where there are two or more."""
    await learn(town)
    parts = await learnt(town)
    assert {(model, series) for model, series, part in parts if part == "today"} == {
        ("places", "lot-1"), ("places", "lot-2"), ("categories", "lot-1/standard"), ("categories", "lot-1/ev")
    }  # fmt: skip
    assert {model for model, _, part in parts if part == "city"} == {"places", "categories"}
    counts = {category: occupied for category, occupied, *_ in orjson.loads(parts["places", "lot-1", "counts"])}
    assert counts.keys() == set(BOTH)


async def test_step_by_step_is_as_in_one_go(town: City, url: str, tmp_path: Path) -> None:
    """A forecaster that stores every hour, begins anew every day and rebuilds at the end has the same bytes each time."""
    town.clock.advance(-(7 * 24 * 3600))
    course = None
    for hour in range(1, 75):
        town.clock.advance(3600)
        course = await learn(town, None if hour % 24 == 0 else course)
    before = await learnt(town)
    assert len(before) == 3 * 2 + 2 * 2 + 2
    assert await in_one_go(url, tmp_path) == before


async def test_a_run_is_rebuilt_beside_the_one_that_answers(town: City) -> None:
    """Answers come from the old run until the new one is as far; then the forecaster that runs begins anew, from the new one."""
    course = await learn(town)
    before = await learnt(town)
    await use_cases.rebuild(town.ctx, lambda done, total, note: None)
    assert await learnt(town) == before
    async with town.db.read() as tx:
        assert [row.run for row in await tx.all(select(forecast_run))] == [2]
        assert await tx.scalar(select(func.count()).select_from(forecast_part).where(forecast_part.c.run == 1)) == 0
    await journal(town, [Row("lot-1", "standard", NOON, 3)])
    town.clock.advance(600)
    with pytest.raises(RunTaken):
        await learn(town, course)
    await learn(town)
    assert (await learnt(town))["places", "lot-1", "today"] != before["places", "lot-1", "today"]


async def test_killed_between_units_nothing_is_learnt_twice(town: City, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written by units before the last is not valid; the next process learns it again, to the same bytes."""
    monkeypatch.setattr(forecaster, "PARTS_AT_ONCE", 3)
    town.clock.advance(-(5.5 * 24 * 3600))
    await learn(town)
    before = await learnt(town)
    move_to(town, NOON)
    move = store.move_run
    for lines in range(2):

        async def killed(*args: object, **named: object) -> None:
            if lines:  # noqa: B023 - called in this round only
                await move(*args, **named)  # type: ignore[arg-type]
            raise Unavailable("killed")

        monkeypatch.setattr(store, "move_run", killed)
        with pytest.raises(Unavailable):
            await learn(town)
        assert await learnt(town) == before
    monkeypatch.setattr(store, "move_run", move)
    await learn(town)
    after = await learnt(town)
    assert after != before
    assert await in_one_go(url, tmp_path) == after


async def test_what_was_not_valid_when_a_process_died_never_becomes_valid(
    town: City, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process dies among the units of a version; the next one stores less as the same version, and has the bytes of that."""
    monkeypatch.setattr(forecaster, "PARTS_AT_ONCE", 3)
    monkeypatch.setattr(forecaster, "LOADED_AT_ONCE", 4)
    quiet = NOON - timedelta(days=5.5) + timedelta(minutes=3)
    move_to(town, quiet)
    await learn(town)
    move = store.move_run

    async def killed(*args: object, **named: object) -> None:
        raise Unavailable("killed")

    monkeypatch.setattr(store, "move_run", killed)
    move_to(town, NOON)
    with pytest.raises(Unavailable):
        await learn(town)
    monkeypatch.setattr(store, "move_run", move)
    async with town.db.read() as tx:
        assert await tx.scalar(select(func.count()).select_from(forecast_part).where(forecast_part.c.version == 2)) > 0
    move_to(town, quiet + timedelta(minutes=2))  # no count is new: nothing but the run's minute changes
    before = await learnt(town)
    await learn(town)
    assert await learnt(town) == before
    assert await in_one_go(url, tmp_path) == before


async def test_one_run_is_current_and_a_minute_is_not_given_back(town: City) -> None:
    """The forecaster stores while a rebuild that has caught up takes its place: it waits for that, and learns on."""
    course = await learn(town)
    course_too = await Course.begin(town.ctx)
    await course_too.learn(course.minute, alive=alive)
    await course_too.store()

    async def take_over() -> bool:
        async with town.db.write() as tx:
            return await store.make_current(tx, course_too.run)

    async with town.db.write() as unit:
        await store.move_run(unit, course.run, version=course.run.version + 1, minute=course.minute + 1)
        taking = asyncio.get_running_loop().create_task(take_over())
        await asyncio.sleep(0.3)
        assert not taking.done()
    assert await taking is False
    async with town.db.read() as tx:
        found = {row.run: row.state for row in await tx.all(select(forecast_run))}
    assert found == {course.run.run: "current", course_too.run.run: "building"}


async def test_two_current_runs_cannot_be_stored(town: City) -> None:
    """The database refuses them, whoever tries."""
    await learn(town)
    await Course.begin(town.ctx)
    with pytest.raises(UniqueViolation):
        async with town.db.write() as tx:
            await tx.run(update(forecast_run).values(state="current"))


async def test_what_earlier_runs_left_is_removed_at_a_start(town: City) -> None:
    """Parts of a run that is no more, and a rebuild that nobody goes on with; one that is being made stays."""
    await learn(town)
    given_up = await Course.begin(town.ctx)
    await given_up.learn(forecaster.closed_minute(town.clock.now()), alive=alive)
    await given_up.store()
    made = await Course.begin(town.ctx)
    async with town.db.write() as tx:
        old = tx.recorded_at - forecaster.GIVEN_UP_AFTER - timedelta(seconds=1)
        await tx.run(update(forecast_run).where(forecast_run.c.run == given_up.run.run).values(updated_at=old))
    await learn(town)
    async with town.db.read() as tx:
        assert {row.run for row in await tx.all(select(forecast_run))} == {1, made.run.run}
        assert {row.run for row in await tx.all(select(forecast_part.c.run).distinct())} == {1}


async def test_any_number_of_stretches_is_left_out(town: City) -> None:
    """More than a statement may have parameters."""
    found = [store.Skip(f"lot-{number}", number, number) for number in range(11_000)]
    async with town.db.write() as tx:
        await store.put_skips(tx, found)
        await store.put_skips(tx, [each._replace(until_minute=each.until_minute + 1) for each in found])
        await store.put_skips(tx, [])
    async with town.db.read() as tx:
        assert sorted(await store.skips(tx)) == sorted(each._replace(until_minute=each.until_minute + 1) for each in found)


async def test_others_have_their_turn_between_minutes(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal of years in a small city is as long in the loop as a minute's rows."""
    turns, seen, end_minute = 0, list[int](), Learner.end_minute

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def noted(learner: Learner) -> None:
        seen.append(turns)
        end_minute(learner)

    monkeypatch.setattr(Learner, "end_minute", noted)
    beside = asyncio.get_running_loop().create_task(other())
    await learn(town)
    beside.cancel()
    assert len(seen) > 100
    assert len(set(seen)) == len(seen)


async def test_it_is_told_what_is_stored(town: City) -> None:
    """Not what is learnt in memory only: after a store, and again after a start."""

    def told() -> float | None:
        return prometheus_client.REGISTRY.get_sample_value("parking_forecast_learnt_until_timestamp_seconds", {"service": town.ctx.service})

    course = await learn(town)
    stored_s = course.run.minute * 60
    assert told() == stored_s
    town.clock.advance(600)
    await course.learn(forecaster.closed_minute(town.clock.now()), alive=alive)
    assert (course.minute * 60 - stored_s, told()) == (600, stored_s)
    await course.store()
    assert told() == stored_s + 600
    forecaster.UNTIL.set(town.ctx.service, to=0)
    await forecaster.open_current(town.ctx, alive)
    assert told() == stored_s + 600


async def test_who_lost_the_right_writes_nothing(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that woke up late cannot overwrite what its successor stored."""
    monkeypatch.setattr(forecaster, "PARTS_AT_ONCE", 3)
    town.clock.advance(-(5.5 * 24 * 3600))
    first = await learn(town)
    move_to(town, NOON)
    await first.learn(forecaster.closed_minute(town.clock.now()), alive=alive)
    second = await learn(town)
    stored = await learnt(town)
    with pytest.raises(RunTaken):
        await first.store()
    assert await learnt(town) == stored
    assert second.run.epoch > first.run.epoch


async def test_a_minute_is_learnt_only_when_it_is_closed(town: City) -> None:
    """A unit may commit until a minute after its instant: a row that appears late is not missed."""
    move_to(town, NOON.replace(hour=12))
    await journal(town, [Row("lot-1", "standard", town.clock.now() - timedelta(seconds=65), 50, told_after_s=0)])
    course = await learn(town)
    assert course.minute == store.minute_of(town.clock.now()) - 1
    late = Row("lot-2", "standard", town.clock.now() - timedelta(seconds=58), 51, told_after_s=0)
    await journal(town, [late])
    before = await learnt(town)
    town.clock.advance(60)
    await learn(town, course)
    assert (await learnt(town))["places", "lot-2", "today"] != before["places", "lot-2", "today"]


async def test_what_is_stored_by_another_version_is_learnt_anew(town: City) -> None:
    """Bytes that cannot be read are no reason to stop, and nobody has to ask for a rebuild."""
    await learn(town)
    before = await learnt(town)
    async with town.db.write() as tx:
        await tx.run(update(forecast_part).where(forecast_part.c.part == "past").values(body=b"\x00another"))
    await forecaster.open_current(town.ctx, alive)
    assert await learnt(town) == before


async def test_nothing_is_learnt_of_a_place_that_takes_nobody(town: City, url: str, tmp_path: Path) -> None:
    """A closed place and a street that is being collected; a rebuild leaves out the same when the windows are long forgotten."""
    await town.open_place(100, id="lot-3")
    await town.open_place(100, id="lot-4", state="closed")
    async with town.db.write() as tx:
        await tx.run(update(place).where(place.c.id == "lot-3").values(kind="on_street"))
        await tx.run(update(place).where(place.c.id == "lot-4").values(updated_at=NOON))
        window = {"starts_at": NOON + timedelta(minutes=60), "ends_at": NOON + timedelta(minutes=90)}
        await tx.run(insert(closure).values(stream="kitchen", on_day="2026-06-01", place_id="lot-3", **window))
    await journal(town, [*day("lot-3", NOON, hours=4, every_min=5), *day("lot-4", NOON - timedelta(hours=2), hours=4)])
    town.clock.advance(3 * 24 * 3600)
    await learn(town)
    before = await learnt(town)
    async with town.db.read() as tx:
        skipped = {row.place_id: row.until_minute - row.since_minute for row in await tx.all(select(forecast_skip))}
    assert skipped == {"lot-3": 25, "lot-4": 105}
    async with town.db.write() as tx:
        await tx.run(closure.delete())
        await tx.run(update(place).values(state="open"))
    assert await in_one_go(url, tmp_path) == before


async def test_a_place_without_spaces_is_no_series_and_stops_nobody(town: City, url: str, tmp_path: Path) -> None:
    """Counts of no spaces are kept as counts only; the others' are learnt, now, after a restart, and when it has spaces at last."""
    await journal(town, [Row("lot-3", "standard", WEEK_BEFORE + timedelta(minutes=each), 0, 0) for each in range(0, 60, 15)])
    course = await learn(town)
    parts = await learnt(town)
    assert {part for _, series, part in parts if series == "lot-3"} == {"counts"}
    assert ("places", "lot-1", "today") in parts
    town.clock.advance(600)
    await journal(town, [Row("lot-3", "standard", NOON, 0, 0), Row("lot-1", "standard", NOON, 3)])
    await learn(town, course)
    await journal(town, [Row("lot-3", "standard", NOON + timedelta(minutes=12), 1, 2)])
    town.clock.advance(600)
    await learn(town)
    after = await learnt(town)
    assert {part for _, series, part in after if series == "lot-3"} == {"counts", "past", "today"}
    assert await in_one_go(url, tmp_path) == after


async def test_a_count_of_no_spaces_is_taken_and_nothing_is_expected(town: City) -> None:
    """A gate that tells 0 of 0 is heard; who asks for that place is told no number."""
    await town.open_place(0, id="lot-3")
    none = Observation(town.clock.now(), "gate", (Count("standard", 0, capacity=0),), 900)
    await observations.record(town.ctx, "lot-3", none)
    await journal(town, [Row("lot-3", "standard", NOON - timedelta(minutes=30), 0, 0)])
    await learn(town)
    async with visitor(town.ctx, api.router, answers=use_cases.open_answers(town.ctx)) as http:
        answer = await http.get("/places/lot-3/availability")
    assert (answer.status_code, answer.json()["free"], answer.json()["chance"]) == (200, None, None)


async def test_the_loop_learns_what_comes_and_stores_it(town: City) -> None:
    """As the worker runs it: a minute that is closed is in the state soon."""

    class Held:
        async def renew(self) -> None:
            return

    running = asyncio.get_running_loop().create_task(forecaster.run(town.ctx, Held()))

    async def version() -> int:
        async with town.db.read() as tx:
            return int(await tx.scalar(select(func.coalesce(func.max(forecast_run.c.version), 0))))

    async def goes_on() -> bool:
        town.clock.advance(5)
        return await version() >= 3

    try:
        await wait_until(goes_on, what="three versions are stored")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert isinstance(await forecaster.open_current(town.ctx, alive), Course)
