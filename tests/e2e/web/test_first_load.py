"""What the first visit takes over the network, by Chromium's own count of encoded bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from playwright.async_api import Browser

from tests.e2e.web.browser import Loaded, Visit, settled
from tests.e2e.web.page import WEB, complete, opened
from tests.e2e.web.town import Town

pytestmark = WEB
MOST_BYTES, MOST_REQUESTS = 200_000, 15
VISITORS = 5


async def test_the_first_load_is_small(browser: Browser, town: Town, record_property: Callable[[str, object], None]) -> None:
    """With the map and all data at most 200 kB in at most 15 requests, the streams not counted; everything of size comes packed."""
    answers = await _first_visit(browser, town)
    told = "\n".join(f"{each.size:7} {each.headers.get('content-encoding', '-'):4} {each.url}" for each in answers)
    total = sum(each.size for each in answers)
    record_property("first_load_bytes", total)
    print(f"first load: {total} bytes in {len(answers)} requests\n{told}")
    assert len(answers) >= 8, told  # page, script, style, map, three overviews, figures: a page without data is small, too
    assert total <= MOST_BYTES, told
    assert len(answers) <= MOST_REQUESTS, told
    assert not [each.url for each in answers if each.size > 2_000 and "content-encoding" not in each.headers], told


async def test_what_has_its_hash_in_its_name_is_kept_and_the_page_is_asked_for(browser: Browser, town: Town) -> None:
    """Assets are immutable, the page is not; the next visit of the same browser asks for no asset again."""
    async with opened(browser, town, lang="zh") as seen:
        await settled(seen)
        first = list(seen.loaded.values())
        page = next(each for each in first if each.kind == "Document")
        assets = [each for each in first if "/assets/" in each.url]
        assert "no-cache" in page.headers["cache-control"]
        assert len(assets) >= 3
        assert all("immutable" in each.headers["cache-control"] for each in assets), [each.headers for each in assets]
        await seen.page.reload()
        await complete(seen)
        await settled(seen)
        assert _sent(seen) - sum(each.size for each in first) < _sent(seen) / 2
        assert sum(each.size for each in list(seen.loaded.values())[len(first) :] if "/assets/" in each.url) == 0


async def _first_visit(browser: Browser, town: Town) -> list[Loaded]:
    """What a new visitor's page asked for.

    Where the machine keeps a stream waiting, the page reads its numbers twice: then another visitor's.
    """
    for _ in range(VISITORS):
        async with opened(browser, town, lang="zh") as seen:
            await settled(seen)
            answers = [each for each in seen.loaded.values() if not each.is_stream and each.url.startswith("http")]
        twice = [url for url, times in Counter(each.url for each in answers).items() if times > 1]
        if not twice:
            return answers
    raise AssertionError(f"each of {VISITORS} visitors' pages asked twice for something; the last one for {twice}")


def _sent(seen: Visit) -> int:
    return sum(each.size for each in seen.loaded.values())
