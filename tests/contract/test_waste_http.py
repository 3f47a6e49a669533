"""Waste over HTTP: who may do what, answers that come again, bad input answered as problems with nothing half-written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from cityloop_common import http
from cityloop_common.auth import Access, Identity, Role, declared_access
from cityloop_common.errors import Unauthenticated
from cityloop_common.geo import Position, distance_m
from cityloop_common.tables import idempotency, job
from cityloop_waste.ledger.tables import generation_estimate, load
from cityloop_waste.ledger.tables import ticket as ticket_table
from cityloop_waste.planning import use_cases as planning
from cityloop_waste.planning.plans import PlanState
from cityloop_waste.planning.tables import plan
from cityloop_waste.roads import use_cases as roads
from cityloop_waste.roads.use_cases import BaseMap
from cityloop_waste.service import SERVICE, api_parts
from tests.contract.waste_support import Town, town

USERS = {role.value: Identity(role.value, frozenset({role}), 1e11, operator_id="op") for role in Role} | {
    "rival": Identity("rival", frozenset({Role.SITE_OPERATOR}), 1e11, operator_id="rival"),
    "nobody": Identity("nobody", frozenset({Role.SITE_OPERATOR}), 1e11),
}
DAY = {"stream": "kitchen", "date": "2026-11-26"}
LOAD = {
    "site_id": "biogas-1", "truck_id": "T01", "stream": "kitchen", "ticket_no": "A1", "gross_kg": 9000, "tare_kg": 5000,
    "weighed_at": "2026-11-26T09:00:00+08:00",
}  # fmt: skip
ESTIMATE = {"district": "d1", "on": "2026-11-25", "mass_kg": 5800, "method": "per head"}
PROBLEM: dict[str, Any] = {
    "stream": "other",
    "datum": "wgs84",
    "depot": {"lon": 109.78, "lat": 39.56},
    "stops": [{"id": "a", "position": {"lon": 109.787, "lat": 39.565}, "demand_kg": 10, "demand_dm3": 20, "service_s": 60}],
    "trucks": [
        {"id": "t", "capacity_kg": 100, "capacity_dm3": 100, "shift": {"start_s": 0, "end_s": 36000}, "streams": ["other"]},
    ],
    "sites": [{"id": "s", "position": {"lon": 109.79, "lat": 39.57}, "streams": ["other"], "service_s": 60}],
    "options": {"seconds": 1},
}


class Tokens:
    """Names as tokens."""

    async def verify(self, token: str) -> Identity:
        if token not in USERS:
            raise Unauthenticated
        return USERS[token]


@dataclass(frozen=True)
class Desk:
    """The town behind its HTTP door."""

    town: Town
    client: httpx.AsyncClient

    async def send(
        self, method: str, path: str, who: str | None = None, *, body: object = None, key: str | None = None, raw: bytes | None = None
    ) -> httpx.Response:
        """One request; whatever it answers is no 500, and every refusal a problem document."""
        headers = {} if who is None else {"authorization": f"Bearer {who}"}
        headers |= {"content-type": "application/json"} | ({} if key is None else {"idempotency-key": key})
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        answer = await self.client.request(method, f"/waste/v1{path}", headers=headers, content=content)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"].startswith("urn:cityloop:problem:")
        return answer

    async def rows(self) -> list[int]:
        """How much is written of all that can be asked for."""
        return [await self.town.count(table) for table in (plan, job, load, ticket_table, generation_estimate, idempotency)]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A replica of the API over a furnished town."""
    async with town(f"sqlite:///{tmp_path / 'waste.db'}", tmp_path) as opened:
        await opened.furnish()
        app = http.create_app(opened.ctx, title="t", version="1", routers=SERVICE.routers, verifier=Tokens(), health=http.Health())
        for name, value in api_parts(opened.ctx).state.items():
            setattr(app.state, name, value)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as client:
            yield Desk(opened, client)


async def test_a_plan_is_asked_for_searched_read_and_published(desk: Desk) -> None:
    """202 with its place; the same key the same plan; then routes with times, and the publication."""
    asked = await desk.send("POST", "/plans", "dispatcher", body=DAY, key="k1")
    assert asked.status_code == 202
    plan_id = asked.json()["plan_id"]
    assert (asked.headers["location"], asked.json()["state"]) == (f"/waste/v1/plans/{plan_id}", "waiting")
    again = await desk.send("POST", "/plans", "dispatcher", body=DAY, key="k1")
    assert (again.status_code, again.json()) == (202, asked.json())
    other = await desk.send("POST", "/plans", "dispatcher", body={**DAY, "seconds": 7}, key="k1")
    assert (other.status_code, other.json()["type"].rpartition(":")[2]) == (422, "idempotency-key-reused")
    assert await desk.town.count(plan) == 1
    async with desk.town.working():
        await desk.town.until(plan_id, PlanState.READY)
    body = (await desk.send("GET", f"/plans/{plan_id}", "crew")).json()
    assert (body["state"], body["verified"], body["travel"], body["unserved"]) == ("ready", True, "estimate", [])
    assert body["figures"] == {"trucks": 1, "stops": 3, "unserved": 0, "distance_m": 1000, "duration_s": 3000}
    visits = body["routes"][0]["visits"]
    assert [(visit["kind"], visit["id"]) for visit in visits[:2]] == [("depot-start", None), ("stop", "P1")]
    assert (visits[1]["arrives_at"], visits[1]["load_kg"]) == ("2026-11-25T22:10:00Z", 100)
    published = await desk.send("POST", f"/plans/{plan_id}/publication", "dispatcher")
    assert (published.status_code, published.json()["state"], published.json()["version"]) == (200, "published", 1)
    listed = (await desk.send("GET", "/plans?stream=kitchen&date=2026-11-26", "city_admin")).json()
    assert [each["id"] for each in listed["plans"]] == [plan_id]
    withdrawn = await desk.send("POST", f"/plans/{plan_id}/withdrawal", "dispatcher")
    assert withdrawn.json()["state"] == "withdrawn"
    async with desk.town.db.write() as tx:
        await tx.run(delete(job))  # as the kit does after a month
    old = await desk.send("GET", f"/plans/{plan_id}", "crew")
    assert (old.status_code, old.json()["progress"], len(old.json()["routes"])) == (200, None, 1)


async def test_a_load_is_taken_back_over_http(desk: Desk) -> None:
    """By its site's operator, with a reason, once however often it is sent; nobody else's word counts."""
    load_id = (await desk.send("POST", "/loads", "site_operator", body=LOAD)).json()["id"]
    path, why = f"/loads/{load_id}/voiding", {"reason": "weighed twice"}
    for who, body, status in ((None, why, 401), ("officer", why, 403), ("rival", why, 404), ("nobody", why, 403)):
        assert (await desk.send("POST", path, who, body=body)).status_code == status
    for refused in ({}, {"reason": ""}, {"reason": "x" * 201}, {"reason": "a\x00b"}, {"reason": 1}, {**why, "more": 1}):
        assert (await desk.send("POST", path, "site_operator", body=refused)).status_code == 422
    for unknown in ("%00", "nonsense", load_id.replace("-7", "-4", 1)):
        assert (await desk.send("POST", f"/loads/{unknown}/voiding", "site_operator", body=why)).status_code in (400, 404, 422)
    before = await desk.rows()
    first, again = [await desk.send("POST", path, "site_operator", body=why, key="v1") for _ in range(2)]
    other = await desk.send("POST", path, "site_operator", body={"reason": "another word"})
    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (other.status_code, other.json())
    assert (first.json()["void"], first.json()["void_reason"], first.json()["corrects"]) == (True, "weighed twice", load_id)
    versions = (await desk.send("GET", f"/loads/{load_id}", "officer")).json()["loads"]
    assert [(each["version"], each["void"], each["void_reason"]) for each in versions] == [(1, False, None), (2, True, "weighed twice")]
    assert (await desk.rows())[2] == before[2] + 1
    corrected = await desk.send("POST", "/loads", "site_operator", body={**LOAD, "gross_kg": 9100, "corrects": load_id})
    assert (corrected.status_code, corrected.json()["type"].rpartition(":")[2]) == (409, "load-voided")


async def test_a_full_problem_is_taken_as_it_is(desk: Desk) -> None:
    """GCJ-02 is converted; today when no day is named; a problem without a fitting truck is planned, not refused."""
    asked = await desk.send("POST", "/plans", "dispatcher", body={**PROBLEM, "datum": "gcj02", "publish": "when-ready"})
    assert asked.status_code == 202
    plan_id = asked.json()["plan_id"]
    kept = (await planning.find(desk.town.ctx, plan_id)).plan.problem
    assert kept is not None
    moved = Position(**kept["stops"][0]["position"])
    assert 450 < distance_m(moved, Position(109.787, 39.565)) < 550
    body = (await desk.send("GET", f"/plans/{plan_id}", "dispatcher")).json()
    assert (body["on"], body["publish"], body["seconds"], body["base_map"]) == ("2026-11-26", "when-ready", 1, None)
    unfit = {**PROBLEM, "trucks": [{**PROBLEM["trucks"][0], "streams": ["kitchen"]}]}
    assert (await desk.send("POST", "/plans", "dispatcher", body=unfit)).status_code == 202


def changed(path: str, value: object) -> dict[str, Any]:
    """The problem with one value changed; None takes it out."""
    made = json.loads(json.dumps(PROBLEM))
    at, *steps = path.split("/")
    target: Any = made
    for step in [at, *steps][:-1]:
        target = target[int(step)] if isinstance(target, list) else target[step]
    last = [at, *steps][-1]
    if value is None:
        del target[last]
    else:
        target[int(last) if isinstance(target, list) else last] = value
    return dict(made)


BAD_PLANS: list[tuple[object, str, str | None]] = [
    ({"stream": "plastic"}, "invalid", "/body/stream"),
    ({}, "invalid", "/body/stream"),
    ([], "invalid", "/body"),
    ({**DAY, "date": "tomorrow"}, "invalid", "/body/date"),
    ({**DAY, "date": "0001-01-01"}, "invalid", "/body/date"),
    ({**DAY, "date": "2026-11-25"}, "plan-day-over", None),
    ({**DAY, "seconds": 601}, "invalid", "/body/seconds"),
    ({**DAY, "seconds": True}, "invalid", "/body/seconds"),
    ({**DAY, "publish": "soon"}, "invalid", "/body/publish"),
    ({**DAY, "depot_id": "depot-9"}, "depot-ambiguous", None),
    ({**DAY, "more": 1}, "invalid", "/body/more"),
    ({"stream": "hazardous"}, "nothing-to-plan", None),
    (changed("stops", []), "invalid", "/body/stops"),
    (changed("trucks", []), "invalid", "/body/trucks"),
    (changed("datum", None), "datum-missing", None),
    (changed("datum", "nad27"), "datum-unknown", None),
    (changed("stream", "plastic"), "invalid", "/body/stream"),
    (changed("stops/0/position", {"lon": 39.565, "lat": 109.787}), "problem-invalid", "/body/stops/0/position"),
    (changed("depot", {"lon": 121.5, "lat": 25.0}), "problem-invalid", "/body/depot"),
    (changed("stops/0/position/lon", float("nan")), "invalid", "/body/stops/0/position/lon"),
    (changed("stops/0/position/lon", float("inf")), "invalid", "/body/stops/0/position/lon"),
    (changed("stops/0/demand_kg", -1), "invalid", "/body/stops/0/demand_kg"),
    (changed("stops/0/demand_kg", 1.5), "invalid", "/body/stops/0/demand_kg"),
    (changed("stops/0/demand_kg", 10**30), "invalid", "/body/stops/0/demand_kg"),
    (changed("stops/0/id", ""), "invalid", "/body/stops/0/id"),
    (changed("stops/0/windows", [{"start_s": 9, "end_s": 5}]), "problem-invalid", "/body/stops/0/windows/0"),
    (changed("trucks/0/shift", {"start_s": 9, "end_s": 5}), "problem-invalid", "/body/trucks/0/shift"),
    (changed("stops", PROBLEM["stops"] * 2), "problem-invalid", "/body/stops/1/id"),
    (changed("more", 1), "invalid", "/body/more"),
]


@pytest.mark.parametrize("body, slug, pointer", BAD_PLANS, ids=[f"{index}-{each[1]}" for index, each in enumerate(BAD_PLANS)])
async def test_a_plan_that_cannot_be_asked_for_says_what_is_wrong(desk: Desk, body: object, slug: str, pointer: str | None) -> None:
    """422 with a slug and a pointer, nothing written."""
    answer = await desk.send("POST", "/plans", "dispatcher", body=body, key="k1")
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, slug)
    if pointer is not None:
        assert pointer in [each["pointer"] for each in answer.json()["errors"]]
    assert await desk.rows() == [0] * 6


async def test_swapped_coordinates_and_another_datum_are_hinted_at(desk: Desk) -> None:
    """What people mix up most."""
    swapped = changed("stops/0/position", {"lon": 39.565, "lat": 109.787})
    assert "swapped" in (await desk.send("POST", "/plans", "dispatcher", body=swapped)).text


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"stream":' + b"[" * 50_000, b'{"stream": 1' + b"0" * 5000 + b"}"])
async def test_what_is_not_json_is_refused(desk: Desk, raw: bytes) -> None:
    """400, or 422 where the number alone is absurd."""
    assert (await desk.send("POST", "/plans", "dispatcher", raw=raw)).status_code in {400, 422}
    assert await desk.rows() == [0] * 6


@pytest.mark.parametrize("what", ["publication", "withdrawal", "cancellation", "completion"])
async def test_what_a_plans_state_does_not_allow(desk: Desk, what: str) -> None:
    """404 for none, 409 with the state."""
    for plan_id in ("01a217ac-8aac-7600-99a4-5f766d5bc32c", "x"):
        assert (await desk.send("POST", f"/plans/{plan_id}/{what}", "dispatcher")).status_code == 404
    waiting, ready = await desk.town.ask(), await desk.town.ready()
    cancelled = await desk.town.cancel((await desk.town.ask()).id)
    refused = {"publication": waiting, "withdrawal": ready, "cancellation": ready, "completion": cancelled}[what]
    answer = await desk.send("POST", f"/plans/{refused.id}/{what}", "dispatcher")
    assert (answer.status_code, refused.state.value in answer.json()["detail"]) == (409, True)


async def test_a_load_is_told_of_and_told_again(desk: Desk) -> None:
    """201, then 200 as a duplicate; a key answers the first answer; a correction is another load of the chain."""
    first = await desk.send("POST", "/loads", "site_operator", body=LOAD, key="k1")
    assert first.status_code == 201, first.text
    assert (first.status_code, first.json()["net_kg"], first.json()["duplicate"]) == (201, 4000, False)
    assert (await desk.send("POST", "/loads", "site_operator", body=LOAD, key="k1")).status_code == 201
    again = await desk.send("POST", "/loads", "site_operator", body=LOAD)
    assert (again.status_code, again.json()["duplicate"], again.json()["id"]) == (200, True, first.json()["id"])
    corrected = {**LOAD, "gross_kg": 8500, "corrects": first.json()["id"]}
    second = await desk.send("POST", "/loads", "site_operator", body=corrected)
    assert (second.status_code, second.json()["chain_id"], second.json()["version"]) == (201, first.json()["id"], 2)
    versions = (await desk.send("GET", f"/loads/{first.json()['id']}", "officer")).json()["loads"]
    assert [each["corrected_by"] for each in versions] == [second.json()["id"], None]
    listed = (await desk.send("GET", "/loads?from=2026-11-26&to=2026-11-26&site=biogas-1", "officer")).json()["loads"]
    assert [each["version"] for each in listed] == [2, 1]
    assert (await desk.send("GET", "/loads?from=2026-11-27", "officer")).json()["loads"] == []


BAD_LOADS: list[tuple[dict[str, Any], int, str]] = [
    ({"gross_kg": 4000}, 422, "net-not-positive"),
    ({"gross_kg": 5000}, 422, "net-not-positive"),
    ({"gross_kg": -1}, 422, "invalid"),
    ({"gross_kg": 9000.5}, 422, "invalid"),
    ({"gross_kg": "9000"}, 422, "invalid"),
    ({"gross_kg": 10**12}, 422, "invalid"),
    ({"gross_kg": True}, 422, "invalid"),
    ({"site_id": "nowhere"}, 422, "site-unknown"),
    ({"site_id": "rival-1"}, 403, "site-foreign"),
    ({"site_id": "a b"}, 422, "invalid"),
    ({"site_id": "a\x00b"}, 422, "invalid"),
    ({"truck_id": "T99"}, 422, "truck-unknown"),
    ({"truck_id": "T03", "site_id": "landfill-1"}, 422, "truck-foreign"),
    ({"stream": "plastic"}, 422, "invalid"),
    ({"stream": "other"}, 422, "stream-not-accepted"),
    ({"ticket_no": ""}, 422, "invalid"),
    ({"ticket_no": "a\x00b"}, 422, "load-invalid"),
    ({"ticket_no": "x" * 41}, 422, "invalid"),
    ({"weighed_at": "2026-11-26T10:06:00+08:00"}, 422, "load-from-the-future"),
    ({"weighed_at": "2026-11-26T09:00:00"}, 422, "invalid"),
    ({"weighed_at": "yesterday"}, 422, "invalid"),
    ({"weighed_at": 1}, 422, "invalid"),
    ({"weighed_at": "0001-01-01T00:00:00+14:00"}, 422, "invalid"),
    ({"weighed_at": "1999-01-01T00:00:00Z"}, 422, "load-invalid"),
    ({"corrects": "1"}, 422, "invalid"),
    ({"corrects": "01a217ac-8aac-7600-99a4-5f766d5bc32c"}, 422, "load-unknown"),
    ({"district": ""}, 422, "invalid"),
    ({"district": "d\x00"}, 422, "invalid"),
    ({"net_kg": 4000}, 422, "invalid"),
]


@pytest.mark.parametrize("changes, status, slug", BAD_LOADS, ids=[f"{index}-{each[2]}" for index, each in enumerate(BAD_LOADS)])
async def test_a_load_that_cannot_be_true_says_why(desk: Desk, changes: dict[str, Any], status: int, slug: str) -> None:
    """A clear answer, nothing half-written."""
    answer = await desk.send("POST", "/loads", "site_operator", body={**LOAD, **changes}, key="k1")
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, slug)
    assert await desk.rows() == [0] * 6
    assert await desk.town.told() == []


async def test_conflicts_of_loads_name_the_load(desk: Desk) -> None:
    """409 with the id of the load that is in the way."""
    first = (await desk.send("POST", "/loads", "site_operator", body=LOAD)).json()["id"]
    taken = await desk.send("POST", "/loads", "site_operator", body={**LOAD, "gross_kg": 9100})
    assert (taken.status_code, taken.json()["type"], taken.json()["load_id"]) == (409, "urn:cityloop:problem:ticket-taken", first)
    second = (await desk.send("POST", "/loads", "site_operator", body={**LOAD, "gross_kg": 9100, "corrects": first})).json()["id"]
    outdated = await desk.send("POST", "/loads", "site_operator", body={**LOAD, "gross_kg": 9200, "corrects": first})
    assert (outdated.status_code, outdated.json()["load_id"]) == (409, second)
    refused = await desk.send("POST", "/loads", "site_operator", body={**LOAD, "ticket_no": "Z", "gross_kg": 10})
    assert (refused.json()["gross_kg"], refused.json()["tare_kg"], refused.json()["net_kg"]) == (10, 5000, -4990)


async def test_estimates_are_put_and_read(desk: Desk) -> None:
    """The newest word counts; the version tells how often it changed."""
    assert (await desk.send("PUT", "/generation-estimates", "officer", body=ESTIMATE)).json()["version"] == 1
    assert (await desk.send("PUT", "/generation-estimates", "city_admin", body=ESTIMATE)).json()["version"] == 1
    changed_to = await desk.send("PUT", "/generation-estimates", "officer", body={**ESTIMATE, "mass_kg": 6000})
    assert (changed_to.json()["version"], changed_to.json()["mass_kg"]) == (2, 6000)
    listed = (await desk.send("GET", "/generation-estimates?from=2026-11-01&to=2026-11-30", "officer")).json()["estimates"]
    assert [(each["district"], each["on"], each["mass_kg"]) for each in listed] == [("d1", "2026-11-25", 6000)]


@pytest.mark.parametrize(
    "changes",
    [
        {"on": "2026-11-27"}, {"on": "0001-01-01"}, {"on": "9999-12-31"}, {"on": "x"}, {"mass_kg": -1}, {"mass_kg": 1.5},
        {"mass_kg": 10**30}, {"method": ""}, {"method": "a\x00"}, {"district": ""}, {"district": "x" * 81}, {"more": 1},
    ],
)  # fmt: skip
async def test_an_estimate_that_cannot_be_used_is_refused(desk: Desk, changes: dict[str, Any]) -> None:
    """422, nothing written."""
    assert (await desk.send("PUT", "/generation-estimates", "officer", body={**ESTIMATE, **changes})).status_code == 422
    assert await desk.rows() == [0] * 6


@pytest.mark.parametrize(
    "path",
    [
        "/loads?from=x", "/loads?to=0001-01-01", "/loads?from=9999-12-31", "/loads?from=0001-01-01T00:00:00%2B14:00", "/loads?limit=0",
        "/plans?date=x", "/plans?date=0001-01-01", "/plans?stream=x", "/points?limit=9999", "/points?stream=x",
        "/generation-estimates?from=2026-01-02&to=2026-01-01", "/generation-estimates?to=0001-01-01",
        "/generation-estimates?from=0001-01-01",
    ],
)  # fmt: skip
async def test_a_question_that_cannot_be_answered_is_refused(desk: Desk, path: str) -> None:
    """422 with what is wrong with it."""
    who = "officer" if path.startswith(("/loads", "/generation")) else "dispatcher"
    assert (await desk.send("GET", path, who)).status_code == 422


async def test_the_registry_is_shown_in_pages(desk: Desk) -> None:
    """Points, trucks with their colours, sites and depots."""
    page = (await desk.send("GET", "/points?limit=2", "dispatcher")).json()
    assert ([each["id"] for each in page["points"]], page["next_cursor"], page["datum"]) == (["P1", "P2"], "P2", "wgs84")
    rest = (await desk.send("GET", "/points?limit=2&cursor=P2", "dispatcher")).json()
    assert ([each["id"] for each in rest["points"]], rest.get("next_cursor")) == (["P3"], None)
    assert (await desk.send("GET", "/points?stream=hazardous", "dispatcher")).json()["points"] == []
    trucks = (await desk.send("GET", "/trucks?stream=kitchen", "city_admin")).json()["trucks"]
    assert [(each["id"], each["colour"], each["shift"]) for each in trucks] == [
        ("T01", "PANTONE 2259C", "05:00-13:00"),
        ("T03", "PANTONE 2259C", "05:00-13:00"),
    ]
    sites = (await desk.send("GET", "/sites", "dispatcher")).json()
    assert (len(sites["sites"]), [each["id"] for each in sites["depots"]]) == (6, ["depot-1"])


async def test_the_base_map_is_for_everybody(desk: Desk) -> None:
    """404 before there is one; then GeoJSON with its version, 304 for who has it."""
    assert (await desk.send("GET", "/base-map")).json()["type"].endswith("base-map-missing")
    await roads.import_map(desk.town.ctx, BaseMap("v1", b'{"type":"FeatureCollection","features":[]}', 0))
    found = await desk.send("GET", "/base-map")
    assert (found.headers["content-type"], found.headers["etag"], found.json()["features"]) == ("application/geo+json", '"v1"', [])
    seen = await desk.client.get("/waste/v1/base-map", headers={"if-none-match": '"v1"'})
    assert (seen.status_code, seen.content) == (304, b"")


PUBLIC: Access = "public"
CALLERS: dict[tuple[str, str], Access] = {
    ("POST", "/plans"): frozenset({Role.DISPATCHER}),
    ("GET", "/plans/{plan_id}"): frozenset({Role.DISPATCHER, Role.CREW, Role.CITY_ADMIN}),
    ("GET", "/plans"): frozenset({Role.DISPATCHER, Role.CREW, Role.CITY_ADMIN}),
    ("POST", "/plans/{plan_id}/cancellation"): frozenset({Role.DISPATCHER}),
    ("POST", "/plans/{plan_id}/publication"): frozenset({Role.DISPATCHER}),
    ("POST", "/plans/{plan_id}/withdrawal"): frozenset({Role.DISPATCHER}),
    ("POST", "/plans/{plan_id}/completion"): frozenset({Role.DISPATCHER}),
    ("POST", "/plans/{plan_id}/replans"): frozenset({Role.DISPATCHER}),
    ("GET", "/plans/{plan_id}/comparison"): frozenset({Role.DISPATCHER, Role.CREW, Role.CITY_ADMIN}),
    ("GET", "/plans/{plan_id}/manifests/{truck}"): frozenset({Role.DISPATCHER, Role.CREW, Role.CITY_ADMIN}),
    ("GET", "/plans/{plan_id}/manifests"): frozenset({Role.DISPATCHER, Role.CREW, Role.CITY_ADMIN}),
    ("GET", "/night-runs"): frozenset({Role.DISPATCHER, Role.CITY_ADMIN}),
    ("GET", "/routes"): PUBLIC,
    ("GET", "/stream"): PUBLIC,
    ("POST", "/loads"): frozenset({Role.SITE_OPERATOR}),
    ("POST", "/loads/{load_id}/voiding"): frozenset({Role.SITE_OPERATOR}),
    ("GET", "/loads"): frozenset({Role.SITE_OPERATOR, Role.OFFICER, Role.CITY_ADMIN}),
    ("GET", "/loads/{load_id}"): frozenset({Role.SITE_OPERATOR, Role.OFFICER, Role.CITY_ADMIN}),
    ("PUT", "/generation-estimates"): frozenset({Role.OFFICER, Role.CITY_ADMIN}),
    ("GET", "/generation-estimates"): frozenset({Role.OFFICER, Role.CITY_ADMIN}),
    ("GET", "/points"): frozenset({Role.DISPATCHER, Role.CITY_ADMIN}),
    ("GET", "/trucks"): frozenset({Role.DISPATCHER, Role.CITY_ADMIN}),
    ("GET", "/sites"): frozenset({Role.DISPATCHER, Role.CITY_ADMIN}),
    ("GET", "/base-map"): PUBLIC,
}


async def test_every_route_says_who_may_call_it(desk: Desk) -> None:
    """Each is in the table, and the table is what the routes declare."""
    app = desk.client._transport.app  # type: ignore[attr-defined]
    declared = {
        (method, str(route.path).removeprefix("/waste/v1")): declared_access(route)
        for route in http.api_routes(app)
        for method in route.methods or ()
        if "/indicators" not in str(route.path)
    }
    assert declared == CALLERS


@pytest.mark.parametrize("method, path", [each for each, access in CALLERS.items() if access != PUBLIC])
async def test_nobody_else_gets_in(desk: Desk, method: str, path: str) -> None:
    """401 without a token, 403 for each other role; the allowed ones get past the door."""
    access = CALLERS[method, path]
    address = path.replace("{plan_id}", "x").replace("{load_id}", "x").replace("{truck}", "x")
    assert (await desk.send(method, address)).status_code == 401
    assert (await desk.send(method, address, "forged")).status_code == 401
    for role in Role:
        assert ((await desk.send(method, address, role.value)).status_code == 403) is (role not in access)
    assert await desk.rows() == [0] * 6


async def test_an_operator_writes_and_reads_its_own_site_only(desk: Desk) -> None:
    """Writing at another's is 403, reading another's load 404, a token without operator 403."""
    mine = (await desk.send("POST", "/loads", "site_operator", body=LOAD)).json()["id"]
    assert (await desk.send("POST", "/loads", "rival", body={**LOAD, "ticket_no": "X"})).status_code == 403
    assert (await desk.send("POST", "/loads", "nobody", body=LOAD)).status_code == 403
    assert (await desk.send("GET", "/loads", "nobody")).status_code == 403
    assert (await desk.send("GET", f"/loads/{mine}", "rival")).status_code == 404
    assert (await desk.send("GET", "/loads", "rival")).json()["loads"] == []
    theirs = {**LOAD, "site_id": "rival-1", "gross_kg": 8000, "corrects": mine}
    foreign = await desk.send("POST", "/loads", "rival", body=theirs)
    assert (foreign.status_code, foreign.json()["type"].rpartition(":")[2]) == (422, "load-unknown")
