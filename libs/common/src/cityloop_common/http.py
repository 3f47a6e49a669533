"""The HTTP application every service is built as: middleware, probes, metrics, documentation pages."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from cityloop_common import auth, docs_pages, problems, telemetry
from cityloop_common.clock import Clock
from cityloop_common.errors import BadRequest, CityLoopError, TooLarge
from cityloop_common.ids import Ids
from cityloop_common.network import Network, client_network, from_trusted, parse_networks
from cityloop_common.routes import Protocols, SpokenProtocol

__all__ = [
    "EdgeCtx", "Health", "HttpConfig", "InFlight", "api_routes", "client_network", "create_app", "create_probe_app", "current_ctx",
    "json_bytes_response", "json_response", "parse_networks",
]  # fmt: skip

BODY_LIMIT_BYTES = 1024 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SPREAD = 0x9E37_79B1  # odd: 2**32 requests until one comes again
_log = telemetry.get_logger(__name__)
REQUEST_SECONDS = telemetry.histogram(
    "http_request_seconds", "From request to last byte of the answer", ("service", "route", "method", "status")
)
IN_FLIGHT = telemetry.gauge("http_requests_in_flight", "Requests being answered")


class EdgeCtx(Protocol):
    """What the edge uses of a service's context."""

    @property
    def service(self) -> str: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> Ids: ...


async def current_ctx(request: Request) -> Any:  # the route's own annotation (`ParkingCtx`) says which
    """The context of the service that answers: `ctx: Annotated[ParkingCtx, Depends(http.current_ctx)]`."""
    return request.app.state.ctx


Check = Callable[[], Awaitable[None]]
"""Returns when a part can be used and raises when not."""

_CHECK_TIMEOUT_S = 2.0


@dataclass(slots=True)
class Health:
    """Whether this process is ready for traffic: every named check passes and it is not draining."""

    checks: Mapping[str, Check] = field(default_factory=dict)
    draining: bool = False

    def drain(self) -> None:
        """From now on not ready: the balancer sends its requests elsewhere."""
        self.draining = True

    async def failing(self) -> dict[str, str]:
        """Names of the checks that do not pass, each with the kind of its error."""
        failed: dict[str, str] = {}
        for name, check in self.checks.items():
            try:
                async with asyncio.timeout(_CHECK_TIMEOUT_S):
                    await check()
            except Exception as error:  # noqa: BLE001 - whatever a check raises means not ready
                failed[name] = type(error).__name__
        return failed


class InFlight:
    """Counts requests being answered, so that a drain can wait for the last one."""

    def __init__(self, service: str) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()
        IN_FLIGHT.read_from(service, source=lambda: self._count)

    @property
    def count(self) -> int:
        return self._count

    def enter(self) -> None:
        self._count += 1
        if self._count == 1:
            self._idle.clear()

    def leave(self) -> None:
        self._count -= 1
        if self._count == 0:
            self._idle.set()

    async def idle(self) -> None:
        """Returns when nothing is being answered; wrap it in a deadline."""
        await self._idle.wait()


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """How the edge of one service behaves. `trusted_proxies` may write X-Forwarded-For and X-Request-Id."""

    trusted_proxies: tuple[Network, ...] = ()
    body_limit_bytes: int = BODY_LIMIT_BYTES


def json_bytes_response(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that is already serialised."""
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def json_response(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The fast way out for hot routes: plain data, dataclasses, instants; no validation of the answer."""
    return json_bytes_response(orjson.dumps(content, option=orjson.OPT_UTC_Z), status=status, headers=headers)


_API_CSP = "default-src 'none'; frame-ancestors 'none'"
_FIXED_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


class EdgeMiddleware:
    """Request id, security headers, one access line, metrics, in-flight count, and the answer to what nobody foresaw.

    One pure ASGI layer rather than six: each layer costs every request.
    """

    def __init__(self, app: ASGIApp, *, owner: FastAPI, in_flight: InFlight, protocols: Protocols, body_limit_bytes: int) -> None:
        self._app = app
        self._owner = owner
        self._protocols = protocols
        self._body_limit_bytes = body_limit_bytes
        self._in_flight = in_flight
        self._templates: dict[int, str] | None = None
        self._process = ""
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ctx: EdgeCtx = self._owner.state.ctx
        started = ctx.clock.monotonic()
        request_id = self._request_id(scope, ctx)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(scope, send, request_id, health=self._owner.state.health)
        self._in_flight.enter()
        try:
            with telemetry.RequestScope(request_id):
                await self._answer(scope, receive, answer)
        finally:
            self._in_flight.leave()
            self._record(scope, answer, ctx, seconds=ctx.clock.monotonic() - started)

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            if "\x00" in scope["path"] or b"%00" in scope["query_string"]:  # PostgreSQL text cannot hold it
                raise BadRequest("The address holds a NUL character.")
            await self._app(scope, self._limited(scope, receive), answer)
        except (BadRequest, TooLarge) as refusal:
            await self._refusal(Request(scope), refusal)(scope, receive, answer)
        except ClientDisconnect:
            answer.status = answer.status or 499
        except Exception as error:
            _log.exception("request-failed", error=type(error).__name__)
            if answer.status:
                raise  # half an answer is out: the server must break the connection
            await self._refusal(Request(scope), error)(scope, receive, answer)

    def _refusal(self, request: Request, error: Exception) -> Response:
        told = self._protocols.refusal(request, error)
        if told is not None:
            return told
        return problems.problem_response(request, error) if isinstance(error, CityLoopError) else problems.internal_error(request)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """`receive` that stops at the limit: by the announced length before reading, else while reading."""
        length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        if length is None and scope["method"] in {"GET", "HEAD"}:
            return receive
        limit = self._body_limit_bytes
        if length is not None and (not length.isdigit() or int(length[:20]) > limit):
            raise TooLarge(f"At most {limit} bytes.")
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise HTTPException(413)  # FastAPI lets it through where it wraps every other error of reading
            return message

        return counted

    def _request_id(self, scope: Scope, ctx: EdgeCtx) -> str:
        trusted: Sequence[Network] = self._owner.state.trusted_proxies
        if trusted and from_trusted(scope, trusted):
            given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
            if _REQUEST_ID.match(given):
                return given
        # one id a process and a number (spread, so that it does not tell how many): an id each costs ten times as much
        self._requests = (self._requests + _SPREAD) & 0xFFFF_FFFF
        self._process = self._process or ctx.ids.new()
        return f"{self._process}.{self._requests:08x}"

    def _record(self, scope: Scope, answer: "_Answer", ctx: EdgeCtx, *, seconds: float) -> None:
        route = self._template(scope)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        status = answer.status or 499  # the client left before there was an answer
        REQUEST_SECONDS.observe(ctx.service, route, method, f"{status // 100}xx", value=seconds)
        telemetry.access_line(
            {
                "at": ctx.clock.now(),
                "level": "info",
                "event": "request",
                "service": ctx.service,
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 2),
                "bytes": answer.sent_bytes,
                "request_id": answer.request_id,
            }
        )

    def _template(self, scope: Scope) -> str:
        """The route as it was declared, never the address itself: that may hold anything."""
        route = scope.get("route")
        if route is None:
            return "pages" if "endpoint" in scope else "unmatched"  # probes and documentation are no API routes
        if self._templates is None:
            self._templates = {id(found.original_route): found.path_format or "" for found in iter_route_contexts(self._owner.routes)}
        return self._templates.get(id(route)) or getattr(route, "path_format", None) or "mounted"


class _Answer:
    """`send` of one request: adds the headers every answer has and remembers what went out."""

    __slots__ = ("_health", "_scope", "_send", "request_id", "sent_bytes", "status")

    def __init__(self, scope: Scope, send: Send, request_id: str, *, health: Health) -> None:
        self._health = health
        self._scope = scope
        self._send = send
        self.request_id = request_id
        self.status = 0
        self.sent_bytes = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._with_ours(message.get("headers", []))}
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
        await self._send(message)

    def _with_ours(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = [*given, *_FIXED_HEADERS, (b"x-request-id", self.request_id.encode())]
        names = {name for name, _ in headers}
        if b"content-security-policy" not in names:
            headers.append((b"content-security-policy", _API_CSP.encode()))
        if b"cache-control" not in names and any(name == b"authorization" for name, _ in self._scope["headers"]):
            headers.append((b"cache-control", b"no-store"))
        if self._health.draining:  # whoever keeps connections gives them up now, between two requests, before this side closes them
            headers.append((b"connection", b"close"))
        return headers


def probe_router(health: Health) -> APIRouter:
    """`/healthz/live`, `/healthz/ready` and `/metrics`, for the cluster and for Prometheus; not in the API's description."""
    router = APIRouter(include_in_schema=False)

    async def live(_request: Request) -> Response:
        return json_response({"status": "live"})

    async def ready(_request: Request) -> Response:
        if health.draining:
            return json_response({"status": "draining", "failing": {}}, status=503)
        failing = await health.failing()
        return json_response({"status": "not-ready" if failing else "ready", "failing": failing}, status=503 if failing else 200)

    async def metrics(_request: Request) -> Response:
        return Response(telemetry.exposition(), media_type=telemetry.METRICS_CONTENT_TYPE)

    router.add_route("/healthz/live", live, methods=["GET"])
    router.add_route("/healthz/ready", ready, methods=["GET"])
    router.add_route("/metrics", metrics, methods=["GET"])
    return router


def create_probe_app(health: Health) -> FastAPI:
    """What a worker serves: probes and metrics only."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)
    app.include_router(probe_router(health))
    return app


def create_app(
    ctx: EdgeCtx,
    *,
    title: str,
    version: str,
    routers: Sequence[APIRouter],
    verifier: auth.TokenVerifier,
    health: Health,
    protocols: Sequence[SpokenProtocol] = (),
    config: HttpConfig | None = None,
    lifespan: Lifespan[FastAPI] | None = None,
) -> FastAPI:
    """The application of one service; its routers appear under `/{service}/v1`, protocols under `/{service}` and their prefix.

    Raises auth.NoAccessDeclared when a route does not say who may call it. `app.state.in_flight` counts open requests.
    """
    config = config or HttpConfig()
    prefix = f"/{ctx.service}/v1"
    app = FastAPI(
        title=title,
        version=version,
        lifespan=lifespan,
        openapi_url=f"{prefix}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    in_flight = InFlight(ctx.service)
    app.state.ctx = ctx
    app.state.verifier = verifier
    app.state.trusted_proxies = config.trusted_proxies
    app.state.in_flight = in_flight
    app.state.health = health
    problems.install(app)
    spoken = Protocols(ctx.service, protocols)
    app.add_middleware(EdgeMiddleware, owner=app, in_flight=in_flight, protocols=spoken, body_limit_bytes=config.body_limit_bytes)
    spoken.mount(app)  # first: routes are tried one after the other, and machines call more often than people
    for router in routers:
        app.include_router(router, prefix=prefix, responses=problems.RESPONSES)
    app.include_router(probe_router(health))
    app.include_router(docs_pages.router(prefix, title=title, openapi_url=f"{prefix}/openapi.json"))
    for route in api_routes(app):
        auth.declared_access(route)
    _describe(app)
    return app


def api_routes(app: FastAPI) -> list[RouteContext]:
    """Every API route with its full `path` and `methods`; for the table test of who may call what."""
    return [found for found in iter_route_contexts(app.routes) if isinstance(found.original_route, APIRoute)]


def _describe(app: FastAPI) -> None:
    """Adds to the OpenAPI document what the routes declare: who may call them, and the shape of problems."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, routes=app.routes)
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(problems.schemas())
            components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
            for route in api_routes(app):
                access = auth.declared_access(route)
                for method in route.methods or ():
                    operation = document["paths"].get(route.path_format, {}).get(method.lower())
                    if operation is not None and access != "public":
                        operation["security"] = [{"bearer": []}]
                        operation["x-roles"] = sorted(access)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
