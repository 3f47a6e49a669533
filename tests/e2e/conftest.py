"""A running city for the tests of a module that only read or make their own objects: embedded, and as replicas on real servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from cityloop_parking.places.domain import PlaceFacts
from cityloop_parking.sample import invented_places
from tests.e2e.processes import City, Process, city, command, embedded, token
from tests.servers import own_database, own_redis, own_topics
from tests.support import PATIENCE_S, Servers, wait_until

SAMPLE = "sample-001"
NEAR = {"near": "109.787,39.565", "radius_m": "5000", "limit": "100"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a module that says `BESIDE`, cases of a `service` that is not there on real servers are for the embedded form alone."""
    left_out = [each for each in items if isinstance(each, pytest.Function) and _is_elsewhere(each)]
    if left_out:
        items[:] = [each for each in items if each not in left_out]
        config.hook.pytest_deselected(items=left_out)


def _is_elsewhere(item: pytest.Function) -> bool:
    beside: Sequence[str] | None = getattr(item.module, "BESIDE", None)
    params: Mapping[str, object] = item.callspec.params if hasattr(item, "callspec") else {}
    return beside is not None and params.get("town") == "replicas" and params.get("service", "parking") not in ("parking", *beside)


@dataclass(slots=True)
class Town:
    """Where to write, where to read (another replica when there is one), and tokens for whoever a test wants to be.

    `others`: where the services besides parking are, when they are processes of their own.
    """

    url: str
    reader_url: str
    settings: Mapping[str, str]
    folder: Path
    sample_operator: str
    others: Mapping[str, str] = field(default_factory=dict)
    kept: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def url_of(self, service: str) -> str:
        """Where a service is written to."""
        return self.others.get(service, self.url)

    def bearer(self, role: str, *, subject: str = "", operator: str = "") -> dict[str, str]:
        """The Authorization header of a role."""
        who = (role, subject, operator)
        if who not in self.kept:
            self.kept[who] = token(self.settings, role, subject=subject, operator=operator)
        return {"authorization": f"Bearer {self.kept[who]}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["embedded", pytest.param("replicas", marks=pytest.mark.stack)])
async def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """The sample city for one module: `cityloop dev`, and two API replicas of parking with two workers.

    A module that says `BESIDE` has beside the replicas one API of each service that it names, without a worker; `SETTINGS` are for all.
    """
    folder = tmp_path_factory.mktemp("town")
    settings: Mapping[str, str] = getattr(request.module, "SETTINGS", {})
    if request.param == "embedded":
        async with embedded(folder, **settings) as process:
            yield Town(process.url, process.url, process.settings, folder, "sample-operator")
    else:
        async with AsyncExitStack() as stack:
            servers: Servers = request.getfixturevalue("stack")
            running = await stack.enter_async_context(replicas(folder, servers, **settings))
            beside: Sequence[str] = getattr(request.module, "BESIDE", ())
            others = {service: await stack.enter_async_context(_alone(running, servers, service)) for service in beside}
            made = Town(running.apis[0].url, running.apis[1].url, running.settings, folder, "sample", others)
            await make_sample(made)
            yield made


@asynccontextmanager
async def _alone(running: City, servers: Servers, service: str) -> AsyncIterator[str]:
    """The address of one API of a service, with its sample, on a database of its own beside a running city."""
    async with own_database(servers) as url:
        settings = {**running.settings, f"CITYLOOP_{service.upper()}_DATABASE_URL": url}
        for job in ("migrate", "sample"):
            done = await asyncio.to_thread(command, settings, running.folder, service, job)
            assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        process = Process([service, "api"], settings, running.folder)
        process.start()
        try:
            await process.ready()
            yield process.url
        finally:
            process.kill()


@asynccontextmanager
async def replicas(folder: Path, servers: Servers, services: Sequence[str] = ("parking",), **settings: str) -> AsyncIterator[City]:
    """Two API replicas and two workers of each service, on databases, topics and a Redis database of their own."""
    async with AsyncExitStack() as stack:
        postgres_urls = {service: await stack.enter_async_context(own_database(servers)) for service in services}
        redis_url = await stack.enter_async_context(own_redis(servers))
        prefix = await stack.enter_async_context(own_topics(servers))
        given = {"CITYLOOP_CACHE_URL": redis_url, **settings}
        running = city(folder, postgres_urls=postgres_urls, kafka_url=servers.kafka_url, topic_prefix=prefix, **given)
        yield await stack.enter_async_context(running)


async def make_sample(made: Town) -> None:
    """The car parks of the sample as an operator would send them, and a count of each, all in one batch."""
    operator = made.bearer("lot_operator", operator=made.sample_operator)
    async with httpx.AsyncClient(base_url=made.url, timeout=PATIENCE_S, headers=operator) as http:
        for facts in invented_places():
            kept = await http.put(f"/parking/v1/places/{facts.id}", json=place_body(facts))
            assert kept.status_code == 201, kept.text
        counted = await http.post("/parking/v1/observations", json={"observations": [count_body(facts) for facts in invented_places()]})
        assert counted.json()["accepted"] == len(invented_places()), counted.text
    async with httpx.AsyncClient(base_url=made.reader_url, timeout=PATIENCE_S) as http:

        async def all_found() -> bool:
            places = (await http.get("/parking/v1/places", params=NEAR)).json()["places"]
            assert Counter(each["freshness"] for each in places) == {"live": len(invented_places())}
            return True

        await wait_until(all_found, 2 * PATIENCE_S, every=0.1, what="the other replica shows all car parks and their counts")


def count_body(facts: PlaceFacts) -> dict[str, object]:
    """A count of a car park that is half full, as its operator sends it in a batch."""
    counts = [{"category": pool.category, "occupied": pool.capacity // 2} for pool in facts.pools]
    return {"place_id": facts.id, "observed_at": datetime.now(UTC).isoformat(), "source": "gate", "counts": counts}


def place_body(facts: PlaceFacts) -> dict[str, object]:
    """A car park as its operator sends it."""
    return {
        "name": facts.name,
        "name_en": facts.name_en,
        "kind": facts.kind,
        "access": facts.access,
        "position": {"lon": facts.position.lon, "lat": facts.position.lat},
        "datum": "wgs84",
        "pools": [{"category": pool.category, "capacity": pool.capacity, "walk_in_reserve": pool.walk_in_reserve} for pool in facts.pools],
        "invented": True,
    }


@pytest_asyncio.fixture(loop_scope="module")
async def client(town: Town) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the replica that is written to."""
    async with httpx.AsyncClient(base_url=town.url, timeout=PATIENCE_S) as http:
        yield http


@pytest_asyncio.fixture(loop_scope="module")
async def reader(town: Town) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the other replica; of the same process when there is only one."""
    async with httpx.AsyncClient(base_url=town.reader_url, timeout=PATIENCE_S) as http:
        yield http
