"""A car park that nobody counts any more, one that is closed, and the hour at which one arrives: said so, readable in every look."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, Route

from tests.e2e.web.browser import Visit, expect, shown
from tests.e2e.web.page import WEB, complete, opened
from tests.e2e.web.town import Town

pytestmark = WEB
PLACE, KERB = "sample-005", "sample-008"  # 284 spaces in the first
SPACES: dict[str, Any] = {"free": {"mean": 23.6, "low": 16.8, "high": 30.2}, "chance": 0.974}
SINCE = (datetime.now(UTC) - timedelta(minutes=90)).isoformat()
FORECAST = {**SPACES, "at": "2026-11-26T10:00:00Z", "since": SINCE, "categories": {"standard": SPACES, "ev": SPACES}}


SILENT = {"freshness": "forecast", "forecast": FORECAST, "free": {"standard": 200}, "as_of": SINCE}
COLLECTED = {"state": "closed", "freshness": "closed", "free": {}, "closed_until": "2026-11-26T02:40:00Z"}


async def told(seen: Visit, place_id: str, **what: Any) -> None:
    """From the next reading on this is said of a car park."""

    async def answer(route: Route) -> None:
        told = await (await route.fetch()).json()
        for place in told["places"]:
            if place["id"] == place_id:
                place.update(what)
        await route.fulfill(json=told)

    await seen.page.route("**/parking/v1/overview*", answer)
    await seen.page.reload()
    await complete(seen)


SAYS = {"en": ("Forecast", "about 24", "chance of a space 97 %"), "zh": ("预测", "约 24", "有空位的可能 97%")}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("lang", list(SAYS))
async def test_what_is_expected_is_not_shown_as_counted(lang: str, theme: Any, browser: Browser, town: Town) -> None:
    """The word, the bounds and the chance; the old count is nowhere; axe finds nothing, and nothing is sideways."""
    async with opened(browser, town, lang=lang, theme=theme, width=360) as seen:
        await told(seen, PLACE, **SILENT)
        row = seen.by_id(f"place-row-{PLACE}")
        await row.scroll_into_view_if_needed()
        for each in SAYS[lang][:2]:
            await expect(row).to_contain_text(each)
        await row.locator("button").first.click()
        selection = seen.by_id("selection")
        await expect(selection).to_contain_text(SAYS[lang][2])
        await expect(selection).not_to_contain_text(re.compile(r"\b200\b"))
        faults = await seen.axe("[data-testid=selection]", ".lists", ".legend")
        assert not faults, shown(faults)
        assert await seen.sideways() == 0


async def test_a_kerb_where_a_truck_collects_is_closed_and_shows_no_number(browser: Browser, town: Town) -> None:
    """Neither an old number nor "unknown"; who chooses it reads until when."""
    async with opened(browser, town, lang="en") as seen:
        await town.have_rest(60)  # no word of a collection that really begins or ends there
        await told(seen, KERB, **COLLECTED)
        row = seen.by_id(f"place-row-{KERB}")
        await expect(row).to_contain_text("Closed")
        await expect(row).not_to_contain_text("Unknown", ignore_case=True)
        await expect(row.locator("strong")).to_have_count(0)
        await row.locator("button").first.click()
        await expect(seen.by_id("selection")).to_contain_text("10:40")


async def test_who_chooses_an_hour_hears_the_chance_then(browser: Browser, town: Town) -> None:
    """Asked for that hour and place; closed, and nothing known, are said."""
    asked: list[str] = []
    nobody: dict[str, Any] = {"freshness": "closed", "free": None, "chance": 0.0}
    unknown: dict[str, Any] = {"freshness": "live", "free": None, "chance": None}
    answers = [{"freshness": "live", **SPACES}, nobody, unknown]
    says = {"60": "18:00: about 24 free (16 to 31), chance of a space 97 %", "120": "18:00: closed", "240": "nothing is known"}
    async with opened(browser, town, lang="en") as seen:

        async def answer(route: Route) -> None:
            asked.append(route.request.url)
            await route.fulfill(body=json.dumps({"at": "2026-11-26T10:00:00Z", **answers[len(asked) - 1]}), content_type="application/json")

        await seen.page.route("**/availability*", answer)
        await seen.by_id(f"place-row-{PLACE}").locator("button").first.click()
        arrival = seen.by_id("arrival")
        for minutes, said in says.items():
            await arrival.locator("select").select_option(minutes)
            await expect(arrival).to_contain_text(said)
    assert [f"/places/{PLACE}/availability?at=" in each for each in asked] == [True] * len(says)
