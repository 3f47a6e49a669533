"""A browser, the built page and a still city behind it, for all browser tests of one worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.e2e.processes import embedded
from tests.e2e.web import browser as chrome
from tests.e2e.web.town import Town
from tests.support import REPOSITORY, STRICT

DIST = REPOSITORY / "web" / "dist"
WITHOUT_CHROMIUM = "no chromium: apt-get install chromium fonts-noto-cjk"


def missing(what: str) -> None:
    """Skips here, fails where nothing may be missing."""
    if STRICT:
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def built() -> Path:
    """The built page, and the judge of its accessibility."""
    if chrome.chromium() is None:
        missing(WITHOUT_CHROMIUM)
    for needed in (DIST / "index.html", chrome.AXE):
        if not needed.exists():
            missing(f"no {needed.relative_to(REPOSITORY)}: run `make setup`")
    return DIST


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(built: Path) -> AsyncIterator[Browser]:
    """Chromium; every visit gets a profile of its own."""
    async with async_playwright() as playwright:
        running = await chrome.launch(playwright)
        yield running
        await running.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def town(built: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """The invented city in one process, its counts live for an hour: only what a test does changes it, and the day's collections.

    Two streams have their routes of today. A kerb is closed and shows no number while a truck is there: in each town at other times.
    """
    folder = tmp_path_factory.mktemp("page")
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(embedded(folder, CITYLOOP_PARKING_SAMPLE_EVERY_S="900"))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=120))
        writes = dict.fromkeys(("parking", "charging", "waste"), process.url)
        made = Town(process.url, writes, process.settings, folder, http, process=process)
        stack.push_async_callback(made.leave)
        await made.join()
        await made.have_routes("kitchen", "hazardous")
        yield made
