"""Stations, links and vehicles over HTTP: who may do what, and bad input answered as problems."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cityloop_charging.bays import api as bays_api
from cityloop_charging.bays.tables import link_version
from cityloop_charging.registry import api as registry_api
from cityloop_charging.vehicles import api as vehicles_api
from cityloop_common import http
from cityloop_common.auth import Identity, Role
from cityloop_common.clock import city_day
from cityloop_common.errors import Unauthenticated
from tests.contract.charging_support import OPERATOR, City, city, make_tables

RIVAL = "888000001"
USERS = {
    "operator": Identity("operator", frozenset({Role.CHARGING_OPERATOR}), 1e11, operator_id=OPERATOR),
    "rival": Identity("rival", frozenset({Role.CHARGING_OPERATOR}), 1e11, operator_id=RIVAL),
    "nobody": Identity("nobody", frozenset({Role.CHARGING_OPERATOR}), 1e11),
    "officer": Identity("officer-7", frozenset({Role.OFFICER}), 1e11),
    "admin": Identity("admin", frozenset({Role.CITY_ADMIN}), 1e11),
    "citizen": Identity("citizen", frozenset({Role.CITIZEN}), 1e11),
}
ID = f"{OPERATOR}*S001"
PATH = f"/charging/v1/locations/{ID}"
CLAIMS = f"{PATH}/place-claims"
LINKS = f"/charging/v1/place-links/{ID}"
VEHICLES = "/charging/v1/vehicle-registrations"


class Tokens:
    """Names as tokens."""

    async def verify(self, token: str) -> Identity:
        if token not in USERS:
            raise Unauthenticated
        return USERS[token]


def body(**changes: object) -> dict[str, object]:
    """A station in the middle of the city."""
    evses = [
        {"connector_id": "S00101", "power_w": 60_000, "current": "dc", "bay_no": "A1"},
        {"connector_id": "S00102", "power_w": 7_000, "current": "ac"},
    ]
    return {"name": "文化广场充电站", "position": {"lon": 109.787, "lat": 39.565}, "datum": "wgs84", "evses": evses, **changes}


def evse(**changes: object) -> dict[str, object]:
    return body(evses=[{"connector_id": "S00101", "power_w": 60_000, "current": "dc", **changes}])


@dataclass(frozen=True)
class Desk:
    """The city behind its HTTP door."""

    town: City
    client: httpx.AsyncClient

    async def ask(self, method: str, path: str, who: str | None = "operator", *, json: object = None, **headers: str) -> httpx.Response:
        if who is not None:
            headers["authorization"] = f"Bearer {who}"
        answer = await self.client.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}, json=json
        )
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"].startswith("urn:cityloop:problem:")
        assert answer.status_code < 500
        return answer

    async def put(self, who: str | None = "operator", *, path: str = PATH, seen: str | None = None, **changes: object) -> httpx.Response:
        return await self.ask("PUT", path, who, json=body(**changes), **({} if seen is None else {"if_match": seen}))

    async def post(self, path: str, who: str | None, place_id: object = "lot-1", **headers: str) -> httpx.Response:
        return await self.ask("POST", path, who, json={"place_id": place_id}, **headers)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A replica of the API over an empty city."""
    url = f"sqlite:///{tmp_path / 'charging.db'}"
    await make_tables(url)
    async with city(url, tmp_path) as town:
        routers = [registry_api.router, bays_api.router, vehicles_api.router]
        app = http.create_app(town.ctx, title="t", version="1", routers=routers, verifier=Tokens(), health=http.Health())
        app.state.subject_key = bays_api.subject_key(town.ctx)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as client:
            yield Desk(town, client)


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:cityloop:problem:")


async def test_a_station_is_created_and_changed_by_who_has_seen_it(desk: Desk) -> None:
    """201 with its place, 200 for the same again, 428 blind, 412 stale, 200 with the version seen."""
    made = await desk.put()
    assert (made.status_code, made.headers["etag"], made.headers["location"]) == (201, '"1"', PATH)
    assert registry_api.LocationAnswer.model_validate(made.json())
    assert [(each["uid"], each["bay_no"], each["lifecycle"]) for each in made.json()["evses"]] == [
        (f"{ID}*S00101", "A1", "in_service"),
        (f"{ID}*S00102", None, "in_service"),
    ]
    assert (await desk.put()).status_code == 200
    assert (await desk.put(name="b")).status_code == 428
    assert (await desk.put(name="b", seen='"1"')).headers["etag"] == '"2"'
    assert (await desk.put(name="c", seen='"1"')).status_code == 412
    assert (await desk.put(path=f"/charging/v1/locations/{OPERATOR}*S9", seen='"1"')).status_code == 412
    assert [event.sequence for event in await desk.town.told()] == [1, 2]


async def test_a_position_is_converted_from_gcj02(desk: Desk) -> None:
    """What a Chinese operator says is 502 m away from where it is; the answer names WGS-84."""
    answer = (await desk.put(datum="gcj02")).json()
    assert answer["datum"] == "wgs84"
    assert answer["position"]["lon"] == pytest.approx(109.78125, abs=1e-4)


@pytest.mark.parametrize("who, status", [(None, 401), ("forged", 401), ("citizen", 403), ("rival", 403), ("nobody", 403), ("officer", 403)])
async def test_only_its_operator_may_keep_a_station(desk: Desk, who: str | None, status: int) -> None:
    """The id says whose it is."""
    await desk.put()
    assert (await desk.put(who, name="mine", seen='"1"')).status_code == status
    assert (await desk.town.station(ID)).facts.name == "文化广场充电站"


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"datum": None}, "datum-missing"),
        ({"datum": "nad27"}, "datum-unknown"),
        ({"datum": "twd97"}, "out-of-bounds"),
        ({"position": {"lon": 39.565, "lat": 109.787}}, "out-of-bounds"),
        ({"position": {"lon": 113.8, "lat": 22.7}}, "out-of-bounds"),
        ({"position": {"lon": "x", "lat": 1}}, "invalid"),
        ({"position": None}, "invalid"),
        ({"name": ""}, "invalid"),
        ({"name": "  "}, "location-invalid"),
        ({"name": "a\x00b"}, "location-invalid"),
        ({"bay_count": -1}, "invalid"),
        ({"bay_count": 1.5}, "invalid"),
        ({"access": "everybody"}, "invalid"),
        ({"state": "broken"}, "invalid"),
        ({"unknown": 1}, "invalid"),
        ({"evses": None}, "invalid"),
        ({"evses": [{}]}, "invalid"),
        (evse(power_w=0), "invalid"),
        (evse(power_w="60000"), "invalid"),
        (evse(power_w=2**63), "invalid"),
        (evse(current="three-phase"), "invalid"),
        (evse(standard="yes"), "invalid"),
        (evse(lifecycle="removed"), "location-invalid"),
        (evse(connector_id=""), "location-invalid"),
        (evse(connector_id="a*b"), "location-invalid"),
        (evse(connector_id="a" * 27), "invalid"),
        (evse(bay_no="12345678901"), "invalid"),
        (evse(bay_no=" "), "location-invalid"),
        (evse(bay_no="a\x00"), "location-invalid"),
        ({"evses": [evse()["evses"][0]] * 2}, "location-invalid"),  # type: ignore[index]
        ({"evses": [evse()["evses"][0]] * 1001}, "invalid"),  # type: ignore[index]
    ],
)
async def test_what_cannot_be_true_is_a_problem_and_leaves_nothing(desk: Desk, changes: dict[str, Any], expected: str) -> None:
    """422 with a slug that says which, nothing half-written."""
    answer = await desk.put(**changes)
    assert (answer.status_code, slug(answer)) == (422, expected)
    assert await desk.town.told() == []


@pytest.mark.parametrize(
    "id", ["x", f"{OPERATOR}", f"{OPERATOR}*", f"{OPERATOR}*a*b", f"{OPERATOR}*{'a' * 21}", "999%00*1", f"{OPERATOR}*a b"]
)
async def test_an_id_that_cannot_be_one_is_a_problem(desk: Desk, id: str) -> None:
    """Before the database sees it."""
    assert (await desk.put(path=f"/charging/v1/locations/{id}")).status_code in {400, 403, 404, 422}
    assert await desk.town.told() == []


async def test_a_connector_of_another_station_is_a_conflict(desk: Desk) -> None:
    """An operator's connector stands in one station."""
    await desk.put()
    answer = await desk.put(path=f"/charging/v1/locations/{OPERATOR}*S002")
    assert (answer.status_code, slug(answer)) == (409, "connector-taken")


async def test_a_claim_is_confirmed_and_taken_back(desk: Desk) -> None:
    """The operator proposes, the officer decides; the station tells of its car park; persons stay unnamed."""
    await desk.put()
    claimed = await desk.ask("POST", CLAIMS, "operator", json={"place_id": "lot-1", "bay_nos": ["A1"]})
    assert (claimed.status_code, claimed.json()["state"], claimed.json()["by"]) == (201, "proposed", "charging_operator")
    assert claimed.json()["evidence"] == {"place_known": False, "claimed": True, "bay_nos": ["A1"]}
    listed = (await desk.ask("GET", "/charging/v1/place-links?state=proposed", "officer")).json()
    assert [(each["location_id"], each["place_id"]) for each in listed["links"]] == [(ID, "lot-1")]
    assert bays_api.LinkPage.model_validate(listed)
    unlinked = (await desk.ask("GET", "/charging/v1/unlinked-locations", "officer")).json()
    assert [(each["location_id"], each["proposed_place_id"], each["evses"]) for each in unlinked["locations"]] == [(ID, "lot-1", 2)]
    assert bays_api.UnlinkedPage.model_validate(unlinked)
    confirmed = await desk.post(f"{LINKS}/confirmation", "officer")
    assert (confirmed.status_code, confirmed.json()["state"], confirmed.json()["by"]) == (200, "confirmed", "officer")
    assert (await desk.ask("GET", "/charging/v1/unlinked-locations", "officer")).json()["locations"] == []
    withdrawn = await desk.post(f"{LINKS}/withdrawal", "admin")
    assert (withdrawn.json()["state"], withdrawn.json()["by"]) == ("withdrawn", "city_admin")
    assert [event.body().get("place_id") for event in await desk.town.told()] == [None, "lot-1", None]
    async with desk.town.db.read() as tx:
        rows = await tx.all(link_version.select().order_by(link_version.c.id))
    assert rows[0].subject is None
    assert len({row.subject for row in rows}) == 3
    assert not {"officer-7", "admin"} & {row.subject for row in rows}
    assert "officer-7" not in confirmed.text


async def test_a_key_makes_a_repetition_safe(desk: Desk) -> None:
    """The stored answer again, even after the state moved on; another body under the key is refused."""
    await desk.put()
    first = await desk.post(f"{LINKS}/confirmation", "officer", idempotency_key="k1")
    await desk.post(f"{LINKS}/withdrawal", "officer", idempotency_key="k2")
    again = await desk.post(f"{LINKS}/confirmation", "officer", idempotency_key="k1")
    assert (again.status_code, again.content) == (200, first.content)
    assert slug(await desk.post(f"{LINKS}/confirmation", "officer", "lot-2", idempotency_key="k1")) == "idempotency-key-reused"
    assert len(await desk.town.told()) == 3
    refused = await desk.post(f"{LINKS}/rejection", "officer", "lot-9", idempotency_key="k3")
    assert (refused.status_code, slug(refused)) == (404, "link-unknown")


@pytest.mark.parametrize(
    "path, who, status",
    [
        (CLAIMS, None, 401),
        (CLAIMS, "rival", 403),
        (CLAIMS, "nobody", 403),
        (CLAIMS, "officer", 403),
        (f"{LINKS}/confirmation", None, 401),
        (f"{LINKS}/confirmation", "operator", 403),
        (f"{LINKS}/rejection", "citizen", 403),
        (f"{LINKS}/withdrawal", "operator", 403),
        (f"/charging/v1/locations/{RIVAL}*S001/place-claims", "operator", 403),
        (f"/charging/v1/locations/{OPERATOR}*none/place-claims", "operator", 404),
        ("/charging/v1/locations/x/place-claims", "operator", 404),
        (f"/charging/v1/place-links/{OPERATOR}*none/confirmation", "officer", 404),
        ("/charging/v1/place-links/..%2Fx/confirmation", "officer", 404),
        (f"{LINKS}/rejection", "officer", 404),
        (f"{LINKS}/withdrawal", "admin", 404),
    ],
)
async def test_who_may_not_and_what_is_not_there(desk: Desk, path: str, who: str | None, status: int) -> None:
    """A claim is its operator's, a decision the city's."""
    await desk.put()
    assert (await desk.post(path, who)).status_code == status
    assert await desk.town.count(link_version) == 0


@pytest.mark.parametrize("place_id", ["", "../x", "a" * 65, "lot\x00", "lot 1", 7, None, ["lot-1"]])
async def test_a_car_park_that_cannot_be_one_is_a_problem(desk: Desk, place_id: object) -> None:
    """In a claim and in a decision."""
    await desk.put()
    for path, who in ((CLAIMS, "operator"), (f"{LINKS}/confirmation", "officer")):
        assert (await desk.post(path, who, place_id)).status_code == 422
    assert (await desk.ask("POST", CLAIMS, json={"place_id": "lot-1", "bay_nos": ["1", "1"]})).status_code == 422


async def test_links_that_are_decided_are_conflicts(desk: Desk) -> None:
    """Another car park for a confirmed station, by whomever."""
    await desk.put()
    await desk.post(f"{LINKS}/confirmation", "officer")
    for path, who, place_id in (
        (CLAIMS, "operator", "lot-2"),
        (f"{LINKS}/confirmation", "officer", "lot-2"),
        (f"{LINKS}/rejection", "officer", "lot-1"),
    ):
        answer = await desk.post(path, who, place_id)
        assert (answer.status_code, slug(answer)) == (409, "link-decided")


async def test_lists_come_in_pages(desk: Desk) -> None:
    """Behind a cursor; one that is none of ours is a bad request."""
    for number in range(1, 6):
        await desk.put(path=f"/charging/v1/locations/{OPERATOR}*S{number}", evses=[])
        await desk.post(f"/charging/v1/place-links/{OPERATOR}*S{number}/confirmation", "officer", f"lot-{number}")
    found: list[str] = []
    cursor = ""
    while True:
        page = (await desk.ask("GET", f"/charging/v1/place-links?limit=2{cursor}", "officer")).json()
        found += [each["place_id"] for each in page["links"]]
        if "next_cursor" not in page:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == [f"lot-{number}" for number in range(1, 6)]
    for path in ("place-links?cursor=x", "place-links?cursor=%ff", "unlinked-locations?cursor='"):
        assert (await desk.ask("GET", f"/charging/v1/{path}", "officer")).status_code == 400
    for path in ("place-links?limit=0", "place-links?state=maybe", "unlinked-locations?limit=501"):
        assert (await desk.ask("GET", f"/charging/v1/{path}", "officer")).status_code == 422


def stock(desk: Desk, **changes: object) -> dict[str, object]:
    count = {"vehicle_class": "passenger", "drive": "bev", "standard": True, "vehicles": 2600}
    return {"on": city_day(desk.town.clock.now()).isoformat(), "source": "police", "counts": [count], **changes}


async def test_the_registered_stock_is_stated_corrected_and_read(desk: Desk) -> None:
    """By an officer; a second statement for the day is its next version."""
    assert (await desk.ask("GET", VEHICLES, "officer")).status_code == 404
    made = await desk.ask("PUT", VEHICLES, "officer", json=stock(desk))
    assert (made.status_code, made.json()["version"], made.json()["vehicles"]) == (200, 1, 2600)
    assert vehicles_api.StockView.model_validate(made.json())
    buses = {"vehicle_class": "bus", "drive": "bev", "standard": True, "vehicles": 40, "district": "d1"}
    corrected = await desk.ask("PUT", VEHICLES, "admin", json=stock(desk, counts=[buses]))
    assert (corrected.json()["version"], corrected.json()["vehicles"]) == (2, 40)
    assert (await desk.ask("GET", VEHICLES, "officer")).json() == corrected.json()
    assert (await desk.ask("GET", f"{VEHICLES}?on=2020-01-01", "officer")).status_code == 404


@pytest.mark.parametrize("who, status", [(None, 401), ("citizen", 403), ("operator", 403)])
async def test_only_the_city_states_and_reads_the_stock(desk: Desk, who: str | None, status: int) -> None:
    """Neither operators nor citizens."""
    assert (await desk.ask("PUT", VEHICLES, who, json=stock(desk))).status_code == status
    assert (await desk.ask("GET", VEHICLES, who)).status_code == status


COUNT = {"vehicle_class": "passenger", "drive": "bev", "standard": True, "vehicles": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"on": "2999-01-01"},
        {"on": "1999-12-31"},
        {"on": "yesterday"},
        {"on": None},
        {"source": ""},
        {"source": "a\x00"},
        {"source": "x" * 101},
        {"counts": []},
        {"counts": [COUNT] * 2},
        {"counts": [COUNT] * 501},
        {"counts": [{**COUNT, "vehicles": -1}]},
        {"counts": [{**COUNT, "vehicles": "1"}]},
        {"counts": [{**COUNT, "vehicles": 1.5}]},
        {"counts": [{**COUNT, "vehicles": 10**9}]},
        {"counts": [{**COUNT, "vehicle_class": "tank"}]},
        {"counts": [{**COUNT, "drive": "diesel"}]},
        {"counts": [{**COUNT, "standard": 1}]},
        {"counts": [{**COUNT, "district": ""}]},
        {"counts": [{**COUNT, "district": "a\x00"}]},
        {"counts": [{**COUNT, "more": 1}]},
        {"more": 1},
    ],
)
async def test_a_stock_that_cannot_be_true_is_a_problem(desk: Desk, changes: dict[str, object]) -> None:
    """422, nothing half-written."""
    assert (await desk.ask("PUT", VEHICLES, "officer", json=stock(desk, **changes))).status_code == 422
    assert (await desk.ask("GET", VEHICLES, "officer")).status_code == 404
