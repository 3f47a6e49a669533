"""A page whose stream stops says since when, keeps its old numbers as old ones, and catches up by itself."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from playwright.async_api import Browser, Route

from cityloop_common.clock import CITY_TZ
from tests.e2e.processes import Process
from tests.e2e.web.browser import Visit, expect, visit
from tests.e2e.web.cable import cable
from tests.e2e.web.page import READY_MS, SERVICES, complete, opened, rows
from tests.e2e.web.town import Town

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e-web-waiting"), pytest.mark.timeout(600)]
BAYS = 284  # of sample-005
SILENT = timedelta(seconds=15)  # two pings missed, the first of which may have been late
ON_ITS_WAY = timedelta(seconds=5)  # what was sent before, and a busy machine brings later


@contextmanager
def stopped(process: Process) -> Iterator[None]:
    """The process neither answers nor closes anything, as when its machine hangs."""
    assert process.running is not None
    process.running.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.running.send_signal(signal.SIGCONT)


async def test_a_silent_server_freezes_the_page_and_its_return_thaws_it(browser: Browser, town: Town) -> None:
    """After two missed pings each service is said to be frozen since it was last heard; then what was sent meanwhile is there."""
    assert town.process is not None
    async with opened(browser, town, lang="zh") as seen:
        await town.count("sample-005", 40)
        row = seen.by_id("place-row-sample-005")
        await expect(row.locator("strong")).to_have_text(str(BAYS - 40))
        await expect(row).to_contain_text("实时")
        taken = await row.locator("time").get_attribute("datetime")
        heard = await _heard(seen)
        async with asyncio.TaskGroup() as group:
            with stopped(town.process):
                began = datetime.now(CITY_TZ)
                meanwhile = group.create_task(town.count("sample-005", 100))
                await expect(seen.by_id("frozen")).to_have_count(3, timeout=READY_MS)
                assert datetime.now(CITY_TZ) - max(heard.values()) > SILENT
                await _frozen_since(seen, heard, began + ON_ITS_WAY)
                await expect(row).not_to_contain_text("实时")  # an old number is never shown as a new one
                assert await row.locator("time").get_attribute("datetime") == taken
                assert await row.locator("strong").inner_text() == str(BAYS - 40)
                assert not meanwhile.done()
        await expect(seen.by_id("frozen")).to_have_count(0, timeout=READY_MS)
        await expect(row).to_contain_text("实时")
        await expect(row.locator("strong")).to_have_text(str(BAYS - 100))


async def test_without_a_network_the_page_is_frozen_at_once_and_catches_up(browser: Browser, town: Town) -> None:
    """What happened while the visitor was away is there when the network is, without a reload."""
    assert town.process is not None
    async with cable(town.process.port) as line, opened(browser, replace(town, url=line.url), lang="en") as seen:
        free = seen.by_id("place-row-sample-006").locator("strong")
        before, heard = await free.inner_text(), await _heard(seen)
        line.cut()
        cut = datetime.now(CITY_TZ)
        await expect(seen.by_id("frozen")).to_have_count(3)
        await _frozen_since(seen, heard, cut + ON_ITS_WAY)
        await town.count("sample-006", 299)
        assert await free.inner_text() == before
        line.mend()
        await expect(seen.by_id("frozen")).to_have_count(0, timeout=READY_MS)
        await expect(free).to_have_text(str(366 - 299))
        for service in SERVICES:
            await expect(seen.by_id(f"live-{service}")).to_have_attribute("data-phase", "live")


async def test_a_service_that_fails_alone_blanks_no_other(browser: Browser, town: Town) -> None:
    """Without charging the page says so, where its stations and figures would be; the rest is live. It comes back by itself."""
    broken = re.compile(r"/charging/v1/")

    async def refuse(route: Route) -> None:
        await route.abort("connectionrefused")

    async with visit(browser, town.url, path="/start") as seen:
        await seen.page.route(broken, refuse)
        await seen.page.goto("/?lang=en")
        await expect(seen.by_id("live-charging")).to_have_attribute("data-phase", "away", timeout=READY_MS)
        for service in ("parking", "waste"):
            await expect(seen.by_id(f"live-{service}")).to_have_attribute("data-phase", "live", timeout=READY_MS)
        await expect(seen.by_id("away")).to_contain_text("Charging")
        await expect(rows(seen, "place").first).to_be_visible()
        await expect(seen.by_id("indicator-live-places")).to_be_visible()
        await expect(seen.by_id("indicator-recycling-rate")).to_be_visible()
        await expect(seen.by_id("indicator-ev-bay-share")).to_have_count(0)
        await expect(seen.by_id("map")).to_have_attribute("data-ready", "true", timeout=READY_MS)
        await seen.page.locator("#tab-stations").click()
        await expect(seen.page.get_by_role("tabpanel").locator(".problem")).to_be_visible()
        assert not await seen.axe()
        await seen.page.unroute(broken, refuse)
        await complete(seen)
        await expect(rows(seen, "station").first).to_be_visible()
        await expect(seen.by_id("away")).to_have_count(0)


async def test_a_restarted_server_is_found_again(browser: Browser, town: Town) -> None:
    """kill -9, a new process on the old data: the page goes on without its visitor."""
    assert town.process is not None
    async with opened(browser, town, lang="en") as seen:
        town.process.kill()
        try:
            await expect(seen.by_id("frozen")).to_have_count(3, timeout=READY_MS)
        finally:
            town.process.start()
            await town.process.ready()
        await expect(seen.by_id("frozen")).to_have_count(0, timeout=READY_MS)
        await town.count("sample-007", 500)
        await expect(seen.by_id("place-row-sample-007").locator("strong")).to_have_text(str(574 - 500), timeout=READY_MS)


async def _heard(seen: Visit) -> dict[str, datetime]:
    """When the page heard each service last, by its own words."""
    titles = {service: await seen.by_id(f"live-{service}").get_attribute("title") for service in SERVICES}
    return {service: _instant(title or "") for service, title in titles.items()}


async def _frozen_since(seen: Visit, first: Mapping[str, datetime], last: datetime) -> None:
    """Each banner says an instant of the city: not before the service was heard, not after it could be."""
    for service in SERVICES:
        text = await seen.page.locator(f"[data-testid=frozen][data-service={service}]").inner_text()
        assert first[service] - ON_ITS_WAY <= _instant(text) <= last, (text, first[service], last)


def _instant(text: str) -> datetime:
    """The hour in a text as an instant of the last day."""
    hour = re.search(r"(\d\d):(\d\d):(\d\d)", text)
    assert hour, text
    now = datetime.now(CITY_TZ)
    told = now.replace(hour=int(hour[1]), minute=int(hour[2]), second=int(hour[3]), microsecond=0)
    return told - timedelta(days=1) if told > now + timedelta(hours=1) else told
