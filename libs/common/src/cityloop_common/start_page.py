"""The root of `cityloop dev`: the pages at `/`, and at `/start` the plain page with lines that a newcomer can paste."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from cityloop_common import pages, problems

_CSP = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } code, pre { font-family: ui-monospace, monospace; font-size: .85rem; }
pre { overflow-x: auto; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding: .75rem; }
li { margin: .25rem 0; } .note { border-left: 4px solid #b07400; padding: .5rem .9rem; }
"""


def create_app(
    services: Sequence[tuple[str, str]], lines_to_paste: Callable[[str], Sequence[str]], *, build: pages.Build | None = None
) -> FastAPI:
    """`/` and the other pages, `/start` with links to what runs; everything else is a problem document.

    `lines_to_paste` gets the address. Without a build of the pages `/` is the start page, which then says how to make one.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    problems.install(app)
    build = build or pages.find_build()

    async def start(request: Request) -> Response:
        base = str(request.base_url).rstrip("/")
        body = _page(services, lines_to_paste(base), _missing(build))
        return Response(body, media_type="text/html; charset=utf-8", headers={"content-security-policy": _CSP, **_HEADERS})

    async def style(_request: Request) -> Response:
        return Response(_STYLE, media_type="text/css")

    app.router.add_route("/start", start, methods=["GET"])
    app.router.add_route("/start.css", style, methods=["GET"])
    app.include_router(pages.router(build, headers=_HEADERS, unbuilt=start))
    return app


def _missing(build: pages.Build) -> str | None:
    """What to say when the pages are not built; None when they are."""
    if build.page() is not None:
        return None
    told = build.failure()
    return (
        '<p class="note">The city\'s web page is not built here, so this plain one stands in its place; the services run as usual. '
        "<code>make web</code> builds it (it needs the npm registry once); then load this address again.</p>"
        f"{f'<p>The last try ended with:</p><pre>{escape(told)}</pre>' if told else ''}"
    )


def _page(services: Sequence[tuple[str, str]], lines: Sequence[str], missing: str | None) -> str:
    links = "".join(
        f'<li>{escape(title)}: <a href="/{name}/v1/docs">API</a>, <a href="/{name}/v1/openapi.json">OpenAPI</a></li>'
        for name, title in services
    )
    paste = escape("\n".join(lines))
    glance = '<li><a href="/">The city at a glance</a></li>' if missing is None else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>CityLoop</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/start.css"></head><body>'
        "<h1>CityLoop</h1><p>Parking, charging and waste of a city, as services that share events.</p>"
        f"{missing or ''}"
        f'<ul>{glance}{links}<li><a href="/healthz/ready">Health</a>, <a href="/metrics">metrics</a></li></ul>'
        f"<h2>Try it</h2><pre>{paste}</pre></body></html>"
    )
