"""The page as its visitors use it: when it is all there, what stands in its rows, what its map has drawn."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, Locator

from tests.e2e.web.browser import Visit, expect, visit
from tests.e2e.web.town import Town

# Of the tests that share one city: whoever is first starts it and the browser, too.
WEB = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e-web"), pytest.mark.timeout(400)]
SERVICES = ("parking", "charging", "waste")
SOON_S = 2.0  # what a change may take to the page: `make bench ARGS=j` holds it to that; tests share their machine
READY_MS = 120_000  # the page gives a reading 15 s, and what it cannot read it reads again, ever later
_DRAWN = """(map) => {
  const frame = map.getBoundingClientRect(), sheet = document.createElement('canvas')
  sheet.width = Math.round(frame.width), sheet.height = Math.round(frame.height)
  const pen = sheet.getContext('2d')
  for (const canvas of map.querySelectorAll('canvas')) pen.drawImage(canvas, 0, 0, sheet.width, sheet.height)
  const pixels = new Uint32Array(pen.getImageData(0, 0, sheet.width, sheet.height).data.buffer)
  const counts = new Map()
  let sum = 0
  for (const pixel of pixels) {
    counts.set(pixel, (counts.get(pixel) ?? 0) + 1)
    sum = (Math.imul(sum, 31) + pixel) | 0
  }
  return { colours: counts.size, largest: Math.max(...counts.values()) / pixels.length, sum }
}"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The map's pixels: how many colours, the part of the most frequent one, and a sum that changes with any of them."""

    colours: int
    largest: float
    sum: int


@asynccontextmanager
async def opened(browser: Browser, town: Town, **how: Any) -> AsyncIterator[Visit]:
    """A new visitor whose page has everything: rows, figures, map, and three live streams."""
    async with visit(browser, town.url, **how) as seen:
        await complete(seen)
        yield seen


async def complete(seen: Visit) -> None:
    """Waits for rows, figures, the map, and three live streams."""
    for service in SERVICES:
        await expect(seen.by_id(f"live-{service}")).to_have_attribute("data-phase", "live", timeout=READY_MS)
    await expect(seen.by_id("map")).to_have_attribute("data-ready", "true", timeout=READY_MS)
    await expect(rows(seen, "place").first).to_be_attached(timeout=READY_MS)
    await expect(seen.by_id("indicator-facilities")).to_be_visible(timeout=READY_MS)


def rows(seen: Visit, kind: str) -> Locator:
    """The rows of `place`, `station` or `route`."""
    return seen.page.get_by_test_id(re.compile(f"^{kind}-row-"))


async def show(seen: Visit, table: str) -> None:
    """Brings a table to the front: `places`, `stations`, `routes`."""
    await seen.page.locator(f"#tab-{table}").click()


async def drawn(seen: Visit) -> Drawn:
    """What is on the map's canvases."""
    return Drawn(**await seen.by_id("map").evaluate(_DRAWN))


@dataclass(slots=True)
class Stopwatch:
    """How long changes take to the page."""

    took_s: list[float] = field(default_factory=list)

    async def time(self, change: Awaitable[object], shown: Awaitable[object]) -> None:
        """From before a change is sent until it is seen."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await change
        await shown
        self.took_s.append(loop.time() - began)

    def check(self, what: str) -> float:
        """The slowest; says whether the middle one was soon enough, as other work may stall any one."""
        soon = sorted(self.took_s)[len(self.took_s) // 2] <= SOON_S
        print(
            f"{what} on the page after {', '.join(f'{each:.3f}' for each in self.took_s)} s ({'' if soon else 'NOT '}within {SOON_S:g} s)"
        )
        return round(max(self.took_s), 3)


async def open_details(seen: Visit) -> None:
    """Opens every figure's districts and ways to count, and waits until they are read. Figures may change their order meanwhile."""
    closed = seen.page.locator("details:not([open]) > summary")
    while await closed.count():
        await closed.first.click()
    await expect(seen.page.locator("details[open] table").first).to_be_visible()
    await expect(seen.page.locator(".loading")).to_have_count(0)
