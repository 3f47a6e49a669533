"""What every suite needs: patience without sleeps, the size of this run, the servers of `make stack`."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload
from urllib.parse import urlsplit

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
PATIENCE_S = 30.0
"""How long a test waits for what should come soon: only a run that fails pays for it, so a slow machine gets its time."""
STRICT = IN_CI or os.environ.get("CITYLOOP_TEST_STRICT") == "1"
"""What is missing fails instead of being skipped."""
_PORTS = itertools.count(97 * os.getpid())  # runs that begin one after the other, side by side, are far from each other


@overload
async def wait_until(predicate: Callable[[], Awaitable[T]], timeout: float = PATIENCE_S, *, every: float = 0.02, what: str = "") -> T: ...
@overload
async def wait_until(predicate: Callable[[], T], timeout: float = PATIENCE_S, *, every: float = 0.02, what: str = "") -> T: ...
async def wait_until(predicate: Callable[[], T | Awaitable[T]], timeout: float = PATIENCE_S, *, every: float = 0.02, what: str = "") -> T:
    """Asks until the answer is true and returns it.

    An AssertionError in the predicate counts as "not yet", and so does what it does not find: a LookupError, `next` of nothing.
    Raises AssertionError with the last answer after `timeout` seconds. On virtual time only virtual time passes.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while True:
        try:
            answer = predicate()
            value = await answer if inspect.isawaitable(answer) else answer
            last = f"last answer {value!r}"
            if value:
                return value
        except AssertionError as error:
            last = f"last error {error}"
        except (LookupError, StopIteration) as error:
            last = f"last error {error!r}"
        except RuntimeError as error:
            if not isinstance(error.__cause__, StopIteration):  # what `next` of nothing becomes in a coroutine
                raise
            last = f"last error {error.__cause__!r}"
        if loop.time() >= end:
            name = what or getattr(predicate, "__name__", "the condition")
            raise AssertionError(f"{name} did not come true within {timeout:g} s; {last}")
        await asyncio.sleep(every)


def scaled(*, ci: int, full: int) -> int:
    """The size of a stress test: `full` under CITYLOOP_SCALE=full (`make soak`), else `ci`."""
    scale = os.environ.get("CITYLOOP_SCALE", "ci")
    if scale not in {"ci", "full"}:
        raise ValueError(f"CITYLOOP_SCALE is {scale!r}: say ci or full")
    return full if scale == "full" else ci


def data_folder() -> Path:
    """Where real input lies: CITYLOOP_DATA, or shared/data beside the checkout."""
    return Path(os.environ.get("CITYLOOP_DATA") or REPOSITORY / ".." / "shared" / "data").resolve()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, another one each time.

    It lies below those that the system gives to connections: whoever starts a server may take seconds to bind it, and meanwhile
    any connection of this machine could have it; whoever knocks at a closed one could end up connected to itself. Workers that
    test side by side have a thousand each.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for number in itertools.islice(_PORTS, 1_000):
        port = 20_000 + 1_000 * (worker % 10) + number % 1_000
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers of `make stack` are."""

    postgres_url: str
    redis_url: str
    kafka_url: str

    @staticmethod
    def from_environment() -> Servers:
        return Servers(
            postgres_url=os.environ.get("CITYLOOP_TEST_POSTGRES_URL", "postgresql://app@127.0.0.1:15432/postgres"),
            redis_url=os.environ.get("CITYLOOP_TEST_REDIS_URL", "redis://127.0.0.1:16379"),
            kafka_url=os.environ.get("CITYLOOP_TEST_KAFKA_URL", "kafka://127.0.0.1:19092"),
        )

    def missing(self) -> list[str]:
        """The addresses that accept no connection."""
        return [url for url in (self.postgres_url, self.redis_url, self.kafka_url) if not _accepts(url)]


def _accepts(url: str, patience_s: float = 2.0) -> bool:
    """True when something listens; a server that a fault test restarts gets `patience_s` to come back."""
    parts = urlsplit(url)
    end = time.monotonic() + patience_s
    while True:
        try:
            socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 0), timeout=1).close()
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.1)
        else:
            return True
