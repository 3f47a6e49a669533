"""`cityloop migrate`, `rebuild`, `doctor`, `settings`, `issuer`, and what each service's own sub-command runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated, Any

import orjson
import typer
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from cityloop_common import __version__, issuer, jobs, problems
from cityloop_common.clock import SystemClock
from cityloop_common.context import Ctx
from cityloop_common.errors import CityLoopError, Unavailable
from cityloop_common.http import Health, create_probe_app
from cityloop_common.indicator import cli as figures
from cityloop_common.migrating import behind, migrate
from cityloop_common.network import parse_networks
from cityloop_common.parts import Groups, build_api, build_ctx, close_ports, key_source, open_ports, wake_loops, worker_loops, worker_name
from cityloop_common.rng import Rng
from cityloop_common.runtime import Plan, PortTaken, bind, run, serve
from cityloop_common.service import Service, installed_services
from cityloop_common.settings import SettingsError, SharedSettings, env_example
from cityloop_common.telemetry import configure_logging
from cityloop_common.terminal import (
    AsJson,
    fail,
    opened,
    opened_ports,
    out,
    print_json,
    progress_bar,
    run_async,
    services_at_hand,
    shared_settings,
    show,
)

CHECK_WITHIN_S = 5.0


def migrate_all() -> None:
    """Brings every service's database to the newest schema and creates the topics."""
    for service in installed_services():
        run_async(migrate_service(service))


async def migrate_service(service: Service) -> None:
    """One service's schema and topics; says what it did."""
    async with opened(service) as ctx:
        was_behind = await behind(ctx.db, service.migrations)
        await migrate(ctx.db, service.migrations, service.metadata)
        await ctx.log.create_topics(service.topics())
    out.print(f"{service.name}: schema {'brought up to date' if was_behind else 'was up to date'}, {len(service.topics())} topics ready")


def rebuild(service: Annotated[str | None, typer.Argument(help="Only this service.")] = None) -> None:
    """Makes everything that is derived anew from the facts: search indexes, caches, models."""
    chosen = [each for each in installed_services() if each.rebuild is not None and service in (None, each.name)]
    if not chosen:
        fail(f"nothing to rebuild for {service!r}")
    for each in chosen:
        run_async(_rebuild(each))


async def _rebuild(service: Service) -> None:
    assert service.rebuild is not None
    work = service.rebuild

    async def run_rebuild(run: jobs.JobRun) -> object:
        seen: list[tuple[int, int | None, str]] = []

        def tell(done: int, total: int | None, note: str) -> None:
            seen.append((done, total, note))
            if run.on_progress is not None:
                run.on_progress(done, total, note)

        answer = await work(run.ctx, tell)
        if seen:
            await run.progress(*seen[-1])
        return answer

    async with opened(service) as ctx:
        with progress_bar(f"rebuild {service.name}") as advance:
            kind = jobs.JobKind("rebuild", run_rebuild)
            done = await jobs.run_here(ctx, kind, {}, worker=worker_name(ctx.settings), on_progress=advance)
    if done.state != "done":
        fail(f"{service.name}: {done.error or done.state}")
    out.print(f"{service.name}: {done.result}")


def doctor(as_json: AsJson = False) -> None:
    """Says what is reachable, what is not, and what to do about it."""
    rows = run_async(_doctor())
    show(("part", "state", "what to do"), rows, as_json=as_json)
    if any(row["state"] != "ok" for row in rows):
        raise typer.Exit(1)


async def _doctor() -> list[Mapping[str, object]]:
    rows: list[Mapping[str, object]] = []
    async with opened_ports() as (shared, ports):
        rows.append(await _checked("event log", ports.log.ping, f"is {_shown(shared.log_url())} running? CITYLOOP_EVENT_LOG_URL"))
        rows.append(
            await _checked("cache", ports.cache.ping, "is Redis running? CITYLOOP_CACHE_URL; without it answers are slower, not wrong")
        )
        if shared.jwks_url:
            fetch = key_source(shared)
            rows.append(await _checked("identity provider", fetch, "is CITYLOOP_JWKS_URL right and reachable?"))
        for service in services_at_hand():
            async with opened(service) as ctx:
                rows += await _doctor_service(service, ctx)
    return rows


async def _doctor_service(service: Service, ctx: Ctx[Any]) -> list[Mapping[str, object]]:
    name = service.name
    database = await _checked(
        f"{name} database", ctx.db.ping, f"is {_shown(str(ctx.db.url))} running? CITYLOOP_{name.upper()}_DATABASE_URL"
    )
    rows: list[Mapping[str, object]] = [database]
    if database["state"] == "ok":

        async def schema() -> None:
            if await behind(ctx.db, service.migrations):
                raise CityLoopError("migrations are missing")

        rows.append(await _checked(f"{name} schema", schema, f"run: cityloop {name} migrate"))

        async def clock() -> None:
            async with ctx.db.write():
                return

        rows.append(await _checked(f"{name} writes", clock, "is the disk full, or this machine's clock off? (5 s are allowed)"))
    return rows


async def _checked(part: str, check: Callable[[], Awaitable[object]], advice: str) -> Mapping[str, object]:
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            await check()
    except TimeoutError:
        return {"part": part, "state": "no answer", "what to do": advice}
    except Exception as error:  # noqa: BLE001 - a doctor reports whatever is wrong
        return {"part": part, "state": f"{type(error).__name__}: {error}"[:120], "what to do": advice}
    return {"part": part, "state": "ok", "what to do": None}


def _shown(url: str) -> str:
    """An address without its password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def settings() -> None:
    """Prints every setting with its meaning and default (the text of .env.example)."""
    sys.stdout.write(env_example([SharedSettings, *(service.settings for service in installed_services())]))


def run_issuer() -> None:
    """Runs the development issuer as a process of its own (compose); never in production."""
    try:
        shared = shared_settings()
        configure_logging(shared.log_level)
        run(partial(_issuer, shared))
    except (SettingsError, PortTaken, issuer.IssuerRefused) as error:
        fail(str(error), 2)


async def _issuer(shared: SharedSettings) -> None:
    own = issuer.DevIssuer(
        shared.var / "keys", environment=shared.environment, issuer=shared.issuer, audience=shared.audience, clock=SystemClock(), rng=Rng()
    )
    networks = parse_networks(shared.trusted_proxies)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)
    app.state.trusted_proxies = networks
    app.include_router(issuer.router(own, reachable_from=networks))
    health = Health()
    app.mount("/", create_probe_app(health))
    await serve(Plan(app, [health], {}), bind(shared), shared)


def service_commands(service: Service) -> typer.Typer:
    """`cityloop <service> ...`: what each service can do, its own commands included."""
    app = service.cli or typer.Typer()
    app.info.help = app.info.help or service.title
    app.info.no_args_is_help = True
    app.command("api", help="Serves the API of this service.")(lambda: _run_role(service, _api))
    app.command("worker", help="Runs relay, consumers, sweeps and jobs of this service.")(lambda: _run_role(service, _worker))
    app.command("migrate", help="Brings the database to the newest schema and creates topics.")(lambda: run_async(migrate_service(service)))
    app.command("openapi", help="Prints the OpenAPI document.")(lambda: print_json(openapi(service)))
    if service.sample is not None:
        app.command("sample", help="Makes this service's part of the invented sample city; never in production.")(
            lambda: run_async(make_sample(service))
        )
    if service.indicators:
        figures.register(app, service)
    return app


async def make_sample(service: Service) -> None:
    """The service's part of the invented city, in a database that is migrated. Raises SettingsError in production."""
    assert service.sample is not None
    async with opened(service) as ctx:
        if ctx.settings.shared.environment == "production":
            raise SettingsError("the invented sample has no place in production")
        if await behind(ctx.db, service.migrations):
            raise Unavailable(f"The database lacks its schema; run: cityloop {service.name} migrate")
        await service.sample(ctx)
    out.print(f"{service.name}: the invented sample is there")


def openapi(service: Service) -> dict[str, Any]:
    """The OpenAPI document of a service, without opening anything."""
    app = FastAPI(title=service.title, version=__version__)
    for router in service.routers:
        app.include_router(router, prefix=f"/{service.name}/v1", responses=problems.RESPONSES)
    document = get_openapi(title=service.title, version=__version__, routes=app.routes)
    document.setdefault("components", {}).setdefault("schemas", {}).update(problems.schemas())
    return orjson.loads(orjson.dumps(document))  # type: ignore[no-any-return]


def _run_role(service: Service, role: Callable[[Service, SharedSettings], Any]) -> None:
    try:
        shared = shared_settings()
        configure_logging(shared.log_level)
        run(partial(role, service, shared))
    except (SettingsError, PortTaken) as error:
        fail(str(error), 2)


async def _api(service: Service, shared: SharedSettings) -> None:
    listening = bind(shared)
    ports = open_ports(shared)
    async with AsyncExitStack() as stack:
        stack.callback(listening.close)
        stack.push_async_callback(close_ports, ports)
        ctx = build_ctx(service, shared, ports)
        stack.push_async_callback(ctx.db.close)
        stack.push_async_callback(ctx.fanout.flush)
        api = build_api(service, ctx, key_source(shared))
        plan = Plan(api.app, [api.health], {**api.loops, **wake_loops(ctx)}, api.parts.close_first, shared.drain_for_s)
        await serve(plan, listening, shared)


async def _worker(service: Service, shared: SharedSettings) -> None:
    listening = bind(shared)
    ports = open_ports(shared)
    async with AsyncExitStack() as stack:
        stack.callback(listening.close)
        stack.push_async_callback(close_ports, ports)
        ctx = build_ctx(service, shared, ports)
        stack.push_async_callback(ctx.db.close)
        stack.push_async_callback(ctx.fanout.flush)
        groups = Groups(service)
        health = Health(checks={"database": ctx.db.ping, "consumers": groups.check})
        await serve(Plan(create_probe_app(health), [health], worker_loops(service, ctx, groups)), listening, shared)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("migrate")(migrate_all)
    app.command()(rebuild)
    app.command()(doctor)
    app.command()(settings)
    app.command("issuer")(run_issuer)
