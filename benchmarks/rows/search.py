"""Row a: search near a point over the 1,894 car parks of a real city, beside a bare FastAPI app returning the same bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory

import httpx

from benchmarks.report import Measured
from benchmarks.servers import REPOSITORY, answering, free_port, process, wrk
from tests.support import data_folder

CLIENTS = 32
SECONDS = 6
PATH = "/parking/v1/places?near=121.5170,25.0478&radius_m=2000&limit=20"
FILE = "parking/taipei_carparks_20230128.json"


async def measure(rounds: int) -> list[Measured]:
    """Requests a second of the same query, ours and the bare application's, in turns."""
    with TemporaryDirectory() as folder, _parking(Path(folder)) as ours_url:
        await answering(ours_url, "/healthz/ready")
        wanted = await _filled(ours_url)
        with _bare(Path(folder), wanted) as bare_url:
            await answering(bare_url, PATH)
            ours: list[float] = []
            bare: list[float] = []
            for _ in range(rounds):
                ours.append((await wrk(ours_url + PATH, clients=CLIENTS, seconds=SECONDS)).per_s)
                bare.append((await wrk(bare_url + PATH, clients=CLIENTS, seconds=SECONDS)).per_s)
    conditions = f"SQLite (answers come from memory), {CLIENTS} clients (wrk, 1 thread), one process, {len(wanted):,} bytes an answer"
    what = "near-search over 1,894 car parks against a bare FastAPI app returning the same bytes"
    return [Measured("a", what, conditions, ours, bare, "requests/s", 0.5, 0.8)]


@contextmanager
def _parking(folder: Path) -> Iterator[str]:
    port = free_port()
    cityloop = str(Path(sys.executable).with_name("cityloop"))
    settings = {"CITYLOOP_VAR": str(folder / "var"), "CITYLOOP_PORT": str(port), "CITYLOOP_SAMPLE": "off"}
    import os

    given = {name: value for name, value in os.environ.items() if not name.startswith("CITYLOOP_")} | settings
    run([cityloop, "migrate"], env=given, cwd=REPOSITORY, check=True, capture_output=True)
    file = data_folder() / FILE
    run([cityloop, "parking", "import", str(file), "--format", "taipei"], env=given, cwd=REPOSITORY, check=True, capture_output=True)
    with process([cityloop, "dev"], settings, port=port) as url:
        yield url


async def _filled(url: str) -> bytes:
    """The answer once every imported car park has reached the index."""
    import asyncio

    async with httpx.AsyncClient(base_url=url, timeout=5) as client:
        last = b""
        for _ in range(600):
            answer = (await client.get(PATH)).content
            wide = (await client.get(PATH.replace("limit=20", "limit=50"))).json()
            if len(wide.get("places", [])) == 50 and len(answer) == len(last):
                return answer
            last = answer
            await asyncio.sleep(0.2)
    raise TimeoutError("the imported car parks did not reach the index")


@contextmanager
def _bare(folder: Path, body: bytes) -> Iterator[str]:
    (folder / "answer.json").write_bytes(body)
    (folder / "bare.py").write_text(
        "from pathlib import Path\n"
        "from fastapi import FastAPI, Response\n"
        "app = FastAPI()\n"
        "BODY = Path(__file__).with_name('answer.json').read_bytes()\n"
        "@app.get('/parking/v1/places')\n"
        "async def places(near: str, radius_m: float = 1000, limit: int = 20) -> Response:\n"
        "    return Response(BODY, media_type='application/json')\n"
    )
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "bare:app",
        "--app-dir",
        str(folder),
        "--port",
        str(port),
        "--no-access-log",
        "--loop",
        "uvloop",
    ]
    with process([*command, "--http", "httptools", "--log-level", "warning"], {}, port=port) as url:
        yield url
