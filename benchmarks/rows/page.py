"""Rows j: the page of the city in Chromium: what its first load takes, when its list and its map are there, how soon a count is on it."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from playwright.async_api import Browser, async_playwright

from benchmarks.report import Measured
from tests.e2e.processes import embedded
from tests.e2e.web import browser as chrome
from tests.e2e.web.browser import Visit, expect, settled, visit
from tests.e2e.web.page import READY_MS, complete, drawn, rows
from tests.e2e.web.town import Town
from tests.support import wait_until

MOST_KB, MOST_REQUESTS = 200.0, 15
WANTED_MS = 2_000.0
COUNTS = 20
PLACE, BAYS = "sample-001", 180


async def measure(rounds: int) -> list[Measured]:
    """kB and milliseconds; the baseline of the times is a page of a few lines from the same server, that of a count its raw stream."""
    if chrome.chromium() is None:
        sys.exit("this row needs Chromium: apt-get install chromium fonts-noto-cjk")
    loads: list[_Load] = []
    plain: list[float] = []
    on_page: list[float] = []
    on_stream: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with embedded(Path(folder)) as process, httpx.AsyncClient(timeout=20) as http, async_playwright() as playwright:
            writes = dict.fromkeys(("parking", "charging", "waste"), process.url)
            town = Town(process.url, writes, process.settings, Path(folder), http)
            await town.have_routes("kitchen", "hazardous")
            browser = await chrome.launch(playwright)
            await _plain_ms(browser, town)  # the browser's own first page
            for _ in range(rounds):
                plain.append(await _plain_ms(browser, town))
                loads.append(await _load(browser, town))
                on_stream.append(await _heard_ms(town))
                on_page.append(await _seen_ms(browser, town))
            await browser.close()
    return [*_rows_of_loads(loads, plain, rounds), _row_of_counts(on_page, on_stream, rounds)]


class _Load:
    """A first visit: kilobytes, requests, and milliseconds until the list and until the map is there."""

    def __init__(self, seen: Visit, *, list_ms: float, map_ms: float) -> None:
        answers = [each for each in seen.loaded.values() if not each.is_stream and each.url.startswith("http")]
        self.kb = sum(each.size for each in answers) / 1000
        self.requests = len(answers)
        self.list_ms = list_ms
        self.map_ms = map_ms


async def _load(browser: Browser, town: Town) -> _Load:
    began = time.perf_counter()
    async with visit(browser, town.url, lang="zh") as seen:
        await expect(rows(seen, "place").first).to_be_visible(timeout=READY_MS)
        list_ms = (time.perf_counter() - began) * 1000
        await expect(seen.by_id("map")).to_have_attribute("data-ready", "true", timeout=READY_MS)

        async def inked() -> bool:
            return (await drawn(seen)).colours > 200

        await wait_until(inked, 20, every=0.01)
        map_ms = (time.perf_counter() - began) * 1000
        await complete(seen)
        await settled(seen)
        return _Load(seen, list_ms=list_ms, map_ms=map_ms)


async def _plain_ms(browser: Browser, town: Town) -> float:
    """A new visitor, a page of a few lines without a script, its heading seen."""
    began = time.perf_counter()
    async with visit(browser, town.url, path="/start") as seen:
        await expect(seen.page.locator("h1")).to_be_visible()
        return (time.perf_counter() - began) * 1000


async def _seen_ms(browser: Browser, town: Town) -> float:
    """From before a count is sent until it stands on the page, the slowest of some."""
    async with visit(browser, town.url, lang="zh") as seen:
        await complete(seen)
        await seen.by_id(f"place-row-{PLACE}").locator("button").first.click()
        took: list[float] = []
        for occupied in range(COUNTS):
            text = seen.by_id("selection").get_by_text(f"普通：空 {BAYS - occupied} / 共 {BAYS}")
            began = time.perf_counter()
            await town.count(PLACE, occupied)
            await expect(text).to_be_visible(timeout=READY_MS)
            took.append((time.perf_counter() - began) * 1000)
        return max(took)


async def _heard_ms(town: Town) -> float:
    """The same on the raw stream, read by httpx."""
    took: list[float] = []
    async with town.http.stream("GET", f"{town.url}/parking/v1/stream", timeout=60) as answer:
        lines = answer.aiter_lines()
        for occupied in range(COUNTS):
            began = time.perf_counter()
            posted = asyncio.ensure_future(town.count(PLACE, occupied))  # heard while it is answered
            async for line in lines:
                if line.startswith("data:") and _is_count(json.loads(line.removeprefix("data:")), BAYS - occupied):
                    break
            took.append((time.perf_counter() - began) * 1000)
            await posted
    return max(took)


def _is_count(told: dict[str, Any], free: int) -> bool:
    return told.get("id") == PLACE and bool(told["free"].get("standard") == free)


def _rows_of_loads(loads: list[_Load], plain: list[float], rounds: int) -> list[Measured]:
    kb, requests = [each.kb for each in loads], max(each.requests for each in loads)
    lists, maps = [each.list_ms for each in loads], [each.map_ms for each in loads]
    verdict = "reached" if max(kb) <= MOST_KB and requests <= MOST_REQUESTS else "**missed**"
    conditions = "Chromium, new profile, 60 car parks, 40 stations, routes of two streams, embedded form on the same machine"
    return [
        Measured(
            "j1", "the page's first load with map and data, against what it may take", f"{conditions}; {requests} requests", kb,
            [MOST_KB] * rounds, "kB", None, None,
            f"lower is better; wanted: at most {MOST_KB:g} kB and {MOST_REQUESTS} requests, streams not counted: {verdict}",
        ),
        Measured(
            "j2", "from opening a browser profile to the list on the page, against a page of a few lines without a script", conditions,
            lists, plain, "ms", None, None, "lower is better",
        ),
        Measured("j3", "the same to the drawn map", conditions, maps, plain, "ms", None, None, "lower is better"),
    ]  # fmt: skip


def _row_of_counts(on_page: list[float], on_stream: list[float], rounds: int) -> Measured:
    verdict = "reached" if max(on_page) <= WANTED_MS else "**missed**"
    return Measured(
        "j4", "from sending a count to its number on the page, against the same on the raw stream: the slowest of a round",
        f"{COUNTS} counts a round over HTTP, {rounds} rounds; page in Chromium, stream read by httpx", on_page, on_stream, "ms", None, None,
        f"lower is better; wanted: at most {WANTED_MS:,.0f} ms: {verdict} (worst {max(on_page):,.0f}, median {median(on_page):,.0f})",
    )  # fmt: skip
