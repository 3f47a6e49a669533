"""Routes that are not like the others: the hottest ones, and those of a standard that has its own way to refuse."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cityloop_common import auth
from cityloop_common.errors import CityLoopError

Refusal = Callable[[Request, Exception], Response]
"""The answer to an error in a standard's own words; the error may be one that nobody foresaw."""


class DirectRoute(APIRoute):
    """A public route whose handler takes the request as it is.

    For the hottest routes of the city the framework's resolving of dependencies and parameters costs as much as the work
    itself. It refuses any dependency but `auth.public`, which does nothing but declare.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself."""
        if any(dependency.call is not auth.public for dependency in self.dependant.dependencies) or self.dependant.query_params:
            raise TypeError(f"{self.path}: a direct route has no parameters and no dependency but auth.public")
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


@dataclass(frozen=True, slots=True)
class SpokenProtocol:
    """A published standard that a service speaks below `/{service}{prefix}`, where it tells every refusal in its own words.

    Its routes declare who may call them as all routes do; a standard with tokens of its own declares `auth.public`.
    """

    prefix: str
    router: APIRouter
    refusal: Refusal


class Protocols:
    """The standards of one service: whose words an answer at some address must have."""

    def __init__(self, service: str, spoken: Sequence[SpokenProtocol]) -> None:
        self._spoken = [(f"/{service}{protocol.prefix}", protocol) for protocol in spoken]

    def mount(self, app: FastAPI) -> None:
        """Adds the routes, and lets what goes wrong below their prefixes be told by the standard. After `problems.install`."""
        for prefix, protocol in self._spoken:
            app.include_router(protocol.router, prefix=prefix)
        if self._spoken:
            for kind in (CityLoopError, RequestValidationError, HTTPException):
                app.add_exception_handler(kind, self._first(app.exception_handlers[kind]))

    def refusal(self, request: Request, error: Exception) -> Response | None:
        """The standard's answer to an error at this address; None where none is spoken."""
        path: str = request.scope["path"]
        for prefix, protocol in self._spoken:
            if path.startswith(f"{prefix}/"):
                return protocol.refusal(request, error)
        return None

    def _first(self, otherwise: Callable[..., Any]) -> Callable[[Request, Exception], Any]:
        async def told(request: Request, error: Exception) -> Response:
            response = self.refusal(request, error)
            if response is not None:
                return response
            answer: Response = await otherwise(request, error)
            return answer

        return told
