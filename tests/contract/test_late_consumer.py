"""Whoever comes late, was away, or hears everything twice and in another order, ends where everybody else is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from cityloop_common.clock import SystemClock
from cityloop_common.eventlog import EventLog, Record, open_event_log
from cityloop_common.indicator import Status
from tests.contract.late_support import SERVICES, Node, Suite, again, suite
from tests.e2e.processes import command
from tests.servers import own_database, own_topics
from tests.support import Servers, wait_until

BETWEEN = ("parking.place", "parking.occupancy", "charging.location", "charging.evse", "waste.plan")
KINDS = ["embedded", pytest.param("servers", marks=pytest.mark.stack)]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where suites of a test stand: SQLite files and a SQLite log, or PostgreSQL and Kafka."""

    folder: Path
    servers: Servers | None
    stack: AsyncExitStack

    async def log_url(self, name: str = "events") -> str:
        """An empty log."""
        if self.servers is None:
            return f"sqlite:///{self.folder / f'{name}.db'}"
        prefix = await self.stack.enter_async_context(own_topics(self.servers))
        return f"{self.servers.kafka_url}?prefix={prefix}"

    async def databases(self, name: str = "one") -> dict[str, str]:
        """An empty database for each service."""
        if self.servers is None:
            return {service: f"sqlite:///{self.folder / f'{name}-{service}.db'}" for service in SERVICES}
        return {service: await self.stack.enter_async_context(own_database(self.servers)) for service in SERVICES}

    async def suite(self, *, clock: SystemClock | None = None) -> Suite:
        """Three services, down."""
        return await self.stack.enter_async_context(suite(self.folder, await self.log_url(), await self.databases(), clock=clock))


@pytest.fixture(params=KINDS)
async def ground(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ground]:
    """Both kinds of ground."""
    servers: Servers | None = request.getfixturevalue("stack") if request.param == "servers" else None
    async with AsyncExitStack() as stack:
        yield Ground(tmp_path, servers, stack)


async def test_republishing_gives_a_late_consumer_the_same_share(ground: Ground) -> None:
    """Charging forgets every car park; `cityloop republish parking.place`; each scheme, district and car park is as before."""
    city = await ground.suite()
    await city.seed()
    city.start()
    await city.quiet()
    for turn in range(3):
        await city.live("parking", turn)
        await city.live("charging", turn)
    await city.quiet()
    share, heard = await city.share(), await city["charging"].mirror()
    others = [await city[name].mirror() for name in ("parking", "waste")]
    assert share["all"][0].numerator > 0
    await city["charging"].stop()
    await city["charging"].forget("parking.place")
    assert {each[0].status for each in (await city.share()).values()} == {Status.NO_DATA}
    city["charging"].start()
    await city.quiet()
    assert {each[0].status for each in (await city.share()).values()} == {Status.NO_DATA}, "nobody tells it again by himself"
    done = await asyncio.to_thread(command, city.settings, city.folder, "republish", "parking.place")
    assert done.returncode == 0, done.stderr
    await city.quiet()
    assert await city.share() == share
    newest = await city["charging"].mirror()
    assert newest["place"] == heard["place"]
    assert set(newest["place_version"]) <= set(heard["place_version"]), "the same events with the same ids; older ones are not told again"
    assert [await city[name].mirror() for name in ("parking", "waste")] == others, "for everybody else it was no news"


async def test_a_service_that_first_starts_when_topics_were_compacted_has_the_same_share(ground: Ground) -> None:
    """Charging was never there while parking told of each car park many times; only the last word of each is left."""
    clock = MovedClock()
    city = await ground.suite(clock=clock)
    await city.seed()
    for name in ("parking", "waste"):
        city[name].start()
    for turn in range(4):
        await city.live("parking", turn)
        await city.quiet()
    told = await _records(city.log, "parking.place")
    await _compacted(ground, city, clock)
    left = await _records(city.log, "parking.place")
    assert len({(record.key, record.value) for record in told}) > len({record.key for record in told}), "each was told of several times"
    assert {(record.key, record.value) for record in left} == set({record.key: record.value for record in told}.items())
    city["charging"].start()
    await city.quiet()
    await city.check_mirrors()
    late = await city.share()
    await city["charging"].stop()
    await city["charging"].forget("parking.place")
    await _tell_all(city, told)
    city["charging"].start()
    await city.quiet()
    assert await city.share() == late, "as one who heard every word"
    assert late["all"][0].numerator > 0


async def test_everything_twice_and_in_another_order_of_partitions_ends_the_same(ground: Ground) -> None:
    """All topics between the services: each partition in its own order, among each other in any, and all of it once more."""
    city = await ground.suite()
    await city.seed()
    city.start()
    for turn in range(6):
        for name in SERVICES:
            await city.live(name, turn)
        await city.quiet()
    await city.check_mirrors()
    await city.stop()
    expected = {name: await node.mirror() for name, node in city.nodes.items()}
    assert all(rows for mirror in expected.values() for rows in mirror.values()), "nothing is compared with nothing"
    told = await _records(city.log, *BETWEEN)
    for seed in range(1 if ground.servers else 3):
        heard = await _heard_in(city, await ground.log_url(f"again-{seed}"), _twice_and_shuffled(told, random.Random(seed)))
        for name, mirror in expected.items():
            for table, rows in mirror.items():
                assert heard[name][table] == rows, (seed, name, table)


async def test_services_stopped_in_every_order_end_the_same(ground: Ground) -> None:
    """One, two, all three are away while the others go on; they come back in the same order; each knows what it would have known."""
    city = await ground.suite()
    await city.seed()
    city.start()
    await city.quiet()
    for turn, order in enumerate(permutations(SERVICES)):
        for name in order:
            await city[name].stop()
            for other in SERVICES:
                if city[other].running:
                    await city.live(other, turn)
        for name in order:
            city[name].start()
            await city.live(name, turn + 1)
        await city.quiet()
        await city.check_mirrors()


@dataclass
class MovedClock(SystemClock):
    """The machine's clock, moved on by a test."""

    by: timedelta = timedelta()

    def now(self) -> Any:
        return super().now() + self.by


async def _records(log: EventLog, *topics: str) -> list[Record]:
    """Everything that a log has of these topics."""
    async with aclosing(log.read(topics, from_start=True, follow=False)) as records:
        return [record async for record in records]


async def _compacted(ground: Ground, city: Suite, clock: MovedClock) -> None:
    """Each compacted topic has the last record of each key only, each topic of facts what it still keeps: nothing."""
    if ground.servers is None:
        clock.by = timedelta(days=40)
        await city.log.prune()
        clock.by = timedelta()
        return
    prefix = city.settings["CITYLOOP_EVENT_LOG_URL"].rpartition("prefix=")[2]
    admin = AIOKafkaAdminClient(bootstrap_servers=urlsplit(ground.servers.kafka_url).netloc)
    await admin.start()
    try:
        at_once = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "cleanup.policy": "compact"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, f"{prefix}parking.place", configs=at_once)])
    finally:
        await admin.close()
    newest = {record.key: record for record in await _records(city.log, "parking.place")}

    async def is_compacted() -> bool:
        """A record more closes the open segment; what was said last is said again, which is no news."""
        await city.log.send([again(record) for record in newest.values()])
        left = await _records(city.log, "parking.place")
        return all(record.value == newest[record.key].value for record in left)

    await wait_until(is_compacted, 120, every=2.0)


async def _tell_all(city: Suite, told: list[Record]) -> None:
    """Every word again, each partition in its order."""
    assert not any(await city.log.send([again(record) for record in told]))


def _twice_and_shuffled(told: list[Record], chance: random.Random) -> list[Record]:
    """Each partition in its order, among each other in any order; the whole once more, and a part of it a third time."""
    found: list[Record] = []
    for whole in (True, True, False):
        parts: dict[tuple[str, int], list[Record]] = {}
        for record in told:
            parts.setdefault((record.topic, record.partition), []).append(record)
        for part in parts.values():
            part.sort(key=lambda record: record.offset, reverse=True)
        ends = {key: 0 if whole else len(part) // 2 for key, part in parts.items()}  # old states are the last that come
        while parts:
            key = chance.choice(sorted(parts))
            some = min(len(parts[key]) - ends[key], chance.randint(1, 40))
            found += [parts[key].pop() for _ in range(some)]
            if len(parts[key]) <= ends[key]:
                del parts[key]
    return found


async def _heard_in(city: Suite, log_url: str, told: list[Record]) -> dict[str, dict[str, list[Any]]]:
    """What each keeps when its consumers hear this from the beginning, over a log that has nothing else."""
    log = open_event_log(log_url, clock=SystemClock())
    try:
        for service in SERVICES.values():
            await log.create_topics(service.topics())
        nodes = {name: Node(node.service, replace(node.ctx, log=log)) for name, node in city.nodes.items()}
        for node in nodes.values():
            await node.forget(*BETWEEN)
        here = Suite(log, nodes, city.settings, city.folder)
        for start in range(0, len(told), 500):
            assert not any(await log.send([again(record) for record in told[start : start + 500]]))
            if not start:
                here.start()
        await here.quiet()
        await here.stop()
        return {name: await node.mirror() for name, node in nodes.items()}
    finally:
        await log.close()
