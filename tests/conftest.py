"""Fixtures of all suites, and the rule that nothing is skipped in CI without a word."""

from __future__ import annotations

import asyncio
import functools
import os
import uuid
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest
import redis.asyncio
from aiokafka.admin import AIOKafkaAdminClient

from tests.support import IN_CI, STRICT, Servers, data_folder

# No wall clock decides and no local database of examples: a failure on one machine is a failure on all.
hypothesis.settings.register_profile("cityloop", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("cityloop")

REDIS_DATABASES = range(1, 16)
CLAIM_S = 300


def _missing(what: str) -> None:
    if STRICT:
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real input (parking/, charging/, waste/)."""
    folder = data_folder()
    if not folder.is_dir():
        _missing(f"no input data in {folder}: set CITYLOOP_DATA")
    return folder


@functools.cache
def _servers() -> tuple[Servers, list[str]]:
    servers = Servers.from_environment()
    return servers, servers.missing()


@pytest.fixture
def stack() -> Servers:
    """The addresses of the servers of `make stack`."""
    servers, missing = _servers()
    if missing:
        _missing(f"nothing listens at {', '.join(missing)}: run `make stack`")
    return servers


@pytest.fixture
async def fresh_postgres_url(stack: Servers) -> AsyncIterator[str]:
    """An empty PostgreSQL database of this test's own, dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    await _administer(stack.postgres_url, f'CREATE DATABASE "{name}" TEMPLATE template0')
    yield urlunsplit(urlsplit(stack.postgres_url)._replace(path=f"/{name}"))
    await _administer(stack.postgres_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _administer(url: str, statement: str) -> None:
    async with asyncio.timeout(60):
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest.fixture
async def fresh_topic_prefix(stack: Servers) -> AsyncIterator[str]:
    """A prefix that no other test's topics have; the topics under it are deleted afterwards."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    yield prefix
    admin = AIOKafkaAdminClient(bootstrap_servers=urlsplit(stack.kafka_url).netloc)
    async with asyncio.timeout(60):
        await admin.start()
        try:
            if mine := [topic for topic in await admin.list_topics() if topic.startswith(prefix)]:
                await admin.delete_topics(mine)
        finally:
            await admin.close()


@pytest.fixture
async def redis_url(stack: Servers) -> AsyncIterator[str]:
    """An empty Redis database of this test's own: one of 15, claimed in database 0 and flushed before and after."""
    async with redis.asyncio.Redis.from_url(stack.redis_url) as registry:
        number = await _claim(registry)
        url = f"{stack.redis_url.rstrip('/')}/{number}"
        async with redis.asyncio.Redis.from_url(url) as mine:
            await mine.flushdb()
            yield url
            await mine.flushdb()
        await registry.delete(f"cityloop-test-database:{number}")


async def _claim(registry: redis.asyncio.Redis) -> int:
    async with asyncio.timeout(60):
        while True:
            for number in REDIS_DATABASES:
                if await registry.set(f"cityloop-test-database:{number}", os.getpid(), nx=True, ex=CLAIM_S):
                    return number
            await asyncio.sleep(0.1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one, unless marked `skip_in_ci(reason)`."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("skip_in_ci") is None:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI a module that skips itself is an error."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} skipped in CI: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
