"""The API's documentation page: Swagger UI from an installed package, nothing from another host."""

from functools import cache
from html import escape
from importlib.resources import files

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><meta name="viewport" content="width=device-width">
<link rel="icon" href="docs/favicon.png"><link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="ui" data-openapi="{openapi_url}"></div><script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script></body></html>
"""
# validatorUrl null: Swagger UI would otherwise ask validator.swagger.io for a badge
_START = """"use strict";
const ui = document.getElementById("ui");
SwaggerUIBundle({ url: ui.dataset.openapi, domNode: ui, deepLinking: true, validatorUrl: null, persistAuthorization: false });
"""


@cache
def _file(name: str) -> bytes:
    return files("fastapi_offline").joinpath("static", name).read_bytes()  # only its copy of Swagger UI is used


def router(prefix: str, *, title: str, openapi_url: str) -> APIRouter:
    """`{prefix}/docs` and the files it needs."""
    page = _PAGE.format(title=escape(title), openapi_url=escape(openapi_url))
    pages = APIRouter(include_in_schema=False)

    async def docs(_request: Request) -> Response:
        return Response(page, media_type="text/html", headers={"content-security-policy": _CSP})

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name == "start.js":
            return Response(_START, media_type="text/javascript")
        if name not in _FILES:
            raise HTTPException(404)
        return Response(_file(name), media_type=_FILES[name], headers={"cache-control": "public, max-age=86400"})

    pages.add_route(f"{prefix}/docs", docs, methods=["GET"])
    pages.add_route(f"{prefix}/docs/{{name}}", file, methods=["GET"])
    return pages
