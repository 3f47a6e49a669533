"""The plain start page at `/`, with lines that a newcomer can paste."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from cityloop_common import problems

_CSP = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } code, pre { font-family: ui-monospace, monospace; font-size: .85rem; }
pre { overflow-x: auto; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding: .75rem; }
li { margin: .25rem 0; }
"""


def create_app(services: Sequence[tuple[str, str]], lines_to_paste: Callable[[str], Sequence[str]]) -> FastAPI:
    """`/` with links to what runs; everything else is a problem document. `lines_to_paste` gets the address."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)

    @app.get("/")
    async def start(request: Request) -> Response:
        base = str(request.base_url).rstrip("/")
        headers = {"content-security-policy": _CSP, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
        return Response(_page(services, lines_to_paste(base)), media_type="text/html; charset=utf-8", headers=headers)

    @app.get("/start.css")
    async def style() -> Response:
        return Response(_STYLE, media_type="text/css")

    return app


def _page(services: Sequence[tuple[str, str]], lines: Sequence[str]) -> str:
    links = "".join(
        f'<li>{escape(title)}: <a href="/{name}/v1/docs">API</a>, <a href="/{name}/v1/openapi.json">OpenAPI</a></li>'
        for name, title in services
    )
    paste = escape("\n".join(lines))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>CityLoop</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/start.css"></head><body>'
        "<h1>CityLoop</h1><p>Parking, charging and waste of a city, as services that share events.</p>"
        f'<ul>{links}<li><a href="/healthz/ready">Health</a>, <a href="/metrics">metrics</a></li></ul>'
        f"<h2>Try it</h2><pre>{paste}</pre></body></html>"
    )
