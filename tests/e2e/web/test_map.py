"""The map beside its tables, and everything by keyboard alone."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests.e2e.web.browser import PATIENCE_MS, Visit, expect, settled
from tests.e2e.web.page import WEB, drawn, opened, rows, show
from tests.e2e.web.town import Town
from tests.support import wait_until

pytestmark = WEB
_FOCUSED = """() => {
  const at = document.activeElement
  if (!at || at === document.body) return null
  const style = getComputedStyle(at), box = at.getBoundingClientRect()
  const partner = at.matches('input[type=checkbox]') ? at.closest('label') : null
  const ringed = (each) => each && (getComputedStyle(each).outlineStyle !== 'none' && parseFloat(getComputedStyle(each).outlineWidth) >= 1)
  at.dataset.reached = 'yes'
  return {
    name: `${at.tagName.toLowerCase()} ${at.id || at.dataset.testid || at.ariaLabel || at.textContent.trim()}`.slice(0, 60),
    ringed: Boolean(ringed(at) || ringed(partner) || style.boxShadow !== 'none'),
    seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  }
}"""
_NOT_REACHED = """() => [...document.querySelectorAll('a[href],button,input,select,textarea,summary,[tabindex]')]
  .filter((each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility({ visibilityProperty: true }) && !each.dataset.reached)
  .map((each) => `${each.tagName} ${each.id || each.ariaLabel || each.textContent.trim()}`.slice(0, 60))"""


async def count(seen: Visit, kind: str) -> int:
    """How many of a kind the map itself holds."""
    return int(await seen.by_id("map").get_attribute(f"data-{kind}s") or -1)


async def test_the_map_shows_what_the_tables_show(browser: Browser, town: Town) -> None:
    """As many car parks, stations and routes on the map as in the tables and in the services' answers; and it is drawn."""
    await town.not_at_midnight()
    plans = (await town.get("/waste/v1/routes"))["plans"]
    there = {
        "place": len((await town.get("/parking/v1/overview"))["places"]),
        "station": len((await town.get("/charging/v1/overview"))["locations"]),
        "route": sum(len(plan["routes"]) for plan in plans),
    }
    assert there["place"] >= 60
    assert there["station"] >= 41
    assert there["route"] >= 2
    async with opened(browser, town, lang="zh") as seen:
        for kind, expected in there.items():
            await show(seen, f"{kind}s")
            await expect(rows(seen, kind)).to_have_count(expected)
            await expect(seen.by_id("map")).to_have_attribute(f"data-{kind}s", str(expected))

        async def inked() -> bool:
            now = await drawn(seen)
            assert (now.colours > 200, now.largest < 0.98) == (True, True), now
            return True

        await wait_until(inked, what="the map has signs, roads and names on it")


async def test_what_is_hidden_or_chosen_changes_the_map(browser: Browser, town: Town) -> None:
    """A layer that is turned off leaves the map; a chosen row is marked on it, and its facts are shown."""
    async with opened(browser, town, lang="en") as seen:
        await town.have_rest(60)
        whole = await _still(seen)
        layer = seen.page.get_by_label("Car parks", exact=True).and_(seen.page.locator("input"))
        await layer.uncheck()
        await _changes(seen, whole)
        await layer.check()
        await wait_until(lambda: _is(seen, whole), PATIENCE_MS / 1000, what="the map is as it was")
        row = rows(seen, "place").nth(2)
        await row.locator("button").first.click()
        await expect(row).to_have_attribute("aria-current", "true")
        await expect(seen.by_id("selection")).to_contain_text(await row.locator("button").first.inner_text())
        await _changes(seen, whole)


async def test_everything_is_reached_by_tab_and_seen(browser: Browser, town: Town) -> None:
    """Tab goes through all that can be used, in view and ringed, and out again."""
    await town.have_closed_figures()
    async with opened(browser, town, lang="zh") as seen:
        await town.have_rest(60)  # nothing changes its place in a list while Tab goes through it
        faults: list[str] = []
        for _ in range(400):
            await seen.page.keyboard.press("Tab")
            at = await seen.page.evaluate(_FOCUSED)
            if at is None:
                break
            faults += [f"{at['name']}: {what}" for what in ("ringed", "seen") if not at[what]]
        else:
            pytest.fail("Tab never leaves the page")
        assert not faults, faults
        assert await seen.page.evaluate(_NOT_REACHED) == []
        for needed in ("[data-testid=map]", "[data-testid=language] button", "#tab-places", "#places-text", "#panel-places .table-scroll"):
            await expect(seen.page.locator(f"{needed}[data-reached]").first).to_be_attached()


async def test_every_task_is_done_by_keyboard(browser: Browser, town: Town) -> None:
    """Arrows move the map, plus brings it nearer, Enter chooses in the middle and in a row; language and theme by Enter."""
    async with opened(browser, town, lang="zh", theme="light") as seen:
        await seen.by_id("map").focus()
        at_first = await _still(seen)
        await seen.page.keyboard.press("ArrowRight")
        moved = await _changes(seen, at_first)
        await seen.page.keyboard.press("+")
        await _changes(seen, moved)
        name = rows(seen, "place").nth(1).locator("button").first
        await name.focus()
        await seen.page.keyboard.press("Enter")
        await expect(rows(seen, "place").nth(1)).to_have_attribute("aria-current", "true")
        told = await seen.text("selection")
        assert (await name.inner_text()) in told
        await seen.by_id("map").focus()
        await seen.page.keyboard.press("Escape")
        await expect(seen.by_id("selection")).to_have_count(0)
        await seen.by_id("language").get_by_text("English").focus()
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.locator("html")).to_have_attribute("lang", "en")
        await seen.by_id("theme").locator("[data-value=dark]").focus()
        await seen.page.keyboard.press("Space")
        await expect(seen.page.locator("html")).to_have_attribute("data-theme", "dark")
        await seen.page.locator("#tab-places").focus()
        await seen.page.keyboard.press("ArrowRight")
        await expect(rows(seen, "station").first).to_be_visible()


async def test_enter_on_the_map_chooses_what_is_nearest_to_its_middle(browser: Browser, town: Town) -> None:
    """A car park that was brought to the middle of the map is chosen by Enter."""
    async with opened(browser, town, lang="zh") as seen:
        await seen.by_id("map").focus()
        await seen.page.keyboard.press("Enter")
        await expect(seen.by_id("selection")).to_be_visible()
        chosen = seen.page.locator("tr[aria-current=true] button").first
        assert (await chosen.inner_text()) in await seen.text("selection")


async def _still(seen: Visit) -> int:
    """The map's pixels once all that lies on it is read, and they no longer change."""
    await settled(seen)
    before: list[int] = []

    async def same() -> bool:
        before.append((await drawn(seen)).sum)
        return len(before) > 5 and len(set(before[-5:])) == 1

    await wait_until(same, PATIENCE_MS / 1000, every=0.1, what="the map stands still")
    return before[-1]


async def _changes(seen: Visit, before: int) -> int:
    async def changed() -> bool:
        return (await drawn(seen)).sum != before

    await wait_until(changed, PATIENCE_MS / 1000, every=0.05, what="the map changes")
    return await _still(seen)


async def _is(seen: Visit, expected: int) -> bool:
    return (await drawn(seen)).sum == expected
