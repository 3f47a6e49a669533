"""What a service is made of, as data; `runtime` runs it and the simulation starts the same parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import typer
from fastapi import APIRouter
from sqlalchemy import MetaData

from cityloop_common.auth import TokenVerifier
from cityloop_common.consuming import Consumer
from cityloop_common.context import Ctx
from cityloop_common.envelope import Event, EventType, Kind
from cityloop_common.eventlog import Retention, TopicSpec
from cityloop_common.http import Check
from cityloop_common.jobs import JobKind
from cityloop_common.leases import Held
from cityloop_common.routes import SpokenProtocol
from cityloop_common.settings import ServiceSettings
from cityloop_common.sse import Hub
from cityloop_common.sweeps import Sweep

if TYPE_CHECKING:
    from cityloop_common.indicator import Indicator

FACTS_KEPT_FOR = timedelta(days=14)
DEAD_LETTERS_KEPT_FOR = timedelta(days=14)
Loop = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What an API replica has besides its routes.

    `state` becomes attributes of `app.state`; `loops` run as long as the replica; `close_first` ends open streams before
    the server waits for its requests; `checks` must pass before the replica takes traffic; `verifiers` know tokens of
    issuers of the service's own; `hub` has the streams whose clients are told when a figure becomes another.
    """

    state: Mapping[str, object] = field(default_factory=dict)
    loops: Mapping[str, Loop] = field(default_factory=dict)
    close_first: Sequence[Callable[[], None]] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    verifiers: Mapping[str, TokenVerifier] = field(default_factory=dict)
    hub: Hub | None = None


def _no_parts(_: Ctx[Any]) -> ApiParts:
    return ApiParts()


@dataclass(frozen=True, slots=True)
class Republish:
    """How a topic's newest events are read again from the publisher's own tables, with their old ids."""

    topic: str
    events: Callable[[Ctx[Any], str | None], AsyncIterator[Event]]


@dataclass(frozen=True, slots=True)
class Service:
    """One of the city's services.

    `only_once` are loops of the worker by name, each run by one process of the service at a time: it has the right of that name.
    `examples` answers lines to paste into a terminal, for an address and an instant; `sample` makes the invented city
    once, `live_sample` keeps it alive; `indicators` are its figures (their routes, sweep and events stand beside the
    others); `protocols` are the standards that it speaks besides its own API; `rebuild` makes what can be derived anew and
    tells its progress; `serves_pages` is true of the one service whose API also answers `/` with the web pages.
    """

    name: str
    title: str
    settings: type[ServiceSettings]
    metadata: MetaData
    migrations: str
    publishes: Sequence[EventType[Any]]
    routers: Sequence[APIRouter]
    protocols: Sequence[SpokenProtocol] = ()
    consumers: Sequence[Consumer] = ()
    sweeps: Sequence[Sweep] = ()
    only_once: Mapping[str, Callable[[Ctx[Any], Held], Awaitable[None]]] = field(default_factory=dict)
    jobs: Sequence[JobKind] = ()
    api_parts: Callable[[Ctx[Any]], ApiParts] = _no_parts
    republish: Sequence[Republish] = ()
    indicators: Sequence[Indicator] = ()
    rebuild: Callable[[Ctx[Any], Callable[[int, int | None, str], None]], Awaitable[object]] | None = None
    sample: Callable[[Ctx[Any]], Awaitable[None]] | None = None
    live_sample: Callable[[Ctx[Any]], Awaitable[None]] | None = None
    examples: Callable[[str, datetime], Sequence[str]] | None = None
    cli: typer.Typer | None = None
    serves_pages: bool = False

    def topics(self) -> list[TopicSpec]:
        """The topics that this service publishes, and the dead-letter topics of those that it reads."""
        kinds = {each.topic: each.kind for each in self.publishes}
        retention = {Kind.STATE: Retention.COMPACT, Kind.FACT: Retention.DELETE}
        own = [TopicSpec(topic, retention[kind], FACTS_KEPT_FOR) for topic, kind in kinds.items()]
        read = sorted({topic for consumer in self.consumers for topic in consumer.topics})
        return own + [TopicSpec(f"{topic}.dlq", Retention.DELETE, DEAD_LETTERS_KEPT_FOR) for topic in read]


def installed_services() -> list[Service]:
    """The services of this installation, by name (entry points `cityloop.services`)."""
    found = [point.load() for point in entry_points(group="cityloop.services")]
    return sorted(found, key=lambda service: service.name)
