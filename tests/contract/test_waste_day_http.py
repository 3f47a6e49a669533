"""The day over HTTP: made anew, compared, ended early, taken along as a paper; and what the night job did."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cityloop_common import http
from cityloop_common.clock import day_begins, rfc3339
from cityloop_common.network import parse_networks
from cityloop_waste.planning import night, use_cases
from cityloop_waste.planning.plans import PlanState
from cityloop_waste.service import SERVICE, api_parts
from tests.contract.test_waste_http import Desk, Tokens
from tests.contract.waste_support import TODAY, PlayedPool, solved, town

NOWHERE = "01a217ac-8aac-7600-99a4-5f766d5bc32c"
HERE = {"lon": 109.79, "lat": 39.57}
STOP = {"id": "U1", "position": HERE, "demand_kg": 50, "demand_dm3": 90, "service_s": 60}


@pytest.fixture
async def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A replica of the API over a furnished town that is planned by the product's own planner."""
    monkeypatch.setattr("cityloop_common.jobs.POLL_S", 0.02)
    async with town(f"sqlite:///{tmp_path / 'waste.db'}", tmp_path, pool=PlayedPool(solved)) as opened:
        await opened.furnish()
        opened.clock.go_on_at(day_begins(TODAY) + timedelta(hours=4))  # before the trucks leave
        app = http.create_app(opened.ctx, title="t", version="1", routers=SERVICE.routers, verifier=Tokens(), health=http.Health())
        for name, value in api_parts(opened.ctx).state.items():
            setattr(app.state, name, value)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as client:
            yield Desk(opened, client)


async def published(desk: Desk) -> dict[str, Any]:
    """A published plan as it is shown."""
    asked = await desk.town.ask()
    async with desk.town.working():
        await desk.town.until(asked.id, PlanState.READY)
    await desk.town.publish(asked.id)
    shown: dict[str, Any] = (await desk.send("GET", f"/plans/{asked.id}", "dispatcher")).json()
    return shown


def after_first_stop(plan: dict[str, Any]) -> str:
    """The instant at which the first truck has left its first stop."""
    return str(plan["routes"][0]["visits"][1]["departs_at"])


async def test_a_breakdown_from_the_first_word_to_the_crews_paper(counter: Desk) -> None:
    """Asked for with a key, searched, shown with what is stranded, compared, published; every crew gets its whole day."""
    old = await published(counter)
    broken = old["routes"][0]["truck"]
    body = {"at": after_first_stop(old), "broken": [broken], "closed_roads": [], "publish": "when-ready", "seconds": 1}
    asked = await counter.send("POST", f"/plans/{old['id']}/replans", "dispatcher", body=body, key="k1")
    assert asked.status_code == 202, asked.text
    new_id = asked.json()["plan_id"]
    assert (asked.json()["replaces"], asked.json()["reasons"]) == (old["id"], ["breakdown"])
    assert asked.headers["location"] == f"/waste/v1/plans/{new_id}"
    again = await counter.send("POST", f"/plans/{old['id']}/replans", "dispatcher", body=body, key="k1")
    assert again.json() == asked.json()
    second = await counter.send("POST", f"/plans/{old['id']}/replans", "dispatcher", body=body)
    assert (second.status_code, second.json()["type"].rpartition(":")[2]) == (409, "replan-running")
    async with counter.town.working():
        await counter.town.until(new_id, PlanState.PUBLISHED)
    shown = (await counter.send("GET", f"/plans/{new_id}", "crew")).json()
    assert (shown["replaces"], shown["reasons"], shown["version"]) == (old["id"], ["breakdown"], 2)
    assert shown["stranded"] == [{"truck": broken, "load_kg": 100, "load_dm3": 200}]
    assert shown["figures"]["stops"] == 3
    compared = (await counter.send("GET", f"/plans/{new_id}/comparison", "city_admin")).json()
    assert (compared["before"]["id"], compared["after"]["id"], len(compared["moved"])) == (old["id"], new_id, 2)
    turned = (await counter.send("GET", f"/plans/{old['id']}/comparison?with={new_id}", "crew")).json()
    assert turned["distance_m"] == -compared["distance_m"]
    for route in shown["routes"]:
        paper = await counter.send("GET", f"/plans/{new_id}/manifests/{route['truck']}?lang=en", "crew")
        assert (paper.status_code, paper.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert ("broke down" in paper.text) is (route["truck"] == broken)


@pytest.mark.parametrize(
    "wanted, media",
    [
        ({"params": {"format": "html"}}, "text/html; charset=utf-8"),
        ({"params": {"format": "gpx"}}, "application/gpx+xml"),
        ({"params": {"format": "geojson"}}, "application/geo+json"),
        ({"params": {"format": "csv"}}, "text/csv; charset=utf-8"),
        ({"accept": "application/gpx+xml, text/html;q=0.5"}, "application/gpx+xml"),
        ({"accept": "text/csv;q=0.9, application/geo+json;q=0.95"}, "application/geo+json"),
        ({"accept": "image/png"}, "text/html; charset=utf-8"),
    ],
)
async def test_a_manifest_comes_as_it_is_wanted(counter: Desk, wanted: dict[str, Any], media: str) -> None:
    """By name or by Accept; pages load nothing and run nothing."""
    plan = await published(counter)
    headers = {"authorization": "Bearer crew", "accept": wanted.get("accept", "*/*")}
    address = f"/waste/v1/plans/{plan['id']}/manifests/{plan['routes'][0]['truck']}"
    answer = await counter.client.get(address, headers=headers, params=wanted.get("params", {}))
    assert (answer.status_code, answer.headers["content-type"], answer.headers["vary"]) == (200, media, "Accept")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert f"2026-11-26-kitchen-{plan['routes'][0]['truck']}." in answer.headers["content-disposition"]


async def test_the_description_says_what_a_manifest_is(counter: Desk) -> None:
    """Text, but for GeoJSON: whoever asks for it gets an object."""
    paths = (await counter.client.get("/waste/v1/openapi.json")).json()["paths"]
    for name in ("manifests", "manifests/{truck}"):
        content = paths[f"/waste/v1/plans/{{plan_id}}/{name}"]["get"]["responses"]["200"]["content"]
        assert {media: each["schema"]["type"] for media, each in content.items()} == {
            "text/html": "string", "application/gpx+xml": "string", "application/geo+json": "object", "text/csv": "string",
        }  # fmt: skip


async def test_the_papers_code_opens_on_a_phone(counter: Desk) -> None:
    """The address as the caller sees it; a proxy that is trusted may say it; a setting has the last word; no header breaks the paper."""
    plan = await published(counter)
    truck = plan["routes"][0]["truck"]
    address = f"/waste/v1/plans/{plan['id']}/manifests/{truck}"

    async def base(**headers: str) -> str:
        told = {"authorization": "Bearer crew", **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = await counter.client.get(address, headers=told)
        assert answer.status_code == 200
        found = re.search(r": ([^<]*)</footer>", answer.text)
        assert found is not None
        assert found[1].endswith(address)
        return found[1].removesuffix(address)

    proxy = {"x_forwarded_proto": "https", "x_forwarded_host": "city.example"}
    assert [await base(), await base(**proxy), await base(host="h" * 3000), await base(host="a b")] == ["http://city"] * 2 + [""] * 2
    app = counter.client._transport.app  # type: ignore[attr-defined]
    app.state.trusted_proxies = parse_networks(["127.0.0.1/32"])
    assert [await base(), await base(**proxy)] == ["http://city", "https://city.example"]
    assert await base(x_forwarded_proto="javascript") == ""
    counter.town.ctx.settings.__dict__["public_url"] = "https://waste.example/city"
    assert await base(**proxy) == "https://waste.example/city"
    by_name = f"/plans/{plan['id']}/manifests?truck={truck}&format=csv"
    assert (await counter.send("GET", by_name, "crew")).content == (await counter.send("GET", f"{address[9:]}?format=csv", "crew")).content
    assert (await counter.send("GET", f"/plans/{plan['id']}/manifests?truck=a%2Fb", "crew")).json()["type"].endswith("route-unknown")


async def test_what_is_not_there_has_no_manifest_and_no_comparison(counter: Desk) -> None:
    """404 with what is missing, 409 before there are routes, 422 for a format that nobody knows."""
    plan, waiting = await published(counter), await counter.town.ask()
    for path, status, slug in (
        (f"/plans/{NOWHERE}/manifests/T01", 404, "plan-unknown"),
        (f"/plans/{plan['id']}/manifests/T99", 404, "route-unknown"),
        (f"/plans/{waiting.id}/manifests/T01", 409, "plan-without-routes"),
        (f"/plans/{plan['id']}/manifests/T01?format=pdf", 422, "invalid"),
        (f"/plans/{plan['id']}/comparison", 404, "plan-unknown"),
        (f"/plans/{plan['id']}/comparison?with={NOWHERE}", 404, "plan-unknown"),
        (f"/plans/{plan['id']}/comparison?with={waiting.id}", 409, "plan-without-routes"),
    ):
        answer = await counter.send("GET", path, "dispatcher")
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, slug), path


async def test_what_was_emptied_is_compared_with_nothing(counter: Desk) -> None:
    """30 days after its day a plan that never held has no routes any more, on either side."""
    held = await published(counter)
    other = await counter.town.ready()
    assert (await counter.send("GET", f"/plans/{held['id']}/comparison?with={other.id}", "crew")).status_code == 200
    counter.town.clock.move(days=31)
    assert await use_cases.empty(counter.town.ctx) == 1
    for path in (f"/plans/{held['id']}/comparison?with={other.id}", f"/plans/{other.id}/comparison?with={held['id']}"):
        answer = await counter.send("GET", path, "crew")
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "plan-without-routes")


BAD: list[tuple[dict[str, Any], str, str | None]] = [
    ({"broken": ["T99"]}, "replan-invalid", None),
    ({"broken": "T01"}, "invalid", "/body/broken"),
    ({"broken": ["T\x00"]}, "invalid", "/body/broken/0"),
    ({"urgent": [STOP, STOP], "datum": "wgs84"}, "replan-invalid", None),
    ({"positions": {"T01": {"position": HERE}}}, "datum-missing", None),
    ({"positions": {"T01": {"position": HERE}}, "datum": "mars"}, "datum-unknown", None),
    (
        {"positions": {"T01": {"position": {"lon": 39.57, "lat": 109.79}}}, "datum": "wgs84"},
        "problem-invalid",
        "/body/positions/T01/position",
    ),
    ({"positions": {"a/b": {"position": {"lon": 9, "lat": 9}}}, "datum": "wgs84"}, "problem-invalid", "/body/positions/a~1b/position"),
    ({"positions": {"T01": {"position": HERE, "load_kg": 5001}}, "datum": "wgs84"}, "replan-invalid", None),
    ({"positions": {"T01": {"position": HERE, "load_kg": -1}}, "datum": "wgs84"}, "invalid", "/body/positions/T01/load_kg"),
    ({"closed_roads": [HERE]}, "datum-missing", None),
    ({"closed_roads": [{"lon": 1.0, "lat": 1.0}], "datum": "wgs84"}, "problem-invalid", "/body/closed_roads/0"),
    ({"closed_roads": ["x"] * 1001}, "invalid", "/body/closed_roads"),
    ({"urgent": [STOP]}, "datum-missing", None),
    ({"urgent": [{**STOP, "trucks": ["T77"]}], "datum": "wgs84"}, "problem-invalid", None),
    ({"urgent": [{"point_id": "P77"}]}, "replan-invalid", None),
    ({"urgent": [{"point_id": "P1"}]}, "replan-invalid", None),
    ({"at": "2026-11-26T10:00:00"}, "invalid", "/body/at"),
    ({"at": "2026-11-20T10:00:00Z"}, "replan-invalid", None),
    ({"at": "0001-01-01T00:00:00+14:00"}, "invalid", "/body/at"),
    ({"at": "9999-12-31T00:00:00Z"}, "replan-invalid", None),
    ({"seconds": 0}, "invalid", "/body/seconds"),
    ({"seconds": 5.5}, "invalid", "/body/seconds"),
    ({"overtime_s": -1}, "invalid", "/body/overtime_s"),
    ({"publish": "now"}, "invalid", "/body/publish"),
    ({"more": 1}, "invalid", "/body/more"),
]


async def test_a_replan_that_cannot_be_asked_for_says_what_is_wrong(counter: Desk) -> None:
    """422 with a slug and a pointer, nothing written."""
    plan = await published(counter)
    before = await counter.rows()
    for body, slug, pointer in BAD:
        raw = json.dumps({"at": after_first_stop(plan), **body}).encode()
        answer = await counter.send("POST", f"/plans/{plan['id']}/replans", "dispatcher", raw=raw, key="k1")
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, slug), (body, answer.text)
        if pointer is not None:
            assert any(each["pointer"].startswith(pointer) for each in answer.json()["errors"]), (body, answer.text)
    for raw in (b"{", b"[]", b'"x"', b'{"at": NaN}'):
        assert (await counter.send("POST", f"/plans/{plan['id']}/replans", "dispatcher", raw=raw)).status_code in {400, 422}
    assert await counter.rows() == before


async def test_a_replan_of_what_does_not_hold_is_refused(counter: Desk) -> None:
    """404 for none, 409 for one that is not published."""
    waiting = await counter.town.ask()
    for plan_id, status, slug in ((NOWHERE, 404, "plan-unknown"), ("x", 404, "plan-unknown"), (waiting.id, 409, "plan-not-published")):
        answer = await counter.send("POST", f"/plans/{plan_id}/replans", "dispatcher", body={})
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, slug)


async def test_everything_that_can_happen_may_be_told_at_once(counter: Desk) -> None:
    """A position in another datum, urgent stops given and of the registry, a road by name and by position, time beyond the shift."""
    old = await published(counter)
    truck = old["routes"][0]["truck"]
    body = {
        "at": after_first_stop(old), "datum": "gcj02", "seconds": 1, "overtime_s": 3600,
        "positions": {truck: {"position": HERE, "load_kg": 120}},
        "urgent": [STOP, {"point_id": "P2"}], "closed_roads": ["road", HERE],
    }  # fmt: skip
    asked = await counter.send("POST", f"/plans/{old['id']}/replans", "dispatcher", body=body)
    assert (asked.status_code, asked.json()["reasons"]) == (202, ["closed-road", "urgent-stop", "position"])
    async with counter.town.working():
        await counter.town.until(asked.json()["plan_id"], PlanState.READY)
    shown = (await counter.send("GET", f"/plans/{asked.json()['plan_id']}", "dispatcher")).json()
    (seen,) = [visit for visit in shown["routes"][0]["visits"] if visit["kind"] == "underway"]
    assert (round(seen["position"]["lon"], 3), seen["load_kg"]) == (109.784, 120), "half a kilometre west of what the map says"
    assert shown["figures"]["stops"] == 4


async def test_what_the_night_job_did_is_shown(counter: Desk) -> None:
    """Of today, or of the day that is asked for."""
    counter.town.clock.at, counter.town.clock.since = day_begins(TODAY) + timedelta(hours=3), None
    await night.ask(counter.town.ctx)
    told = (await counter.send("GET", "/night-runs", "dispatcher")).json()
    assert told["as_of"] == rfc3339(counter.town.clock.at)
    assert [(each["stream"], each["outcome"], each["reason"]) for each in told["runs"]] == [
        ("kitchen", "asked", None),
        ("other", "asked", None),
    ]
    assert (await counter.send("GET", "/night-runs?date=2026-11-25", "city_admin")).json()["runs"] == []
    assert (await counter.send("GET", "/night-runs?date=x", "dispatcher")).status_code == 422
