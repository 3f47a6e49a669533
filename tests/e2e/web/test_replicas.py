"""The same page over the distributed form: pages from parking's replicas, three services behind one address."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.e2e.conftest import replicas
from tests.e2e.processes import City, Process, command
from tests.e2e.web.browser import PATIENCE_MS, Visit, expect, settled, shown
from tests.e2e.web.conftest import missing
from tests.e2e.web.page import READY_MS, Stopwatch, opened, rows
from tests.e2e.web.town import STATION, Town
from tests.integration.balancer import balanced, program
from tests.support import wait_until

pytestmark = [
    pytest.mark.stack,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("e2e-web-replicas"),
    pytest.mark.timeout(600),
]
SERVICES = ("parking", "charging", "waste")
FEW = {f"CITYLOOP_{service.upper()}_DATABASE_POOL": "4" for service in SERVICES}  # another city may run beside this one: 200 in all


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def spread(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, built: Path) -> AsyncIterator[tuple[Town, City]]:
    """The invented city on two API replicas and two workers of each service, behind HAProxy."""
    if program() is None:
        missing("no haproxy: apt-get install haproxy")
    folder = tmp_path_factory.mktemp("spread")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(replicas(folder, request.getfixturevalue("stack"), SERVICES, **FEW))
        for service in SERVICES:
            done = await asyncio.to_thread(command, running.settings, folder, service, "sample")
            assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        balancer = await stack.enter_async_context(balanced(running, folder))
        url = f"http://127.0.0.1:{balancer.port}"
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=120))
        writes = {service: running.apis_of[service][0].url for service in SERVICES}
        made = Town(url, writes, running.settings, folder, http, operator="sample-operator")
        stack.push_async_callback(made.leave)
        await made.join()
        await made.have_routes("hazardous")

        async def known() -> bool:
            """By every replica: what one of them learns later comes to a page with its next reading only."""
            for service, of, count in (("parking", "places", 60), ("charging", "locations", 41)):
                for api in running.apis_of[service]:
                    answer = await http.get(f"{api.url}/{service}/v1/overview")
                    assert answer.status_code == 200, answer.text
                    assert len(answer.json()[of]) == count, f"{api.arguments} {api.port} knows {len(answer.json()[of])} {of} of {count}"
            return True

        await wait_until(known, 120, every=0.2, what="all replicas know the city")
        yield made, running


async def test_the_page_is_live_over_replicas(browser: Browser, spread: tuple[Town, City]) -> None:
    """Everything loads through one address without a fault; what one replica takes is on the page within two seconds."""
    town, _ = spread
    async with opened(browser, town, lang="zh") as seen:
        await settled(seen)
        await expect(rows(seen, "station")).to_have_count(41)
        drives = sum(len(plan["routes"]) for plan in (await town.get("/waste/v1/routes"))["plans"])
        await expect(rows(seen, "route")).to_have_count(drives)
        await expect(seen.by_id("map")).to_have_attribute("data-routes", str(drives))
        row = seen.by_id("place-row-sample-001")
        await row.locator("button").first.click()
        counts, chargers = Stopwatch(), Stopwatch()
        for occupied in (11, 140, 33):
            free = seen.by_id("selection").get_by_text(f"普通：空 {180 - occupied} / 共 180")
            await counts.time(town.count("sample-001", occupied), expect(free).to_be_visible(timeout=PATIENCE_MS))
        await seen.page.locator("#tab-stations").click()
        await seen.by_id(f"station-row-{STATION}").locator("button").first.click()
        for status, word in ((1, "空闲"), (3, "充电中"), (255, "故障")):
            facts = expect(seen.by_id("selection")).to_contain_text(f"{word}：1", timeout=PATIENCE_MS)
            await chargers.time(town.charge(status), facts)
        counts.check("a count through replicas is")
        chargers.check("a charger through replicas is")
        assert not seen.faults, shown(seen.faults)
        assert await seen.refused() == []
        assert seen.other_hosts() == set()


async def test_the_page_goes_on_when_a_replica_is_gone(browser: Browser, spread: tuple[Town, City]) -> None:
    """The replica of parking's that has the page's stream is killed: the page opens one to the other, and nothing is missed."""
    town, running = spread
    async with opened(browser, town, lang="zh") as seen:
        await seen.by_id("place-row-sample-002").locator("button").first.click()
        apis = running.apis_of["parking"]
        gone = await _streams_to_one(town, apis)
        left = next(each for each in apis if each is not gone)
        asked = _streams(seen)
        assert asked > 0
        gone.kill()
        try:
            elsewhere = replace(town, writes={**town.writes, "parking": left.url})
            await elsewhere.count("sample-002", 123)
            facts = seen.by_id("selection")
            await expect(facts).to_contain_text("普通：空 297 / 共 420", timeout=READY_MS)
            await expect(seen.by_id("live-parking")).to_have_attribute("data-phase", "live", timeout=READY_MS)
            await expect(seen.by_id("frozen")).to_have_count(0)
            assert _streams(seen) > asked

            async def one_there() -> bool:
                assert (clients := await _clients(town, left)) == 1, f"{clients} streams"
                return True

            await wait_until(one_there, PATIENCE_MS / 1000, every=0.2, what="the page's stream is at the other replica, once")
            await elsewhere.count("sample-002", 124)
            await expect(facts).to_contain_text("普通：空 296 / 共 420", timeout=PATIENCE_MS)
        finally:
            gone.start()
            await gone.ready()


def _streams(seen: Visit) -> int:
    """How often the page asked for parking's stream."""
    return sum(each.is_stream and urlsplit(each.url).path == "/parking/v1/stream" for each in seen.loaded.values())


async def _streams_to_one(town: Town, apis: Sequence[Process]) -> Process:
    """The replica that has the only stream; streams of pages that were closed may take a moment to end."""
    found: list[Process] = []

    async def one() -> bool:
        counts = {each.url: await _clients(town, each) for each in apis}
        found[:] = [each for each in apis if counts[each.url] == 1]
        assert sum(counts.values()) == 1, counts
        return True

    await wait_until(one, PATIENCE_MS / 1000, every=0.2, what="one replica of parking's has the page's stream")
    return found[0]


async def _clients(town: Town, api: Process) -> int:
    """Open event streams of a replica, by its own figures."""
    told = (await town.http.get(f"{api.url}/metrics")).text
    counts = re.findall(r'^sse_clients\{service="parking"\} (\S+)$', told, re.MULTILINE)
    return int(sum(map(float, counts)))  # none before the first one
