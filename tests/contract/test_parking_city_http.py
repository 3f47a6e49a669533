"""Parking's answers with what charging and waste have told, over HTTP in one process, on every database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cityloop_common import http
from cityloop_common.auth import Identity, Role
from cityloop_common.clock import rfc3339
from cityloop_common.errors import Unauthenticated
from cityloop_common.geo import Position
from cityloop_parking.places.domain import Category, PlaceFacts, PlaceKind, Pool
from cityloop_parking.reservations import api as reservations_api
from cityloop_parking.reservations.guest_desk import open_guest_desk
from cityloop_parking.search import api as search_api
from cityloop_parking.search import use_cases as search
from tests.contract.neighbours_support import hear, location, plan, publish, status, withdrawn
from tests.contract.reservations_support import NOON, City, city, make_tables
from tests.support import wait_until

USERS = {
    "anna": Identity("anna", frozenset({Role.CITIZEN}), 1e11),
    "admin": Identity("admin", frozenset({Role.CITY_ADMIN}), 1e11),
}
STREET, GARAGE = "op-1", "op-2"


class Tokens:
    """Names as tokens."""

    async def verify(self, token: str) -> Identity:
        if token not in USERS:
            raise Unauthenticated
        return USERS[token]


@dataclass(frozen=True)
class Desk:
    """The city behind its HTTP door."""

    town: City
    client: httpx.AsyncClient

    async def get(self, path: str, who: str = "", **params: str) -> Any:
        headers = {"authorization": f"Bearer {who}"} if who else {}
        answer = await self.client.get(f"/parking/v1{path}", params=params, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def near(self, of: str) -> dict[str, Any]:
        found = (await self.get("/places", near="109.787,39.565", radius_m="1000"))["places"]
        place: dict[str, Any] = next(each for each in found if each["id"] == of)
        return place

    async def hold(self, start: datetime, end: datetime, of: str = STREET) -> httpx.Response:
        body = {"place_id": of, "category": "standard", "starts_at": rfc3339(start), "ends_at": rfc3339(end)}
        return await self.client.post("/parking/v1/reservations", json=body, headers={"authorization": "Bearer anna"})


@pytest.fixture
async def desk(url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """A street and a garage, and a replica of the API that follows."""
    await make_tables(url)
    async with city(url, tmp_path) as town, asyncio.TaskGroup() as loops:
        await publish(town, lot(1, PlaceKind.ON_STREET), lot(2, PlaceKind.GARAGE))
        replica = search.open_search(town.ctx)
        running = [loops.create_task(loop) for loop in (replica.follow(), replica.turn(), town.ctx.fanout.run_publisher())]
        routers = [search_api.router, reservations_api.router]
        app = http.create_app(town.ctx, title="t", version="1", routers=routers, verifier=Tokens(), health=http.Health())
        app.state.search, app.state.guest_desk = replica, open_guest_desk(town.ctx)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as client:
            made = Desk(town, client)
            await wait_until(lambda: replica._index is not None and len(replica._index) == 2)
            yield made
        for task in running:
            task.cancel()


def lot(number: int, kind: PlaceKind) -> PlaceFacts:
    return PlaceFacts("op", str(number), "可汗街", Position(109.787, 39.565), (Pool(Category.STANDARD, 3), Pool(Category.EV, 2)), kind=kind)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


async def test_a_charger_that_begins_to_charge_is_in_the_answer(desk: Desk) -> None:
    """From nothing known, over a location and a status, to a car that charges."""
    assert (await desk.near(GARAGE))["charging"] is None
    await hear(desk.town, location(1, "a", "b", place=GARAGE), status(1, "a", "AVAILABLE"), status(1, "b", "AVAILABLE"))

    async def charging(**wanted: object) -> bool:
        found = (await desk.near(GARAGE))["charging"]
        return found is not None and {name: found[name] for name in wanted} == wanted

    await wait_until(lambda: charging(bays=2, working=2, free=2, as_of="2026-06-01T03:01:00Z"))
    await hear(desk.town, status(2, "a", "CHARGING"))
    await wait_until(lambda: charging(bays=2, working=2, free=1, as_of="2026-06-01T03:02:00Z"))
    await hear(desk.town, status(3, "b", "OUTOFORDER"))
    await wait_until(lambda: charging(bays=2, working=1, free=0))
    assert (await desk.near(STREET))["charging"] is None


async def test_a_published_plan_closes_the_street(desk: Desk) -> None:
    """Announced, closed, open again; who wants to stay then is refused with the window."""
    await hear(desk.town, plan(1, (STREET, at(10), at(20)), (GARAGE, at(10), at(20))))

    async def announced() -> bool:
        return bool((await desk.near(STREET))["closures"] == [{"starts_at": rfc3339(at(10)), "ends_at": rfc3339(at(20))}])

    await wait_until(announced)
    refused = await desk.hold(at(15), at(60))
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    problem = refused.json()
    assert problem["type"] == "urn:cityloop:problem:place-closed"
    assert (problem["closed_for"], problem["closed_from"], problem["closed_until"]) == ("collection", rfc3339(at(10)), rfc3339(at(20)))
    assert [(await desk.hold(start, end, of)).status_code for start, end, of in ((at(20), at(60), STREET), (at(10), at(20), GARAGE))] == [
        201,
        201,
    ]
    desk.town.clock.advance(600)
    shown = await desk.near(STREET)
    assert (shown["state"], shown["freshness"], shown["closed_until"], shown["closed_for"]) == (
        "closed",
        "closed",
        rfc3339(at(20)),
        "collection",
    )
    assert (await desk.near(GARAGE))["state"] == "open"
    desk.town.clock.advance(600)
    assert (await desk.near(STREET))["state"] == "open"


async def test_bookings_in_the_way_are_conflicts_with_their_reason(desk: Desk) -> None:
    """Until the plan is withdrawn."""
    assert (await desk.hold(at(60), at(120))).status_code == 201
    await hear(desk.town, plan(1, (STREET, at(70), at(80))))
    found = (await desk.get(f"/places/{STREET}/conflicts", "admin"))["conflicts"]
    both = {"category": "standard", "booked": 1, "sellable": 0, "reason": "collection"}
    assert found == [both | {"starts_at": rfc3339(at(start))} for start in (60, 75)]
    await hear(desk.town, withdrawn(1))
    assert (await desk.get(f"/places/{STREET}/conflicts", "admin"))["conflicts"] == []
