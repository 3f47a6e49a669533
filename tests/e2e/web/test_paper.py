"""The page on paper, for who wants no motion, and in a city that has nothing yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.e2e.processes import Process, embedded
from tests.e2e.web.browser import expect, settled, shown, visit
from tests.e2e.web.page import READY_MS, SERVICES, WEB, drawn, opened, rows
from tests.e2e.web.town import Town

pytestmark = WEB
PLACE, SPACES = "sample-010", 447
_MOVING = "document.getAnimations().filter((each) => each.effect.getComputedTiming().duration > 10).length"
_CHANGING = """(name) => {
  window.__moved = 0
  const look = () => { window.__moved = Math.max(window.__moved, MOVING); requestAnimationFrame(look) }
  look()
}""".replace("MOVING", _MOVING)
# What changed last begins to move with the next frame, which a busy machine may draw late; `look` sees it in the one after.
_MOVED = """() => new Promise((told) => {
  const later = (frames) => requestAnimationFrame(() => (frames > 1 ? later(frames - 1) : told(window.__moved)))
  later(3)
})"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def empty(tmp_path_factory: pytest.TempPathFactory, built: Path) -> AsyncIterator[Process]:
    """A city without a sample: no car park, no station, no plan."""
    async with embedded(tmp_path_factory.mktemp("empty"), CITYLOOP_SAMPLE="off") as process:
        yield process


async def test_on_paper_there_are_figures_and_all_tables(browser: Browser, town: Town) -> None:
    """No map and no controls; the three tables with their heads, all rows; Chromium makes a PDF of several pages."""
    async with opened(browser, town, lang="zh") as seen:
        kinds = {kind: await rows(seen, kind).count() for kind in ("place", "station", "route")}
        assert min(kinds.values()) > 0
        await seen.page.emulate_media(media="print")
        for kind in kinds:
            await expect(rows(seen, kind).last).to_be_visible()
        assert await seen.page.locator("thead").first.evaluate("head => getComputedStyle(head).display") == "table-header-group"
        for hidden in ("map", "language", "theme"):
            await expect(seen.by_id(hidden)).not_to_be_visible()
        await expect(seen.by_id("indicator-facilities-value")).to_be_visible()
        paper = await seen.page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert 3 <= paper.count(b"/Type /Page\n") <= 12, paper.count(b"/Type /Page\n")


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
async def test_a_change_lights_up_only_for_who_wants_motion(motion: str, browser: Browser, town: Town) -> None:
    """A changed number moves for a moment; not for a visitor who asked for less motion, who sees it all the same."""
    await town.count(PLACE, 100)
    async with opened(browser, town, lang="zh", reduced_motion=motion) as seen:
        free = seen.by_id(f"place-row-{PLACE}").locator("strong")
        await expect(free).to_have_text(str(SPACES - 100))
        await seen.page.evaluate(_CHANGING)
        for occupied in (3, 30):
            await town.count(PLACE, occupied)
            await expect(free).to_have_text(str(SPACES - occupied))
        moved = await seen.page.evaluate(_MOVED)
        assert (moved > 0) == (motion == "no-preference")


@pytest.mark.parametrize("lang, nothing", [("zh", "无数据"), ("en", "No data")])
async def test_an_empty_city_says_that_there_is_nothing(lang: str, nothing: str, browser: Browser, empty: Process) -> None:
    """No data is a word, never a 0; the page is whole, and its map has no sign on it."""
    async with visit(browser, empty.url, lang=lang) as seen:
        for service in SERVICES:
            await expect(seen.by_id(f"live-{service}")).to_have_attribute("data-phase", "live", timeout=READY_MS)
        await expect(seen.by_id("map")).to_have_attribute("data-ready", "true", timeout=READY_MS)
        for name in ("live-places", "ev-bay-share", "pile-ratio", "facilities", "recycling-rate"):
            await expect(seen.by_id(f"indicator-{name}-value")).to_have_text(nothing)
            await expect(seen.by_id(f"indicator-{name}")).to_have_attribute("data-status", "no_data")
        for table in ("places", "stations", "routes"):
            await seen.page.locator(f"#tab-{table}").click()
            await expect(seen.page.locator(f"#panel-{table} .nothing")).to_be_visible()
        await expect(seen.by_id("map")).to_have_attribute("data-places", "0")
        assert (await drawn(seen)).colours > 0
        assert not await seen.axe()
        await settled(seen)
        faults = [each for each in seen.faults if "/waste/v1/base-map" not in each]  # nobody brought one: 404
        assert not faults, shown(faults)
