"""`make screenshots`: pictures of the page over the live sample, into docs/images. Run it after what a visitor sees has changed."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, async_playwright

from tests.e2e.processes import embedded
from tests.e2e.web import browser as chrome
from tests.e2e.web.browser import Visit, expect
from tests.e2e.web.page import opened, rows, show
from tests.e2e.web.town import STREAMS, Town
from tests.support import REPOSITORY, wait_until

IMAGES = REPOSITORY / "docs" / "images"
MOST_BYTES = 600_000
WARM_S = 75  # figures are closed by then


async def main() -> int:
    """Writes every picture; exit status 1 when one is too large."""
    if chrome.chromium() is None:
        sys.exit("no chromium: apt-get install chromium fonts-noto-cjk")
    with tempfile.TemporaryDirectory() as folder:
        async with embedded(Path(folder), CITYLOOP_SAMPLE="live") as process, httpx.AsyncClient(timeout=60) as http:
            town = Town(process.url, {}, process.settings, Path(folder), http, process=process)
            await _is_busy(town)
            async with async_playwright() as playwright:
                browser = await chrome.launch(playwright)
                await _take_all(browser, town)
                await browser.close()
    large = [each.name for each in IMAGES.glob("city-*.png") if each.stat().st_size > MOST_BYTES]
    for each in sorted(IMAGES.glob("city-*.png")):
        sys.stderr.write(f"{each.relative_to(REPOSITORY)} {each.stat().st_size:,} bytes\n")
    sys.stderr.write(f"too large: {', '.join(large)}\n" if large else "")
    return 1 if large else 0


async def _is_busy(town: Town) -> None:
    """Every stream has its routes, and the figures are closed."""

    async def planned() -> bool:
        return len((await town.get("/waste/v1/routes"))["plans"]) == len(STREAMS)

    async def closed() -> bool:
        told = await town.get("/charging/v1/indicators")
        return all(each["schemes"][0]["value"] is not None for each in told["indicators"] if each["name"] != "recycling-rate")

    await wait_until(planned, 180, every=1, what="every stream has its routes")
    await wait_until(closed, WARM_S, every=1, what="the figures are closed")


async def _take_all(browser: Browser, town: Town) -> None:
    await _take(browser, town, "city-zh-light", lang="zh", theme="light")
    await _take(browser, town, "city-en-dark", lang="en", theme="dark")
    await _take(browser, town, "city-zh-phone", lang="zh", theme="light", width=360, scale=2)
    await _take(browser, town, "city-en-phone-dark", lang="en", theme="dark", width=360, scale=2)


async def _take(browser: Browser, town: Town, name: str, **how: Any) -> None:
    async with opened(browser, town, reduced_motion="reduce", **how) as seen:
        narrow = how.get("width", 1280) < 800
        if not narrow:
            await rows(seen, "place").nth(3).locator("button").first.click()
        else:
            await show(seen, "stations")
        await _drawn(seen)
        await seen.page.evaluate("scrollTo(0, 0)")
        await seen.page.screenshot(path=IMAGES / f"{name}.png", full_page=not narrow, animations="disabled", caret="hide")


async def _drawn(seen: Visit) -> None:
    await expect(seen.page.locator(".loading:visible")).to_have_count(0)
    await chrome.settled(seen)
    await seen.page.wait_for_timeout(500)  # the map's last frame


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
