"""Row e: T/CEC status notifications over HTTP until they are durable, beside a bare FastAPI endpoint that decrypts, parses and inserts."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import httpx

from benchmarks.report import Measured
from benchmarks.servers import answering, free_port, fresh_database, process, servers, wrk
from cityloop_charging.operators.domain import Secrets
from cityloop_charging.protocols.tcec.client import Client
from cityloop_charging.protocols.tcec.crypto import Keys
from cityloop_charging.protocols.tcec.domain import stamp_text
from cityloop_common.clock import SystemClock
from tests.e2e.processes import Process, command, token
from tests.servers import own_redis

CLIENTS = 64
SECONDS = 6
STATIONS, CONNECTORS = 4, 50
MESSAGES = 40_000  # of a round; more than can be answered in its time
OPERATOR = "999000001"
PATH = "/charging/tcec/v1/notification_stationStatus"
# wrk cannot encrypt: it sends what lies in a file, each message once, in order. A message that comes twice would be answered again
# without an effect.
LUA = """
local lines, n = {}, 0
init = function()
  for line in io.lines("FILE") do lines[#lines + 1] = line end
end
request = function()
  n = n + 1
  if n > #lines then error("more requests than messages") end
  return wrk.format("POST", "PATH", {["content-type"] = "application/json", ["authorization"] = "Bearer TOKEN"}, lines[n])
end
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A service to load, with the operator's secrets and its token there."""

    url: str
    secrets: Secrets
    token: str


async def measure(rounds: int) -> list[Measured]:
    """Messages a second over HTTP, ours and the bare endpoint's, in turns, on PostgreSQL; ours on SQLite beside it."""
    ours: list[float] = []
    bare: list[float] = []
    lite: list[float] = []
    async with AsyncExitStack() as stack:
        folder, pg, lite_folder, messages = (Path(stack.enter_context(TemporaryDirectory())) for _ in range(4))
        on_postgres = await stack.enter_async_context(fresh_database())
        redis_url = await stack.enter_async_context(own_redis(servers()))
        target = await _charging(stack, pg, {"CITYLOOP_CHARGING_DATABASE_URL": on_postgres, "CITYLOOP_CACHE_URL": redis_url})
        on_sqlite = await _charging(stack, lite_folder, {})
        bare_url = stack.enter_context(_bare(folder, await stack.enter_async_context(fresh_database()), target.secrets))
        await answering(bare_url, "/ready")
        for _ in range(rounds):
            ours.append(await _round(target, messages))
            bare.append(await _round(Target(bare_url, target.secrets, ""), messages))
            lite.append(await _round(on_sqlite, messages))
        for stored, rates in ((await _stored(on_postgres), ours), (_stored_on_sqlite(lite_folder / "var" / "charging.db"), lite)):
            answered = SECONDS * sum(rates)  # a refusal is an HTTP 200, too
            if stored < 0.98 * answered:
                raise RuntimeError(f"{stored} statuses are in the journal, {answered:.0f} messages were answered")
    conditions = (
        f"{CLIENTS} clients (wrk, 1 thread), one connector a message, each a change, {STATIONS * CONNECTORS} connectors,"
        " one API process without worker"
    )
    what = "T/CEC status notifications, decrypted to durable, against a bare FastAPI endpoint that decrypts, parses and inserts one row"
    both = f"both on PostgreSQL, fsync and synchronous_commit on, ours with Redis; {conditions}"
    return [
        Measured("e", what, both, ours, bare, "messages/s", 0.5, 1.0, "the bare one checks neither signature nor token"),
        Measured("e2", "the same on SQLite", f"ours SQLite, synchronous=FULL; {conditions}", lite, bare, "messages/s", None, None),
    ]


async def _round(target: Target, folder: Path) -> float:
    file = folder / "messages"
    _write(file, target.secrets)
    script = LUA.replace("FILE", str(file)).replace("PATH", PATH).replace("TOKEN", target.token)
    load = await wrk(target.url, clients=CLIENTS, seconds=SECONDS, script=script)
    if load.errors:
        raise RuntimeError(f"{load.errors} requests failed under load")
    if load.per_s * SECONDS > MESSAGES * 0.98:
        raise RuntimeError(f"{MESSAGES} messages were too few for {load.per_s:.0f} a second")
    return load.per_s


def _write(file: Path, secrets: Secrets) -> None:
    """A line each: the next connector, in turn charging and idle, stamps and numbers ascending from some seconds ago to now."""
    keys = Keys(data_secret=secrets.data_secret, data_iv=secrets.data_iv, sig_secret=secrets.sig_secret)
    names = [f"S{station:03d}{number:02d}" for station in range(STATIONS) for number in range(CONNECTORS)]
    data = {
        (name, status): keys.encrypt(json.dumps({"ConnectorStatusInfo": {"ConnectorID": name, "Status": status}}).encode())
        for name in names
        for status in (1, 3)
    }
    first = datetime.now(UTC) - timedelta(seconds=MESSAGES // 9_999 + 1)
    with file.open("w") as out:
        for number in range(MESSAGES):
            stamp = stamp_text(first + timedelta(seconds=number // 9_999))
            fields = {
                "OperatorID": OPERATOR,
                "Data": data[names[number % len(names)], 3 if number // len(names) % 2 else 1],
                "TimeStamp": stamp,
                "Seq": f"{number % 9_999 + 1:04d}",
            }
            out.write(json.dumps({**fields, "Sig": keys.sign("".join(fields.values()))}, separators=(",", ":")) + "\n")


async def _stored(database_url: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM evse_status"))
    finally:
        await connection.close()


def _stored_on_sqlite(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM evse_status").fetchone()[0])


async def _charging(stack: AsyncExitStack, folder: Path, settings: dict[str, str]) -> Target:
    """One API process with an operator and its stations."""
    issuer_port = free_port()
    given = {
        "CITYLOOP_VAR": str(folder / "var"),
        "CITYLOOP_JWKS_URL": f"http://127.0.0.1:{issuer_port}/issuer/jwks.json",
        "CITYLOOP_LOG_LEVEL": "info",
        **settings,
    }
    issuer = Process(["issuer"], given, folder, port=issuer_port)
    api = Process(["charging", "api"], given, folder)
    for arguments in (("migrate",), ("operator", "add", OPERATOR, "--name", "bench", "--json")):
        done = command(given, folder, "charging", *arguments)
        if done.returncode:
            raise RuntimeError(done.stderr)
    said = json.loads(done.stdout)
    secrets = Secrets(said["operator_secret"], *(said[name].encode() for name in ("data_secret", "data_iv", "sig_secret")))
    for each, path in ((issuer, "/issuer/jwks.json"), (api, "/healthz/ready")):
        each.start()
        stack.callback(each.kill)
        await each.ready(path)
    bearer = token(given, "charging_operator", operator=OPERATOR)
    async with httpx.AsyncClient(base_url=api.url, timeout=10) as client:
        for station in range(STATIONS):
            evses = [{"connector_id": f"S{station:03d}{number:02d}", "power_w": 60_000, "current": "dc"} for number in range(CONNECTORS)]
            body = {"name": f"bench {station}", "position": {"lon": 109.78, "lat": 39.56}, "datum": "wgs84", "evses": evses}
            path = f"/charging/v1/locations/{OPERATOR}*S{station:03d}"
            (await client.put(path, json=body, headers={"authorization": f"Bearer {bearer}"})).raise_for_status()
        heard = await Client(client, SystemClock(), operator_id=OPERATOR, secrets=secrets).token()
    if heard.parameters is None:
        raise RuntimeError(heard.msg)
    return Target(api.url, secrets, str(heard.parameters["AccessToken"]))


@contextmanager
def _bare(folder: Path, database_url: str, secrets: Secrets) -> Iterator[str]:
    """Parses the envelope with pydantic, decrypts with the same library, parses what was in it and inserts one row."""
    (folder / "bare_tcec.py").write_text(
        "import base64, os\n"
        "from contextlib import asynccontextmanager\n"
        "from datetime import datetime, timedelta, timezone\n"
        "import asyncpg\n"
        "from cryptography.hazmat.primitives.ciphers import Cipher\n"
        "from cryptography.hazmat.primitives.ciphers.algorithms import AES\n"
        "from cryptography.hazmat.primitives.ciphers.modes import CBC\n"
        "from cryptography.hazmat.primitives.padding import PKCS7\n"
        "from fastapi import FastAPI\n"
        "from pydantic import BaseModel\n"
        "KEY, IV = os.environ['BARE_KEY'].encode(), os.environ['BARE_IV'].encode()\n"
        "LOCAL = timezone(timedelta(hours=8))\n"
        "class Envelope(BaseModel):\n"
        "    OperatorID: str\n"
        "    Data: str\n"
        "    TimeStamp: str\n"
        "    Seq: str\n"
        "    Sig: str\n"
        "class Info(BaseModel):\n"
        "    ConnectorID: str\n"
        "    Status: int\n"
        "class Notification(BaseModel):\n"
        "    ConnectorStatusInfo: Info\n"
        "@asynccontextmanager\n"
        "async def lifespan(app):\n"
        "    app.state.pool = await asyncpg.create_pool(os.environ['BARE_URL'], min_size=10, max_size=10)\n"
        "    await app.state.pool.execute('CREATE TABLE IF NOT EXISTS status (id bigserial PRIMARY KEY, operator text NOT NULL,"
        " connector text NOT NULL, status int NOT NULL, at timestamptz NOT NULL, seq int NOT NULL)')\n"
        "    yield\n"
        "app = FastAPI(lifespan=lifespan)\n"
        "@app.get('/ready')\n"
        "async def ready() -> str:\n"
        "    return 'ready'\n"
        f"@app.post('{PATH}')\n"
        "async def notify(body: Envelope) -> dict[str, object]:\n"
        "    decryptor = Cipher(AES(KEY), CBC(IV)).decryptor()\n"
        "    padded = decryptor.update(base64.b64decode(body.Data)) + decryptor.finalize()\n"
        "    unpadder = PKCS7(128).unpadder()\n"
        "    found = Notification.model_validate_json(unpadder.update(padded) + unpadder.finalize()).ConnectorStatusInfo\n"
        "    at = datetime.strptime(body.TimeStamp, '%Y%m%d%H%M%S').replace(tzinfo=LOCAL)\n"
        "    await app.state.pool.execute('INSERT INTO status (operator, connector, status, at, seq) VALUES ($1, $2, $3, $4, $5)',"
        " body.OperatorID, found.ConnectorID, found.Status, at, int(body.Seq))\n"
        "    return {'Ret': 0, 'Msg': '', 'Data': '', 'Sig': ''}\n"
    )
    port = free_port()
    bare = [sys.executable, "-m", "uvicorn", "bare_tcec:app", "--app-dir", str(folder), "--port", str(port), "--no-access-log"]
    settings = {"BARE_URL": database_url, "BARE_KEY": secrets.data_secret.decode(), "BARE_IV": secrets.data_iv.decode()}
    with process([*bare, "--loop", "uvloop", "--http", "httptools", "--log-level", "warning"], settings, port=port) as url:
        yield url
