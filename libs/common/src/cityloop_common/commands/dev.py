"""`cityloop dev`: the whole suite in one process on one port, without any server."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import typer
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from cityloop_common import issuer, problems, start_page
from cityloop_common.context import Ctx
from cityloop_common.errors import NotFound
from cityloop_common.http import Health, create_probe_app
from cityloop_common.jwks import KeySource
from cityloop_common.migrating import migrate
from cityloop_common.parts import Api, Ports, build_api, build_ctx, close_ports, key_source, open_ports, worker_loops
from cityloop_common.runtime import Plan, PortTaken, bind, run, serve
from cityloop_common.service import Loop, Service, installed_services
from cityloop_common.settings import Sample, SettingsError, SharedSettings
from cityloop_common.telemetry import configure_logging
from cityloop_common.terminal import fail, out, shared_settings


def dev() -> None:
    """Runs every service in this process: SQLite files and the event log in ./var, one port, no server needed."""
    try:
        shared = shared_settings()
        with _alone(shared.var), _log_file(shared.var) as log_file:
            configure_logging(shared.log_level, stream=log_file)
            run(partial(_main, shared))
    except (SettingsError, PortTaken, issuer.IssuerRefused) as error:
        fail(str(error), 2)
    out.print("CityLoop has stopped; what it knows is kept.")


@dataclass(frozen=True, slots=True)
class _Running:
    service: Service
    ctx: Ctx[Any]
    api: Api


async def _main(shared: SharedSettings) -> None:
    listening = bind(shared)
    ports = open_ports(shared)
    async with AsyncExitStack() as stack:
        stack.callback(listening.close)
        stack.push_async_callback(close_ports, ports)
        own_issuer = _issuer(shared, ports)
        keys = own_issuer.key_source() if own_issuer else key_source(shared)
        running = [await _start(service, shared, ports, keys, stack) for service in installed_services()]
        await _seed(shared, running)
        plan = Plan(
            app=_by_path(running, own_issuer),
            healths=[each.api.health for each in running],
            loops=_loops(shared, running),
            close_first=[close for each in running for close in each.api.parts.close_first],
            on_ready=partial(_greet, shared, running),
        )
        await serve(plan, listening, shared)


async def _start(service: Service, shared: SharedSettings, ports: Ports, keys: KeySource, stack: AsyncExitStack) -> _Running:
    ctx = build_ctx(service, shared, ports)
    stack.push_async_callback(ctx.db.close)
    await migrate(ctx.db, service.migrations, service.metadata)
    await ports.log.create_topics(service.topics())
    return _Running(service, ctx, build_api(service, ctx, keys))


def _issuer(shared: SharedSettings, ports: Ports) -> issuer.DevIssuer | None:
    if shared.jwks_url:
        return None
    return issuer.DevIssuer(
        shared.var / "keys",
        environment=shared.environment,
        issuer=shared.issuer,
        audience=shared.audience,
        clock=ports.clock,
        rng=ports.rng,
    )


async def _seed(shared: SharedSettings, running: Sequence[_Running]) -> None:
    """The sample is made once; who deletes it does not get it again."""
    seeded = shared.var / "sample-seeded"
    if shared.sample is Sample.OFF or seeded.exists():
        return
    for each in running:
        if each.service.sample is not None:
            await each.service.sample(each.ctx)
    seeded.write_text("The invented sample city was made. Delete the whole folder to start anew.\n")


def _loops(shared: SharedSettings, running: Sequence[_Running]) -> dict[str, Loop]:
    loops: dict[str, Loop] = {}
    for each in running:
        loops |= each.api.loops
        loops |= worker_loops(each.service, each.ctx)
        if shared.sample is Sample.LIVE and each.service.live_sample is not None:
            loops[f"{each.service.name}/live-sample"] = partial(each.service.live_sample, each.ctx)
    return loops


def _by_path(running: Sequence[_Running], own_issuer: issuer.DevIssuer | None) -> ASGIApp:
    """Each service answers below its own name; the start page and the probes of the process are at the root."""
    apps: dict[str, ASGIApp] = {each.service.name: each.api.app for each in running}
    checks = {f"{each.service.name}/{name}": check for each in running for name, check in each.api.health.checks.items()}
    probes = create_probe_app(Health(checks=checks))
    apps |= {"healthz": probes, "metrics": probes}
    if own_issuer is not None:
        apps["issuer"] = _issuer_app(own_issuer)
    titles = [(each.service.name, each.service.title) for each in running]
    return Dispatch(apps, start_page.create_app(titles, partial(_examples, running)))


def _issuer_app(own: issuer.DevIssuer) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)
    app.state.trusted_proxies = ()
    app.include_router(issuer.router(own))
    return app


class Dispatch:
    """Sends a request to the application named by the first part of its path."""

    def __init__(self, apps: Mapping[str, ASGIApp], root: ASGIApp) -> None:
        self._apps = apps
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotFound(f"no {scope['type']} here")
        first = scope["path"].split("/", 2)[1] if scope["path"].startswith("/") else ""
        await self._apps.get(first, self._root)(scope, receive, send)


def _examples(running: Sequence[_Running], base: str) -> list[str]:
    lines: list[str] = []
    for each in running:
        if each.service.examples is not None:
            lines += each.service.examples(base, each.ctx.clock.now())
    return lines


def _greet(shared: SharedSettings, running: Sequence[_Running]) -> None:
    host = "127.0.0.1" if shared.host in ("0.0.0.0", "::") else shared.host  # noqa: S104 - only how it is shown
    base = f"http://{host}:{shared.port}"
    out.print(f"\nCityLoop runs at {base}/  (Ctrl-C ends it; data and log in {shared.var}/)\n")
    for each in running:
        out.print(f"  {each.service.title}: {base}/{each.service.name}/v1/docs")
    out.print("\nTry, in another terminal:", soft_wrap=True)
    for line in _examples(running, base):
        out.print(f"  {line}", soft_wrap=True, markup=False)
    out.print()


@contextmanager
def _alone(var: Path) -> Iterator[None]:
    """One embedded process a folder: its cache and its wake-ups live inside the process."""
    var.mkdir(parents=True, exist_ok=True)
    with (var / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fail(f"another CityLoop runs on {var}/; stop it, or choose another folder with CITYLOOP_VAR", 2)
        yield


@contextmanager
def _log_file(var: Path) -> Iterator[TextIO]:
    with (var / "cityloop.log").open("a", encoding="utf-8", buffering=1) as file:
        yield file


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(dev)
