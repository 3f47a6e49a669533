"""Debian's Chromium under Playwright, and a page as a visitor has it: what it loads, what it complains of, what axe says."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

from playwright.async_api import Browser, CDPSession, ConsoleMessage, Locator, Page, Playwright, Request, expect

from tests.support import REPOSITORY, wait_until

PATIENCE_MS = 60_000  # for a busy machine; what must be quick is timed by its own test
expect.set_options(timeout=PATIENCE_MS)

Theme = Literal["light", "dark"]
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
TALL = 900
ELSEWHERE = "America/Los_Angeles"  # the city's time is not the visitor's
AXE = REPOSITORY / "web" / "node_modules" / "axe-core" / "axe.min.js"
# The listener is there before the page: what its policy refuses is heard from the first byte on.
_HEAR_REPORTS = """
window.__refused = [];
document.addEventListener('securitypolicyviolation', (e) => window.__refused.push(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
"""
_JUDGE = "parts => axe.run(parts.length ? { include: parts } : document, { resultTypes: ['violations'] })"


def chromium() -> str | None:
    """Where the browser is; None when there is none."""
    return shutil.which("chromium")


async def launch(playwright: Playwright) -> Browser:
    """A browser that talks to nobody by itself."""
    return await playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))


@dataclass(slots=True)
class Loaded:
    """One answer as it came over the network: its encoded bytes, and its head."""

    url: str
    kind: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    size: int = 0
    done: bool = False

    @property
    def is_stream(self) -> bool:
        return self.kind == "EventSource"


@dataclass(slots=True)
class Visit:
    """A page that is open. `faults` is what a browser would show in red; `loaded` what it asked for, by Chromium's own count."""

    page: Page
    faults: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    loaded: dict[str, Loaded] = field(default_factory=dict)

    def by_id(self, name: str) -> Locator:
        """What carries a `data-testid`."""
        return self.page.get_by_test_id(name)

    async def text(self, name: str) -> str:
        """The words of what carries a `data-testid`."""
        return (await self.by_id(name).inner_text()).strip()

    async def refused(self) -> list[str]:
        """What the Content-Security-Policy refused."""
        found: list[str] = await self.page.evaluate("window.__refused")
        return found

    def other_hosts(self) -> set[str]:
        """Hosts that were asked, other than the page's own."""
        own = urlsplit(self.page.url).netloc
        return {urlsplit(url).netloc for url in self.urls if urlsplit(url).scheme not in {"data", "blob"}} - {own}

    def waits_for(self) -> list[str]:
        """What was asked for and is not there yet, the streams left out."""
        return [each.url for each in self.loaded.values() if not (each.done or each.is_stream)]

    async def axe(self, *within: str) -> list[str]:
        """What axe-core finds wrong with the page as it is now, or with some parts of it; one line a rule and element."""
        if not await self.page.evaluate("typeof window.axe === 'object'"):
            await self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = await self.page.evaluate(_JUDGE, [[part] for part in within])
        assert len(found["passes"]) > 5, "axe found nothing to judge"
        return [f"{rule['id']}: {node['target']} {node['failureSummary']}" for rule in found["violations"] for node in rule["nodes"]]

    async def sideways(self) -> int:
        """By how many pixels the page is wider than the window."""
        wider: int = await self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wider


@asynccontextmanager
async def visit(
    browser: Browser,
    url: str,
    *,
    path: str = "/",
    lang: str | None = None,
    theme: Theme | None = None,
    width: int = 1280,
    locale: str = "zh-CN",
    reduced_motion: Literal["reduce", "no-preference"] = "no-preference",
    scale: float = 1,
) -> AsyncIterator[Visit]:
    """A new visitor (no cookie, no cache) who opens the page; it may still be loading."""
    context = await browser.new_context(
        base_url=url,
        viewport={"width": width, "height": TALL},
        color_scheme="dark" if theme == "dark" else "light",
        locale=locale,
        timezone_id=ELSEWHERE,
        reduced_motion=reduced_motion,
        device_scale_factor=scale,
        service_workers="block",
    )
    context.set_default_timeout(PATIENCE_MS)
    made: Visit | None = None
    try:
        await context.add_init_script(_HEAR_REPORTS)
        page = await context.new_page()
        made = Visit(page)
        _hear_faults(made)
        await _hear_network(made, await context.new_cdp_session(page))
        asked = {name: value for name, value in (("lang", lang), ("theme", theme)) if value}
        await page.goto(f"{path}?{urlencode(asked)}" if asked else path, wait_until="domcontentloaded")
        yield made
    except Exception as error:
        if made is not None:
            error.add_note(f"the page's faults: {shown(made.faults)}\nit still waits for: {shown(made.waits_for())}")
        raise
    finally:
        await context.close()


def _hear_faults(visit: Visit) -> None:
    page = visit.page

    def said(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            visit.faults.append(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def failed(request: Request) -> None:
        if request.resource_type == "eventsource" and request.failure == "net::ERR_ABORTED":
            return  # the page itself hung up: on a stream that was silent for too long, or at its end
        visit.faults.append(f"failed: {request.method} {request.url} {request.failure}")

    page.on("console", said)
    page.on("pageerror", lambda error: visit.faults.append(f"uncaught: {error}"))
    page.on("requestfailed", failed)
    page.on("request", lambda request: visit.urls.append(request.url))


async def _hear_network(visit: Visit, cdp: CDPSession) -> None:
    def asked(event: dict[str, Any]) -> None:
        visit.loaded[event["requestId"]] = Loaded(event["request"]["url"], event.get("type", "Other"))

    def answered(event: dict[str, Any]) -> None:
        if of := visit.loaded.get(event["requestId"]):
            of.status = event["response"]["status"]
            of.headers = {name.lower(): value for name, value in event["response"]["headers"].items()}
            of.kind = event.get("type", of.kind)
            if of.status >= 400:
                visit.faults.append(f"status {of.status}: {of.url}")

    def finished(event: dict[str, Any]) -> None:
        if of := visit.loaded.get(event["requestId"]):
            of.size, of.done = int(event["encodedDataLength"]), True

    def ended(event: dict[str, Any]) -> None:
        if of := visit.loaded.get(event["requestId"]):
            of.done = True

    cdp.on("Network.requestWillBeSent", asked)
    cdp.on("Network.responseReceived", answered)
    cdp.on("Network.loadingFinished", finished)
    cdp.on("Network.loadingFailed", ended)
    await cdp.send("Network.enable")


async def settled(visit: Visit) -> None:
    """Waits until nothing is loading any more but the streams."""
    seen: list[int] = []

    def quiet() -> bool:
        seen.append(len(visit.loaded))
        assert not visit.waits_for(), f"it waits for {visit.waits_for()}"
        return len(seen) > 15 and seen[-15] == seen[-1]

    await wait_until(quiet, PATIENCE_MS / 1000, what="everything loaded")


def shown(faults: Sequence[object]) -> str:
    """Faults one a line."""
    return json.dumps([str(each) for each in faults], indent=1, ensure_ascii=False)


__all__ = ["AXE", "PATIENCE_MS", "TALL", "Loaded", "Theme", "Visit", "chromium", "expect", "launch", "settled", "shown", "visit"]
