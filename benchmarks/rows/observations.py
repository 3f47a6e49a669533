"""Row d: counts over HTTP until they are durable, beside a bare FastAPI endpoint that parses and inserts one row."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import httpx

from benchmarks.report import Measured
from benchmarks.servers import answering, free_port, fresh_database, process, wrk
from tests.e2e.processes import Process, command, token

CLIENTS = 64
SECONDS = 6
PLACES = 200
OPERATOR = "bench"
ROUND = iter(range(1_000_000))
# Each count has a source of its own, so that each is a new row of the journal and a newer number of its place.
LUA = """
local n = 0
request = function()
  n = n + 1
  local body = string.format(
    '{"observed_at":"%s","source":"gate-ROUND-%d","counts":[{"category":"standard","occupied":%d}]}',
    os.date("!%Y-%m-%dT%H:%M:%S") .. string.format(".%06dZ", n % 1000000), n, n % 400)
  return wrk.format("POST", string.format("/parking/v1/places/bench-%d/observations", n % PLACES),
    {["content-type"] = "application/json", ["authorization"] = "Bearer TOKEN"}, body)
end
"""


async def measure(rounds: int) -> list[Measured]:
    """Counts a second over HTTP, ours and the bare endpoint's, in turns, on PostgreSQL; ours on SQLite beside it."""
    ours: list[float] = []
    bare: list[float] = []
    lite: list[float] = []
    async with AsyncExitStack() as stack:
        folder, pg, lite_folder = (Path(stack.enter_context(TemporaryDirectory())) for _ in range(3))
        bare_url = stack.enter_context(_bare(folder, await stack.enter_async_context(fresh_database())))
        on_postgres = await stack.enter_async_context(fresh_database())
        ours_url, ours_script = await _parking(stack, pg, {"CITYLOOP_PARKING_DATABASE_URL": on_postgres})
        lite_url, lite_script = await _parking(stack, lite_folder, {})
        await answering(bare_url, "/ready")
        for _ in range(rounds):
            ours.append(await _round(ours_url, ours_script))
            bare.append(await _round(bare_url, ours_script))
            lite.append(await _round(lite_url, lite_script))
        stored = await _stored(on_postgres, "observation")
        answered = SECONDS * sum(ours)
        if stored < 0.98 * answered:
            raise RuntimeError(f"{stored} counts are in the journal, {answered:.0f} were answered")
    conditions = f"{CLIENTS} clients (wrk, 1 thread), one item a request, {PLACES} places, one API process without worker"
    what = "counts over HTTP to durable against a bare FastAPI endpoint that inserts one row"
    return [
        Measured("d", what, f"both on PostgreSQL, fsync and synchronous_commit on; {conditions}", ours, bare, "counts/s", 0.5, 1.0),
        Measured("d2", "the same on SQLite", f"ours SQLite, synchronous=FULL; {conditions}", lite, bare, "counts/s", None, None),
    ]


async def _round(url: str, script: str) -> float:
    load = await wrk(url, clients=CLIENTS, seconds=SECONDS, script=script.replace("ROUND", str(next(ROUND))))
    if load.errors:
        raise RuntimeError(f"{load.errors} requests failed under load")
    return load.per_s


async def _stored(database_url: str, table: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


async def _parking(stack: AsyncExitStack, folder: Path, settings: dict[str, str]) -> tuple[str, str]:
    """One API process with its places; its address and the script that loads it."""
    issuer_port = free_port()
    given = {
        "CITYLOOP_VAR": str(folder / "var"),
        "CITYLOOP_JWKS_URL": f"http://127.0.0.1:{issuer_port}/issuer/jwks.json",
        "CITYLOOP_LOG_LEVEL": "info",
        **settings,
    }
    issuer = Process(["issuer"], given, folder, port=issuer_port)
    api = Process(["parking", "api"], given, folder)
    done = command(given, folder, "parking", "migrate")
    if done.returncode:
        raise RuntimeError(done.stderr)
    for each, path in ((issuer, "/issuer/jwks.json"), (api, "/healthz/ready")):
        each.start()
        stack.callback(each.kill)
        await each.ready(path)
    bearer = token(given, "lot_operator", operator=OPERATOR)
    async with httpx.AsyncClient(base_url=api.url, timeout=10, headers={"authorization": f"Bearer {bearer}"}) as client:
        for number in range(PLACES):
            pools = [{"category": "standard", "capacity": 400}]
            place = {"name": f"bench {number}", "position": {"lon": 109.78, "lat": 39.56}, "datum": "wgs84", "pools": pools}
            (await client.put(f"/parking/v1/places/bench-{number}", json=place)).raise_for_status()
    return api.url, LUA.replace("TOKEN", bearer).replace("PLACES", str(PLACES))


@contextmanager
def _bare(folder: Path, database_url: str) -> Iterator[str]:
    """Parses the body with pydantic and inserts one row on a pooled asyncpg connection."""
    (folder / "bare_counts.py").write_text(
        "import os\n"
        "from contextlib import asynccontextmanager\n"
        "from datetime import datetime\n"
        "import asyncpg\n"
        "from fastapi import FastAPI\n"
        "from pydantic import BaseModel\n"
        "class Count(BaseModel):\n"
        "    category: str\n"
        "    occupied: int\n"
        "class Observation(BaseModel):\n"
        "    observed_at: datetime\n"
        "    source: str\n"
        "    counts: list[Count]\n"
        "@asynccontextmanager\n"
        "async def lifespan(app):\n"
        "    app.state.pool = await asyncpg.create_pool(os.environ['BARE_URL'], min_size=10, max_size=10)\n"
        "    await app.state.pool.execute('CREATE TABLE IF NOT EXISTS observation (id bigserial PRIMARY KEY, place text NOT NULL,"
        " at timestamptz NOT NULL, source text NOT NULL, category text NOT NULL, occupied int NOT NULL)')\n"
        "    yield\n"
        "app = FastAPI(lifespan=lifespan)\n"
        "@app.get('/ready')\n"
        "async def ready() -> str:\n"
        "    return 'ready'\n"
        "@app.post('/parking/v1/places/{place}/observations', status_code=202)\n"
        "async def observe(place: str, body: Observation) -> dict[str, bool]:\n"
        "    first = body.counts[0]\n"
        "    await app.state.pool.execute('INSERT INTO observation (place, at, source, category, occupied) VALUES ($1, $2, $3, $4, $5)',"
        " place, body.observed_at, body.source, first.category, first.occupied)\n"
        "    return {'accepted': True}\n"
    )
    port = free_port()
    bare = [sys.executable, "-m", "uvicorn", "bare_counts:app", "--app-dir", str(folder), "--port", str(port), "--no-access-log"]
    with process(
        [*bare, "--loop", "uvloop", "--http", "httptools", "--log-level", "warning"], {"BARE_URL": database_url}, port=port
    ) as url:
        yield url
