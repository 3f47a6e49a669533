"""What an HTTP server hands to an application, without the server: one scope a request, its body, and who waits for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import httpx

App = Callable[..., Coroutine[Any, Any, None]]


def scope(request: httpx.Request) -> dict[str, Any]:
    """An HTTP/1.1 request; `extensions["client"]` says from where it comes."""
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "root_path": "",
        "query_string": url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": request.extensions.get("client", ("127.0.0.1", 40000)),
        "server": (url.host, url.port or 80),
    }


class Body:
    """`receive` of one request: its body, then silence until the client is gone."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content
        self._gone = asyncio.Event()

    async def __call__(self) -> Mapping[str, Any]:
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        """The client is gone."""
        self._gone.set()


async def answer(app: App, request: httpx.Request) -> httpx.Response:
    """The whole answer of an application to a request whose body has been read."""
    body, parts = Body(request.content), list[bytes]()
    start: Mapping[str, Any] = {}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        else:
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                body.leave()

    await app(scope(request), body, send)
    return httpx.Response(start["status"], headers=start["headers"], content=b"".join(parts), request=request)
