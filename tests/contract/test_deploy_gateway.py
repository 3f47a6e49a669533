"""The gateway as Compose runs it: nginx with deploy/compose/nginx.conf before three APIs of this machine."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from cityloop_common import pages
from cityloop_common.http import BODY_LIMIT_BYTES
from cityloop_common.sse import PING_S
from tests.e2e.processes import Process, command
from tests.support import PATIENCE_S, REPOSITORY, free_port, wait_until
from tests.unit.deploy.forms import missing

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240), pytest.mark.xdist_group("gateway")]
SERVICES = ("parking", "charging", "waste")
PROBLEM = "application/problem+json"


@dataclass(slots=True)
class Gateway:
    """nginx and what it leads to."""

    url: str
    apis: dict[str, Process]
    log: Path


def rendered(text: str, folder: Path, port: int, ports: dict[str, int]) -> str:
    """The file as it stands, with this machine's addresses in the places of the containers'."""
    changes = {f"{service}-api:8080": f"127.0.0.1:{ports[service]}" for service in SERVICES}
    changes |= {"listen 8080 ": f"listen 127.0.0.1:{port} ", "127.0.0.1:8081": f"127.0.0.1:{free_port()}", " /tmp/": f" {folder}/"}
    for before, after in changes.items():
        assert before in text, f"{before!r} is not in nginx.conf: adapt the test"
        text = text.replace(before, after)
    return text


def find_nginx() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    if found is None:
        missing("no nginx here: apt-get install nginx")
    return found


def start_nginx(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(words, stdout=out, stderr=out)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """Each service's API as a process of its own on files, so that an answer tells who gave it."""
    nginx, folder = find_nginx(), tmp_path_factory.mktemp("gateway")
    settings = {
        "CITYLOOP_VAR": str(folder / "var"),
        "CITYLOOP_SAMPLE": "static",
        "CITYLOOP_JWKS_URL": "http://127.0.0.1:1/jwks.json",
        "CITYLOOP_TRUSTED_PROXIES": '["127.0.0.1"]',
        "CITYLOOP_DRAIN_FOR_S": "0",
    }
    (folder / "var").mkdir()
    for task in (["migrate"], ["charging", "sample"]):
        done = await asyncio.to_thread(command, settings, folder, *task)
        assert done.returncode == 0, done.stdout + done.stderr
    apis = {service: Process([service, "api"], settings, folder) for service in SERVICES}
    port = free_port()
    conf, log = folder / "nginx.conf", folder / "nginx.out"
    ports = {service: api.port for service, api in apis.items()}
    conf.write_text(rendered((REPOSITORY / "deploy/compose/nginx.conf").read_text(), folder, port, ports))
    for api in apis.values():
        api.start()
    running = start_nginx([nginx, "-e", "stderr", "-c", str(conf), "-g", "user root;"], log)
    try:
        for api in apis.values():
            await api.ready()
        made = Gateway(f"http://127.0.0.1:{port}", apis, log)
        async with httpx.AsyncClient(base_url=made.url) as http:

            async def answers() -> bool:
                assert running.poll() is None, log.read_text()
                try:
                    return (await http.get("/metrics")).status_code == 404
                except httpx.TransportError:
                    return False

            await wait_until(answers)
        yield made
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(10)
        for api in apis.values():
            api.kill()


@pytest_asyncio.fixture(loop_scope="module")
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as client:
        yield client


@pytest.mark.parametrize("service", SERVICES)
async def test_a_services_path_leads_to_its_api(service: str, http: httpx.AsyncClient) -> None:
    """Each API knows only its own paths: an answer of another one would be a 404."""
    answer = await http.get(f"/{service}/v1/openapi.json")
    assert answer.status_code == 200
    assert all(path.startswith(f"/{service}/") for path in answer.json()["paths"])
    nothing = await http.get(f"/{service}/v1/nothing-here")
    assert nothing.status_code == 404
    assert nothing.headers["content-type"] == PROBLEM


async def test_an_address_comes_through_as_it_was_written(http: httpx.AsyncClient) -> None:
    """An id with a star, and the same one escaped: nginx must not write it anew."""
    for written in ("999000001*S001", "999000001%2AS001"):
        answer = await http.get(f"/charging/v1/locations/{written}")
        assert answer.json()["id"] == "999000001*S001"


async def test_the_root_is_the_page_and_its_files(http: httpx.AsyncClient) -> None:
    """Pages and assets come from parking's API, whatever they are called, packed as it packs them."""
    if pages.find_build().page() is None:
        missing("web/dist is not built: make setup")
    page = await http.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == pages.CSP
    script = re.search(r'src="(/assets/[^"]+\.js)"', page.text)
    assert script is not None
    asset = await http.get(script[1], headers={"accept-encoding": "gzip"})
    assert asset.status_code == 200
    assert asset.headers["content-encoding"] == "gzip"
    assert "immutable" in asset.headers["cache-control"]


@pytest.mark.parametrize("service", SERVICES)
async def test_a_stream_comes_through_at_once(service: str, http: httpx.AsyncClient) -> None:
    """The first event long before the next is due, unpacked, though the stream goes on: nothing on the way collects it."""
    async with asyncio.timeout(0.9 * PING_S), http.stream("GET", f"/{service}/v1/stream", headers={"accept-encoding": "gzip"}) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in stream.headers
        async for line in stream.aiter_lines():
            if line.startswith(("event:", "data:", ":")):
                break


@pytest.mark.parametrize("hidden", ["/metrics", "//metrics", "/%6Detrics", "/x/../metrics", "/healthz/ready", "/healthz/live", "/healthz"])
async def test_probes_and_metrics_stay_inside(hidden: str, gateway: Gateway) -> None:
    """However the address is written; asked for directly, the same process has them."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {hidden} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    assert b" 404 " in answer.partition(b"\r\n")[0]
    assert b"process_cpu" not in answer
    assert b'"ready"' not in answer
    async with httpx.AsyncClient(base_url=gateway.apis["parking"].url) as inside:
        assert (await inside.get("/metrics")).status_code == 200


async def test_a_body_is_too_large_where_it_is_for_the_service(http: httpx.AsyncClient) -> None:
    """The same limit before and behind: one byte more is refused by the gateway, the limit itself reaches the service."""
    more = await http.post("/parking/v1/observations", content=b"x" * (BODY_LIMIT_BYTES + 1))
    assert more.status_code == 413
    assert more.headers["content-type"] == PROBLEM
    assert more.json()["type"] == "urn:cityloop:problem:too-large"
    fits = await http.post("/parking/v1/observations", content=b"x" * BODY_LIMIT_BYTES)
    assert fits.status_code in {401, 422}
    assert "x-request-id" in fits.headers


async def test_the_request_id_is_the_same_in_both_logs_and_nobody_gives_his_own(http: httpx.AsyncClient, gateway: Gateway) -> None:
    """One id leads from the gateway's line to the service's; one that a caller sends could point at another's."""
    answer = await http.get("/parking/v1/places", params={"near": "109.787,39.565"}, headers={"x-request-id": "given-by-a-caller"})
    given = answer.headers["x-request-id"]
    assert given != "given-by-a-caller"

    def logged() -> list[Any]:
        """Its lines of the request: nginx writes them when the answer has gone."""
        lines = [json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["request_id"] == given]

    (mine,) = await wait_until(logged)
    assert mine["path"] == "/parking/v1/places"
    assert "109.787" not in json.dumps(mine)
    await wait_until(lambda: given in gateway.apis["parking"].output.read_text())


async def test_limits_see_the_caller_behind_the_gateway(http: httpx.AsyncClient) -> None:
    """What a caller writes into X-Forwarded-For is not believed: changing it does not lift a limit of its network."""
    statuses = [
        (await http.post("/parking/v1/guest-tokens", headers={"x-forwarded-for": f"203.0.{number}.1"})).status_code
        for number in range(13)  # six a minute, and a minute may end among them
    ]
    assert 429 in statuses


async def test_a_service_that_is_away_is_said_so_and_found_again(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """503 with when to come again, in the form of every other error; the others answer; no restart of the gateway is needed."""
    waste = gateway.apis["waste"]
    waste.kill()
    away = await http.get("/waste/v1/indicators")
    assert away.status_code == 503
    assert away.headers["content-type"] == PROBLEM
    assert away.headers["retry-after"] == "2"
    assert away.json()["type"] == "urn:cityloop:problem:unavailable"
    assert (await http.get("/parking/v1/places", params={"near": "109.787,39.565"})).status_code == 200
    waste.start()
    await waste.ready()
    assert (await http.get("/waste/v1/indicators")).status_code == 200
