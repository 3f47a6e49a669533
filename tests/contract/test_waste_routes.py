"""Routes of the day for everybody: what holds and nothing else, at once when it changes, along the roads, without a name or a load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from cityloop_common import http, invented
from cityloop_common.auth import Identity, Role
from cityloop_common.cache import open_cache
from cityloop_common.clock import SystemClock, instant
from cityloop_common.errors import Unauthenticated
from cityloop_common.geo import Bounds, Datum, Position, distance_m
from cityloop_common.pool import PoolFull, WorkRaised
from cityloop_common.ratelimit import SHARED_PER_MINUTE
from cityloop_waste.planning import drawing, published, solver, store, use_cases
from cityloop_waste.planning.api import PlanView
from cityloop_waste.planning.domain import Reason
from cityloop_waste.planning.lines import lines
from cityloop_waste.planning.plans import CityPlan, PlanState
from cityloop_waste.planning.problem_json import read
from cityloop_waste.planning.routes_api import PublicRoutes
from cityloop_waste.planning.tables import plan
from cityloop_waste.planning.work import draw
from cityloop_waste.roads import use_cases as roads
from cityloop_waste.roads.domain import Side, read_roads
from cityloop_waste.roads.lines import drawn
from cityloop_waste.roads.network import network
from cityloop_waste.service import SERVICE, api_parts
from cityloop_waste.streams import Stream
from tests.contract.kit_support import ask_often
from tests.contract.test_waste_stream import Heard
from tests.contract.waste_support import CENTRE, TEN, TODAY, Town, one_round, point, town
from tests.support import wait_until
from tests.unit.waste.towns import Quiet

ROADS = invented.base_map()


class Tokens:
    """Names of roles as tokens."""

    async def verify(self, token: str) -> Identity:
        if token not in list(Role):
            raise Unauthenticated
        return Identity(token, frozenset({Role(token)}), 1e11)


@dataclass(frozen=True)
class Door:
    """A town behind the door of one replica of its API."""

    town: Town
    client: httpx.AsyncClient
    app: FastAPI

    async def get(self, path: str = "/routes", who: str | None = None, **headers: str) -> httpx.Response:
        """One request; no answer is a 500."""
        sent = {**headers, **({} if who is None else {"authorization": f"Bearer {who}"})}
        answer = await self.client.get(f"/waste/v1{path}", headers={name.replace("_", "-"): value for name, value in sent.items()})
        assert answer.status_code < 500, answer.text
        return answer

    async def hear(self) -> None:
        """Its stream is told of what was written."""
        await self.app.state.plans.poll()

    async def plans(self, path: str = "/routes") -> list[dict[str, Any]]:
        """The plans of a day."""
        found: list[dict[str, Any]] = (await self.get(path)).json()["plans"]
        return found


@asynccontextmanager
async def door(opened: Town) -> AsyncIterator[Door]:
    """A replica of the API over a town."""
    app = http.create_app(opened.ctx, title="t", version="1", routers=SERVICE.routers, verifier=Tokens(), health=http.Health())
    for name, value in api_parts(opened.ctx).state.items():
        setattr(app.state, name, value)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as client:
        client.headers["accept-encoding"] = "identity"
        yield Door(opened, client, app)


@pytest.fixture
async def city(url: str, tmp_path: Path) -> AsyncIterator[Door]:
    """A furnished town with roads, on each dialect."""
    async with town(url, tmp_path) as opened:
        await opened.furnish()
        base_map = roads.read(json.dumps(ROADS).encode(), datum=Datum.WGS84, within=Bounds(*opened.ctx.settings.shared.city_bounds))
        await roads.import_map(opened.ctx, base_map)
        async with door(opened) as opened_door:
            yield opened_door


async def solved(city: Town, *, stream: Stream = Stream.KITCHEN, with_lines: bool = True) -> CityPlan:
    """A plan whose routes were found on roads, with their lines or, as an older version did it, without."""
    asked = await city.ask(stream)
    task = await use_cases.begin(city.ctx, asked.id)
    assert task is not None
    result = {**await one_round(task.payload, lambda _: None), "travel": "graph"}
    if with_lines:
        result["lines"] = drawn_by_hand(task.payload, result)
    kept = await use_cases.keep(city.ctx, asked.id, result)
    assert kept is not None
    return kept


def drawn_by_hand(payload: Mapping[str, Any], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the solver's process would draw."""
    problem = read(payload["problem"])
    sides = [Side.KERB if 1 <= row <= len(problem.stops) else Side.ANY for row in range(len(problem.positions()))]
    return lines(problem, result["routes"], network(read_roads(ROADS), problem.positions(), gross_mass_kg=12_000, sides=sides))


async def test_everybody_sees_what_holds_today(city: Door) -> None:
    """Figures, truck, when it leaves and is back, and a line along the roads; asked without a token and without a day."""
    assert await city.plans() == []
    await city.town.publish((kept := await solved(city.town)).id)
    await city.hear()
    answer = await city.get()
    body = answer.json()
    assert (answer.headers["content-type"], body["on"], body["as_of"], body["datum"]) == (
        "application/json", "2026-11-26", "2026-11-26T02:00:00Z", "wgs84",
    )  # fmt: skip
    (only,) = body["plans"]
    (route,) = only.pop("routes")
    line = route.pop("line")
    assert only == {
        "plan_id": kept.id, "stream": "kitchen", "version": 1, "published_at": "2026-11-26T02:00:00Z",
        "trucks": 1, "stops": 3, "unserved": 0, "distance_m": 1000,
    }  # fmt: skip
    assert route == {
        "truck": "T01", "starts_at": "2026-11-25T22:02:00Z", "ends_at": "2026-11-25T22:50:00Z",
        "stops": 3, "trips": 1, "distance_m": 1000, "travel": "graph",
    }  # fmt: skip
    assert (line[0], line[-1]) == ([CENTRE.lon, CENTRE.lat], [CENTRE.lon, CENTRE.lat]), "from the depot to the depot"
    for number in (1, 2, 3):
        at = point(number).position
        assert min(distance_m(Position(*each), at) for each in line) < 1, "by every stop"
    assert len(line) > 6, "more than straight lines"
    assert await city.plans("/routes?on=2026-11-26") == answer.json()["plans"]
    assert await city.plans("/routes?on=2026-11-27") == []


async def test_no_name_and_no_load_is_shown(city: Door) -> None:
    """No stop by its id, no mass, no crew: only what is in the table."""
    await city.town.publish((await solved(city.town)).id)
    text = (await city.get()).text
    for word in ("P1", "load", "kg", "dm3", "visits", "crew", "driver", "operator", "problem", "demand"):
        assert word not in text


async def test_only_the_newest_published_plan_of_a_stream_is_shown(city: Door) -> None:
    """Superseded, withdrawn, ready: not there; streams stand in their order; each change is seen as soon as it is told."""
    first, second, other = await solved(city.town), await solved(city.town), await solved(city.town, stream=Stream.OTHER)
    assert await city.plans() == []
    for each, shown in ((first, [(first.id, 1)]), (second, [(second.id, 2)]), (other, [(second.id, 2), (other.id, 1)])):
        await city.town.publish(each.id)
        await city.hear()
        assert [(each["plan_id"], each["version"]) for each in await city.plans()] == shown
    await city.town.withdraw(second.id)
    await city.hear()
    assert [each["plan_id"] for each in await city.plans()] == [other.id]
    await city.town.publish(second.id)
    await city.hear()
    assert [(each["stream"], each["version"]) for each in await city.plans()] == [("kitchen", 4), ("other", 1)]


async def test_who_has_the_answer_is_told_so(city: Door) -> None:
    """304 by the ETag until another plan holds; in gzip for whoever takes it; kept, but asked for again."""
    await city.town.publish((first := await solved(city.town)).id)
    plain, packed = await city.get(), await city.get(accept_encoding="gzip")
    assert plain.headers["cache-control"] == packed.headers["cache-control"] == "public, no-cache"
    assert (plain.headers["etag"], plain.headers["vary"]) == (packed.headers["etag"], "Accept-Encoding")
    assert ("content-encoding" in plain.headers, packed.headers["content-encoding"]) == (False, "gzip")
    assert packed.json() == plain.json()
    tag = plain.headers["etag"]
    same = await city.get(if_none_match=tag)
    assert (same.status_code, same.content, same.headers["etag"], same.headers["vary"]) == (304, b"", tag, "Accept-Encoding")
    assert (await city.get("/routes?on=2026-11-27", if_none_match=tag)).status_code == 200, "another day is another answer"
    await city.town.withdraw(first.id)
    await city.hear()
    gone = await city.get(if_none_match=tag)
    assert (gone.status_code, gone.json()["plans"]) == (200, [])
    await city.town.publish(first.id)
    await city.hear()
    again = await city.get(if_none_match=tag)
    assert (again.status_code, again.json()["plans"][0]["version"]) == (200, 3)


async def test_many_who_ask_are_answered_by_one_making(city: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change all clients of a replica read again: the plan's documents are read once; after an hour it is true of then."""
    await city.town.publish((await solved(city.town)).id)
    read_whole = store.get
    read_times: list[str] = []

    async def counted(tx: Any, plan_id: str) -> CityPlan | None:
        read_times.append(plan_id)
        return await read_whole(tx, plan_id)

    monkeypatch.setattr(store, "get", counted)
    answers = await asyncio.gather(*(city.get() for _ in range(50)))
    assert len({each.content for each in answers}) == 1
    city.town.clock.move(hours=1)

    async def later() -> bool:
        return bool((await city.get()).json()["as_of"] == "2026-11-26T03:00:00Z")

    await wait_until(later)
    assert len(read_times) == 1


async def test_a_tag_is_that_of_the_very_plans_beside_it(city: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that comes to hold while an answer is made is in both or in neither, whatever was asked before; none at all has a tag too."""
    none = await city.get()
    first, second = await solved(city.town), await solved(city.town, stream=Stream.OTHER)
    held = store.held

    async def overtaken(tx: Any, on: date) -> list[CityPlan]:
        found = await held(tx, on)
        if len(found) == 1:
            monkeypatch.setattr(store, "held", held)
            await city.town.publish(second.id)
        return found

    await city.town.publish(first.id)
    monkeypatch.setattr(store, "held", overtaken)
    await city.hear()
    old = await city.get()
    await city.hear()
    new = await city.get(if_none_match=old.headers["etag"])
    shown = [{each["plan_id"] for each in answer.json()["plans"]} for answer in (none, old, new)]
    assert shown == [set(), {first.id}, {first.id, second.id}]
    assert len({each.headers["etag"] for each in (none, old, new)}) == 3
    for each in (first, second):
        await city.town.withdraw(each.id)
    await city.hear()
    assert (await city.get(if_none_match=none.headers["etag"])).status_code == 304


async def test_what_holds_is_looked_at_once_for_all(city: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each of who asks; again as soon as the stream says that something is otherwise."""
    monkeypatch.setattr(published, "GOOD_FOR_S", 60.0)
    looks, held = 0, store.held

    async def counted(tx: Any, on: date) -> list[CityPlan]:
        nonlocal looks
        looks += 1
        return await held(tx, on)

    monkeypatch.setattr(store, "held", counted)
    await asyncio.gather(*(city.get() for _ in range(30)))
    assert looks == 1
    await city.town.publish((await solved(city.town)).id)
    await city.hear()
    assert (len(await city.plans()), looks) == (1, 2)


async def test_days_are_not_kept_without_end(city: Door) -> None:
    """Whoever asks for every day of a year finds no room for them."""
    for day in range(1, 30):
        assert (await city.get(f"/routes?on=2026-10-{day:02d}")).json()["on"] == f"2026-10-{day:02d}"
    assert len(city.app.state.routes._days) == published.MOST_DAYS


@pytest.mark.parametrize("day", ["x", "2026-13-01", "0001-01-01", "9999-12-31", "", "2026-11-26T01:00:00Z", "1999-12-31", "%F0%9F%9A%9B"])
async def test_a_day_that_is_none_is_refused(city: Door, day: str) -> None:
    """422 as a problem document that points at the parameter."""
    answer = await city.get(f"/routes?on={day}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["pointer"] == "/query/on"


async def test_a_network_that_asks_without_end_is_refused(city: Door) -> None:
    """429 with the limit's name, as with other public answers."""
    for path, name in (("/routes", "routes"), ("/base-map", "base-map")):
        await ask_often(city.town.ctx, name, times=SHARED_PER_MINUTE - 1)
        last, refused = [await city.get(path, if_none_match="*") for _ in range(2)]
        assert (last.status_code, refused.status_code, refused.json()["limit"]) == (304, 429, name)


async def test_a_dispatcher_sees_the_same_line(city: Door) -> None:
    """Beside visits and loads, as soon as the plan is ready."""
    kept = await solved(city.town)
    (route,) = (await city.get(f"/plans/{kept.id}", "dispatcher")).json()["routes"]
    await city.town.publish(kept.id)
    await city.hear()
    (shown,) = (await city.plans())[0]["routes"]
    assert (route["travel"], route["line"], len(route["visits"])) == ("graph", shown["line"], 6)


@pytest.mark.parametrize("travel, shown", [("estimate", "estimate"), ("given", "given"), ("graph", "estimate")])
async def test_without_a_line_it_is_straight_and_says_so(city: Door, travel: str, shown: str) -> None:
    """Estimates, distances that somebody gave, and plans of a version that drew nothing: from visit to visit."""
    asked = await city.town.ask()
    task = await use_cases.begin(city.town.ctx, asked.id)
    assert task is not None
    await use_cases.keep(city.town.ctx, asked.id, {**await one_round(task.payload, lambda _: None), "travel": travel})
    await city.town.publish(asked.id)
    (route,) = (await city.plans())[0]["routes"]
    stops = [point(number).position for number in (1, 2, 3)]
    assert (route["travel"], route["line"]) == (shown, drawn([CENTRE, *stops, CENTRE]))
    (crew,) = (await city.get(f"/plans/{asked.id}", "crew")).json()["routes"]
    assert (crew["travel"], crew["line"]) == (route["travel"], route["line"])


class Drawer:
    """A pool that draws in this process, or fails."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def run(
        self,
        work: str,
        payload: Mapping[str, object],
        *,
        kill_after_s: float,
        on_progress: Callable[[Any], None] | None = None,
        stop: asyncio.Event | None = None,
    ) -> Any:
        """See Pool."""
        assert work == solver.DRAW
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return draw(orjson.loads(orjson.dumps(payload)), Quiet())

    async def close(self) -> None:
        """See Pool."""


async def test_a_plan_of_an_older_version_is_drawn_afterwards(city: Door) -> None:
    """The sweep draws what is published of today and later, one at a time; clients hear of it, and nothing is drawn twice."""
    old = [await solved(city.town, stream=stream, with_lines=False) for stream in (Stream.KITCHEN, Stream.OTHER)]
    await solved(city.town, with_lines=False)  # nobody has published it
    for each in old:
        await city.town.publish(each.id)
    straight = await city.get()
    pool = Drawer(PoolFull())
    ctx = replace(city.town.ctx, pool=pool)
    heard = Heard(city.town)
    await heard.reset()
    assert [await drawing.draw(ctx) for _ in range(4)] == [0, 1, 1, 0]
    assert pool.asked == 3
    assert len(heard.messages) == 0
    await heard.poll()
    await city.hear()
    assert {each.key for each in heard.messages} == {each.id for each in old}
    answer = await city.get(if_none_match=straight.headers["etag"])
    by_hand = (await solved(city.town)).id
    (line,) = (await city.get(f"/plans/{by_hand}", "dispatcher")).json()["routes"]
    assert [each["routes"][0]["travel"] for each in answer.json()["plans"]] == ["graph", "graph"]
    assert [each["routes"][0]["line"] for each in answer.json()["plans"]] == [line["line"], line["line"]]


async def test_what_cannot_be_drawn_is_tried_once(city: Door) -> None:
    """Its line stays straight; yesterday's plans are left alone."""
    await city.town.publish((kept := await solved(city.town, with_lines=False)).id)
    pool = Drawer(WorkRaised("no such road"))
    ctx = replace(city.town.ctx, pool=pool)
    assert [await drawing.draw(ctx), await drawing.draw(ctx)] == [1, 0]
    (route,) = (await city.plans())[0]["routes"]
    assert (route["travel"], len(route["line"])) == ("estimate", 3)
    async with city.town.db.write() as tx:
        await tx.run(update(plan).where(plan.c.id == kept.id).values(lines=None))
    city.town.clock.move(days=1)
    assert await drawing.draw(ctx) == 0


async def test_publication_and_withdrawal_are_heard(url: str, tmp_path: Path) -> None:
    """Written on one replica, heard on another, and what a client reads there after the event is what holds."""
    cache = open_cache("memory:", clock=SystemClock())
    async with town(url, tmp_path) as one, town(url, tmp_path) as other:
        await one.furnish()
        writer, listener = [replace(each, ctx=replace(each.ctx, cache=cache)) for each in (one, other)]
        heard = Heard(listener)
        loops = [asyncio.get_running_loop().create_task(each) for each in (writer.ctx.fanout.run_publisher(), heard.follow())]
        await wait_until(lambda: heard._newest is not None)
        async with door(listener) as page:
            page.app.state.routes = published.PublishedRoutes(listener.ctx, heard.revision)
            kept = await writer.ready()
            await wait_until(lambda: heard.states(kept.id)[-1] == "ready")

            async def changed(by: Callable[[str], Awaitable[CityPlan]], state: str) -> list[str]:
                told = len(heard.states(kept.id))
                await by(kept.id)
                await wait_until(lambda: heard.states(kept.id)[told:] == [state], every=0.01)
                return [each["plan_id"] for each in await page.plans()]

            assert await changed(writer.publish, "published") == [kept.id]
            assert await changed(writer.withdraw, "withdrawn") == []
            assert await changed(writer.publish, "published") == [kept.id]
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    await cache.close()


async def test_documents_of_plans_that_never_held_are_emptied(city: Door) -> None:
    """30 days after their day: the rest of them stays, and what was ever published stays whole."""
    held, ready = await solved(city.town), await solved(city.town)
    await city.town.publish(held.id)
    await city.town.withdraw(held.id)
    failed, waiting = await city.town.ask(), await city.town.ask()
    await use_cases.fail(city.town.ctx, failed.id, "no plan found")
    before = {each.id: (await city.get(f"/plans/{each.id}", "dispatcher")).json() for each in (held, ready, failed, waiting)}
    city.town.clock.move(days=30)
    assert await use_cases.empty(city.town.ctx) == 0
    city.town.clock.move(days=1)
    heard = Heard(city.town)
    await heard.reset()
    assert [await use_cases.empty(city.town.ctx), await use_cases.empty(city.town.ctx)] == [2, 0]
    await heard.poll()
    assert heard.messages == []
    after = {each: (await city.get(f"/plans/{each}", "dispatcher")).json() for each in before}
    assert [after[held.id], after[waiting.id], after[failed.id]] == [before[held.id], before[waiting.id], before[failed.id]]
    assert after[ready.id] == before[ready.id] | {"routes": [], "travel": None}
    async with city.town.db.read() as tx:
        rows = {row.id: row for row in await tx.all(select(plan.c.id, plan.c.problem, plan.c.result, plan.c.lines, plan.c.state))}
    assert [not any(rows[each.id].problem.values()) for each in (ready, failed, waiting, held)] == [True, True, False, False]
    assert (rows[ready.id].lines, rows[failed.id].result) == (None, None)
    assert PlanState(rows[waiting.id].state) is PlanState.WAITING


async def test_the_description_says_the_codes(city: Door) -> None:
    """Why a stop is not served, and where a line comes from: enumerated, as the answers have them."""
    schemas = (await city.get("/openapi.json")).json()["components"]["schemas"]
    assert schemas["UnservedView"]["properties"]["reason"] == {"$ref": "#/components/schemas/Reason"}
    assert schemas["Reason"]["enum"] == [each.value for each in Reason]
    assert schemas["TravelSource"]["enum"] == ["graph", "estimate", "given"]
    assert schemas["PublicRoutes"]["properties"].keys() == {"on", "as_of", "datum", "plans"}


async def test_the_answer_is_as_described(city: Door) -> None:
    """What is sent, though it is not made of the models, has their form."""
    await city.town.publish((kept := await solved(city.town)).id)
    shown = PublicRoutes.model_validate_json((await city.get()).content)
    assert shown.plans[0].routes[0].starts_at < instant("2026-11-26T00:00:00+08:00") + timedelta(hours=8)
    PlanView.model_validate_json((await city.get(f"/plans/{kept.id}", "dispatcher")).content)
    assert shown.as_of == TEN
    assert shown.on == TODAY
