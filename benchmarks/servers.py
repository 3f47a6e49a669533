"""Databases, topics and processes that a measurement needs, and what loads them."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx

from tests.support import Servers, free_port

REPOSITORY = Path(__file__).resolve().parent.parent


def servers() -> Servers:
    """The servers of `make stack`; ends the run when they are not there."""
    found = Servers.from_environment()
    if missing := found.missing():
        sys.exit(f"nothing listens at {', '.join(missing)}: run `make stack`")
    return found


@asynccontextmanager
async def fresh_database() -> AsyncIterator[str]:
    """An empty PostgreSQL database, dropped afterwards."""
    base = servers().postgres_url
    name = f"bench_{uuid.uuid4().hex[:12]}"
    await _run_sql(base, f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield urlunsplit(urlsplit(base)._replace(path=f"/{name}"))
    finally:
        await _run_sql(base, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _run_sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@contextmanager
def process(arguments: list[str], settings: dict[str, str], *, port: int) -> Iterator[str]:
    """A process that serves HTTP on `port`; its address."""
    import os

    given = {name: value for name, value in os.environ.items() if not name.startswith("CITYLOOP_")}
    with tempfile.TemporaryFile() as output:
        running = subprocess.Popen(arguments, env={**given, **settings}, cwd=REPOSITORY, stdout=output, stderr=output)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait(20)


async def answering(url: str, path: str) -> None:
    """Waits until an address answers 200."""
    async with httpx.AsyncClient(base_url=url, timeout=2) as client:
        for _ in range(600):
            try:
                if (await client.get(path)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise TimeoutError(f"{url}{path} did not answer")


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw."""

    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


async def wrk(url: str, *, clients: int, seconds: int, script: str = "") -> Load:
    """Loads an address with wrk (Debian package `wrk`); `script` is Lua."""
    found = shutil.which("wrk")
    if found is None:
        sys.exit("this row needs wrk: apt-get install wrk")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        more = ["-s", file.name] if script else []
        running = await asyncio.create_subprocess_exec(
            found, "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", *more, url, stdout=asyncio.subprocess.PIPE
        )
        said = (await running.communicate())[0].decode()
    return _read_wrk(said)


def _read_wrk(said: str) -> Load:
    def number(pattern: str) -> str:
        hit = re.search(pattern, said)
        return hit.group(1) if hit else "0"

    errors = int(number(r"Non-2xx or 3xx responses: (\d+)")) + sum(
        int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", said)
    )
    return Load(float(number(r"Requests/sec:\s+([\d.]+)")), _ms(number(r"50%\s+([\d.]+\w+)")), _ms(number(r"99%\s+([\d.]+\w+)")), errors)


def _ms(text: str) -> float:
    hit = re.fullmatch(r"([\d.]+)(us|ms|s)?", text)
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    return float(hit.group(1)) * scale[hit.group(2) or "ms"] if hit else 0.0


__all__ = ["REPOSITORY", "Load", "answering", "free_port", "fresh_database", "process", "servers", "wrk"]
