"""The page in both languages, light and dark, on a wide and on a narrow screen: whole, readable, and by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import get_args

import pytest
from playwright.async_api import Browser

from cityloop_common.clock import CITY_TZ
from tests.e2e.web.browser import Theme, Visit, expect, settled, shown
from tests.e2e.web.page import WEB, open_details, opened, rows, show
from tests.e2e.web.town import Town
from tests.support import REPOSITORY

pytestmark = WEB
LOCALES = {"zh": "zh-CN", "en": "en"}
CITY = "伊金霍洛旗"  # its name in the plan's title has no other
LOOKS = [(lang, theme, width) for lang in LOCALES for theme in get_args(Theme) for width in (360, 1280)]
_TEXTS = """() => {
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), around = walker.currentNode.parentElement
    if (text && !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(around.tagName)) found.push([around.closest('[lang]').lang, text])
  }
  for (const each of document.querySelectorAll('[title],[aria-label],[placeholder],[alt]')) {
    for (const name of ['title', 'aria-label', 'placeholder', 'alt']) {
      if (each.getAttribute(name)) found.push([each.closest('[lang]').lang, each.getAttribute(name)])
    }
  }
  return found
}"""
_LIGHTNESS = """() => {
  const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number)
  return (r + g + b) / 3
}"""


def words(lang: str) -> Mapping[str, str]:
    """The catalogue of a language."""
    found: dict[str, str] = json.loads((REPOSITORY / "web" / "words" / f"{LOCALES[lang]}.json").read_text())
    return found


@pytest.mark.parametrize("lang, theme, width", LOOKS)
async def test_the_page_is_whole_in_every_look(lang: str, theme: Theme, width: int, browser: Browser, town: Town) -> None:
    """Title, language, theme; nothing sideways; axe finds nothing, whatever is open; nothing refused, failed or from elsewhere."""
    async with opened(browser, town, lang=lang, theme=theme, width=width) as seen:
        assert await seen.page.title() == words(lang)["page.title"]
        assert await seen.page.evaluate("document.documentElement.lang") == LOCALES[lang]
        assert ((await seen.page.evaluate(_LIGHTNESS)) > 128) == (theme == "light")
        await _judge(seen, lang)
        for kind in ("place", "station", "route"):
            await show(seen, f"{kind}s")
            await rows(seen, kind).first.locator("button").first.click()
            await expect(seen.by_id("selection")).to_be_visible()
            await _judge(seen, lang, ".lists", "[data-testid=selection]")
        await open_details(seen)
        await _judge(seen, lang)
        await settled(seen)
        assert not seen.faults, shown(seen.faults)
        assert await seen.refused() == []
        assert seen.other_hosts() == set()


async def _judge(seen: Visit, lang: str, *within: str) -> None:
    found = await seen.axe(*within)
    assert not found, shown(found)
    assert await seen.sideways() <= 0
    await _is_translated(seen, lang)


async def _is_translated(seen: Visit, lang: str) -> None:
    """No key, no unfilled place, no code's nothing; in English nothing is Chinese that does not say so."""
    texts: list[tuple[str, str]] = await seen.page.evaluate(_TEXTS)
    keys = set(words(lang))
    raw = [text for _, text in texts if text in keys or re.search(r"\{\w+\}|\b(undefined|NaN|null)\b|\[object", text)]
    assert not raw, raw
    foreign = [text for of, text in texts if of == "en" and re.search(r"[一-鿿]", text.replace(CITY, ""))]
    assert not foreign, foreign
    if lang == "zh":  # what the catalogues say differently is not left in English
        other = {english for key, english in words("en").items() if english != words("zh")[key] and "{" not in english}
        left = [text for of, text in texts if of == "zh-CN" and text in other]
        assert not left, left


async def test_the_visitors_language_and_theme_are_taken_and_their_choice_is_kept(browser: Browser, town: Town) -> None:
    """Without a word in the address the browser's language counts; what is chosen holds at the next visit of the same browser."""
    async with opened(browser, town, locale="en-GB") as seen:
        assert await seen.page.evaluate("document.documentElement.lang") == "en"
        await seen.by_id("language").get_by_text("中文").click()
        await seen.by_id("theme").locator("[data-value=dark]").click()
        await expect(seen.page).to_have_title(words("zh")["page.title"])
        await seen.page.goto("/")
        await expect(rows(seen, "place").first).to_be_visible()
        assert await seen.page.evaluate("document.documentElement.lang") == "zh-CN"
        assert await seen.page.evaluate(_LIGHTNESS) < 128


async def test_times_are_the_citys_wherever_the_visitor_is(browser: Browser, town: Town) -> None:
    """A visitor whose clock is half a day away reads when a count was taken in the city's time."""
    async with opened(browser, town, lang="zh") as seen:
        count = rows(seen, "place").first.locator("time")
        taken, title = await count.evaluate("at => [at.dateTime, at.title]")
        assert datetime.fromisoformat(taken).astimezone(CITY_TZ).strftime("%Y-%m-%d %H:%M:%S") in title
