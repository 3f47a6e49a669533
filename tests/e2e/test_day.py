"""A day of collection over HTTP against real processes: imported, planned by the night job, published, made anew after a breakdown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from cityloop_common import invented
from cityloop_common.clock import CITY_TZ, SystemClock, instant
from tests.e2e.conftest import replicas
from tests.e2e.processes import City, Process, embedded
from tests.e2e.test_city import Town
from tests.support import PATIENCE_S, wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-day"), pytest.mark.timeout(900)]
SERVICES = ("parking", "charging", "waste")
LONG_S = 120.0
STREAM = "construction"  # no point of the sample has it
SETTINGS = {  # whatever the hour of the test
    "CITYLOOP_WASTE_NIGHT_PLANS": "when-ready",
    "CITYLOOP_WASTE_NIGHT_AT": "00:00",
    "CITYLOOP_WASTE_PLANS_DUE_AT": "00:01",
    "CITYLOOP_WASTE_NIGHT_UNTIL": "23:59",
    "CITYLOOP_WASTE_NIGHT_SECONDS": "1",
}


@dataclass(slots=True)
class Day(Town):
    """The town, and the processes of which one may be killed."""

    workers: Sequence[Process] = ()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["embedded", pytest.param("replicas", marks=pytest.mark.stack)])
async def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Day]:
    """The invented city, still: `cityloop dev`, and two API replicas and two workers of each service."""
    folder = tmp_path_factory.mktemp("day")
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE_S))
        if request.param == "embedded":
            process: Process = await stack.enter_async_context(embedded(folder, **SETTINGS))
            urls = dict.fromkeys(SERVICES, process.url)
            made = Day(urls, urls, process.settings, folder, http, workers=(process,))
        else:
            running: City = await stack.enter_async_context(replicas(folder, request.getfixturevalue("stack"), SERVICES, **SETTINGS))
            urls = {service: running.apis_of[service][0].url for service in SERVICES}
            others = {service: running.apis_of[service][1].url for service in SERVICES}
            made = Day(urls, others, running.settings, folder, http, workers=running.workers_of["waste"])
            for service in SERVICES:
                await made.command(service, "sample")
        await wait_until(lambda: _has_places(made), LONG_S, every=0.2, what="drivers see the car parks")
        yield made


async def _has_places(town: Day) -> bool:
    found = await town.get("parking", "places", near="109.787,39.565", radius_m="8000", limit="100")
    assert len(found["places"]) == 60, f"{len(found['places'])} car parks"
    return True


def _registry(folder: Path) -> dict[str, Path]:
    """Files of two trucks, a site, and a stop at each of eight kerbs, to be served within two hours, in an hour's time."""
    now = SystemClock().now().astimezone(CITY_TZ)
    minutes = now.hour * 60 + now.minute + 60
    window = f"{minutes // 60:02d}:{minutes % 60:02d}-{minutes // 60 + 2:02d}:{minutes % 60:02d}"
    kerbs = [spot for spot in invented.car_parks() if spot.kerbside][:8]
    site = next(spot for spot in invented.sites() if spot.kind == "landfill")
    points = [f"E{n},工地{n},{spot.position.lon},{spot.position.lat},{window},400,900,120,2" for n, spot in enumerate(kerbs)]
    trucks = [f"C0{n},sample-operator,{STREAM},depot-1,1300,9000,00:00-36:00,9000,1800" for n in (1, 2)]
    tip = f"tip-1,landfill,弃土场,sample-operator,{site.position.lon},{site.position.lat},{STREAM},300,60,00:00-24:00"
    rows = {
        "trucks": ["id,operator_id,stream,depot,capacity_kg,capacity_dm3,shift,day_kg,overtime_s", *trucks],
        "sites": ["id,kind,name,operator_id,lon,lat,streams,service_s,queue_s,opening", tip],
        "points": [f"id,name,lon,lat,windows,{STREAM}_kg,{STREAM}_dm3,{STREAM}_s,{STREAM}_containers", *points],
    }
    files = {name: folder / f"{name}.csv" for name in rows}
    for name, file in files.items():
        file.write_text("\n".join(rows[name]) + "\n", encoding="utf-8")
    return files


async def _night_plan(town: Day) -> Any:
    """The plan that the night job asked for, once it is published."""

    async def published() -> Any:
        runs = {each["stream"]: each for each in (await town.get("waste", "night-runs"))["runs"]}
        if STREAM not in runs:
            return None
        assert runs[STREAM]["outcome"] == "asked", runs
        plan = await town.get("waste", f"plans/{runs[STREAM]['plan_id']}")
        assert plan["state"] in {"waiting", "solving", "ready", "published"}, plan
        return plan if plan["state"] == "published" else None

    return await wait_until(published, 2 * LONG_S, every=0.2, what="the night job's plan is published")


async def _closed_for(town: Day, plan: Any) -> bool:
    """Whether parking announces every section closed while this plan needs it (other streams' plans close some of them, too)."""
    shown = {each["place_id"]: (await town.place(each["place_id"]))["closures"] for each in plan["closures"]}
    return all(
        any(
            instant(one["starts_at"]) <= instant(each["starts_at"]) and instant(each["ends_at"]) <= instant(one["ends_at"])
            for one in windows
        )
        for each in plan["closures"]
        for windows in (shown[each["place_id"]],)
    )


async def test_story_5_a_day_from_import_to_a_breakdown(town: Day) -> None:
    """Import > night job > plan published > bays closed in parking > breakdown > replan > old and new compared."""
    for name, file in _registry(town.folder).items():
        report = await town.command("waste", "import", str(file), "--format", name, "--datum", "wgs84", "--json")
        assert (report["rejected"], report["accepted"]) == ([], report["read"])
    old = await _night_plan(town)
    assert (old["verified"], old["figures"]["stops"], old["unserved"], old["base_map_changed"]) == (True, 8, [], False)
    assert {visit["id"] for route in old["routes"] for visit in route["visits"] if visit["kind"] == "unload"} <= {"tip-1", "landfill-1"}
    assert len(old["closures"]) >= 8
    await wait_until(lambda: _closed_for(town, old), LONG_S, every=0.1, what="parking closes the bays")

    route = max(old["routes"], key=lambda each: sum(1 for visit in each["visits"] if visit["kind"] == "stop"))
    stops = [visit for visit in route["visits"] if visit["kind"] == "stop"]
    at = instant(stops[1]["departs_at"]) + timedelta(seconds=1)
    body = {"at": at.isoformat(), "broken": [route["truck"]], "publish": "when-ready", "seconds": 1}
    asked = await town.send("POST", "waste", f"plans/{old['id']}/replans", body, "dispatcher")

    async def published() -> Any:
        plan = await town.get("waste", f"plans/{asked['plan_id']}")
        assert plan["state"] in {"waiting", "solving", "ready", "published"}, plan
        return plan if plan["state"] == "published" else None

    new = await wait_until(published, LONG_S, every=0.1, what="the new plan is published")
    assert (new["replaces"], new["reasons"], new["version"]) == (old["id"], ["breakdown"], old["version"] + 1)
    assert new["stranded"] == [{"truck": route["truck"], "load_kg": stops[1]["load_kg"], "load_dm3": stops[1]["load_dm3"]}]
    assert (await town.get("waste", f"plans/{old['id']}"))["state"] == "superseded"
    served = {visit["id"]: each["truck"] for each in new["routes"] for visit in each["visits"] if visit["kind"] == "stop"}
    assert len(served) + len(new["unserved"]) == 8
    assert all(served[visit["id"]] == route["truck"] for visit in stops[:2]), "done stops stay done"
    assert all(served.get(visit["id"]) != route["truck"] for visit in stops[2:])
    compared = await town.get("waste", f"plans/{new['id']}/comparison")
    moved = {each["stop"] for each in compared["moved"]}
    assert {visit["id"] for visit in stops[2:]} <= moved
    assert compared["distance_m"] == new["figures"]["distance_m"] - old["figures"]["distance_m"]
    await wait_until(lambda: _closed_for(town, new), LONG_S, every=0.1, what="parking closes what the new plan needs")
    headers = town.bearer("crew")
    for each in new["routes"]:
        where = f"{town.reads['waste']}/waste/v1/plans/{new['id']}/manifests/{each['truck']}"
        for shown in ("html", "gpx", "geojson", "csv"):
            paper = await town.http.get(where, params={"format": shown}, headers=headers)
            assert (paper.status_code, len(paper.content) > 500) == (200, True)


async def test_story_17_a_worker_killed_in_mid_solve_loses_no_plan(town: Day) -> None:
    """kill -9 while it searches: another worker, or the same one started anew, takes the job again; the plan comes, once."""
    wish = {"stream": "recyclable", "seconds": 10}
    made = await town.send("POST", "waste", "plans", wish, "dispatcher")

    async def state(*wanted: str) -> Any:
        plan = await town.get("waste", f"plans/{made['plan_id']}")
        assert plan["state"] in {"waiting", "solving", "ready"}, plan
        return plan if plan["state"] in wanted else None

    await wait_until(lambda: state("solving"), LONG_S, every=0.05, what="it is searched")
    for worker in town.workers:
        worker.kill()
    for worker in town.workers:
        worker.start()
    for worker in town.workers:
        await worker.ready()
    plan = await wait_until(lambda: state("ready"), 2 * LONG_S, every=0.2, what="it is found after all")
    assert plan["verified"]
    assert plan["progress"]["attempts"] >= 2, "the dead worker's and another one's: a machine that stalls for a lease may need one more"
    published = await town.send("POST", "waste", f"plans/{plan['id']}/publication", {}, "dispatcher")
    assert published["state"] == "published"


async def test_a_search_is_ended_with_its_best(town: Day) -> None:
    """Asked for five minutes, ended at once: the best so far is ready before."""
    made = await town.send("POST", "waste", "plans", {"stream": "hazardous", "seconds": 300}, "dispatcher")

    async def told() -> Any:
        plan = await town.get("waste", f"plans/{made['plan_id']}")
        assert (plan["progress"]["note"] or "").endswith("unserved") or plan["state"] == "ready", plan["progress"]
        return plan

    await wait_until(told, LONG_S, every=0.1, what="there is a plan")
    await town.send("POST", "waste", f"plans/{made['plan_id']}/completion", {}, "dispatcher")

    async def ready() -> Any:
        plan = await town.get("waste", f"plans/{made['plan_id']}")
        return plan if plan["state"] == "ready" else None

    plan = await wait_until(ready, LONG_S, every=0.1, what="the best so far is kept")
    assert plan["verified"]
    assert instant(plan["created_at"]) + timedelta(seconds=290) > datetime.now(CITY_TZ)
