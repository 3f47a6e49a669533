"""Laws of what drivers are told of the time ahead, the same on every database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from cityloop_common.clock import rfc3339
from cityloop_common.errors import Unavailable
from cityloop_common.geo import Position
from cityloop_parking.availability import answers as answers_module
from cityloop_parking.availability import api, store
from cityloop_parking.availability import use_cases as availability
from cityloop_parking.availability.answers import Ask
from cityloop_parking.availability.tables import forecast_run
from cityloop_parking.availability.totals import Counted, wall
from cityloop_parking.observations import use_cases as observations
from cityloop_parking.observations.domain import Count, Observation
from cityloop_parking.places.domain import Category, PlaceFacts, PlaceKind, PlaceState, Pool
from cityloop_parking.search import api as search_api
from cityloop_parking.search import use_cases as search
from cityloop_parking.search.replica import Search
from cityloop_parking.search.views import CountsView
from tests.contract.availability_support import SPACES, Row, day, journal, learn
from tests.contract.kit_support import visitor
from tests.contract.neighbours_support import hear, listening, plan, publish
from tests.contract.reservations_support import NOON, City, city, make_tables
from tests.support import PATIENCE_S, wait_until

PLACE, STREET, NEW = "op-1", "op-2", "op-3"
AROUND = {"near": "109.787,39.565", "radius_m": "100"}
INTERVAL_S = 900
BOTH = ("standard", "ev")


def lot(number: int, **changes: Any) -> PlaceFacts:
    pools = tuple(Pool(Category(category), spaces) for category, spaces in SPACES.items())
    described: dict[str, Any] = {"kind": PlaceKind.GARAGE, **changes}
    return PlaceFacts("op", str(number), "可汗街", Position(109.787, 39.565), pools, **described)


@pytest.fixture
async def town(url: str, tmp_path: Path) -> AsyncIterator[City]:
    """Three places; of the first two days of counts are learnt, up to noon; the third was never counted."""
    await make_tables(url)
    with pytest.MonkeyPatch.context() as patient:
        for deadline in ("READ_WITHIN_S", "ANSWER_WITHIN_S"):
            patient.setattr(answers_module, deadline, PATIENCE_S)
        async with city(url, tmp_path) as opened:
            await _furnish(opened)
            yield opened


async def _furnish(opened: City) -> None:
    await publish(opened, lot(1), lot(2, kind=PlaceKind.ON_STREET), lot(3))
    history = day(PLACE, NOON - timedelta(days=2), hours=48.25, categories=BOTH)
    await journal(opened, history)
    await count(opened, ev=history[-1].occupied, standard=history[-2].occupied)
    opened.clock.advance(300)
    await learn(opened)


async def count(town: City, ev: int, standard: int) -> None:
    """The newest counts of the first place, taken now; search hears of them."""
    counts = (Count("standard", standard), Count("ev", ev))
    await observations.record(town.ctx, PLACE, Observation(town.clock.now(), "gate", counts, INTERVAL_S))
    event = [event for event in await town.told() if event.topic == "parking.occupancy"][-1]
    async with town.db.write() as tx:
        await search.apply_counts(tx, town.ctx, event, CountsView.model_validate_json(event.data))


@dataclass(frozen=True, slots=True)
class Replica:
    """One API replica with its loops, and clients of its rooms."""

    search: Search
    places: httpx.AsyncClient
    found: httpx.AsyncClient

    async def availability(self, place_id: str = PLACE, **query: str) -> dict[str, Any]:
        """How many spaces there will be, in the shape that is declared."""
        answer = await self.places.get(f"/places/{place_id}/availability", params=query)
        assert answer.status_code == 200, answer.text
        api.AvailabilityAnswer.model_validate(answer.json())
        found: dict[str, Any] = answer.json()
        return found

    async def place(self, place_id: str = PLACE, **query: str) -> dict[str, Any]:
        """A place as a search finds it."""
        answer = await self.found.get("/places", params={**AROUND, **query})
        assert answer.status_code == 200, answer.text
        search_api.SearchAnswer.model_validate(answer.json())
        return next(each for each in answer.json()["places"] if each["id"] == place_id)


@asynccontextmanager
async def replica(town: City) -> AsyncIterator[Replica]:
    """A replica that has read everything."""
    answers = availability.open_answers(town.ctx)
    found = search.open_search(town.ctx, answers)
    await found.reset()
    running = asyncio.get_running_loop().create_task(found.foresee())
    try:
        async with visitor(town.ctx, api.router, answers=answers) as one, visitor(town.ctx, search_api.router, search=found) as other:
            yield Replica(found, one, other)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def wait(town: City, seconds: float) -> None:
    """Time goes by, and each time the replica's loop has looked at it: it sleeps again."""
    await wait_until(lambda: town.clock._sleepers)
    for _ in range(5):
        town.clock.advance(seconds / 5)
        await wait_until(lambda: town.clock._sleepers, what="the loop has looked")


async def test_it_is_told_how_many_spaces_there_will_be(town: City) -> None:
    """Of the place and of each category, with an interval and the chance; from the newest count, which the forecaster has not learnt."""
    async with replica(town) as here:
        now = await here.availability()
        ahead = await here.availability(at=rfc3339(town.clock.now() + timedelta(hours=6)))
        await count(town, ev=20, standard=99)
        fuller = await here.availability()
        later = await here.availability(at=rfc3339(town.clock.now() + timedelta(hours=3)))
    assert (now["place_id"], now["freshness"], now["capacity"]) == (PLACE, "live", 120)
    assert now["categories"].keys() == {"standard", "ev"}
    assert fuller["since"] == rfc3339(town.clock.now())
    assert fuller["free"]["mean"] == pytest.approx(1, abs=0.5), "from the count of this very moment"
    assert fuller["categories"]["ev"]["chance"] < 0.6 < fuller["chance"]
    for told in (now, ahead, fuller, later):
        assert 0 <= told["free"]["low"] <= told["free"]["mean"] <= told["free"]["high"] <= 120
        assert 0 <= told["chance"] <= 1
    assert width(later) > width(fuller)
    assert ahead["free"]["mean"] < now["free"]["mean"] - 15, "it fills up, as on the days before"


def width(told: dict[str, Any]) -> float:
    free: dict[str, float] = told["free"]
    return free["high"] - free["low"]


async def test_a_time_that_no_forecast_is_made_for_is_refused(town: City) -> None:
    """Yesterday, in eight days, no time at all; the same in both rooms. A time zone's plus sign may be unescaped."""
    now = town.clock.now()
    async with replica(town) as here:
        for at in (rfc3339(now - timedelta(minutes=2)), rfc3339(now + timedelta(days=7, seconds=1)), "soon", "2026-06-02", ""):
            one = await here.places.get(f"/places/{PLACE}/availability", params={"at": at})
            other = await here.found.get("/places", params={**AROUND, "arrives_at": at})
            assert (one.status_code, other.status_code) == (422, 422), at
            assert one.json()["type"].endswith("forecast-time-invalid")
            assert [told.json()["errors"][0]["pointer"] for told in (one, other)] == ["/query/at", "/query/arrives_at"]
        assert (await here.found.get("/places?near=109.787,39.565&arrives_at")).status_code == 422, "no value is no time"
        for at in (rfc3339(now - timedelta(seconds=30)), rfc3339(now + timedelta(days=7))):
            assert (await here.availability(at=at))["free"]
        in_local_time = (now + timedelta(hours=9)).replace(tzinfo=None).isoformat() + "+08:00"
        assert (await here.places.get(f"/places/{PLACE}/availability?at={in_local_time}")).json()["at"] == rfc3339(now + timedelta(hours=1))
        assert (await here.places.get("/places/nowhere/availability")).status_code == 404


async def test_of_a_place_that_nothing_was_learnt_of_nothing_is_told(town: City) -> None:
    """No number, no chance, no error: never counted, and before the forecaster has run."""
    async with replica(town) as here:
        new = await here.availability(NEW)
        arrival = (await here.place(NEW, arrives_at=rfc3339(town.clock.now())))["arrival"]
    assert (new["freshness"], new["free"], new["chance"], new["categories"], new["since"]) == ("unknown", None, None, {}, None)
    assert (arrival["state"], arrival["free"], arrival["chance"]) == ("open", None, None)


async def test_who_arrives_hears_the_chance_of_each_place(town: City) -> None:
    """In a search, in the order of the search; closed then: no chance. Without a time the answer has no arrival."""
    starts_at = town.clock.now() + timedelta(hours=1)
    await hear(town, plan(1, (STREET, starts_at, starts_at + timedelta(minutes=30))))
    await publish(town, lot(3, state=PlaceState.CLOSED))
    async with replica(town) as here:
        assert "arrival" not in await here.place()
        arrives_at = rfc3339(starts_at + timedelta(minutes=10))
        arrival = (await here.place(arrives_at=arrives_at))["arrival"]
        assert arrival == {"state": "open", **{key: arrival[key] for key in ("at", "since", "free", "chance", "categories")}}
        asked = await here.availability(at=arrives_at)
        assert [arrival[key] for key in ("at", "free", "chance", "categories")] == [
            asked[key] for key in ("at", "free", "chance", "categories")
        ]
        for closed in (STREET, NEW):
            place = await here.place(closed, arrives_at=arrives_at)
            assert (place["arrival"]["state"], place["arrival"]["chance"], place["arrival"]["free"]) == ("closed", 0.0, None)
            told = await here.availability(closed, at=arrives_at)
            assert (told["freshness"], told["chance"], told["free"]) == ("closed", 0.0, None)
        assert (await here.place(STREET, arrives_at=rfc3339(starts_at + timedelta(minutes=30))))["arrival"]["state"] == "open"


async def test_a_place_that_falls_silent_is_live_then_late_then_forecast_and_live_again(town: City) -> None:
    """The old count keeps its time and is never shown as new; the interval widens as long as nobody counts."""
    await count(town, ev=5, standard=28)
    counted_at = rfc3339(town.clock.now())
    async with replica(town) as here, listening(here.search) as heard:
        seen = [await here.place()]
        for minutes in (31, 30, 120):
            await wait(town, minutes * 60)
            seen.append(await here.place())
        assert [place["freshness"] for place in seen] == ["live", "late", "forecast", "forecast"]
        assert [place["forecast"] is None for place in seen] == [True, True, False, False]
        assert {place["as_of"] for place in seen} == {counted_at}
        assert {place["forecast"]["since"] for place in seen[2:]} == {counted_at}
        assert seen[2]["free"] == {"standard": 72, "ev": 15}
        assert seen[2]["forecast"]["at"] < seen[3]["forecast"]["at"]
        assert 0 < width(seen[2]["forecast"]) < width(seen[3]["forecast"])
        assert (await here.availability())["freshness"] == "forecast"
        await wait_until(lambda: heard[-1]["freshness"] == "forecast")
        await count(town, ev=5, standard=29)
        await here.search.poll()
        assert [(await here.place())[key] for key in ("freshness", "forecast")] == ["live", None]
        await wait_until(lambda: heard[-1]["freshness"] == "live")


async def test_a_forecast_is_shown_for_a_week(town: City) -> None:
    """Older than a day no count is shown, but what is expected is; after a week nothing is, and the streams are told."""
    async with replica(town) as here, listening(here.search) as heard:
        await wait(town, 25 * 3600)
        place = await here.place()
        assert (place["freshness"], place["free"]) == ("forecast", {})
        await wait(town, 6 * 24 * 3600)
        assert [(await here.place())[key] for key in ("freshness", "free", "forecast")] == ["unknown", {}, None]
        await wait_until(lambda: (heard[-1]["freshness"], heard[-1]["forecast"]) == ("unknown", None))


async def test_without_a_forecaster_a_silent_place_is_late_then_unknown(town: City) -> None:
    """Where nothing was learnt it is as it was without forecasts."""
    async with town.db.write() as tx:
        await tx.run(forecast_run.delete())
    async with replica(town) as here:
        await wait(town, 3 * 3600)
        assert [(await here.place())[key] for key in ("freshness", "forecast")] == ["late", None]
        assert (await here.availability())["free"] is None
        await wait(town, 22 * 3600)
        assert (await here.place())["freshness"] == "unknown"


async def test_a_database_that_does_not_answer_costs_the_forecast_only(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known already answers on; a place that was not asked for before has no forecast. Never an error."""

    async def away(*_: object) -> None:
        raise Unavailable("away")

    arrives_at = rfc3339(town.clock.now() + timedelta(minutes=30))
    async with replica(town) as here:
        monkeypatch.setattr(store, "current_run", away)
        assert (await here.place(arrives_at=arrives_at))["arrival"]["free"] is None
        monkeypatch.undo()
        assert (await here.place(arrives_at=arrives_at))["arrival"]["free"] is None, "one that hangs is not waited for by everybody"
        town.clock.advance(5)
        known = (await here.place(arrives_at=arrives_at))["arrival"]
        assert known["free"]
        monkeypatch.setattr(store, "current_run", away)
        town.clock.advance(60)
        assert (await here.place(arrives_at=arrives_at))["arrival"] == known
        await wait(town, 70 * 60)
        assert (await here.place())["freshness"] == "forecast"


async def test_a_replica_hears_what_the_forecaster_stored_since(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads only what is new, and what it had no room for; answers as one that has just begun."""
    monkeypatch.setattr(answers_module, "MOST_SERIES", 1)
    await journal(town, day(STREET, NOON - timedelta(days=2), hours=48.25))
    town.clock.advance(60)
    old, at = availability.open_answers(town.ctx), town.clock.now() + timedelta(hours=1)
    counts = {"standard": Counted(50, 100, wall(NOON))}
    asks = [Ask(STREET, at, counts), Ask(PLACE, at, {**counts, "ev": Counted(9, 20, wall(NOON))})]
    for step in range(4):
        each_way = [*await old.ask(asks[:1]), *await old.ask(asks[1:]), *await old.ask(asks)]
        assert each_way == 2 * await availability.open_answers(town.ctx).ask(asks), step
        await journal(town, [Row(PLACE, "standard", town.clock.now(), 10 + step), Row(PLACE, "ev", town.clock.now(), step, 20)])
        town.clock.advance(200)
        await learn(town)
    await availability.rebuild(town.ctx, lambda done, total, note: None)
    town.clock.advance(60)
    assert await old.ask(asks) == await availability.open_answers(town.ctx).ask(asks)


async def test_of_a_place_that_was_not_counted_for_a_week_nothing_is_expected(town: City) -> None:
    """Neither of it as a whole, nor when one arrives there, though the last count is known for ever."""
    async with replica(town) as here:
        for days, is_told in ((6, True), (1, False), (359, False)):
            await wait(town, days * 24 * 3600)
            arrives_at = rfc3339(town.clock.now() + timedelta(hours=1))
            told = await here.availability()
            arrival = (await here.place(arrives_at=arrives_at))["arrival"]
            assert [each is not None for each in (told["free"], told["chance"], arrival["free"])] == [is_told] * 3, days
            assert bool(told["categories"]) is bool(arrival["categories"]) is is_told
            assert told["since"], "when it was counted last is said all the same"


async def test_requests_do_not_queue_behind_a_slow_database(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is answered within its deadline, from what is at hand, though every single reading comes in time."""
    current_run = store.current_run

    async def slow(tx: Any) -> Any:
        await asyncio.sleep(0.15)
        return await current_run(tx)

    answers, at = availability.open_answers(town.ctx), town.clock.now() + timedelta(hours=1)
    counts = {"standard": Counted(50, 100, wall(NOON)), "ev": Counted(9, 20, wall(NOON))}
    known = await answers.ask([Ask(PLACE, at, counts)])
    monkeypatch.setattr(store, "current_run", slow)
    monkeypatch.setattr(answers_module, "ANSWER_WITHIN_S", 0.3)
    asks = [*(Ask(f"op-{number}", at, counts) for number in range(100, 200)), Ask(PLACE, at, counts)]
    async with asyncio.timeout(10):  # one after the other they take fifteen seconds
        told = await asyncio.gather(*(answers.ask([each]) for each in asks))
    assert told[-1] == known
    monkeypatch.undo()
    assert await answers.ask([Ask(PLACE, at, counts)]) == known, "nobody holds the turn"


async def test_the_streams_hear_of_numbers_not_of_instants(town: City) -> None:
    """A silent place is looked at each minute, and told of only when it is expected otherwise."""
    await count(town, ev=5, standard=28)
    async with replica(town) as here, listening(here.search) as heard:
        await wait(town, 3 * 3600)
        await wait_until(lambda: heard[-1]["freshness"] == "forecast")
        seen = []
        for _ in range(20):
            await wait(town, 60)
            seen.append((await here.place())["forecast"])
        assert len({each["at"] for each in seen}) > 15, "looked at"
        shown = [{**each["forecast"], "at": None} for each in heard if each["freshness"] == "forecast"]
        assert all(one != other for one, other in itertools.pairwise(shown))


async def test_forecasts_are_asked_for_so_often_by_one_network(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost what a search does not, which stays without a limit."""

    async def many(*_: object, **__: object) -> int:
        return 1_000_000

    async with replica(town) as here:
        monkeypatch.setattr(type(town.ctx.cache), "count", many)
        arrives_at = rfc3339(town.clock.now() + timedelta(hours=1))
        asked = [
            await here.places.get(f"/places/{PLACE}/availability"),
            await here.found.get("/places", params={**AROUND, "arrives_at": arrives_at}),
            await here.found.get("/places", params=AROUND),
        ]
    assert [each.status_code for each in asked] == [429, 429, 200]
    assert [each.json()["limit"] for each in asked[:2]] == ["forecasts", "arrivals"]


async def test_a_year_whose_holidays_nobody_knows_is_said_at_the_start(town: City) -> None:
    """Once a replica: forecasts go on, by weekdays alone."""
    for hours, years in ((0, []), (365 * 24, [2027])):
        town.clock.advance(hours * 3600)
        with capture_logs() as lines:
            availability.open_answers(town.ctx)
        assert [line["year"] for line in lines if line["event"] == "calendar_ends"] == years
