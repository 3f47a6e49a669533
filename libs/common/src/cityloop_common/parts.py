"""Puts a service together: its context, its application, its loops. The simulation starts the same parts."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI

from cityloop_common import __version__, districts_api, metrics, pages
from cityloop_common.auth import AuthConfig, BearerVerifier, Role
from cityloop_common.cache import Cache, open_cache
from cityloop_common.clock import Clock, SystemClock
from cityloop_common.consuming import run_consumer
from cityloop_common.context import Ctx
from cityloop_common.db import open_db
from cityloop_common.districts import from_settings
from cityloop_common.errors import Unavailable
from cityloop_common.eventlog import EventLog, open_event_log
from cityloop_common.http import Check, Health, HttpConfig, create_app
from cityloop_common.ids import Ids
from cityloop_common.indicator.present import Present
from cityloop_common.indicator.telling import tell_changes
from cityloop_common.jobs import run_jobs
from cityloop_common.jwks import KeySource, jwks_over_http
from cityloop_common.leases import run_while_held
from cityloop_common.migrating import behind
from cityloop_common.network import Network, parse_networks
from cityloop_common.pool import Pool, SpawnedPool
from cityloop_common.relay import run_relay
from cityloop_common.rng import Rng
from cityloop_common.service import ApiParts, Loop, Service
from cityloop_common.settings import ServiceSettings, SettingsError, SharedSettings, load, named
from cityloop_common.sweeps import KIT_SWEEPS, measuring_jobs, run_sweep
from cityloop_common.wakes import NAMES, hear_wakes, send_wakes


@dataclass(frozen=True, slots=True)
class Ports:
    """What services of one process share."""

    clock: Clock
    rng: Rng
    log: EventLog
    cache: Cache
    pool: Pool


def open_ports(shared: SharedSettings) -> Ports:
    """The real ports by the settings."""
    clock = SystemClock()
    with named("CITYLOOP_EVENT_LOG_URL"):
        log = open_event_log(shared.log_url(), clock=clock)
    with named("CITYLOOP_CACHE_URL"):
        cache = open_cache(shared.cache_url, clock=clock)
    return Ports(clock, Rng(), log, cache, SpawnedPool(workers=shared.pool_workers, most_waiting=shared.pool_most_waiting))


async def close_ports(ports: Ports) -> None:
    """Closes what `open_ports` opened."""
    await ports.pool.close()
    await ports.log.close()
    await ports.cache.close()


def build_ctx(service: Service, shared: SharedSettings, ports: Ports) -> Ctx[Any]:
    """The context of one service over the process's ports."""
    settings: ServiceSettings = load(service.settings, shared=shared)
    with named(f"CITYLOOP_{service.name.upper()}_DATABASE_URL"):
        db = open_db(settings.db_url(service.name), clock=ports.clock, pool_size=settings.database_pool)
    if db.dialect_name == "postgresql":
        metrics.clock_skew.read_from(service.name, source=lambda: db.skew_s)
    ids = Ids(ports.clock, ports.rng.stream(f"ids/{service.name}"))
    districts = from_settings(shared)
    return Ctx(service.name, settings, ports.clock, ids, ports.rng, db, ports.log, ports.cache, ports.pool, districts)


def worker_name(settings: ServiceSettings) -> str:
    """Who holds leases: the set name, or host and process."""
    return settings.worker_id or f"{socket.gethostname()}:{os.getpid()}"


def key_source(shared: SharedSettings) -> KeySource:
    """Where the identity provider's keys come from. Raises SettingsError when nobody said."""
    if not shared.jwks_url:
        raise SettingsError("CITYLOOP_JWKS_URL is not set: who signs the tokens?")
    return jwks_over_http(shared.jwks_url)


@dataclass(frozen=True, slots=True)
class Api:
    """An API replica, ready to be served."""

    app: FastAPI
    health: Health
    parts: ApiParts
    loops: Mapping[str, Loop]


def build_api(service: Service, ctx: Ctx[Any], keys: KeySource) -> Api:
    """The application of a service and the loops that an API replica needs."""
    shared = ctx.settings.shared
    parts = service.api_parts(ctx)
    health = Health(checks={"database": ctx.db.ping, "schema": _schema_check(service, ctx), **parts.checks})
    app = create_app(
        ctx,
        title=service.title,
        version=__version__,
        routers=(*service.routers, districts_api.router),
        protocols=service.protocols,
        verifier=BearerVerifier(_auth_config(shared), keys=keys, clock=ctx.clock, local=parts.verifiers),
        health=health,
        config=HttpConfig(trusted_proxies=_proxies(shared)),
    )
    if service.serves_pages:
        app.include_router(pages.router(pages.find_build()))
    app.state.figures = figures = Present(ctx)
    for name, value in parts.state.items():
        setattr(app.state, name, value)
    loops = dict(parts.loops)
    if parts.hub is not None and service.indicators:
        loops["figures"] = partial(tell_changes, figures, parts.hub, service.indicators)
    return Api(app, health, parts, {f"{service.name}/{name}": loop for name, loop in loops.items()})


def _proxies(shared: SharedSettings) -> tuple[Network, ...]:
    with named("CITYLOOP_TRUSTED_PROXIES"):
        return parse_networks(shared.trusted_proxies)


def _auth_config(shared: SharedSettings) -> AuthConfig:
    with named("CITYLOOP_ROLE_MAP"):
        roles = {name: Role(role) for name, role in shared.role_map.items()}
    with named("CITYLOOP_TOKEN_ALGORITHMS"):
        return AuthConfig(
            issuer=shared.issuer,
            audience=shared.audience,
            algorithms=tuple(shared.token_algorithms),
            role_claim=shared.role_claim,
            role_map=roles,
            operator_claim=shared.operator_claim,
        )


def _schema_check(service: Service, ctx: Ctx[Any]) -> Check:
    """Ready only on a migrated database; once seen, it is not asked again."""
    seen = False

    async def check() -> None:
        nonlocal seen
        if not seen and await behind(ctx.db, service.migrations):
            raise Unavailable(f"the schema is behind: cityloop {service.name} migrate")
        seen = True

    return check


def wake_loops(ctx: Ctx[Any]) -> dict[str, Loop]:
    """Loops that an API process without a worker needs so that other processes hear of its commits."""
    if ctx.db.dialect_name != "postgresql":
        return {}
    return {f"{ctx.service}/wake-{name}": partial(send_wakes, ctx, name) for name in NAMES}


class Groups:
    """Which consumer groups a worker is still joining."""

    def __init__(self, service: Service) -> None:
        self._joining = {consumer.name for consumer in service.consumers}

    def note(self, name: str) -> None:
        """It has joined, or could not: a log that is away, or a neighbour that is not installed, makes no worker unready."""
        self._joining.discard(name)

    async def check(self) -> None:
        """Raises Unavailable while one is being joined: only then may a rolling restart stop the next worker.

        Who leaves a group that another is just joining makes all wait for a session (seen: 19 s without consuming instead of 2).
        """
        if self._joining:
            raise Unavailable(f"joining {', '.join(sorted(self._joining))}")


def worker_loops(service: Service, ctx: Ctx[Any], groups: Groups | None = None) -> dict[str, Loop]:
    """Relay, consumers, sweeps, jobs and what runs only once of a service; `groups` is told what they have joined."""
    groups, worker = groups or Groups(service), worker_name(ctx.settings)
    loops: dict[str, Loop] = {"relay": partial(run_relay, ctx, worker), "fanout": ctx.fanout.run_publisher}
    for consumer in service.consumers:
        loops[f"consumer {consumer.name}"] = partial(run_consumer, ctx, consumer, partial(groups.note, consumer.name))
    kinds = [kind.name for kind in service.jobs]
    sweeps = (*KIT_SWEEPS, *service.sweeps, *((measuring_jobs(kinds),) if kinds else ()))
    metrics.begin_at_zero(
        service.name,
        consumed=[(consumer.name, topic) for consumer in service.consumers for topic in consumer.topics],
        sweeps=[sweep.name for sweep in sweeps],
        jobs=kinds,
        only_once=list(service.only_once),
    )
    for name, work in service.only_once.items():
        loops[f"only-once {name}"] = partial(run_while_held, ctx, name, worker, partial(work, ctx))
    for sweep in sweeps:
        loops[f"sweep {sweep.name}"] = partial(run_sweep, ctx, sweep)
    if service.jobs:  # a job that uses the pool waits for a process: as many jobs at a time as there are processes
        for number in range(1, ctx.settings.shared.pool_workers + 1):
            loops[f"jobs-{number}"] = partial(run_jobs, ctx, service.jobs, worker)
    if ctx.db.dialect_name == "postgresql":
        loops["wakes"] = partial(hear_wakes, ctx)
    return {f"{service.name}/{name}": loop for name, loop in loops.items()}
