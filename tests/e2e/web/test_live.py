"""What happens in the city is on the page within two seconds, without a reload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Browser

from tests.e2e.web.browser import expect
from tests.e2e.web.page import SOON_MS, opened, rows, show
from tests.e2e.web.town import STATION, Town

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e-web")]
Record = Callable[[str, object], None]


async def took_s(change: Awaitable[object], seen: Awaitable[object]) -> float:
    """Seconds from before a change was sent until it was seen."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await change
    await seen
    return loop.time() - began


async def test_a_count_is_on_the_page_within_two_seconds(browser: Browser, town: Town, record_property: Record) -> None:
    """Five counts of an operator, each seen in the row and in the facts of the chosen car park."""
    async with opened(browser, town, lang="zh") as seen:
        row = seen.by_id("place-row-sample-001")
        await row.locator("button").first.click()
        slowest = 0.0
        for occupied in (11, 140, 33, 178, 0):
            free = seen.by_id("selection").get_by_text(f"普通：空 {180 - occupied} / 共 180")
            slowest = max(slowest, await took_s(town.count("sample-001", occupied), expect(free).to_be_visible(timeout=SOON_MS)))
            shown = (await town.get("/parking/v1/places/sample-001"))["capacity"]
            assert shown["standard"] == 180
        await expect(row.locator("time")).to_have_text("刚刚")
        record_property("count_on_page_s", round(slowest, 3))
        print(f"a count is on the page after {slowest:.3f} s at most")


async def test_a_charger_is_on_the_page_within_two_seconds(browser: Browser, town: Town, record_property: Record) -> None:
    """Five statuses through T/CEC 102: free, charging, out of order, each seen in the station's row."""
    async with opened(browser, town, lang="zh") as seen:
        await show(seen, "stations")
        row = seen.by_id(f"station-row-{STATION}")
        slowest = 0.0
        for status, word in ((1, "空闲"), (3, "充电中"), (255, "故障"), (1, "空闲"), (3, "充电中")):
            slowest = max(slowest, await took_s(town.charge(status), expect(row).to_contain_text(word, timeout=SOON_MS)))
        record_property("charger_on_page_s", round(slowest, 3))
        print(f"a charger is on the page after {slowest:.3f} s at most")


async def test_routes_come_and_go_with_their_plan(browser: Browser, town: Town, record_property: Record) -> None:
    """A plan that is published is in the table and on the map within two seconds, and leaves both when it is withdrawn."""
    plan_id = await town.plan("recyclable")
    async with opened(browser, town, lang="zh") as seen:
        await show(seen, "routes")
        mine = seen.page.locator(f"[data-testid^='route-row-{plan_id}-']")
        before = await rows(seen, "route").count()
        drawn = seen.by_id("map")
        await expect(drawn).to_have_attribute("data-routes", str(before))
        slowest = await took_s(town.decide(plan_id, "publication"), expect(mine.first).to_be_visible(timeout=SOON_MS))
        published = await mine.count()
        assert published >= 1
        await expect(drawn).to_have_attribute("data-routes", str(before + published))
        slowest = max(slowest, await took_s(town.decide(plan_id, "withdrawal"), expect(mine).to_have_count(0, timeout=SOON_MS)))
        await expect(drawn).to_have_attribute("data-routes", str(before))
        record_property("routes_on_page_s", round(slowest, 3))


async def test_a_reading_eye_keeps_its_place(browser: Browser, town: Town) -> None:
    """A change touches neither what is typed in the filter, nor the chosen row, nor where the focus is."""
    async with opened(browser, town, lang="zh") as seen:
        row = seen.by_id("place-row-sample-002")
        name = await row.locator("button").first.inner_text()
        await seen.page.locator("#places-text").fill(name)
        await row.locator("button").first.focus()
        await seen.page.keyboard.press("Enter")
        await town.count("sample-002", 7)
        await expect(seen.by_id("selection")).to_contain_text("空 413 / 共 420", timeout=SOON_MS)
        assert await seen.page.locator("#places-text").input_value() == name
        await expect(row).to_have_attribute("aria-current", "true")
        assert await row.locator("button").first.evaluate("at => at === document.activeElement")
