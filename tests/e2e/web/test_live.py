"""What happens in the city is on the page within two seconds, without a reload."""

from __future__ import annotations

from collections.abc import Callable

from playwright.async_api import Browser

from tests.e2e.web.browser import PATIENCE_MS, expect
from tests.e2e.web.page import WEB, Stopwatch, opened, rows, show
from tests.e2e.web.town import STATION, Town

pytestmark = WEB
Record = Callable[[str, object], None]


async def test_a_count_is_on_the_page_within_two_seconds(browser: Browser, town: Town, record_property: Record) -> None:
    """Five counts of an operator, each seen in the row and in the facts of the chosen car park."""
    async with opened(browser, town, lang="zh") as seen:
        row = seen.by_id("place-row-sample-001")
        await row.locator("button").first.click()
        watch = Stopwatch()
        for occupied in (11, 140, 33, 178, 0):
            free = seen.by_id("selection").get_by_text(f"普通：空 {180 - occupied} / 共 180")
            await watch.time(town.count("sample-001", occupied), expect(free).to_be_visible(timeout=PATIENCE_MS))
        await expect(row.locator("time")).to_have_text("刚刚")
        record_property("count_on_page_s", watch.check("a count is"))


async def test_a_charger_is_on_the_page_within_two_seconds(browser: Browser, town: Town, record_property: Record) -> None:
    """Five statuses through T/CEC 102: free, charging, out of order, each seen in the facts of the chosen station."""
    async with opened(browser, town, lang="zh") as seen:
        await show(seen, "stations")
        await seen.by_id(f"station-row-{STATION}").locator("button").first.click()
        watch = Stopwatch()
        for status, word in ((1, "空闲"), (3, "充电中"), (255, "故障"), (1, "空闲"), (3, "充电中")):
            facts = expect(seen.by_id("selection")).to_contain_text(f"{word}：1", timeout=PATIENCE_MS)
            await watch.time(town.charge(status), facts)
        record_property("charger_on_page_s", watch.check("a charger is"))


async def test_routes_come_and_go_with_their_plan(browser: Browser, town: Town, record_property: Record) -> None:
    """A plan that is published, a newer one in its place, and its withdrawal: in the table and on the map within two seconds."""
    await town.not_at_midnight()
    plans = [await town.plan("recyclable") for _ in range(2)]
    async with opened(browser, town, lang="zh") as seen:
        await show(seen, "routes")
        on_map, watch = seen.by_id("map"), Stopwatch()
        before = sum(len(plan["routes"]) for plan in (await town.get("/waste/v1/routes"))["plans"])
        await expect(rows(seen, "route")).to_have_count(before)
        await expect(on_map).to_have_attribute("data-routes", str(before))
        older, newer = (seen.page.locator(f"[data-testid^='route-row-{each}-']") for each in plans)
        await watch.time(town.decide(plans[0], "publication"), expect(older.first).to_be_visible(timeout=PATIENCE_MS))
        await watch.time(town.decide(plans[1], "publication"), expect(newer.first).to_be_visible(timeout=PATIENCE_MS))
        await expect(older).to_have_count(0)
        drives = sum(len(plan["routes"]) for plan in (await town.get("/waste/v1/routes"))["plans"] if plan["plan_id"] == plans[1])
        await expect(newer).to_have_count(drives)
        await expect(on_map).to_have_attribute("data-routes", str(before + drives))
        await watch.time(town.decide(plans[1], "withdrawal"), expect(newer).to_have_count(0, timeout=PATIENCE_MS))
        await expect(on_map).to_have_attribute("data-routes", str(before))
        record_property("routes_on_page_s", watch.check("a plan is"))


async def test_a_reading_eye_keeps_its_place(browser: Browser, town: Town) -> None:
    """A change touches neither what is typed in the filter, nor the chosen row, nor where the focus is."""
    async with opened(browser, town, lang="zh") as seen:
        row = seen.by_id("place-row-sample-002")
        name = await row.locator("button").first.inner_text()
        await seen.page.locator("#places-text").fill(name)
        await row.locator("button").first.focus()
        await seen.page.keyboard.press("Enter")
        await town.count("sample-002", 7)
        await expect(seen.by_id("selection")).to_contain_text("空 413 / 共 420", timeout=PATIENCE_MS)
        assert await seen.page.locator("#places-text").input_value() == name
        await expect(row).to_have_attribute("aria-current", "true")
        assert await row.locator("button").first.evaluate("at => at === document.activeElement")
