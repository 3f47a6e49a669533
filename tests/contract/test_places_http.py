"""Car parks over HTTP: search and reading for everybody, changes by their operator, bad input answered as problems."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cityloop_common import http
from cityloop_common.auth import Identity, Role
from cityloop_common.errors import Unauthenticated
from cityloop_parking.places import api as places_api
from cityloop_parking.search import api as search_api
from cityloop_parking.search import use_cases as search
from cityloop_parking.search.replica import Search
from cityloop_parking.search.views import PlaceView
from tests.contract.reservations_support import City, city, make_tables

USERS = {
    "operator": Identity("operator", frozenset({Role.LOT_OPERATOR}), 1e11, operator_id="op"),
    "rival": Identity("rival", frozenset({Role.LOT_OPERATOR}), 1e11, operator_id="op-x"),
    "nobody": Identity("nobody", frozenset({Role.LOT_OPERATOR}), 1e11),
    "citizen": Identity("citizen", frozenset({Role.CITIZEN}), 1e11),
}
NEAR = "/parking/v1/places?near=109.787,39.565"


class Tokens:
    """Names as tokens."""

    async def verify(self, token: str) -> Identity:
        if token not in USERS:
            raise Unauthenticated
        return USERS[token]


def body(**changes: object) -> dict[str, object]:
    """A car park 30 m from the centre."""
    pools = [{"category": "standard", "capacity": 10, "walk_in_reserve": 2}]
    return {"name": "文化广场", "position": {"lon": 109.7872, "lat": 39.5652}, "datum": "wgs84", "pools": pools, **changes}


@dataclass(frozen=True)
class Desk:
    """The city behind its HTTP door."""

    town: City
    client: httpx.AsyncClient
    search: Search

    async def put(self, who: str | None = "operator", *, id: str = "op-1", seen: str | None = None, **changes: object) -> httpx.Response:
        headers = {} if who is None else {"authorization": f"Bearer {who}"}
        if seen is not None:
            headers["if-match"] = seen
        return checked(await self.client.put(f"/parking/v1/places/{id}", headers=headers, json=body(**changes)))

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return checked(await self.client.get(path, headers=headers))

    async def deliver(self) -> None:
        """What worker and stream do between a commit and the index."""
        for event in await self.town.told():
            async with self.town.db.write() as tx:
                await search.apply_place(tx, self.town.ctx, event, PlaceView.model_validate_json(event.data))
        await self.search.poll()


def checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"].startswith("urn:cityloop:problem:")
    assert answer.status_code < 500
    return answer


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A replica of the API over an empty city."""
    url = f"sqlite:///{tmp_path / 'parking.db'}"
    await make_tables(url)
    async with city(url, tmp_path) as town:
        routers = [search_api.router, places_api.router]
        app = http.create_app(town.ctx, title="t", version="1", routers=routers, verifier=Tokens(), health=http.Health())
        app.state.search = opened = search.open_search(town.ctx)
        await opened.reset()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as client:
            yield Desk(town, client, opened)


async def test_a_car_park_is_created_read_and_found(desk: Desk) -> None:
    """201 with its place, the same by GET, and in the search once its event has come."""
    made = await desk.put()
    assert (made.status_code, made.headers["etag"], made.headers["location"]) == (201, '"1"', "/parking/v1/places/op-1")
    read = await desk.get("/parking/v1/places/op-1")
    assert read.json() == made.json()
    assert (read.json()["datum"], read.json()["operator_id"]) == ("wgs84", "op")
    assert (await desk.get(NEAR)).json()["places"] == []
    await desk.deliver()
    answer = (await desk.get(NEAR)).json()
    assert answer.keys() == {"as_of", "datum", "places"}
    (place,) = answer["places"]
    assert search_api.NearbyPlace.model_validate(place).model_extra == {"name_en": None}
    assert (place["id"], place["capacity"], place["free"], place["freshness"], place["distance_m"]) == (
        "op-1",
        {"standard": 10},
        {},
        "unknown",
        28,
    )


async def test_an_etag_saves_the_body_and_guards_the_change(desk: Desk) -> None:
    """304 for who has it; 428 blind, 412 stale, 200 with the version seen."""
    await desk.put()
    assert (await desk.get("/parking/v1/places/op-1", **{"if-none-match": '"1"'})).status_code == 304
    assert (await desk.put()).status_code == 200
    assert (await desk.put(name="b")).status_code == 428
    assert (await desk.put(name="b", seen='"1"')).headers["etag"] == '"2"'
    assert (await desk.put(name="c", seen='"1"')).status_code == 412
    assert (await desk.put(name="c", seen='"x"')).status_code == 412
    assert (await desk.put(id="op-2", seen='"1"')).status_code == 412


@pytest.mark.parametrize(
    "who, id, status",
    [(None, "op-1", 401), ("forged", "op-1", 401), ("citizen", "op-1", 403), ("rival", "op-1", 403), ("nobody", "op-1", 403)],
)
async def test_only_its_operator_may_keep_a_car_park(desk: Desk, who: str | None, id: str, status: int) -> None:
    """Also when the rival's name begins alike."""
    await desk.put()
    assert (await desk.put(who, id=id, name="mine")).status_code == status
    assert (await desk.get("/parking/v1/places/op-1")).json()["name"] == "文化广场"


@pytest.mark.parametrize(
    "changes, slug",
    [
        ({"datum": None}, "datum-missing"),
        ({"datum": "nad27"}, "datum-unknown"),
        ({"datum": "twd97"}, "out-of-bounds"),
        ({"position": {"lon": 39.565, "lat": 109.787}}, "out-of-bounds"),
        ({"position": {"lon": 121.5, "lat": 25.0}}, "out-of-bounds"),
        ({"position": {"lon": "x", "lat": 1}}, "invalid"),
        ({"position": None}, "invalid"),
        ({"name": ""}, "invalid"),
        ({"name": "  "}, "place-invalid"),
        ({"name": "a\x00b"}, "place-invalid"),
        ({"pools": [{"category": "standard", "capacity": -1}]}, "invalid"),
        ({"pools": [{"category": "standard", "capacity": 1.5}]}, "invalid"),
        ({"pools": [{"category": "standard", "capacity": "5"}]}, "invalid"),
        ({"pools": [{"category": "tank", "capacity": 1}]}, "invalid"),
        ({"pools": [{"category": "ev", "capacity": 2_147_483_647}]}, "invalid"),
        ({"pools": [{"category": "ev", "capacity": 1, "out_of_service": 2}]}, "place-invalid"),
        ({"pools": [{"category": "ev", "capacity": 1}, {"category": "ev", "capacity": 2}]}, "place-invalid"),
        ({"unknown": 1}, "invalid"),
    ],
)
async def test_what_cannot_be_true_is_a_problem_and_leaves_nothing(desk: Desk, changes: dict[str, Any], slug: str) -> None:
    """422 with a slug that says which, nothing half-written."""
    answer = await desk.put(**changes)
    assert (answer.status_code, answer.json()["type"]) == (422, f"urn:cityloop:problem:{slug}")
    assert await desk.town.told() == []
    assert (await desk.get("/parking/v1/places/op-1")).status_code == 404


async def test_a_datum_that_would_fit_is_named(desk: Desk) -> None:
    """A swapped pair is the mistake most made."""
    assert "swapped" in (await desk.put(position={"lon": 39.565, "lat": 109.787})).json()["detail"]


async def test_near_is_converted_from_gcj02(desk: Desk) -> None:
    """What a Chinese phone says is 502 m away from where it is."""
    await desk.put()
    await desk.deliver()
    plain, moved = (await desk.get(NEAR)).json(), (await desk.get(f"{NEAR}&datum=gcj02")).json()
    assert plain["places"][0]["distance_m"] < 40
    assert moved["places"][0]["distance_m"] > 480


@pytest.mark.parametrize(
    "query, pointers",
    [
        ("", ["/query/near"]),
        ("near=109.787", ["/query/near"]),
        ("near=39.565,109.787", ["/query/near"]),
        ("near=nan,39", ["/query/near"]),
        ("near=1e999,39", ["/query/near"]),
        ("near=109,39,1", ["/query/near"]),
        ("near=109,39&datum=mars", ["/query/datum"]),
        ("near=109,39&radius_m=0", ["/query/radius_m"]),
        ("near=109,39&radius_m=20001", ["/query/radius_m"]),
        ("near=109,39&radius_m=-5&limit=x", ["/query/radius_m", "/query/limit"]),
        ("near=109,39&limit=101", ["/query/limit"]),
        ("near=109,39&limit=%D9%A1", ["/query/limit"]),
    ],
)
async def test_a_search_that_cannot_be_done_says_what_is_wrong(desk: Desk, query: str, pointers: list[str]) -> None:
    """A pointer to every parameter."""
    answer = await desk.get(f"/parking/v1/places?{query}")
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == pointers


@pytest.mark.parametrize("query", ["near=%ff%fe,1", "near=109,39&" + "a=%20&" * 30])
async def test_an_unreadable_query_is_a_problem(desk: Desk, query: str) -> None:
    """Never a 500."""
    assert (await desk.get(f"/parking/v1/places?{query}")).status_code == 422


async def test_an_escaped_query_is_read(desk: Desk) -> None:
    """Clients escape the comma."""
    assert (await desk.get("/parking/v1/places?near=109.787%2C39.565&limit=5")).status_code == 200
