"""Rows i1, i2: what the embedded suite takes of a machine: memory while a plan is solved, and the time of a second start.

Beside it one bare process with the same libraries: FastAPI on uvicorn, SQLAlchemy, OR-Tools' routing, numpy, scipy, shapely.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.report import Measured
from cityloop_common.clock import SystemClock, city_day
from tests.e2e.processes import Process, embedded, environment, token
from tests.support import free_port

MB = 1024.0
SECONDS = 8
LOOK_EVERY_S = 0.1
MEMORY_WANTED_MB, START_WANTED_S = 600.0, 5.0
_BARE = """
import sys
import aiosqlite, alembic, fastapi, httpx, joserfc.jwt, numpy, orjson, pydantic_settings, scipy.sparse.csgraph, shapely
import sqlalchemy.ext.asyncio, structlog, typer, uvicorn, uvloop
from ortools.constraint_solver import pywrapcp
app = fastapi.FastAPI()
@app.get("/healthz/ready")
async def ready() -> dict[str, str]:
    return {}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", loop="uvloop", http="httptools")
"""


async def measure(rounds: int) -> list[Measured]:
    """MB (proportional set size of the whole process tree) and seconds, ours and the bare process in turns."""
    memory: tuple[list[float], list[float]] = ([], [])
    starts: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with embedded(folder):
            pass  # the first start: makes the sample city
        for _ in range(rounds):
            async with embedded(folder) as running:
                assert running.running is not None
                memory[0].append(await _while_planning(running, running.running.pid))
            port = free_port()
            with _started([sys.executable, "-c", _BARE, str(port)]) as (pid, began):
                starts[1].append(await _answered(port) - began)
                memory[1].append(tree_mb(pid))
            port = free_port()
            with _started(["make", "run"], CITYLOOP_PORT=str(port), CITYLOOP_VAR=str(folder / "var")) as (_, began):
                starts[0].append(await _answered(port) - began)
    return [
        Measured(
            "i1", "memory of the embedded suite, a plan of 300 points being solved, against one bare process with the same libraries",
            "`cityloop dev` with the sample city, its pool's process with it; PSS of the process tree, the most seen every 0.1 s",
            memory[0], memory[1], "MB", None, None, _wanted(memory[0], MEMORY_WANTED_MB, "MB"),
        ),
        Measured(
            "i2", "second `make run` until it is ready, against the bare process until it answers",
            "the sample city is there; what was installed and built, databases and topics are looked through",
            starts[0], starts[1], "s", None, None, _wanted(starts[0], START_WANTED_S, "s"),
        ),
    ]  # fmt: skip


def _wanted(found: Sequence[float], most: float, unit: str) -> str:
    worst = max(found)
    verdict = "reached" if worst <= most else "**missed**"
    return f"lower is better; wanted in every round: at most {most:g} {unit}: {verdict} (worst {worst:.1f})"


async def _while_planning(city: Process, pid: int) -> float:
    """The most memory seen from asking for a plan until it is there."""
    bearer = {"Authorization": f"Bearer {token(city.settings, 'dispatcher')}"}
    day = city_day(SystemClock().now()).isoformat()
    async with httpx.AsyncClient(base_url=city.url, headers=bearer, timeout=10) as client:
        asked = await client.post("/waste/v1/plans", json={"stream": "kitchen", "date": day, "seconds": SECONDS})
        asked.raise_for_status()
        plan, most, state = asked.json()["plan_id"], 0.0, ""
        while state in ("", "waiting", "solving"):
            most = max(most, await asyncio.to_thread(tree_mb, pid))
            await asyncio.sleep(LOOK_EVERY_S)
            found = (await client.get(f"/waste/v1/plans/{plan}")).json()
            state = found["state"]
        if not found["verified"]:
            raise RuntimeError(f"the plan that was measured is {state}: {found.get('reason')}")
    return most


def tree_mb(pid: int) -> float:
    """Proportional set size of a process and of all that it started."""
    return sum(_pss_kb(each) for each in (pid, *_descendants(pid))) / MB


def _pss_kb(pid: int) -> int:
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has ended meanwhile
    return next(int(line.split()[1]) for line in told.splitlines() if line.startswith("Pss:"))


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = [int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in children:
        yield child
        yield from _descendants(child)


@contextmanager
def _started(command: Sequence[str], **settings: str) -> Iterator[tuple[int, float]]:
    """A process group of its own with the instant it was started; all of it is ended."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process.pid, began
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


async def _answered(port: int, within_s: float = 60.0) -> float:
    """The instant at which readiness answers 200."""
    end = time.perf_counter() + within_s
    async with httpx.AsyncClient(timeout=1) as client:
        while (now := time.perf_counter()) < end:
            try:
                if (await client.get(f"http://127.0.0.1:{port}/healthz/ready")).status_code == 200:
                    return time.perf_counter()
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)
    raise RuntimeError(f"no answer after {now:.0f} s")
