"""The figures of the plan on the page: provisional within two seconds, closed within 75."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import Browser

from cityloop_common.journal import CLOSED_AFTER
from tests.e2e.web.browser import PATIENCE_MS, expect
from tests.e2e.web.page import Stopwatch, opened
from tests.e2e.web.town import PARTNER, Town

# A group of its own: it waits for minutes, beside the other browser tests.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e-web-waiting"), pytest.mark.timeout(900)]
ONE_BAY = "999000001*S007", "sample-009"
CLOSED_MS = 180_000  # 75 s are wanted; a busy machine may stall
_NOTE_CHANGES = """(number) => {
  const note = () => { window.__changedAt ??= Date.now() }
  new MutationObserver(note).observe(number, { childList: true, characterData: true, subtree: true })
}"""


@pytest.mark.slow
async def test_a_figure_is_provisional_at_once_and_closed_a_minute_later(
    browser: Browser, town: Town, record_property: Callable[[str, object], None]
) -> None:
    """New charging points count provisionally within 2 s; they, and a confirmed link's bay, are closed within 75 s."""
    loop = asyncio.get_running_loop()
    async with opened(browser, town, lang="en") as seen:
        provisional, closed = seen.by_id("indicator-facilities-provisional"), seen.by_id("indicator-facilities-value")
        share = seen.by_id("indicator-ev-bay-share")
        # What the city began with is closed, too.
        points, _ = await _now(town, "facilities")
        bays, of = await _now(town, "ev-bay-share")
        await expect(provisional).to_contain_text(f"{points:,}")
        await expect(closed).to_have_text(f"{points:,}", timeout=CLOSED_MS)
        await expect(share).to_contain_text(f"{bays:,} / {of:,}", timeout=CLOSED_MS)
        await closed.evaluate(_NOTE_CHANGES)
        began, began_at, watch = loop.time(), datetime.now(UTC), Stopwatch()
        for new in range(1, 4):
            opening = town.open_station(f"{PARTNER}*NEW{new}", [f"NEW{new}"])
            await watch.time(opening, expect(provisional).to_contain_text(f"{points + new:,}", timeout=PATIENCE_MS))
        record_property("provisional_on_page_s", watch.check("a provisional figure is"))
        await town.link("confirmation", *ONE_BAY)
        await expect(closed).to_have_text(f"{points + 3:,}", timeout=CLOSED_MS)
        record_property("closed_on_page_s", round(loop.time() - began, 3))
        first = datetime.fromtimestamp(await seen.page.evaluate("window.__changedAt") / 1000, UTC)
        assert first - began_at >= CLOSED_AFTER, "what is closed waits until nothing can come under it any more"
        await expect(share).to_contain_text(f"{bays + 1:,} / {of:,}", timeout=CLOSED_MS)
        await expect(seen.by_id("indicator-facilities-gap")).to_contain_text(f"{5000 - points - 3:,}")


async def _now(town: Town, name: str) -> tuple[int, int]:
    """A figure of charging's as known now."""
    told = await town.get(f"/charging/v1/indicators/{name}", known_at=datetime.now(UTC).isoformat())
    return told["schemes"][0]["numerator"], told["schemes"][0]["denominator"]


async def test_each_figure_says_value_target_gap_and_trend(browser: Browser, town: Town) -> None:
    """What the services answer is what is read: target, deadline, history; without data it says so and never 0."""
    await town.have_closed_figures()
    named: dict[str, Any] = {}
    for service in ("parking", "charging", "waste"):
        named |= {each["name"]: each for each in (await town.get(f"/{service}/v1/indicators"))["indicators"]}
    async with opened(browser, town, lang="en") as seen:
        for name, told in named.items():
            line, value = seen.by_id(f"indicator-{name}"), seen.by_id(f"indicator-{name}-value")
            scheme, target = told["schemes"][0], told["target"]
            is_count = target["denominator"] == 1
            aim = f"{target['numerator']:,}" if is_count else f"{target['numerator'] / target['denominator'] * 100:.3g} %"
            await expect(seen.by_id(f"indicator-{name}-target")).to_contain_text(aim)
            await expect(line).to_contain_text(told["deadline"])
            await expect(seen.by_id(f"indicator-{name}-trend")).not_to_be_empty()
            if scheme["value"] is None:
                await expect(value).to_have_text("No data")
                await expect(seen.by_id(f"indicator-{name}-gap")).to_have_text("Gap unknown")
            elif is_count:
                await expect(value).to_have_text(f"{scheme['numerator']:,}")
            else:
                await expect(line).to_contain_text(f"{scheme['numerator']:,} / {scheme['denominator']:,}")
        assert await seen.page.locator("[data-testid^='indicator-'][data-status]").count() == len(named) == 5
