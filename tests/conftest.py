"""Fixtures of all suites, and the rule that nothing is skipped in CI without a word."""

from __future__ import annotations

import functools
import gc
import os
import re
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import hypothesis
import pytest

from tests.servers import own_database, own_redis, own_topics
from tests.support import IN_CI, STRICT, Servers, data_folder

# Collecting tests imports and makes what stays: to look through it for garbage again and again took half of the time.
gc.disable()

# No wall clock decides and no local database of examples: a failure on one machine is a failure on all.
hypothesis.settings.register_profile("cityloop", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("cityloop")


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


@pytest.fixture(scope="session")
def stack() -> Servers:
    """The addresses of the servers of `make stack`."""
    servers, missing = _servers()
    if missing:
        _missing(f"nothing listens at {', '.join(missing)}: run `make stack`")
    return servers


@pytest.fixture
async def fresh_postgres_url(stack: Servers) -> AsyncIterator[str]:
    """An empty PostgreSQL database of this test's own, dropped afterwards."""
    async with own_database(stack) as url:
        yield url


@pytest.fixture
async def fresh_topic_prefix(stack: Servers) -> AsyncIterator[str]:
    """A prefix that no other test's topics have; the topics under it are deleted afterwards."""
    async with own_topics(stack) as prefix:
        yield prefix


@pytest.fixture
async def redis_url(stack: Servers) -> AsyncIterator[str]:
    """An empty Redis database of this test's own."""
    async with own_redis(stack) as url:
        yield url


def _may_take_s(item: pytest.Item) -> float:
    timeout = item.get_closest_marker("timeout")
    return 0.0 if timeout is None or item.get_closest_marker("xdist_group") else float(timeout.args[0])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, what may take long begins early. Groups are first anyway, each on one worker, which starts their city once."""
    if getattr(config.option, "loadgroup", False):
        items.sort(key=_may_take_s, reverse=True)


def pytest_collection_finish() -> None:
    """From here on garbage is looked for, in what tests make."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Whoever reads a report finds a test by its own name."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        report.nodeid = re.sub(r"@[\w-]+$", "", report.nodeid)


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
